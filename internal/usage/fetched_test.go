package usage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tally/internal/usage"
	"tally/internal/viewer"
)

// Renditions cut the same media at other places: pictures each third of a second,
// sound at whole access units.
var cuts = map[string]time.Duration{"v0": 333_333 * time.Microsecond, "v1": 333_334 * time.Microsecond, "a0": 320 * time.Millisecond}

// takes delivers a rendition's media from a part to another, in real time.
func takes(c *usage.Counter, v viewer.ID, rendition string, from, to int, wait bool) {
	d := cuts[rendition]
	for n := from; n < to; n++ {
		at := time.Duration(n) * d
		c.Delivered(usage.Delivery{SessionID: session, Viewer: v, Window: 12 * time.Second, Target: target}, []usage.Span{{From: at, To: at + d}})
		if wait {
			time.Sleep(d)
		}
	}
}

// Media time counts once, in whichever rendition it comes.
func TestRenditionsCountOnce(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name  string
		watch func(c *usage.Counter, v viewer.ID)
		want  time.Duration
	}{
		{"one rendition", func(c *usage.Counter, v viewer.ID) { takes(c, v, "v0", 0, 30, true) }, 30 * 333_333 * time.Microsecond},
		{"sound alone", func(c *usage.Counter, v viewer.ID) { takes(c, v, "a0", 0, 30, true) }, 30 * 320 * ms},
		{"a switch at a boundary", func(c *usage.Counter, v viewer.ID) {
			takes(c, v, "v0", 0, 15, true)
			takes(c, v, "v1", 15, 30, true)
		}, 30*333_334*time.Microsecond - 0},
		{"a switch that takes a second again", func(c *usage.Counter, v viewer.ID) {
			takes(c, v, "v0", 0, 15, true)
			takes(c, v, "v1", 12, 30, true)
		}, 30 * 333_334 * time.Microsecond},
		{"sound and picture side by side", func(c *usage.Counter, v viewer.ID) {
			for n := range 30 {
				takes(c, v, "a0", n, n+1, false)
				takes(c, v, "v0", n, n+1, true)
			}
		}, 30 * 333_333 * time.Microsecond},
		{"both qualities at once", func(c *usage.Counter, v viewer.ID) {
			for n := range 30 {
				takes(c, v, "v1", n, n+1, false)
				takes(c, v, "v0", n, n+1, true)
			}
		}, 30 * 333_334 * time.Microsecond},
		{"sound, then a picture too", func(c *usage.Counter, v viewer.ID) {
			takes(c, v, "a0", 0, 30, true)
			takes(c, v, "v0", 15, 60, true)
		}, 60 * 333_333 * time.Microsecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counter, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
				c.watch(counter, v)
				l.checkpoint(counter)
				// What rounding leaves between two renditions is not media of either.
				if got := l.sum(); got > c.want || got < c.want-20*time.Microsecond {
					t.Errorf("counted %v, want %v", got, c.want)
				}
			})
		})
	}
}

// Spans of any length in any order count what is new of them, and a viewer with
// more holes than are remembered is counted less, never more.
func TestSpansInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		seen := map[int64]bool{} // milliseconds
		requests := rapid.IntRange(1, 200).Draw(t, "requests")
		for range requests {
			var spans []usage.Span
			for range rapid.IntRange(1, 3).Draw(t, "spans") {
				from, n := rapid.Int64Range(-500, 3000).Draw(t, "from"), rapid.Int64Range(0, 40).Draw(t, "length")
				for i := range n {
					seen[from+i] = true
				}
				spans = append(spans, usage.Span{From: time.Duration(from) * time.Millisecond, To: time.Duration(from+n) * time.Millisecond})
			}
			c.Delivered(usage.Delivery{SessionID: session, Viewer: v, Window: time.Hour, Target: time.Second}, spans)
		}
		l.checkpoint(c)
		got, exact := l.sum(), time.Duration(len(seen))*time.Millisecond
		if got > exact || got != exact && requests < 20 || got < exact/2 {
			t.Fatalf("counted %v, want %v", got, exact)
		}
	})
}
