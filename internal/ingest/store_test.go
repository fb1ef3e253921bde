package ingest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"tally/internal/livestream"
)

// A flaky store fails its writes while down.
type flaky struct {
	Store
	mu   sync.Mutex
	down bool
}

func (f *flaky) set(down bool) { f.mu.Lock(); defer f.mu.Unlock(); f.down = down }
func (f *flaky) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errors.New("disk full")
	}
	return nil
}
func (f *flaky) Advance(ctx context.Context, id string, e livestream.Event) (livestream.Record, error) {
	if err := f.err(); err != nil {
		return livestream.Record{}, err
	}
	return f.Store.Advance(ctx, id, e)
}
func (f *flaky) Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow, vs []livestream.Viewing) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Checkpoint(ctx, cs, ws, vs)
}

// A contrary store has one event refused as of an older publish.
type contrary struct {
	Store
	refuse livestream.Kind
}

func (c *contrary) Advance(ctx context.Context, id string, e livestream.Event) (livestream.Record, error) {
	if e.Kind == c.refuse {
		c.refuse = 0
		rec, err := c.Store.Advance(ctx, id, livestream.Event{Kind: livestream.Unpublish, At: e.At, Epoch: -1})
		return rec, err // ErrStale, and the record as it stands
	}
	return c.Store.Advance(ctx, id, e)
}

// TestNobodyConnectedNeverStaysLive: whatever the store thinks of an end, a
// session whose publisher is gone gets a deadline.
func TestNobodyConnectedNeverStaysLive(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.m.store = &contrary{Store: h.m.store, refuse: livestream.Unpublish}
		p := h.publish()
		p.send(3 * time.Second)
		p.Unpublish()
		h.expect("the end was refused", "LIVE RECONNECTING")
		time.Sleep(time.Minute + time.Second)
		h.expect("the window is over", "IDLE ENCODER_LOST")
	})
}

// TestStoreAway: what happened while the store could not write is written when it can.
func TestStoreAway(t *testing.T) {
	inBubble(t, func(h *harness) {
		f := &flaky{Store: h.store}
		h.m.store = f
		p := h.publish()
		p.send(3 * time.Second)
		f.set(true)
		p.send(5 * time.Second)
		p.Lose(io.EOF)
		time.Sleep(5 * time.Second)
		h.expect("store away", "LIVE")
		f.set(false)
		time.Sleep(time.Second)
		s := h.expect("store back", "LIVE RECONNECTING")
		if s.Ingest < 7900*time.Millisecond {
			h.Errorf("ingest = %v, want 8 s", s.Ingest)
		}
	})
}
