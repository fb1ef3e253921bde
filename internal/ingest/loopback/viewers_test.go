package loopback

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/player"
	"tally/internal/livestream"
	"tally/internal/rtmp"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// TestViewersOfTwoEncoders: while a healthy publisher is defended its viewers
// notice nothing; when it is taken over from, each sees one DISCONTINUITY and
// goes on. The players check everything they fetch by the rules of HLS.
func TestViewersOfTwoEncoders(t *testing.T) {
	t.Parallel()
	clip := loadClip(t)
	var wg sync.WaitGroup
	for _, c := range []struct {
		name   string
		policy livestream.Policy
		freeze bool // the first falls silent, with an open connection
		cuts   int64
	}{
		{"defended", livestream.ReplaceIfStale, false, 0},
		{"rejected", livestream.Reject, false, 0},
		{"stale", livestream.ReplaceIfStale, true, 1},
		{"replaced", livestream.Replace, false, 1},
	} {
		wg.Go(func() {
			w := newWorld(t, hls.Config{})
			l := w.livestream(func(l *livestream.Livestream) { l.Settings.Publisher = c.policy })
			first := w.encode(l, clip)
			w.until(l, "LIVE", 10*time.Second)
			watching := w.watch(l, 3)
			watching.reach(3)
			if c.freeze {
				first.freeze()
			}
			second := w.encode(l, clip)
			if c.cuts == 0 {
				if s := said(<-second.ended); s.Code != rtmp.PublishBadName {
					t.Errorf("%s: the newcomer got %+v, want BadName", c.name, s)
				}
			}
			watching.reach(w.registry.Stream(l.PlaybackID).Window().Current().LastMSN + 3)
			if s := w.session(l); wire(s) != "LIVE" || s.Epoch != 1+c.cuts {
				t.Errorf("%s: %s, epoch %d", c.name, wire(s), s.Epoch)
			}
			for i, s := range watching.stop() {
				if s.Discontinuities != c.cuts || s.Jumps+s.Gaps+s.Errors > 0 || s.Held > 0 || len(s.Violations) > 0 {
					t.Errorf("%s: player %d saw %d discontinuities, %d jumps, %d gaps, %d errors (%s), %v of a held picture, %v, up to segment %d",
						c.name, i, s.Discontinuities, s.Jumps, s.Gaps, s.Errors, s.LastError, s.Held, s.Violations, s.LastMSN)
				}
				t.Logf("%s: player %d played %v, %d stalls of %v, %d discontinuities", c.name, i, s.Played.Round(time.Millisecond), s.Stalls, s.StallTime, s.Discontinuities)
			}
			first.stop()
			second.stop()
		})
	}
	wg.Wait()
}

const clipFile = "../../rtmp/testdata/bframes.flv"

func loadClip(t *testing.T) *flv.Clip {
	t.Helper()
	f, err := os.Open(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := flv.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An encoder plays the clip for ever in real time.
type encoder struct {
	ended  chan error // has one value, when it has ended
	stop   func()
	frozen chan struct{}
	freeze func()
}

func (w *world) encode(l livestream.Livestream, clip *flv.Clip) *encoder {
	ctx, cancel := context.WithCancel(context.Background())
	e := &encoder{ended: make(chan error, 1), frozen: make(chan struct{})}
	e.freeze = sync.OnceFunc(func() { close(e.frozen) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.ended <- publisher.Run(ctx, publisher.Options{
			URL: "rtmp://" + w.addr + "/live/" + l.StreamKey.Reveal(), Speed: 1, End: publisher.Cut,
			Source: &freezer{Source: publisher.FromClip(clip, true), frozen: e.frozen, ctx: ctx},
		})
	}()
	e.stop = func() {
		cancel()
		<-done
	}
	return e
}

// A freezer is a source that stops while its connection stays open.
type freezer struct {
	publisher.Source
	frozen chan struct{}
	ctx    context.Context
}

func (f *freezer) Next() (flv.Tag, error) {
	select {
	case <-f.frozen:
		<-f.ctx.Done()
	default:
	}
	return f.Source.Next()
}

// An audience is players of one livestream.
type audience struct {
	*world
	players []*player.Player
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// watch starts n low-latency players and a plain one.
func (w *world) watch(l livestream.Livestream, n int) *audience {
	ctx, cancel := context.WithCancel(context.Background())
	a := &audience{world: w, cancel: cancel}
	for i := range n + 1 {
		p := player.New(player.Options{URL: w.web.URL + "/hls/" + l.PlaybackID + "/index.m3u8", LowLatency: i < n, Check: true})
		a.players = append(a.players, p)
		a.wg.Go(func() {
			if _, err := p.Run(ctx); err != nil && !errors.Is(err, player.ErrViolations) {
				w.Errorf("player %d: %v", i, err)
			}
		})
	}
	return a
}

// reach waits until every player has fetched of that segment.
func (a *audience) reach(msn int64) {
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		least := msn
		for _, p := range a.players {
			least = min(least, p.Stats().LastMSN)
		}
		if least == msn {
			return
		}
		if time.Now().After(deadline) {
			a.Errorf("a player is at segment %d after 40 s, want %d", least, msn)
			return
		}
	}
}

// stop ends the players and says how it went.
func (a *audience) stop() (all []player.Stats) {
	a.cancel()
	a.wg.Wait()
	for _, p := range a.players {
		all = append(all, p.Stats())
	}
	return all
}
