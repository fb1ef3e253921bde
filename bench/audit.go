package main

import (
	"context"
	"fmt"
	"math"
	"time"
)

// audit ends a broadcast cleanly and holds what the API says of its session
// against the generator's own ledger: the media it sent, and the distinct media
// its players fetched.
func (b *bench) audit(ctx context.Context, t *tally, to target, air *broadcast, name string, watched float64) error {
	live, id, ok := t.active(ctx, to.id)
	if !ok {
		return fmt.Errorf("audit: the livestream has no active session")
	}
	sent := air.metered.seconds()
	b.add(row{Scenario: name, What: "ingest_seconds while live: error", Unit: "s",
		Ours: beyondRounding(live.IngestSeconds, sent)}.atMost(0.5).noted(fmt.Sprintf("API %g, sent %.2f", live.IngestSeconds, sent)))
	if err := air.stop(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	sent = air.metered.seconds()
	if err := pause(ctx, 2*time.Second); err != nil { // final within 2 s (design section 4)
		return err
	}
	final, err := t.session(ctx, id)
	if err != nil {
		return err
	}
	b.add(row{Scenario: name, What: "ingest_seconds after the end: error", Unit: "s",
		Ours: beyondRounding(final.IngestSeconds, sent)}.atMost(0.5).noted(fmt.Sprintf("API %g, sent %.2f", final.IngestSeconds, sent)))
	if watched == 0 {
		return nil
	}
	b.add(row{Scenario: name, What: "viewer_seconds after the end: error", Unit: "%",
		Ours: 100 * beyondRounding(final.ViewerSeconds, watched) / watched}.atMost(0.5).
		noted(fmt.Sprintf("API %g, fetched %.1f", final.ViewerSeconds, watched)))
	return nil
}

// beyondRounding is how far a figure that is shown in whole seconds is from the
// truth, less what rounding to nearest explains.
func beyondRounding(shown, truth float64) float64 { return max(0, math.Abs(shown-truth)-0.5) }
