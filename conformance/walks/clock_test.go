package walks

import (
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// TestClockStep: the machine's wall clock is set an hour forward and then two
// hours back amid a broadcast, with an encoder that is lost and comes back in
// between. Seconds, times and timers do not notice.
//
// The clock of the server's process is stepped where that can be done (Linux on
// amd64); elsewhere the walk is the same without the steps, says so, and the steps
// are shown in virtual time alone (internal/ingest).
func TestClockStep(t *testing.T) {
	t.Parallel()
	w := settle(t).walk(t, nil)
	step := func(by time.Duration) {
		t.Helper()
		if err := w.StepWallClock(t, by); err != nil {
			t.Logf("the wall clock was not stepped here: %v", err)
		}
	}
	e := w.Publish(publisher.Reset, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	began := time.Now()
	w.shows("live", 5*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(2*time.Second, 15*time.Second)
	_, before, _ := w.Active()

	step(time.Hour)
	v.plays(2*time.Second, 10*time.Second)
	w.onTime(before, began)
	lost := time.Now()
	e.Leave()
	w.Await("LIVE RECONNECTING", time.Second)
	_, s, _ := w.Active()
	if window := s.Tally.Deadline.Sub(*s.Tally.LastMediaAt); window != time.Minute {
		t.Errorf("the window is %v, want a minute", window)
	}
	step(-2 * time.Hour)
	time.Sleep(time.Second) // in which a timer would fire that follows the wall clock
	if got := w.Status(); got != "LIVE RECONNECTING" {
		t.Errorf("after the step back: %q", got)
	}
	e = w.Publish(publisher.Clean, nil)
	gap := e.Accepted(5 * time.Second).Sub(lost)
	w.Await("LIVE", time.Second)
	v.plays(2*time.Second, 10*time.Second)
	w.onTime(before, began.Add(gap))
	e.Leave()
	all := w.closed()
	if len(all) != 1 || all[0].ID != before.ID {
		t.Errorf("sessions %+v, want one", all)
	}
	if on, want := all[0].StoppedTime.Sub(*all[0].StartedTime), time.Since(began); (on - want).Abs() > time.Second {
		t.Errorf("stopped - started is %v, %v have passed", on, want)
	}
	w.events(before.ID, "publish", "playable", "lose", "publish", "unpublish")
	w.told(all, "LIVE", "reconnecting RECONNECTING", "ok", "OFFLINE")
	v.ended(15 * time.Second)
	v.leave(1 + held(v))

	// The next broadcast begins after this one, whatever the clock says.
	next := w.Publish(publisher.Clean, nil)
	next.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	next.Leave()
	all = w.closed()
	if len(all) != 2 || all[0].CreatedAt.Before(*all[1].StoppedTime) {
		t.Errorf("the next session began at %v, the last ended at %v", all[0].CreatedAt, all[1].StoppedTime)
	}
	w.sound(all[0], 0, 5)
}

// onTime fails unless the session before is open and has as many ingest seconds
// as have passed since its broadcast began.
func (w *walk) onTime(before servertest.Session, began time.Time) {
	w.t.Helper()
	_, s, ok := w.Active()
	passed := time.Since(began)
	if off := time.Duration(s.Tally.IngestMs)*time.Millisecond - passed; !ok || s.ID != before.ID || off.Abs() > time.Second {
		w.t.Errorf("%v after it went on air the session has %d ms of ingest", passed, s.Tally.IngestMs)
	}
}
