package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/chunk"
	"tally/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseURL(t *testing.T) {
	tests := []struct {
		in, host, app, key string
		tls                bool
	}{
		{"rtmp://h/live/KEY", "h:1935", "live", "KEY", false},
		{"rtmps://h/live/KEY", "h:443", "live", "KEY", true},
		{"rtmp://h:99/a/b/KEY?x=y", "h:99", "a/b", "KEY?x=y", false},
		{"rtmp://[::1]/live/KEY/", "[::1]:1935", "live", "KEY", false},
	}
	for _, tt := range tests {
		got, err := ParseURL(tt.in)
		if err != nil || got.Host != tt.host || got.App != tt.app || got.Key.Reveal() != tt.key || got.TLS != tt.tls {
			t.Errorf("%s: %+v, %v", tt.in, got, err)
		}
		if strings.Contains(got.url(), "KEY") {
			t.Errorf("tcUrl %q holds the key", got.url())
		}
	}
	for _, in := range []string{"", "http://h/live/SECRET", "rtmp:///live/SECRET", "rtmp://h/SECRET", "rtmp://h:port/live/SECRET", "rtmp://h/live\x00/SECRET"} {
		if got, err := ParseURL(in); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestParseCommand(t *testing.T) {
	publish := amf0.Append(nil, "publish", 5.0, nil, "name", "live")
	want := Command{Name: "publish", Transaction: 5, Args: []any{"name", "live"}}
	tests := []struct {
		name string
		kind uint8
		body []byte
		want Command
		err  error
	}{
		{"AMF0", chunk.TypeCommandAMF0, publish, want, nil},
		{"AMF3 wrapper", chunk.TypeCommandAMF3, append([]byte{0}, publish...), want, nil},
		{"what follows a broken argument is left out", chunk.TypeCommandAMF0, append(bytes.Clone(publish), 0x11, 1), want, nil},
		{"name alone", chunk.TypeCommandAMF0, amf0.Append(nil, "x"), Command{Name: "x", Args: []any{}}, nil},
		{"data", chunk.TypeDataAMF0, amf0.Append(nil, "@setDataFrame", "onMetaData"), Command{Name: "@setDataFrame", Args: []any{"onMetaData"}}, nil},
		{"no name", chunk.TypeCommandAMF0, amf0.Append(nil, 5.0), Command{}, ErrCommand},
		{"AMF3 itself", chunk.TypeCommandAMF3, []byte{3, 1}, Command{}, ErrCommand},
		{"nothing", chunk.TypeCommandAMF0, nil, Command{}, ErrCommand},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseCommand(chunk.Message{Type: tt.kind, Body: tt.body})
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if got, _ := ParseCommand(chunk.Message{Type: chunk.TypeCommandAMF0, Body: publish}); got.TextArg(1) != "live" || got.TextArg(7) != "" || got.Arg(7) != nil {
		t.Errorf("arguments of %+v", got)
	}
}

// serve accepts one connection and runs script on it.
func serve(t *testing.T, script func(nc net.Conn)) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		script(nc)
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return Target{Host: ln.Addr().String(), App: "live", Key: secret.New("KEY")}
}

// TestClientEnds: whatever the server does, the client comes back with an error.
func TestClientEnds(t *testing.T) {
	tests := []struct {
		name   string
		server func(nc net.Conn)
		check  func(err error) bool
	}{
		{"closes at once", func(nc net.Conn) {}, func(err error) bool { return err != nil }},
		{"is no RTMP server", func(nc net.Conn) {
			nc.Write(bytes.Repeat([]byte("HTTP/1.1 400 Bad Request\r\n"), 100))
			io.Copy(io.Discard, nc)
		}, func(err error) bool { return errors.Is(err, ErrHandshake) }},
		{"says nothing", func(nc net.Conn) { io.Copy(io.Discard, nc) }, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"refuses connect", func(nc net.Conn) {
			c, err := Accept(nc)
			if err != nil {
				return
			}
			c.Next()
			c.SendCommand(0, "_error", 1, nil, Status{LevelError, ConnectRejected, "no"}.Object())
			c.Finish(time.Second)
		}, func(err error) bool {
			s, ok := errors.AsType[*StatusError](err)
			return ok && s.Code == ConnectRejected && s.Error() == ConnectRejected+": no"
		}},
		{"gives no stream id", func(nc net.Conn) {
			c, err := Accept(nc)
			if err != nil {
				return
			}
			for id := 1.0; id <= 4; {
				m, err := c.Next()
				if err != nil {
					return
				}
				if m.Type == chunk.TypeCommandAMF0 {
					c.SendCommand(0, "_result", id, nil, "none")
					id++
				}
			}
			c.Finish(time.Second)
		}, func(err error) bool { return errors.Is(err, chunk.ErrProtocol) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			c, err := Publish(ctx, serve(t, tt.server), Dial{})
			if err == nil {
				c.Close()
			}
			if !tt.check(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// halves makes a reader and a writer one connection.
type halves struct {
	io.Reader
	io.Writer
}

func FuzzHandshake(f *testing.F) {
	hello := append([]byte{version}, make([]byte, 2*packetSize)...)
	f.Add(hello)
	f.Add(hello[:1537])
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		err := acceptHandshake(halves{bytes.NewReader(in), &out})
		if ok := len(in) >= len(hello) && in[0] == version; ok != (err == nil) {
			t.Errorf("%d bytes: %v", len(in), err)
		}
		if out.Len() != 0 && out.Len() != len(hello) {
			t.Errorf("answered %d bytes", out.Len())
		}
		connectHandshake(halves{bytes.NewReader(in), io.Discard})
	})
}

// FuzzParseCommand: any message body.
func FuzzParseCommand(f *testing.F) {
	f.Add(uint8(chunk.TypeCommandAMF0), amf0.Append(nil, "publish", 5.0, nil, "name", "live"))
	f.Add(uint8(chunk.TypeCommandAMF3), append([]byte{0}, amf0.Append(nil, "connect", 1.0, amf0.Object{})...))
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		cmd, err := ParseCommand(chunk.Message{Type: kind, Body: body})
		if err == nil {
			cmd.TextArg(0)
			statusOf(cmd.Arg(0))
		}
	})
}
