package storetest

import (
	"testing"
	"time"

	"tally/internal/livestream"
)

func testCheckpointRises(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	first := checkpoint(r, at(5000), 4*time.Second)
	first.PartTarget, first.MSNMark, first.DiscontinuityMark, first.LongestGOP = 333_666_667, 9, 1, 2*time.Second
	for _, c := range []struct {
		name   string
		change func(*livestream.Checkpoint)
	}{
		{"first", func(*livestream.Checkpoint) {}},
		{"the same again", func(*livestream.Checkpoint) {}},
		{"lower figures", func(c *livestream.Checkpoint) {
			c.At, c.LastMediaAt, c.Ingest, c.PartTarget, c.MSNMark, c.DiscontinuityMark, c.LongestGOP = at(1), at(1), 1, 1, 1, 0, 1
		}},
		{"no figures", func(c *livestream.Checkpoint) {
			c.LastMediaAt, c.Ingest, c.PartTarget, c.MSNMark, c.DiscontinuityMark, c.LongestGOP = time.Time{}, 0, 0, 0, 0, 0
		}},
		{"another run", func(c *livestream.Checkpoint) { c.RunID, c.MSNMark = "other", 99 }},
	} {
		x := first
		c.change(&x)
		must(t, f.Checkpoint(ctx, []livestream.Checkpoint{x}, nil, nil))
		got, w := f.byID(t, l.ID), r
		w.Session.UpdatedAt, w.Session.LastMediaAt, w.Session.Ingest = at(5000), at(5000), 4*time.Second
		w.Livestream.LongestGOP = 2 * time.Second
		w.Livestream.Run.PartTarget, w.Livestream.Run.MSNMark, w.Livestream.Run.DiscontinuityMark = 333_666_667, 9, 1
		same(t, c.name, got, w)
	}
	must(t, f.Checkpoint(ctx, nil, nil, nil))
}

func testCheckpointStale(t *testing.T, f *fixture) {
	old := f.create(t)
	r := f.onAir(t, old, at(0))
	late := checkpoint(r, at(9000), 8*time.Second)
	late.MSNMark = 50
	r = f.advance(t, old.ID, publish(old, at(2000))) // a newer publish of the same session
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{late}, nil, nil))
	same(t, "after one of an older epoch", f.byID(t, old.ID), r)

	late.Epoch = r.Session.Epoch
	r = f.advance(t, old.ID, livestream.Event{Kind: livestream.Unpublish, At: at(3000), Epoch: r.Session.Epoch, Ingest: 2 * time.Second})
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{late, {LivestreamID: "x", SessionID: "y"}}, nil, nil))
	same(t, "after one of a closed session", f.byID(t, old.ID), r)

	// One that is stale does not keep the others from being written.
	good := f.onAir(t, f.create(t), at(0))
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{late, checkpoint(good, at(5000), 3*time.Second)}, nil, nil))
	same(t, "beside a stale one", f.byID(t, good.Livestream.ID).Session.Ingest, 3*time.Second)
}

func testLongestGOP(t *testing.T, f *fixture) {
	l := f.create(t)
	for i, gop := range []time.Duration{8 * time.Second, 2 * time.Second} {
		r := f.onAir(t, l, at(10_000*i))
		c := checkpoint(r, at(10_000*i+2000), time.Second)
		for _, c.LongestGOP = range []time.Duration{gop - 1, gop, time.Second, 0} {
			must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, nil, nil))
		}
		f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(10_000*i + 5000), Epoch: r.Session.Epoch})
		same(t, "longest GOP", f.byID(t, l.ID).Livestream.LongestGOP, gop)
	}
}

func window(sessionID string, n int64, amount time.Duration) livestream.UsageWindow {
	return livestream.UsageWindow{
		SessionID: sessionID, Kind: livestream.ByMedia, Node: "node", Incarnation: "first", Window: n, Amount: amount,
	}
}

func testWindowsOnce(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	id := r.Session.ID
	ws := []livestream.UsageWindow{window(id, 1, time.Second), window(id, 2, 1500*time.Microsecond)}
	other := window(id, 1, time.Minute)
	other.Incarnation = "second"
	more := window(id, 1, time.Hour)
	more.Node = "node 2"
	sum := time.Duration(0)
	check := func(what string) {
		t.Helper()
		same(t, what, f.byID(t, l.ID).Session.Viewed, sum)
		s, err := f.Session(ctx, here, id)
		must(t, err)
		same(t, what+", by session", s.Viewed, sum)
	}
	sum = time.Second + 1500*time.Microsecond
	for range 3 {
		must(t, f.Checkpoint(ctx, nil, ws, nil))
		check("the same windows again")
	}
	changed := window(id, 1, time.Hour) // a retry that claims another amount
	must(t, f.Checkpoint(ctx, nil, []livestream.UsageWindow{changed, changed}, nil))
	check("same key, other amount")
	must(t, f.Checkpoint(ctx, nil, []livestream.UsageWindow{other, more, window(livestream.NewUUID(), 1, time.Hour)}, nil))
	sum += time.Minute + time.Hour
	check("other incarnation, other node, unknown session")

	f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(5000), Epoch: r.Session.Epoch})
	must(t, f.Checkpoint(ctx, nil, []livestream.UsageWindow{window(id, 3, time.Second)}, nil))
	sum += time.Second
	check("after the end")
	f.reopen(t)
	must(t, f.Checkpoint(ctx, nil, append(ws, other, more), nil))
	check("again after a restart")
}

// testManyWindows writes a thousand windows, half of them twice, with restarts
// between, and compares with the plain sum.
func testManyWindows(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	sum := time.Duration(0)
	for n := range int64(1000) {
		w := window(r.Session.ID, n, time.Duration(n*1001)*time.Microsecond)
		sum += w.Amount
		again := window(r.Session.ID, n/2, time.Hour)
		must(t, f.Checkpoint(ctx, nil, []livestream.UsageWindow{w, again}, nil))
		if n%97 == 0 {
			same(t, "viewed", f.byID(t, l.ID).Session.Viewed, sum)
		}
		if n%400 == 399 {
			f.reopen(t)
		}
	}
	same(t, "viewed", f.byID(t, l.ID).Session.Viewed, sum)
	next := f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(5000), Epoch: r.Session.Epoch})
	same(t, "viewed at the end", next.Session.Viewed, sum)
}

// testManyCheckpoints writes 130 sessions at once, among them closed ones, ones
// of an older epoch, one named twice, and windows of them all and of others.
func testManyCheckpoints(t *testing.T, f *fixture) {
	var want [130]livestream.Record
	var cs []livestream.Checkpoint
	var ws []livestream.UsageWindow
	for i := range want {
		l := f.create(t)
		r := f.onAir(t, l, at(0))
		c := checkpoint(r, at(5000), time.Duration(i)*time.Second/64)
		c.MSNMark = int64(i)
		switch i % 5 {
		case 3:
			r = f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(4000), Epoch: 1})
		case 4:
			r = f.advance(t, l.ID, publish(l, at(4000)))
		default:
			r.Session.UpdatedAt, r.Session.LastMediaAt, r.Session.Ingest = c.At, c.At, c.Ingest.Truncate(time.Millisecond)
			r.Livestream.Run.MSNMark = c.MSNMark
		}
		if i%2 == 0 {
			ws = append(ws, window(r.Session.ID, 1, time.Duration(i+1)*time.Millisecond))
			r.Session.Viewed = time.Duration(i+1) * time.Millisecond
		}
		want[i], cs = r, append(cs, c)
	}
	lower := cs[10]
	lower.Ingest = 0
	for _, again := range [][]livestream.Checkpoint{cs, append(cs[:40:40], append([]livestream.Checkpoint{lower, cs[10]}, cs[40:]...)...)} {
		must(t, f.Checkpoint(ctx, again, append(ws, window(livestream.NewUUID(), 1, time.Hour)), nil))
		for _, r := range want {
			same(t, "after many checkpoints", f.byID(t, r.Livestream.ID), r)
		}
	}
}
