package livestream_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tally/internal/livestream"
)

// books are an audit's ledger with what a test puts in it.
func books(s livestream.Session, kept livestream.Retention, fill func(a *livestream.Audit)) *livestream.Audit {
	a := &livestream.Audit{At: s.UpdatedAt.Add(time.Hour)}
	a.Begin(s, false, kept)
	fill(a)
	a.Done()
	return a
}

// TestRowsComeAfterTheEnd: 200,000 viewers who leave at once have their rows within
// 49 s (docs/playback.md), after up to 60 s with targets of 10 s: 30 s in which old
// media can be fetched, and 30 s until it shows that they left.
func TestRowsComeAfterTheEnd(t *testing.T) {
	s := livestream.Session{ID: "s", Phase: livestream.Ended, CreatedAt: time.Now(), UpdatedAt: time.Now(), Viewed: time.Minute}
	for after, want := range map[time.Duration]livestream.Why{109 * time.Second: livestream.WhyWatching, 3 * time.Minute: livestream.WhyUnknown} {
		a := &livestream.Audit{At: s.UpdatedAt.Add(after)}
		a.Begin(s, false, livestream.DefaultRetention)
		a.Windows(livestream.WindowSum{Node: "n", Incarnation: "i", Since: s.UpdatedAt, Windows: 1, Amounts: s.Counted()})
		a.Done()
		if why := only(t, a, a.ViewerRest); why != want {
			t.Errorf("%v after the end rows are missing because of %q, want %q", after, why, want)
		}
	}
}

func TestAuditReasons(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	closed := livestream.Session{ID: "s", Phase: livestream.Ended, CreatedAt: began, InvokedAt: began, UpdatedAt: began.Add(time.Hour),
		Ingest: time.Minute, Viewed: 90 * time.Second, ViewedByBeacon: 30 * time.Second}
	old := closed
	old.CreatedAt = began.AddDate(-1, 0, 0)
	open := closed
	open.Phase = livestream.OnAir
	kept := livestream.DefaultRetention
	soon := open
	soon.Epoch, soon.Ingest = 1, 300*time.Millisecond
	none := kept
	none.Viewings = 0
	whole := livestream.Interval{SessionID: "s", Epoch: 1, Number: 1, From: began, To: began.Add(time.Minute), Length: time.Minute}
	sum := livestream.WindowSum{Node: "n", Incarnation: "i", Since: began, Windows: 180,
		Amounts: livestream.Amounts{Beacon: 30 * time.Second, Media: time.Minute}}
	row := livestream.Viewing{SessionID: "s", Viewer: "v", Node: "n", Incarnation: "i", Beacon: 30 * time.Second, Media: time.Minute}
	for _, c := range []struct {
		name           string
		session        livestream.Session
		kept           livestream.Retention
		fill           func(a *livestream.Audit)
		ingest, viewer livestream.Why // "": nothing is left over
		windows        bool           // add up
	}{
		{"all in rows", closed, kept, func(a *livestream.Audit) { a.Interval(whole); a.Windows(sum); a.Viewing(row) }, "", "", true},
		{"a viewer that came back under the same start", closed, kept, func(a *livestream.Audit) {
			a.Interval(whole)
			a.Windows(sum)
			one, two := row, row
			one.Media, two.Beacon, two.Incarnation = 0, 0, "i.2"
			a.Viewing(one)
			a.Viewing(two)
		}, "", "", true},
		{"rows cut to microseconds", closed, kept, func(a *livestream.Audit) {
			v := row
			v.Media -= 100 * time.Microsecond
			i := whole
			i.Length += 999 * time.Microsecond
			a.Interval(i)
			a.Windows(sum)
			a.Viewing(v)
		}, livestream.WhyRounding, livestream.WhyRounding, true},
		{"rows of long ago", old, kept, func(a *livestream.Audit) { a.Windows(sum) }, livestream.WhyDropped, livestream.WhyDropped, true},
		{"no rows are kept", closed, none, func(a *livestream.Audit) { a.Interval(whole); a.Windows(sum) }, "", livestream.WhyNotKept, true},
		{"on air without rows being kept", open, none, func(a *livestream.Audit) { a.Interval(whole); a.Windows(sum) }, "", livestream.WhyNotKept, true},
		{"of before sums were kept", closed, kept, func(a *livestream.Audit) {
			before := sum
			before.Node, before.Incarnation = "", ""
			a.Interval(whole)
			a.Windows(before)
		}, "", livestream.WhyNotKept, true},
		{"on air", open, kept, func(a *livestream.Audit) {
			a.Interval(livestream.Interval{Epoch: 1, Number: 1, From: began})
			a.Windows(sum)
		}, livestream.WhyOpen, livestream.WhyWatching, true},
		{"an end lost in a crash, and the rows of that start", closed, kept, func(a *livestream.Audit) {
			a.Interval(livestream.Interval{Epoch: 1, Number: 1, From: began})
			a.Interval(livestream.Interval{Epoch: 2, Number: 1, From: began.Add(time.Minute), To: began.Add(61 * time.Second), Length: time.Second})
			first, second := sum, sum
			first.Beacon, second.Media, second.Incarnation, second.Since = 0, 0, "j", began.Add(time.Minute)
			a.Windows(first)
			a.Windows(second)
			v := row
			v.Incarnation, v.Media = "j", 0
			a.Viewing(v)
		}, livestream.WhyOpen, livestream.WhyCrash, true},
		{"an open interval that is too short", closed, kept, func(a *livestream.Audit) {
			a.Interval(livestream.Interval{Epoch: 1, Number: 1, From: began})
			a.Interval(livestream.Interval{Epoch: 2, Number: 1, From: began.Add(30 * time.Second), To: began.Add(31 * time.Second), Length: time.Second})
			a.Windows(sum)
			a.Viewing(row)
		}, livestream.WhyUnknown, "", true},
		{"media since the last checkpoint", soon, kept, func(a *livestream.Audit) { a.Windows(sum); a.Viewing(row) }, livestream.WhyOpen, "", true},
		{"no rows at all", closed, kept, func(a *livestream.Audit) { a.Interval(whole); a.Windows(sum) }, "", livestream.WhyUnknown, true},
		{"no windows at all", closed, kept, func(a *livestream.Audit) { a.Interval(whole) }, "", livestream.WhyUnknown, false},
		{"rows that say more, of a session long ago", old, kept, func(a *livestream.Audit) {
			v := row
			v.Beacon += time.Second
			a.Interval(whole)
			a.Windows(sum)
			a.Viewing(v)
		}, "", livestream.WhyUnknown, true},
		{"evidence of another kind", closed, kept, func(a *livestream.Audit) {
			v := row
			v.Beacon, v.Media = v.Media, v.Beacon
			a.Interval(whole)
			a.Windows(sum)
			a.Viewing(v)
		}, "", livestream.WhyUnknown, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := books(c.session, c.kept, c.fill)
			if why := only(t, a, a.IngestRest); why != c.ingest {
				t.Errorf("ingest: %+v, want %q", a.IngestRest, c.ingest)
			}
			if why := only(t, a, a.ViewerRest); why != c.viewer {
				t.Errorf("viewers: %+v, want %q", a.ViewerRest, c.viewer)
			}
			if a.WindowsAddUp() != c.windows {
				t.Errorf("windows leave %+v", a.WindowsRest)
			}
			adds := c.ingest != livestream.WhyUnknown && c.viewer != livestream.WhyUnknown && c.windows
			if a.AddsUp() != adds {
				t.Errorf("adds up: %v, want %v", a.AddsUp(), adds)
			}
		})
	}
}

// only is the one reason of some remainders, "" when there is none.
func only(t *testing.T, a *livestream.Audit, rest []livestream.Remainder) livestream.Why {
	t.Helper()
	if len(rest) == 0 {
		return ""
	}
	if text := a.Text(rest[0]); len(rest) > 1 || len(text) < 10 {
		t.Errorf("remainders %+v, in words %q", rest, text)
	}
	return rest[0].Why
}

// TestAuditIsComplete: whatever is in the books, the rows and the remainders
// together are the session's own figures.
func TestAuditIsComplete(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(rt *rapid.T) {
		some := func(name string) time.Duration {
			return time.Duration(rapid.SampledFrom([]int64{0, 1, 999, 1_000_000, 61_500_000}).Draw(rt, name)) * time.Microsecond
		}
		s := livestream.Session{ID: "s", Phase: rapid.SampledFrom([]livestream.Phase{livestream.OnAir, livestream.Reconnecting, livestream.Ended, livestream.Failed}).Draw(rt, "phase"),
			CreatedAt: began.AddDate(0, 0, -rapid.IntRange(0, 100).Draw(rt, "days")), UpdatedAt: began,
			Ingest: some("ingest"), ViewedByBeacon: some("beacon"), ViewedByPlaylist: some("playlist")}
		s.Viewed = s.ViewedByBeacon + s.ViewedByPlaylist + some("media")
		kept := livestream.DefaultRetention
		kept.Viewings = rapid.SampledFrom([]time.Duration{0, kept.Viewings}).Draw(rt, "kept")
		viewers := 0
		a := &livestream.Audit{At: began.Add(some("later")), OnViewer: func(livestream.Viewing) { viewers++ }}
		a.Begin(s, rapid.Bool().Draw(rt, "restarted"), kept)
		for i := range rapid.IntRange(0, 3).Draw(rt, "intervals") {
			v := livestream.Interval{Epoch: int64(i), Number: 1, From: began, Length: some("length") + 1}
			if rapid.Bool().Draw(rt, "ended") {
				v.To = began
			}
			a.Interval(v)
		}
		starts := []string{"", "a", "b"}[:rapid.IntRange(0, 3).Draw(rt, "starts")]
		for i, start := range starts {
			a.Windows(livestream.WindowSum{Node: start, Incarnation: start, Since: began.Add(time.Duration(i)), Windows: 1,
				Amounts: livestream.Amounts{Beacon: some("b"), Media: some("m"), Playlist: some("p")}})
		}
		different := map[string]bool{}
		for i := range rapid.IntRange(0, 5).Draw(rt, "rows") {
			v := livestream.Viewing{Viewer: fmt.Sprint(i / 2), Node: "a", Incarnation: rapid.SampledFrom([]string{"a", "a.1", "b", "c"}).Draw(rt, "start"),
				Beacon: some("b"), Media: some("m"), Playlist: some("p")}
			different[v.Viewer] = true
			a.Viewing(v)
		}
		a.Done()
		received, listed, tiers := a.Received, a.Listed, 0
		for _, r := range a.IngestRest {
			received += r.Ingest
		}
		for _, r := range a.ViewerRest {
			listed.Beacon, listed.Media, listed.Playlist = listed.Beacon+r.Viewed.Beacon, listed.Media+r.Viewed.Media, listed.Playlist+r.Viewed.Playlist
		}
		for _, tier := range a.Tiers {
			tiers += tier.Viewers
		}
		if received != s.Ingest || listed != s.Counted() {
			rt.Fatalf("ingest %s of %s, viewed %+v of %+v", received, s.Ingest, listed, s.Counted())
		}
		if viewers != len(different) || a.Viewers != viewers || tiers != viewers {
			rt.Fatalf("%d viewers were shown, %d counted, %d in tiers; there are %d", viewers, a.Viewers, tiers, len(different))
		}
	})
}

func TestTier(t *testing.T) {
	for _, c := range []struct {
		v    livestream.Viewing
		want livestream.UsageKind
	}{
		{livestream.Viewing{}, ""},
		{livestream.Viewing{Media: 1}, livestream.ByMedia},
		{livestream.Viewing{Beacon: 5, Media: 5}, livestream.ByBeacon},
		{livestream.Viewing{Beacon: 5, Media: 6, Playlist: 7}, livestream.ByPlaylist},
	} {
		if have := c.v.Tier(); have != c.want {
			t.Errorf("%+v: %q, want %q", c.v, have, c.want)
		}
	}
}
