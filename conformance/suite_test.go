package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tally/conformance"
	v6 "tally/conformance/v6"
	v7 "tally/conformance/v7"
	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/store/sqlite"
)

// A client is one release of an official client.
type client struct {
	name string
	goes bool // decodes into Go types
	do   func(context.Context, conformance.Mode, conformance.Target) (conformance.Reading, error)
}

func clients() []client {
	all := []client{{"go v6", true, v6.Do}, {"go v7", true, v7.Do}}
	for _, version := range conformance.JSVersions {
		all = append(all, client{"js " + version, false, func(ctx context.Context, m conformance.Mode, t conformance.Target) (conformance.Reading, error) {
			return conformance.JS(ctx, version, m, t)
		}})
	}
	return all
}

// A place is a server over a store of its own, with a scripted broadcast.
type place struct {
	t      *testing.T
	store  *sqlite.Store
	now    time.Time
	target conformance.Target
	public string
	ingest string
	// flip answers L4 of a disabled livestream: no real one has an active
	// session, because disable ends it and acknowledges its failure.
	flip bool
}

func newPlace(t *testing.T, account, app, public, ingest string) *place {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tally.db"))
	must(t, err)
	t.Cleanup(func() { store.Close() })
	p := &place{t: t, store: store, now: time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC), public: public, ingest: ingest}
	must(t, store.CreateApp(t.Context(), livestream.App{AccountID: account, ID: app, CreatedAt: p.now}))
	text, hash := auth.NewToken()
	must(t, store.CreateToken(t.Context(), livestream.Token{ID: livestream.NewUUID(), Hash: hash, AccountID: account,
		Scopes: []string{auth.Realtime}, CreatedAt: p.now}))
	srv := httptest.NewServer(api.New(api.Config{
		Store: shown{store, p}, Auth: &auth.Authenticator{Store: store}, Control: commands{p},
		PublicURL: public, IngestURL: ingest, Now: func() time.Time { return p.now },
	}))
	t.Cleanup(srv.Close)
	p.target = conformance.Target{Base: srv.URL + "/client/v4", Token: text.Reveal(), Account: account, App: app}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shown is the store, with place.flip.
type shown struct {
	*sqlite.Store
	p *place
}

func (s shown) RecordByID(ctx context.Context, sc livestream.Scope, id string) (livestream.Record, error) {
	rec, err := s.Store.RecordByID(ctx, sc, id)
	rec.Livestream.Disabled = rec.Livestream.Disabled != s.p.flip
	return rec, err
}

// commands is what the ingest manager does, without a publisher to cut.
type commands struct{ p *place }

func (c commands) Start(ctx context.Context, id string) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.Start, NewID: livestream.NewUUID(), NewRun: livestream.NewRunID()}, livestream.ErrAlreadyOn)
}

func (c commands) Stop(ctx context.Context, id string) (livestream.Record, error) {
	return c.do(ctx, id, livestream.Event{Kind: livestream.Stop}, livestream.ErrNotActive)
}

func (c commands) do(ctx context.Context, id string, e livestream.Event, refused error) (livestream.Record, error) {
	e.At = c.p.now
	rec, err := c.p.store.Advance(ctx, id, e)
	if errors.Is(err, livestream.ErrTransition) {
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
		Epoch: rec.Session.Epoch, At: p.now, LastMediaAt: p.now, Ingest: ingest, RunID: rec.Livestream.Run.ID}},
		[]livestream.UsageWindow{{SessionID: rec.Session.ID, Kind: livestream.ViewerTime, Node: "n", Incarnation: "i", Window: 1, Amount: viewed}}))
}

// The scripted broadcasts. No field of livestream or session has the same value
// in all of them, so a constant cannot pass.
var scripts = []struct {
	name string
	play func(t *testing.T) *place
}{
	{"live for the second time", func(t *testing.T) *place {
		p := newPlace(t, "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "https://live.example.org", "rtmps://live.example.org:443/live/")
		id := p.create("Sunday service", "")
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Unpublish})
		p.advance(id, time.Minute, livestream.Event{Kind: livestream.Publish})
		rec := p.advance(id, 345*time.Millisecond, livestream.Event{Kind: livestream.Playable})
		p.count(rec, 60600*time.Millisecond, 12400*time.Millisecond)
		return p
	}},
	{"meeting that failed", func(t *testing.T) *place {
		p := newPlace(t, "acc", "a-longer_app-id-of-64-characters-which-only-the-pages-call-32-xyz", "http://10.1.2.3:8080", "rtmp://10.1.2.3:1935/live/")
		p.create("older", "")
		id := p.create("", p.meeting())
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Start})
		p.advance(id, time.Minute, livestream.Event{Kind: livestream.Publish})
		p.advance(id, 10*time.Second, livestream.Event{Kind: livestream.Fail, Reason: livestream.Silent(10 * time.Second)})
		return p
	}},
	{"meeting that reconnects", func(t *testing.T) *place {
		p := newPlace(t, "acc", "app", "https://tally.example", "rtmp://tally.example:1935/live/")
		id := p.create("Weekly", p.meeting())
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Start})
		p.advance(id, time.Minute, livestream.Event{Kind: livestream.Publish})
		rec := p.advance(id, 500*time.Millisecond, livestream.Event{Kind: livestream.Playable})
		p.count(rec, 3*time.Second, 1501*time.Millisecond)
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Lose, LastMediaAt: p.now})
		p.flip = true
		return p
	}},
}

// Every field of every read, in the type that its endpoint declares, through
// every client.
func TestEveryFieldThroughEveryClient(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			p := s.play(t)
			want := p.expected()
			for _, c := range clients() {
				t.Run(c.name, func(t *testing.T) {
					got, err := c.do(t.Context(), conformance.Read, p.target)
					must(t, err)
					for _, path := range slices.Sorted(maps.Keys(want)) {
						w := want[path].js
						if c.goes {
							w = want[path].golang
						} else if _, has := got[path]; !has {
							t.Errorf("%s: the server left it out", path)
							continue
						}
						if w == undeclared || c.name == "go v6" && path == "meeting.transcribe_on_end" {
							continue
						}
						if diff := cmp.Diff(w, got[path]); diff != "" {
							t.Errorf("%s (-want +got):\n%s", path, diff)
						}
					}
					for path := range got {
						if _, ok := want[path]; !ok {
							t.Errorf("%s = %v is declared by the client and compared by nobody", path, got[path])
						}
					}
				})
			}
		})
	}
}

// A field whose value is the same in all scripts could be a constant: the
// comparison above would not notice.
func TestScriptsTellEveryFieldApart(t *testing.T) {
	values := map[string][]string{}
	for _, s := range scripts {
		for path, v := range s.play(t).expected() {
			if text := fmt.Sprint(v.js); !slices.Contains(values[path], text) {
				values[path] = append(values[path], text)
			}
		}
	}
	for path, seen := range values {
		if strings.HasPrefix(path, "active.") && len(seen) < 2 {
			t.Errorf("%s is %s in every script", path, seen)
		}
	}
}

// A field as the clients decode it.
type field struct{ golang, js any }

// undeclared marks a field that the Go client does not declare.
var undeclared = new(int)

const layout = "2006-01-02T15:04:05.000Z"

// text is a string that may be null; Go shows null as "".
func text(s string, has bool) field {
	if !has {
		return field{"", nil}
	}
	return field{s, s}
}

func plain[T ~string](s T) field { return text(string(s), true) }

// at is a date-time, and atText a time that the endpoint declares as a string.
func at(t time.Time) field {
	if t.IsZero() {
		return field{time.Time{}, nil}
	}
	t = t.UTC().Truncate(time.Millisecond)
	return field{t, t.Format(layout)}
}

func atText(t time.Time) field { return text(t.UTC().Format(layout), !t.IsZero()) }

func whole(n int64) field  { return field{n, float64(n)} }
func number(n int64) field { return field{float64(n), float64(n)} }

// expected says what every read must give, from what the store holds: one line
// per field of the contract's table 6.2.
func (p *place) expected() map[string]field {
	p.t.Helper()
	rec, err := shown{p.store, p}.RecordByID(p.t.Context(), p.scope(), p.target.Livestream)
	must(p.t, err)
	all, total, err := p.store.Records(p.t.Context(), p.scope(), livestream.Query{Page: livestream.Page{Number: 1, Size: 25}})
	must(p.t, err)
	_, sessions, err := p.store.Sessions(p.t.Context(), p.scope(), p.target.Livestream, livestream.Page{Number: 1, Size: 25})
	must(p.t, err)
	want := map[string]field{}
	put := func(prefix string, fields map[string]field) {
		for name, f := range fields {
			want[prefix+"."+name] = f
		}
	}
	put("list", p.livestream(all[0], at))
	put("list.paging", paging(len(all), total))
	put("by_id.livestream", p.livestream(rec, atText))
	put("by_id.session", session(rec.Session, number))
	put("by_id.paging", paging(sessions, sessions))
	put("active.livestream", p.livestream(rec, at))
	put("active.session", session(rec.Session, func(n int64) field { return plain(fmt.Sprint(n)) }))
	put("session", session(rec.Session, whole))
	want["session.started_time"], want["session.stopped_time"] = atText(rec.Session.StartedAt), atText(rec.Session.StoppedAt)
	want["session.updated_at"] = atText(rec.Session.UpdatedAt)
	want["session.invoked_time"] = field{undeclared, at(rec.Session.InvokedAt).js}
	if p.target.Meeting != "" {
		put("meeting_active", p.livestream(all[0], at))
		put("meeting", meeting(p))
	}
	return want
}

func (p *place) livestream(rec livestream.Record, when func(time.Time) field) map[string]field {
	l := rec.Livestream
	return map[string]field{
		"id":            plain(l.ID),
		"created_at":    when(l.CreatedAt),
		"disabled":      plain(fmt.Sprint(l.Disabled)),
		"ingest_server": plain(p.ingest),
		"meeting_id":    text(l.MeetingID, l.MeetingID != ""),
		"name":          text(l.Name, l.HasName),
		"playback_url":  plain(p.public + "/hls/" + l.PlaybackID + "/index.m3u8"),
		"status":        plain(rec.Session.Status()),
		"stream_key":    plain(l.StreamKey.Reveal()),
		"updated_at":    when(l.UpdatedAt),
	}
}

func session(s livestream.Session, seconds func(int64) field) map[string]field {
	rounded := func(d time.Duration) field { return seconds(int64(d.Round(time.Second) / time.Second)) }
	return map[string]field{
		"id":             plain(s.ID),
		"created_at":     at(s.CreatedAt),
		"err_message":    text(s.ErrMessage(), s.ErrMessage() != ""),
		"ingest_seconds": rounded(s.Ingest),
		"invoked_time":   at(s.InvokedAt),
		"livestream_id":  plain(s.LivestreamID),
		"started_time":   at(s.StartedAt),
		"stopped_time":   at(s.StoppedAt),
		"updated_at":     at(s.UpdatedAt),
		"viewer_seconds": rounded(s.Viewed),
	}
}

func paging(shown, total int) map[string]field {
	return map[string]field{"total_count": whole(int64(total)), "start_offset": whole(1), "end_offset": whole(int64(shown))}
}

func meeting(p *place) map[string]field {
	m, err := p.store.Meeting(p.t.Context(), p.scope(), p.target.Meeting)
	must(p.t, err)
	null := field{undeclared, nil}
	return map[string]field{
		"id": plain(m.ID), "title": plain("room"), "status": plain("ACTIVE"),
		"created_at": at(m.CreatedAt), "updated_at": at(m.UpdatedAt),
		"session_keep_alive_time_in_secs": number(60),
		"record_on_start":                 {false, false}, "live_stream_on_start": {false, false}, "persist_chat": {false, false},
		"summarize_on_end": {false, false}, "transcribe_on_end": {false, false},
		"recording_config": null, "ai_config": null,
	}
}

// What creates, starts and stops, through every client.
func TestWritesThroughEveryClient(t *testing.T) {
	p := newPlace(t, "acc", "app", "https://tally.example", "rtmp://tally.example:1935/live/")
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.do(t.Context(), conformance.Write, p.target)
			must(t, err)
			status := func(n int) any {
				if c.goes {
					return int64(n)
				}
				return float64(n)
			}
			null := func() any {
				if c.goes {
					return ""
				}
				return nil
			}()
			for _, w := range []struct {
				path string
				want any
			}{
				{"create.name", "made by a client"}, {"create.status", "INVOKED"}, {"create.disabled", false}, {"create.meeting_id", null},
				{"create.ingest_server", "rtmp://tally.example:1935/live/"}, {"create_unnamed.name", null}, {"create_unnamed.status", "INVOKED"},
				{"new_meeting.title", "made by a client"}, {"new_meeting.status", "ACTIVE"}, {"new_meeting.persist_chat", true},
				{"new_meeting.record_on_start", false}, {"new_meeting.session_keep_alive_time_in_secs", 90.0},
				{"start.status", "INVOKED"}, {"start.ingest_server", "rtmp://tally.example:1935/live/"},
				{"start_again.error.status", status(400)}, {"start_again.error.code", status(400)},
				{"stop.message", "Stopped live stream successfully"},
				{"stop_again.error.status", status(404)}, {"stop_again.error.code", status(404)},
				{"stop_again.error.message", fmt.Sprint("No active livestream found for meeting_id ", got["new_meeting.id"])},
			} {
				if diff := cmp.Diff(w.want, got[w.path]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", w.path, diff)
				}
			}
			for _, name := range []string{"create", "create_unnamed", "start"} {
				id, _ := got[name+".id"].(string)
				rec, err := p.store.RecordByID(t.Context(), p.scope(), id)
				must(t, err)
				l := rec.Livestream
				if got[name+".stream_key"] != l.StreamKey.Reveal() || got[name+".playback_url"] != "https://tally.example/hls/"+l.PlaybackID+"/index.m3u8" {
					t.Errorf("%s: key and URL are not those of the livestream", name)
				}
			}
		})
	}
}

// What each refusal looks like, through every client.
func TestErrorsThroughEveryClient(t *testing.T) {
	p := newPlace(t, "acc", "app", "https://tally.example", "rtmp://tally.example:1935/live/")
	id := p.create("quiet", "")
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.do(t.Context(), conformance.Wrong, p.target)
			must(t, err)
			quiet, err := c.do(t.Context(), conformance.Read, conformance.Target{
				Base: p.target.Base, Token: p.target.Token, Account: "acc", App: "app", Livestream: id})
			must(t, err)
			got.Add("quiet", quiet)
			for _, w := range []struct {
				name         string
				status, code int
				class        string
				message      string
				pointer      string
			}{
				{"token", 401, 10000, "AuthenticationError", "Authentication error", ""},
				{"account", 403, 10000, "PermissionDeniedError", "Authentication error", ""},
				{"app", 404, 404, "NotFoundError", `NOT_FOUND: app "0123456789abcdef0123456789abcdef" does not exist`, ""},
				{"livestream", 404, 404, "NotFoundError", `NOT_FOUND: livestream "00000000-0000-4000-8000-000000000000" does not exist`, ""},
				{"quiet.active", 404, 404, "NotFoundError", "No active livestream session found for livestream_id " + id, ""},
				{"body", 400, 400, "BadRequestError", `BAD_REQUEST: "name" must not hold control characters`, "/name"},
			} {
				at := func(name string) string { return fmt.Sprint(got[w.name+".error."+name]) }
				if at("status") != fmt.Sprint(w.status) || at("code") != fmt.Sprint(w.code) || at("message") != w.message || at("pointer") != w.pointer {
					t.Errorf("%s: %s %s %q %q, want %+v", w.name, at("status"), at("code"), at("message"), at("pointer"), w)
				}
				if !c.goes && at("class") != w.class {
					t.Errorf("%s: a %s, want %s", w.name, at("class"), w.class)
				}
			}
		})
	}
}

// Both majors are driven by the same code: v6's is generated from v7's.
func TestV6IsGeneratedFromV7(t *testing.T) {
	from, err := os.ReadFile("v7/read.go")
	must(t, err)
	to, err := os.ReadFile("v6/read.go")
	must(t, err)
	_, want, _ := strings.Cut(string(from), "\n")
	want = strings.NewReplacer("cloudflare-go/v7", "cloudflare-go/v6", "cloudflare-go v7", "cloudflare-go v6", "ackage v7", "ackage v6").Replace(want)
	_, got, _ := strings.Cut(string(to), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("v6/read.go is out of date, run go generate ./conformance/v7 (-want +got):\n%s", diff)
	}
}

// No server, client or store leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
