package conformance_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tally/conformance"
	v6 "tally/conformance/v6"
	v7 "tally/conformance/v7"
	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/store/sqlite"
	"tally/internal/webhook"
)

// clients is every release; a JavaScript one is a process that lives as long as
// the tests.
var clients = func() []conformance.Client {
	all := []conformance.Client{v6.New(), v7.New()}
	for _, version := range conformance.JSVersions {
		all = append(all, conformance.NewJS(version))
	}
	return all
}()

// suite closes the clients before goroutines are counted.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code := s.M.Run()
	for _, c := range clients {
		c.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	return code
}

// No server, client or store leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// A place is a server over a store of its own, with a clock that the test turns.
type place struct {
	t      *testing.T
	store  *sqlite.Store
	now    time.Time
	clock  func() time.Time // shows now, or the time that it is
	target conformance.Target
	public string
	ingest string
	wire   *wire
	config api.Config // of what is behind the wire
	// flip answers L4 of a disabled livestream: no real one has an active
	// session, because disable ends it and acknowledges its failure.
	flip bool
	// broken is what the store's look-up of livestreams says instead.
	broken error
}

func newPlace(t *testing.T, account, app, public, ingest string, change ...func(*api.Config)) *place {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tally.db"))
	must(t, err)
	t.Cleanup(func() { store.Close() })
	p := &place{t: t, store: store, now: time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC), public: public, ingest: ingest}
	must(t, store.CreateApp(t.Context(), livestream.App{AccountID: account, ID: app, Name: "first app", CreatedAt: p.now}))
	p.clock = func() time.Time { return p.now }
	p.config = api.Config{
		Store: shown{store, p}, Auth: &auth.Authenticator{Store: store}, Control: commands{p},
		Webhooks:  webhook.New(webhook.Config{Store: store}),
		PublicURL: public, IngestURL: ingest, Now: func() time.Time { return p.clock() },
	}
	for _, change := range change {
		change(&p.config)
	}
	p.wire = &wire{next: api.New(p.config)}
	srv := httptest.NewServer(p.wire)
	t.Cleanup(srv.Close)
	p.target = conformance.Target{Base: srv.URL + "/client/v4", Account: account, App: app}
	p.target.Token = p.token(auth.RealtimeAdmin)
	return p
}

// ordinary is a place like any other.
func ordinary(t *testing.T, change ...func(*api.Config)) *place {
	t.Helper()
	return newPlace(t, "acc", "app", "https://tally.example", "rtmp://tally.example:1935/live/", change...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// token makes a token of the account.
func (p *place) token(scope string) string {
	p.t.Helper()
	text, hash := auth.NewToken()
	must(p.t, p.store.CreateToken(p.t.Context(), livestream.Token{ID: livestream.NewUUID(), Hash: hash, AccountID: p.target.Account,
		Scopes: []string{scope}, CreatedAt: p.now}))
	return text.Reveal()
}

// shown is the store, with place.flip and place.broken.
type shown struct {
	*sqlite.Store
	p *place
}

func (s shown) RecordByID(ctx context.Context, sc livestream.Scope, id string) (livestream.Record, error) {
	if s.p.broken != nil {
		return livestream.Record{}, s.p.broken
	}
	rec, err := s.Store.RecordByID(ctx, sc, id)
	rec.Livestream.Disabled = rec.Livestream.Disabled != s.p.flip
	return rec, err
}

// commands is what the ingest manager does, without a publisher to cut.
type commands struct{ p *place }

func (c commands) Start(ctx context.Context, id string) (livestream.Record, error) {
	e := livestream.Event{Kind: livestream.Start, NewID: livestream.NewUUID(), NewRun: livestream.NewRunID()}
	return c.do(ctx, id, e, livestream.ErrAlreadyOn)
}

func (c commands) Stop(ctx context.Context, id string) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.Stop}, livestream.ErrNotActive)
}

func (c commands) Enable(ctx context.Context, id string) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.Enable}, nil)
}

func (c commands) Disable(ctx context.Context, id string) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.Disable}, nil)
}

func (c commands) ResetKey(ctx context.Context, id string) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.ResetKey, NewKey: livestream.NewStreamKey()}, nil)
}

func (c commands) Configure(ctx context.Context, id string, change livestream.Change) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.Configure, Change: change}, nil)
}

// Cue is told that no media is listed: there is none here.
func (c commands) Cue(context.Context, string, media.Cue) (media.Mark, error) {
	return media.Mark{}, livestream.ErrNotActive
}

func (c commands) Delete(ctx context.Context, id string) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.Delete}, nil)
}

func (c commands) do(ctx context.Context, id string, e livestream.Event, refused error) (livestream.Record, error) {
	e.At = c.p.clock()
	rec, err := c.p.store.Advance(ctx, id, e)
	if refused != nil && errors.Is(err, livestream.ErrTransition) {
		err = refused
	}
	return rec, err
}

func (p *place) scope() livestream.Scope {
	return livestream.Scope{AccountID: p.target.Account, AppID: p.target.App}
}

// create makes a livestream and makes it the target.
func (p *place) create(name, meeting string) string {
	p.t.Helper()
	p.now = p.now.Add(1234 * time.Millisecond)
	l := livestream.Livestream{Scope: p.scope(), ID: livestream.NewUUID(), Name: name, HasName: name != "", MeetingID: meeting,
		StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(), CreatedAt: p.now, UpdatedAt: p.now,
		Settings: livestream.DefaultSettings}
	must(p.t, p.store.CreateLivestream(p.t.Context(), l))
	p.target.Livestream = l.ID
	return l.ID
}

// meeting makes a meeting and makes it the target.
func (p *place) meeting() string {
	p.t.Helper()
	m := livestream.Meeting{Scope: p.scope(), ID: livestream.NewUUID(), Title: "room", HasTitle: true, Active: true,
		CreatedAt: p.now, UpdatedAt: p.now, SessionKeepAliveSecs: 60}
	must(p.t, p.store.CreateMeeting(p.t.Context(), m))
	p.target.Meeting = m.ID
	return m.ID
}

// advance turns the clock and applies an event; its session becomes the target.
func (p *place) advance(id string, d time.Duration, e livestream.Event) livestream.Record {
	p.t.Helper()
	p.now = p.now.Add(d)
	rec, err := p.store.RecordByID(p.t.Context(), p.scope(), id)
	must(p.t, err)
	e.At, e.Epoch = p.now, rec.Session.Epoch
	e.NewID, e.NewRun, e.Key = livestream.NewUUID(), livestream.NewRunID(), rec.Livestream.StreamKey
	rec, err = p.store.Advance(p.t.Context(), id, e)
	must(p.t, err)
	p.target.Session = rec.Session.ID
	return rec
}

// count checkpoints an open session's seconds.
func (p *place) count(rec livestream.Record, ingest, viewed time.Duration) {
	p.t.Helper()
	p.now = p.now.Add(ingest)
	must(p.t, p.store.Checkpoint(p.t.Context(), []livestream.Checkpoint{{LivestreamID: rec.Livestream.ID, SessionID: rec.Session.ID,
		Epoch: rec.Session.Epoch, At: p.now, LastMediaAt: p.now, Ingest: ingest, RunID: rec.Livestream.Run.ID}}, []livestream.UsageWindow{{SessionID: rec.Session.ID, Kind: livestream.ByMedia, Node: "n", Incarnation: "i", Window: 1, Amount: viewed}}, nil))
}
