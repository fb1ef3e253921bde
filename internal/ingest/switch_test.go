package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"tally/internal/livestream"
)

func TestStop(t *testing.T) {
	inBubble(t, func(h *harness) {
		if _, err := h.m.Stop(h.Context(), h.l.ID); !errors.Is(err, livestream.ErrNotActive) {
			h.Errorf("stop of an idle livestream: %v, want ErrNotActive", err)
		}
		p := h.publish()
		p.send(3 * time.Second)
		if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		h.expect("stopped", "IDLE")
		if p.Context().Err() == nil || !h.outs[0].ended || h.outs[0].linger {
			h.Error("stop must cut the publisher and end the playlist at once")
		}
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrDamped) {
			h.Errorf("publish after the stop: %v, want ErrDamped", err)
		}
		time.Sleep(30 * time.Second)
		h.publish().Unpublish()
		h.expect("30 s later", "IDLE")
	})
}

// TestSwitches: what the API switches cuts the publisher, at once.
func TestSwitches(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(h *harness) (livestream.Record, error)
		after error // of a publish with the old key
	}{
		{"disable", func(h *harness) (livestream.Record, error) { return h.m.Disable(h.Context(), h.l.ID) }, livestream.ErrDisabled},
		{"reset key", func(h *harness) (livestream.Record, error) { return h.m.ResetKey(h.Context(), h.l.ID) }, livestream.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				p := h.publish()
				p.send(3 * time.Second)
				h.expect("before", "LIVE")
				rec, err := c.do(h)
				if err != nil || rec.Session.Phase != livestream.Ended {
					h.Fatalf("%v, session %s", err, rec.Session.Phase)
				}
				var cut *CutError
				if !errors.As(context.Cause(p.Context()), &cut) || !h.outs[0].ended || h.outs[0].linger {
					h.Errorf("the publisher must be cut and the playlist end at once: %v", context.Cause(p.Context()))
				}
				h.expect("after", "IDLE")
				if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, c.after) {
					h.Errorf("publish with the old key: %v, want %v", err, c.after)
				}
				if rec, err = h.m.Enable(h.Context(), h.l.ID); err != nil {
					h.Fatal(err)
				}
				h.l.StreamKey = rec.Livestream.StreamKey
				h.publish().Unpublish()
			})
		})
	}
}

func TestDelete(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(2 * time.Second)
		if _, err := h.m.Delete(h.Context(), h.l.ID); !errors.Is(err, livestream.ErrOpen) {
			h.Errorf("while on air: %v, want ErrOpen", err)
		}
		h.expect("refused", "LIVE")
		p.Unpublish()
		h.expect("ended", "IDLE")
		if _, err := h.m.Delete(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrNotFound) {
			h.Errorf("publish to a deleted livestream: %v, want ErrNotFound", err)
		}
		if _, err := h.m.Stop(h.Context(), h.l.ID); !errors.Is(err, livestream.ErrNotFound) {
			h.Errorf("stop of a deleted livestream: %v, want ErrNotFound", err)
		}
	})
}
