package loopback

import (
	"context"
	"flag"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/rtmp"
)

var cycles = flag.Int("cycles", 150, "how many connections TestQuickCycles makes and breaks")

// TestQuickCycles: an encoder that comes and breaks off, by FIN and RST in turns,
// on air and before, as fast as it can. The key is usable again within 1 s each
// time, not counting what the disk took for the slowest write meanwhile, and
// nothing is left behind: no goroutine, no descriptor, no open row.
func TestQuickCycles(t *testing.T) {
	for name, n := range map[string]int{"on air": 12, "before anything is playable": 0} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, hls.Config{})
			l := w.livestream(func(l *livestream.Livestream) { l.Settings.Damping = 0 })
			var slowest time.Duration // write of all
			cycle := func(i int) time.Duration {
				w.store.slowest.Store(0)
				asked := time.Now()
				c := w.mustDial(l)
				took := time.Since(asked)
				disk := time.Duration(w.store.slowest.Load())
				if took-disk > time.Second {
					t.Errorf("cycle %d: the key was usable again after %v, of which a write took %v", i, took, disk)
				}
				slowest = max(slowest, disk)
				if err := header(c); err == nil {
					err = send(c, "1", 0, n, 0)
					if err != nil {
						t.Errorf("cycle %d: %v", i, err)
					}
				}
				if i%2 == 0 {
					c.Close()
				} else {
					c.Reset()
				}
				return took
			}
			cycle(0)
			cycle(1)
			w.settled(t, 0)
			goroutines, descriptors := runtime.NumGoroutine(), open(t)
			var waits []time.Duration
			for i := range *cycles {
				waits = append(waits, cycle(i))
			}
			slices.Sort(waits)
			t.Logf("%d cycles: accepted after %v (median), %v (99 %%), %v (worst); the slowest write to the disk took %v", *cycles,
				waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1], slowest)
			w.settled(t, 0)
			eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
			eventually(t, "descriptors are closed", func() bool { return open(t) <= descriptors })
			if n > 0 {
				if s := w.session(l); s.Epoch != int64(*cycles+2) {
					t.Errorf("epoch %d after %d publishes: it must be one session", s.Epoch, *cycles+2)
				}
				w.manager.Stop(context.Background(), l.ID)
			}
			eventually(t, "every session is closed", func() bool {
				recs, err := w.store.OpenRecords(context.Background())
				return err == nil && len(recs) == 0
			})
		})
	}
}

// settled waits until the server has noticed that everybody left.
func (w *world) settled(t *testing.T, publishing int64) {
	t.Helper()
	eventually(t, "connections end", func() bool { return w.rtmp.Stats().Open.Load() == publishing })
}

// open is how many descriptors this process has open.
func open(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%s: not within 10 s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// TestFrozenEncoder: its socket stays open and nothing comes. The silence can
// be seen within 3 s, RECONNECTING within 12 s, and then the connection is
// closed, with a sentence for whoever thaws.
func TestFrozenEncoder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hls.Config{})
	l := w.livestream(nil)
	c := w.mustDial(l)
	if err := header(c); err != nil {
		t.Fatal(err)
	}
	if err := send(c, "1", 0, 60, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	frozen := time.Now()
	w.until(l, "LIVE", time.Second)
	eventually(t, "starving", func() bool {
		s := w.session(l)
		return s.UpdatedAt.Sub(s.LastMediaAt) > 2*time.Second
	})
	starving := time.Since(frozen)
	w.until(l, "LIVE RECONNECTING", 12*time.Second)
	reconnecting := time.Since(frozen)
	<-c.Done()
	closed := time.Since(frozen)
	if starving > 3*time.Second || reconnecting > 12*time.Second || closed > 12*time.Second {
		t.Errorf("starving after %v, RECONNECTING after %v, closed after %v", starving, reconnecting, closed)
	}
	if s := said(c.Err()); s.Code != rtmp.StreamFailed || !strings.Contains(s.Description, "no audio or video arrived for 10s") {
		t.Errorf("the encoder was told %+v", s)
	}
	c.Close()
	t.Logf("starving after %v, RECONNECTING after %v, closed after %v", starving, reconnecting, closed)
	next := w.mustDial(l) // and the key is free
	next.Close()
}
