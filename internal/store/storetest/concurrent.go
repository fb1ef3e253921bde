package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tally/internal/livestream"
)

// testOneLivestream lets 64 publishers ask at once: each is a publish of its
// own, in one session.
func testOneLivestream(t *testing.T, f *fixture) {
	l := f.undamped(t)
	const n = 64
	epochs := make([]int64, n)
	sessions := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := f.Advance(ctx, l.ID, publish(l, at(i)))
			if err != nil {
				t.Error(err)
			}
			epochs[i], sessions[i] = r.Session.Epoch, r.Session.ID
		})
	}
	wg.Wait()
	seen := map[int64]bool{}
	for i := range n {
		if seen[epochs[i]] || epochs[i] < 1 || epochs[i] > n || sessions[i] != sessions[0] {
			t.Fatalf("publisher %d got epoch %d of session %s", i, epochs[i], sessions[i])
		}
		seen[epochs[i]] = true
	}
	open, err := f.OpenRecords(ctx)
	must(t, err)
	if len(open) != 1 || open[0].Session.Epoch != n {
		t.Fatalf("%d open sessions, want one of epoch %d", len(open), n)
	}
	facts, _, err := f.Timeline(ctx, sessions[0], livestream.Page{Number: 1, Size: 100})
	if must(t, err); len(facts) != n {
		t.Errorf("%d facts, want %d", len(facts), n)
	}
}

// testManyLivestreams lets 64 goroutines drive 16 livestreams through whole
// sessions, checkpoint them and read them, against each other.
func testManyLivestreams(t *testing.T, f *fixture) {
	var ls [16]livestream.Livestream
	for i := range ls {
		ls[i] = f.undamped(t)
	}
	allowed := func(err error) bool {
		for _, e := range []error{nil, livestream.ErrStale, livestream.ErrTransition, livestream.ErrDamped} {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			l := ls[i%len(ls)]
			for j := range 5 {
				r, err := f.Advance(ctx, l.ID, publish(l, at(100*j)))
				if !allowed(err) {
					t.Error(err)
				}
				epoch := r.Session.Epoch
				_, err = f.Advance(ctx, l.ID, livestream.Event{Kind: livestream.Playable, At: at(100*j + 10), Epoch: epoch})
				if !allowed(err) {
					t.Error(err)
				}
				if err := f.Checkpoint(ctx, []livestream.Checkpoint{checkpoint(r, at(100*j+20), time.Millisecond)}, nil, nil); err != nil {
					t.Error(err)
				}
				_, err = f.Advance(ctx, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(100*j + 30), Epoch: epoch})
				if !allowed(err) {
					t.Error(err)
				}
				if _, err := f.RecordByID(ctx, here, l.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, l := range ls {
		r := f.byID(t, l.ID)
		if r.Session.Epoch != r.Livestream.Epoch || r.Livestream.Epoch != 20 {
			t.Errorf("epoch %d, newest session's %d, want both 20: publishes of four goroutines, five each", r.Livestream.Epoch, r.Session.Epoch)
		}
		all, n, err := f.Sessions(ctx, here, l.ID, livestream.Page{Number: 1, Size: 100})
		must(t, err)
		open := 0
		for _, s := range all {
			if s.Phase.Open() {
				open++
			}
		}
		if open > 1 || open == 1 && !r.Session.Phase.Open() || n != len(all) {
			t.Errorf("%d of %d sessions are open, the newest is %s", open, n, r.Session.Phase)
		}
	}
}

// testMonotonicReads reads while figures rise: what one read has seen no later
// read may take back, whoever made it.
func testMonotonicReads(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var ingest, viewed time.Duration
			for {
				got, err := f.RecordByID(ctx, here, l.ID)
				if err != nil {
					t.Error(err)
					return
				}
				if got.Session.Ingest < ingest || got.Session.Viewed < viewed {
					t.Errorf("read %s and %s after %s and %s", got.Session.Ingest, got.Session.Viewed, ingest, viewed)
					return
				}
				ingest, viewed = got.Session.Ingest, got.Session.Viewed
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 300 {
		d := time.Duration(i+1) * time.Second
		must(t, f.Checkpoint(ctx, []livestream.Checkpoint{checkpoint(r, start.Add(d), d)}, []livestream.UsageWindow{window(r.Session.ID, int64(i), time.Second)}, nil))
		got := f.byID(t, l.ID).Session // what was returned as written is read at once
		if got.Ingest != d || got.Viewed != d {
			t.Fatalf("after writing %s: ingest %s, viewed %s", d, got.Ingest, got.Viewed)
		}
	}
	close(done)
	wg.Wait()
}

func testReopen(t *testing.T, f *fixture) {
	l := f.create(t)
	idle := f.create(t)
	m := livestream.Meeting{Scope: here, ID: livestream.NewUUID(), CreatedAt: start, UpdatedAt: start}
	must(t, f.CreateMeeting(ctx, m))
	r := f.onAir(t, l, at(0))
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{checkpoint(r, at(5000), 4*time.Second)}, []livestream.UsageWindow{window(r.Session.ID, 1, 3*time.Second)}, nil))
	r = f.advance(t, l.ID, livestream.Event{Kind: livestream.Lose, At: at(6000), Epoch: r.Session.Epoch})
	facts, _, err := f.Timeline(ctx, r.Session.ID, livestream.Page{Number: 1, Size: 100})
	must(t, err)
	first, err := f.Secret(ctx, "viewer")
	must(t, err)
	f.reopen(t)
	same(t, "record", f.byID(t, l.ID), r)
	same(t, "idle livestream", f.byID(t, idle.ID).Livestream, idle)
	open, err := f.OpenRecords(ctx)
	must(t, err)
	same(t, "open records", open, []livestream.Record{r})
	again, _, err := f.Timeline(ctx, r.Session.ID, livestream.Page{Number: 1, Size: 100})
	must(t, err)
	same(t, "timeline", again, facts)
	second, err := f.Secret(ctx, "viewer")
	must(t, err)
	same(t, "secret", second, first)
	got, err := f.Meeting(ctx, here, m.ID)
	must(t, err)
	same(t, "meeting", got, m)
	r = f.advance(t, l.ID, publish(l, at(7000)))
	if r.Session.ID != open[0].Session.ID || r.Session.Epoch != 2 {
		t.Errorf("publish after the reopen: session %s epoch %d", r.Session.ID, r.Session.Epoch)
	}
}

func testCancelled(t *testing.T, f *fixture) {
	l := f.create(t)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err := f.Advance(gone, l.ID, publish(l, at(0)))
	want(t, err, context.Canceled)
	_, err = f.RecordByKey(gone, l.StreamKey)
	want(t, err, context.Canceled)
	_, _, err = f.Records(gone, here, livestream.Query{Page: livestream.Page{Number: 1, Size: 1}})
	want(t, err, context.Canceled)
	same(t, "livestream", f.byID(t, l.ID), livestream.Record{Livestream: l})
}

// testClosed closes the store while it is in use: every call then answers, with
// success or with an error, and from then on with an error.
func testClosed(t *testing.T, f *fixture) {
	l := f.create(t)
	f.byID(t, l.ID)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if _, err := f.Advance(ctx, l.ID, publish(l, at(0))); err != nil {
					return
				}
			}
		})
	}
	must(t, f.Close())
	wg.Wait()
	calls := map[string]error{"Ping": f.Ping(ctx), "CreateLivestream": f.CreateLivestream(ctx, newLivestream(here, start))}
	_, calls["RecordByID"] = f.RecordByID(ctx, here, l.ID)
	_, calls["RecordByPlaybackID"] = f.RecordByPlaybackID(ctx, l.PlaybackID)
	_, _, calls["Records"] = f.Records(ctx, here, livestream.Query{})
	_, calls["OpenRecords"] = f.OpenRecords(ctx)
	_, calls["Advance"] = f.Advance(ctx, l.ID, publish(l, at(0)))
	_, calls["Secret"] = f.Secret(ctx, "x")
	_, calls["Intervals"] = f.Intervals(ctx, "x")
	_, _, calls["Viewings"] = f.Viewings(ctx, "x", livestream.Page{Number: 1, Size: 1})
	calls["Audit"] = f.Audit(ctx, here, "x", &ledger{})
	for name, err := range calls {
		if err == nil || errors.Is(err, livestream.ErrNotFound) {
			t.Errorf("%s of a closed store: %v, want an error that says so", name, err)
		}
	}
	must(t, f.Close())
}
