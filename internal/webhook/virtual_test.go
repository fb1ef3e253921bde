package webhook

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
)

// Statuses of an answer that never changes.
func always(status int) func(int, call) (int, http.Header, error) {
	return func(int, call) (int, http.Header, error) { return status, nil, nil }
}

// OFFLINE waits for the LIVE of its livestream to be taken; other livestreams
// and other webhooks do not.
func TestOrderUnderFailures(t *testing.T) {
	one, other := newReceiver(), newReceiver()
	inBubble(t, hosts{"one": one, "other": other}, func(w *world) {
		w.hook("https://one/")
		w.hook("https://other/")
		bad, good := w.livestream(), w.livestream()
		one.answer = func(n int, c call) (int, http.Header, error) {
			if c.StreamID == bad.ID && c.StreamSeq == 1 && c.Time.Before(w.begun().Add(30*time.Second)) {
				return http.StatusInternalServerError, nil, nil
			}
			return http.StatusOK, nil, nil
		}
		w.onAir(bad)
		w.advance(bad, livestream.Unpublish)
		w.onAir(bad)
		synctest.Wait()
		equalWords(t, "the other webhook, at once", other.words(), "LIVE", "OFFLINE", "LIVE")
		w.onAir(good)
		time.Sleep(5 * time.Second)
		var ofBad, ofGood []call
		divide := func() {
			ofBad, ofGood = nil, nil
			for _, c := range one.all() {
				if c.StreamID == bad.ID {
					ofBad = append(ofBad, c)
				} else {
					ofGood = append(ofGood, c)
				}
			}
		}
		if divide(); len(ofGood) != 1 {
			t.Errorf("the other livestream was told %d times within 5 s, want once", len(ofGood))
		}
		for _, c := range ofBad {
			if c.StreamSeq != 1 || string(c.Raw) != string(ofBad[0].Raw) || c.Header.Get("rtk-uuid") != ofBad[0].Header.Get("rtk-uuid") {
				t.Errorf("event %d came before the first was taken, or a retry has other bytes or another id", c.StreamSeq)
			}
		}
		if len(ofBad) < 3 {
			t.Errorf("%d tries within 5 s, want 3 or more", len(ofBad))
		}
		time.Sleep(2 * time.Minute)
		divide()
		var seqs []int64
		for _, c := range ofBad {
			if len(seqs) == 0 || seqs[len(seqs)-1] != c.StreamSeq {
				seqs = append(seqs, c.StreamSeq)
			}
		}
		equal(t, "order", seqs, []int64{1, 2, 3}, func(a, b int64) bool { return a == b })
	})
}

// begun is when a bubble's time begins.
func (w *world) begun() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// A dead receiver, one that hangs and one that is slow delay no other, nor does
// one of them delay the other livestreams of its own for long.
func TestDeadReceiverDelaysNoOther(t *testing.T) {
	dead, hanging, alive := newReceiver(), newReceiver(), newReceiver()
	dead.answer = func(int, call) (int, http.Header, error) { return 0, nil, errors.New("connection refused") }
	hanging.answer = func(int, call) (int, http.Header, error) { return 0, nil, errHang }
	inBubble(t, hosts{"dead": dead, "hanging": hanging, "alive": alive}, func(w *world) {
		var hung livestream.Webhook
		for range 3 {
			w.hook("https://dead/")
			hung = w.hook("https://hanging/")
		}
		w.hook("https://alive/")
		for range 10 {
			l := w.livestream()
			w.onAir(l)
			w.advance(l, livestream.Unpublish)
		}
		synctest.Wait()
		if n := len(alive.all()); n != 20 {
			t.Errorf("the living receiver was told %d events at once, want 20", n)
		}
		if n := len(hanging.all()); n > 3*perWebhook {
			t.Errorf("%d requests hang, want at most %d", n, 3*perWebhook)
		}
		time.Sleep(tryTimeout)
		synctest.Wait()
		for _, d := range w.deliveries(hung) {
			if d.Attempts > 0 && d.Last.Error == "" {
				t.Errorf("delivery after the timeout: %+v", d)
			}
		}
		time.Sleep(50 * time.Minute)
		before := len(dead.all())
		time.Sleep(10 * time.Minute)
		if n := len(dead.all()) - before; n > 3*4 {
			t.Errorf("3 webhooks that were dead for an hour got %d requests in 10 min, want at most one in %s each", n, longPause)
		}
		// It comes back: all is delivered within one pause.
		dead.answer = nil
		at := len(dead.all())
		time.Sleep(longPause + time.Minute)
		if n := len(dead.all()) - at; n != 3*20 {
			t.Errorf("told %d events after it came back, want 60", n)
		}
	})
}

// 408, 425 and 429 are tried again, not before a Retry-After has passed.
func TestRetryAfterIsObeyed(t *testing.T) {
	for _, c := range []struct {
		status int
		header string
	}{{408, ""}, {425, ""}, {429, "90"}, {503, "90"}, {500, ""}} {
		t.Run(strconv.Itoa(c.status), func(t *testing.T) {
			r := newReceiver()
			r.answer = func(n int, _ call) (int, http.Header, error) {
				if n == 0 {
					h := http.Header{}
					if c.header != "" {
						h.Set("Retry-After", c.header)
					}
					return c.status, h, nil
				}
				return http.StatusNoContent, nil, nil
			}
			inBubble(t, r, func(w *world) {
				h := w.hook("https://one/")
				w.onAir(w.livestream())
				synctest.Wait()
				w.onAir(w.livestream()) // of another livestream: it was asked to be left alone whatever it is about
				time.Sleep(3 * time.Minute)
				calls := r.all()
				if len(calls) != 3 {
					t.Fatalf("%d calls, want 3", len(calls))
				}
				least, most := 700*time.Millisecond, 1200*time.Millisecond
				if c.header != "" {
					least, most = 90*time.Second, 91*time.Second
					if gap := calls[1].Time.Sub(calls[0].Time); gap < least {
						t.Errorf("asked again %s after it asked to be left alone", gap)
					}
				}
				if gap := calls[2].Time.Sub(calls[0].Time); gap < least || gap > most {
					t.Errorf("told again after %s, want %s to %s", gap, least, most)
				}
				for _, d := range w.deliveries(h) {
					if d.State != livestream.DeliveryDone {
						t.Errorf("delivery %+v", d)
					}
				}
			})
		})
	}
}

// Who mended a receiver and tests the webhook waits no longer for what was held
// back; a test that fails changes nothing.
func TestTakenSampleEndsThePause(t *testing.T) {
	r := newReceiver()
	working := false
	r.answer = func(int, call) (int, http.Header, error) {
		if working {
			return http.StatusOK, nil, nil
		}
		return http.StatusBadGateway, nil, nil
	}
	inBubble(t, hosts{"one": r}, func(w *world) {
		h := w.hook("https://one/")
		l := w.livestream()
		w.onAir(l)
		w.advance(l, livestream.Unpublish)
		time.Sleep(10 * time.Minute)
		before := len(r.all())
		for _, want := range []int{before + 1, before + 4} { // the sample; the sample, LIVE, OFFLINE
			_, err := w.e.Try(context.Background(), h)
			must(t, err)
			synctest.Wait()
			if n := len(r.all()); n != want {
				t.Errorf("%d requests after the test, want %d", n, want)
			}
			working = true
		}
		for _, d := range w.deliveries(h) {
			if d.State != livestream.DeliveryDone {
				t.Errorf("event %d is %s", d.Notice.Seq, d.State)
			}
		}
	})
}

// What is refused is noted and not sent again, and holds nothing up.
func TestRefusedIsNotRetried(t *testing.T) {
	for _, status := range []int{300, 304, 400, 401, 404, 410, 499} {
		r := newReceiver()
		r.answer = always(status)
		inBubble(t, r, func(w *world) {
			h := w.hook("https://one/")
			l := w.livestream()
			w.onAir(l)
			w.advance(l, livestream.Unpublish)
			time.Sleep(25 * time.Hour)
			equalWords(t, strconv.Itoa(status), r.words(), "LIVE", "OFFLINE")
			for _, d := range w.deliveries(h) {
				if d.State != livestream.DeliveryFailed || d.Attempts != 1 || d.Last.Status != status {
					t.Errorf("%d: delivery %+v", status, d)
				}
			}
			if n := w.e.Stats().Failed.Load(); n != 2 {
				t.Errorf("%d counted as failed, want 2", n)
			}
		})
	}
}

// After 24 hours an event is given up, and the next of its livestream has its turn.
func TestGivenUpAfterADay(t *testing.T) {
	r := newReceiver()
	r.answer = always(http.StatusBadGateway)
	inBubble(t, r, func(w *world) {
		h := w.hook("https://one/")
		l := w.livestream()
		w.onAir(l)
		time.Sleep(12 * time.Hour)
		w.advance(l, livestream.Unpublish)
		begun := r.all()[0].Time
		time.Sleep(12*time.Hour + 3*longPause)
		var lastLive time.Time
		for _, c := range r.all() {
			if c.StreamSeq == 1 {
				lastLive = c.Time
			}
		}
		if d := lastLive.Sub(begun); d < giveUpAfter-time.Minute || d > giveUpAfter+longPause {
			t.Errorf("last try of LIVE %s after the first, want 24h", d)
		}
		if n := len(r.all()); n < 100 || n > 250 {
			t.Errorf("%d tries in a day", n)
		}
		page := w.deliveries(h)
		if page[1].State != livestream.DeliveryGivenUp || page[0].State != livestream.DeliveryReady || page[0].Attempts == 0 {
			t.Fatalf("LIVE is %s, OFFLINE %s after %d tries", page[1].State, page[0].State, page[0].Attempts)
		}
		time.Sleep(12 * time.Hour)
		if page = w.deliveries(h); page[0].State != livestream.DeliveryGivenUp || w.e.Stats().GivenUp.Load() != 2 {
			t.Errorf("OFFLINE is %s, %d counted as given up", page[0].State, w.e.Stats().GivenUp.Load())
		}
		// The next event finds it well again.
		r.answer = nil
		n := len(r.all())
		w.onAir(l)
		synctest.Wait()
		if len(r.all()) != n+1 || w.e.Stats().Delivered.Load() != 1 {
			t.Errorf("%d calls after it works again", len(r.all())-n)
		}
	})
}

// A webhook that is disabled hears nothing of what happens then; what was queued
// before comes once it is enabled.
func TestDisabledWebhook(t *testing.T) {
	r := newReceiver()
	r.answer = always(http.StatusInternalServerError)
	inBubble(t, r, func(w *world) {
		h := w.hook("https://one/")
		l := w.livestream()
		w.onAir(l)
		synctest.Wait()
		w.enable(h, false)
		w.advance(l, livestream.Unpublish)
		time.Sleep(time.Hour)
		n := len(r.all())
		if n > 1 {
			t.Errorf("%d tries while disabled", n-1)
		}
		r.answer = nil
		w.enable(h, true)
		w.onAir(l)
		time.Sleep(time.Second)
		equalWords(t, "after it is enabled", r.words()[n:], "LIVE", "LIVE")
	})
}

func (w *world) enable(h livestream.Webhook, on bool) {
	w.Helper()
	_, err := w.store.ChangeWebhook(context.Background(), here, h.ID, func(h *livestream.Webhook) error { h.Enabled = on; return nil })
	must(w.TB, err)
}

// A new address is tried at once, whatever the old one did; a deleted webhook
// never again.
func TestMovedAndDeletedWebhook(t *testing.T) {
	old, fresh := newReceiver(), newReceiver()
	old.answer = func(int, call) (int, http.Header, error) {
		return http.StatusTooManyRequests, http.Header{"Retry-After": {"36000"}}, nil
	}
	inBubble(t, hosts{"old": old, "fresh": fresh}, func(w *world) {
		h, doomed := w.hook("https://old/"), w.hook("https://old/")
		l := w.livestream()
		w.onAir(l)
		w.advance(l, livestream.Unpublish)
		time.Sleep(time.Minute)
		_, err := w.store.ChangeWebhook(context.Background(), here, h.ID, func(h *livestream.Webhook) error { h.URL = "https://fresh/"; return nil })
		must(t, err)
		synctest.Wait()
		equalWords(t, "the new address", fresh.words(), "LIVE", "OFFLINE")
		_, err = w.store.DeleteWebhook(context.Background(), here, doomed.ID)
		must(t, err)
		n := len(old.all())
		time.Sleep(25 * time.Hour)
		if len(old.all()) != n {
			t.Error("a deleted webhook was called")
		}
	})
}

// A replay sends everything from the cursor on again, in order, with the same
// ids and bytes, also what is under way or waits.
func TestReplay(t *testing.T) {
	r := newReceiver()
	inBubble(t, r, func(w *world) {
		h := w.hook("https://one/")
		l, m := w.livestream(), w.livestream()
		w.onAir(l) // 1
		w.onAir(m) // 2
		synctest.Wait()
		r.answer = always(http.StatusBadRequest)
		w.advance(l, livestream.Unpublish) // 3
		synctest.Wait()
		r.answer = func(n int, c call) (int, http.Header, error) { // under way while the replay is asked for
			if c.Seq == 4 && n < 4 {
				time.Sleep(5 * time.Second)
			}
			return http.StatusOK, nil, nil
		}
		w.onAir(l) // 4
		time.Sleep(time.Second)
		before := r.all()
		rp, err := w.store.Replay(context.Background(), here, h.ID, 1, livestream.MaxReplay)
		must(t, err)
		if rp != (livestream.Replay{Queued: 3, UpTo: 4}) {
			t.Errorf("replay %+v", rp)
		}
		time.Sleep(time.Minute)
		again := r.all()[len(before):]
		var ofL []int64
		for _, c := range again {
			if c.StreamID == l.ID {
				ofL = append(ofL, c.Seq)
			}
			for _, b := range before {
				if b.Seq == c.Seq && (string(b.Raw) != string(c.Raw) || b.Header.Get("rtk-uuid") != c.Header.Get("rtk-uuid")) {
					t.Errorf("event %d has other bytes or another id in the replay", c.Seq)
				}
			}
		}
		equal(t, "replayed of one livestream", ofL, []int64{3, 4}, func(a, b int64) bool { return a == b })
		if len(again) != 3 {
			t.Errorf("%d calls by the replay, want 3", len(again))
		}
		for _, d := range w.deliveries(h) {
			if d.State != livestream.DeliveryDone {
				t.Errorf("event %d is %s", d.Notice.Seq, d.State)
			}
		}
	})
}

// Stopping gives a request under way two seconds, and counts it as no failure:
// it comes again after the start.
func TestStopIsBounded(t *testing.T) {
	r := newReceiver()
	r.answer = func(int, call) (int, http.Header, error) { return 0, nil, errHang }
	inBubble(t, r, func(w *world) {
		h := w.hook("https://one/")
		w.onAir(w.livestream())
		synctest.Wait()
		begun := time.Now()
		w.stop()
		if d := time.Since(begun); d > stopGrace+100*time.Millisecond {
			t.Errorf("stop took %s", d)
		}
		if d := w.deliveries(h)[0]; d.State != livestream.DeliveryReady || d.Attempts != 0 {
			t.Errorf("delivery %+v", d)
		}
		r.answer = nil
		w.start()
		synctest.Wait()
		calls := r.all()
		if len(calls) != 2 || string(calls[0].Raw) != string(calls[1].Raw) {
			t.Errorf("%d calls", len(calls))
		}
	})
}

// Events and their log are kept for 30 days.
func TestOldEventsAreDropped(t *testing.T) {
	r := newReceiver()
	inBubble(t, r, func(w *world) {
		h, off := w.hook("https://one/"), w.hook("https://one/")
		l := w.livestream()
		w.onAir(l)
		synctest.Wait()
		r.answer = always(http.StatusInternalServerError)
		w.advance(l, livestream.Unpublish)
		w.enable(off, false)
		time.Sleep(29 * 24 * time.Hour)
		if n := len(w.deliveries(h)); n != 2 {
			t.Errorf("%d deliveries after 29 days, want 2", n)
		}
		time.Sleep(25 * time.Hour)
		page, _, err := w.store.Notices(context.Background(), here, 0, 10)
		must(t, err)
		if len(page)+len(w.deliveries(h))+len(w.deliveries(off)) != 0 {
			t.Errorf("after 30 days: events %v, deliveries %v, %v", page, w.deliveries(h), w.deliveries(off))
		}
		r.answer = nil
		w.enable(off, true)
		w.onAir(l) // goes on where it was
		synctest.Wait()
		calls := r.all()
		for _, c := range calls[len(calls)-2:] {
			if c.Seq != 3 || c.StreamSeq != 3 {
				t.Errorf("the next event has the numbers %d and %d, want 3", c.Seq, c.StreamSeq)
			}
		}
	})
}
