package hls_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
)

// Whatever an orderly encoder sends, every playlist is strictly right: parts
// sum to their segments, none is longer than PART-TARGET, all but the last of a
// segment are at least 85 % of it, numbers only rise.
func TestOrderlyEncoders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := synth{
			fps:       rapid.Float64Range(10, 60).Draw(rt, "fps"),
			bframes:   rapid.Bool().Draw(rt, "bframes"),
			rate:      rapid.SampledFrom([]int{0, 44100, 48000}).Draw(rt, "rate"),
			announces: rapid.SampledFrom([]float64{0, 1, 1, 2}).Draw(rt, "announces"), // twice: fields
			length:    9 * time.Second,
			start:     time.Duration(rapid.IntRange(0, 5000).Draw(rt, "start")) * time.Millisecond,
			audioLag:  time.Duration(rapid.IntRange(-150, 150).Draw(rt, "lag")) * time.Millisecond,
		}
		if rapid.Bool().Draw(rt, "usual rate") {
			s.fps = rapid.SampledFrom([]float64{10, 12, 12.5, 15, 20, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60}).Draw(rt, "fps")
		}
		s.gop = max(1, int(s.fps*rapid.Float64Range(0.2, 5).Draw(rt, "gop seconds")))
		target := rapid.IntRange(2, 5).Draw(rt, "target")
		if s.rate > 0 && rapid.IntRange(0, 9).Draw(rt, "audio only") == 0 {
			s.noVideo = true
		}
		v := publish(rt, t, s, target)
		for _, x := range v.check.Violations() {
			rt.Errorf("%v", x)
		}
		if rt.Failed() {
			rt.Logf("%s", v.texts[len(v.texts)-1])
		}
		// Parts that end a segment may be short; all of a run's are not.
		if got := v.longest; got < v.media.PartTarget*85/100 {
			rt.Errorf("the longest part has %v of %v", got, v.media.PartTarget)
		}
		if n := strings.Count(v.texts[len(v.texts)-1], "EXT-X-DISCONTINUITY\n"); n != 0 {
			rt.Errorf("%d discontinuities", n)
		}
	})
}

// publish sends all of a synth's items as fast as it can, and looks at every
// snapshot.
func publish(rt *rapid.T, t *testing.T, s synth, target int) *viewer {
	r := hls.NewRegistry(hls.Config{})
	defer r.Close()
	p := r.Open(run(target))
	v := newViewer(rt, r.Stream("play").Window(), hlscheck.Options{})
	p.Begin(1)
	p.Mark(farAhead, farAhead)
	p.Expect(1, !s.noVideo, s.rate > 0)
	for _, it := range s.items(t) {
		if err := write(p, 1, it); err != nil {
			rt.Fatal(err)
		}
		v.look()
	}
	p.End(false)
	v.look()
	if v.media == nil {
		rt.Fatal("nothing was listed")
	}
	return v
}
