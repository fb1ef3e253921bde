package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tally/internal/livestream"
)

var (
	ctx   = context.Background()
	here  = livestream.Scope{AccountID: "account-1", AppID: "app-1"}
	start = time.Now().UTC().Truncate(time.Millisecond)
)

func openTemp(t testing.TB) *Store {
	t.Helper()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "tally.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newLivestream(i int) livestream.Livestream {
	created := start.Add(time.Duration(i) * time.Millisecond)
	return livestream.Livestream{
		Scope: here, ID: livestream.NewUUID(), Name: "morning", HasName: true,
		StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		CreatedAt: created, UpdatedAt: created, Settings: livestream.DefaultSettings,
	}
}

// fill stores n livestreams, every live-th of them on air, and returns them.
func fill(t testing.TB, s *Store, n, live int) []livestream.Record {
	t.Helper()
	all := make([]livestream.Record, n)
	next := make(chan int)
	failed := make(chan error, 64)
	for range cap(failed) { // together they share fsyncs
		go func() {
			for i := range next {
				r := livestream.Record{Livestream: newLivestream(i)}
				if err := s.CreateLivestream(ctx, r.Livestream); err != nil {
					failed <- err
					return
				}
				if i%live == 0 {
					var err error
					if r, err = goLive(s, r.Livestream); err != nil {
						failed <- err
						return
					}
				}
				all[i] = r
			}
			failed <- nil
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func goLive(s *Store, l livestream.Livestream) (livestream.Record, error) {
	r, err := s.Advance(ctx, l.ID, livestream.Event{
		Kind: livestream.Publish, At: start.Add(time.Hour), NewID: livestream.NewUUID(),
		NewRun: livestream.NewRunID(), Key: l.StreamKey, Remote: "192.0.2.1:50000", Encoder: "OBS",
	})
	if err != nil {
		return r, err
	}
	return s.Advance(ctx, l.ID, livestream.Event{Kind: livestream.Playable, At: start.Add(time.Hour), Epoch: r.Session.Epoch})
}

// reportCPU reports the process's CPU time per operation when what it returns
// is called: unlike wall time it means something on a busy machine.
func reportCPU(b *testing.B) func() {
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := cpu()
	return func() { b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op") }
}

var sizes = []int{1, 1000, 100_000}

// BenchmarkRecordByID reads as active-livestream-session does: hit is one
// livestream again and again, miss goes to the database each time.
func BenchmarkRecordByID(b *testing.B) {
	for _, n := range sizes {
		s := openTemp(b)
		all := fill(b, s, n, 100)
		b.Run(fmt.Sprintf("hit/stored=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				id := all[0].Livestream.ID
				for pb.Next() {
					if _, err := s.RecordByID(ctx, here, id); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("miss/stored=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					id := all[i*7919%n].Livestream.ID
					s.records.suspend([]string{id})
					s.records.resume([]string{id})
					if _, err := s.RecordByID(ctx, here, id); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("list/stored=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Records(ctx, here, livestream.Query{Page: livestream.Page{Number: 1, Size: 25}}); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, status := range []livestream.Status{livestream.StatusLive, livestream.StatusIdle} {
			b.Run(fmt.Sprintf("list%s/stored=%d", status, n), func(b *testing.B) {
				for b.Loop() {
					if _, _, err := s.Records(ctx, here, livestream.Query{Page: livestream.Page{Number: 1, Size: 25}, Statuses: []livestream.Status{status}}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		s.Close()
	}
}

// BenchmarkCheckpoint writes one checkpoint and some windows, each of another
// kind, per open session in one transaction, as happens every 500 ms.
func BenchmarkCheckpoint(b *testing.B) {
	kinds := []livestream.UsageKind{livestream.ByMedia, livestream.ByBeacon, livestream.ByPlaylist}
	for _, n := range []int{1, 100, 1000} {
		for windows := range 4 {
			b.Run(fmt.Sprintf("sessions=%d/windows=%d", n, windows), func(b *testing.B) {
				s := openTemp(b)
				all := fill(b, s, n, 1)
				cs := make([]livestream.Checkpoint, n)
				var ws []livestream.UsageWindow
				i := int64(0)
				defer reportCPU(b)()
				for b.Loop() {
					i++
					ws = ws[:0]
					for k, r := range all {
						when := start.Add(time.Hour + time.Duration(i)*500*time.Millisecond)
						cs[k] = livestream.Checkpoint{
							LivestreamID: r.Livestream.ID, SessionID: r.Session.ID, Epoch: r.Session.Epoch, At: when,
							LastMediaAt: when, Ingest: time.Duration(i) * 500 * time.Millisecond,
							RunID: r.Livestream.Run.ID, PartTarget: 335 * time.Millisecond, MSNMark: i / 4, LongestGOP: 2 * time.Second,
							Bytes: i * 125_000, Media: "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo", Keyframe: 2*time.Second + time.Duration(i%3),
							Warnings: "NO_AUDIO: the encoder sends no audio; add a track",
						}
						for _, kind := range kinds[:windows] {
							ws = append(ws, livestream.UsageWindow{SessionID: r.Session.ID, Kind: kind,
								Node: "local", Incarnation: "0123456789ab", Window: i, Amount: time.Second})
						}
					}
					if err := s.Checkpoint(ctx, cs, ws, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkAudit reads 100,000 viewers of one session; page is one page of them,
// renew is what their rows cost a checkpoint.
func BenchmarkAudit(b *testing.B) {
	s := openTemp(b)
	r := fill(b, s, 1, 1)[0]
	for i := 0; i < 100_000; i += 1000 {
		var vs []livestream.Viewing
		for k := range 1000 {
			vs = append(vs, livestream.Viewing{SessionID: r.Session.ID, Viewer: fmt.Sprintf("%016x", uint64(i+k)*0x9e3779b97f4a7c15),
				Node: "local", Incarnation: "0123456789ab", First: start, Last: start, Media: time.Minute, Bytes: 1 << 20, Renditions: 1})
		}
		if err := s.Checkpoint(ctx, nil, nil, vs); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			a := &livestream.Audit{At: time.Now()}
			if err := s.Audit(ctx, here, r.Session.ID, a); err != nil {
				b.Fatal(err)
			}
			if a.Done(); a.Viewers != 100_000 {
				b.Fatal(a.Viewers)
			}
		}
	})
	b.Run("renew", func(b *testing.B) { // the rows that a checkpoint renews: those of a 75th of the viewers
		turn := 0
		defer reportCPU(b)()
		for b.Loop() {
			turn++
			vs := make([]livestream.Viewing, 0, 1350)
			for i := turn % 74; i < 100_000; i += 74 {
				vs = append(vs, livestream.Viewing{SessionID: r.Session.ID, Viewer: fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15),
					Node: "local", Incarnation: "0123456789ab", First: start, Last: start.Add(time.Duration(turn) * time.Minute),
					Media: time.Duration(turn) * time.Minute, Bytes: 1 << 20, Renditions: 1})
			}
			if err := s.Checkpoint(ctx, nil, nil, vs); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("page", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.Viewings(ctx, r.Session.ID, livestream.Page{Number: 500, Size: 100}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkAdvance measures one durable transition, alone and with 64 at once.
func BenchmarkAdvance(b *testing.B) {
	for _, parallel := range []int{1, 64} {
		b.Run(fmt.Sprintf("at-once=%d", parallel), func(b *testing.B) {
			s := openTemp(b)
			all := fill(b, s, parallel, 1)
			work := make(chan struct{})
			done := make(chan error, parallel)
			for i := range parallel {
				go func() {
					l := all[i].Livestream
					for range work {
						_, err := s.Advance(ctx, l.ID, livestream.Event{Kind: livestream.Publish, At: start.Add(time.Hour), Key: l.StreamKey})
						if err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			defer reportCPU(b)()
			b.ResetTimer()
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			for range parallel {
				if err := <-done; err != nil {
					b.Error(err)
				}
			}
		})
	}
}

// BenchmarkSynchronous is what switching the durability of the one writing
// connection costs: each Ping then follows an Advance.
func BenchmarkSynchronous(b *testing.B) {
	s := openTemp(b)
	for b.Loop() {
		if err := s.w.setLevel(relaxed); err != nil {
			b.Fatal(err)
		}
		if err := s.w.setLevel(durable); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPing(b *testing.B) {
	s := openTemp(b)
	for b.Loop() {
		if err := s.Ping(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is what the store adds to a cold start.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("stored=%d", n), func(b *testing.B) {
			s := openTemp(b)
			fill(b, s, n, 100)
			s.Close()
			defer reportCPU(b)()
			for b.Loop() {
				s, err := Open(ctx, s.path)
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			openTemp(b).Close()
		}
	})
}

// BenchmarkWindowSize reports what a usage window takes on disk for the days
// that it is kept.
func BenchmarkWindowSize(b *testing.B) {
	s := openTemp(b)
	all := fill(b, s, 10, 1)
	size := func() (pages int64) {
		if err := s.reads.QueryRow(`SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&pages); err != nil {
			b.Fatal(err)
		}
		return pages
	}
	before, n := size(), int64(0)
	for b.Loop() {
		var ws []livestream.UsageWindow
		for _, r := range all {
			n++
			ws = append(ws, livestream.UsageWindow{SessionID: r.Session.ID, Kind: livestream.ByMedia,
				Node: "local", Incarnation: "0123456789ab", Window: n, Amount: 500 * time.Millisecond})
		}
		if err := s.Checkpoint(ctx, nil, ws, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size()-before)/float64(n), "B/window")
}
