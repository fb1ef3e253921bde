package webhook

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"tally/internal/livestream"
)

// A runner delivers to one webhook while there is something to be delivered. One
// goroutine owns it; each request is a goroutine that ends in done.
type runner struct {
	e     *Engine
	id    string
	log   *slog.Logger
	woken chan struct{} // holds one when the store may have more
	works chan struct{} // holds one when the receiver took a sample

	busy     map[string]bool // livestreams of which something is under way
	extra    int             // how many of those hold a place of Engine.extra
	done     chan outcome
	url      string    // as of the last look
	failures int       // tries that failed, since one succeeded
	resume   time.Time // nothing is started before
}

// An outcome is what came of one try, already noted in the store.
type outcome struct {
	livestreamID string
	answered     bool          // the receiver works, whatever it said
	failed       bool          // it does not; neither: it was not asked
	pause        time.Duration // it asked for; 0: for none
}

func newRunner(e *Engine, id string) *runner {
	return &runner{
		e: e, id: id, log: e.Log.With("webhook", id), woken: make(chan struct{}, 1), works: make(chan struct{}, 1),
		busy: map[string]bool{}, done: make(chan outcome, perWebhook),
	}
}

// run ends when there is nothing left to deliver, or with ctx; what is under way
// then has until sending ends.
func (r *runner) run(ctx, sending context.Context) {
	for ctx.Err() == nil {
		next, left := r.start(ctx, sending)
		if len(r.busy) == 0 && !left && r.leave() {
			return
		}
		r.pause(ctx, next)
	}
	for len(r.busy) > 0 {
		r.settle(ctx, <-r.done)
	}
}

// leave takes the runner off the engine's list, unless it was woken meanwhile.
func (r *runner) leave() bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if len(r.woken) > 0 {
		return false
	}
	delete(r.e.runners, r.id)
	return true
}

// start starts what is due and has a place. It returns when to look again, zero
// when only an event can bring something, and whether anything is left to do.
func (r *runner) start(ctx, sending context.Context) (next time.Time, left bool) {
	w, ready, err := r.e.Store.ReadyDeliveries(ctx, r.id, lookAhead)
	now := time.Now()
	switch {
	case errors.Is(err, livestream.ErrNotFound): // deleted
		return next, false
	case err != nil:
		if ctx.Err() == nil {
			r.log.Error("read deliveries", "err", err)
		}
		return now.Add(storeDelay), true
	case r.url != w.URL && r.failures > 0: // another receiver: what is known of the old one is nothing to it
		r.url, r.failures, r.resume = w.URL, 0, time.Time{}
		r.hurry(ctx)
		return now, true
	}
	r.url = w.URL
	if len(ready) > 0 && now.Before(r.resume) {
		return r.resume, true
	}
	for _, d := range ready {
		if r.busy[d.Notice.LivestreamID] {
			continue
		}
		if d.NextAt.After(now) {
			return d.NextAt, true
		}
		if !r.place() {
			break // one of those under way will end
		}
		r.busy[d.Notice.LivestreamID] = true
		go func() { r.done <- r.e.deliver(sending, w, d, r.log) }()
	}
	return next, len(ready) > 0
}

// place reports whether one more request may be made now. The first may always.
func (r *runner) place() bool {
	switch n := len(r.busy); {
	case n == 0:
		return true
	case n >= perWebhook || r.failures > 0:
		return false
	}
	select {
	case r.e.extra <- struct{}{}:
		r.extra++
		return true
	default:
		return false
	}
}

// pause waits until there may be something to start.
func (r *runner) pause(ctx context.Context, next time.Time) {
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		timer = t.C
	}
	select {
	case o := <-r.done:
		r.settle(ctx, o)
	case <-r.woken:
	case <-r.works:
		r.failures, r.resume = 0, time.Time{}
		r.hurry(ctx)
	case <-timer:
	case <-ctx.Done():
	}
}

// settle takes in what came of one try.
func (r *runner) settle(ctx context.Context, o outcome) {
	delete(r.busy, o.livestreamID)
	if r.extra > 0 {
		r.extra--
		<-r.e.extra
	}
	now := time.Now()
	switch {
	case o.answered && r.failures >= slowAfter:
		r.log.Info("webhook answers again", "failures", r.failures)
		r.hurry(ctx)
		r.failures = 0
	case o.answered:
		r.failures = 0
	case o.failed:
		if r.failures++; r.failures == slowAfter {
			r.log.Warn("webhook fails, and is tried less often; see its deliveries", "failures", r.failures)
		}
		if r.failures >= slowAfter {
			r.resume = later(r.resume, now.Add(backoff(r.failures-slowAfter+1, longPause)))
		}
	}
	if o.pause > 0 {
		r.resume = later(r.resume, now.Add(o.pause))
	}
}

// hurry lets what waits for its next try be tried now.
func (r *runner) hurry(ctx context.Context) {
	if err := r.e.Store.HurryDeliveries(ctx, r.id, time.Now()); err != nil && ctx.Err() == nil {
		r.log.Error("hurry deliveries", "err", err)
	}
}

// deliver makes one try and notes what came of it.
func (e *Engine) deliver(ctx context.Context, w livestream.Webhook, d livestream.Delivery, log *slog.Logger) outcome {
	o := outcome{livestreamID: d.Notice.LivestreamID}
	body := d.Body
	if body == nil {
		var err error
		if body, err = e.Store.KeepBody(ctx, w.ID, d.Notice.Seq, e.body(w, d.Notice)); err != nil {
			if ctx.Err() == nil && !errors.Is(err, livestream.ErrNotFound) {
				log.Error("keep delivery's body", "err", err)
			}
			wait(ctx, storeDelay)
			return o
		}
	}
	a, asked := e.send(ctx, w, d.ID, body, d.Notice.StreamKey)
	if ctx.Err() != nil && a.Status == 0 {
		return o // stopped, not failed: it is sent again after the start
	}
	result := judge(d, a, asked)
	switch result.State {
	case livestream.DeliveryDone:
		e.stats.Delivered.Add(1)
	case livestream.DeliveryFailed:
		e.stats.Failed.Add(1)
		log.Warn("webhook refuses an event", "event", d.Notice.Event, "seq", d.Notice.Seq, "status", a.Status)
	case livestream.DeliveryGivenUp:
		e.stats.GivenUp.Add(1)
		log.Warn("webhook is not told of an event: tried for a day", "event", d.Notice.Event, "seq", d.Notice.Seq,
			"status", a.Status, "err", a.Error)
	default:
		e.stats.Retried.Add(1)
	}
	o.answered = result.State == livestream.DeliveryDone || result.State == livestream.DeliveryFailed
	if o.failed = !o.answered; o.failed {
		o.pause = asked
	}
	for { // what is not noted would be sent again at once
		err := e.Store.RecordAttempt(context.WithoutCancel(ctx), d, result)
		if err == nil {
			return o
		}
		log.Error("record delivery", "err", err)
		if !wait(ctx, storeDelay) {
			return o
		}
	}
}

// judge decides by the contract (section 5.6) what an attempt means. asked is
// how long the receiver asked to be left alone.
func judge(d livestream.Delivery, a livestream.Attempt, asked time.Duration) livestream.Result {
	r := livestream.Result{Attempt: a}
	switch {
	case a.Status >= 200 && a.Status < 300:
		r.State = livestream.DeliveryDone
		return r
	case a.Status != 0 && a.Status < 500 && a.Status != http.StatusRequestTimeout &&
		a.Status != http.StatusTooEarly && a.Status != http.StatusTooManyRequests:
		r.State = livestream.DeliveryFailed
		return r
	}
	end := d.QueuedAt.Add(giveUpAfter)
	ended := a.At.Add(a.Took)
	if !ended.Before(end) {
		r.State = livestream.DeliveryGivenUp
		return r
	}
	r.State = livestream.DeliveryReady
	r.NextAt = ended.Add(max(asked, backoff(d.Attempts+1, longDelay)))
	if r.NextAt.After(end) {
		r.NextAt = end
	}
	return r
}

// backoff is how long to wait after the n-th failure, from 1: firstDelay doubled
// by each, at most limit, of which a random quarter is left out so that those
// that failed together do not come again together.
func backoff(n int, limit time.Duration) time.Duration {
	d := limit
	if n < 30 {
		d = min(limit, firstDelay<<(n-1))
	}
	return d - rand.N(d/4)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
