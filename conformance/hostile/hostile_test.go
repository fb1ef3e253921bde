// Package hostile has encoders that no encoder should be like publish over real
// RTMP to the built binary, one kind after another, beside one healthy broadcast
// that a strict player watches. Each ends as docs/states.md and the list of
// err_message codes say, takes no more memory than a stream may, and leaves the
// healthy one's parts in time. `make hostile` keeps each at it for longer.
package hostile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/rtmp"
	"tally/internal/rtmp/publisher"
	"tally/internal/secret"
	"tally/internal/servertest"
)

var long = flag.Bool("long", false, "each kind for ten seconds, not most of one")

func TestMain(m *testing.M) { servertest.Main(m) }

// A stream's own memory: the ring, its slices and snapshots (design 5: ring bytes
// x 1.3 + 1 MB), and the messages under way; as much again until the garbage is
// collected.
const (
	ring      = 64 << 20
	perStream = ring*13/10 + 1<<20 + 2*16<<20
)

// A kind is one way of being hostile.
type kind struct {
	name string
	// send publishes until the server ends it, or until told to stop.
	send func(p *publish)
	// ends are the codes that its session may end with; "" is none: it is taken
	// for what it is, or left out.
	ends []string
}

// Hostile encoders one after another, each on a livestream of its own; one that
// sends no keyframe all the while.
func TestHostile(t *testing.T) {
	s := servertest.Start(t)
	healthy := newHealthy(t, s)
	healthy.during("nothing beside it", func() { time.Sleep(2 * time.Second) })
	var never sync.WaitGroup
	never.Go(func() { keyless.attack(t, s, 12*time.Second, nil) })
	for i := range kinds {
		k := &kinds[i]
		length := 400 * time.Millisecond
		if *long {
			length = 10 * time.Second
		}
		before := memory(t, s)
		var most int64
		sent.Store(0)
		lateness := healthy.during(k.name, func() { k.attack(t, s, length, func() { most = max(most, memory(t, s)) }) })
		t.Logf("%-45s %6d pictures and messages, +%3d MB resident, the healthy parts are late by %v", k.name, sent.Load(), (most-before)>>20, lateness)
		if most-before > 2*perStream {
			t.Errorf("%s: %d MB more are resident, a stream's own are %d", k.name, (most-before)>>20, perStream>>20)
		}
	}
	never.Wait()
	healthy.done()
}

// sent counts what the present kind has sent.
var sent atomic.Int64

// attack publishes a livestream's worth of it, and looks how it ended.
func (k *kind) attack(t *testing.T, s *servertest.Server, length time.Duration, look func()) {
	b := s.Create(t, map[string]any{"reconnect_window_seconds": 0, "endlist_delay_seconds": 0, "damping_seconds": 0})
	ctx, stop := context.WithTimeout(context.Background(), length)
	defer stop()
	if err := k.publish(ctx, b, look); err != nil {
		t.Errorf("%s: %v", k.name, err)
		return
	}
	var last servertest.Session
	servertest.Eventually(t, k.name+": the session's end", 20*time.Second, func() bool {
		_, list := b.Detail()
		if len(list) == 1 {
			last = list[0]
		}
		return last.StoppedTime != nil || last.ErrMessage != nil && last.Code() != "RECONNECTING"
	})
	if !slices.Contains(k.ends, last.Code()) {
		message := ""
		if last.ErrMessage != nil {
			message = *last.ErrMessage
		}
		t.Errorf("%s ended with %q, want one of %q: %s", k.name, last.Code(), k.ends, message)
	}
	t.Logf("%-45s ended with %q", k.name, last.Code())
}

// publish connects and sends until ctx ends or the server ends it.
func (k *kind) publish(ctx context.Context, b *servertest.Broadcast, look func()) error {
	dial, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	c, err := rtmp.Publish(dial, rtmp.Target{Host: b.RTMP, App: "live", Key: secret.New(b.Key)}, rtmp.Dial{})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for look != nil {
			look()
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	k.send(&publish{ctx: ctx, c: c})
	if look != nil {
		look()
	}
	select {
	case <-c.Done():
		c.Close()
	default:
		err = c.Unpublish() // the server may end it meanwhile
		_ = err
	}
	<-watched
	return nil
}

// memory is what is resident of the server, in bytes.
func memory(t *testing.T, s *servertest.Server) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process().Pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	line, _, _ := strings.Cut(rest, "kB")
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return n << 10
}

// healthy is a broadcast that deserves none of this.
type healthy struct {
	t     *testing.T
	enc   *servertest.Encoder
	stop  context.CancelFunc
	ended chan struct{}

	mu   sync.Mutex
	late []time.Duration // of each part since the last look
	idle spread          // with nothing beside it
	told bool
}

// partTarget is PART-TARGET of the healthy broadcast.
const partTarget = 335 * time.Millisecond

func newHealthy(t *testing.T, s *servertest.Server) *healthy {
	b := s.Create(t, nil)
	h := &healthy{t: t, ended: make(chan struct{})}
	h.enc = b.Publish(publisher.Clean, func(o *publisher.Options) { o.Stamp = true })
	b.AwaitState("live", 20*time.Second)
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	started := make(chan struct{})
	var once sync.Once
	p := player.New(player.Options{URL: b.PlaybackURL, LowLatency: true, Check: true, OnPart: func(p player.PartInfo) {
		once.Do(func() { close(started) })
		var last time.Time
		for stamp := range publisher.Stamps(p.Body) {
			last = stamp.Sent
		}
		if last.IsZero() {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.late = append(h.late, p.Arrived.Sub(last))
	}})
	go func() {
		defer close(h.ended)
		stats, err := p.Run(ctx)
		if err != nil && !errors.Is(err, player.ErrViolations) {
			t.Errorf("the healthy broadcast: %v", err)
		}
		for _, v := range stats.Violations {
			t.Errorf("the healthy broadcast: %v", v)
		}
	}()
	<-started
	return h
}

// spread is how late parts were, from their last frame's sending to their last
// byte at the player.
type spread struct{ median, p95, most time.Duration }

func (s spread) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }
	return fmt.Sprintf("%s / %s / %s ms (median, 95 %%, most)", ms(s.median), ms(s.p95), ms(s.most))
}

// during returns how late parts were while f ran. Most must be there within one
// part target, net of what the machine took when there was nothing beside: how
// many, on a machine that other tests share, says the log.
func (h *healthy) during(what string, f func()) spread {
	h.mu.Lock()
	h.late = nil
	h.mu.Unlock()
	f()
	time.Sleep(partTarget) // the part that was under way
	h.mu.Lock()
	late := slices.Clone(h.late)
	h.mu.Unlock()
	if len(late) == 0 {
		h.t.Errorf("%s: the healthy broadcast stands still", what)
		return spread{}
	}
	slices.Sort(late)
	s := spread{late[len(late)/2], late[len(late)*95/100], late[len(late)-1]}
	if !h.told {
		h.told, h.idle = true, s
		h.t.Logf("%-45s the healthy parts are late by %v", what, s)
	}
	if s.median > partTarget+3*h.idle.p95 {
		h.t.Errorf("%s: the healthy parts are late by %v, one part target is %v", what, s, partTarget)
	}
	return s
}

func (h *healthy) done() {
	h.stop()
	<-h.ended
	h.enc.Leave()
}
