package main

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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
	gcTuneAtLeast = 5 // percent; smaller changes are not worth stopping for
)

// gcPercent is how much garbage may gather on that live heap, for SetGCPercent.
func gcPercent(liveBytes uint64) int {
	live := math.Max(float64(liveBytes), 1<<20)
	return int(math.Round(min(400, 100*(gcSlackShare+gcSlackBytes/live))))
}

// tuneGC keeps the collector's percentage fitting until ctx ends. It does so after
// collections, which is when it is known what is alive (of two in a row it may see the
// second only): an encoder that sends as
// fast as it can takes a stream's memory within a second, and what fitted before that
// would let it have twice as much. GOGC, where somebody has set it, stays in force.
func tuneGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for now := 100; ; {
		collected := nextCollection()
		metrics.Read(live)
		if live[0].Value.Kind() == metrics.KindUint64 {
			if want := gcPercent(live[0].Value.Uint64()); max(want-now, now-want) >= gcTuneAtLeast {
				debug.SetGCPercent(want)
				now = want
			}
		}
		select {
		case <-collected:
		case <-ctx.Done():
			return
		}
	}
}

// nextCollection returns a channel that is closed when the heap has been collected.
func nextCollection() <-chan struct{} {
	done := make(chan struct{})
	garbage := &struct{ large [64]byte }{} // the smallest ones share memory with others, and live as long
	runtime.AddCleanup(garbage, func(c chan struct{}) { close(c) }, done)
	return done
}
