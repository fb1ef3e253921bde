package ingest

import (
	"testing"
	"time"
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
