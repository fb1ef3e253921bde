package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

func newWebhook(sc livestream.Scope, created time.Time, events ...string) livestream.Webhook {
	if events == nil {
		events = []string{livestream.StatusUpdate}
	}
	return livestream.Webhook{
		Scope: sc, ID: livestream.NewUUID(), Name: "site", URL: "https://example.org/", Events: events, Enabled: true,
		CreatedAt: created, UpdatedAt: created, Secret: secret.New("s" + livestream.NewStreamKey().Reveal()),
		Public: "https://live.example.org", Ingest: "rtmp://live.example.org/live/",
	}
}

func (f *fixture) hook(t *testing.T, events ...string) livestream.Webhook {
	t.Helper()
	w := newWebhook(here, start, events...)
	must(t, f.CreateWebhook(ctx, w))
	return w
}

// broadcast takes l through LIVE, reconnecting, ok and OFFLINE: four events.
func (f *fixture) broadcast(t *testing.T, l livestream.Livestream, when time.Time) {
	t.Helper()
	r := f.onAir(t, l, when)
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Lose, At: when.Add(2 * time.Second), Epoch: r.Session.Epoch})
	r = f.advance(t, l.ID, publish(l, when.Add(3*time.Second)))
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: when.Add(4 * time.Second), Epoch: r.Session.Epoch})
}

func (f *fixture) ready(t *testing.T, webhookID string) []livestream.Delivery {
	t.Helper()
	_, list, err := f.ReadyDeliveries(ctx, webhookID, 100)
	must(t, err)
	return list
}

func (f *fixture) log(t *testing.T, w livestream.Webhook) []livestream.Delivery {
	t.Helper()
	page, n, err := f.Deliveries(ctx, w.Scope, w.ID, livestream.Page{Number: 1, Size: 100})
	if must(t, err); n != len(page) {
		t.Fatalf("%d deliveries of %d", len(page), n)
	}
	return page
}

// hour is for at, in ms: the store's own clock is not there while the suite runs.
const hour = 3_600_000

func (f *fixture) record(t *testing.T, d livestream.Delivery, state livestream.DeliveryState) {
	t.Helper()
	must(t, f.RecordAttempt(ctx, d, livestream.Result{State: state, NextAt: at(hour),
		Attempt: livestream.Attempt{At: at(1), Took: 31 * time.Millisecond, Status: 200, Answer: "ok"}}))
}

func seqs(list []livestream.Delivery) (out []int64) {
	for _, d := range list {
		out = append(out, d.Notice.Seq)
	}
	return out
}

func testWebhooks(t *testing.T, f *fixture) {
	first, second := newWebhook(here, start), newWebhook(here, at(5), livestream.EventNames...)
	second.Enabled = false
	foreign := newWebhook(livestream.Scope{AccountID: here.AccountID, AppID: "app-2"}, start)
	for _, w := range []livestream.Webhook{first, second, foreign} {
		must(t, f.CreateWebhook(ctx, w))
		want(t, f.CreateWebhook(ctx, w), livestream.ErrExists)
		got, err := f.Webhook(ctx, w.Scope, w.ID)
		must(t, err)
		same(t, "webhook", got, w)
	}
	list, err := f.Webhooks(ctx, here)
	must(t, err)
	same(t, "list", list, []livestream.Webhook{second, first})

	refused := errors.New("refused")
	if _, err := f.ChangeWebhook(ctx, here, first.ID, func(w *livestream.Webhook) error { w.Name = "x"; return refused }); err != refused {
		t.Errorf("refused change: %v", err)
	}
	changed := first
	changed.Name, changed.URL, changed.Events, changed.Enabled = "other", "http://example.com/", []string{livestream.HealthUpdate}, false
	changed.UpdatedAt, changed.Public, changed.Ingest = at(9), "https://other", "rtmp://other/live/"
	got, err := f.ChangeWebhook(ctx, here, first.ID, func(w *livestream.Webhook) error {
		same(t, "before the change", *w, first)
		*w = changed
		return nil
	})
	must(t, err)
	same(t, "changed", got, changed)

	nothing := func(*livestream.Webhook) error { return nil }
	for _, c := range []struct {
		sc livestream.Scope
		id string
	}{{foreign.Scope, first.ID}, {here, foreign.ID}, {livestream.Scope{AccountID: "account-2", AppID: here.AppID}, first.ID}, {here, "x"}, {here, ""}} {
		_, e1 := f.Webhook(ctx, c.sc, c.id)
		_, e2 := f.ChangeWebhook(ctx, c.sc, c.id, nothing)
		_, e3 := f.DeleteWebhook(ctx, c.sc, c.id)
		_, _, e4 := f.Deliveries(ctx, c.sc, c.id, livestream.Page{Number: 1, Size: 1})
		_, e5 := f.Replay(ctx, c.sc, c.id, 0, 9)
		for i, err := range []error{e1, e2, e3, e4, e5} {
			if err != livestream.ErrNotFound {
				t.Errorf("call %d of %v %q: %v, want %v", i+1, c.sc, c.id, err, livestream.ErrNotFound)
			}
		}
	}
	got, err = f.DeleteWebhook(ctx, here, first.ID)
	must(t, err)
	same(t, "deleted", got, changed)
	_, err = f.Webhook(ctx, here, first.ID)
	want(t, err, livestream.ErrNotFound)
	_, _, err = f.ReadyDeliveries(ctx, first.ID, 1)
	want(t, err, livestream.ErrNotFound)
}

// testTooManyWebhooks makes them at once: none is one too many.
func testTooManyWebhooks(t *testing.T, f *fixture) {
	var all sync.WaitGroup
	errs := make(chan error, livestream.MaxWebhooks+20)
	for range cap(errs) {
		all.Go(func() { errs <- f.CreateWebhook(ctx, newWebhook(here, start)) })
	}
	all.Wait()
	refused := 0
	for range cap(errs) {
		if err := <-errs; err != nil {
			want(t, err, livestream.ErrTooMany)
			refused++
		}
	}
	if refused != 20 {
		t.Errorf("%d were refused, want 20", refused)
	}
	must(t, f.CreateWebhook(ctx, newWebhook(livestream.Scope{AccountID: here.AccountID, AppID: "app-2"}, start)))
}

// testNotices compares the feed with what Notices says of each transition.
func testNotices(t *testing.T, f *fixture) {
	must(t, f.CreateApp(ctx, livestream.App{AccountID: here.AccountID, ID: here.AppID, Name: "An app", CreatedAt: start}))
	m := livestream.Meeting{Scope: here, ID: livestream.NewUUID(), Title: "Weekly", HasTitle: true, Active: true, CreatedAt: start, UpdatedAt: start}
	must(t, f.CreateMeeting(ctx, m))
	l := newLivestream(here, start)
	l.MeetingID = m.ID
	must(t, f.CreateLivestream(ctx, l))
	other := newLivestream(livestream.Scope{AccountID: "account-2", AppID: "app"}, start)
	must(t, f.CreateLivestream(ctx, other))

	var expected []livestream.Notice
	count := map[string]int64{}
	before := livestream.Record{Livestream: l}
	for i, e := range []livestream.Event{
		{Kind: livestream.Start}, {Kind: livestream.Publish}, {Kind: livestream.Playable}, {Kind: livestream.Lose},
		{Kind: livestream.Publish}, {Kind: livestream.Fail, Reason: livestream.Silent(time.Second)},
	} {
		e.At, e.Epoch, e.Key, e.NewID, e.NewRun = at(1000*i+1000), before.Session.Epoch, l.StreamKey, livestream.NewUUID(), livestream.NewRunID()
		after := f.advance(t, l.ID, e)
		for _, n := range livestream.Notices(before, after) {
			count[n.Event]++
			n.Seq, n.StreamSeq = int64(len(expected)+1), count[n.Event]
			n.Meeting = &livestream.NoticeMeeting{ID: m.ID, Title: m.Title, HasTitle: true, CreatedAt: m.CreatedAt, AppName: "An app"}
			expected = append(expected, n)
		}
		before = after
	}
	f.onAir(t, other, start)
	if _, err := f.Advance(ctx, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(9000)}); err == nil {
		t.Error("a second end was taken")
	}
	feed, more, err := f.Notices(ctx, here, 0, 100)
	if must(t, err); more {
		t.Error("there is more")
	}
	same(t, "feed", feed, expected)
	if len(feed) != 4 {
		t.Errorf("feed has %d events, want 4", len(feed))
	}
	f.reopen(t)
	for after := range int64(6) {
		page, more, err := f.Notices(ctx, here, after, 2)
		must(t, err)
		if rest := expected[min(after, 4):]; len(page) != min(2, len(rest)) || len(page) > 0 && page[0].Seq != after+1 || more != (len(rest) > 2) {
			t.Errorf("after %d: %d events, more %v", after, len(page), more)
		}
	}
	theirs, _, err := f.Notices(ctx, other.Scope, 0, 100)
	must(t, err)
	if len(theirs) != 1 || theirs[0].Seq != 1 || theirs[0].Meeting != nil {
		t.Errorf("the other app's feed: %+v", theirs)
	}
}

// testQueue: each enabled webhook gets what it wants, of each livestream one at
// a time, and in order.
func testQueue(t *testing.T, f *fixture) {
	status, health := f.hook(t), f.hook(t, livestream.HealthUpdate, "meeting.started")
	off, none := newWebhook(here, start), f.hook(t, "meeting.started")
	off.Enabled = false
	must(t, f.CreateWebhook(ctx, off))
	a, b := f.create(t), f.create(t)
	f.broadcast(t, a, start)       // 1 to 4
	f.broadcast(t, a, at(100_000)) // 5 to 8
	f.onAir(t, b, at(5000))        // 9
	for w, expected := range map[string][]int64{status.ID: {1, 9}, health.ID: {2}, off.ID: nil, none.ID: nil} {
		same(t, "ready", seqs(f.ready(t, w)), expected)
	}
	same(t, "log", seqs(f.log(t, status)), []int64{9, 8, 5, 4, 1})
	if n, err := f.OpenDeliveries(ctx); err != nil || n != 5+4 {
		t.Errorf("%d open deliveries, %v; want 9", n, err)
	}
	ids, err := f.PendingWebhooks(ctx)
	must(t, err)
	slices.Sort(ids)
	expected := []string{status.ID, health.ID}
	slices.Sort(expected)
	same(t, "pending webhooks", ids, expected)

	// Tried, to be tried again: the next of its livestream waits on.
	first := f.ready(t, status.ID)[0]
	if first.ID == "" || first.Round != 1 || first.Attempts != 0 || first.Body != nil || !first.Last.At.IsZero() || first.QueuedAt.IsZero() {
		t.Errorf("fresh delivery %+v", first)
	}
	body, err := f.KeepBody(ctx, status.ID, 1, []byte(`{"a":1}`))
	must(t, err)
	again, err := f.KeepBody(ctx, status.ID, 1, []byte(`{"b":2}`))
	must(t, err)
	if string(body) != `{"a":1}` || string(again) != `{"a":1}` {
		t.Errorf("bodies %s, %s", body, again)
	}
	_, err = f.KeepBody(ctx, status.ID, 77, []byte(`{}`))
	want(t, err, livestream.ErrNotFound)
	f.record(t, first, livestream.DeliveryReady)
	list := f.ready(t, status.ID)
	same(t, "ready after a failure, by their times", seqs(list), []int64{9, 1})
	tried := list[1]
	if tried.Attempts != 1 || string(tried.Body) != `{"a":1}` || !tried.NextAt.Equal(at(hour)) || tried.ID != first.ID ||
		tried.Last != (livestream.Attempt{At: at(1), Took: 31 * time.Millisecond, Status: 200, Answer: "ok"}) {
		t.Errorf("tried %+v", tried)
	}
	must(t, f.HurryDeliveries(ctx, status.ID, at(hour/2)))
	if d := f.ready(t, status.ID); len(d) != 2 || d[0].NextAt.After(at(hour/2)) || !d[1].NextAt.Equal(at(hour/2)) {
		t.Errorf("hurried: %v", d)
	}
	f.reopen(t)
	for _, state := range []livestream.DeliveryState{livestream.DeliveryDone, livestream.DeliveryFailed, livestream.DeliveryGivenUp} {
		for _, d := range f.ready(t, status.ID) {
			if d.Notice.LivestreamID == a.ID {
				f.record(t, d, state)
				f.record(t, d, livestream.DeliveryGivenUp) // ended already
			}
		}
	}
	same(t, "after three ended", seqs(f.ready(t, status.ID)), []int64{8, 9})
	var states []livestream.DeliveryState
	for _, d := range f.log(t, status) {
		states = append(states, d.State)
	}
	same(t, "states", states, []livestream.DeliveryState{livestream.DeliveryReady, livestream.DeliveryReady,
		livestream.DeliveryGivenUp, livestream.DeliveryFailed, livestream.DeliveryDone})

	// Disabled: nothing is ready, nothing is queued; enabled: what there was.
	enable := func(on bool) {
		_, err := f.ChangeWebhook(ctx, here, status.ID, func(w *livestream.Webhook) error { w.Enabled = on; return nil })
		must(t, err)
	}
	enable(false)
	f.broadcast(t, a, at(200_000))
	same(t, "ready while disabled", seqs(f.ready(t, status.ID)), nil)
	enable(true)
	same(t, "ready once enabled", seqs(f.ready(t, status.ID)), []int64{8, 9})
	_, err = f.DeleteWebhook(ctx, here, status.ID)
	must(t, err)
	if n, err := f.OpenDeliveries(ctx); err != nil || n != 6 {
		t.Errorf("%d open deliveries after the deletion, %v; want 6", n, err)
	}
}

// testReplay queues again what ended and begins anew what is open.
func testReplay(t *testing.T, f *fixture) {
	w := f.hook(t)
	a, b := f.create(t), f.create(t)
	f.broadcast(t, a, start)   // 1 to 4, of which 1 and 4 are wanted
	f.broadcast(t, b, start)   // 5 to 8: 5 and 8
	f.onAir(t, a, at(100_000)) // 9
	for len(f.ready(t, w.ID)) > 0 {
		d := f.ready(t, w.ID)[0]
		if d.Notice.Seq == 9 {
			break
		}
		f.record(t, d, livestream.DeliveryDone)
	}
	underWay := f.ready(t, w.ID)[0]
	ids := map[int64]string{}
	for _, d := range f.log(t, w) {
		ids[d.Notice.Seq] = d.ID
	}
	r, err := f.Replay(ctx, here, w.ID, 1, livestream.MaxReplay)
	must(t, err)
	same(t, "replay", r, livestream.Replay{Queued: 4, UpTo: 9})
	same(t, "ready", seqs(f.ready(t, w.ID)), []int64{4, 5})
	f.record(t, underWay, livestream.DeliveryDone) // of the round before: ends nothing
	for _, d := range f.log(t, w) {
		if open := d.Notice.Seq > 1; d.State.Open() != open || open && (d.Round != 2 || d.Attempts != 0) || d.ID != ids[d.Notice.Seq] {
			t.Errorf("after the replay: %+v", d)
		}
	}
	r, err = f.Replay(ctx, here, w.ID, 9, livestream.MaxReplay)
	must(t, err)
	same(t, "replay of nothing", r, livestream.Replay{UpTo: 9})

	// More than one call may queue. The limit is no multiple of what an engine may
	// do in one transaction.
	const limit = 610
	var all sync.WaitGroup
	for range 10 {
		l := f.create(t)
		all.Go(func() {
			for i := range limit / 20 {
				for k, kind := range []livestream.Kind{livestream.Publish, livestream.Playable, livestream.Unpublish} {
					e := publish(l, at(1_000_000+10_000*i+k))
					e.Kind, e.Epoch = kind, int64(i+1)
					if _, err := f.Advance(ctx, l.ID, e); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait() // 10 to 609
	r, err = f.Replay(ctx, here, w.ID, 0, limit-10)
	must(t, err)
	same(t, "long replay", r, livestream.Replay{Queued: limit - 10 - 4, UpTo: limit - 10, More: true})
	r, err = f.Replay(ctx, here, w.ID, r.UpTo, limit)
	must(t, err)
	same(t, "its rest", r, livestream.Replay{Queued: 9, UpTo: limit - 1})
}

// testWake: whoever waits for deliveries hears of each commit that queues one.
func testWake(t *testing.T, f *fixture) {
	w, l := f.hook(t), f.create(t)
	await := func() []string {
		t.Helper()
		soon, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		ids, err := f.AwaitDeliveries(soon)
		must(t, err)
		return ids
	}
	f.onAir(t, l, start)
	same(t, "woken by an event", await(), []string{w.ID})
	_, err := f.ChangeWebhook(ctx, here, w.ID, func(*livestream.Webhook) error { return nil })
	must(t, err)
	same(t, "woken by a change", await(), []string{w.ID})
	_, err = f.Replay(ctx, here, w.ID, 0, livestream.MaxReplay)
	must(t, err)
	same(t, "woken by a replay", await(), []string{w.ID})
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if ids, err := f.AwaitDeliveries(gone); err == nil {
		t.Errorf("woken for nothing: %v", ids)
	}
}

// testDropEvents drops what is old with its deliveries; what waited behind a
// dropped one moves up, and numbers go on.
func testDropEvents(t *testing.T, f *fixture) {
	w, l := f.hook(t), f.create(t)
	f.broadcast(t, l, start)
	old := time.Now().Add(time.Millisecond)
	time.Sleep(3 * time.Millisecond) // the store's own clock has to pass old
	f.broadcast(t, l, at(100_000))
	for {
		n, err := f.DropEvents(ctx, old)
		must(t, err)
		if n == 0 {
			break
		}
	}
	feed, _, err := f.Notices(ctx, here, 0, 100)
	must(t, err)
	if len(feed) != 4 || feed[0].Seq != 5 || feed[3].StreamSeq != 4 {
		t.Errorf("feed %+v", feed)
	}
	same(t, "log", seqs(f.log(t, w)), []int64{8, 5})
	same(t, "ready", seqs(f.ready(t, w.ID)), []int64{5})
	for range 2 {
		_, err := f.DropEvents(ctx, time.Now().Add(time.Hour))
		must(t, err)
	}
	f.broadcast(t, l, at(200_000))
	same(t, "ready after all was dropped", seqs(f.ready(t, w.ID)), []int64{9})
}

func testKeep(t *testing.T, f *fixture) {
	long := bytes.Repeat([]byte("long"), 500)
	n := 0
	fresh := func() ([]byte, error) { n++; return long, nil }
	failed := errors.New("no")
	_, err := f.Keep(ctx, "key", func() ([]byte, error) { return nil, failed })
	want(t, err, failed)
	for range 2 {
		got, err := f.Keep(ctx, "key", fresh)
		must(t, err)
		if !bytes.Equal(got, long) || n != 1 {
			t.Errorf("kept %d bytes after %d calls", len(got), n)
		}
	}
	f.reopen(t)
	got, err := f.Keep(ctx, "key", fresh)
	must(t, err)
	if !bytes.Equal(got, long) {
		t.Error("another after the reopening")
	}
	var all sync.WaitGroup
	values := make(chan string, 8)
	for i := range cap(values) {
		all.Go(func() {
			b, err := f.Keep(ctx, "race", func() ([]byte, error) { return fmt.Append(nil, i), nil })
			if err != nil {
				t.Error(err)
			}
			values <- string(b)
		})
	}
	all.Wait()
	first := <-values
	for range cap(values) - 1 {
		if v := <-values; v != first {
			t.Errorf("two callers got %s and %s", first, v)
		}
	}
}
