package storetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"tally/internal/livestream"
)

func testWords(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	c := checkpoint(r, at(2000), time.Second)
	for _, x := range []struct {
		name            string
		bytes           int64
		media, warnings string
		keyframe        time.Duration
		want            livestream.Session
	}{
		{"first", 1000, "H.264", "BITRATE: x", 2 * time.Second, livestream.Session{Bytes: 1000, Media: "H.264", Warnings: "BITRATE: x", Keyframe: 2 * time.Second}},
		{"the same again", 1000, "H.264", "BITRATE: x", 2 * time.Second, livestream.Session{Bytes: 1000, Media: "H.264", Warnings: "BITRATE: x", Keyframe: 2 * time.Second}},
		{"nothing new is known", 900, "", "BITRATE: x", 0, livestream.Session{Bytes: 1000, Media: "H.264", Warnings: "BITRATE: x", Keyframe: 2 * time.Second}},
		{"warnings end", 1500, "", "", 2*time.Second + 1, livestream.Session{Bytes: 1500, Media: "H.264", Keyframe: 2*time.Second + 1}},
		{"other media", 1500, "HEVC, AAC", "B_FRAMES: y\nNO_AUDIO: 'z'", time.Second, livestream.Session{Bytes: 1500, Media: "HEVC, AAC", Warnings: "B_FRAMES: y\nNO_AUDIO: 'z'", Keyframe: time.Second}},
	} {
		c.Bytes, c.Media, c.Warnings, c.Keyframe = x.bytes, x.media, x.warnings, x.keyframe
		must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, nil, nil))
		same(t, x.name, encoding(f.byID(t, l.ID).Session), x.want)
	}
	want := encoding(f.byID(t, l.ID).Session)
	f.reopen(t)
	same(t, "after a restart", encoding(f.byID(t, l.ID).Session), want)

	// A new publish may change the words; what its checkpoints say counts, also
	// when it is what the older one's said.
	r = f.advance(t, l.ID, publish(l, at(4000)))
	c.Epoch = r.Session.Epoch
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, nil, nil))
	same(t, "the same of a newer publish", encoding(f.byID(t, l.ID).Session), want)
	late := c
	late.Epoch, late.Media, late.Warnings, late.Bytes = 1, "old", "old", math.MaxInt64
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{late}, nil, nil))
	same(t, "late words", encoding(f.byID(t, l.ID).Session), want)
}

// encoding is what a session knows of its encoder.
func encoding(s livestream.Session) livestream.Session {
	return livestream.Session{Bytes: s.Bytes, Media: s.Media, Keyframe: s.Keyframe, Warnings: s.Warnings}
}

func testIntervals(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	id := r.Session.ID
	write := func(epoch int64, vs ...livestream.Interval) {
		t.Helper()
		c := checkpoint(r, at(60_000), 0)
		c.Epoch, c.Intervals = epoch, vs
		must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, nil, nil))
	}
	begun := livestream.Interval{SessionID: id, Epoch: 1, Number: 1, From: at(100)}
	ended := begun
	ended.To, ended.Length = at(5100), 5*time.Second+123
	second := livestream.Interval{SessionID: id, Epoch: 1, Number: 2, From: at(9000)}
	for _, x := range []struct {
		name   string
		writes []livestream.Interval
		want   []livestream.Interval
	}{
		{"begun", []livestream.Interval{begun}, []livestream.Interval{begun}},
		{"ended", []livestream.Interval{ended}, []livestream.Interval{ended}},
		{"the same again", []livestream.Interval{ended}, []livestream.Interval{ended}},
		{"a late beginning", []livestream.Interval{begun}, []livestream.Interval{ended}},
		{"the next one", []livestream.Interval{second}, []livestream.Interval{ended, second}},
		{"of no session", []livestream.Interval{{SessionID: livestream.NewUUID(), Epoch: 1, Number: 1, From: at(0)}}, []livestream.Interval{ended, second}},
	} {
		write(1, x.writes...)
		got, err := f.Intervals(ctx, id)
		must(t, err)
		same(t, x.name, got, x.want)
	}
	f.reopen(t)
	// An older publish's, and after the end of the session.
	f.advance(t, l.ID, publish(l, at(12_000)))
	second.To, second.Length = at(12_000), 3*time.Second
	write(1, second)
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(20_000), Epoch: 2})
	third := livestream.Interval{SessionID: id, Epoch: 2, Number: 1, From: at(13_000), To: at(19_000), Length: 6 * time.Second}
	write(2, third)
	got, err := f.Intervals(ctx, id)
	must(t, err)
	same(t, "all of them", got, []livestream.Interval{ended, second, third})
	none, err := f.Intervals(ctx, livestream.NewUUID())
	if must(t, err); len(none) != 0 {
		t.Errorf("a session that does not exist has intervals: %v", none)
	}
}

func testFacts(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	fact := livestream.Fact{
		SessionID: r.Session.ID, At: at(3000), Kind: "warning", From: "on air", To: "on air", Epoch: 1, Remote: "192.0.2.1:50000",
		Encoder: "OBS", Detail: "BITRATE: it swings", Bytes: 1 << 40, Ingest: 2500 * time.Millisecond, Media: "H.264", Keyframe: 8333 * time.Microsecond,
	}
	later, other, foreign := fact, fact, fact
	later.At, other.Detail, foreign.SessionID = at(4000), "NO_AUDIO: none", livestream.NewUUID()
	c := checkpoint(r, at(5000), time.Second)
	c.Facts = []livestream.Fact{fact, other, fact, foreign}
	for range 2 {
		must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, nil, nil))
	}
	f.reopen(t)
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(6000), Epoch: 1})
	c.Facts = []livestream.Fact{other, later}
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, nil, nil)) // of a closed session
	got, n, err := f.Timeline(ctx, r.Session.ID, livestream.Page{Number: 1, Size: 100})
	must(t, err)
	if len(got) != 6 || n != 6 || got[4].Kind != "unpublish" {
		t.Fatalf("%d facts of %d, want publish, playable, two of the encoder, unpublish, one of the encoder", len(got), n)
	}
	same(t, "facts of the encoder", []livestream.Fact{got[2], got[3], got[5]}, []livestream.Fact{fact, other, later})
	none, _, err := f.Timeline(ctx, foreign.SessionID, livestream.Page{Number: 1, Size: 100})
	if must(t, err); len(none) != 0 {
		t.Errorf("a session that does not exist has facts: %v", none)
	}
}

// viewing is of the n-th viewer, who came at that second.
func viewing(sessionID string, n int, media time.Duration) livestream.Viewing {
	return livestream.Viewing{
		SessionID: sessionID, Viewer: fmt.Sprintf("%016x", uint64(n)*0x9e3779b97f4a7c15), Node: "node", Incarnation: "first",
		First: at(1000 * n), Last: at(1000*n + 500), Media: media, Bytes: int64(n) * 1000, Renditions: 1,
	}
}

func testViewings(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	id := r.Session.ID
	var vs []livestream.Viewing
	for n := range 130 {
		vs = append(vs, viewing(id, n, time.Duration(n)*time.Second+1500*time.Microsecond))
	}
	write := func(vs ...livestream.Viewing) { t.Helper(); must(t, f.Checkpoint(ctx, nil, nil, vs)) }
	read := func(number, size int) (page []livestream.Viewing) {
		t.Helper()
		page, n, err := f.Viewings(ctx, id, livestream.Page{Number: number, Size: size})
		must(t, err)
		same(t, "number of viewers", n, 130)
		return page
	}
	expect := append([]livestream.Viewing(nil), vs...)
	for i := range expect {
		expect[i].Node, expect[i].Incarnation = "", ""
	}
	write(append(vs, viewing(livestream.NewUUID(), 1, time.Hour))...)
	write(vs[5:90]...)
	same(t, "first page", read(1, 100), expect[:100])
	same(t, "second page", read(2, 100), expect[100:])
	same(t, "one of them", read(130, 1), expect[129:])

	// Totals only rise, whatever is written; a viewer may be named twice at once.
	lower, higher := vs[3], vs[3]
	lower.Media, lower.Bytes, lower.Last, lower.Renditions = 1, 1, at(1), 0
	higher.Beacon, higher.Playlist, higher.Renditions, higher.Left, higher.First = time.Second, 2*time.Second, 1<<63|2, true, at(1) // but First stays
	write(append(vs[10:80:80], lower, higher, lower)...)
	expect[3].Beacon, expect[3].Playlist, expect[3].Renditions, expect[3].Left = time.Second, 2*time.Second, 1<<63|3, true
	same(t, "raised", read(1, 100)[3], expect[3])
	higher.Left, higher.Last = false, higher.Last.Add(time.Second)
	write(higher)
	expect[3].Left, expect[3].Last = false, higher.Last
	same(t, "came back", read(1, 100)[3], expect[3])

	f.reopen(t)
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(6000), Epoch: 1})
	again := vs[3] // what another start of the node counted of it, after the end
	again.Incarnation, again.Media, again.Last, again.Left = "second", time.Minute, at(1_000_000), false
	write(again)
	write(again)
	expect[3].Media += time.Minute
	expect[3].Bytes *= 2
	expect[3].Last, expect[3].Left = again.Last, false
	same(t, "of two starts", read(1, 100)[3], expect[3])
	none, n, err := f.Viewings(ctx, livestream.NewUUID(), livestream.Page{Number: 1, Size: 100})
	if must(t, err); len(none) != 0 || n != 0 {
		t.Errorf("a session that does not exist has %d viewers", n)
	}
}

// testWindowKinds writes windows of three kinds that bear the same number, in
// numbers that engines write at once, some of them twice.
func testWindowKinds(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	kinds := []livestream.UsageKind{livestream.ByBeacon, livestream.ByMedia, livestream.ByPlaylist}
	var ws []livestream.UsageWindow
	for n := range 210 {
		w := window(r.Session.ID, int64(n/3), time.Duration(1+n%3)*time.Second)
		w.Kind = kinds[n%3]
		ws = append(ws, w)
	}
	for _, part := range [][]livestream.UsageWindow{ws[:1], ws[:120], ws[60:], ws} {
		must(t, f.Checkpoint(ctx, nil, part, nil))
	}
	f.reopen(t)
	must(t, f.Checkpoint(ctx, nil, ws, nil))
	s := f.byID(t, l.ID).Session
	same(t, "by beacon", s.ViewedByBeacon, 70*time.Second)
	same(t, "by playlist", s.ViewedByPlaylist, 210*time.Second)
	same(t, "viewed", s.Viewed, 420*time.Second)
	unknown := window(r.Session.ID, 999, time.Second)
	unknown.Kind = "viewer"
	if err := f.Checkpoint(ctx, nil, []livestream.UsageWindow{unknown}, nil); err == nil {
		t.Error("a window of an unknown kind is written")
	}
	u := &livestream.Audit{At: time.Now()}
	must(t, f.Audit(ctx, here, r.Session.ID, u))
	u.Done()
	same(t, "windows", u.Count, 210)
	same(t, "their sum", u.Windowed, livestream.Amounts{Beacon: 70 * time.Second, Media: 140 * time.Second, Playlist: 210 * time.Second})
}

// ledger notes what an audit is told.
type ledger struct {
	Session   livestream.Session
	Restarted bool
	Kept      livestream.Retention
	Intervals []livestream.Interval
	Sums      []livestream.WindowSum
	Rows      []livestream.Viewing
}

func (l *ledger) Begin(s livestream.Session, restarted bool, kept livestream.Retention) {
	l.Session, l.Restarted, l.Kept = s, restarted, kept
}
func (l *ledger) Interval(v livestream.Interval) { l.Intervals = append(l.Intervals, v) }
func (l *ledger) Windows(w livestream.WindowSum) { w.Since = time.Time{}; l.Sums = append(l.Sums, w) }
func (l *ledger) Viewing(v livestream.Viewing)   { l.Rows = append(l.Rows, v) }

func testAudit(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	id := r.Session.ID
	c := checkpoint(r, at(9000), 8*time.Second)
	c.Intervals = []livestream.Interval{{SessionID: id, Epoch: 1, Number: 1, From: at(1000), To: at(9000), Length: 8 * time.Second}}
	ws := []livestream.UsageWindow{window(id, 1, 3*time.Second), window(id, 2, 4*time.Second), window(id, 1, time.Second), window(id, 9, 2*time.Second)}
	ws[2].Kind, ws[3].Incarnation = livestream.ByBeacon, "second"
	one, two := viewing(id, 1, 7*time.Second), viewing(id, 1, 2*time.Second)
	one.Beacon, two.Incarnation = time.Second, "second"
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, ws, []livestream.Viewing{one, two}))
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Boot, At: at(9500)})
	r = f.advance(t, l.ID, publish(l, at(9900)))
	for range 2 {
		var got ledger
		must(t, f.Audit(ctx, here, id, &got))
		same(t, "ledger", got, ledger{
			Session: f.byID(t, l.ID).Session, Restarted: true, Kept: livestream.DefaultRetention, Intervals: c.Intervals,
			Sums: []livestream.WindowSum{
				{Node: "node", Incarnation: "first", Windows: 3, Amounts: livestream.Amounts{Beacon: time.Second, Media: 7 * time.Second}},
				{Node: "node", Incarnation: "second", Windows: 1, Amounts: livestream.Amounts{Media: 2 * time.Second}},
			},
			Rows: []livestream.Viewing{one, two},
		})
		u := &livestream.Audit{At: time.Now()}
		must(t, f.Audit(ctx, here, id, u))
		u.Done()
		if !u.AddsUp() || u.Viewers != 1 || len(u.IngestRest)+len(u.ViewerRest) != 0 {
			t.Errorf("audit: %+v", u)
		}
		f.reopen(t)
	}
	for name, sc := range map[string]livestream.Scope{"account": {AccountID: "account-2", AppID: here.AppID}, "app": {AccountID: here.AccountID, AppID: "app-2"}} {
		if err := f.Audit(ctx, sc, id, &ledger{}); err == nil {
			t.Errorf("audit of another %s's session", name)
		} else {
			want(t, err, livestream.ErrNotFound)
		}
	}
	want(t, f.Audit(ctx, here, livestream.NewUUID(), &ledger{}), livestream.ErrNotFound)
}
