package ingest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/secret"
	"tally/internal/store/sqlite/sqlitetest"
)

var (
	interleavings = flag.Int("interleavings", 4000, "how many interleavings TestInterleavings tries")
	modelSeed     = flag.Uint64("model-seed", 0, "seed of TestInterleavings and TestChaos; 0: another one each time")
	modelDisk     = flag.Int("model-disk", 200, "one interleaving of that many runs on SQLite, the others in memory")
	modelOnly     = flag.Int("model-only", -1, "try that interleaving of the seed alone, and tell its steps")
)

// seedOf is the seed of a run, which it prints.
func seedOf(t *testing.T) uint64 {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test -run '^%s$' ./internal/ingest -model-seed %d", t.Name(), seed)
	return seed
}

// TestInterleavings drives the manager through random sequences of {publish,
// media, close (clean, lost, silent, bad, fault), stop, enable, disable, reset
// key, start, configure, delete, late checkpoint and late event, kill, SIGTERM}
// with several publishers, and compares it after each step with the reference.
// Nothing happens closer than 5 ms to a timer here; TestChaos is for that.
func TestInterleavings(t *testing.T) {
	seed := seedOf(t)
	var cut, steps atomic.Int64
	var next atomic.Int64
	try := func(t *testing.T, i int) {
		defer func() {
			if v := recover(); v != nil {
				t.Errorf("interleaving %d of seed %d", i, seed)
				panic(v)
			}
		}()
		path := "" // in memory
		if i%*modelDisk == *modelDisk-1 {
			path = sqlitetest.Empty.Path(t)
		}
		synctest.Test(t, func(t *testing.T) {
			x := newExplorer(t, rand.New(rand.NewPCG(seed, uint64(i))), path)
			x.explore()
			steps.Add(int64(len(x.trace)))
			if x.ambiguous {
				cut.Add(1)
			}
			if t.Failed() || *modelOnly >= 0 {
				t.Logf("seed %d, interleaving %d (-model-only %d):\n%s", seed, i, i, strings.Join(x.trace, "\n"))
			}
		})
	}
	if *modelOnly >= 0 {
		try(t, *modelOnly)
		return
	}
	t.Run("all", func(t *testing.T) {
		for w := range 2 {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				for i := int(next.Add(1)) - 1; i < *interleavings && !t.Failed(); i = int(next.Add(1)) - 1 {
					try(t, i)
				}
			})
		}
	})
	t.Logf("%d interleavings of %d steps, %d of them cut short where two times fell together", *interleavings, steps.Load(), cut.Load())
}

// A tape is an output that is playable from its first keyframe on, and notes
// whose frames came.
type tape struct {
	outcome
	x     *explorer
	owner map[int64]int // publisher by epoch
}

var errPackager = errors.New("the packager broke")

func (o *tape) WriteFrame(epoch int64, f media.Frame) error {
	if err := o.check(epoch); err != nil {
		return err
	}
	who := int(f.DTS)
	o.mu.Lock()
	if other, ok := o.owner[epoch]; ok && other != who {
		o.x.fail("frames of publishers %d and %d in epoch %d", other, who, epoch)
	}
	o.owner[epoch] = who
	o.mu.Unlock()
	if f.Payload != nil {
		return errPackager
	}
	return o.outcome.WriteFrame(epoch, f)
}

func (o *tape) over() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.ended }

// An attempt is one publish, from the question to the end of its connection.
type attempt struct {
	who, key int
	reply    chan accepted
	want     answer // "" while the reference has not decided
	wantAt   time.Time
	got      bool
	pub      *Publication // nil: refused, or not answered yet
}

// An explorer is one interleaving: a manager, the reference, and what was done.
type explorer struct {
	t         *testing.T
	rng       *rand.Rand
	store     *witness
	m         *Manager
	id        string
	keys      []secret.String
	outs      []*tape
	ref       reference
	attempts  []*attempt
	points    []point // media of the session, to know what was half a second ago
	session   int     // that points are of
	trace     []string
	ambiguous bool

	mu      sync.Mutex
	already bool // failed: once is enough
}

// A point is one message that counted.
type point struct {
	at     time.Time
	ingest time.Duration // of the session, with it
}

// newExplorer keeps the livestream in memory, or in SQLite at path.
func newExplorer(t *testing.T, rng *rand.Rand, path string) *explorer {
	now := time.Now().UTC()
	l := livestream.Livestream{
		Scope: scope, ID: livestream.NewUUID(), StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		CreatedAt: now, UpdatedAt: now, Settings: livestream.DefaultSettings,
	}
	if rng.IntN(4) == 0 {
		l.MeetingID = livestream.NewUUID()
	}
	x := &explorer{t: t, rng: rng, id: l.ID, keys: []secret.String{l.StreamKey}, store: newWitness(t, l, path)}
	x.ref = reference{now: now, set: l.Settings, meeting: l.MeetingID != ""}
	x.start()
	return x
}

func (x *explorer) start() {
	x.m = New(Config{
		Store: x.store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Open: func(r livestream.Record) Output {
			o := &tape{x: x, owner: map[int64]int{}}
			o.progress = livestream.Progress{MSN: r.Livestream.Run.MSNMark, Discontinuity: r.Livestream.Run.DiscontinuityMark}
			x.outs = append(x.outs, o)
			return o
		},
	})
	if err := x.m.Resume(context.Background()); err != nil {
		x.fail("resume: %v", err)
	}
}

func (x *explorer) fail(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.already {
		x.already = true
		x.t.Errorf("step %d, %v: "+format, append([]any{len(x.trace), time.Since(x.ref.now)}, args...)...)
	}
}

func (x *explorer) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.already || x.ambiguous
}

func (x *explorer) explore() {
	for n := 8 + x.rng.IntN(25); n > 0 && !x.over(); n-- {
		x.step()
		x.settle()
	}
	// Whatever happened: alone, every session ends.
	for n := 0; x.ref.s.open && !x.over(); n++ {
		at, _ := x.ref.next()
		x.note("left alone")
		x.pass(later(at, x.ref.now).Sub(x.ref.now) + time.Second)
		x.settle()
		if n == 4 { // silence, then the window; a takeover before them
			x.fail("the session never ends")
		}
	}
	x.m.Shutdown(context.Background())
	for _, p := range x.store.problems {
		x.fail("%s", p)
	}
}

func (x *explorer) note(format string, args ...any) {
	x.trace = append(x.trace, fmt.Sprintf("%12s  ", x.ref.now.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))+fmt.Sprintf(format, args...))
}

// step does one thing.
func (x *explorer) step() {
	switch n := x.rng.IntN(100); {
	case n < 22:
		x.publish()
	case n < 50:
		x.media()
	case n < 64:
		x.leave()
	case n < 80:
		d := []time.Duration{time.Second, 3 * time.Second, 12 * time.Second, 70 * time.Second}[x.rng.IntN(4)]
		if x.rng.IntN(30) == 0 {
			d = 40 * time.Minute
		}
		x.pass(time.Duration(x.rng.Int64N(int64(d))))
		x.note("so much later")
	case n < 92:
		x.command()
	case n < 96:
		x.note("something late")
		if problem := x.store.late(x.rng.IntN); problem != "" {
			x.fail("%s", problem)
		}
	default:
		x.restart()
	}
	x.pass(time.Duration(x.rng.Int64N(int64(time.Second))))
}

// publish asks with the present key, now and then with an older one.
func (x *explorer) publish() {
	key := len(x.keys) - 1
	if x.rng.IntN(8) == 0 {
		key = x.rng.IntN(len(x.keys))
	}
	if x.boundary() {
		return
	}
	a := &attempt{who: len(x.attempts), key: key, reply: make(chan accepted, 1)}
	x.attempts = append(x.attempts, a)
	m, req := x.m, Request{Key: x.keys[key], Remote: fmt.Sprint(a.who), Encoder: "test"}
	go func() {
		p, err := m.Publish(context.Background(), req)
		a.reply <- accepted{p, err}
	}()
	answer := x.ref.publish(a.who, key)
	x.note("publisher %d comes with key %d: %q", a.who, key, answer)
	if answer != "" {
		a.want, a.wantAt = answer, x.ref.now
	}
}

// boundary reports whether a decision now would turn on milliseconds, which the
// reference does not claim to know; then the interleaving ends here.
func (x *explorer) boundary() bool {
	r, now := &x.ref, x.ref.now
	times := []time.Time{r.refused, r.defended, r.runEnds}
	if r.conn != nil {
		times = append(times, r.conn.heard().Add(2*time.Second))
	}
	for _, c := range []struct {
		list []time.Time
		span time.Duration
	}{{r.takeovers, 30 * time.Second}, {r.failures, 60 * time.Second}} {
		for _, at := range c.list {
			times = append(times, at.Add(c.span))
		}
	}
	for _, at := range times {
		if d := now.Sub(at); !at.IsZero() && d > -2200*time.Millisecond/20 && d < 2200*time.Millisecond/20 {
			x.ambiguous = true
		}
	}
	return x.ambiguous
}

// some is one of the publishers, rather a newer one.
func (x *explorer) some() *attempt {
	if len(x.attempts) == 0 {
		return nil
	}
	i := len(x.attempts) - 1 - x.rng.IntN(min(len(x.attempts), 3))
	if c := x.ref.conn; c != nil && x.rng.IntN(3) > 0 {
		i = c.who
	}
	if x.attempts[i].pub == nil {
		return nil
	}
	return x.attempts[i]
}

// media has one publisher send for a while: whole, without keyframes, or
// nothing that can be used.
func (x *explorer) media() {
	a := x.some()
	if a == nil {
		return
	}
	frame, key := x.rng.IntN(10) > 0, x.rng.IntN(4) > 0
	n := 1 + x.rng.IntN(12)
	gap := []time.Duration{300 * time.Millisecond, time.Second, 2500 * time.Millisecond}[x.rng.IntN(3)]
	x.note("publisher %d sends %d messages, frames %v, keyframe %v", a.who, n, frame, key)
	for ; n > 0 && !x.over(); n-- {
		a.pub.Arrived(1000)
		if frame {
			a.pub.WriteFrame(media.Frame{Track: media.VideoTrack, Key: key, DTS: int64(a.who)})
		}
		x.ref.media(a.who, frame, frame && key, x.said)
		x.counted()
		x.settle()
		x.pass(time.Duration(1 + x.rng.Int64N(int64(gap))))
	}
}

func (x *explorer) leave() {
	a := x.some()
	if a == nil {
		return
	}
	how := []string{"clean", "lost", "lost", "bad", "fault"}[x.rng.IntN(5)]
	x.note("publisher %d leaves: %s", a.who, how)
	switch how {
	case "clean":
		a.pub.Unpublish()
	case "lost":
		a.pub.Lose(io.EOF)
	case "bad":
		a.pub.Fail(livestream.Unparsable("noise"))
	case "fault":
		a.pub.WriteFrame(media.Frame{DTS: int64(a.who), Payload: []byte{1}})
	}
	x.ref.leave(a.who, how)
}

// said is the reference's answer to a held newcomer.
func (x *explorer) said(who int, a answer) {
	x.attempts[who].want, x.attempts[who].wantAt = a, x.ref.now
	x.note("publisher %d was held: %q", who, a)
}

// command is one of the API's.
func (x *explorer) command() {
	ctx := context.Background()
	var err error
	var want bool // whether it must succeed
	n := x.rng.IntN(12)
	switch {
	case x.ref.meeting && x.rng.IntN(3) == 0:
		if x.boundary() {
			return
		}
		_, err = x.m.Start(ctx, x.id)
		want = !x.ref.deleted && x.ref.start()
		x.note("start")
	case n < 3:
		_, err = x.m.Stop(ctx, x.id)
		want = x.ref.stop()
		x.note("stop")
	case n < 5:
		_, err = x.m.Disable(ctx, x.id)
		if want = !x.ref.deleted; want {
			x.ref.disable()
		}
		x.note("disable")
	case n < 8:
		_, err = x.m.Enable(ctx, x.id)
		if want = !x.ref.deleted; want {
			x.ref.enable()
		}
		x.note("enable")
	case n < 9:
		var rec livestream.Record
		rec, err = x.m.ResetKey(ctx, x.id)
		if want = !x.ref.deleted; want {
			x.ref.resetKey()
			x.keys = append(x.keys, rec.Livestream.StreamKey)
		}
		x.note("reset key")
	case n < 11:
		set, c := x.settings()
		_, err = x.m.Configure(ctx, x.id, c)
		if want = !x.ref.deleted; want {
			x.ref.configure(set)
		}
		x.note("configure %+v", set)
	case x.rng.IntN(10) == 0:
		_, err = x.m.Delete(ctx, x.id)
		if want = !x.ref.deleted && !x.ref.s.open; want {
			x.ref.deleted = true
		}
		x.note("delete")
	default:
		return
	}
	if want != (err == nil) {
		x.fail("the command answered %v, want success: %v", err, want)
	}
}

// settings draws some, and the change that brings them about.
func (x *explorer) settings() (livestream.Settings, livestream.Change) {
	set := x.ref.set
	pick := func(secs ...int) time.Duration { return time.Duration(secs[x.rng.IntN(len(secs))]) * time.Second }
	switch x.rng.IntN(5) {
	case 0:
		set.ReconnectWindow = pick(0, 1, 5, 60, 1800)
		return set, livestream.Change{ReconnectWindow: &set.ReconnectWindow}
	case 1:
		set.Damping = pick(0, 5, 30, 300)
		return set, livestream.Change{Damping: &set.Damping}
	case 2:
		set.AwaitEncoder = pick(60, 600, 1800, 24*3600)
		return set, livestream.Change{AwaitEncoder: &set.AwaitEncoder}
	case 3:
		set.EndlistDelay = pick(0, 10, 600)
		return set, livestream.Change{EndlistDelay: &set.EndlistDelay}
	}
	set.Publisher = livestream.Policies[x.rng.IntN(len(livestream.Policies))]
	return set, livestream.Change{Publisher: &set.Publisher}
}

// restart kills the manager, or shuts it down, and starts another.
func (x *explorer) restart() {
	cause := "crash"
	if x.rng.IntN(2) == 0 {
		cause = "shutdown"
	}
	down := []time.Duration{0, 3 * time.Second, 20 * time.Second, 2 * time.Minute}[x.rng.IntN(4)]
	down += time.Duration(x.rng.Int64N(int64(time.Second)))
	if h := x.ref.held; h != nil {
		x.said(h.who, "stopping")
	}
	x.note("%s, down for %v", cause, down)
	if cause == "crash" {
		x.m.kill()
	} else {
		x.m.Shutdown(context.Background())
	}
	if x.ref.s.open {
		x.adopt(cause)
	}
	x.ref.down(cause)
	time.Sleep(down)
	x.start()
	x.ref.boot(time.Now())
}
