package usage_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tally/internal/livestream"
	"tally/internal/usage"
	"tally/internal/viewer"
)

// amounts by kind of evidence.
type amounts struct{ beacon, media, playlist time.Duration }

func (a amounts) sum() time.Duration { return a.beacon + a.media + a.playlist }

func (a amounts) plus(b amounts) amounts {
	return amounts{a.beacon + b.beacon, a.media + b.media, a.playlist + b.playlist}
}

// near: in each kind less than a microsecond may wait, and what waits in one
// leaves room in another.
func (a amounts) near(b amounts) bool {
	near := func(a, b time.Duration) bool { return max(a-b, b-a) < 2*time.Microsecond }
	return near(a.beacon, b.beacon) && near(a.media, b.media) && near(a.playlist, b.playlist)
}

// A ledger is a checkpoint loop and a store: it inserts windows or ignores them,
// and replaces rows by what is larger.
type ledger struct {
	windows map[windowKey]livestream.UsageWindow
	rows    map[rowKey]livestream.Viewing
}

type windowKey struct {
	session           string
	kind              livestream.UsageKind
	node, incarnation string
	window            int64
}

type rowKey struct{ session, viewer, node, incarnation string }

func (l *ledger) write(ws []livestream.UsageWindow, vs []livestream.Viewing) {
	if l.windows == nil {
		l.windows, l.rows = map[windowKey]livestream.UsageWindow{}, map[rowKey]livestream.Viewing{}
	}
	for _, w := range ws {
		key := windowKey{w.SessionID, w.Kind, w.Node, w.Incarnation, w.Window}
		if _, known := l.windows[key]; !known {
			l.windows[key] = w
		}
	}
	for _, v := range vs {
		key := rowKey{v.SessionID, v.Viewer, v.Node, v.Incarnation}
		old := l.rows[key]
		v.Beacon, v.Media, v.Playlist = max(v.Beacon, old.Beacon), max(v.Media, old.Media), max(v.Playlist, old.Playlist)
		v.Bytes, v.Renditions = max(v.Bytes, old.Bytes), v.Renditions|old.Renditions
		l.rows[key] = v
	}
}

// checkpoint writes and acknowledges.
func (l *ledger) checkpoint(c *usage.Counter) {
	ws, vs := c.Drain()
	l.write(ws, vs)
	c.Ack(ws, vs)
}

// everybody waits until all have left and every row is stored.
func (l *ledger) everybody(t failer, c *usage.Counter) {
	t.Helper()
	time.Sleep(time.Minute)
	for n := 0; n < 3 || c.Stats().Waiting > 0; n++ { // a window may wait, and the next behind it
		if n > 1000 {
			t.Fatalf("%+v: rows are never stored", c.Stats())
		}
		l.checkpoint(c)
	}
}

type failer interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

func (l *ledger) sum() time.Duration { return l.bySession("").sum() }

// bySession sums windows of a session, or of all.
func (l *ledger) bySession(id string) (a amounts) {
	for key, w := range l.windows {
		if id == "" || key.session == id {
			switch key.kind {
			case livestream.ByBeacon:
				a.beacon += w.Amount
			case livestream.ByMedia:
				a.media += w.Amount
			case livestream.ByPlaylist:
				a.playlist += w.Amount
			}
		}
	}
	return a
}

// byViewer sums rows of a viewer and session; "" for all.
func (l *ledger) byViewer(session, viewer string) (a amounts) {
	for key, v := range l.rows {
		if (session == "" || key.session == session) && (viewer == "" || key.viewer == viewer) {
			a = a.plus(amounts{v.Beacon, v.Media, v.Playlist})
		}
	}
	return a
}

// A model is what one viewer is counted in one session, by the rules of design
// section 4 and nothing clever: sets for spans, a map of beacons.
type model struct {
	promised    bool
	first, last time.Duration
	delivered   time.Duration // instant; -1
	span        time.Duration
	parts       map[int64]bool
	distinct    time.Duration
	asked       time.Duration // instant; -1
	held        bool          // the playlist that was asked for last was, and no media came since
	running     time.Duration // longest running step; 0: none
	steps       time.Duration
	beacons     bool
	oldest, seq int64 // of the beacons that it heard
	told        time.Duration
	lapsed      bool
	present     bool
	presence    time.Duration
	counted     amounts
}

func newModel(id viewer.ID, now time.Duration) *model {
	return &model{promised: id.Beacons(), first: now, delivered: -1, asked: -1, parts: map[int64]bool{}}
}

func (m *model) settle(now time.Duration) {
	m.lapsed = m.lapsed || now-m.first >= 15*time.Second
	if m.beacons || m.promised && !m.lapsed {
		return
	}
	media := min(m.distinct, now-m.delivered+m.span)
	if m.delivered < 0 {
		media = 0
	}
	limit := now - m.first + m.span
	m.counted.media = max(m.counted.media, min(media, limit-m.counted.playlist))
	m.counted.playlist = max(m.counted.playlist, min(m.steps, limit-m.counted.media))
}

func (m *model) deliver(now, span time.Duration, spans []usage.Span) {
	if m.delivered < 0 {
		m.delivered = now
	}
	m.span = max(m.span, span)
	for _, s := range spans {
		if n := int64(s.From / part); s.To > s.From && !m.parts[n] {
			m.parts[n] = true
			m.distinct += part
			m.held = false
		}
	}
	m.running = 0
	if m.asked >= 0 {
		m.asked = now
	}
	m.settle(now)
	m.last, m.present = now, true
}

func (m *model) ask(now, target time.Duration, held bool) {
	if m.asked >= 0 && !held && !m.held {
		m.steps += min(now-m.asked, 2*target)
	}
	m.asked, m.held, m.running = now, held, 2*target
	if held {
		m.running = 0
	}
	m.settle(now)
	m.last, m.present = now, true
}

func (m *model) tell(now, fresh time.Duration) {
	m.beacons = true
	limit := m.distinct + m.steps
	if m.running > 0 {
		limit += min(now-m.asked, m.running)
	}
	limit = min(limit, now-m.first)
	for ; fresh > 0 && m.told < limit; fresh-- { // a nanosecond each, or all that fits
		m.told += min(fresh, limit-m.told)
		fresh = 1
	}
	m.counted.beacon = max(m.counted.beacon, m.told-m.counted.media-m.counted.playlist)
}

func (m *model) leave() {
	m.present, m.lapsed = false, true
	m.settle(m.last)
}

// A run of the property test: viewers in two sessions of one run of a playlist.
type trial struct {
	*rapid.T
	c       *usage.Counter
	l       *ledger
	start   time.Time
	ids     []viewer.ID
	models  []map[string]*model // by viewer, by session
	seqs    []map[int64]time.Duration
	unacked []func()
	ended   map[string]bool
	looks   bool // an end makes the next checkpoint look for everybody whose session is over
}

const target = 2 * time.Second

func (x *trial) now() time.Duration { return time.Since(x.start) }

func (x *trial) model(who int, session string) *model {
	m := x.models[who][session]
	if m == nil {
		m = newModel(x.ids[who], x.now())
		x.models[who][session] = m
	}
	m.presence = 10 * time.Second
	return m
}

func (x *trial) deliver(who int, session string) {
	first := rapid.Int64Range(0, 400).Draw(x.T, "first")
	spans := parts(first, rapid.Int64Range(1, 8).Draw(x.T, "parts"))
	for i := range spans {
		if rapid.IntRange(0, 5).Draw(x.T, "held") == 0 {
			spans[i].To = spans[i].From
		}
	}
	window := time.Duration(rapid.IntRange(1, 20).Draw(x.T, "window")) * time.Second
	x.model(who, session).deliver(x.now(), window, spans)
	x.c.Delivered(usage.Delivery{SessionID: session, Viewer: x.ids[who], Window: window, Target: target}, spans)
}

func (x *trial) ask(who int, session string) {
	held := rapid.IntRange(0, 4).Draw(x.T, "held") == 0
	x.model(who, session).ask(x.now(), target, held)
	x.c.Asked(usage.Presence{SessionID: session, Viewer: x.ids[who], Target: target, Held: held})
}

var oddTimes = []time.Duration{-1, -1 << 63, 1<<63 - 1, 1 << 62, 0, 1, time.Hour}

func (x *trial) tell(who int, session string) {
	seq := rapid.Int64Range(-1, 12).Draw(x.T, "seq")
	played := time.Duration(rapid.Int64Range(0, 8e9).Draw(x.T, "played"))
	if rapid.IntRange(0, 9).Draw(x.T, "odd") == 0 {
		played = rapid.SampledFrom(oddTimes).Draw(x.T, "odd played")
	}
	x.c.Told(usage.Beacon{SessionID: session, Viewer: x.ids[who], Seq: seq, Played: played})
	m := x.models[who][session]
	before, again := x.seqs[who][seq]
	if m == nil || played < 0 || seq < 0 || m.beacons && seq < m.seq || again && played < before {
		return
	}
	for _, o := range x.models[who] {
		if o != m && o.beacons && o.oldest <= seq && seq < o.seq {
			return
		}
	}
	if x.seqs[who][seq] = played; !m.beacons {
		m.oldest = seq
	}
	m.seq = seq
	m.tell(x.now(), played-before)
	if played > before {
		m.last, m.present = x.now(), true
	}
}

// checkpoint drains, and the store or the acknowledgement may fail.
func (x *trial) checkpoint() {
	for _, sessions := range x.models {
		for id, m := range sessions {
			if m.present && (x.now()-m.last > m.presence || x.looks && x.ended[id]) {
				m.leave()
			}
		}
	}
	x.looks = false
	ws, vs := x.c.Drain()
	if len(vs) > 2048 {
		x.Fatalf("%d rows at once", len(vs))
	}
	switch rapid.IntRange(0, 5).Draw(x.T, "checkpoint") {
	case 0: // the store was not reached
	case 1: // it wrote, but its answer was lost, or comes late
		x.l.write(ws, vs)
		x.unacked = append(x.unacked, func() { x.c.Ack(ws, vs) })
	case 2: // written twice, told twice
		x.l.write(ws, vs)
		x.l.write(ws, vs)
		x.c.Ack(ws, vs)
		x.c.Ack(ws, vs)
	default:
		x.l.write(ws, vs)
		x.c.Ack(ws, vs)
	}
	if len(x.unacked) > 0 && rapid.Bool().Draw(x.T, "late") {
		x.unacked[0]()
		x.unacked = x.unacked[1:]
	}
}

// TestAgainstTheModel: whatever comes in whatever order, each viewer is counted
// as the rules say, to the microsecond, never more than wall time and the
// playlist, and once everybody left the rows have the same sums as the windows.
func TestAgainstTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { inBubble(t, func() { oneTrial(rt) }) })
}

// inBubble runs one trial in virtual time: rapid itself minds the real one.
func inBubble(t *testing.T, trial func()) {
	var failed any
	synctest.Test(t, func(*testing.T) {
		defer func() { failed = recover() }()
		trial()
	})
	switch fmt.Sprintf("%T", failed) {
	case "<nil>":
	case "rapid.invalidData": // not a failure: rapid tells them apart by the line
		panic(failed)
	default:
		panic(failed)
	}
}

func oneTrial(t *rapid.T) {
	x := &trial{T: t, c: usage.New(usage.Config{Node: "n"}), l: &ledger{}, start: time.Now()}
	for i := range 3 {
		x.ids = append(x.ids, newViewerThat(i == 0))
		x.models = append(x.models, map[string]*model{})
		x.seqs = append(x.seqs, map[int64]time.Duration{})
	}
	x.ended = map[string]bool{}
	sessions := []string{"first", "second"}
	for range rapid.IntRange(1, 80).Draw(t, "steps") {
		who, session := rapid.IntRange(0, 2).Draw(t, "viewer"), rapid.SampledFrom(sessions).Draw(t, "session")
		switch rapid.IntRange(0, 9).Draw(t, "do") {
		case 0, 1:
			x.deliver(who, session)
		case 2, 3:
			x.ask(who, session)
		case 4, 5:
			x.tell(who, session)
		case 6, 7:
			time.Sleep(time.Duration(rapid.Int64Range(0, 5e9).Draw(t, "sleep")))
		case 8:
			if rapid.IntRange(0, 9).Draw(t, "end") == 0 && x.models[who][session] != nil {
				x.c.End(session)
				x.ended[session], x.looks = true, true
			}
		default:
			x.checkpoint()
		}
	}
	time.Sleep(30 * time.Second)
	x.checkpoint()
	x.l.everybody(t, x.c)
	x.compare()
}

func (x *trial) compare() {
	var all amounts
	for who, sessions := range x.models {
		for session, m := range sessions {
			got := x.l.byViewer(session, x.ids[who].RandomHex())
			if !got.near(m.counted) {
				x.Fatalf("viewer %d in %s is counted %+v, want %+v", who, session, got, m.counted)
			}
			if limit := m.last - m.first + m.span; got.sum() > limit {
				x.Fatalf("viewer %d in %s is counted %v in %v", who, session, got.sum(), limit)
			}
			all = all.plus(got)
		}
	}
	for _, session := range []string{"first", "second"} {
		if rows, windows := x.l.byViewer(session, ""), x.l.bySession(session); rows != windows {
			x.Fatalf("%s: rows have %+v, windows %+v", session, rows, windows)
		}
	}
	for key, row := range x.l.rows {
		if !row.Left {
			x.Fatalf("%+v has not left", key)
		}
	}
}

// TestRowsAddUpWhateverIsForgotten: viewers come, leave, are forgotten and come
// again under the same id, the store fails, the cap is reached, and still rows
// and windows have the same sums.
func TestRowsAddUpWhateverIsForgotten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func() {
			x := &trial{T: rt, c: usage.New(usage.Config{}), l: &ledger{}, start: time.Now()}
			for range 20 {
				x.ids = append(x.ids, newViewerThat(rapid.Bool().Draw(rt, "promised")))
			}
			for n := range rapid.Int64Range(1, 60).Draw(rt, "steps") {
				id := rapid.SampledFrom(x.ids).Draw(rt, "viewer")
				switch rapid.IntRange(0, 4).Draw(rt, "do") {
				case 0:
					give(x.c, id, n*100, 4)
				case 1:
					x.c.Asked(usage.Presence{SessionID: session, Viewer: id, Target: target})
				case 2:
					x.c.Told(usage.Beacon{SessionID: session, Viewer: id, Seq: n, Played: time.Second})
				case 3:
					time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, 4 * time.Minute, time.Hour}).Draw(rt, "sleep"))
				default:
					x.checkpoint()
				}
			}
			x.l.everybody(rt, x.c)
			if rows, windows := x.l.byViewer("", ""), x.l.bySession(""); rows != windows {
				rt.Fatalf("rows have %+v, windows %+v", rows, windows)
			}
		})
	})
}

// TestAuditOfViewersThatCameBack: a viewer that was forgotten and comes back has
// another row, and the store's audit finds that all adds up.
func TestAuditOfViewersThatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := usage.New(usage.Config{Node: "n"}), &ledger{}
		back := newViewer()
		for n := range int64(4) {
			give(c, back, n*1000, 6)
			give(c, newViewer(), n*1000, 6)
			l.checkpoint(c)
			time.Sleep(time.Hour)
			l.everybody(t, c)
		}
		audit := &livestream.Audit{At: time.Now()}
		audit.Begin(livestream.Session{ID: session, Viewed: l.sum()}, false, livestream.DefaultRetention)
		sums := map[string]livestream.WindowSum{}
		for _, w := range l.windows {
			sum := sums[w.Incarnation]
			sum.Node, sum.Incarnation, sum.Windows = w.Node, w.Incarnation, sum.Windows+1
			sum.Media += w.Amount
			sums[w.Incarnation] = sum
		}
		for _, sum := range sums {
			audit.Windows(sum)
		}
		rows := slices.SortedFunc(maps.Values(l.rows), func(a, b livestream.Viewing) int { return strings.Compare(a.Viewer, b.Viewer) })
		for _, row := range rows {
			audit.Viewing(row)
		}
		audit.Done()
		if !audit.AddsUp() || len(audit.ViewerRest) != 0 || audit.Viewers != 5 || len(rows) != 8 {
			t.Errorf("%d rows of %d viewers: %+v", len(rows), audit.Viewers, audit.ViewerRest)
		}
	})
}
