// Package fleet holds what Tally says of viewers against the truth: a thousand
// scripted players watch a running server, each keeps a book of what it did, and
// the book's seconds, by the definition of the viewer's tier (design section 4),
// are compared with the server's: per scenario and signed, so that errors of one
// scenario cannot hide those of another, and viewer by viewer.
//
//	go test ./conformance/fleet                     # about 70 players, half a minute
//	make fleet                                      # 1,000 players for a minute
//	go test ./conformance/fleet -only pauses -v     # some scenarios
//
// What is random comes from a seed, which is printed.
package fleet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

var (
	large = flag.Bool("large", false, "1,000 players, for a minute")
	seed  = flag.Uint64("seed", 0, "of all that is random; 0: another one each time")
	only  = flag.String("only", "", "run the scenarios whose name holds this")
)

// A scenario is a number of viewers that do the same things on a livestream of
// their own.
type scenario struct {
	name  string
	tier  string // by which its viewers are to be counted; "": not at all
	few   int    // viewers in the commit run
	many  int    // in the large one
	watch func(v *viewer) error
	// encoder is what the encoder does until ends; nil: it publishes all the time.
	encoder  func(ctx context.Context, st *station, span time.Duration) error
	end      publisher.End
	heavy    bool // media of 24 Mbit/s rather than 0.3
	caches   int  // in front of the server, one behind the other
	based    bool // on a server whose media have another address, that of a cache
	limit    float64
	surprise bool // beacons come without promise: what was counted before rests on media
	// Where the server is killed amid it, what that may cost a viewer, and what
	// it may be counted twice.
	loss, twice time.Duration
}

// scenarios is all of them.
func scenarios() []scenario {
	return slices.Concat(mediaScenarios(), beaconScenarios(), playlistScenarios(), nothingScenarios(), abuseScenarios())
}

// A fleet is one run of all scenarios against one server.
type fleet struct {
	t      *testing.T
	server *server
	based  *server  // with --media-base-url
	caches []*cache // one behind the other
	span   time.Duration
	seed   uint64
	killed time.Time // when the server was; zero: it was not
	light  *flv.Clip
	heavy  *flv.Clip
	runs   []*run

	scenarios []scenario
	neighbour *station // a livestream that nobody watches
}

// A run is one scenario at work.
type run struct {
	scenario
	*station
	n       int
	glances []glance
	told    map[string]time.Duration // viewer seconds of each session, which never fall
}

// A glance is what the API said of those who watch at one time.
type glance struct {
	at      time.Time // of the checkpoint that the answer is of
	session string
	viewers int
}

func TestFleet(t *testing.T) {
	atOnce(t)
	f := newFleet(t, scenarios())
	for i := range 2 {
		c := newCache(t)
		c.upstream = f.server.HTTP
		if i > 0 {
			c.upstream = f.caches[i-1].addr
		}
		f.caches = append(f.caches, c)
	}
	media := newCache(t)
	f.based = serve(t, "--media-base-url", "http://"+media.addr)
	media.upstream = f.based.HTTP
	f.heavy = inflated(f.light, 100_000)
	f.run(nil)
}

// atOnce has a test share its time with others, where there are few players.
func atOnce(t *testing.T) {
	if !*large {
		t.Parallel()
	}
}

func newFleet(t *testing.T, all []scenario) *fleet {
	f := &fleet{t: t, seed: begun(), server: serve(t), span: 20 * time.Second, light: servertest.Clip(t)}
	if *large {
		f.span = 60 * time.Second
	}
	t.Logf("seed %d", f.seed)
	for _, s := range all {
		if strings.Contains(s.name, *only) {
			f.scenarios = append(f.scenarios, s)
		}
	}
	return f
}

// run has everybody watch while meanwhile, which may be nil, is done, and
// compares.
func (f *fleet) run(meanwhile func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(f.t.Context(), f.span+3*time.Minute)
	defer cancel()
	must(f.t, f.prepare(ctx))
	var wg sync.WaitGroup
	if meanwhile != nil {
		wg.Go(func() { meanwhile(ctx) })
	}
	f.watch(ctx)
	wg.Wait()
	f.judge(ctx)
}

// begun is the seed of everything that is random.
var begun = sync.OnceValue(func() uint64 {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	return *seed
})

// prepare creates a livestream for each scenario and has it on air.
func (f *fleet) prepare(ctx context.Context) error {
	var err error
	if f.neighbour, err = newStation(f.server, "neighbour", f.light); err != nil {
		return err
	}
	if err := f.neighbour.air(ctx); err != nil {
		return err
	}
	for _, s := range f.scenarios {
		r := &run{scenario: s, n: s.few, told: map[string]time.Duration{}}
		if *large {
			r.n = s.many
		}
		clip := f.light
		if s.heavy {
			clip = f.heavy
		}
		on := f.server
		if s.based {
			on = f.based
		}
		if r.station, err = newStation(on, s.name, clip); err != nil {
			return err
		}
		r.station.shared = s.based || s.caches > 0
		for i := range s.caches {
			r.via = f.caches[i].addr
		}
		r.neighbour = f.neighbour
		f.runs = append(f.runs, r)
	}
	return f.each(func(r *run) error {
		if err := r.prime(ctx); err != nil {
			return err
		}
		r.station.end = r.scenario.end
		if err := r.air(ctx); err != nil {
			return err
		}
		return r.playable(ctx)
	})
}

// each does something for all runs at the same time.
func (f *fleet) each(do func(r *run) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(f.runs))
	for i, r := range f.runs {
		wg.Go(func() {
			if err := do(r); err != nil {
				errs[i] = fmt.Errorf("%s: %w", r.scenario.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// watch runs all scripts.
func (f *fleet) watch(ctx context.Context) {
	begin := time.Now()
	var wg sync.WaitGroup
	for k, r := range f.runs {
		for i := range r.n {
			wg.Go(func() { r.viewer(ctx, i, rand.New(rand.NewPCG(f.seed, uint64(k*10_000+i))), begin, f.span) })
		}
		if r.encoder != nil {
			wg.Go(func() {
				if err := r.encoder(ctx, r.station, f.span); err != nil {
					r.flaw(fmt.Errorf("encoder: %w", err))
				}
			})
		}
	}
	glancing, stop := context.WithCancel(ctx)
	var looks sync.WaitGroup
	looks.Go(func() { f.glance(glancing) })
	wg.Wait()
	stop()
	looks.Wait()
}

// viewer runs one script.
func (r *run) viewer(ctx context.Context, i int, random *rand.Rand, begin time.Time, span time.Duration) {
	v := &viewer{client: &client{ctx: ctx}, st: r.station, rand: random, i: i, span: span, ends: begin.Add(span)}
	defer v.close()
	if sleep(ctx, time.Second*time.Duration(i)/time.Duration(r.n)) != nil { // not all in one millisecond
		return
	}
	if err := r.scenario.watch(v); err != nil && !errors.Is(err, errOver) {
		r.flaw(fmt.Errorf("player %d: %w", i, err))
	}
	if err := v.settle(); err != nil {
		r.flaw(fmt.Errorf("player %d: at the end: %w", i, err))
	}
}

// glance looks at all sessions once a second.
func (f *fleet) glance(ctx context.Context) {
	for sleep(ctx, time.Second) == nil {
		for _, r := range f.runs {
			s, err := r.active()
			if err != nil || s.ID == "" {
				continue // between two sessions
			}
			r.look(s)
		}
	}
}

// look takes an answer about a session into the run's notes.
func (r *run) look(s session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.glances = append(r.glances, glance{s.UpdatedAt, s.ID, s.Tally.Viewers})
	if now := s.viewed(); now < r.told[s.ID] {
		r.flaws = append(r.flaws, fmt.Errorf("the seconds of session %s fell from %v to %v", s.ID, r.told[s.ID], now))
	} else {
		r.told[s.ID] = now
	}
}
