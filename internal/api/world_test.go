package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/store/sqlite"
	"tally/internal/store/sqlite/sqlitetest"
)

// A world is the API over a real store, with a clock that the test turns.
type world struct {
	t     *testing.T
	store *sqlite.Store
	h     http.Handler
	cfg   api.Config
	scope livestream.Scope
	token string
	now   time.Time
}

const base = "/accounts/acc/realtime/kit/app"

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlitetest.Empty.Path(t))
	must(t, err)
	t.Cleanup(func() { store.Close() })
	w := &world{
		t: t, store: store,
		scope: livestream.Scope{AccountID: "acc", AppID: "app"},
		now:   time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
	}
	must(t, store.CreateApp(t.Context(), livestream.App{AccountID: "acc", ID: "app", Name: "default", CreatedAt: w.now}))
	w.token = w.newToken(auth.RealtimeAdmin)
	w.cfg = api.Config{
		Store: store, Auth: &auth.Authenticator{Store: store}, Control: commands{w}, Webhooks: newHooks(t, store),
		PublicURL: "https://live.example.org", IngestURL: "rtmp://live.example.org/live/",
		Now:    func() time.Time { return w.now },
		Logger: logger(io.Discard), AccessLog: api.LogAll,
	}
	w.h = api.New(w.cfg)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newToken makes a token of account acc.
func (w *world) newToken(group string, apps ...string) string {
	w.t.Helper()
	text, hash := auth.NewToken()
	must(w.t, w.store.CreateToken(w.t.Context(), livestream.Token{
		ID: livestream.NewUUID(), Hash: hash, AccountID: "acc", Name: group,
		Scopes: []string{group}, AppIDs: apps, CreatedAt: w.now,
	}))
	logs.plant("token", text.Reveal())
	return text.Reveal()
}

// commands is Control over the store alone: what the ingest manager does,
// without a publisher to cut.
type commands struct{ w *world }

func (c commands) Start(ctx context.Context, id string) (livestream.Record, error) {
	rec, err := c.w.store.Advance(ctx, id, livestream.Event{Kind: livestream.Start, At: c.w.now,
		NewID: livestream.NewUUID(), NewRun: livestream.NewRunID()})
	if errors.Is(err, livestream.ErrTransition) {
		err = livestream.ErrAlreadyOn
	}
	return rec, err
}

func (c commands) Stop(ctx context.Context, id string) (livestream.Record, error) {
	rec, err := c.w.store.Advance(ctx, id, livestream.Event{Kind: livestream.Stop, At: c.w.now})
	if errors.Is(err, livestream.ErrTransition) {
		err = livestream.ErrNotActive
	}
	return rec, err
}

func (c commands) Enable(ctx context.Context, id string) (livestream.Record, error) {
	return c.w.store.Advance(ctx, id, livestream.Event{Kind: livestream.Enable, At: c.w.now})
}

func (c commands) Disable(ctx context.Context, id string) (livestream.Record, error) {
	return c.w.store.Advance(ctx, id, livestream.Event{Kind: livestream.Disable, At: c.w.now})
}

func (c commands) ResetKey(ctx context.Context, id string) (livestream.Record, error) {
	return c.w.store.Advance(ctx, id, livestream.Event{Kind: livestream.ResetKey, At: c.w.now, NewKey: livestream.NewStreamKey()})
}

func (c commands) Configure(ctx context.Context, id string, change livestream.Change) (livestream.Record, error) {
	return c.w.store.Advance(ctx, id, livestream.Event{Kind: livestream.Configure, At: c.w.now, Change: change})
}

func (c commands) Delete(ctx context.Context, id string) (livestream.Record, error) {
	return c.w.store.Advance(ctx, id, livestream.Event{Kind: livestream.Delete, At: c.w.now})
}

// Cue is where the packager would put it.
func (c commands) Cue(ctx context.Context, id string, q media.Cue) (media.Mark, error) {
	rec, err := c.w.store.RecordByID(ctx, c.w.scope, id)
	if err == nil && !rec.Session.Phase.Open() {
		err = livestream.ErrNotActive
	}
	return media.Mark{ID: "cue-1-1", Date: c.w.now}, err
}

// advance turns the clock by d and applies an event to a livestream.
func (w *world) advance(id string, d time.Duration, e livestream.Event) livestream.Record {
	w.t.Helper()
	w.now = w.now.Add(d)
	rec, err := w.store.RecordByID(w.t.Context(), w.scope, id)
	must(w.t, err)
	e.At = w.now
	switch e.Kind {
	case livestream.Publish:
		e.NewID, e.NewRun, e.Key = livestream.NewUUID(), livestream.NewRunID(), rec.Livestream.StreamKey
	case livestream.Playable, livestream.Lose, livestream.Unpublish, livestream.Fail:
		e.Epoch = rec.Session.Epoch
	}
	rec, err = w.store.Advance(w.t.Context(), id, e)
	must(w.t, err)
	return rec
}

var keyframeWarning = livestream.Warning{Code: livestream.KeyframeInterval, Detail: "keyframes every 8.3 s, the limit is 4 s; set Keyframe Interval to 2 s"}

// live puts a livestream on air with these seconds on its session.
func (w *world) live(id string, ingest, viewed time.Duration) livestream.Record {
	w.t.Helper()
	w.advance(id, time.Second, livestream.Event{Kind: livestream.Publish, Remote: "192.0.2.7:5000", Encoder: "test"})
	rec := w.advance(id, 250*time.Millisecond, livestream.Event{Kind: livestream.Playable})
	w.now = w.now.Add(ingest)
	must(w.t, w.store.Checkpoint(w.t.Context(), []livestream.Checkpoint{{
		LivestreamID: id, SessionID: rec.Session.ID, Epoch: rec.Session.Epoch, At: w.now, LastMediaAt: w.now,
		Ingest: ingest, RunID: rec.Livestream.Run.ID,
		Bytes: 2_500_000, Media: "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo", Keyframe: 8330 * time.Millisecond,
		Warnings: keyframeWarning.String(),
		Facts: []livestream.Fact{{
			SessionID: rec.Session.ID, At: w.now, Kind: livestream.FactWarning, From: "on air", To: "on air", Epoch: rec.Session.Epoch,
			Remote: "192.0.2.7:5000", Encoder: "test", Detail: keyframeWarning.String(), Bytes: 2_500_000, Ingest: ingest, Keyframe: 8330 * time.Millisecond,
		}},
	}}, []livestream.UsageWindow{{
		SessionID: rec.Session.ID, Kind: livestream.ByMedia, Node: "n", Incarnation: "i", Window: 1, Amount: viewed,
	}}, nil))
	return w.record(id)
}

func (w *world) record(id string) livestream.Record {
	w.t.Helper()
	rec, err := w.store.RecordByID(w.t.Context(), w.scope, id)
	must(w.t, err)
	return rec
}

// create makes a livestream without going through the API. Each is a second
// younger than the one before.
func (w *world) create(name string) livestream.Livestream {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	l := livestream.Livestream{
		Scope: w.scope, ID: livestream.NewUUID(), Name: name, HasName: name != "",
		StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		CreatedAt: w.now, UpdatedAt: w.now, Settings: livestream.DefaultSettings,
	}
	must(w.t, w.store.CreateLivestream(w.t.Context(), l))
	logs.plant("stream key", l.StreamKey.Reveal())
	return l
}

// meeting makes a meeting without going through the API.
func (w *world) meeting(active bool) string {
	w.t.Helper()
	m := livestream.Meeting{Scope: w.scope, ID: livestream.NewUUID(), Active: active,
		CreatedAt: w.now, UpdatedAt: w.now, SessionKeepAliveSecs: 60}
	must(w.t, w.store.CreateMeeting(w.t.Context(), m))
	return m.ID
}

// call sends one request with the world's token and checks the answer against
// docs/openapi.yaml. header is a list of names and values; an empty value
// removes the header.
func (w *world) call(method, path, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	logs.plantAnswer(rec.Body.String())
	conforms(w.t, r, rec)
	return rec
}

// contract is docs/openapi.yaml, read once.
var contract = sync.OnceValues(func() (validator.Validator, error) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc)
	return v, errors.Join(errs...)
})

// conforms fails when an answer is not as docs/openapi.yaml says, and when it
// lacks what every answer has.
func conforms(t *testing.T, r *http.Request, rec *httptest.ResponseRecorder) {
	t.Helper()
	v, err := contract()
	must(t, err)
	form := "application/json"
	if rec.Code == http.StatusOK && strings.HasSuffix(r.URL.Path, "/audit") && strings.HasPrefix(rec.Header().Get("Content-Type"), "text/csv") {
		form = "text/csv; charset=utf-8"
	}
	for name, want := range map[string]string{
		"Content-Type": form, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s %s: %s is %q, want %q", r.Method, r.URL, name, got, want)
		}
	}
	if rec.Header().Get("X-Request-Id") == "" {
		t.Errorf("%s %s: no X-Request-Id", r.Method, r.URL)
	}
	for name := range rec.Header() {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s %s: the API has no CORS, yet answers %s", r.Method, r.URL, name)
		}
	}
	if rec.Code == http.StatusMethodNotAllowed || r.Method == http.MethodOptions ||
		bytes.Contains(rec.Body.Bytes(), []byte("No route for that URI")) {
		return // no operation of the file
	}
	if r.Method == http.MethodHead {
		rec.Body.Reset() // net/http drops it
	}
	ok, faults := v.ValidateHttpResponse(r, rec.Result())
	for _, f := range faults {
		t.Errorf("%s %s: answer is not as docs/openapi.yaml says: %s: %s", r.Method, r.URL, f.Message, f.Reason)
		for _, s := range f.SchemaValidationErrors {
			t.Errorf("  %s at %s", s.Reason, s.FieldPath)
		}
	}
	if !ok {
		t.Logf("the answer was %s", rec.Body)
	}
}
