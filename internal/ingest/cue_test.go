package ingest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

// What the API's user says goes to the output while there is something to see,
// also while the encoder is away, and onto the timeline.
func TestCue(t *testing.T) {
	inBubble(t, func(h *harness) {
		c := media.Cue{Class: "score", Data: "1:0", Duration: 2 * time.Second}
		ask := func() error {
			_, err := h.m.Cue(h.Context(), h.l.ID, c)
			return err
		}
		if err := ask(); !errors.Is(err, livestream.ErrNotActive) {
			t.Errorf("off air: %v", err)
		}
		p := h.publish()
		if err := ask(); !errors.Is(err, livestream.ErrNotActive) {
			t.Errorf("before anything is playable: %v", err)
		}
		p.send(2 * time.Second)
		if err := ask(); err != nil {
			t.Error(err)
		}
		p.Lose(nil)
		time.Sleep(time.Second)
		c.Data = "2:0"
		if err := ask(); err != nil {
			t.Errorf("while the encoder is away: %v", err)
		}
		id := h.record().Session.ID
		time.Sleep(time.Second) // a checkpoint
		out := h.outs[0]
		if len(out.cues) != 2 || !out.cues[0].Now || out.cues[1].Data != "2:0" {
			t.Errorf("the output has %+v", out.cues)
		}
		facts, _, err := h.store.Timeline(h.Context(), id, livestream.Page{Number: 1, Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range facts {
			if f.Kind == livestream.FactCue {
				n++
				if !strings.HasPrefix(f.Detail, "score at ") || !strings.HasSuffix(f.Detail, ", cue, for 2s") || f.From != f.To {
					t.Errorf("the timeline has %+v", f)
				}
			}
		}
		if n != 2 {
			t.Errorf("%d cues on the timeline: %+v", n, facts)
		}
		if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
			t.Fatal(err)
		}
		if err := ask(); !errors.Is(err, livestream.ErrNotActive) {
			t.Errorf("after a stop: %v", err)
		}
	})
}
