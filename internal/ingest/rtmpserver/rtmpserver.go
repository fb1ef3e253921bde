// Package rtmpserver takes RTMP publishes and hands their media to
// [tally/internal/ingest]. It decides nothing about who may publish: it asks,
// and turns the answer into an RTMP status.
//
// One goroutine per connection reads chunks, parses tags and writes frames, in
// that order and without a queue between: TCP is the back-pressure. It also
// sends everything that is sent.
package rtmpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tally/internal/ingest"
	"tally/internal/livestream"
	"tally/internal/media"
)

// Deadlines of design section 5, counted from accept, TLS handshake included.
// A connection that has published before and stopped gets publishTimeout again.
const (
	handshakeTimeout = 5 * time.Second
	publishTimeout   = 15 * time.Second
	// lingerTime is how long a refused or cut peer has to read why.
	lingerTime = 2 * time.Second
)

// DefaultMaxWaiting is Config.MaxWaiting when that is 0: with 15 s each, far
// more than encoders need, and at some 20 KB each a bounded cost.
const DefaultMaxWaiting = 1000

// A Publication is what the server needs of an *ingest.Publication.
type Publication interface {
	Context() context.Context
	Arrived(sizeBytes int)
	Expect(ids []media.TrackID)
	WriteTrack(t media.Track) error
	WriteFrame(f media.Frame) error
	WriteCue(c media.Cue) (media.Mark, error)
	Unpublish()
	Lose(err error)
	Fail(reason livestream.Reason)
}

// A PublishFunc accepts or refuses a publish; see [ingest.Manager.Publish].
type PublishFunc func(ctx context.Context, req ingest.Request) (Publication, error)

// By makes a manager's Publish method a PublishFunc.
func By(publish func(context.Context, ingest.Request) (*ingest.Publication, error)) PublishFunc {
	return func(ctx context.Context, req ingest.Request) (Publication, error) {
		p, err := publish(ctx, req)
		if err != nil {
			return nil, err // not a nil *Publication inside a non-nil interface
		}
		return p, nil
	}
}

// Config wires a Server.
type Config struct {
	Publish PublishFunc
	Log     *slog.Logger // nil: slog.Default
	// MaxWaiting is how many connections may be open that have not published;
	// more are closed at once. 0: DefaultMaxWaiting.
	MaxWaiting int
}

// Stats counts since the start. Reading it while the server runs is safe.
type Stats struct {
	Accepted      atomic.Int64 // connections
	Overflow      atomic.Int64 // closed because MaxWaiting was reached
	Open          atomic.Int64 // connections now
	Publishing    atomic.Int64 // of them, publishing now
	Refused       atomic.Int64 // publishes and connects answered with an error
	FramesDropped atomic.Int64 // media messages that could not be used
	Cues          atomic.Int64 // cues passed on
	CuesDropped   atomic.Int64 // too many, or with what no playlist can hold
	BytesReceived atomic.Int64 // of ended connections
	Panics        atomic.Int64 // connections ended by a bug of ours
}

// A Server serves any number of listeners. Its methods may be called
// concurrently.
type Server struct {
	cfg     Config
	stats   Stats
	waiting atomic.Int64 // connections that have not published
}

// New returns a Server.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = DefaultMaxWaiting
	}
	return &Server{cfg: cfg}
}

// Stats returns the live counters.
func (s *Server) Stats() *Stats { return &s.stats }

// Serve accepts publishers until ctx ends, then returns nil. It closes ln, and
// every connection's goroutine has ended by the time it returns. A listener
// made by tls.NewListener makes it RTMPS.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var conns sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer conns.Wait()
	defer stop() // an accept error ends the connections too
	context.AfterFunc(ctx, func() { ln.Close() })
	for {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil // asked to stop
			}
			if !passing(err) {
				return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
			}
			s.cfg.Log.Error("rtmp: cannot accept; raise the limit of open files", "err", err)
			select {
			case <-time.After(100 * time.Millisecond): // descriptors come back as connections end
			case <-ctx.Done():
			}
			continue
		}
		s.stats.Accepted.Add(1)
		if s.waiting.Add(1) > int64(s.cfg.MaxWaiting) {
			s.waiting.Add(-1)
			s.stats.Overflow.Add(1)
			nc.Close()
			continue
		}
		conns.Go(func() { s.serveConn(ctx, nc) }) // closes nc when ctx ends: that unblocks its read
	}
}

// passing reports whether accepting may work again later.
func passing(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED)
}

// serveConn runs one connection to its end. A panic ends this connection only.
func (s *Server) serveConn(ctx context.Context, nc net.Conn) {
	s.stats.Open.Add(1)
	defer s.stats.Open.Add(-1)
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	keepAlive(nc)
	c := &conn{s: s, ctx: ctx, nc: nc, accepted: time.Now(), waiting: true,
		log: s.cfg.Log.With("remote", nc.RemoteAddr().String())}
	_, c.secure = nc.(*tls.Conn)
	defer c.stopWaiting()
	defer c.stopWatching()
	defer func() {
		if v := recover(); v != nil {
			s.stats.Panics.Add(1)
			c.log.Error("rtmp: bug: the connection ends", "panic", v, "stack", string(debug.Stack()))
			if c.pub != nil {
				c.pub.Lose(fmt.Errorf("bug: %v", v))
			}
		}
	}()
	c.run()
}

// keepAlive finds a vanished host within 60 s (moq-dev/moq#1868). A frozen
// encoder whose kernel still answers is the media idle clock's business.
func keepAlive(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
}
