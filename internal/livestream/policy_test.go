package livestream

import (
	"errors"
	"testing"
	"time"
)

// TestTakeoversAreDamped: the third takeover in 30 s is the last for 30 s, but
// a publisher may always come back into its own reconnect window.
func TestTakeoversAreDamped(t *testing.T) {
	publish := func(at time.Duration) Event { return Event{Kind: Publish, At: after(at), NewID: "s1", NewRun: "r1"} }
	r := step(t, newRecord(), publish(1*sec))
	r = step(t, r, Event{Kind: Playable, At: after(2 * sec)})
	for _, at := range []time.Duration{5 * sec, 20 * sec, 34 * sec} {
		r = step(t, r, publish(at))
	}
	if _, _, err := r.Apply(publish(63 * sec)); !errors.Is(err, ErrDefended) {
		t.Errorf("29 s after the third takeover: %v, want ErrDefended", err)
	}
	lost := step(t, r, Event{Kind: Lose, At: after(40 * sec), LastMediaAt: after(39 * sec)})
	step(t, lost, publish(41*sec)) // not a takeover
	step(t, r, publish(64*sec))    // 30 s are over
	enabled := step(t, r, Event{Kind: Enable, At: after(41 * sec)})
	step(t, enabled, publish(42*sec))

	slow := step(t, newRecord(), publish(1*sec))
	for at := 10 * sec; at < 200*sec; at += 16 * sec { // never three within 30 s
		slow = step(t, slow, publish(at))
	}
}

// TestFailuresAreDamped: three sessions in 60 s that were never playable.
func TestFailuresAreDamped(t *testing.T) {
	fail := func(r Record, at time.Duration) Record {
		r = step(t, r, Event{Kind: Publish, At: after(at), NewID: "s" + at.String(), NewRun: "r"})
		return step(t, r, Event{Kind: Lose, At: after(at + sec)})
	}
	publish := Event{Kind: Publish, At: after(60 * sec), NewID: "s", NewRun: "r"}
	r := fail(fail(fail(newRecord(), 1*sec), 20*sec), 40*sec)
	if _, _, err := r.Apply(publish); !errors.Is(err, ErrFailing) {
		t.Errorf("19 s after the third failure: %v, want ErrFailing", err)
	}
	publish.At = after(71 * sec)
	step(t, r, publish)

	r = fail(fail(fail(newRecord(), 1*sec), 20*sec), 62*sec)
	publish.At = after(64 * sec)
	step(t, r, publish) // the first is more than 60 s ago

	r = newRecord()
	r.Livestream.Settings.Damping = 0
	r = fail(fail(fail(r, 1*sec), 2*sec+1), 4*sec)
	publish.At = after(5 * sec)
	step(t, r, publish)

	r = fail(fail(newRecord(), 1*sec), 3*sec)
	r = step(t, r, Event{Kind: Publish, At: after(5 * sec), NewID: "ok", NewRun: "r"})
	r = step(t, r, Event{Kind: Playable, At: after(6 * sec)})
	r = step(t, r, Event{Kind: Fail, At: after(7 * sec), Reason: Fault("disk full")}) // was playable
	publish.At = after(8 * sec)
	step(t, r, publish)
}
