package rtmpserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tally/internal/ingest"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/rtmp/flv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "7Hq2mVx0aKcT9sYpR4eWbN6u"

// A recorder is a small ingest: it accepts testKey, one publisher at a time,
// refuses the names in refuse, and keeps what came.
type recorder struct {
	mu       sync.Mutex
	refuse   map[string]error
	requests []ingest.Request
	pubs     []*recording
}

// A recording is one publication. Its fields may be read once ended is closed.
type recording struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{}
	once   sync.Once

	mu       sync.Mutex
	arrived  int
	expect   []media.TrackID
	tracks   []media.Track
	frames   []media.Frame
	cues     []media.Cue
	end      string // "unpublish", "lose", "fail"
	err      error
	reason   livestream.Reason
	writeErr error // what WriteFrame answers
	onFrame  func(media.Frame)
}

func (r *recorder) Publish(ctx context.Context, req ingest.Request) (Publication, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	if err := r.refuse[req.Key.Reveal()]; err != nil {
		return nil, err
	}
	if req.Key.Reveal() != testKey {
		return nil, livestream.ErrNotFound
	}
	p := &recording{ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	r.pubs = append(r.pubs, p)
	return p, nil
}

// pub waits for the i-th publication.
func (r *recorder) pub(t *testing.T, i int) *recording {
	t.Helper()
	var p *recording
	eventually(t, "publication", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.pubs) > i {
			p = r.pubs[i]
		}
		return p != nil
	})
	return p
}

func (p *recording) Context() context.Context { return p.ctx }

func (p *recording) Arrived(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrived++
}

func (p *recording) Expect(ids []media.TrackID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expect = ids
}

func (p *recording) WriteTrack(t media.Track) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracks = append(p.tracks, t)
	return p.writeErr
}

func (p *recording) WriteFrame(f media.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames = append(p.frames, f)
	if p.onFrame != nil {
		p.onFrame(f)
	}
	return p.writeErr
}

func (p *recording) WriteCue(c media.Cue) (media.Mark, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cues = append(p.cues, c)
	return media.Mark{}, nil
}

func (p *recording) finish(end string, err error, reason livestream.Reason) {
	p.once.Do(func() {
		p.end, p.err, p.reason = end, err, reason
		p.cancel(nil)
		close(p.ended)
	})
}

func (p *recording) Unpublish()                    { p.finish("unpublish", nil, livestream.Reason{}) }
func (p *recording) Lose(err error)                { p.finish("lose", err, livestream.Reason{}) }
func (p *recording) Fail(reason livestream.Reason) { p.finish("fail", nil, reason) }

// wait waits for the end and checks how it came.
func (p *recording) wait(t *testing.T, end string) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("the publication did not end; want %s", end)
	}
	if p.end != end {
		t.Fatalf("ended by %s (%v, %v), want %s", p.end, p.err, p.reason, end)
	}
}

// track returns one track's frames.
func (p *recording) track(id media.TrackID) (fs []media.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if f.Track == id {
			fs = append(fs, f)
		}
	}
	return fs
}

// A harness is a server on a loopback port.
type harness struct {
	*recorder
	srv  *Server
	addr string
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start serves until the test ends, and fails it if Serve does not return then
// or a connection panicked.
func start(t testing.TB, ln net.Listener, change ...func(*Config)) *harness {
	t.Helper()
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	h := &harness{recorder: &recorder{}, addr: ln.Addr().String(), log: &syncBuffer{}}
	cfg := Config{Publish: h.Publish, Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, c := range change {
		c(&cfg)
	}
	h.srv = New(cfg)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.srv.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := h.srv.Stats().Panics.Load(); n > 0 {
			t.Errorf("%d connections panicked:\n%s", n, h.log)
		}
		if n := h.srv.Stats().Open.Load() + h.srv.waiting.Load() + h.srv.Stats().Publishing.Load(); n != 0 {
			t.Errorf("connections are still counted after Serve: %d", n)
		}
		if bytes.Contains([]byte(h.log.String()), []byte(testKey)) {
			t.Errorf("the stream key is in the log:\n%s", h.log)
		}
	})
	return h
}

func (h *harness) url() string { return "rtmp://" + h.addr + "/live/" + testKey }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

const clipFile = "../../rtmp/testdata/bframes.flv"

func loadClip(t testing.TB) *flv.Clip {
	t.Helper()
	f, err := os.Open(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := flv.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// isClosed reports whether a read error means that the peer closed.
func isClosed(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &op)
}
