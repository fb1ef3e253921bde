package ingest

import (
	"context"
	"errors"
	"strings"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
)

// This file compares the manager with the reference.

// millis is what labels and stored seconds are cut to, twice.
const millis = 2 * time.Millisecond

// near reports whether a label and a time of the reference are the same; zero
// is only like zero.
func near(label, at time.Time) bool {
	if label.IsZero() || at.IsZero() {
		return label.IsZero() == at.IsZero()
	}
	d := label.Sub(at)
	return -millis <= d && d <= millis
}

// pass lets time go by, and never stops closer than 5 ms to a timer. A held
// newcomer that is refused hears so up to 50 ms later.
func (x *explorer) pass(d time.Duration) {
	const margin = 5 * time.Millisecond
	until := x.ref.now.Add(d)
	for !x.over() {
		at, fire := x.ref.next()
		switch held := x.ref.held != nil; {
		case fire == nil || at.After(until.Add(margin)):
			x.sleep(until)
			return
		case held:
			x.sleep(later(at, x.ref.now).Add(60 * time.Millisecond))
			x.settle()
		default:
			x.sleep(at.Add(margin))
		}
		until = later(until, x.ref.now)
	}
}

func (x *explorer) sleep(until time.Time) {
	time.Sleep(time.Until(until))
	x.ref.advance(until, x.said)
	x.counted()
}

// counted notes what the reference has counted by now.
func (x *explorer) counted() {
	s := &x.ref.s
	if x.session != s.n {
		x.session, x.points = s.n, x.points[:0]
	}
	if n := len(x.points); !s.last.IsZero() && (n == 0 || s.last.After(x.points[n-1].at)) {
		x.points = append(x.points, point{s.last, s.ingest})
	}
}

// by is the newest message at that time; zero when there was none.
func (x *explorer) by(t time.Time) (p point) {
	for _, q := range x.points {
		if !q.at.After(t) {
			p = q
		}
	}
	return p
}

// settle waits until all that is due has happened, and compares.
func (x *explorer) settle() {
	synctest.Wait()
	if x.collect(); x.waiting() {
		x.sleep(x.ref.now.Add(60 * time.Millisecond)) // a held newcomer is looked at each 50 ms
		synctest.Wait()
		x.collect()
	}
	if !x.over() {
		x.compare()
	}
}

// waiting reports whether an answer is due that has not come.
func (x *explorer) waiting() bool {
	for _, a := range x.attempts {
		if a.want != "" && !a.got {
			return true
		}
	}
	return false
}

var answers = []struct {
	err error
	a   answer
}{
	{nil, accept}, {livestream.ErrBusy, busy}, {livestream.ErrNotFound, notFound}, {livestream.ErrDisabled, isDisabled},
	{livestream.ErrDamped, damped}, {livestream.ErrFailing, failing}, {livestream.ErrDefended, defended},
	{livestream.ErrNotStarted, notStarted}, {livestream.ErrStopping, "stopping"},
}

// collect takes the answers that came.
func (x *explorer) collect() {
	for _, a := range x.attempts {
		if a.got {
			continue
		}
		select {
		case reply := <-a.reply:
			a.got, a.pub = true, reply.pub
			got := answer("?")
			for _, n := range answers {
				if errors.Is(reply.err, n.err) {
					got = n.a
				}
			}
			if got != a.want {
				x.fail("publisher %d got %q (%v), want %q", a.who, got, reply.err, a.want)
				continue
			}
			x.letIn(a)
		default:
		}
	}
}

// letIn takes over when a newcomer was accepted.
func (x *explorer) letIn(a *attempt) {
	if a.pub == nil {
		return
	}
	at := a.pub.began
	if at.Before(a.wantAt) || at.Sub(a.wantAt) > 2*time.Millisecond {
		x.fail("publisher %d was accepted at %v, want at %v", a.who, at, a.wantAt)
	}
	if c := x.ref.conn; c != nil && c.who == a.who {
		c.accepted = at
		if x.ref.s.invoked.Equal(a.wantAt) {
			x.ref.s.invoked = at
		}
	}
}

// compare holds what is stored and who is connected against the reference.
func (x *explorer) compare() {
	rec, r := x.store.read(), &x.ref
	s, want := rec.Session, &x.ref.s
	code, _, _ := strings.Cut(s.ErrMessage(), ":")
	if got := strings.TrimSpace(string(s.Status()) + " " + code); got != r.status() {
		x.fail("%s (%s), want %s", got, s.ErrMessage(), r.status())
	}
	if n, runs := len(x.store.sessions), len(x.store.runs); n != want.n || runs != r.run || rec.Livestream.Epoch != int64(r.epoch) {
		x.fail("session %d, playlist %d, epoch %d; want %d, %d, %d", n, runs, rec.Livestream.Epoch, want.n, r.run, r.epoch)
	}
	if rec.Livestream.Disabled != r.disabled || rec.Livestream.DeletedAt.IsZero() == r.deleted {
		x.fail("disabled %v, deleted %v", rec.Livestream.Disabled, rec.Livestream.DeletedAt)
	}
	if !near(s.InvokedAt, want.invoked) || !near(s.StartedAt, want.started) || !near(s.StoppedAt, want.stopped) {
		x.fail("invoked, started, stopped %v, %v, %v; want %v, %v, %v",
			s.InvokedAt, s.StartedAt, s.StoppedAt, want.invoked, want.started, want.stopped)
	}
	if waits := want.open && r.conn == nil; waits && !near(s.Deadline, want.wait.until) || !waits && !s.Deadline.IsZero() {
		x.fail("the session waits until %v, want %v", s.Deadline, want.wait.until)
	}
	if least := x.stored(); s.Ingest > want.ingest || s.Ingest < least.ingest-time.Millisecond || s.LastMediaAt.Before(least.at.Add(-millis)) {
		x.fail("ingest %v, last media %v; want %v to %v, %v", s.Ingest, s.LastMediaAt, least.ingest, want.ingest, least.at)
	}
	x.compareConnections()
	for _, p := range x.store.problems {
		x.fail("%s", p)
	}
}

// stored is the least that must be stored of what was received: all of it, or
// while somebody publishes what was there at the last checkpoint.
func (x *explorer) stored() point {
	t := x.ref.now
	if x.ref.conn != nil {
		t = t.Add(-501 * time.Millisecond)
	}
	return x.by(t)
}

// compareConnections: one publisher at most is accepted, and the right one.
func (x *explorer) compareConnections() {
	r := &x.ref
	for _, a := range x.attempts {
		if a.pub == nil {
			continue
		}
		if on, want := a.pub.Context().Err() == nil, r.conn != nil && r.conn.who == a.who; on != want {
			x.fail("publisher %d is connected: %v, want %v (%v)", a.who, on, want, context.Cause(a.pub.Context()))
		}
	}
	if r.s.n > 0 && len(x.outs) > 0 {
		if ended := x.outs[len(x.outs)-1].over(); ended == r.s.open {
			x.fail("the output has ended: %v, the session is open: %v", ended, r.s.open)
		}
	}
	if r.s.open && len(x.m.all()) == 0 {
		x.fail("a session is open and nobody keeps its timers")
	}
}

// adopt checks what a restart has kept of the figures, and takes it over: a
// crash may cost what came since the last checkpoint.
func (x *explorer) adopt(cause string) {
	s, r := x.store.read().Session, &x.ref
	least := x.by(r.now)
	if cause == "crash" {
		least = x.stored()
	}
	if s.Ingest > r.s.ingest || s.Ingest < least.ingest-time.Millisecond ||
		s.LastMediaAt.After(r.s.last) || s.LastMediaAt.Before(least.at.Add(-millis)) {
		x.fail("after a %s ingest is %v and the last media came at %v; want %v to %v, and %v to %v",
			cause, s.Ingest, s.LastMediaAt, least.ingest, r.s.ingest, least.at, r.s.last)
	}
	if r.conn != nil && cause == "crash" {
		r.s.last = s.LastMediaAt
	}
	r.s.ingest = s.Ingest
	x.points = append(x.points[:0], point{r.s.last, s.Ingest})
}
