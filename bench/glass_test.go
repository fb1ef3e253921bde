package main

import (
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/rtmp/flv"
)

func TestSlope(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 0}, {[]float64{2, 2, 2}, 0}, {[]float64{1, 3, 5, 7}, 2}, {[]float64{0, 1, 0, 1}, 0.2},
	} {
		if got := slope(c.values); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("slope(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

type tags struct{ left int }

func (s *tags) Next() (flv.Tag, error) {
	if s.left--; s.left < 0 {
		return flv.Tag{}, io.EOF
	}
	return flv.Tag{Type: flv.TypeVideo, Body: []byte{0x27, 1, 0, 0, 0, 1}}, nil
}

// A picture is known by its number in the loop: the newest one sent before it was seen.
func TestClockTellsTurnsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{Source: &tags{left: 25}, pictures: 10}
		for range 26 { // each is sent 100 ms after it was handed out
			c.Next()
			time.Sleep(100 * time.Millisecond)
		}
		// Number 3 was sent as the 4th and the 14th and 24th: at 0.4, 1.4, 2.4 s.
		began := time.Now().Add(-2600 * time.Millisecond)
		at := func(d time.Duration) float64 { return float64(began.Add(d).UnixMicro()) / 1000 }
		got := c.latencies([][2]float64{{3, at(2 * time.Second)}, {3, at(2500 * time.Millisecond)}, {3, at(100 * time.Millisecond)}, {12, at(0)}})
		if len(got) != 2 || got[0] != 600*time.Millisecond || got[1] != 100*time.Millisecond {
			t.Errorf("latencies %v, want 600ms and 100ms", got)
		}
	})
}

// What goes through a link arrives late and no faster than its rate, unchanged.
func TestLink(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	sent := make([]byte, 50_000)
	for i := range sent {
		sent[i] = byte(i * 7)
	}
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.ReadFull(c, make([]byte, 1))
		c.Write(sent)
	}()
	l, err := openLink(server.Addr().String(), 20*time.Millisecond, 2_000_000)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	began := time.Now()
	c, err := net.Dial("tcp", l.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte{1})
	got, err := io.ReadAll(c)
	took := time.Since(began)
	if err != nil || string(got) != string(sent) {
		t.Fatalf("%d bytes, %v; want %d", len(got), err, len(sent))
	}
	// 40 ms of handshake, 20 each way, and 50,000 bytes at 2 Mbit/s.
	if least := 280 * time.Millisecond; took < least {
		t.Errorf("all was there after %v, want %v at least", took, least)
	}
}

// A clone whose packages were not installed yet is told what to type.
func TestPackagesMissing(t *testing.T) {
	if err := hasPackages(t.TempDir()); err == nil || !strings.Contains(err.Error(), "make deps") {
		t.Errorf("says %v", err)
	}
}
