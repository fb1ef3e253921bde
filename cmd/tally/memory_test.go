package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 400}, {1 << 20, 400}, {8 << 20, 115}, {80 << 20, 25}, {1400 << 20, 16}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d MB alive: %d %%, want %d %%", c.live>>20, got, c.want)
		}
	}
}

// The percentage fits what is alive as soon as a collection has told it.
func TestTuneGCFollowsEachCollection(t *testing.T) {
	t.Setenv("GOGC", "")
	os.Unsetenv("GOGC")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); tuneGC(ctx) }()
	percent := func() uint64 { // what is in force
		now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(now)
		return now[0].Value.Uint64()
	}
	runtime.GC()
	alive := make([]byte, 256<<20)
	runtime.GC()
	for until := time.Now().Add(10 * time.Second); percent() > 25 && time.Now().Before(until); time.Sleep(time.Millisecond) {
	}
	if got := percent(); got > 25 {
		t.Errorf("with 256 MB alive garbage may take %d %%", got)
	}
	runtime.KeepAlive(alive)
	alive = nil
	for until := time.Now().Add(10 * time.Second); percent() < 50 && time.Now().Before(until); runtime.GC() {
	}
	if got := percent(); got < 50 {
		t.Errorf("with little alive garbage may take %d %%", got)
	}
	stop()
	<-done
}
