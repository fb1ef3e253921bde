// Package matrix holds a matrix of sources against the strict player: what
// encoders send, and how they come and go. In virtual time the packager is fed
// by made-up frames through the RTMP clock, and players watch through the
// playback handler: minutes of each in `make test`, an hour of each and more with
//
//	go test ./conformance/matrix -long
//
// (make matrix), which also plays real media, encoded and decoded by ffmpeg,
// through the built binary. docs/hls.md says what the sources are.
package matrix

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls/hlscheck"
	"tally/internal/hls/player"
	"tally/internal/servertest"
)

var (
	long = flag.Bool("long", false, "an hour of each made-up source, and all real ones")
	seed = flag.Uint64("seed", 0, "of what is random; 0: another one each time")
)

func TestMain(m *testing.M) { servertest.Main(m) }

// A scenario is what one broadcast is made of.
type scenario struct {
	name   string
	target int
	all    []stretch
	// steady: the encoder sends steadily, so parts come in time and nothing stalls.
	steady bool
	// ignore are rules that such a source cannot but break; why says why.
	ignore []string
	why    string
	// discontinuities that the playlist must have had; -1: any number.
	discontinuities int64
}

// steadily is a scenario of one steady source.
func steadily(name string, target int, s source) scenario {
	return scenario{name: name, target: target, all: []stretch{{source: s, length: time.Minute}}, steady: true}
}

// varies is a rate that is never the same: 10 to 60 pictures a second.
func varies(n int) time.Duration {
	return time.Second / time.Duration(10+(n*2654435761>>7)%51)
}

// irregular keyframes: 0.4 to 3 s apart at 30 a second.
func irregular(n int) bool { return n%30 == 0 && (n/30)%3 != 1 || n%77 == 0 }

var av = source{rate: 48000}

func with(change func(*source)) source {
	s := av
	change(&s)
	return s
}

func scenarios() []scenario {
	var all []scenario
	for _, gop := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 10 * time.Second} {
		for _, target := range []int{2, 4, 10} {
			all = append(all, steadily(fmt.Sprintf("GOP %v, target %d s", gop, target), target, with(func(s *source) { s.gop = gop })))
		}
	}
	for _, fps := range []float64{10, 15, 24000. / 1001, 24, 25, 30000. / 1001, 30, 50, 60} {
		for _, b := range []bool{false, true} {
			all = append(all, steadily(fmt.Sprintf("%.3f fps, B-frames %v", fps, b), 2, with(func(s *source) { s.fps, s.bframes, s.gop = fps, b, 2*time.Second })))
		}
		all = append(all, steadily(fmt.Sprintf("%.3f fps, not told", fps), 4, with(func(s *source) { s.fps, s.silent, s.rate = fps, true, 44100 })))
	}
	for _, rate := range []int{44100, 48000} {
		for _, channels := range []byte{1, 2, 6} {
			all = append(all, steadily(fmt.Sprintf("%d Hz, %d channels", rate, channels), 2, with(func(s *source) { s.rate, s.channels = rate, channels })))
		}
		all = append(all, steadily(fmt.Sprintf("sound alone, %d Hz", rate), 2, source{noVideo: true, rate: rate}))
	}
	all = append(all,
		steadily("picture alone", 2, source{}),
		steadily("picture alone, B-frames, GOP 10 s", 4, source{bframes: true, gop: 10 * time.Second}),
		scenario{name: "keyframes anywhere", target: 4, steady: true, all: []stretch{{source: with(func(s *source) { s.key = irregular }), length: time.Minute}}},
		scenario{name: "a rate that varies", target: 4, all: []stretch{{source: with(func(s *source) { s.spacing = varies }), length: time.Minute}},
			ignore: []string{"part-85", "media-duration", "tfdt-continuity", "pdt-consistent"},
			why:    "how long a picture lasts is known when the next one comes, and the part is listed by then; where that was too short the dates tell it"},
		scenario{name: "late sound", target: 2, discontinuities: 1, all: []stretch{{source: with(func(s *source) { s.lateAudio = 3 * time.Second }), length: time.Minute}}},
		scenario{name: "late sound that nobody announced", target: 2, discontinuities: 1,
			all: []stretch{{source: with(func(s *source) { s.lateAudio, s.unknown = 3*time.Second, true }), length: time.Minute}}},
		scenario{name: "late picture", target: 2, discontinuities: 1, all: []stretch{{source: with(func(s *source) { s.lateVideo = 4 * time.Second }), length: time.Minute}}},
		scenario{name: "another resolution amid it", target: 2, discontinuities: 1,
			all: []stretch{{source: av, length: 20 * time.Second}, {source: with(func(s *source) { s.config = avc1080p }), length: 20 * time.Second}}},
		scenario{name: "other sound amid it", target: 2, discontinuities: 1,
			all: []stretch{{source: av, length: 20 * time.Second}, {source: with(func(s *source) { s.rate, s.channels = 44100, 1 }), length: 20 * time.Second}}},
		scenario{name: "other codecs amid it", target: 2, discontinuities: 2, all: []stretch{
			{source: av, length: 15 * time.Second}, {source: with(func(s *source) { s.hevc, s.fps = true, 25 }), length: 15 * time.Second},
			{source: with(func(s *source) { s.hevc, s.fps, s.opus = true, 25, true }), length: 15 * time.Second}}},
		steadily("HEVC and Opus", 2, with(func(s *source) { s.hevc, s.fps, s.opus = true, 25, true })),
		steadily("frames that come up to 150 ms late", 2, with(func(s *source) { s.jitter = 150 * time.Millisecond })),
		steadily("timestamps that are off by up to 2 ms", 2, with(func(s *source) { s.rounded = 2 })),
		scenario{name: "a clock that is slow by a thousandth", target: 2, all: []stretch{{source: with(func(s *source) { s.drift = -0.001 }), length: time.Minute}}},
		scenario{name: "a clock that is fast by a thousandth", target: 2, all: []stretch{{source: with(func(s *source) { s.drift = 0.001 }), length: time.Minute}},
			ignore: []string{"pdt-future"}, why: "dates follow the encoder's clock, which is a second ahead after 1,000; health tells of CLOCK_DRIFT"},
		steadily("timestamps that wrap after 8 s", 2, with(func(s *source) { s.first = 1<<32 - 8000 })),
		scenario{name: "gaps", target: 2, discontinuities: -1, all: []stretch{{length: time.Minute, source: with(func(s *source) {
			s.gaps = []time.Duration{5 * time.Second, 5400 * time.Millisecond, 12 * time.Second, 13500 * time.Millisecond, 20 * time.Second, 27 * time.Second}
		})}}, ignore: []string{"media-duration", "tfdt-continuity", "pdt-consistent"},
			why: "what is missing for less than a second is a hole in the media, and the dates tell it"},
		scenario{name: "a clock that jumps", target: 2, discontinuities: 2, all: []stretch{{length: time.Minute, source: with(func(s *source) {
			s.jumps = []time.Duration{10 * time.Second, 20 * time.Second}
		})}}},
		scenario{name: "a file pushed at four times its speed", target: 2, all: []stretch{{length: 30 * time.Second, source: with(func(s *source) { s.speed = 4 })}},
			ignore: []string{"pdt-future"}, why: "four seconds of media in one of time cannot all be of the past"},
	)
	return append(all, comings()...)
}

// comings are encoders and servers that come and go.
func comings() []scenario {
	first, other := av, with(func(s *source) { s.config, s.rate, s.first = avc1080p, 44100, 77_000 })
	ten := 10 * time.Second
	return []scenario{
		{name: "an encoder back after 1 s", target: 2, discontinuities: 1, all: []stretch{{first, ten, lost, time.Second}, {first, ten, 0, 0}}},
		{name: "an encoder back after 25 s", target: 2, discontinuities: 2, all: []stretch{{first, ten, lost, 25 * time.Second}, {other, ten, 0, 0}}},
		{name: "a frozen encoder, replaced after 6 s", target: 2, discontinuities: 2, all: []stretch{{first, ten, silent, 6 * time.Second}, {first, ten, 0, 0}}},
		{name: "five takeovers", target: 4, discontinuities: 5, all: []stretch{
			{first, ten, takeover, 0}, {other, 3 * time.Second, takeover, 0}, {first, 700 * time.Millisecond, takeover, 0},
			{other, 5 * time.Second, takeover, 0}, {source{}, ten, takeover, 0}, {source{noVideo: true, rate: 48000}, ten, 0, 0}}},
		{name: "three restarts of the server", target: 2, discontinuities: -1, all: []stretch{
			{first, 20 * time.Second, restart, 0}, {first, ten, restart, 2 * time.Second}, {other, 2 * time.Second, restart, 0}, {first, 20 * time.Second, 0, 0}}},
		{name: "a restart while the picture is held", target: 2, discontinuities: -1, all: []stretch{
			{first, ten, lost, 5 * time.Second}, {first, 10 * time.Millisecond, restart, time.Second}, {first, ten, 0, 0}}},
	}
}

// watcher is one player of a scenario.
type watcher struct {
	name  string
	after time.Duration
	low   bool
}

var watchers = []watcher{{"from the start", 0, true}, {"in the middle", 7 * time.Second, true}, {"plain", 4 * time.Second, false}}

// Whatever a source sends, a player that joins at the start, one that joins in
// the middle and one without low latency see no rule broken, miss no media, and
// where the encoder is steady do not stall.
func TestSources(t *testing.T) {
	for _, c := range scenarios() {
		t.Run(c.name, func(t *testing.T) {
			s := *seed
			if s == 0 {
				s = rand.Uint64()
			}
			random := rand.New(rand.NewPCG(s, 1))
			synctest.Test(t, func(t *testing.T) { c.play(t, random) })
			if t.Failed() {
				t.Logf("-run 'TestSources/%s' -seed %d", c.name, s)
			}
		})
	}
}

func (c *scenario) play(t *testing.T, random *rand.Rand) {
	w := newWorld(t, c.target, random)
	defer w.close()
	all := append([]stretch(nil), c.all...)
	factor := time.Duration(1)
	if *long {
		factor = 60
	}
	for i := range all {
		all[i].length *= factor
	}
	if !*long {
		all[len(all)-1].length = min(all[len(all)-1].length, 25*time.Second)
	}
	over := make(chan struct{})
	for _, x := range watchers {
		go func() {
			defer func() { over <- struct{}{} }()
			time.Sleep(x.after)
			c.watch(t, w, x)
		}()
	}
	w.play(all)
	for range watchers {
		<-over
	}
}

// watch plays to the end.
func (c *scenario) watch(t *testing.T, w *world, x watcher) {
	rules := hlscheck.Options{SameClock: true, Ignore: c.ignore}
	if c.steady && x.low {
		rules.Cadence = 200 * time.Millisecond
	}
	p := player.New(player.Options{URL: w.url(), Client: w.client(), LowLatency: x.low, Check: true, Rules: rules})
	s, err := p.Run(context.WithoutCancel(t.Context()))
	if err != nil && !errors.Is(err, player.ErrViolations) {
		t.Errorf("%s: %v", x.name, err)
	}
	for i, v := range s.Violations {
		if i == 8 {
			t.Errorf("%s: and %d more", x.name, len(s.Violations)-i)
			break
		}
		t.Errorf("%s: %v", x.name, v)
	}
	if !s.Ended || s.Jumps > 0 && c.steady || s.Played < 8*time.Second {
		t.Errorf("%s: ended %v, %d jumps, played %v", x.name, s.Ended, s.Jumps, s.Played)
	}
	// Who begins with the first part has no buffer: rounding is a stall.
	if c.steady && x.low && s.StallTime > 200*time.Millisecond {
		t.Errorf("%s: %d stalls of %v", x.name, s.Stalls, s.StallTime)
	}
	if c.discontinuities >= 0 && x.after == 0 && s.Discontinuities != c.discontinuities {
		t.Errorf("%s: %d discontinuities, want %d", x.name, s.Discontinuities, c.discontinuities)
	}
	t.Logf("%s: %d parts, %d segments, %v played, %d stalls of %v", x.name, s.Parts, s.Segments, s.Played.Round(time.Millisecond), s.Stalls, s.StallTime.Round(time.Millisecond))
}
