package livestream

import (
	"fmt"
	"strings"
	"time"
)

// A Retention says how long rows are kept that only tell how a figure came
// about. Sessions, their seconds and the sums of their windows are kept for ever.
type Retention struct {
	Viewings time.Duration // a row per viewer, since its last evidence; 0: none is written
	Timeline time.Duration // facts and ingest intervals
	Windows  time.Duration // usage windows: so long a repeated write of one is known as such
}

// DefaultRetention is design section 3, Kept, and section 4.
var DefaultRetention = Retention{
	Viewings: 30 * 24 * time.Hour,
	Timeline: 90 * 24 * time.Hour,
	Windows:  7 * 24 * time.Hour,
}

// Amounts are viewer time by the evidence it rests on, in whole microseconds.
type Amounts struct{ Beacon, Media, Playlist time.Duration }

// Total is all of it.
func (a Amounts) Total() time.Duration { return a.Beacon + a.Media + a.Playlist }

func (a Amounts) plus(b Amounts) Amounts {
	return Amounts{a.Beacon + b.Beacon, a.Media + b.Media, a.Playlist + b.Playlist}
}

func (a Amounts) minus(b Amounts) Amounts {
	return Amounts{a.Beacon - b.Beacon, a.Media - b.Media, a.Playlist - b.Playlist}
}

// within reports whether no part of a is farther from 0 than d.
func (a Amounts) within(d time.Duration) bool {
	return max(a.Beacon, a.Media, a.Playlist) <= d && min(a.Beacon, a.Media, a.Playlist) >= -d
}

// Counted is what the session's own figures say.
func (s Session) Counted() Amounts {
	return Amounts{s.ViewedByBeacon, s.Viewed - s.ViewedByBeacon - s.ViewedByPlaylist, s.ViewedByPlaylist}
}

// Amounts is what was counted of the viewer.
func (v Viewing) Amounts() Amounts { return Amounts{v.Beacon, v.Media, v.Playlist} }

// Tier is the evidence on which most of the viewer's time rests; "" when none
// was counted.
func (v Viewing) Tier() UsageKind {
	tier, most := UsageKind(""), time.Duration(0)
	for _, part := range []struct {
		UsageKind
		time.Duration
	}{{ByBeacon, v.Beacon}, {ByMedia, v.Media}, {ByPlaylist, v.Playlist}} {
		if part.Duration > most {
			tier, most = part.UsageKind, part.Duration
		}
	}
	return tier
}

// And is the viewer that two starts of nodes each counted a part of.
func (v Viewing) And(o Viewing) Viewing {
	if o.First.Before(v.First) {
		v.First = o.First
	}
	if o.Last.After(v.Last) {
		v.Last, v.Left = o.Last, o.Left
	}
	v.Beacon, v.Media, v.Playlist = v.Beacon+o.Beacon, v.Media+o.Media, v.Playlist+o.Playlist
	v.Bytes += o.Bytes
	v.Renditions |= o.Renditions
	v.Node, v.Incarnation = "", ""
	return v
}

// A WindowSum is what the windows of one session from one start of a node say.
type WindowSum struct {
	// Both empty: everything before such sums were kept.
	Node, Incarnation string
	Since             time.Time // when the first was written
	Windows           int64
	Amounts
}

// A Ledger is told what the store has of one session, all of one moment.
type Ledger interface {
	// Begin comes first. restarted: the server started while the session was open.
	Begin(s Session, restarted bool, kept Retention)
	Interval(Interval) // by epoch and number
	Windows(WindowSum) //
	Viewing(v Viewing) // each row, those of one viewer in succession
}

// Why says why a session has time that no row accounts for.
type Why string

const (
	WhyOpen     Why = "open"     // ingest: an interval that goes on, that began since the last checkpoint, or what of it was lost in a crash
	WhyRounding Why = "rounding" // figures are cut to whole milliseconds or microseconds where they are written
	WhyWatching Why = "watching" // viewers that watch, or left just now, have no row yet, or one that is older
	WhyCrash    Why = "crash"    // of viewers whose rows were not written when the server died
	WhyDropped  Why = "dropped"  // rows that were kept long enough
	WhyNotKept  Why = "not_kept" // no rows were written then
	WhyUnknown  Why = "unknown"  // nothing explains it: it does not add up
)

// A Remainder is time of a session that no row accounts for. It may be negative:
// then the rows say more.
type Remainder struct {
	Why    Why
	Ingest time.Duration // of received media, or
	Viewed Amounts       // of what was watched
}

// settling is how long after the end of a session rows of its viewers may still
// be under way: old media is fetched for 30 s, it shows after 30 s that nobody
// fetches any, and a checkpoint takes 2,000 rows of at most 200,000.
const settling = 2 * time.Minute

// An Audit adds up what is stored of a session and compares it with the
// session's seconds. It is a Ledger; Done says that the rows are complete.
// OnViewer, when set, is given each viewer, merged from its rows, and OnInterval
// each interval.
type Audit struct {
	OnViewer   func(Viewing)
	OnInterval func(Interval)

	At      time.Time // now; set by who makes the audit
	Session Session
	Kept    Retention

	Intervals int           // that ended
	Open      int           // that did not
	Received  time.Duration // sum of those that ended, each in whole microseconds

	Count    int64   // of windows
	Windowed Amounts // their sum

	Viewers int     // that have rows
	Listed  Amounts // the sum of the rows
	Bytes   int64   // delivered to them
	Tiers   map[UsageKind]Tier

	// Set by Done.
	IngestRest  []Remainder // with Received, the session's ingest time
	WindowsRest Amounts     // with Windowed, what the session was counted: anything but 0 does not add up
	ViewerRest  []Remainder // with Listed, what the session was counted

	restarted bool
	epochs    map[int64]bool
	going     *Interval     // the last one, if it did not end
	room      time.Duration // what intervals without an end may hold at most
	starts    map[start]*started
	viewer    *Viewing // the one whose rows come
}

// A Tier is what became of the viewers of one tier of evidence.
type Tier struct {
	Viewers int
	Time    time.Duration
}

type start struct{ node, incarnation string }

// started is what one start of a node counted.
type started struct {
	since   time.Time
	windows int64
	counted Amounts
	rows    int64
	listed  Amounts
}

var _ Ledger = (*Audit)(nil)

func (a *Audit) Begin(s Session, restarted bool, kept Retention) {
	a.Session, a.Kept, a.restarted = s, kept, restarted
	a.epochs, a.starts, a.Tiers = map[int64]bool{}, map[start]*started{}, map[UsageKind]Tier{}
}

func (a *Audit) Interval(v Interval) {
	a.endAt(v.From)
	a.epochs[v.Epoch] = true
	if a.OnInterval != nil {
		a.OnInterval(v)
	}
	if v.To.IsZero() {
		a.Open++
		a.going = &v
		return
	}
	a.Intervals++
	a.Received += v.Length.Truncate(time.Microsecond)
}

// endAt says that the interval that went on ended before then.
func (a *Audit) endAt(then time.Time) {
	if a.going != nil {
		a.room += max(0, then.Sub(a.going.From))
		a.going = nil
	}
}

func (a *Audit) Windows(w WindowSum) {
	s := a.start(w.Node, w.Incarnation)
	s.since, s.windows, s.counted = w.Since, w.Windows, w.Amounts
	a.Count += w.Windows
	a.Windowed = a.Windowed.plus(w.Amounts)
}

func (a *Audit) start(node, incarnation string) *started {
	key := start{node, incarnation}
	if a.starts[key] == nil {
		a.starts[key] = &started{}
	}
	return a.starts[key]
}

func (a *Audit) Viewing(v Viewing) {
	incarnation, _, _ := strings.Cut(v.Incarnation, ".") // a viewer that was forgotten and came back
	s := a.start(v.Node, incarnation)
	s.rows++
	s.listed = s.listed.plus(v.Amounts())
	a.Listed = a.Listed.plus(v.Amounts())
	a.Bytes += v.Bytes
	if a.viewer != nil && a.viewer.Viewer == v.Viewer {
		*a.viewer = a.viewer.And(v)
		return
	}
	a.nextViewer()
	v.Node, v.Incarnation = "", ""
	a.viewer = &v
}

// nextViewer says that the rows of the present viewer were all of it.
func (a *Audit) nextViewer() {
	v := a.viewer
	if v == nil {
		return
	}
	a.viewer = nil
	a.Viewers++
	tier := a.Tiers[v.Tier()]
	a.Tiers[v.Tier()] = Tier{tier.Viewers + 1, tier.Time + v.Amounts().Total()}
	if a.OnViewer != nil {
		a.OnViewer(*v)
	}
}

// Done says that the rows are complete, and compares.
func (a *Audit) Done() {
	a.nextViewer()
	a.endAt(notBefore(a.Session.UpdatedAt, a.Session.LastMediaAt))
	a.IngestRest = a.ingestRest()
	a.WindowsRest = a.Session.Counted().minus(a.Windowed)
	a.ViewerRest = a.viewerRest()
}

// AddsUp reports whether every second of the session is accounted for, or known
// not to be.
func (a *Audit) AddsUp() bool { return a.IngestAddsUp() && a.ViewersAddUp() && a.WindowsAddUp() }

// IngestAddsUp is AddsUp of received media.
func (a *Audit) IngestAddsUp() bool { return known(a.IngestRest) }

// ViewersAddUp is AddsUp of what was watched, by the rows of viewers.
func (a *Audit) ViewersAddUp() bool { return known(a.ViewerRest) }

// WindowsAddUp is AddsUp of what was watched, by windows.
func (a *Audit) WindowsAddUp() bool { return a.WindowsRest == Amounts{} }

func known(rest []Remainder) bool {
	for _, r := range rest {
		if r.Why == WhyUnknown {
			return false
		}
	}
	return true
}

// ingestRest explains what the intervals leave over.
func (a *Audit) ingestRest() []Remainder {
	rest := a.Session.Ingest - a.Received
	// A session's figure is in whole milliseconds, and goes on from that with the next publish.
	cut := time.Duration(len(a.epochs)+1)*time.Millisecond + time.Duration(a.Intervals)*time.Microsecond
	why := WhyUnknown
	switch {
	case rest == 0:
		return nil
	case rest > 0 && (a.Open > 0 || a.unwritten()) && rest <= a.room+2*time.Second:
		why = WhyOpen
	case -cut < rest && rest < cut:
		why = WhyRounding
	case rest > 0 && a.Session.CreatedAt.Before(a.At.Add(-a.Kept.Timeline)):
		why = WhyDropped
	}
	return []Remainder{{Why: why, Ingest: rest}}
}

// unwritten reports whether an interval may have no row: a transition writes the
// session's figures at once, its intervals come with the next checkpoint, and a
// crash in between leaves none.
func (a *Audit) unwritten() bool { return a.restarted || !a.epochs[a.Session.Epoch] }

// viewerRest explains what the rows of viewers leave over, for each start of a
// node by itself: one that died lost rows, one that runs still has them.
func (a *Audit) viewerRest() []Remainder {
	newest := map[string]time.Time{}
	for key, s := range a.starts {
		if s.since.After(newest[key.node]) {
			newest[key.node] = s.since
		}
	}
	sums := map[Why]Amounts{}
	left := a.Session.Counted().minus(a.Windowed) // of no start: 0, unless windows do not add up
	if left != (Amounts{}) {
		sums[WhyUnknown] = left
	}
	for key, s := range a.starts {
		if rest := s.counted.minus(s.listed); rest != (Amounts{}) {
			why := a.whyRest(key, s, rest, !s.since.Before(newest[key.node]))
			sums[why] = sums[why].plus(rest)
		}
	}
	var all []Remainder
	for _, why := range []Why{WhyWatching, WhyCrash, WhyDropped, WhyNotKept, WhyRounding, WhyUnknown} {
		if rest, ok := sums[why]; ok {
			all = append(all, Remainder{Why: why, Viewed: rest})
		}
	}
	return all
}

// whyRest explains what the rows of one start leave over; newest: the node was
// not started again since.
func (a *Audit) whyRest(key start, s *started, rest Amounts, newest bool) Why {
	cut := time.Duration(s.windows+s.rows) * time.Microsecond // each is cut to whole microseconds
	underWay := a.Session.Phase.Open() || a.At.Sub(a.Session.UpdatedAt) < settling
	more := min(rest.Beacon, rest.Media, rest.Playlist) < -cut // the rows say more
	switch {
	case rest.within(cut):
		return WhyRounding
	case underWay && newest && a.Kept.Viewings > 0:
		return WhyWatching
	case more:
		return WhyUnknown
	case key == start{}, a.Kept.Viewings == 0:
		return WhyNotKept
	case a.Session.CreatedAt.Before(a.At.Add(-a.Kept.Viewings)):
		return WhyDropped
	case !newest, a.restarted:
		return WhyCrash
	}
	return WhyUnknown
}

// Text is the remainder in one sentence for people.
func (a *Audit) Text(r Remainder) string {
	switch r.Why {
	case WhyOpen:
		if a.Session.Phase.Connected() {
			return "in the stretch of media that goes on"
		}
		return "in a stretch of media whose end is not written, as the checkpoints say"
	case WhyRounding:
		return "rounding: figures are cut to whole milliseconds or microseconds when they are written"
	case WhyWatching:
		return fmt.Sprintf("of viewers that watch (%d) or left just now: rows are written each minute and when they leave", a.Session.Viewers)
	case WhyCrash:
		return "of viewers whose rows were lost when the server died; what they watched was written twice a second and is counted"
	case WhyDropped:
		if r.Ingest != 0 {
			return fmt.Sprintf("in stretches of media older than %d days, which are not kept", int(a.Kept.Timeline.Hours()/24))
		}
		return fmt.Sprintf("of viewers longer ago than %d days, whose rows are not kept", int(a.Kept.Viewings.Hours()/24))
	case WhyNotKept:
		return "of viewers while no row was kept of each"
	}
	if r.Ingest < 0 || r.Viewed.Total() < 0 {
		return "the rows say more than the session, and nothing explains it"
	}
	return "nothing explains it"
}
