package publisher

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/avcc"
	"tally/internal/rtmp/chunk"
	"tally/internal/rtmp/flv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clip(t testing.TB) *flv.Clip {
	t.Helper()
	b, err := os.ReadFile("../testdata/bframes.flv")
	if err != nil {
		t.Fatal(err)
	}
	c, err := flv.Load(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoopGoesOn(t *testing.T) {
	c := clip(t)
	src := FromClip(c, true)
	last := map[uint8]int64{}
	headers, scripts, media := 0, 0, 0
	for media < 500 {
		tag, err := src.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case tag.Type == flv.TypeScript:
			scripts++
		case flv.IsSequenceHeader(tag):
			headers++
		default:
			media++
			prev, seen := last[tag.Type]
			if d := tag.Time - prev; seen && (d <= 0 || d > 100) {
				t.Fatalf("type %d: %d ms after %d", tag.Type, tag.Time, prev)
			}
			last[tag.Type] = tag.Time
		}
	}
	if headers != 2 || scripts != 1 {
		t.Errorf("%d sequence headers and %d script tags in all, want 2 and 1", headers, scripts)
	}
	if d := last[flv.TypeVideo] - last[flv.TypeAudio]; d > 100 || d < -100 {
		t.Errorf("video is %d ms ahead of audio after some loops", d)
	}
}

func TestOnceEnds(t *testing.T) {
	c := clip(t)
	b := flv.AppendHeader(nil, true, true)
	for _, tag := range c.Tags {
		b = flv.AppendTag(b, tag)
	}
	file, err := FromReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]Source{"clip": FromClip(c, false), "reader": file} {
		n := 0
		for {
			_, err := src.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(c.Tags) {
			t.Errorf("%s: %d tags, want %d", name, n, len(c.Tags))
		}
	}
}

func TestStamp(t *testing.T) {
	sent := time.Unix(0, 1_900_000_000_123_456_789)
	var part []byte
	frames := 0
	for _, tag := range clip(t).Tags {
		body, ok := appendStamped(nil, tag.Body, Stamp{uint64(frames), sent})
		if ok != (tag.Type == flv.TypeVideo && isPicture(tag.Body)) {
			t.Fatalf("stamped %v: type %d", ok, tag.Type)
		}
		if !ok {
			continue
		}
		in, err := avcc.Check(body[flv.VideoHeaderSize:])
		if err != nil || !in.Pictures {
			t.Fatalf("frame %d: %+v, %v", frames, in, err)
		}
		part = append(part, body...)
		frames++
	}
	got := slices.Collect(Stamps(part))
	if len(got) != frames || frames != 50 {
		t.Fatalf("%d stamps in %d frames", len(got), frames)
	}
	for i, s := range got {
		if s.Frame != uint64(i) || !s.Sent.Equal(sent) {
			t.Errorf("stamp %d: %+v", i, s)
		}
	}
	if _, _, ok := FindStamp(append(bytes.Clone(StampUUID[:]), "not hexadecimal, but long enough"...)); ok {
		t.Error("found a stamp in noise")
	}
	if _, _, ok := FindStamp(StampUUID[:]); ok {
		t.Error("found a stamp cut short")
	}
}

func FuzzFindStamp(f *testing.F) {
	b, _ := appendStamped(nil, flv.AppendVideo(nil, true, flv.Coded, 0, []byte{0, 0, 0, 2, 0x65, 1}), Stamp{7, time.Unix(1, 2)})
	f.Add(b)
	f.Add(StampUUID[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		for range Stamps(b) {
		}
		if out, ok := appendStamped(nil, b, Stamp{1, time.Unix(3, 4)}); ok {
			if _, _, found := FindStamp(out); !found {
				t.Error("a stamp was written and not found")
			}
		}
	})
}

// sink accepts one publish and counts messages until the connection ends.
func sink(t testing.TB) (url string, ended chan []chunk.Message) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	ended = make(chan []chunk.Message, 1)
	go func() {
		var ms []chunk.Message
		defer func() { ended <- ms }()
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c, err := rtmp.Accept(nc)
		if err != nil {
			return
		}
		c.SetLimits(chunk.WhilePublishing)
		for {
			m, err := c.Next()
			if err != nil {
				return
			}
			if m.Type != chunk.TypeCommandAMF0 {
				ms = append(ms, m)
				continue
			}
			cmd, _ := rtmp.ParseCommand(m)
			switch cmd.Name {
			case "connect":
				c.SendCommand(0, "_result", cmd.Transaction, amf0.Object{}, rtmp.Status{Code: rtmp.ConnectSuccess}.Object())
			case "createStream":
				c.SendCommand(0, "_result", cmd.Transaction, nil, 1.0)
			case "publish":
				c.SendStatus(1, rtmp.Status{Level: rtmp.LevelStatus, Code: rtmp.PublishStart})
			case "FCUnpublish", "deleteStream":
				ms = append(ms, m)
			}
		}
	}()
	return "rtmp://" + ln.Addr().String() + "/live/KEY", ended
}

// TestRealTime: 2 s of media at four times the speed take 0.5 s, not less.
func TestRealTime(t *testing.T) {
	url, ended := sink(t)
	var last Progress
	began := time.Now()
	err := Run(context.Background(), Options{URL: url, Source: FromClip(clip(t), false), Speed: 4, OnProgress: func(p Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 480*time.Millisecond {
		t.Errorf("took %s", took)
	}
	ms := <-ended
	if n := len(ms); n < 3 || ms[n-1].Type != chunk.TypeCommandAMF0 || ms[n-2].Type != chunk.TypeCommandAMF0 {
		t.Error("did not end with FCUnpublish and deleteStream")
	}
	if last.Frames != 50 || last.Media < 1900*time.Millisecond || last.Tags < 130 || last.Bytes < 10_000 || last.Elapsed == 0 {
		t.Errorf("progress %+v", last)
	}
}

func TestContextEndsCleanly(t *testing.T) {
	url, ended := sink(t)
	ctx, stop := context.WithCancel(context.Background())
	err := Run(ctx, Options{URL: url, Source: FromClip(clip(t), true), Speed: 1, OnStart: stop})
	if err != nil {
		t.Fatal(err)
	}
	if ms := <-ended; len(ms) < 2 || ms[len(ms)-1].Type != chunk.TypeCommandAMF0 {
		t.Error("did not end cleanly")
	}
}

func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "rtmp://" + ln.Addr().String() + "/live/KEY"
	ln.Close()
	if err := Run(context.Background(), Options{URL: url, Source: FromClip(clip(t), false)}); err == nil || bytes.Contains([]byte(err.Error()), []byte("KEY")) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkStamp(b *testing.B) {
	body := flv.AppendVideo(nil, true, flv.Coded, 0, append([]byte{0, 0, 0x20, 0, 0x65}, make([]byte, 8191)...))
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = appendStamped(dst[:0], body, Stamp{1, time.Now()})
	}
}
