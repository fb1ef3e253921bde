package ingest

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/store/sqlite/sqlitetest"
)

var dayOnDisk = flag.Bool("day-on-disk", false, "TestDay keeps its livestream in SQLite")

// TestDay is 24 h with a reconnect each 30 s over the real packager: 2,880 of
// them, by turns a lost connection, a takeover of one that fell silent, and a
// restart of the server, killed or stopped. It stays one session, its seconds
// are those of a ledger to the millisecond, the timeline tells each transition
// once, memory does not grow, and numbers only rise.
func TestDay(t *testing.T) {
	path := ""
	if *dayOnDisk {
		path = sqlitetest.Empty.Path(t)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t, path)
		for time.Since(d.began) < 24*time.Hour {
			d.send(26 * time.Second)
			d.check()
			d.reconnect()
			if d.reconnects == 360 {
				d.heap = heap()
			}
		}
		d.send(2 * time.Second)
		d.check()
		d.end()
	})
}

// heap is what is in use, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

type day struct {
	t        *testing.T
	store    *witness
	l        livestream.Livestream
	m        *Manager
	registry *hls.Registry
	p        *Publication
	began    time.Time

	ledger     time.Duration // received, by the test's own clock
	last       time.Time     // last media
	dts        int64
	want       map[string]int // facts by kind
	reconnects int
	msn        int64 // of the newest segment ever listed
	disc       int64
	heap       uint64 // early in the day
}

func newDay(t *testing.T, path string) *day {
	now := time.Now().UTC()
	d := &day{t: t, began: time.Now(), want: map[string]int{}, l: livestream.Livestream{
		Scope: scope, ID: livestream.NewUUID(), StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		CreatedAt: now, UpdatedAt: now, Settings: livestream.DefaultSettings,
	}}
	d.store = newWitness(t, d.l, path)
	if m, ok := d.store.Store.(*memory); ok {
		m.facts = map[string]int{}
	}
	d.start()
	d.publish()
	return d
}

func (d *day) start() {
	registry := hls.NewRegistry(hls.Config{})
	d.registry = registry
	d.m = New(Config{
		Store: d.store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Open: func(r livestream.Record) Output {
			return registry.Open(hls.OpenOptions{PlaybackID: r.Livestream.PlaybackID, SessionID: r.Session.ID, Run: r.Livestream.Run})
		},
	})
	if err := d.m.Resume(context.Background()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *day) publish() {
	p, err := d.m.Publish(context.Background(), Request{Key: d.l.StreamKey, Remote: "192.0.2.1:5000", Encoder: "test"})
	if err != nil {
		d.t.Fatal(err)
	}
	p.Expect(media.First(true, false))
	track := chaosTrack
	track.FrameRate = 1 / 1.5
	if err := p.WriteTrack(track); err != nil {
		d.t.Fatal(err)
	}
	d.p, d.dts, d.last = p, 0, time.Time{}
	d.want["publish"]++
	time.Sleep(10 * time.Millisecond)
}

// send delivers a picture each 1.5 s, every other one a keyframe.
func (d *day) send(length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(1500 * time.Millisecond) {
		d.p.Arrived(100)
		if now := time.Now(); !d.last.IsZero() {
			d.ledger += now.Sub(d.last)
		}
		d.last = time.Now()
		key := d.dts%(2*135_000) == 0
		if err := d.p.WriteFrame(media.Frame{Track: media.VideoTrack, Key: key, DTS: d.dts, PTS: d.dts, Payload: marked(0, key)}); err != nil {
			d.t.Fatal(err)
		}
		d.dts += 135_000
	}
}

// reconnect takes 3 to 4 s.
func (d *day) reconnect() {
	old := d.p
	switch d.reconnects % 3 {
	case 0: // the connection is lost
		old.Lose(io.EOF)
		d.want["lose"]++
		time.Sleep(3 * time.Second)
	case 1: // a new connection while the old one is open and silent
		time.Sleep(time.Second)
	case 2:
		time.Sleep(time.Second) // all of it is in a checkpoint
		if d.reconnects%2 == 0 {
			d.m.kill()
		} else {
			d.m.Shutdown(context.Background())
			d.want["shutdown"]++
		}
		d.registry.Close()
		time.Sleep(2 * time.Second)
		d.start()
		d.want["boot"]++
	}
	d.reconnects++
	d.publish()
	if old.Context().Err() == nil {
		d.t.Fatal("the old connection is open")
	}
	old.Lose(io.EOF) // late, and of no interest
}

// check holds what is stored and listed against the ledger.
func (d *day) check() {
	synctest.Wait()
	d.want["playable"] = 1
	rec := d.store.read()
	if s := rec.Session; s.Phase != livestream.OnAir || len(d.store.sessions) != 1 || len(d.store.runs) != 1 {
		d.t.Fatalf("after %v: %s, %d sessions, %d runs", time.Since(d.began), s.Phase, len(d.store.sessions), len(d.store.runs))
	} else if s.Ingest > d.ledger || s.Ingest < d.ledger-time.Second-time.Duration(d.reconnects)*time.Millisecond {
		d.t.Fatalf("after %v: ingest %v, the ledger has %v", time.Since(d.began), s.Ingest, d.ledger)
	}
	snap := d.registry.Stream(d.l.PlaybackID).Window().Current()
	p := d.registry.Stream(d.l.PlaybackID)
	if snap.LastMSN <= d.msn || snap.LastMSN > rec.Livestream.Run.MSNMark || p.Stage() != livestream.StageLive {
		d.t.Fatalf("after %v: segment %d is listed after %d, the mark is %d", time.Since(d.began), snap.LastMSN, d.msn, rec.Livestream.Run.MSNMark)
	}
	if disc := rec.Livestream.Run.DiscontinuityMark; d.reconnects > 0 && disc < d.disc+1 {
		d.t.Fatalf("after %v: the mark of discontinuities is %d after %d", time.Since(d.began), disc, d.disc)
	}
	d.msn, d.disc = snap.LastMSN, rec.Livestream.Run.DiscontinuityMark
}

func (d *day) end() {
	if grown := int64(heap()) - int64(d.heap); grown > 512<<10 {
		d.t.Errorf("memory grew by %d KB since the first hours", grown>>10)
	}
	d.p.Unpublish()
	d.want["unpublish"]++
	synctest.Wait()
	s := d.store.read().Session
	if diff := d.ledger - s.Ingest; diff < 0 || diff > time.Millisecond {
		d.t.Errorf("ingest %v, the ledger has %v", s.Ingest, d.ledger)
	}
	if s.StoppedAt.Sub(s.InvokedAt) < 24*time.Hour || s.Epoch != int64(d.want["publish"]) || d.reconnects < 2850 {
		d.t.Errorf("a day of %v, epoch %d, %d reconnects", s.StoppedAt.Sub(s.InvokedAt), s.Epoch, d.reconnects)
	}
	for _, p := range d.store.problems {
		d.t.Error(p)
	}
	d.timeline(s)
	d.m.Shutdown(context.Background())
	d.registry.Close()
	d.t.Logf("%d reconnects, %v of media, %d segments, %d facts", d.reconnects, s.Ingest, d.msn, total(d.want))
}

// timeline: each transition once, and nothing else that would make it grow.
func (d *day) timeline(s livestream.Session) {
	got := map[string]int{}
	switch store := d.store.Store.(type) {
	case *memory:
		got = store.facts
	case livestream.Store:
		for n := 1; ; n++ {
			facts, _, err := store.Timeline(context.Background(), s.ID, livestream.Page{Number: n, Size: 100})
			if err != nil {
				d.t.Fatal(err)
			}
			if len(facts) == 0 {
				break
			}
			for _, f := range facts {
				if _, ok := d.want[f.Kind]; ok {
					got[f.Kind]++
				}
			}
		}
	}
	for kind, n := range d.want {
		if got[kind] != n {
			d.t.Errorf("the timeline has %d of %s, want %d", got[kind], kind, n)
		}
	}
	if total(got) != total(d.want) {
		d.t.Errorf("the timeline has %v, want %v", got, d.want)
	}
}

func total(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}
