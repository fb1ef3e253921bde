package usage_test

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tally/internal/usage"
	"tally/internal/viewer"
)

const (
	part    = 333_333 * time.Microsecond // ten frames at 30 fps, as the playlist states it
	listed  = 36                         // parts: a playlist of 12 s
	session = "0b8f8a1e-6c54-4c9a-9d0e-2f6b0a4c1d11"
)

var signer = func() *viewer.Signer {
	s, err := viewer.NewSigner(bytes.Repeat([]byte{7}, viewer.SecretSize))
	if err != nil {
		panic(err)
	}
	return s
}()

func newViewer() viewer.ID { return newViewerThat(false) }

// newViewerThat mints a viewer that promises beacons, or does not.
func newViewerThat(promises bool) viewer.ID {
	id, ok := signer.Verify("playback", string(signer.AppendMint(nil, "playback", promises)))
	if !ok || id.Beacons() != promises {
		panic("a viewer id that does not verify, or keeps no promise")
	}
	return id
}

// give delivers n parts from first on, at once.
func give(c *usage.Counter, v viewer.ID, first, n int64) { giveOf(c, session, v, first, n) }

func giveOf(c *usage.Counter, session string, v viewer.ID, first, n int64) {
	c.Delivered(usage.Delivery{SessionID: session, Viewer: v,
		Window: listed * part, Target: 2 * time.Second}, parts(first, n))
}

// parts is where n parts from first on lie.
func parts(first, n int64) []usage.Span {
	spans := make([]usage.Span, n)
	for i := range spans {
		at := time.Duration(first+int64(i)) * part
		spans[i] = usage.Span{From: at, To: at + part}
	}
	return spans
}

func want(t *testing.T, c *usage.Counter, l *ledger, parts int64) {
	t.Helper()
	l.checkpoint(c)
	if got := l.sum(); got != time.Duration(parts)*part {
		t.Errorf("counted %v, want %v (%d parts)", got, time.Duration(parts)*part, parts)
	}
}

func TestRealTimeViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		for n := range int64(10_000) { // 55 minutes
			give(c, v, n, 1)
			time.Sleep(part)
			if n%2 == 0 {
				l.checkpoint(c)
			}
		}
		want(t, c, l, 10_000)
	})
}

func TestLateJoinTakesTheWindowAtOnceThenRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		edge := int64(1000)
		for n := edge - listed; n < edge; n += 6 { // by full segments of six parts
			give(c, v, n, 6)
		}
		want(t, c, l, listed)
		for n := edge; n < edge+300; n++ {
			time.Sleep(part)
			give(c, v, n, 1)
		}
		want(t, c, l, listed+300)
	})
}

func TestParallelTabsAreTwoViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := usage.New(usage.Config{}), &ledger{}
		a, b := newViewer(), newViewer()
		for n := range int64(30) {
			give(c, a, n, 1)
			give(c, b, n, 1)
			time.Sleep(part)
		}
		want(t, c, l, 60)
		if now, peak := c.Viewers(session); now != 2 || peak != 2 {
			t.Errorf("%d viewers, peak %d, want 2 and 2", now, peak)
		}
	})
}

func TestSeekingBackAndRefetchingAddNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		for n := range int64(30) {
			give(c, v, n, 1)
			time.Sleep(part)
		}
		for n := int64(0); n < 30; n += 6 {
			give(c, v, n, 6) // the same media as full segments
		}
		want(t, c, l, 30)
	})
}

func TestSegmentCountsThePartsThatWereNotFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		give(c, v, 2, 1)
		give(c, v, 0, 6)
		want(t, c, l, 6)
	})
}

func TestFloodAddsNothingBeyondWallTimeAndWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		start := time.Now()
		for n := int64(0); n < 600; n++ { // ten parts for each that real time brings
			give(c, v, n, 1)
			time.Sleep(part / 10)
			l.checkpoint(c)
			if got, limit := l.sum(), time.Since(start)+listed*part; got > limit {
				t.Fatalf("%v counted after %v", got, time.Since(start))
			}
		}
		give(c, v, 600, 1)
		l.checkpoint(c)
		if got, exact := l.sum(), time.Since(start)+listed*part; got != exact {
			t.Errorf("counted %v, want wall time and window, %v", got, exact)
		}
		for range 100 { // and asking again is free
			give(c, v, 590, 10)
		}
		l.checkpoint(c)
		if got, exact := l.sum(), time.Since(start)+listed*part; got != exact {
			t.Errorf("counted %v after refetches, want %v", got, exact)
		}
	})
}

func TestRestartKeepsCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, v := &ledger{}, newViewer()
		for boot := range int64(2) {
			c := usage.New(usage.Config{Node: "n1"})
			for n := boot * 30; n < boot*30+30; n++ {
				give(c, v, n, 1)
				time.Sleep(part)
			}
			l.checkpoint(c)
		}
		if got := l.sum(); got != 60*part {
			t.Errorf("counted %v over a restart, want %v", got, 60*part)
		}
	})
}

func TestSessionsAreCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, v := usage.New(usage.Config{}), newViewer()
		giveOf(c, "a", v, 0, 3)
		giveOf(c, "b", v, 0, 5)
		got := map[string]time.Duration{}
		ws, _ := c.Drain()
		for _, w := range ws {
			got[w.SessionID] += w.Amount
		}
		if got["a"] != 3*part || got["b"] != 5*part {
			t.Errorf("counted %v", got)
		}
	})
}

func TestFailedCheckpointLosesNothingAndCountsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		for n := range int64(40) {
			give(c, v, n, 1)
			time.Sleep(part)
			ws, vs := c.Drain()
			if len(ws) > 1 {
				t.Fatalf("%d windows wait for one session", len(ws))
			}
			switch n % 4 {
			case 0: // the store was not reached
			case 1: // it wrote, but its answer was lost
				l.write(ws, vs)
			default:
				l.write(ws, vs)
				c.Ack(ws, vs)
				c.Ack(ws, vs)
			}
		}
		l.checkpoint(c)
		want(t, c, l, 40)
	})
}

func TestConcurrencyAndPeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := usage.New(usage.Config{})
		check := func(when string, now, peak int) {
			t.Helper()
			c.Drain()
			if n, p := c.Viewers(session); n != now || p != peak {
				t.Errorf("%s: %d viewers, peak %d, want %d and %d", when, n, p, now, peak)
			}
		}
		check("before anything", 0, 0)
		for range 5 {
			give(c, newViewer(), 0, 1)
		}
		check("five joined", 5, 5)
		time.Sleep(9 * time.Second)
		stays := newViewer()
		give(c, stays, 20, 1)
		check("a sixth after 9 s", 6, 6)
		time.Sleep(1500 * time.Millisecond)
		check("five left after 10 s", 1, 6)
		for range 4 {
			give(c, newViewer(), 30, 1)
		}
		check("four came", 5, 6)
		c.End(session)
		check("after the end", 0, 6)
	})
}

func TestPresenceFollowsTheTargetDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := usage.New(usage.Config{})
		c.Delivered(usage.Delivery{SessionID: session, Viewer: newViewer(),
			Window: 24 * time.Second, Target: 8 * time.Second}, []usage.Span{{To: 8 * time.Second}})
		time.Sleep(23 * time.Second)
		if now, _ := c.Viewers(session); now != 1 {
			t.Errorf("%d viewers 23 s after a segment of 8 s, want 1", now)
		}
		time.Sleep(2 * time.Second)
		if now, _ := c.Viewers(session); now != 0 {
			t.Errorf("%d viewers after 25 s, want 0", now)
		}
	})
}

func TestViewersThatLeftAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, stays := usage.New(usage.Config{}), &ledger{}, newViewer()
		counted := int64(0)
		for n := range int64(3000) {
			give(c, stays, n, 1)
			counted++
			if n < 2000 {
				give(c, newViewer(), n, 1)
				counted++
			}
			time.Sleep(part)
			l.checkpoint(c)
			if r := c.Stats().Records; r > 600 { // 512 parts and those present
				t.Fatalf("%d records for one viewer and passers-by", r)
			}
		}
		if r := c.Stats().Records; r != 1 {
			t.Errorf("%d records at the end, want 1", r)
		}
		want(t, c, l, counted)
		time.Sleep(time.Hour)
		c.End(session)
		l.checkpoint(c)
		l.checkpoint(c)
		if r := c.Stats().Records; r != 0 {
			t.Errorf("%d records an hour later", r)
		}
	})
}

func TestViewerThatLeftIsNotPaidTwiceForStandingMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, v := usage.New(usage.Config{}), &ledger{}, newViewer()
		give(c, v, 0, listed)
		for range 20 { // the encoder is away for minutes, the playlist stands
			time.Sleep(time.Minute)
			l.checkpoint(c)
			give(c, v, 0, listed)
		}
		want(t, c, l, listed)
	})
}

func TestCapIsStatedLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := usage.New(usage.Config{MaxViewers: 128}) // two per shard
		for range 2000 {
			give(c, newViewer(), 0, 1)
		}
		st := c.Stats()
		if st.Records > 128 || st.Refused != 2000-st.Records {
			t.Errorf("%+v: more than the cap, or loss that is not stated", st)
		}
		time.Sleep(11 * time.Second)
		c.Drain()
		for range 2000 {
			give(c, newViewer(), 40, 1)
		}
		if now := c.Stats(); now.Records > 128 || now.Present == 0 || now.Refused > 4000-st.Records {
			t.Errorf("%+v: viewers that left make no room", now)
		}
	})
}

func TestEvidenceAllocatesNothing(t *testing.T) {
	c, v, other := usage.New(usage.Config{}), newViewer(), newViewer()
	give(c, v, 0, 1)
	ask(c, session, v)
	n, spans := int64(1), parts(0, 2)
	for name, f := range map[string]func(){
		"delivery": func() {
			for i := range spans {
				spans[i].From, spans[i].To = spans[i].From+part, spans[i].To+part
			}
			c.Delivered(usage.Delivery{SessionID: session, Viewer: v, Window: 12 * time.Second}, spans)
		},
		"presence":             func() { ask(c, session, v) },
		"beacon":               func() { tell(c, session, v, n, part) },
		"beacon of a stranger": func() { tell(c, session, other, n, part) },
	} {
		if a := testing.AllocsPerRun(1000, func() { f(); n++ }); a != 0 {
			t.Errorf("%v allocations per %s", a, name)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	c, l := usage.New(usage.Config{}), &ledger{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			v := newViewer()
			for n := range int64(listed) {
				give(c, v, n, 1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			l.checkpoint(c)
			c.Viewers(session)
			c.Stats()
		}
	}
	want(t, c, l, 16*listed)
}

// TestAnyOrder holds the sum against a ledger of sets: whatever is fetched in
// whatever order, each part counts once.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, l := usage.New(usage.Config{}), &ledger{}
		viewers := []viewer.ID{newViewer(), newViewer()}
		seen := make([]map[int64]bool, len(viewers))
		for i := range seen {
			seen[i] = map[int64]bool{}
		}
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			who := rapid.IntRange(0, 1).Draw(t, "viewer")
			first, n := rapid.Int64Range(0, 500).Draw(t, "first"), rapid.Int64Range(1, 12).Draw(t, "parts")
			for i := range n {
				seen[who][first+i] = true
			}
			c.Delivered(usage.Delivery{SessionID: session, Viewer: viewers[who],
				Window: time.Hour, Target: time.Second}, parts(first, n))
			if rapid.Bool().Draw(t, "checkpoint") {
				l.checkpoint(c)
			}
		}
		l.checkpoint(c)
		if got, exact := l.sum(), time.Duration(len(seen[0])+len(seen[1]))*part; got != exact {
			t.Fatalf("counted %v, want %v", got, exact)
		}
	})
}

// TestWindowsTellTheAudience: who watches goes with the windows, also when no
// seconds were added, and 0 is told when the last viewer left and at the end.
func TestWindowsTellTheAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := usage.New(usage.Config{})
		told := func(when string, now, peak int) {
			t.Helper()
			ws, vs := c.Drain()
			if len(ws) != 1 || ws[0].Viewers != now || ws[0].PeakViewers != peak {
				t.Fatalf("%s: %+v, want one window with %d viewers, peak %d", when, ws, now, peak)
			}
			c.Ack(ws, vs)
			if again, _ := c.Drain(); len(again) != 0 {
				t.Fatalf("%s: told twice: %+v", when, again)
			}
		}
		give := func(v viewer.ID, first int64) {
			c.Delivered(usage.Delivery{SessionID: session, Viewer: v, Window: listed * part, Target: 2 * time.Second}, parts(first, 1))
		}
		a, b := newViewer(), newViewer()
		give(a, 1)
		told("one came", 1, 1)
		give(b, 1)
		told("two are there", 2, 2)
		time.Sleep(5 * time.Second)
		give(a, 2)
		told("more seconds", 2, 2)
		time.Sleep(6 * time.Second)
		told("one left", 1, 2)
		c.End(session)
		told("the end", 0, 2)
	})
}
