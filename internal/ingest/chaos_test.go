package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/secret"
)

var chaosRuns = flag.Int("chaos", 300, "how many runs TestChaos makes")

// TestChaos has everything happen at once: three publishers fight for one key,
// the API commands, the store is slow and fails, the process is killed and shut
// down in the midst of it. All times are multiples of 250 ms, so that many
// things fall into one instant and onto timers. No reference could say what
// must come out; what must hold is checked at every write, at every frame, and
// when all have gone. One run of three is over the real packager.
func TestChaos(t *testing.T) {
	seed := seedOf(t)
	var accepts, segments int
	for i := 0; i < *chaosRuns && !t.Failed(); i++ {
		if *modelOnly >= 0 && i != *modelOnly {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			c := newChaos(t, rand.New(rand.NewPCG(seed, uint64(i))), i%3 == 0)
			c.run()
			accepts += len(c.pubs)
			segments += len(c.marks)
		})
		if t.Failed() {
			t.Logf("run %d of seed %d (-model-only %d)", i, seed, i)
		}
	}
	t.Logf("%d runs, %d publishes accepted, %d segments of the packager looked at", *chaosRuns, accepts, segments)
}

// grid is what all times of TestChaos are multiples of.
const grid = 250 * time.Millisecond

type chaos struct {
	t     *testing.T
	store *witness
	id    string
	real  bool // over the packager

	mu       sync.Mutex
	rng      *rand.Rand
	m        *Manager
	registry *hls.Registry
	key      secret.String
	pubs     []*Publication    // accepted, ever
	failing  bool              // the store is
	done     bool              // nothing new begins, and the store is well
	marks    map[string]string // publisher by run and segment
}

func newChaos(t *testing.T, rng *rand.Rand, real bool) *chaos {
	now := time.Now().UTC()
	l := livestream.Livestream{
		Scope: scope, ID: livestream.NewUUID(), StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		CreatedAt: now, UpdatedAt: now, Settings: livestream.DefaultSettings,
	}
	l.Settings.Publisher = livestream.Policies[rng.IntN(3)]
	l.Settings.ReconnectWindow = []time.Duration{0, 5 * time.Second, time.Minute}[rng.IntN(3)]
	l.Settings.Damping = []time.Duration{0, 5 * time.Second}[rng.IntN(2)]
	c := &chaos{t: t, rng: rng, id: l.ID, key: l.StreamKey, real: real, store: newWitness(t, l, ""), marks: map[string]string{}}
	c.store.before = c.hinder
	c.start()
	return c
}

// draw is a random number below n.
func (c *chaos) draw(n int) int { c.mu.Lock(); defer c.mu.Unlock(); return c.rng.IntN(n) }

// pause lets up to most quarter seconds go by.
func (c *chaos) pause(most int) { time.Sleep(time.Duration(c.draw(most+1)) * grid) }

// hinder makes the store slow or fail. A write that a kill finds under way is
// done, or it is not.
func (c *chaos) hinder(ctx context.Context, what string) error {
	if c.draw(4) == 0 && !c.over() {
		select {
		case <-time.After(time.Duration(c.draw(12)) * grid):
		case <-ctx.Done():
			if c.draw(2) == 0 {
				return ctx.Err()
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing {
		return errors.New("disk full")
	}
	return nil
}

func (c *chaos) start() {
	registry := hls.NewRegistry(hls.Config{})
	m := New(Config{
		Store: c.store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Open: func(r livestream.Record) Output {
			if c.real {
				return registry.Open(hls.OpenOptions{PlaybackID: r.Livestream.PlaybackID, SessionID: r.Session.ID,
					Run: r.Livestream.Run, EndlistDelay: r.Livestream.Settings.EndlistDelay})
			}
			return &outcome{progress: livestream.Progress{MSN: r.Livestream.Run.MSNMark, Discontinuity: r.Livestream.Run.DiscontinuityMark}}
		},
	})
	for {
		err := m.Resume(context.Background())
		if err == nil {
			break
		}
		time.Sleep(grid) // the process would not start, and be started again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m, c.registry = m, registry
}

func (c *chaos) manager() *Manager { c.mu.Lock(); defer c.mu.Unlock(); return c.m }
func (c *chaos) over() bool        { c.mu.Lock(); defer c.mu.Unlock(); return c.done }

func (c *chaos) run() {
	var wg sync.WaitGroup
	for who := range 3 {
		wg.Go(func() {
			for !c.over() {
				c.publisher(who)
			}
		})
	}
	wg.Go(func() {
		for !c.over() {
			c.command()
		}
	})
	for range 2 + c.draw(4) {
		time.Sleep(time.Duration(5+c.draw(120)) * grid)
		c.restart()
	}
	c.mu.Lock()
	c.done, c.failing = true, false
	c.mu.Unlock()
	wg.Wait()
	c.alone()
}

// restart kills the process or shuts it down, and starts it again.
func (c *chaos) restart() {
	m := c.manager()
	if c.draw(2) == 0 {
		m.kill()
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		m.Shutdown(ctx)
		cancel()
	}
	c.registry.Close()
	c.pause(80)
	c.start()
}

// command is one of the API's, or the store that begins or ceases to fail.
func (c *chaos) command() {
	c.pause(40)
	m, ctx := c.manager(), context.Background()
	switch c.draw(9) {
	case 0:
		m.Stop(ctx, c.id)
	case 1:
		m.Disable(ctx, c.id)
		c.pause(20)
		fallthrough
	case 2, 3, 4:
		m.Enable(ctx, c.id)
	case 5:
		if rec, err := m.ResetKey(ctx, c.id); err == nil {
			c.mu.Lock()
			c.key = rec.Livestream.StreamKey
			c.mu.Unlock()
		}
	case 6:
		window := time.Duration(c.draw(3)) * 10 * time.Second
		m.Configure(ctx, c.id, livestream.Change{ReconnectWindow: &window})
	case 7, 8:
		c.mu.Lock()
		c.failing = !c.failing && !c.done && c.rng.IntN(3) == 0
		c.mu.Unlock()
	}
}

// publisher comes, sends, and leaves in one way or another.
func (c *chaos) publisher(who int) {
	c.pause(12)
	c.mu.Lock()
	m, key, registry := c.m, c.key, c.registry
	c.mu.Unlock()
	p, err := m.Publish(context.Background(), Request{Key: key, Remote: fmt.Sprint(who)})
	if err != nil {
		return
	}
	c.accepted(p)
	if c.real {
		p.Expect(media.First(true, false))
		p.WriteTrack(chaosTrack)
	}
	dts, keys := int64(0), c.draw(5) > 0
	for n := c.draw(80); n > 0 && p.Context().Err() == nil; n-- {
		newest := c.newest()
		p.Arrived(100)
		err := p.WriteFrame(media.Frame{Track: media.VideoTrack, Key: keys && n%4 == 0, DTS: dts, PTS: dts, Payload: marked(who, keys && n%4 == 0)})
		if err == nil && newest > p.epoch {
			c.t.Errorf("a frame of epoch %d was taken after epoch %d was accepted", p.epoch, newest)
		}
		if c.real {
			c.look(registry)
		}
		time.Sleep(grid)
		dts += int64(grid/time.Millisecond) * 90
	}
	switch c.draw(5) {
	case 0, 1:
		p.Unpublish()
	case 2:
		p.Lose(io.EOF)
	case 3:
		p.Fail(livestream.Unparsable("noise"))
	default: // the socket stays open and silent until it is cut
		<-p.Context().Done()
	}
	p.Lose(io.EOF)
}

// accepted: from now on nobody else is.
func (c *chaos) accepted(p *Publication) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.pubs {
		if other.Context().Err() == nil && other.epoch < p.epoch {
			c.t.Errorf("epoch %d is accepted while %d is", p.epoch, other.epoch)
		}
	}
	c.pubs = append(c.pubs, p)
}

func (c *chaos) newest() (epoch int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pubs {
		epoch = max(epoch, p.epoch)
	}
	return epoch
}

// chaosTrack is x264's, 1280x720 at 30 fps.
var chaosTrack = func() media.Track {
	config, err := hex.DecodeString("0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800")
	if err != nil {
		panic(err)
	}
	t, err := media.H264Track(config)
	if err != nil {
		panic(err)
	}
	t.FrameRate = 4
	return t
}()

// marked is a picture that says whose it is.
func marked(who int, key bool) []byte {
	nal := append([]byte{0x41}, fmt.Sprintf("<publisher %d>", who)...)
	if key {
		nal[0] = 0x65
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(nal))), nal...)
}

var mark = regexp.MustCompile(`<publisher \d>`)

// look checks every segment that is complete: all of it is one publisher's.
func (c *chaos) look(registry *hls.Registry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.store.read().Livestream
	s := registry.Stream(l.PlaybackID)
	if s == nil {
		return
	}
	snap := s.Window().Current()
	for msn := snap.LastMSN; msn >= snap.FirstMSN && msn > 0; msn-- {
		name := fmt.Sprint(s.RunID(), " ", msn)
		if _, ok := c.marks[name]; ok {
			break
		}
		for epoch := snap.Epoch; epoch > 0; epoch-- {
			seg := snap.Segment(epoch, msn)
			if seg == nil {
				continue
			}
			var whose []byte
			for _, p := range seg.Parts {
				for _, b := range mark.FindAll(append(bytes.Clone(p.Data), p.Tail...), -1) {
					if whose != nil && !bytes.Equal(whose, b) {
						c.t.Errorf("segment %d has frames of %s and %s", msn, whose, b)
					}
					whose = b
				}
			}
			c.marks[name] = string(whose)
		}
	}
}

// alone: nobody publishes any more and the store is well, so all must end.
func (c *chaos) alone() {
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	if s := c.store.read().Session; s.Phase.Open() {
		c.t.Errorf("the session is %s two minutes after everybody left, deadline %v", s.Phase, s.Deadline)
	}
	for _, p := range c.pubs {
		if p.Context().Err() == nil {
			c.t.Errorf("the publication of epoch %d was never cut", p.epoch)
		}
	}
	if n := len(c.m.all()); n > 0 {
		for _, a := range c.m.all() {
			c.t.Errorf("an actor is left: %s of %q, holders %d, inbox %d, held %d, stopping %v, deadline %v", a.rec.Session.Phase, a.rec.Session.ID, a.holders, len(a.inbox), len(a.held), a.stopping, a.rec.Session.Deadline)
		}
	}
	for _, problem := range c.store.problems {
		c.t.Error(problem)
	}
	c.m.Shutdown(context.Background())
	c.registry.Close()
	time.Sleep(time.Minute)
}
