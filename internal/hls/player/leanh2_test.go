package player

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReadStatus(t *testing.T) {
	for text, want := range map[string]int{
		"\x88": 200, "\x8d\x5c\x01": 404, "\x20\x3f\xe1\x1f": 0, "\x20\x88": 200, "\x48\x03503": 503, "\x0e\x03503": 503, "\x0f\x03503": 0, "\x07\x03503": 0, "\x08\x03429": 429,
		"\x48\x82\x10\x05": 202, "\x08\x83\x6c\x0c\xff": 503, "\x48\x82\xff\xff": 0, "\x48\x83\x6c": 0, "\x48\xff": 0, "\x48\x03abc": 0, "": 0, "\x20": 0, "\x48\x03": 0, "\x87": 0, "\x8f": 0,
	} {
		if got := readStatus([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// TestLeanOverHTTP2: against the library's server, of small answers and large ones,
// over one connection, and one more when the server has closed it.
func TestLeanOverHTTP2(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<16)
	var addr string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.UserAgent() != "lean" || r.Host != addr {
			t.Errorf("%s %s from %q at %s", r.Proto, r.URL, r.UserAgent(), r.Host)
		}
		switch {
		case r.URL.Path == "/large":
			io.WriteString(w, large)
		case strings.HasPrefix(r.URL.Path, "/long/"):
			io.WriteString(w, r.URL.Path)
		case r.URL.Path == "/busy":
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case r.URL.Path == "/empty":
		default:
			http.NotFound(w, r)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	addr = s.Listener.Addr().String()
	trust := x509.NewCertPool()
	trust.AddCert(s.Certificate())
	f := &leanH2Fetcher{userAgent: "lean", tls: &tls.Config{RootCAs: trust}}
	defer f.close()
	long := "/long/" + strings.Repeat("x", 3000)
	for round := range 3 {
		for path, want := range map[string]string{"/large": large, long: long, "/empty": ""} {
			a, err := f.get(t.Context(), s.URL+path, 0, reading{limit: 1 << 21})
			if err != nil || a.status != 200 || string(a.body) != want {
				t.Fatalf("%.20s: %d, %d bytes, %v", path, a.status, len(a.body), err)
			}
			a, err = f.get(t.Context(), s.URL+path, 0, reading{discard: true, limit: 1 << 21})
			if err != nil || a.status != 200 || a.size != int64(len(want)) || a.body != nil {
				t.Fatalf("%.20s discarded: %d, %d bytes, %v", path, a.status, a.size, err)
			}
		}
		for path, status := range map[string]int{"/busy": 503, "/none": 404} {
			if a, err := f.get(t.Context(), s.URL+path, 0, reading{limit: 1 << 20}); err != nil || a.status != status {
				t.Errorf("%s: %d, %v", path, a.status, err)
			}
		}
		if round == 1 {
			s.CloseClientConnections()
		}
	}
	if _, err := f.get(t.Context(), s.URL+"/large", 0, reading{limit: 100}); !errors.Is(err, errTooLarge) {
		t.Errorf("beyond the limit: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := f.get(stopped, s.URL+"/empty", 0, reading{limit: 100}); err == nil {
		t.Error("after its context")
	}
}

// bytesConn is a connection that sends what it holds, and takes anything.
type bytesConn struct {
	net.Conn
	io.Reader
}

func (c bytesConn) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c bytesConn) Write(b []byte) (int, error) { return len(b), nil }
func (c bytesConn) SetDeadline(time.Time) error { return nil }

func readH2(b []byte, discard bool) (answer, error) {
	f := &leanH2Fetcher{userAgent: "lean", in: bufio.NewReaderSize(nil, leanBuffer)}
	f.begin(bytesConn{Reader: bytes.NewReader(b)}, "host")
	a, _, err := f.roundTrip("/", reading{discard: discard, limit: 1 << 20})
	return a, err
}

func FuzzLeanH2(f *testing.F) {
	frame := func(kind, flags byte, stream uint32, payload string) string {
		return string(appendFrame(nil, kind, flags, stream, len(payload))) + payload
	}
	settings := frame(frameSettings, 0, 0, "\x00\x03\x00\x00\x00\x64") + frame(frameSettings, flagAck, 0, "")
	f.Add([]byte(settings + frame(frameHeaders, flagEndHeaders, 1, "\x88") + frame(framePing, 0, 0, "12345678") + frame(frameData, flagEndStream, 1, "abc")))
	f.Add([]byte(settings + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, "\x8d")))
	f.Add([]byte(settings + frame(frameHeaders, flagEndHeaders|flagPadded|flagPriority, 1, "\x02\x00\x00\x00\x00\x00\x48\x03503pp") + frame(frameData, flagPadded|flagEndStream, 1, "\x02abc12")))
	f.Add([]byte(frame(frameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x0b")))
	f.Add([]byte(frame(frameReset, 0, 1, "\x00\x00\x00\x02")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readH2(b, false)
		if len(a.body) > len(b) {
			t.Fatalf("%d bytes from %d", len(a.body), len(b))
		}
		d, derr := readH2(b, true)
		if (err == nil) != (derr == nil) || err == nil && (d.status != a.status || d.size != a.size) {
			t.Fatalf("discarded: %d, %d bytes, %v; read: %d, %d bytes, %v", d.status, d.size, derr, a.status, a.size, err)
		}
	})
}
