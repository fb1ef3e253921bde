package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/playback"
	"tally/internal/usage"
	"tally/internal/viewer"
)

// A site is the public listeners over pipes, for virtual time.
type site struct {
	t      *testing.T
	s      *server
	plain  *pipes
	secure *pipes
	trust  *x509.CertPool
}

// onSite runs f with h behind both listeners.
func onSite(t *testing.T, h func(t *testing.T) http.Handler, f func(t *testing.T, x *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		certPEM, keyPEM, err := selfSigned(1, time.Now().Add(24*time.Hour))
		fatal(t, err)
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		fatal(t, err)
		x := &site{t: t, s: &server{log: slog.New(slog.DiscardHandler), ports: &listeners{}, cert: &certificate{}, handler: h(t)}, trust: x509.NewCertPool()}
		x.trust.AppendCertsFromPEM(certPEM)
		x.s.cert.current.Store(&pair)
		x.plain = &pipes{conns: make(chan net.Conn), over: make(chan struct{})}
		x.secure = &pipes{conns: make(chan net.Conn), over: make(chan struct{})}
		x.s.ports.http, x.s.ports.https = x.plain, x.secure
		ctx, stop := context.WithCancel(t.Context())
		var g errgroup.Group
		x.s.serveWeb(&g, ctx)
		f(t, x)
		stop()
		for _, w := range x.s.web {
			w.Close()
		}
		fatal(t, g.Wait())
		time.Sleep(time.Second) // net/http lets a last answer arrive before it closes
	})
}

// dial connects to the plain listener, or to the other up to before the handshake.
func (x *site) dial(p *pipes) net.Conn {
	client, conn := net.Pipe()
	p.conns <- conn
	return client
}

func (x *site) tls(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: x.trust, ServerName: "127.0.0.1", NextProtos: protocols}
}

// client speaks one protocol on one connection, which it returns once it is made.
func (x *site) client(h2, secure bool) (*http.Client, func(), *held) {
	h := &held{release: make(chan struct{})}
	t := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}, DisableCompression: true}
	t.DialContext = func(context.Context, string, string) (net.Conn, error) {
		h.Conn = x.dial(x.plain)
		return h, nil
	}
	t.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		protocol := "http/1.1"
		if h2 {
			protocol = "h2"
		}
		h.Conn = x.dial(x.secure)
		c := tls.Client(h, x.tls(protocol))
		return c, c.HandshakeContext(ctx)
	}
	switch {
	case !h2:
		t.Protocols.SetHTTP1(true)
	case secure:
		t.Protocols.SetHTTP2(true)
	default:
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Client{Transport: t}, t.CloseIdleConnections, h
}

// held is a connection whose reader can be made to stop.
type held struct {
	net.Conn
	stopped atomic.Bool
	release chan struct{}
}

func (h *held) Read(b []byte) (int, error) {
	if h.stopped.Load() {
		<-h.release
		return 0, io.EOF
	}
	return h.Conn.Read(b)
}

const (
	slowPlayback = "pPbVBHSlwWUqmyGrCjoT"
	slowRun      = "run1AAAAAAAA"
	bigPart      = "/hls/" + slowPlayback + "/" + slowRun + "/part-1-0.m4s"
	// avcC of x264, 1280x720 at 30 fps.
	slowAVCC = "\x01\x64\x00\x1f\xff\xe1\x00\x1a\x67\x64\x00\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\xc0\xf1\x83\x19\x60\x01\x00\x04\x68\xef\x8f\xcb\xfd\xf8\xf8\x00"
)

// records is a store with the one livestream.
type records struct{}

func (records) RecordByPlaybackID(context.Context, string) (livestream.Record, error) {
	return livestream.Record{Livestream: livestream.Livestream{PlaybackID: slowPlayback}}, nil
}

// broadcast is playback of one livestream, with parts of 1 MB.
func broadcast(t *testing.T) *playback.Handler {
	t.Helper()
	registry := hls.NewRegistry(hls.Config{})
	signer, err := viewer.NewSigner(bytes.Repeat([]byte{3}, viewer.SecretSize))
	fatal(t, err)
	h := playback.New(playback.Config{Registry: registry, Signer: signer, Counter: usage.New(usage.Config{}), Records: records{}, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { h.Close(); registry.Close() })
	p := registry.Open(hls.OpenOptions{PlaybackID: slowPlayback, SessionID: "s", Run: livestream.Run{ID: slowRun, TargetDuration: 2}})
	p.Mark(1<<40, 1<<40)
	p.Begin(1)
	p.Expect(1, media.First(true, false))
	track, err := media.H264Track([]byte(slowAVCC))
	fatal(t, err)
	fatal(t, p.WriteTrack(1, track))
	for i := range int64(60) {
		payload := make([]byte, 100_000)
		binary.BigEndian.PutUint32(payload, uint32(len(payload)-4))
		payload[4] = 0x41 // a slice
		if i%30 == 0 {
			payload[4] = 0x65 // IDR
		}
		at := i * media.VideoTimescale / 30
		fatal(t, p.WriteFrame(1, media.Frame{Track: media.VideoTrack, DTS: at, PTS: at, Key: i%30 == 0, Payload: payload}))
	}
	return h
}

// farewell is how long TLS tries to say goodbye to a connection that takes nothing:
// 5 s, twice where two goroutines close it.
const farewell = 10 * time.Second

// TestStalledReaders: a reader that stops is cut after a stated time, takes no
// copy of what it does not read, and harms nobody else on its connection.
func TestStalledReaders(t *testing.T) {
	for _, c := range []struct {
		name       string
		h2, secure bool
		dead       bool // the whole connection stops, not a stream
		cut        time.Duration
	}{
		{"HTTP/1.1", false, false, true, 30 * time.Second},
		{"HTTP/1.1 over TLS", false, true, true, 30*time.Second + farewell},
		{"HTTP/2, a stream", true, true, false, 30 * time.Second},
		{"HTTP/2 without TLS, a stream", true, false, false, 30 * time.Second},
		{"HTTP/2, the connection", true, true, true, stallTimeout + farewell},
	} {
		t.Run(c.name, func(t *testing.T) {
			var over sync.WaitGroup
			handle := func(t *testing.T) http.Handler {
				h := broadcast(t)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Stall") != "" {
						defer over.Done()
					}
					h.ServeHTTP(w, r)
				})
			}
			onSite(t, handle, func(t *testing.T, x *site) {
				const readers = 8
				before := heap()
				began := time.Now()
				for range readers {
					over.Add(1)
					x.stall(c.h2, c.secure, c.dead)
				}
				synctest.Wait()
				if each := (heap() - before) / readers; each > 400<<10 {
					t.Errorf("each stalled reader of a part of 1 MB takes %d KB", each>>10)
				}
				over.Wait()
				if took := time.Since(began); took > c.cut || took < c.cut/2 {
					t.Errorf("cut after %v, want %v", took, c.cut)
				}
			})
		})
	}
}

// stall asks for a large part and stops reading. Where the connection lives, it
// answers others.
func (x *site) stall(h2, secure, dead bool) {
	x.t.Helper()
	client, idle, conn := x.client(h2, secure)
	base := "http://127.0.0.1"
	if secure {
		base = "https://127.0.0.1"
	}
	req, err := http.NewRequestWithContext(x.t.Context(), "GET", base+bigPart, nil)
	fatal(x.t, err)
	req.Header.Set("Stall", "yes")
	resp, err := client.Do(req)
	fatal(x.t, err)
	if resp.StatusCode != 200 || resp.ContentLength < 500_000 {
		x.t.Fatalf("%d, %d bytes", resp.StatusCode, resp.ContentLength)
	}
	conn.stopped.Store(dead)
	if h2 && !dead {
		other, err := client.Get(base + bigPart)
		fatal(x.t, err)
		if n, err := io.Copy(io.Discard, other.Body); err != nil || n != other.ContentLength {
			x.t.Errorf("beside a stalled stream: %d of %d bytes, %v", n, other.ContentLength, err)
		}
		other.Body.Close()
	}
	x.t.Cleanup(func() {
		close(conn.release)
		conn.Close()
		resp.Body.Close()
		idle()
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// preface begins an HTTP/2 connection: with empty settings (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// frame is an HTTP/2 frame (RFC 9113 section 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	n := len(payload)
	head := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[5:], stream)
	return string(head) + payload
}

// getRequest is the header block of GET / over http at a (RFC 7541).
const getRequest = "\x82\x86\x84\x01\x01a"

// TestSlowClients: whoever sends slowly, or half of something, is let go of in time.
func TestSlowClients(t *testing.T) {
	drip := func(text string, every time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			for i := 0; ; i = (i + 1) % len(text) {
				if _, err := io.WriteString(c, text[i:i+1]); err != nil {
					return
				}
				time.Sleep(every)
			}
		}
	}
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, text) }
	}
	both := func(first, then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) { first(c); then(c) }
	}
	for _, c := range []struct {
		name   string
		secure bool
		send   func(net.Conn)
		limit  time.Duration
	}{
		{"says nothing", false, say(""), headerTimeout},
		{"half a header", false, say("GET / HTTP/1.1\r\nHost: a\r\n"), headerTimeout},
		{"a header a byte a second", false, both(say("GET / HTTP/1.1\r\nHost: a\r\n"), drip("X-A: b\r\n", time.Second)), headerTimeout},
		{"half a second request", false, both(say("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), say("GET / HTTP")), headerTimeout},
		{"no second request", false, say("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), idleTimeout},
		{"a body a byte a second", false, both(say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"), drip("x", time.Second)), bodyTimeout},
		{"no handshake", true, say(""), headerTimeout},
		{"half a handshake", true, say("\x16\x03\x01\x02\x00\x01"), headerTimeout},
		{"half an HTTP/2 preface", false, say("PRI * HTTP/2.0\r\n\r\nSM"), headerTimeout},
		{"no HTTP/2 settings", false, say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), headerTimeout},
		{"an HTTP/2 header without its end", false, say(preface + frame(1, 0, 1, getRequest)), 25 * time.Second},
		{"an HTTP/2 header for ever", false, both(say(preface+frame(1, 0, 1, getRequest)), drip(frame(9, 0, 1, "\x00\x01x\x01y"), time.Second)), 25 * time.Second},
		{"an HTTP/2 client that is gone", false, say(preface + frame(1, 5, 1, getRequest)), 25 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			onSite(t, ok, func(t *testing.T, x *site) {
				p := x.plain
				if c.secure {
					p = x.secure
				}
				conn := x.dial(p)
				began := time.Now()
				var sending sync.WaitGroup
				sending.Go(func() { c.send(conn) })
				io.Copy(io.Discard, conn) // until the server closes it
				// net/http lets an answer's last bytes arrive before it closes.
				if took := time.Since(began); took > c.limit+time.Second {
					t.Errorf("held for %v, want %v", took, c.limit)
				}
				conn.Close()
				sending.Wait()
			})
		})
	}
}

// ok answers each request once its body has come.
func ok(*testing.T) http.Handler {
	front := &front{rest: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	})}
	return front
}

// TestHeaderLimits: headers that are too long are refused, not read.
func TestHeaderLimits(t *testing.T) {
	onSite(t, ok, func(t *testing.T, x *site) {
		for _, c := range []struct {
			name       string
			h2, secure bool
		}{{"HTTP/1.1", false, false}, {"HTTP/2", true, true}, {"HTTP/2 without TLS", true, false}} {
			client, idle, conn := x.client(c.h2, c.secure)
			base := map[bool]string{false: "http://127.0.0.1/", true: "https://127.0.0.1/"}[c.secure]
			for size, want := range map[int]int{maxHeaderBytes / 2: 200, 2 * maxHeaderBytes: 431} {
				req, err := http.NewRequest("GET", base, nil)
				fatal(t, err)
				for range size / 1024 {
					req.Header.Add("X-Much", strings.Repeat("x", 1000))
				}
				resp, err := client.Do(req)
				if err != nil { // over HTTP/2 also the stream or the connection may be reset
					if want == 200 || !c.h2 && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("%s, %d bytes: %v", c.name, size, err)
					}
					continue
				}
				resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("%s, %d bytes: %d, want %d", c.name, size, resp.StatusCode, want)
				}
			}
			idle()
			conn.Close()
		}
	})
}

// TestRapidReset: streams that are opened and reset at once (CVE-2023-39325) start
// no more handlers than there may be streams, and the connection ends.
func TestRapidReset(t *testing.T) {
	var now, most atomic.Int64
	waiting := func(*testing.T) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for n := now.Add(1); ; {
				was := most.Load()
				if n <= was || most.CompareAndSwap(was, n) {
					break
				}
			}
			time.Sleep(5 * time.Second) // as one that does not notice at once
			now.Add(-1)
		})
	}
	onSite(t, waiting, func(t *testing.T, x *site) {
		conn := x.dial(x.plain)
		var sending sync.WaitGroup
		sending.Go(func() {
			out := bufio.NewWriter(conn)
			out.WriteString(preface)
			for id := uint32(1); id < 200_000; id += 2 {
				out.WriteString(frame(1, 5, id, getRequest))
				if _, err := out.WriteString(frame(3, 0, id, "\x00\x00\x00\x08")); err != nil {
					return
				}
			}
			out.Flush()
		})
		answer, _ := io.ReadAll(conn)
		sending.Wait()
		limit := int64(http2Settings(&httpStats{}).MaxConcurrentStreams)
		if last, code := goAway(answer); code != 0xb || last > 2*6*limit { // ENHANCE_YOUR_CALM; every second id is a client's
			t.Errorf("the connection ended with code %d, after stream %d", code, last)
		}
		if most.Load() > limit {
			t.Errorf("%d handlers at once, want at most %d", most.Load(), limit)
		}
		if x.s.plain.http2Errors.Load() == 0 {
			t.Error("it was not counted")
		}
		conn.Close()
		time.Sleep(6 * time.Second)
	})
	if now.Load() != 0 {
		t.Errorf("%d handlers are left", now.Load())
	}
}

// goAway finds the last stream that was taken, and why no more are (RFC 9113
// section 6.8).
func goAway(frames []byte) (last int64, code uint32) {
	for len(frames) >= 9 {
		n := int(frames[0])<<16 | int(frames[1])<<8 | int(frames[2])
		if frames[3] == 7 && len(frames) >= 17 {
			return int64(binary.BigEndian.Uint32(frames[9:])), binary.BigEndian.Uint32(frames[13:])
		}
		frames = frames[min(len(frames), 9+n):]
	}
	return -1, 0
}
