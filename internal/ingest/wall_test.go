package ingest

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/livestream"
)

// stepped gives the harness a wall clock that can be set, and restarts its
// manager with it. What it returns is how far off the clock is.
func (h *harness) stepped() *atomic.Int64 {
	off := new(atomic.Int64)
	h.m.kill()
	h.wall = func() time.Time { return time.Now().Add(time.Duration(off.Load())).Round(0) }
	h.start()
	return off
}

// TestWallClockIsSetOnAir: nothing of an open session moves with the wall clock,
// neither its labels, its seconds, its timers nor its order; also not across a
// change of daylight saving time, which is a step of the zone and not of UTC.
func TestWallClockIsSetOnAir(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"an hour ahead": time.Hour, "an hour back": -time.Hour, "a leap second": time.Second, "a day back": -24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				off := h.stepped()
				began := time.Now().UTC()
				p := h.publish()
				p.send(5 * time.Second)
				off.Store(int64(step))
				p.send(5 * time.Second)
				p.Lose(io.EOF)
				h.expect("lost after the step", "LIVE RECONNECTING")
				time.Sleep(30 * time.Second)
				p = h.publish()
				p.send(5 * time.Second)
				p.Lose(io.EOF)
				time.Sleep(59 * time.Second)
				h.expect("59 s later", "LIVE RECONNECTING")
				time.Sleep(2 * time.Second)
				s := h.expect("61 s later", "IDLE ENCODER_LOST")
				within(h, "invoked", s.InvokedAt.Sub(began), 0, time.Millisecond)
				within(h, "stopped", s.StoppedAt.Sub(began), 45*time.Second, 50*time.Millisecond)
				within(h, "ingest", s.Ingest, 15*time.Second, 150*time.Millisecond)
			})
		})
	}
}

func within(h *harness, what string, got, want, tolerance time.Duration) {
	h.Helper()
	if d := got - want; d < -tolerance || d > tolerance {
		h.Errorf("%s: %v, want %v within %v", what, got, want, tolerance)
	}
}

// TestNextSessionHasTheWallClock: a session is called by the time of day at its
// invocation, but for labels never going back.
func TestNextSessionHasTheWallClock(t *testing.T) {
	inBubble(t, func(h *harness) {
		off := h.stepped()
		p := h.publish()
		p.send(2 * time.Second)
		p.Unpublish()
		before := h.record().Session
		off.Store(int64(time.Hour))
		time.Sleep(time.Second)
		h.publish().Unpublish()
		ahead := h.record().Session
		within(h, "set ahead", ahead.InvokedAt.Sub(before.StoppedAt), time.Hour+time.Second, 10*time.Millisecond)
		off.Store(int64(-time.Hour))
		time.Sleep(20 * time.Minute)
		h.publish().Unpublish()
		back := h.record().Session
		if d := back.InvokedAt.Sub(ahead.StoppedAt); d < 0 || d > 20*time.Minute+time.Second {
			h.Errorf("set back: %v after the session before, want not before it, and not later than it is", d)
		}
	})
}

// TestRefusalWhenTheWallClockIsSet: a refusal of 30 s is one of 30 s, and the
// ENDLIST of a clean end is due when it is due, whatever the wall clock does,
// however often somebody tries meanwhile and also when nobody does.
func TestRefusalWhenTheWallClockIsSet(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "ahead": time.Hour, "back a second": -time.Second} {
		for _, tries := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(h *harness) {
					off := h.stepped()
					h.publish().send(2 * time.Second)
					if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
						h.Fatal(err)
					}
					time.Sleep(time.Second) // the actor has ended
					off.Store(int64(step))
					for i := range 28 {
						time.Sleep(time.Second)
						if tries || i == 27 {
							if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrDamped) {
								h.Fatalf("%d s after the stop: %v, want ErrDamped", i+2, err)
							}
						}
					}
					time.Sleep(1500 * time.Millisecond)
					p := h.publish() // 30.5 s after the stop
					run := h.record().Livestream.Run.ID
					p.send(time.Second)
					p.Unpublish()
					time.Sleep(11 * time.Second)
					h.publish().Unpublish()
					if h.record().Livestream.Run.ID == run {
						h.Error("11 s after a clean end the session continues a run that has its ENDLIST")
					}
					time.Sleep(time.Hour + 2*time.Minute)
					h.m.mu.Lock()
					n := len(h.m.clocks)
					h.m.mu.Unlock()
					if n != 0 {
						h.Errorf("%d clocks are kept for nothing", n)
					}
				})
			})
		}
	}
}

// TestClocksAreBounded: keeping them costs a bounded amount.
func TestClocksAreBounded(t *testing.T) {
	m := &Manager{clocks: map[string]keptClock{}, wall: time.Now}
	for range keptClocks + 10 {
		s := &session{id: livestream.NewUUID(), clock: startClock(time.Now(), time.Time{})}
		s.rec.Livestream.RefuseUntil = time.Now().Add(time.Hour)
		m.keepClock(s)
	}
	if n := len(m.clocks); n != keptClocks {
		t.Errorf("%d clocks", n)
	}
	s := &session{id: "settled", clock: startClock(time.Now(), time.Time{})}
	m.keepClock(s)
	if _, ok := m.clocks["settled"]; ok {
		t.Error("a clock is kept although nothing is timed by it")
	}
}
