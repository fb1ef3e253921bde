package usage_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/usage"
	"tally/internal/viewer"
)

func tell(c *usage.Counter, session string, id viewer.ID, seq int64, played time.Duration) {
	c.Told(usage.Beacon{SessionID: session, Viewer: id, Seq: seq, Played: played})
}

func ask(c *usage.Counter, session string, id viewer.ID) {
	c.Asked(usage.Presence{SessionID: session, Viewer: id, Target: target})
}

// expect compares what a viewer is counted so far, in the windows.
func expect(t *testing.T, c *usage.Counter, l *ledger, session, when string, want amounts) {
	t.Helper()
	l.checkpoint(c)
	if got := l.bySession(session); got != want {
		t.Errorf("%s: counted %+v, want %+v", when, got, want)
	}
}

// TestBeaconWithoutOtherEvidenceCountsNothing: nobody can be counted for telling.
func TestBeaconWithoutOtherEvidenceCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		for seq := range int64(100) {
			tell(c, session, v, seq, 5*time.Second)
			time.Sleep(5 * time.Second)
		}
		expect(t, c, l, session, "only beacons", amounts{})
		if st := c.Stats(); st.Records != 0 {
			t.Errorf("%+v: a beacon made a record", st)
		}
	})
}

// TestBeaconIsNoMoreThanWhatIsKnown: of what a beacon says counts what wall time
// and the media leave room for, and what was cut does not come later.
func TestBeaconIsNoMoreThanWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewerThat(true)
		give(c, v, 0, 30) // 10 s of media at once
		time.Sleep(4 * time.Second)
		tell(c, session, v, 1, time.Hour)
		expect(t, c, l, session, "an hour in 4 s", amounts{beacon: 4 * time.Second})
		time.Sleep(2 * time.Second)
		tell(c, session, v, 2, 0) // paused
		expect(t, c, l, session, "paused", amounts{beacon: 4 * time.Second})
		time.Sleep(20 * time.Second)
		tell(c, session, v, 3, 20*time.Second)
		expect(t, c, l, session, "all of the media", amounts{beacon: 30 * part})
	})
}

// TestSameBeaconAgain: the same number again counts what it says more, an older
// one nothing.
func TestSameBeaconAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewerThat(true)
		give(c, v, 0, 60)
		time.Sleep(time.Minute)
		for _, s := range []struct {
			seq          int64
			played, want time.Duration
		}{{7, 5, 5}, {7, 5, 5}, {7, 3, 5}, {7, 9, 9}, {6, 5, 9}, {8, 1, 10}, {7, 20, 10}, {1 << 40, 2, 12}, {1<<63 - 1, 1, 13}, {9, 1, 13}, {-1, 1, 13}} {
			tell(c, session, v, s.seq, s.played*time.Second)
			expect(t, c, l, session, "told", amounts{beacon: s.want * time.Second})
		}
	})
}

// TestPromise: who promised beacons is counted nothing for 15 s, then by media;
// a beacon after that is counted as soon as its sum has caught up.
func TestPromise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewerThat(true)
		watch := func(from, to int64) {
			for n := from; n < to; n++ {
				give(c, v, n, 1)
				time.Sleep(part)
			}
		}
		watch(0, 42)
		expect(t, c, l, session, "14 s", amounts{})
		watch(42, 60)
		expect(t, c, l, session, "20 s", amounts{media: 60 * part})
		tell(c, session, v, 1, 19*time.Second)
		watch(60, 90)
		expect(t, c, l, session, "30 s, told of 19 s", amounts{media: 60 * part})
		tell(c, session, v, 2, 10*time.Second)
		expect(t, c, l, session, "30 s, told of 29 s", amounts{media: 60 * part, beacon: 29*time.Second - 60*part})
	})
}

// TestHeldPictureEarnsNothing: in no tier, however much the player says it played.
func TestHeldPictureEarnsNothing(t *testing.T) {
	const held = 90 // parts
	for _, how := range []struct {
		name           string
		direct, speaks bool
	}{{"media", true, false}, {"playlist", false, false}, {"beacons", true, true}, {"beacons, shared", false, true}} {
		t.Run(how.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
				for n := range int64(300) {
					gap := n >= 100 && n < 100+held
					spans := parts(n, 1)
					if gap {
						spans[0].To = spans[0].From
					}
					if how.direct {
						c.Delivered(usage.Delivery{SessionID: session, Viewer: v, Window: listed * part, Target: target}, spans)
					} else {
						c.Asked(usage.Presence{SessionID: session, Viewer: v, Target: target, Held: gap})
					}
					time.Sleep(part)
					if n%15 == 14 && how.speaks {
						tell(c, session, v, n, 15*part)
					}
				}
				l.checkpoint(c)
				if got := l.sum(); got > (300-held+3)*part || got < (300-held-3)*part {
					t.Errorf("counted %v, want %v", got, (300-held)*part)
				}
				if now, _ := c.Viewers(session); now != 1 {
					t.Errorf("%d viewers", now)
				}
			})
		})
	}
}

// TestBeaconsOverASessionsEnd: a new session goes on with the run and the
// viewer. Beacons go where they are sent, and the same beacon counts once.
func TestBeaconsOverASessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewerThat(true)
		giveOf(c, "first", v, 0, 30)
		time.Sleep(10 * time.Second)
		tell(c, "first", v, 1, 9*time.Second) // arrives, and its answer does not
		c.End("first")
		giveOf(c, "second", v, 30, 30)
		time.Sleep(6 * time.Second)
		tell(c, "second", v, 1, 15*time.Second)
		tell(c, "first", v, 1, 15*time.Second) // late
		expect(t, c, l, "first", "the first", amounts{beacon: 9 * time.Second})
		expect(t, c, l, "second", "the second", amounts{beacon: 6 * time.Second})
		tell(c, "second", v, 0, 5*time.Second)
		expect(t, c, l, "second", "an older one", amounts{beacon: 6 * time.Second})
	})
}

// TestLastBeaconOfASessionComesLate: its run is over, the page has gone on to the
// next, and what could not be sent before comes after beacons for that.
func TestLastBeaconOfASessionComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewerThat(true)
		giveOf(c, "first", v, 0, 60)
		time.Sleep(20 * time.Second)
		tell(c, "first", v, 1, 9*time.Second)
		giveOf(c, "second", v, 100, 30)
		time.Sleep(10 * time.Second)
		tell(c, "second", v, 3, 8*time.Second)
		tell(c, "second", v, 4, time.Second)
		for range 2 {
			tell(c, "first", v, 2, 10*time.Second)
		}
		tell(c, "first", v, 3, 8*time.Second) // what the second was told
		expect(t, c, l, "first", "the first", amounts{beacon: 19 * time.Second})
		expect(t, c, l, "second", "the second", amounts{beacon: 9 * time.Second})
	})
}

// TestForgedEvidence: whatever one viewer claims, however often, it is counted
// no more than wall time, in each kind of delivery.
func TestForgedEvidence(t *testing.T) {
	for _, direct := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			c, l, v, start := usage.New(usage.Config{}), &ledger{}, newViewerThat(true), time.Now()
			seq := int64(0)
			for n := range int64(2000) {
				if direct {
					give(c, v, n, listed) // the whole playlist each time
				} else {
					ask(c, session, v)
				}
				for range 10 {
					switch r.IntN(4) {
					case 0:
						seq++
					case 1:
						seq += r.Int64N(1 << 40)
					}
					tell(c, session, v, seq, []time.Duration{1<<63 - 1, -1 << 63, time.Hour, 10 * part, 1 << 62}[r.IntN(5)])
				}
				time.Sleep(part / 10 * time.Duration(1+r.IntN(20)))
				l.checkpoint(c)
				if got, wall := l.sum(), time.Since(start); got > wall {
					t.Fatalf("counted %v in %v", got, wall)
				}
			}
			l.everybody(t, c)
			if rows, windows := l.byViewer("", ""), l.bySession(""); rows != windows {
				t.Errorf("rows have %+v, windows %+v", rows, windows)
			}
		})
	}
}

// TestRestart: the counter of before is gone, with or without a last word, and
// its successor goes on. The first beacon afterwards tells of what was played since
// the last one before, so that beacon viewers lose nothing but what is not a
// whole part.
func TestRestart(t *testing.T) {
	for _, s := range []struct {
		scenario
		loses time.Duration // each viewer at most
	}{
		{scenario{"media", false, func(*rand.Rand, *player) {}, byDelivery, 0}, 0},
		{scenario{"playlist", false, shared, byDelivery, 0}, part + tick},
		{scenario{"beacons", true, speaking, byPlayhead, 0}, part},
		{scenario{"beacons, shared", true, func(r *rand.Rand, p *player) { shared(r, p); speaking(r, p) }, byPlayhead, 0}, 0},
	} {
		t.Run(s.name+", SIGTERM", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, players := s.restart(t, true)
				for i, p := range players {
					want, got := s.exact(p).sum(), l.byViewer(session, p.id.RandomHex()).sum()
					if got > want || got < want-s.loses {
						t.Errorf("viewer %d is counted %v, want %v less %v at most", i, got, want, s.loses)
					}
				}
				if rows, windows := l.byViewer("", ""), l.bySession(""); rows != windows {
					t.Errorf("rows have %+v, windows %+v", rows, windows)
				}
			})
		})
		t.Run(s.name+", killed", func(t *testing.T) { // which leaves rows that are a minute old
			synctest.Test(t, func(t *testing.T) {
				l, players := s.restart(t, false)
				want, got := time.Duration(0), l.sum()
				for _, p := range players {
					want += s.exact(p).sum()
				}
				if got > want || got < want-s.loses*time.Duration(len(players)) {
					t.Errorf("counted %v, want %v less %v a viewer at most", got, want, s.loses)
				}
			})
		})
	}
}

// restart plays a scenario with a restart in it.
func (s scenario) restart(t *testing.T, clean bool) (*ledger, []*player) {
	players, l := s.players(), &ledger{}
	c := usage.New(usage.Config{Node: "n", Incarnation: "a"})
	play(c, l, players, 0, 5*time.Minute)
	l.checkpoint(c)
	if clean {
		l.write(c.DrainAll())
	}
	c = usage.New(usage.Config{Node: "n", Incarnation: "b"})
	play(c, l, players, 5*time.Minute, 12*time.Minute)
	l.everybody(t, c)
	return l, players
}
