package playback_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/archive"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/playback"
	"tally/internal/thumbnail"
	"tally/internal/usage"
	"tally/internal/viewer"
)

const (
	id    = "pPbVBHSlwWUqmyGrCjoT"
	runID = "run1AAAAAAAA"

	frameTime = time.Second / 30
	// avcC of x264, 1280x720 at 30 fps.
	avcC = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800"
)

// A world is a handler over a real packager, in virtual time, without sockets.
type world struct {
	t        testing.TB
	registry *hls.Registry
	signer   *viewer.Signer
	counter  *usage.Counter
	handler  *playback.Handler

	mu     sync.Mutex // guards record
	record livestream.Record

	made     options
	packager *hls.Packager
	epoch    int64
	frames   int64 // written of this epoch
}

// inWorld runs f with a livestream that nobody has published to yet.
func inWorld(t *testing.T, f func(t *testing.T, w *world), o ...options) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, o...)
		defer w.close()
		f(t, w)
	})
}

// options of a world: how its server is told to deliver.
type options struct {
	delivery   playback.Mode
	base       string
	maxViewers int
	maxBps     int64
	log        io.Writer // nil: nowhere

	archive *archive.Library // nil: memory alone
	dvr     time.Duration
	keep    bool
	ffmpeg  string
}

func newWorld(t testing.TB, o ...options) *world {
	var told options
	if len(o) > 0 {
		told = o[0]
	}
	if told.log == nil {
		told.log = io.Discard
	}
	signer, err := viewer.NewSigner(bytes.Repeat([]byte{3}, viewer.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, registry: hls.NewRegistry(hls.Config{MediaBase: told.base, Archive: told.archive}), made: told, signer: signer, counter: usage.New(usage.Config{})}
	w.record.Livestream = livestream.Livestream{PlaybackID: id}
	w.handler = playback.New(playback.Config{
		Registry: w.registry, Signer: signer, Counter: w.counter, Records: w,
		Delivery: told.delivery, Log: slog.New(slog.NewTextHandler(told.log, nil)),
		MaxViewers: told.maxViewers, MaxEgressBps: told.maxBps, Archive: told.archive,
		Thumbnails: thumbnail.Config{FFmpeg: told.ffmpeg},
	})
	return w
}

func (w *world) close() {
	w.handler.Close()
	w.registry.Close()
}

// RecordByPlaybackID implements playback.Records.
func (w *world) RecordByPlaybackID(ctx context.Context, playbackID string) (livestream.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if playbackID != id {
		return livestream.Record{}, livestream.ErrNotFound
	}
	return w.record, ctx.Err()
}

// phase moves the session as the store would know it.
func (w *world) phase(p livestream.Phase, change func(*livestream.Session)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.record.Session
	s.Phase = p
	if change != nil {
		change(s)
	}
}

// open accepts a publish of a session into a run of that name.
func (w *world) open(run string) {
	w.mu.Lock()
	w.record.Livestream.Run = livestream.Run{ID: run, TargetDuration: 2}
	w.mu.Unlock()
	w.phase(livestream.Starting, func(s *livestream.Session) { s.InvokedAt = time.Now() })
	session := "session of " + run
	if w.made.archive != nil {
		session = sessionOnDisk
	}
	w.packager = w.registry.Open(hls.OpenOptions{
		PlaybackID: id, SessionID: session, Run: w.record.Livestream.Run, EndlistDelay: 10 * time.Second,
		DVRWindow: w.made.dvr, Keep: w.made.keep,
	})
	w.packager.Mark(1<<40, 1<<40)
	w.connect()
}

// connect is a publish: the first, or an encoder that comes back.
func (w *world) connect() {
	w.epoch++
	w.frames = 0
	w.packager.Begin(w.epoch)
	w.packager.Expect(w.epoch, media.First(true, false))
	config, _ := hex.DecodeString(avcC)
	track, err := media.H264Track(config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.packager.WriteTrack(w.epoch, track); err != nil {
		w.t.Fatal(err)
	}
}

// feed writes frames in real time: a keyframe each second.
func (w *world) feed(d time.Duration) { w.write(d, func() { time.Sleep(frameTime) }) }

// rush writes as many frames at once, for tests that are in no virtual time.
func (w *world) rush(d time.Duration) {
	w.open(runID)
	w.write(d, func() {})
}

func (w *world) write(d time.Duration, pace func()) {
	for n := int64(d / frameTime); n > 0; n-- {
		payload := make([]byte, 4+200)
		payload[3] = 200
		payload[4] = 0x41 // a slice
		key := w.frames%30 == 0
		if key {
			payload[4] = 0x65 // IDR
		}
		dts := w.frames * media.VideoTimescale / 30
		w.frames++
		err := w.packager.WriteFrame(w.epoch, media.Frame{Track: media.VideoTrack, DTS: dts, PTS: dts, Key: key, Payload: payload})
		if err != nil {
			w.t.Fatal(err)
		}
		pace()
	}
}

// air opens a session and feeds it until it is playable and d longer.
func (w *world) air(d time.Duration) {
	w.open(runID)
	w.feed(d)
	w.phase(livestream.OnAir, func(s *livestream.Session) { s.StartedAt = time.Now() })
}

// ask sends one request and waits for the answer.
func (w *world) ask(method, url string, headers ...string) *http.Response {
	return w.askFor(context.Background(), method, url, headers...)
}

func (w *world) askFor(ctx context.Context, method, url string, headers ...string) *http.Response {
	w.t.Helper()
	r := httptest.NewRequest(method, url, nil).WithContext(ctx)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Result()
}

func (w *world) get(url string, headers ...string) *http.Response {
	w.t.Helper()
	return w.ask("GET", url, headers...)
}

// later sends a request and delivers the answer when it comes.
func (w *world) later(url string, headers ...string) <-chan *http.Response {
	ch := make(chan *http.Response, 1)
	go func() { ch <- w.get(url, headers...) }()
	synctest.Wait() // it is answered or held now
	return ch
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// want checks status and Cache-Control, and that a refusal says something.
func want(t testing.TB, r *http.Response, code int, cache string) string {
	t.Helper()
	b := body(t, r)
	if r.StatusCode != code || r.Header.Get("Cache-Control") != cache {
		t.Errorf("%d with Cache-Control %q, want %d with %q: %s", r.StatusCode, r.Header.Get("Cache-Control"), code, cache, b)
	}
	if code >= 400 && strings.Count(b, "\n") != 1 {
		t.Errorf("a refusal of %d lines: %q", strings.Count(b, "\n"), b)
	}
	if retry := r.Header.Get("Retry-After"); (code == 503) != (retry == "1") {
		t.Errorf("%d with Retry-After %q", code, retry)
	}
	if r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%d: CORS headers %v", code, r.Header)
	}
	return b
}

const (
	noStore   = "no-store"
	immutable = "public, max-age=31536000, immutable"
)

// join asks for the multivariant playlist and returns the directory of the
// media playlist that it names.
func (w *world) join() string { return w.joinAs("") }

// joinAs asks with a query.
func (w *world) joinAs(query string) string {
	w.t.Helper()
	text := want(w.t, w.get("/hls/"+id+"/index.m3u8"+query), 200, "private, no-store")
	m := regexp.MustCompile(`(?m)^(` + runID + `/[A-Za-z0-9_-]{32}/)index\.m3u8$`).FindStringSubmatch(text)
	if m == nil {
		w.t.Fatalf("no media playlist in %q", text)
	}
	return "/hls/" + id + "/" + m[1]
}

// uris returns what a playlist names that matches.
func uris(text, pattern string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

const (
	listedParts = `#EXT-X-PART:.*URI="(part-[^"]+)"`
	hintedPart  = `#EXT-X-PRELOAD-HINT:.*URI="(part-[^"]+)"`
	segments    = `(?m)^(seg-.+)$`
	initSection = `#EXT-X-MAP:URI="([^"]+)"`
)

// restart replaces the server by one that knows what it left on disk: the secret
// that viewer ids are signed with.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	next := newWorld(w.t)
	w.registry, w.counter, w.handler = next.registry, next.counter, next.handler
}
