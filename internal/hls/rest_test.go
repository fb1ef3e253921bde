package hls_test

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/blob"
	"tally/internal/hls"
	"tally/internal/hls/archive"
	"tally/internal/media"
)

// A counted store knows how many objects are open for writing.
type counted struct {
	blob.Store
	open int // the recorder's goroutine writes it; read while none is there
}

type countedWriter struct {
	blob.Writer
	of *counted
}

func (c *counted) Create(name string) (blob.Writer, error) {
	w, err := c.Store.Create(name)
	if err != nil {
		return nil, err
	}
	c.open++
	return countedWriter{w, c}, nil
}

func (w countedWriter) Close() error {
	w.of.open--
	return w.Writer.Close()
}

// What ended and is listed for hours yet takes no goroutine, no open file, and of
// memory a few kilobytes: a publisher may begin a new run each second.
func TestManyRunsAtRest(t *testing.T) {
	const runs, picture = 26, 20_000
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf(t, t.TempDir())
		store := &counted{Store: shelf.disk}
		shelf.lib = archive.New(archive.Config{Blobs: store})
		defer shelf.close()
		registry := hls.NewRegistry(hls.Config{Archive: shelf.lib})
		defer registry.Close()
		src := synth{fps: 30, gop: 60, announces: 1, length: 3 * time.Second, bytes: picture}.items(t)
		publish := func(name string) {
			o := dvrRun(6 * time.Hour)
			o.Run.ID, o.SessionID, o.Keep = name, "session-"+name, name[0]%2 == 0
			s := &stage{t: t, registry: registry, p: registry.Open(o)}
			s.begin(1)
			for start, i := time.Now(), 0; i < len(src); i++ {
				it := src[i]
				time.Sleep(it.at - time.Since(start))
				if err := write(s.p, 1, it); err != nil {
					t.Fatal(err)
				}
			}
			end(s.p)
			synctest.Wait() // or what the disk has not taken in time is lost
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		many := func(kind string) {
			for i := range runs {
				publish(string(rune('a'+i)) + kind)
			}
		}
		many("warm")
		goroutines, before := runtime.NumGoroutine(), inUse()
		many("counted")
		if n := len(registry.Streams("play")); n != 2*runs {
			t.Fatalf("%d runs are listed, want %d", n, 2*runs)
		}
		if n := runtime.NumGoroutine() - goroutines; n > 2 {
			t.Errorf("%d runs at rest hold %d goroutines", runs, n)
		}
		if store.open > 0 {
			t.Errorf("%d runs at rest hold %d open files", runs, store.open)
		}
		if each := (inUse() - before) / runs; each > 16<<10 {
			t.Errorf("a run at rest takes %d bytes", each)
		}
		runtime.KeepAlive(src)
	})
}

// A publisher who ends a run each moment, with an ENDLIST at once, takes no more
// memory than the cap of one broadcast, and leaves no more than 64 runs behind.
func TestManyRunsThatEnd(t *testing.T) {
	for _, window := range []time.Duration{0, 6 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			shelf := newShelf(t, t.TempDir())
			defer shelf.close()
			const ringBytes = 4 << 20
			registry := hls.NewRegistry(hls.Config{Archive: shelf.lib, RingBytes: ringBytes})
			defer registry.Close()
			src := synth{fps: 30, gop: 60, announces: 1, length: time.Second, bytes: 20_000}.items(t)
			for i := range 80 {
				o := dvrRun(window)
				o.Run.ID = fmt.Sprint("run-", i)
				o.SessionID = "of-" + o.Run.ID
				s := &stage{t: t, registry: registry, p: registry.Open(o)}
				s.begin(1)
				s.p.Expect(1, []media.TrackID{media.VideoTrack})
				for _, it := range src {
					if err := write(s.p, 1, it); err != nil {
						t.Fatal(err)
					}
				}
				end(s.p)
				synctest.Wait()
			}
			runs := registry.Streams("play")
			if len(runs) > 64 {
				t.Errorf("%d runs are in memory", len(runs))
			}
			held, listed := 0, 0
			for _, st := range runs {
				snap := st.Window().Current()
				n := 0
				for c := range int64(100) {
					if p := snap.Part(1, c); p != nil {
						n += p.Size()
					}
				}
				held += n
				if !st.Over() && (n > 0 || window > 0) {
					listed++
				}
			}
			if held > ringBytes+ringBytes/4 {
				t.Errorf("with a window of %v %d runs hold %d bytes, want %d at most", window, len(runs), held, ringBytes)
			}
			if window > 0 && listed < 60 {
				t.Errorf("with a window of %v %d runs are listed yet", window, listed)
			}
		})
	}
}

// inUse is how many bytes of heap are in use.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // and what pools had
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
