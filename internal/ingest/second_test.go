package ingest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
)

func TestSecondPublisher(t *testing.T) {
	inBubble(t, func(h *harness) {
		first := h.publish()
		go first.send(20 * time.Second)
		time.Sleep(5 * time.Second)
		asked := time.Now()
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrBusy) {
			h.Errorf("while the first delivers: %v, want ErrBusy", err)
		}
		if d := time.Since(asked); d > 400*time.Millisecond {
			h.Errorf("refused after %v although the first delivered all the time", d)
		}
		s := h.expect("defended", "LIVE")
		if s.Epoch != 1 {
			h.Errorf("epoch %d, want 1: the session must not notice", s.Epoch)
		}
		time.Sleep(time.Until(asked.Add(15*time.Second + 500*time.Millisecond))) // the first fell silent half a second ago
		asked = time.Now()
		second := h.publish()
		if d := time.Since(asked); d < 1300*time.Millisecond || d > 1700*time.Millisecond {
			h.Errorf("taken over after %v, want when the first was silent for 2 s", d)
		}
		if first.Context().Err() == nil {
			h.Error("the first connection was not cut by the takeover")
		}
		first.Lose(io.EOF) // its late end touches nothing
		second.send(time.Second)
		if s := h.expect("taken over", "LIVE"); s.Epoch != 2 {
			h.Errorf("epoch %d, want 2", s.Epoch)
		}
	})
}

// TestPublisherPolicies: what becomes of a second publisher while the first
// one is healthy, stale, and gone.
func TestPublisherPolicies(t *testing.T) {
	for _, c := range []struct {
		policy         livestream.Policy
		healthy, stale error // nil: takes over
		within         time.Duration
	}{
		{livestream.ReplaceIfStale, livestream.ErrBusy, nil, holdLimit},
		{livestream.Reject, livestream.ErrBusy, livestream.ErrBusy, 0},
		{livestream.Replace, nil, nil, 0},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				if _, err := h.m.Configure(h.Context(), h.l.ID, livestream.Change{Publisher: &c.policy}); err != nil {
					h.Fatal(err)
				}
				p := h.publish()
				p.send(3 * time.Second)
				newcomer := func(when string, want error) *Publication {
					h.Helper()
					asked := time.Now()
					n, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey, Remote: "198.51.100.1:1"})
					if !errors.Is(err, want) || time.Since(asked) > c.within {
						h.Errorf("%s: %v after %v, want %v within %v", when, err, time.Since(asked), want, c.within)
					}
					return n
				}
				stop := make(chan struct{})
				go func() { // the first goes on until it is told to stop, or cut
					defer close(stop)
					p.send(3 * time.Second)
				}()
				n := newcomer("healthy", c.healthy)
				if cut := p.Context().Err() != nil; cut != (c.healthy == nil) {
					h.Errorf("the first was cut: %v", cut)
				}
				<-stop
				if n != nil {
					p = n
					p.send(time.Second)
				}
				time.Sleep(2500 * time.Millisecond)
				if n = newcomer("stale", c.stale); n != nil {
					p = n
					p.send(time.Second)
				}
				p.Lose(io.EOF)
				h.expect("gone", "LIVE RECONNECTING")
				newcomer("gone", nil)
				if s := h.expect("back", "LIVE"); s.ID != h.record().Session.ID || len(h.outs) != 1 {
					h.Error("all of it must be one session")
				}
			})
		})
	}
}

// TestRace lets two encoders fight for one key: never two at once, and the
// manager keeps nothing behind.
func TestRace(t *testing.T) {
	inBubble(t, func(h *harness) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		on := 0
		for range 8 {
			wg.Go(func() {
				for range 20 {
					p, err := h.m.Publish(context.Background(), Request{Key: h.l.StreamKey})
					if err != nil {
						continue
					}
					mu.Lock()
					if on++; on > 1 {
						h.Error("two publishers at once")
					}
					mu.Unlock()
					p.send(100 * time.Millisecond)
					mu.Lock()
					on--
					mu.Unlock()
					p.Lose(io.EOF)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
			h.Error(err)
		}
		time.Sleep(time.Second)
		if n := len(h.m.all()); n != 0 {
			h.Errorf("%d actors left, want none", n)
		}
	})
}

// A laggard store takes its time over one kind of event.
type laggard struct {
	Store
	slow livestream.Kind
	by   time.Duration
}

func (l *laggard) Advance(ctx context.Context, id string, e livestream.Event) (livestream.Record, error) {
	if e.Kind == l.slow {
		time.Sleep(l.by)
	}
	return l.Store.Advance(ctx, id, e)
}

// TestPublishWhileTheLastSessionEnds: an encoder that stops and starts at once
// asks while its clean end is still being written. The new session has nothing
// of the old one's.
func TestPublishWhileTheLastSessionEnds(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.m.store = &laggard{Store: h.m.store, slow: livestream.Unpublish, by: 50 * time.Millisecond}
		first := h.publish()
		first.send(20 * time.Second)
		before := h.record().Session
		first.Unpublish()
		time.Sleep(10 * time.Millisecond)
		second := h.publish()
		s := h.expect("published again", "INVOKED")
		if s.ID == before.ID || s.Ingest != 0 || s.Bytes != 0 || !s.LastMediaAt.IsZero() {
			h.Errorf("the new session begins with %v, %d bytes, last media at %v", s.Ingest, s.Bytes, s.LastMediaAt)
		}
		second.send(2 * time.Second)
		second.Unpublish()
		time.Sleep(100 * time.Millisecond)
		if s := h.expect("ended", "IDLE"); s.Ingest > 2*time.Second || s.StoppedAt.Sub(s.InvokedAt) > 2100*time.Millisecond {
			h.Errorf("%v of ingest in %v, want 2 s", s.Ingest, s.StoppedAt.Sub(s.InvokedAt))
		}
	})
}

// TestRefusedWhileTheLastSessionEnds: a publish that read the session as open
// and is refused leaves nothing behind that believes so.
func TestRefusedWhileTheLastSessionEnds(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.m.store = &laggard{Store: h.m.store, slow: livestream.Stop, by: 50 * time.Millisecond}
		p := h.publish()
		p.send(3 * time.Second)
		go h.m.Stop(h.Context(), h.l.ID)
		time.Sleep(10 * time.Millisecond)
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrDamped) {
			h.Errorf("publish during the stop: %v, want ErrDamped", err)
		}
		time.Sleep(time.Second)
		if n := len(h.m.all()); n != 0 {
			h.Errorf("%d actors are left", n)
		}
	})
}
