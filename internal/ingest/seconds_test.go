package ingest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

// TestIngestSeconds: arrival counts, media time does not.
func TestIngestSeconds(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(5 * time.Second)
		time.Sleep(3 * time.Second) // a gap of more than 2 s is no ingest
		p.send(5 * time.Second)
		for range 3000 { // a burst of 100 s of media within no time
			p.Arrived(1000)
		}
		time.Sleep(600 * time.Millisecond)
		if s := h.expect("live", "LIVE"); s.Ingest < 9800*time.Millisecond || s.Ingest > 10*time.Second {
			h.Errorf("ingest = %v, want 10 s", s.Ingest)
		}
		p.Unpublish()
	})
}

// TestBurstCountsItsTime: a file pushed at four times its speed for 30 s counts
// 30 s, and not the 120 s of media that it holds.
func TestBurstCountsItsTime(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		for i := range 30 * 120 { // 120 frames a second
			p.Arrived(1000)
			p.WriteFrame(media.Frame{Track: media.VideoTrack, DTS: int64(i) * 3000, PTS: int64(i) * 3000, Key: i%60 == 0})
			time.Sleep(time.Second / 120)
		}
		p.Unpublish()
		within(h, "ingest", h.record().Session.Ingest, 30*time.Second, 20*time.Millisecond)
	})
}

// TestGapOfTwoSeconds: exactly 2 s belong to the interval, a nanosecond more
// does not.
func TestGapOfTwoSeconds(t *testing.T) {
	for gap, want := range map[time.Duration]time.Duration{
		2*time.Second - 1: 5 * time.Second, 2 * time.Second: 5 * time.Second, 2*time.Second + 1: 3 * time.Second, 9 * time.Second: 3 * time.Second,
	} {
		t.Run(gap.String(), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				l := newLedger(h.store)
				h.m.store = l
				p := h.publish()
				for _, wait := range []time.Duration{time.Second, time.Second, gap, time.Second, 0} {
					p.Arrived(1)
					p.WriteFrame(media.Frame{Track: media.VideoTrack, Key: true})
					time.Sleep(wait)
				}
				p.Unpublish()
				time.Sleep(time.Second)
				s := h.record().Session
				within(h, "ingest", s.Ingest, want, time.Millisecond)
				if sum, n, _ := l.sum(s.ID); sum != s.Ingest || (n == 1) != (want == 5*time.Second) {
					h.Errorf("%d intervals of %v", n, sum)
				}
			})
		})
	}
}

// TestSecondsSumUp: reconnects and takeovers add to one session, a clean end
// begins another at nothing.
func TestSecondsSumUp(t *testing.T) {
	inBubble(t, func(h *harness) {
		first := h.publish()
		first.send(4 * time.Second)
		first.Lose(io.EOF)
		time.Sleep(20 * time.Second)
		second := h.publish() // a reconnect
		second.send(5 * time.Second)
		time.Sleep(2500 * time.Millisecond) // it falls silent
		third := h.publish()                // and is taken over from
		third.send(6 * time.Second)
		s := h.expect("all of it", "LIVE")
		third.Unpublish()
		end := h.expect("clean end", "IDLE")
		if end.ID != s.ID || end.Epoch != 3 {
			h.Errorf("session %s of publish %d, want %s of 3", end.ID, end.Epoch, s.ID)
		}
		within(h, "ingest", end.Ingest, 15*time.Second, 150*time.Millisecond)
		if end.Bytes != 15*30*1000 {
			h.Errorf("%d bytes, want all that arrived", end.Bytes)
		}
		time.Sleep(time.Second)
		h.publish().send(3 * time.Second)
		next := h.record().Session
		if next.ID == end.ID {
			h.Error("a clean end ends the session")
		}
		within(h, "ingest of the next", next.Ingest, 3*time.Second, 600*time.Millisecond)
	})
}

// TestSecondsAreRightLive: at every moment of a session, through every end and
// beginning, what the API reads is what had arrived at most half a second ago,
// never decreases, and never exceeds the time since the invocation; 2 s after the
// end it is final, to a millisecond. While media comes steadily that is also
// within half a second of what arrived by now.
func TestSecondsAreRightLive(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(h *harness) { walkSeconds(h, rand.New(rand.NewPCG(seed, 4))) })
		})
	}
}

// A truth counts by itself what one session received.
type truth struct {
	session string
	invoked time.Time
	sum     time.Duration
	last    time.Time // zero: a new publish
	shown   time.Duration
	steady  time.Time       // no pause since
	past    []time.Duration // sums that were true in the last half second
	at      []time.Time     // and since when
}

func (w *truth) arrived() {
	now := time.Now()
	gap := now.Sub(w.last)
	if gap > 30*time.Millisecond {
		w.steady = now
	}
	if !w.last.IsZero() && gap <= 2*time.Second {
		w.sum += gap
	}
	w.last = now
	w.past, w.at = append(w.past, w.sum), append(w.at, now)
	for len(w.at) > 1 && now.Sub(w.at[1]) >= 500*time.Millisecond {
		w.past, w.at = w.past[1:], w.at[1:]
	}
}

// look compares what is stored with the truth.
func (w *truth) look(h *harness, when string) {
	h.Helper()
	s := h.record().Session
	if s.ID != w.session {
		*w = truth{session: s.ID, invoked: time.Now(), sum: w.sum, last: w.last, steady: time.Now()}
	}
	oldest := w.sum
	if when == "live" {
		oldest = w.past[0]
	}
	switch d := w.sum - s.Ingest; {
	case d < -time.Millisecond, s.Ingest < oldest-time.Millisecond:
		h.Fatalf("%s: ingest = %v, %v arrived, %v of it more than half a second ago", when, s.Ingest, w.sum, oldest)
	case d > 500*time.Millisecond && time.Since(w.steady) > time.Second:
		h.Fatalf("%s: ingest = %v, %v arrived: %v off", when, s.Ingest, w.sum, d)
	}
	if s.Ingest < w.shown {
		h.Fatalf("%s: ingest went back from %v to %v", when, w.shown, s.Ingest)
	}
	w.shown = s.Ingest
	end := s.StoppedAt
	if end.IsZero() {
		end = s.UpdatedAt
	}
	if span := end.Sub(s.InvokedAt); s.Ingest > span+time.Millisecond {
		h.Fatalf("%s: %v received in %v", when, s.Ingest, span)
	}
}

func walkSeconds(h *harness, r *rand.Rand) {
	damping := time.Duration(0)
	if _, err := h.m.Configure(h.Context(), h.l.ID, livestream.Change{Damping: &damping}); err != nil {
		h.Fatal(err)
	}
	w := &truth{}
	for range 25 {
		p := h.publish()
		w.last = time.Time{}
		if h.record().Session.ID != w.session {
			w.sum = 0
		}
		w.past, w.at = nil, nil
		w.look(h, "accepted")
		for i := range 20 + r.IntN(300) {
			p.Arrived(100)
			p.WriteFrame(media.Frame{Track: media.VideoTrack, Key: i == 0})
			w.arrived()
			pause := time.Duration(r.IntN(30)) * time.Millisecond
			if r.IntN(80) == 0 {
				pause = time.Duration(r.IntN(3500)) * time.Millisecond
			}
			time.Sleep(pause)
			w.look(h, "live")
		}
		end := "clean end"
		switch r.IntN(4) {
		case 0:
			p.Unpublish()
		case 1:
			end = "stop"
			if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
				h.Fatal(err)
			}
		default:
			end = "lost"
			p.Lose(io.EOF)
		}
		time.Sleep(2 * time.Second)
		w.look(h, end)
		if end == "lost" && r.IntN(3) == 0 {
			time.Sleep(90 * time.Second)
			w.look(h, "the window is over")
		}
	}
}
