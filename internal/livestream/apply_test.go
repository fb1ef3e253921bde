package livestream

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newRecord() Record {
	return Record{Livestream: Livestream{ID: "l", CreatedAt: t0, UpdatedAt: t0, Settings: DefaultSettings}}
}

// step applies e and fails the test when it is refused.
func step(t *testing.T, r Record, e Event) Record {
	t.Helper()
	if e.ofPublication() && e.Epoch == 0 {
		e.Epoch = r.Session.Epoch
	}
	if e.Kind == Expire {
		e.SessionID = r.Session.ID
	}
	next, _, err := r.Apply(e)
	if err != nil {
		t.Fatalf("%s: %v", e.Kind, err)
	}
	return next
}

func after(d time.Duration) time.Time { return t0.Add(d) }

const sec = time.Second

// TestStories walks the rows of design section 3, one story each.
func TestStories(t *testing.T) {
	publish := Event{Kind: Publish, At: after(1 * sec), NewID: "s1", NewRun: "r1", Remote: "10.0.0.1:9"}
	playable := Event{Kind: Playable, At: after(2 * sec)}
	live := []Event{publish, playable}
	cases := []struct {
		name   string
		events []Event
		status Status
		code   Code
		stop   time.Time // zero: still open
	}{
		{"publish is accepted", []Event{publish}, StatusInvoked, "", time.Time{}},
		{"first segment is listable", live, StatusLive, "", time.Time{}},
		{"no media after the publish", []Event{publish, {Kind: Fail, At: after(11 * sec), Reason: Silent(10 * sec)}}, StatusErrored, NoMedia, after(11 * sec)},
		{"connection ends before anything is playable", []Event{publish, {Kind: Lose, At: after(3 * sec)}}, StatusErrored, Disconnected, after(3 * sec)},
		{"clean end before anything is playable", []Event{publish, {Kind: Unpublish, At: after(3 * sec)}}, StatusIdle, "", after(3 * sec)},
		{"clean end", append(live, Event{Kind: Unpublish, At: after(9 * sec)}), StatusIdle, "", after(9 * sec)},
		{"connection lost on air", append(live, Event{Kind: Lose, At: after(9 * sec), LastMediaAt: after(8 * sec)}), StatusLive, Reconnects, time.Time{}},
		{"window ends", append(live, Event{Kind: Lose, At: after(9 * sec), LastMediaAt: after(8 * sec)}, Event{Kind: Expire, At: after(68 * sec)}), StatusIdle, EncoderLost, after(8 * sec)},
		{"publisher comes back in the window", append(live, Event{Kind: Lose, At: after(9 * sec)}, Event{Kind: Publish, At: after(20 * sec), NewID: "s2", NewRun: "r2"}), StatusLive, "", time.Time{}},
		{"we cannot go on", append(live, Event{Kind: Fail, At: after(9 * sec), Reason: Fault("disk full")}), StatusErrored, ServerFault, after(9 * sec)},
		{"stop on air", append(live, Event{Kind: Stop, At: after(9 * sec)}), StatusIdle, "", after(9 * sec)},
		{"disable on air", append(live, Event{Kind: Disable, At: after(9 * sec)}), StatusIdle, "", after(9 * sec)},
		{"key reset on air", append(live, Event{Kind: ResetKey, At: after(9 * sec)}), StatusIdle, "", after(9 * sec)},
		{"stop while reconnecting", append(live, Event{Kind: Lose, At: after(9 * sec)}, Event{Kind: Stop, At: after(12 * sec)}), StatusIdle, "", after(12 * sec)},
		{"failure acknowledged by stop", []Event{publish, {Kind: Lose, At: after(3 * sec)}, {Kind: Stop, At: after(4 * sec)}}, StatusIdle, Disconnected, after(3 * sec)},
		{"failure acknowledged by enable", []Event{publish, {Kind: Lose, At: after(3 * sec)}, {Kind: Enable, At: after(4 * sec)}}, StatusIdle, Disconnected, after(3 * sec)},
		{"failure superseded by a publish", []Event{publish, {Kind: Lose, At: after(3 * sec)}, {Kind: Publish, At: after(4 * sec), NewID: "s2", NewRun: "r2"}}, StatusInvoked, "", time.Time{}},
		{"meeting start", []Event{{Kind: Start, At: after(1 * sec), NewID: "s1", NewRun: "r1"}}, StatusInvoked, "", time.Time{}},
		{"meeting's encoder never comes", []Event{{Kind: Start, At: after(1 * sec), NewID: "s1", NewRun: "r1"}, {Kind: Expire, At: after(1801 * sec)}}, StatusErrored, NoEncoder, after(1801 * sec)},
		{"awaiting session survives a restart", []Event{{Kind: Start, At: after(1 * sec), NewID: "s1", NewRun: "r1"}, {Kind: Boot, At: after(100 * sec)}}, StatusInvoked, "", time.Time{}},
		{"crash on air, not resumed", append(live, Event{Kind: Boot, At: after(100 * sec), LastMediaAt: after(9 * sec)}, Event{Kind: Expire, At: after(115 * sec)}), StatusErrored, ServerRestart, after(9 * sec)},
		{"crash in the window, not resumed", append(live, Event{Kind: Lose, At: after(9 * sec), LastMediaAt: after(8 * sec)}, Event{Kind: Boot, At: after(60 * sec)}, Event{Kind: Expire, At: after(75 * sec)}), StatusIdle, EncoderLost, after(8 * sec)},
		{"crash while invoked, not resumed", []Event{publish, {Kind: Boot, At: after(5 * sec)}, {Kind: Expire, At: after(20 * sec)}}, StatusErrored, ServerRestart, after(1 * sec)},
		{"crash while invoked, resumed", []Event{publish, {Kind: Boot, At: after(5 * sec)}, {Kind: Publish, At: after(6 * sec), NewID: "s2", NewRun: "r2"}}, StatusInvoked, "", time.Time{}},
		{"server stopped on air, not resumed", append(live, Event{Kind: Shutdown, At: after(9 * sec), LastMediaAt: after(9 * sec)}, Event{Kind: Boot, At: after(12 * sec)}, Event{Kind: Expire, At: after(69 * sec)}), StatusIdle, ServerStopped, after(9 * sec)},
		{"server stopped while invoked, not resumed", []Event{publish, {Kind: Shutdown, At: after(2 * sec)}, {Kind: Boot, At: after(5 * sec)}, {Kind: Expire, At: after(20 * sec)}}, StatusIdle, ServerStopped, after(1 * sec)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRecord()
			for _, e := range c.events {
				r = step(t, r, e)
			}
			if got := r.Session.Status(); got != c.status {
				t.Errorf("status = %s, want %s", got, c.status)
			}
			got := r.Session.Reason.Code
			if r.Session.Phase == Reconnecting {
				got = Reconnects
			}
			if got != c.code {
				t.Errorf("code = %q (%s), want %q", got, r.Session.ErrMessage(), c.code)
			}
			if !r.Session.StoppedAt.Equal(c.stop) {
				t.Errorf("stopped at %v, want %v", r.Session.StoppedAt, c.stop)
			}
		})
	}
}

// TestReconnectKeepsSessionAndRun: the same session, the same playlist, a new epoch.
func TestReconnectKeepsSessionAndRun(t *testing.T) {
	r := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1"})
	r = step(t, r, Event{Kind: Playable, At: after(2 * sec)})
	r = step(t, r, Event{Kind: Lose, At: after(9 * sec), LastMediaAt: after(8 * sec)})
	if want := "RECONNECTING: no media since 2026-11-23T12:00:08Z, the session ends at 2026-11-23T12:01:08Z"; r.Session.ErrMessage() != want {
		t.Errorf("err_message = %q, want %q", r.Session.ErrMessage(), want)
	}
	r = step(t, r, Event{Kind: Publish, At: after(20 * sec), NewID: "s2", NewRun: "r2"})
	if r.Session.ID != "s1" || r.Livestream.Run.ID != "r1" || r.Session.Epoch != 2 || r.Session.ErrMessage() != "" {
		t.Errorf("after the reconnect: session %s, run %s, epoch %d, err %q", r.Session.ID, r.Livestream.Run.ID, r.Session.Epoch, r.Session.ErrMessage())
	}
	if _, _, err := r.Apply(Event{Kind: Lose, At: after(21 * sec), Epoch: 1}); !errors.Is(err, ErrStale) {
		t.Errorf("late end of the first publish: %v, want ErrStale", err)
	}
}

// TestRunGoesOnBehindCleanEnd: a new session before the ENDLIST continues the run.
func TestRunGoesOnBehindCleanEnd(t *testing.T) {
	end := func(at time.Duration) Record {
		r := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1"})
		r = step(t, r, Event{Kind: Unpublish, At: after(5 * sec)})
		return step(t, r, Event{Kind: Publish, At: after(at), NewID: "s2", NewRun: "r2"})
	}
	if r := end(14 * sec); r.Session.ID != "s2" || r.Livestream.Run.ID != "r1" {
		t.Errorf("9 s after the end: session %s, run %s; want s2, r1", r.Session.ID, r.Livestream.Run.ID)
	}
	if r := end(15 * sec); r.Livestream.Run.ID != "r2" {
		t.Errorf("10 s after the end: run %s, want r2", r.Livestream.Run.ID)
	}
}

func TestRefusals(t *testing.T) {
	publish := Event{Kind: Publish, At: after(20 * sec), NewID: "s2", NewRun: "r2"}
	refused := func(name string, r Record, want error) {
		t.Helper()
		got, _, err := r.Apply(publish)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if got != r {
			t.Errorf("%s: the record changed", name)
		}
	}
	disabled := step(t, newRecord(), Event{Kind: Disable, At: after(sec)})
	refused("disabled", disabled, ErrDisabled)
	if _, _, err := disabled.Apply(Event{Kind: Start, At: after(2 * sec), NewID: "s", NewRun: "r"}); !errors.Is(err, ErrDisabled) {
		t.Errorf("start of a disabled livestream: %v, want ErrDisabled", err)
	}
	stopped := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1"})
	stopped = step(t, stopped, Event{Kind: Stop, At: after(2 * sec)})
	refused("18 s after a stop", stopped, ErrDamped)
	meeting := newRecord()
	meeting.Livestream.MeetingID = "m"
	refused("meeting not started", meeting, ErrNotStarted)
	if _, _, err := newRecord().Apply(Event{Kind: Stop, At: after(sec)}); !errors.Is(err, ErrTransition) {
		t.Errorf("stop of what never was on air: %v, want ErrTransition", err)
	}
	late := stopped
	late.Livestream.RefuseUntil = after(20 * sec)
	if _, _, err := late.Apply(publish); err != nil {
		t.Errorf("when the damping is over: %v", err)
	}
}

// TestFailureIsReadableAfterLongDowntime: 15 minutes count from the close, not
// from the last media, which may be hours before.
func TestFailureIsReadableAfterLongDowntime(t *testing.T) {
	r := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1"})
	r = step(t, r, Event{Kind: Playable, At: after(2 * sec)})
	r = step(t, r, Event{Kind: Boot, At: after(3600 * sec)})
	r = step(t, r, Event{Kind: Expire, At: after(3615 * sec)})
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{{3616 * sec, true}, {3615*sec + 15*time.Minute - 1, true}, {3615*sec + 15*time.Minute, false}} {
		if got := r.Session.Active(after(c.at)); got != c.want {
			t.Errorf("%v after the close: active = %v, want %v", c.at-3615*sec, got, c.want)
		}
	}
}

// TestInvariants drives random events at random, also backward, times and
// checks what must hold after each (design section 3, Invariants).
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRecord()
		if rapid.Bool().Draw(t, "meeting") {
			r.Livestream.MeetingID = "m"
		}
		r.Livestream.Settings.ReconnectWindow = time.Duration(rapid.IntRange(0, 1800).Draw(t, "window")) * sec
		now := t0
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-5000, 60000).Draw(t, "ms")) * time.Millisecond)
			e := drawEvent(t, r, now, i)
			next, facts, err := r.Apply(e)
			if err != nil {
				if next != r || facts != nil {
					t.Fatalf("refused %s changed the record", e.Kind)
				}
				continue
			}
			checkStep(t, r, next, e)
			r = next
		}
	})
}

func drawEvent(t *rapid.T, r Record, now time.Time, i int) Event {
	e := Event{
		Kind:      Kind(rapid.IntRange(int(Publish), int(Delete)).Draw(t, "kind")),
		At:        now,
		Epoch:     r.Session.Epoch - int64(rapid.IntRange(0, 1).Draw(t, "behind")),
		NewID:     "s" + string(rune('a'+i)),
		NewRun:    "r" + string(rune('a'+i)),
		SessionID: r.Session.ID,
	}
	if e.Kind == Configure {
		window := time.Duration(rapid.IntRange(0, 1800).Draw(t, "new window")) * sec
		e.Change = Change{SetName: true, Name: "n", HasName: true, ReconnectWindow: &window}
	}
	if rapid.Bool().Draw(t, "measured") && r.Session.Phase.Open() {
		e.LastMediaAt = now.Add(-time.Duration(rapid.IntRange(0, 3000).Draw(t, "silent")) * time.Millisecond)
		if span := now.Sub(r.Session.InvokedAt); span > 0 {
			e.Ingest = time.Duration(rapid.Int64Range(0, int64(span)).Draw(t, "ingest"))
		}
	}
	return e
}

func checkStep(t *rapid.T, old, r Record, e Event) {
	s := r.Session
	ordered := []time.Time{s.CreatedAt, s.InvokedAt}
	for _, at := range []time.Time{s.StartedAt, s.StoppedAt} {
		if !at.IsZero() {
			ordered = append(ordered, at)
		}
	}
	for i := 1; i < len(ordered); i++ {
		if ordered[i].Before(ordered[i-1]) {
			t.Fatalf("%s: times out of order: %v", e.Kind, ordered)
		}
	}
	switch {
	case s.Phase.Open() == !s.StoppedAt.IsZero() && s.ID != "":
		t.Fatalf("%s: phase %s with stop time %v", e.Kind, s.Phase, s.StoppedAt)
	case !s.StoppedAt.IsZero() && s.Ingest > s.StoppedAt.Sub(s.InvokedAt):
		t.Fatalf("%s: ingest %v exceeds the span %v", e.Kind, s.Ingest, s.StoppedAt.Sub(s.InvokedAt))
	case s.ID == old.Session.ID && s.Ingest < old.Session.Ingest:
		t.Fatalf("%s: ingest fell from %v to %v", e.Kind, old.Session.Ingest, s.Ingest)
	case s.ID != old.Session.ID && old.Session.Phase.Open():
		t.Fatalf("%s: a second session while %s is open", e.Kind, old.Session.ID)
	case r.Livestream.Epoch < old.Livestream.Epoch:
		t.Fatalf("%s: epoch fell", e.Kind)
	case s.Phase.Open() && !s.Phase.Connected() && s.Deadline.IsZero():
		t.Fatalf("%s: %s without a connection and without a deadline", e.Kind, s.Phase)
	case !s.Phase.Open() && !s.Deadline.IsZero():
		t.Fatalf("%s: closed with a deadline", e.Kind)
	case s.Phase == Failed && s.Reason.Code == "" && e.Kind != Fail:
		t.Fatalf("%s: failed without a reason", e.Kind)
	case s.Phase == OnAir && s.StartedAt.IsZero():
		t.Fatalf("%s: on air without a start time", e.Kind)
	case !old.Livestream.DeletedAt.IsZero():
		t.Fatalf("%s changed what was deleted", e.Kind)
	case s.Phase.Open() && !r.Livestream.DeletedAt.IsZero():
		t.Fatalf("deleted while on air")
	case !s.Phase.Open() && s.Viewers != 0:
		t.Fatalf("closed with %d viewers", s.Viewers)
	case s.Phase.Open() && e.Kind == Disable:
		t.Fatalf("open after disable")
	}
}

// TestSessionBeginsWithNothing: whatever a publish carries is of the session
// that it takes over, and there is none.
func TestSessionBeginsWithNothing(t *testing.T) {
	r := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1",
		LastMediaAt: after(sec), Ingest: time.Hour, Bytes: 1, Media: "H.264", Keyframe: sec})
	if s := r.Session; s.Ingest != 0 || s.Bytes != 0 || s.Media != "" || s.Keyframe != 0 || !s.LastMediaAt.IsZero() {
		t.Errorf("the session begins with %+v", s)
	}
}

// TestConfigureInTheGrace: what a restarted server grants beyond the window is
// no part of the window.
func TestConfigureInTheGrace(t *testing.T) {
	r := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1"})
	r = step(t, r, Event{Kind: Playable, At: after(2 * sec)})
	r = step(t, r, Event{Kind: Boot, At: after(600 * sec), LastMediaAt: after(10 * sec)})
	for _, c := range []struct {
		window   int
		deadline time.Duration
	}{{0, 615 * sec}, {60, 615 * sec}, {1800, 1810 * sec}} {
		got := step(t, r, Event{Kind: Configure, At: after(605 * sec), Change: Change{ReconnectWindow: wholeSeconds(c.window)}})
		if !got.Session.Deadline.Equal(after(c.deadline)) {
			t.Errorf("a window of %d s ends the grace at %v, want %v", c.window, got.Session.Deadline.Sub(t0), c.deadline)
		}
	}
}

// TestNobodyWatchesAServerThatStarts: who watched when it died is a viewer again
// once there is evidence of it; the peak stays.
func TestNobodyWatchesAServerThatStarts(t *testing.T) {
	r := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1"})
	r = step(t, r, Event{Kind: Playable, At: after(2 * sec)})
	r.Session.Viewers, r.Session.PeakViewers = 5, 9
	r = step(t, r, Event{Kind: Boot, At: after(10 * sec)})
	if r.Session.Viewers != 0 || r.Session.PeakViewers != 9 {
		t.Errorf("after a crash %d viewers, %d at most; want 0 and 9", r.Session.Viewers, r.Session.PeakViewers)
	}
}
