package usage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/usage"
)

// TestStepsBetweenHeldAndLive: a step counts when both of its playlists end with
// media, so a player that asks each two target durations earns nothing of a hold.
func TestStepsBetweenHeldAndLive(t *testing.T) {
	for _, speaks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, l, v := usage.New(usage.Config{}), &ledger{}, newViewerThat(speaks)
			for n, held := range []bool{false, false, true, true, false, false} {
				if n > 0 {
					time.Sleep(2 * target)
				}
				c.Asked(usage.Presence{SessionID: session, Viewer: v, Target: target, Held: held})
				if speaks && n > 0 {
					tell(c, session, v, int64(n), 2*target)
				}
			}
			want := amounts{playlist: 2 * 2 * target}
			if speaks {
				want = amounts{beacon: 2 * 2 * target}
			}
			expect(t, c, l, session, "four steps of a hold among six", want)
		})
	}
}

// TestRowsNeverSayMoreThanWindows: whatever checkpoint is the last that was
// written, no row tells of time that is in no window.
func TestRowsNeverSayMoreThanWindows(t *testing.T) {
	for _, end := range []struct {
		name string
		last func(c *usage.Counter, l *ledger)
	}{
		{"killed after a checkpoint that worked again", func(c *usage.Counter, l *ledger) { l.checkpoint(c) }},
		{"SIGTERM after a checkpoint that failed", func(c *usage.Counter, l *ledger) { l.write(c.DrainAll()) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
				give(c, v, 0, 1)
				time.Sleep(2 * time.Minute) // its row is due
				c.Drain()                   // and the store does not answer
				give(c, v, 1, 1)
				time.Sleep(time.Minute)
				end.last(c, l)
				rows, windows := l.byViewer("", ""), l.bySession("")
				if rows.sum() > windows.sum() {
					t.Errorf("rows have %+v, windows %+v", rows, windows)
				}
				if l.everybody(t, c); l.byViewer("", "") != l.bySession("") || l.sum() != 2*part {
					t.Errorf("at last rows have %+v, windows %+v, want %v", l.byViewer("", ""), l.bySession(""), 2*part)
				}
			})
		})
	}
}

// TestFirstBeaconAfterARestart: it may tell of what was played before this
// counter's first evidence, as long as that can be, once, and by nobody who came later.
func TestFirstBeaconAfterARestart(t *testing.T) {
	const bound = 5 * time.Second
	for _, s := range []struct {
		name   string
		age    time.Duration // of the id when the counter starts
		free   bool          // promised no beacons
		played []time.Duration
		want   time.Duration // after two seconds of media
	}{
		{"played on", time.Hour, false, []time.Duration{5 * time.Second}, 5 * time.Second},
		{"paused, mostly", time.Hour, false, []time.Duration{time.Second}, time.Second},
		{"forged", time.Hour, false, []time.Duration{time.Hour}, 2*time.Second + bound},
		{"forged twice", time.Hour, false, []time.Duration{time.Hour, time.Hour}, 2*time.Second + bound},
		{"forged at the second", time.Hour, false, []time.Duration{time.Second, time.Hour}, 3 * time.Second},
		{"told again, with more", time.Hour, false, []time.Duration{-2 * time.Second, -6 * time.Second}, 6 * time.Second},
		{"told of by nobody else", time.Hour, true, []time.Duration{time.Hour}, 2*time.Second + bound},
		{"just came", 4 * time.Second, false, []time.Duration{time.Hour}, 2*time.Second + 3*time.Second}, // the id says when to the second
		{"just came, and was counted by media", 4 * time.Second, true, []time.Duration{time.Hour}, 2 * time.Second},
		{"came at that moment", 0, false, []time.Duration{time.Hour}, 2 * time.Second},
		{"came later", -time.Second, false, []time.Duration{time.Hour}, 2 * time.Second},
	} {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newViewerThat(!s.free)
				time.Sleep(max(0, s.age))
				c, l := usage.New(usage.Config{}), &ledger{}
				if s.age < 0 {
					time.Sleep(-s.age)
					v = newViewerThat(true)
				}
				time.Sleep(3 * time.Second) // until the encoder is back
				parts, want := int64(30), amounts{beacon: s.want}
				if s.free { // and is counted by media at once
					parts, want = 6, amounts{media: 6 * part, beacon: s.want - 2*time.Second}
				}
				give(c, v, 0, parts)
				time.Sleep(2 * time.Second)
				for n, d := range s.played {
					if d < 0 {
						tell(c, session, v, 7, -d)
					} else {
						tell(c, session, v, int64(7+n), d)
					}
				}
				expect(t, c, l, session, "told", want)
			})
		})
	}
}

// TestStopBeforeTheFirstBeacon: who promised beacons and came just before a stop
// is counted by the next start, when its first beacon comes, and not by both.
func TestStopBeforeTheFirstBeacon(t *testing.T) {
	for after, want := range map[time.Duration]amounts{
		4 * time.Second: {beacon: 5 * time.Second},
		9 * time.Second: {media: 27 * part}, // a blocker, it seems; nothing comes later either
	} {
		synctest.Test(t, func(t *testing.T) {
			v, l := newViewerThat(true), &ledger{}
			time.Sleep(2 * time.Second) // until the player has its first media
			c := usage.New(usage.Config{})
			for n := range int64(after / part) {
				give(c, v, n, 1)
				time.Sleep(part)
			}
			l.write(c.DrainAll())
			c = usage.New(usage.Config{})
			if want.beacon > 0 {
				if !c.Awaits(v) {
					t.Error("the first beacon is not waited for")
				}
				give(c, v, 100, 6)
				time.Sleep(2 * time.Second)
				tell(c, session, v, 1, want.beacon)
			}
			l.everybody(t, c)
			if got := l.bySession(""); got != want || l.byViewer("", "") != want {
				t.Errorf("stopped after %v: counted %+v, rows %+v, want %+v", after, got, l.byViewer("", ""), want)
			}
		})
	}
}
