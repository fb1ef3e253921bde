// Package loopback proves design section 3 with real parts end to end: RTMP
// publishers over loopback sockets, the server that takes them, the manager,
// SQLite, the packager and HTTP for viewers. What needs hours of clock is in
// package ingest, in virtual time.
package loopback

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tally/internal/hls"
	"tally/internal/ingest"
	"tally/internal/ingest/rtmpserver"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/playback"
	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/flv"
	"tally/internal/secret"
	"tally/internal/store/sqlite"
	"tally/internal/usage"
	"tally/internal/viewer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seedFlag = flag.Uint64("loopback-seed", 0, "seed of what is random; 0: another one each time")

// seedOf is the seed of a test, which it prints.
func seedOf(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test -run '^%s$' ./internal/ingest/loopback -loopback-seed %d", t.Name(), seed)
	return seed
}

// A world is a server without its API: everything from the encoder's socket to
// the viewer's.
type world struct {
	testing.TB
	path     string
	store    *gate
	registry *hls.Registry
	manager  *ingest.Manager
	rtmp     *rtmpserver.Server
	addr     string
	web      *httptest.Server
	stop     func()

	mu      sync.Mutex
	pubs    map[secret.String][]*ingest.Publication // accepted of late
	accepts int
}

// A gate is the store, which may be closed for a while, or fail.
type gate struct {
	*sqlite.Store
	mu      sync.RWMutex          // held by whoever wants nothing written
	slowest atomic.Int64          // write so far, in nanoseconds: what the disk is to blame for
	failing atomic.Pointer[error] // what checkpoints answer; nil: they are written
}

func (g *gate) fail(err error) { g.failing.Store(&err) }

func (g *gate) Advance(ctx context.Context, id string, e livestream.Event) (livestream.Record, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	began := time.Now()
	defer func() { g.slowest.Store(max(g.slowest.Load(), int64(time.Since(began)))) }()
	return g.Store.Advance(ctx, id, e)
}

func (g *gate) Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow, vs []livestream.Viewing) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if err := g.failing.Load(); err != nil {
		return *err
	}
	return g.Store.Checkpoint(ctx, cs, ws, vs)
}

// newWorld starts a server on a fresh store.
func newWorld(t testing.TB, c hls.Config) *world {
	return worldAt(t, c, filepath.Join(t.TempDir(), "tally.db"))
}

// worldAt starts a server on the store at path. It ends with the test.
func worldAt(t testing.TB, c hls.Config, path string) *world {
	store, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w := &world{TB: t, path: path, store: &gate{Store: store}, registry: hls.NewRegistry(c),
		pubs: map[secret.String][]*ingest.Publication{}}
	w.manager = ingest.New(ingest.Config{Store: w.store, Log: log, Open: func(r livestream.Record) ingest.Output {
		return w.registry.Open(hls.OpenOptions{PlaybackID: r.Livestream.PlaybackID, SessionID: r.Session.ID,
			Run: r.Livestream.Run, EndlistDelay: r.Livestream.Settings.EndlistDelay})
	}})
	if err := w.manager.Resume(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.rtmp = rtmpserver.New(rtmpserver.Config{Publish: w.publish, Log: log})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.rtmp.Serve(ctx, ln) }()
	hang := w.serveHTTP(log)
	w.stop = sync.OnceFunc(func() {
		w.manager.Shutdown(context.Background())
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		hang()
		w.registry.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *world) serveHTTP(log *slog.Logger) (hang func()) {
	signer, err := viewer.NewSigner(bytes.Repeat([]byte{3}, viewer.SecretSize))
	if err != nil {
		w.Fatal(err)
	}
	h := playback.New(playback.Config{Registry: w.registry, Signer: signer, Counter: usage.New(usage.Config{}), Records: w.store, Log: log})
	w.web = httptest.NewServer(h)
	return func() {
		h.Close()
		w.web.Close()
	}
}

// publish is the manager's, with a look at whom it accepts: when somebody is,
// nobody else of that livestream may be.
func (w *world) publish(ctx context.Context, req ingest.Request) (rtmpserver.Publication, error) {
	p, err := w.manager.Publish(ctx, req)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.pubs[req.Key]
	for _, other := range list {
		// In this order: both were accepted when the first was asked.
		if other.Context().Err() == nil && p.Context().Err() == nil {
			w.Errorf("two publishers of one key are accepted at once")
		}
	}
	w.pubs[req.Key] = append(list[max(0, len(list)-8):], p)
	w.accepts++
	return &watched{Publication: p, w: w, key: req.Key}, nil
}

// A watched publication is not to be heard once it was replaced.
type watched struct {
	*ingest.Publication
	w   *world
	key secret.String
}

func (p *watched) WriteFrame(f media.Frame) error {
	replaced := p.replaced()
	err := p.Publication.WriteFrame(f)
	if err == nil && replaced {
		p.w.Errorf("a frame was taken of a publisher that had been replaced")
	}
	return err
}

// replaced reports whether another one was accepted by now.
func (p *watched) replaced() bool {
	if p.Context().Err() == nil {
		return false
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, other := range p.w.pubs[p.key] {
		if other != p.Publication && other.Context().Err() == nil {
			return true
		}
	}
	return false
}

// livestream creates one with those settings.
func (w *world) livestream(change func(*livestream.Livestream)) livestream.Livestream {
	now := time.Now().UTC().Truncate(time.Millisecond)
	l := livestream.Livestream{
		Scope: livestream.Scope{AccountID: "account", AppID: "app"}, ID: livestream.NewUUID(),
		StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		CreatedAt: now, UpdatedAt: now, Settings: livestream.DefaultSettings,
	}
	if change != nil {
		change(&l)
	}
	if err := w.store.CreateLivestream(context.Background(), l); err != nil {
		w.Fatal(err)
	}
	return l
}

// session is the livestream's newest, as the API would read it.
func (w *world) session(l livestream.Livestream) livestream.Session {
	w.Helper()
	r, err := w.store.RecordByID(context.Background(), l.Scope, l.ID)
	if err != nil {
		w.Fatal(err)
	}
	return r.Session
}

// wire is what the API says: the status, and the code of err_message behind it.
func wire(s livestream.Session) string {
	code, _, _ := strings.Cut(s.ErrMessage(), ":")
	return strings.TrimSpace(string(s.Status()) + " " + code)
}

// until waits for what the API says, and returns how long that took.
func (w *world) until(l livestream.Livestream, want string, within time.Duration) time.Duration {
	w.Helper()
	began := time.Now()
	for {
		s := w.session(l)
		if wire(s) == want {
			return time.Since(began)
		}
		if time.Since(began) > within {
			w.Errorf("%s (%s) after %v, want %s", wire(s), s.ErrMessage(), within, want)
			return time.Since(began)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// dial publishes to the livestream; a refusal is a *rtmp.StatusError.
func (w *world) dial(l livestream.Livestream) (*rtmp.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return rtmp.Publish(ctx, rtmp.Target{Host: w.addr, App: "live", Key: l.StreamKey}, rtmp.Dial{})
}

// mustDial is dial that must be accepted.
func (w *world) mustDial(l livestream.Livestream) *rtmp.Client {
	w.Helper()
	c, err := w.dial(l)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// avcC is x264's, 1280x720 at 30 fps.
var avcC, _ = hex.DecodeString("0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800")

// header announces H.264 video alone, and sends its configuration.
func header(c *rtmp.Client) error {
	meta := amf0.ECMAArray{{Name: "videocodecid", Value: 7.0}, {Name: "width", Value: 1280.0}}
	return errors.Join(c.WriteMetadata(meta),
		c.WriteTag(flv.Tag{Type: flv.TypeVideo, Body: append([]byte{0x17, 0, 0, 0, 0}, avcC...)}))
}

// picture is a coded picture that says whose it is; number 0 and each 30th
// thereafter is a keyframe.
func picture(whose string, number int) flv.Tag {
	nal := append([]byte{0x41}, "<publisher "+whose+">"...)
	head := byte(0x27)
	if number%30 == 0 {
		head, nal[0] = 0x17, 0x65
	}
	body := binary.BigEndian.AppendUint32([]byte{head, 1, 0, 0, 0}, uint32(len(nal)))
	return flv.Tag{Type: flv.TypeVideo, Time: int64(number) * 1000 / 30, Body: append(body, nal...)}
}

// send sends pictures from number on: n of them, one each pause.
func send(c *rtmp.Client, whose string, number, n int, pause time.Duration) error {
	for i := range n {
		if err := c.WriteTag(picture(whose, number+i)); err != nil {
			return err
		}
		select {
		case <-c.Done():
			return c.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// said is the status that the server gave, or a zero one.
func said(err error) rtmp.Status {
	if s, ok := errors.AsType[*rtmp.StatusError](err); ok {
		return s.Status
	}
	return rtmp.Status{}
}

// copyStore copies the store as a crash would leave it, and returns its path.
func (w *world) copyStore() string {
	w.Helper()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	to := filepath.Join(w.TempDir(), "tally.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(w.path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		}
		if err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			w.Fatal(err)
		}
	}
	return to
}
