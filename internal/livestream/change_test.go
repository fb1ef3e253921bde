package livestream

import (
	"errors"
	"testing"
	"time"
)

func wholeSeconds(n int) *time.Duration { d := time.Duration(n) * sec; return &d }

// TestConfigure: what is not set stays, and a window that runs is measured anew.
func TestConfigure(t *testing.T) {
	r := newRecord()
	r.Livestream.Name, r.Livestream.HasName = "before", true
	r = step(t, r, Event{Kind: Configure, At: after(sec), Change: Change{Damping: wholeSeconds(5)}})
	if l := r.Livestream; l.Name != "before" || l.Settings.Damping != 5*sec || l.Settings.ReconnectWindow != 60*sec || !l.UpdatedAt.Equal(after(sec)) {
		t.Errorf("after a change of damping: %+v", l)
	}
	r = step(t, r, Event{Kind: Configure, At: after(sec), Change: Change{SetName: true}})
	if r.Livestream.HasName || r.Livestream.Name != "" {
		t.Error("the name must have become null")
	}
	r = step(t, r, Event{Kind: Publish, At: after(2 * sec), NewID: "s1", NewRun: "r1"})
	r = step(t, r, Event{Kind: Playable, At: after(3 * sec)})
	r = step(t, r, Event{Kind: Lose, At: after(9 * sec), LastMediaAt: after(8 * sec)})
	for _, c := range []struct {
		name     string
		at       time.Duration
		window   int
		deadline time.Duration
	}{
		{"longer", 10 * sec, 120, 128 * sec},
		{"shorter", 11 * sec, 20, 28 * sec},
		{"so short that it is over", 12 * sec, 0, 12 * sec},
	} {
		r = step(t, r, Event{Kind: Configure, At: after(c.at), Change: Change{ReconnectWindow: wholeSeconds(c.window)}})
		if !r.Session.Deadline.Equal(after(c.deadline)) {
			t.Errorf("%s: deadline %v, want %v", c.name, r.Session.Deadline.Sub(t0), c.deadline)
		}
	}
}

// TestConfigureWhileAwaiting: a started meeting waits as long as it would have
// been told to from the start.
func TestConfigureWhileAwaiting(t *testing.T) {
	r := step(t, newRecord(), Event{Kind: Start, At: after(sec), NewID: "s1", NewRun: "r1"})
	r = step(t, r, Event{Kind: Configure, At: after(30 * sec), Change: Change{AwaitEncoder: wholeSeconds(60)}})
	if !r.Session.Deadline.Equal(after(61 * sec)) {
		t.Errorf("deadline %v, want 61 s", r.Session.Deadline.Sub(t0))
	}
}

// TestDelete: not while on air, and for good.
func TestDelete(t *testing.T) {
	r := step(t, newRecord(), Event{Kind: Publish, At: after(sec), NewID: "s1", NewRun: "r1"})
	if _, _, err := r.Apply(Event{Kind: Delete, At: after(2 * sec)}); !errors.Is(err, ErrOpen) {
		t.Errorf("while on air: %v, want ErrOpen", err)
	}
	r = step(t, r, Event{Kind: Unpublish, At: after(3 * sec), Epoch: 1})
	r = step(t, r, Event{Kind: Delete, At: after(4 * sec)})
	if r.Livestream.DeletedAt.IsZero() || r.Session.ID != "s1" {
		t.Error("the livestream must be deleted and its session kept")
	}
	for _, k := range []Kind{Publish, Start, Stop, Enable, Disable, ResetKey, Configure, Delete} {
		if _, _, err := r.Apply(Event{Kind: k, At: after(40 * sec)}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of a deleted livestream: %v, want ErrNotFound", k, err)
		}
	}
}
