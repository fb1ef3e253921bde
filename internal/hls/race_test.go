package hls_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
)

// Viewers read while a publisher writes, is lost, is replaced and ends, on real
// goroutines: this is for the race detector. Each sees numbers that only rise.
func TestViewersAndPublishersAtOnce(t *testing.T) {
	r := hls.NewRegistry(hls.Config{})
	p := r.Open(run(2))
	w := r.Stream("play").Window()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var viewers sync.WaitGroup
	for range 20 {
		viewers.Go(func() { follow(t, ctx, r, w) })
	}
	src := av
	src.length = 10 * time.Second
	items := src.items(t)
	var actor sync.WaitGroup
	for epoch := int64(1); epoch <= 5; epoch++ {
		p.Begin(epoch)
		p.Mark(farAhead, farAhead)
		actor.Go(func() {
			for range 100 {
				p.Progress()
				p.Mark(farAhead, farAhead)
				r.Stream("play").Stage()
			}
			p.Lost(epoch)
		})
		for _, it := range items {
			if err := write(p, epoch, it); errors.Is(err, livestream.ErrStale) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		actor.Wait()
	}
	// One whole publish, so that there is something to end.
	p.Begin(6)
	for _, it := range items {
		if err := write(p, 6, it); err != nil {
			t.Fatal(err)
		}
	}
	p.End(false)
	viewers.Wait()
	r.Close()
}

// follow is a viewer: it waits for part after part until the end.
func follow(t *testing.T, ctx context.Context, r *hls.Registry, w *hls.Window) {
	changed := r.Changed("play")
	s, err := w.WaitListed(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	<-changed
	for {
		next, err := w.Wait(ctx, hls.Position{MSN: s.LastMSN + 1, Part: s.OpenParts}, hls.Within{})
		switch {
		case errors.Is(err, hls.ErrEnded):
			return
		case errors.Is(err, hls.ErrTooFar): // not while asking for the next part
			t.Error(err)
			return
		case err != nil:
			t.Error(err)
			return
		case next.LastMSN < s.LastMSN || next.NextPart <= s.NextPart || next.FirstMSN < s.FirstMSN:
			t.Errorf("numbers fell: last segment %d to %d, next part %d to %d", s.LastMSN, next.LastMSN, s.NextPart, next.NextPart)
			return
		}
		s = next
		if s.Playlist(false, true) == nil || s.Part(s.Epoch, s.NextPart) != nil {
			t.Error("no playlist, or a part that is yet to come")
			return
		}
		if g := s.Segment(1, s.FirstMSN); g != nil && len(g.Parts) == 0 {
			t.Error("an empty segment")
			return
		}
	}
}
