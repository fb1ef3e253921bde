package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Nearly all of a busy server's heap is media: large, without pointers, cheap
// to mark and slow to change. Go's default lets garbage grow to the size of
// what is alive, which would double the memory of every livestream; a small
// percentage alone would make an idle server collect all the time. So the
// collector gets a fixed slack and a share (design section 9: ring bytes x 1.3
// + 1 MB for each livestream).
const (
	gcSlackBytes  = 8 << 20
	gcSlackShare  = 0.15
	gcTuneEvery   = time.Second
	gcTuneAtLeast = 5 // percent; smaller changes are not worth stopping for
)

// gcPercent is how much garbage may gather on that live heap, for SetGCPercent.
func gcPercent(liveBytes uint64) int {
	live := math.Max(float64(liveBytes), 1<<20)
	return int(math.Round(min(400, 100*(gcSlackShare+gcSlackBytes/live))))
}

// tuneGC keeps the collector's percentage fitting until ctx ends. GOGC, where
// somebody has set it, stays in force.
func tuneGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(gcTuneEvery)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for now := 100; ; {
		metrics.Read(live)
		if live[0].Value.Kind() == metrics.KindUint64 {
			if want := gcPercent(live[0].Value.Uint64()); max(want-now, now-want) >= gcTuneAtLeast {
				debug.SetGCPercent(want)
				now = want
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
