package loopback

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/rtmp"
)

var (
	races    = flag.Int("races", 240, "how many races of two publishers TestRaces runs")
	raceKeys = flag.Int("race-keys", 12, "on how many keys at once")
)

// TestRaces has two publishers race for one key, again and again, in each
// policy: never are two accepted at once, never has a segment frames of both,
// and whoever is refused hears so before Start.
func TestRaces(t *testing.T) {
	seed := seedOf(t)
	w := newWorld(t, hls.Config{})
	var left atomic.Int64
	left.Store(int64(*races))
	var wg sync.WaitGroup
	var won, lost, segments, found atomic.Int64
	for k := range *raceKeys {
		wg.Go(func() {
			r := newTrack(w, rand.New(rand.NewPCG(seed, uint64(k))))
			for left.Add(-1) >= 0 && !t.Failed() {
				r.race()
			}
			if _, err := w.manager.Disable(t.Context(), r.l.ID); err != nil {
				t.Error(err)
			}
			r.look()
			won.Add(r.won.Load())
			lost.Add(r.lost.Load())
			for _, marked := range r.seen {
				if segments.Add(1); marked {
					found.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() < int64(*races) || lost.Load() == 0 || found.Load() < int64(*races)/2 {
		t.Errorf("these were no races")
	}
	t.Logf("%d races on %d keys: %d publishes accepted, %d refused, %d segments, %d of them with marks, none with two", *races, *raceKeys, won.Load(), lost.Load(), segments.Load(), found.Load())
}

// A track is where races on one key are run.
type track struct {
	w         *world
	l         livestream.Livestream
	rng       *rand.Rand // of the starter; racers get seeds
	n         int
	won, lost atomic.Int64
	seen      map[string]bool // segments by run and name; whether a publisher's mark was found
}

func newTrack(w *world, rng *rand.Rand) *track {
	l := w.livestream(func(l *livestream.Livestream) {
		l.Settings.Damping = 0 // or most races would be refused
		l.Settings.ReconnectWindow = []time.Duration{0, time.Second, time.Minute}[rng.IntN(3)]
		l.Settings.Publisher = livestream.Policies[rng.IntN(3)]
		l.Settings.EndlistDelay = time.Minute
	})
	return &track{w: w, l: l, rng: rng, seen: map[string]bool{}}
}

func (r *track) race() {
	var wg sync.WaitGroup
	for range 2 {
		r.n++
		whose, rng := fmt.Sprint(r.n), rand.New(rand.NewPCG(r.rng.Uint64(), 0))
		wg.Go(func() { r.racer(whose, rng) })
	}
	wg.Wait()
	r.look()
}

// racer comes, sends for a moment, and leaves in one way or another.
func (r *track) racer(whose string, rng *rand.Rand) {
	time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	c, err := r.w.dial(r.l)
	if err != nil {
		if s := said(err); s.Level != rtmp.LevelError || s.Code != rtmp.PublishBadName && s.Code != rtmp.PublishDenied {
			r.w.Errorf("refused with %v", err)
		}
		r.lost.Add(1)
		return
	}
	r.won.Add(1)
	n := 1 + rng.IntN(60)
	err = header(c)
	if err == nil {
		err = send(c, whose, 0, n, time.Duration(1+rng.IntN(3))*time.Millisecond)
	}
	switch {
	case err != nil: // replaced
		c.Close()
	case rng.IntN(3) == 0:
		c.Unpublish()
	case rng.IntN(2) == 0:
		c.Close()
	default:
		c.Reset()
	}
}

var mark = regexp.MustCompile(`<publisher \d+>`)

// look checks every segment that is complete and was not looked at: all of it
// is one publisher's.
func (r *track) look() {
	run := r.w.registry.Stream(r.l.PlaybackID)
	if run == nil {
		return
	}
	snap := run.Window().Current()
	for _, line := range strings.Split(string(text(snap)), "\n") {
		var epoch, msn int64
		name := run.RunID() + " " + line
		_, looked := r.seen[name]
		if n, _ := fmt.Sscanf(line, "seg-%d-%d.m4s", &epoch, &msn); n != 2 || looked {
			continue
		}
		r.seen[name] = false
		seg := snap.Segment(epoch, msn)
		if seg == nil {
			r.w.Errorf("%s is listed and not there", line)
			continue
		}
		var whose []byte
		for _, p := range seg.Parts {
			for _, b := range mark.FindAll(append(bytes.Clone(p.Data), p.Tail...), -1) {
				if whose != nil && !bytes.Equal(whose, b) {
					r.w.Errorf("%s has frames of %s and %s", line, whose, b)
				}
				whose, r.seen[name] = b, true
			}
		}
	}
}

func text(s *hls.Snapshot) []byte {
	if b := s.Playlist(false, false); b != nil {
		return b.Data
	}
	return nil
}
