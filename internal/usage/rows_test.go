package usage_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
	"tally/internal/usage"
)

// rows drains and acknowledges, and returns the rows.
func rows(c *usage.Counter) []livestream.Viewing {
	ws, vs := c.Drain()
	c.Ack(ws, vs)
	return vs
}

// TestRowSaysHowAViewerWasCounted in each field.
func TestRowSaysHowAViewerWasCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, v, start := usage.New(usage.Config{Node: "n", Incarnation: "i"}), newViewer(), time.Now()
		time.Sleep(3 * time.Second)
		for n := range 3 {
			c.Delivered(usage.Delivery{SessionID: session, Viewer: v, Window: 12 * time.Second, Target: target,
				Bytes: 1000, Rendition: []int{0, 3, 64}[n]}, parts(int64(n), 1))
			time.Sleep(time.Second)
		}
		ask(c, session, v)
		time.Sleep(time.Second)
		ask(c, session, v)
		tell(c, session, v, 1, 2*time.Second)
		time.Sleep(15 * time.Second)
		want := livestream.Viewing{
			SessionID: session, Viewer: v.RandomHex(), Node: "n", Incarnation: "i",
			First: start.Add(3 * time.Second).UTC().Round(0), Last: start.Add(7 * time.Second).UTC().Round(0),
			Media: 3 * part, Playlist: time.Second, Bytes: 3000, Renditions: 0b1001, Left: true,
		}
		if vs := rows(c); len(vs) != 1 || vs[0] != want {
			t.Errorf("row %+v, want %+v", vs, want)
		}
	})
}

// TestWhenRowsAreOffered: after a minute of changes, when the viewer left, when
// it came back and left again, and not otherwise.
func TestWhenRowsAreOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, v, n := usage.New(usage.Config{}), newViewer(), int64(0)
		watch := func(d time.Duration) (offered int) {
			for end := time.Now().Add(d); time.Now().Before(end); n++ {
				give(c, v, n, 1)
				time.Sleep(part)
				offered += len(rows(c))
			}
			return offered
		}
		idle := func(d time.Duration) (offered []livestream.Viewing) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(500 * time.Millisecond)
				offered = append(offered, rows(c)...)
			}
			return offered
		}
		if got := watch(59 * time.Second); got != 0 {
			t.Errorf("%d rows in the first minute", got)
		}
		if got := watch(10 * time.Minute); got < 9 || got > 10 {
			t.Errorf("%d rows in ten minutes", got)
		}
		if got := idle(5 * time.Minute); len(got) == 0 || len(got) > 2 || !got[len(got)-1].Left {
			t.Errorf("%+v after it left", got)
		}
		if got := watch(30 * time.Second); got != 0 {
			t.Errorf("%d rows when it came back", got)
		}
		c.End(session)
		if got := rows(c); len(got) != 1 || !got[0].Left {
			t.Errorf("%+v at the end", got)
		}
		if got := idle(time.Hour); len(got) != 0 || c.Stats().Records != 0 {
			t.Errorf("%+v afterwards, %+v", got, c.Stats())
		}
	})
}

// TestRowsComeInPieces: when a crowd leaves, some 2,000 at once, each until it is
// acknowledged, and all of them at a shutdown.
func TestRowsComeInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 5000
		c := usage.New(usage.Config{})
		for range crowd {
			give(c, newViewer(), 0, 1)
		}
		time.Sleep(time.Minute)
		first := map[string]bool{}
		for range 3 { // the store is away
			_, vs := c.Drain()
			for _, v := range vs {
				first[v.Viewer] = true
			}
		}
		if len(first) < 1500 || len(first) > 2048 || c.Stats().Waiting != crowd {
			t.Errorf("%d rows are offered, %+v", len(first), c.Stats())
		}
		seen := map[string]int{}
		for calls := 0; c.Stats().Waiting > 0; calls++ {
			for _, v := range rows(c) {
				seen[v.Viewer]++
			}
			if calls > 5 {
				t.Fatalf("%+v after %d calls", c.Stats(), calls)
			}
		}
		for viewer, n := range seen {
			if n != 1 {
				t.Fatalf("%s is offered %d times", viewer, n)
			}
		}
		for range crowd {
			give(c, newViewerThat(true), 0, 1)
		}
		time.Sleep(beaconEvery) // and no beacon came
		ws, vs := c.DrainAll()
		sum := time.Duration(0)
		for _, w := range ws {
			sum += w.Amount
		}
		if len(seen) != crowd || len(vs) != crowd || sum != crowd*part {
			t.Errorf("%d rows, at the shutdown %d, windows of %v", len(seen), len(vs), sum)
		}
	})
}

// TestLostRowsAreStated: while the store is away, viewers that left make room
// all the same.
func TestLostRowsAreStated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := usage.New(usage.Config{MaxViewers: 64}) // one per shard
		v := newViewer()
		give(c, v, 0, 1)
		time.Sleep(time.Minute)
		c.Drain()
		other := newViewer()
		for other.Random()%64 != v.Random()%64 {
			other = newViewer()
		}
		give(c, other, 0, 1)
		if st := c.Stats(); st.RowsLost != 1 || st.Records != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestConcurrentEvidence is for the race detector, and holds the sums together.
func TestConcurrentEvidence(t *testing.T) {
	c, l := usage.New(usage.Config{}), &ledger{}
	var players, checkpoints sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		players.Go(func() {
			v := newViewer()
			for n := range int64(200) {
				give(c, v, n, 1)
				ask(c, session, v)
				tell(c, session, v, n, part)
			}
		})
	}
	checkpoints.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.checkpoint(c)
				c.Viewers(session)
				c.Stats()
			}
		}
	})
	players.Wait()
	c.End(session)
	close(stop)
	checkpoints.Wait()
	l.write(c.DrainAll())
	l.write(c.DrainAll()) // the windows behind those that waited
	if rows, windows := l.byViewer("", ""), l.bySession(""); rows != windows || windows.sum() == 0 {
		t.Errorf("rows have %+v, windows %+v", rows, windows)
	}
}
