// Command bench measures Tally on one machine and prints ratios: the server
// under test beside the bare server, a net/http server that hands out the same
// prepared bytes with blocking reload and does nothing else. Both run as
// processes of their own, and so does the load generator, which is this one;
// what a server takes is read from /proc. The servers take turns in one run, so
// that noise hits both.
//
//	go run ./bench                      everything, about ten minutes
//	go run ./bench --short              everything, small and quick: does it work?
//	go run ./bench players --players 1,500,1000
//
// All load stays on the loopback interface. Figures of one machine stand in
// docs/performance.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// bareCommand makes this program the bare server.
const bareCommand = "bare-server"

// options are the command line.
type options struct {
	Scenarios   []string      `arg:"" optional:"" placeholder:"SCENARIO" help:"${scenarios}. Default: all."`
	Short       bool          `help:"Few players, publishers and seconds: shows that the bench works, not how fast anything is."`
	Players     []int         `placeholder:"N" help:"Sizes of the audience (1,500; the design also names 1000 and 2000)."`
	Publishers  []int         `placeholder:"N" help:"Numbers of publishers (1,50,200)."`
	Livestreams []int         `placeholder:"N" help:"Livestreams stored when the API is measured (1,1000,100000)."`
	Waiters     int           `placeholder:"N" help:"Requests that wait at once (8000)."`
	Publishes   int           `placeholder:"N" help:"Short publishes one after another (40000)."`
	Rounds      int           `placeholder:"N" help:"How often the two servers take turns (3)."`
	Phase       time.Duration `placeholder:"TIME" help:"How long one turn lasts (10s)."`
	JSON        string        `name:"json" placeholder:"FILE" help:"Also write the figures there."`
	Profile     string        `placeholder:"DIR" help:"Also save profiles of the server under test there: CPU, and of churn the heap."`
	Clip        string        `placeholder:"FILE" help:"FLV to publish instead of one that ffmpeg makes."`
	Binary      string        `placeholder:"FILE" help:"Server to test instead of one that is built now."`
	Nginx       string        `placeholder:"FILE" help:"nginx to compare ingest with (found by itself where installed)."`
	NginxModule string        `placeholder:"FILE" help:"Its RTMP module, ngx_rtmp_module.so."`
}

// fill gives unset options their defaults.
func (o *options) fill() {
	full, short := options{
		Players: []int{1, 500}, Publishers: []int{1, 50, 200}, Livestreams: []int{1, 1000, 100_000},
		Waiters: 8000, Publishes: 40_000, Rounds: 3, Phase: 10 * time.Second,
	}, options{
		Players: []int{1, 20}, Publishers: []int{1, 5}, Livestreams: []int{1, 20},
		Waiters: 200, Publishes: 400, Rounds: 1, Phase: 4 * time.Second,
	}
	d := full
	if o.Short {
		d = short
	}
	if len(o.Players) == 0 {
		o.Players = d.Players
	}
	if len(o.Publishers) == 0 {
		o.Publishers = d.Publishers
	}
	if len(o.Livestreams) == 0 {
		o.Livestreams = d.Livestreams
	}
	if o.Waiters == 0 {
		o.Waiters = d.Waiters
	}
	if o.Publishes == 0 {
		o.Publishes = d.Publishes
	}
	if o.Rounds == 0 {
		o.Rounds = d.Rounds
	}
	if o.Phase == 0 {
		o.Phase = d.Phase
	}
}

// A scenario measures one thing and adds its rows to the report.
type scenario struct {
	name, what string
	run        func(*bench, context.Context) error
}

var scenarios = []scenario{
	{"start", "cold start, idle memory, size of the binary", (*bench).start},
	{"first", "first RTMP byte to first playable media", (*bench).first},
	{"players", "latency and CPU with players", (*bench).audiences},
	{"tls", "the same over TLS and HTTP/2", (*bench).overTLS},
	{"plain", "CPU with players of whole segments", (*bench).plain},
	{"glass", "what a person sees in Chromium: glass to glass, page to first picture", (*bench).glass},
	{"link", "the same over 80 ms and 6 Mbit/s", (*bench).link},
	{"publishers", "CPU and memory with publishers", (*bench).publishers},
	{"churn", "memory over many short publishes", (*bench).churn},
	{"api", "requests per second of active-livestream-session", (*bench).api},
	{"writes", "latency of reads while livestreams are written", (*bench).writes},
	{"waiters", "memory of waiting reloads, and what is left of them when all leave at once", (*bench).waiters},
}

// A bench is one run of the program.
type bench struct {
	options
	*report
	dir    string // temporary, removed at the end
	binary string
	clip   string
}

func main() {
	if len(os.Args) >= 2 && os.Args[1] == bareCommand {
		if err := runBare(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench: bare server:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		names[i] = s.name + " (" + s.what + ")"
	}
	kong.Parse(&o, kong.Name("bench"), kong.Description("Measures Tally beside a bare server on this machine."),
		kong.Vars{"scenarios": strings.Join(names, ", ")})
	o.fill()
	debug.SetGCPercent(400) // of the generator only: its collector takes from the cores that are measured
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures what was asked for. What was measured is printed also when a
// scenario fails; the others still run.
func run(ctx context.Context, o options) error {
	for _, name := range o.Scenarios {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			return fmt.Errorf("no scenario %q; see --help", name)
		}
	}
	b := &bench{options: o, report: &report{progress: os.Stderr, began: time.Now()}}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	var errs []error
	for _, s := range scenarios {
		if len(o.Scenarios) > 0 && !slices.Contains(o.Scenarios, s.name) || ctx.Err() != nil {
			continue
		}
		b.say("%s: %s", s.name, s.what)
		if err := b.quietly(ctx, s); err != nil {
			b.say("%s: %v", s.name, err)
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	fmt.Printf("%s\n", machine())
	if err := b.table(os.Stdout); err != nil {
		return err
	}
	if o.JSON != "" {
		errs = append(errs, b.save(o.JSON, os.Args[1:]))
	}
	return errors.Join(append(errs, context.Cause(ctx))...)
}

// quietly runs a scenario and says how quiet the machine was meanwhile.
func (b *bench) quietly(ctx context.Context, s scenario) error {
	n, err := startNoise()
	if err != nil {
		return err
	}
	if err := s.run(b, ctx); err != nil {
		return err
	}
	others, err := n.percent()
	b.add(row{Scenario: s.name, What: "CPU taken by other programs meanwhile", Unit: "% of all cores", Ours: others})
	return err
}

// prepare builds what is tested and makes the clip that is published.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "tally-bench-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(b.dir)
		}
	}()
	if b.binary = b.Binary; b.binary == "" {
		b.say("building tally")
		if b.binary, err = buildTally(ctx, b.dir); err != nil {
			return err
		}
	}
	if b.clip = b.Clip; b.clip == "" {
		b.say("making a clip of 720p30 at %d Mbit/s", clipVideoBits/1_000_000)
		if b.clip, err = makeClip(ctx, b.dir); err != nil {
			return err
		}
	}
	if b.Profile != "" {
		return os.MkdirAll(b.Profile, 0o755)
	}
	return nil
}

// dataDir returns a new directory for one server.
func (b *bench) dataDir() (string, error) { return os.MkdirTemp(b.dir, "data-") }

// startTally runs a server with a new data directory.
func (b *bench) startTally(ctx context.Context, flags ...string) (*tally, error) {
	dir, err := b.dataDir()
	if err != nil {
		return nil, err
	}
	return startTally(ctx, b.binary, dir, flags...)
}

// profileDuring saves a CPU profile of t over the next d, if asked to, and
// returns a function that waits for it.
func (b *bench) profileDuring(ctx context.Context, t *tally, name string, d time.Duration) (wait func()) {
	if b.Profile == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() { done <- t.profile(ctx, filepath.Join(b.Profile, name+".pprof"), d) }()
	return func() {
		if err := <-done; err != nil {
			b.say("profile %s: %v", name, err)
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
