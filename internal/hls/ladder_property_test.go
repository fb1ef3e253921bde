package hls_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/livestream"
	"tally/internal/media"
)

// views looks at all renditions of a stream with one strict checker.
type views struct {
	t     fataler
	set   *hlscheck.Set
	o     hlscheck.Options
	begin func(*viewer, *hls.Rendition) // of each rendition; nil: nothing is to be done
	views map[string]*viewer
	names []string
}

func newViews(t fataler, o hlscheck.Options) *views {
	return &views{t: t, set: hlscheck.NewSet(o), o: o, views: map[string]*viewer{}}
}

func (l *views) look(s *hls.Stream) {
	for _, r := range s.Renditions() {
		v := l.views[r.Name()]
		if v == nil {
			v = newViewer(l.t, r.Window(), l.o)
			if r.Name() != "" { // a muxed one is no alternative to the others
				var err error
				if v.check, err = l.set.Rendition("/" + r.Name() + "/index.m3u8"); err != nil {
					l.t.Fatalf("%v", err)
				}
			}
			if l.begin != nil {
				l.begin(v, r)
			}
			l.views[r.Name()] = v
			l.names = append(l.names, r.Name())
		}
		v.look()
	}
}

// done tells what was found in each.
func (l *views) done() {
	l.t.Helper()
	for _, name := range l.names {
		v := l.views[name]
		if found := v.check.Violations(); len(found) > 0 {
			l.t.Errorf("rendition %q", name)
		}
		v.done()
	}
}

// Whatever ladder an orderly encoder sends, each rendition is strictly right, and
// all have the same grid.
func TestOrderlyLadders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fps := rapid.SampledFrom([]float64{12.5, 15, 24, 25, 29.97, 30, 48, 50, 59.94, 60}).Draw(rt, "fps")
		seconds := rapid.Float64Range(0.3, 4).Draw(rt, "gop seconds")
		lag := func() time.Duration { return time.Duration(rapid.IntRange(0, 200).Draw(rt, "lag")) * time.Millisecond }
		var sources [][]item
		videos := rapid.IntRange(0, 4).Draw(rt, "videos")
		for n := range videos {
			s := synth{fps: fps, gop: max(2, int(fps*seconds)/2*2), length: 9 * time.Second, config: avc1080p,
				bframes: rapid.Bool().Draw(rt, "bframes"), announces: rapid.SampledFrom([]float64{0, 1, 1}).Draw(rt, "announces")}
			if n > 0 && fps >= 20 && rapid.IntRange(0, 3).Draw(rt, "half the rate") == 0 {
				s.fps, s.gop = s.fps/2, s.gop/2
			}
			sources = append(sources, as(later(s.items(t), lag()), media.VideoID(uint8(n))))
		}
		for n := range rapid.IntRange(max(0, 2-videos), 3).Draw(rt, "audios") {
			s := synth{noVideo: true, rate: rapid.SampledFrom([]int{44100, 48000}).Draw(rt, "rate"), length: 9 * time.Second}
			sources = append(sources, as(later(s.items(t), lag()), media.AudioID(uint8(n))))
		}
		r := hls.NewRegistry(hls.Config{})
		defer r.Close()
		p := r.Open(run(rapid.IntRange(2, 5).Draw(rt, "target")))
		l := newViews(rt, hlscheck.Options{})
		src := together(sources...)
		p.Begin(1)
		p.Mark(farAhead, farAhead)
		p.Expect(1, ids(src))
		for _, it := range src {
			if err := write(p, 1, it); err != nil {
				rt.Fatal(err)
			}
			l.look(r.Stream("play"))
		}
		p.End(false)
		l.look(r.Stream("play"))
		l.done()
		if len(sources) > 2 && len(l.names) != len(sources) {
			rt.Errorf("renditions %v of %d tracks", l.names, len(sources))
		}
	})
}

// A riot is an encoder that does what it likes with many tracks.
type riot struct {
	rt     *rapid.T
	p      *hls.Packager
	look   func()
	epoch  int64
	tracks []media.Track
	dts    map[media.TrackID]int64
}

func (m *riot) step() {
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(m.rt, "seed"), 0)) // one draw for hundreds of frames
	switch k := random.IntN(100); {
	case k < 80:
		m.play(random, time.Duration(10+random.IntN(5000))*time.Millisecond)
	case k < 88:
		for range random.IntN(60) {
			time.Sleep(100 * time.Millisecond)
			m.look()
		}
	case k < 91:
		m.write(rapid.SampledFrom(m.tracks).Draw(m.rt, "track"))
	case k < 93:
		m.p.Lost(m.epoch)
	default:
		m.begin()
	}
}

func (m *riot) begin() {
	m.epoch++
	m.p.Begin(m.epoch)
	some := slices.DeleteFunc(slices.Clone(m.tracks), func(media.Track) bool { return rapid.IntRange(0, 3).Draw(m.rt, "left out") == 0 })
	var all []media.TrackID
	for _, t := range some {
		all = append(all, t.ID)
	}
	if rapid.Bool().Draw(m.rt, "announced") {
		m.p.Expect(m.epoch, all)
	}
	for _, t := range some {
		m.write(t)
	}
}

func (m *riot) write(t media.Track) {
	if err := m.p.WriteTrack(m.epoch, t); err != nil && !errors.Is(err, livestream.ErrStale) {
		m.rt.Fatal(err)
	}
}

// play sends what some of the tracks have in a while, in its time.
func (m *riot) play(random *rand.Rand, length time.Duration) {
	silent := map[media.TrackID]bool{}
	for _, t := range m.tracks {
		silent[t.ID] = random.IntN(6) == 0
	}
	const step = 40 * time.Millisecond
	for at := time.Duration(0); at < length; at += step {
		for _, t := range m.tracks {
			ticks := int64(t.Timescale) / 25
			m.dts[t.ID] += ticks
			if silent[t.ID] {
				continue
			}
			f := media.Frame{Track: t.ID, DTS: m.dts[t.ID], PTS: m.dts[t.ID], Key: !t.Codec.Video(), Payload: []byte("audio")}
			if t.Codec.Video() {
				f.Key = m.dts[t.ID]/ticks%int64(25+t.ID) == 0
				f.Payload = synth{}.picture(f.Key)
			}
			switch random.IntN(600) {
			case 0:
				m.dts[t.ID] += random.Int64N(1<<41) - 1<<40
				f.Discontinuity = random.IntN(2) == 0
			case 1:
				m.dts[t.ID] += random.Int64N(11*90000) - 90000
			case 2:
				f.Discontinuity = true
			}
			if err := m.p.WriteFrame(m.epoch, f); err != nil && !errors.Is(err, livestream.ErrStale) {
				m.rt.Fatal(err)
			}
			m.look()
		}
		time.Sleep(step)
	}
}

// inBubble runs one trial in virtual time: rapid itself minds the real one.
func inBubble(t *testing.T, trial func()) {
	var failed any
	synctest.Test(t, func(*testing.T) {
		defer func() { failed = recover() }()
		trial()
	})
	switch fmt.Sprintf("%T", failed) {
	case "<nil>":
	case "rapid.invalidData": // not a failure: rapid tells them apart by the line
		panic(failed)
	default:
		panic(failed)
	}
}

// Whatever an encoder of many tracks does, nothing panics, each playlist keeps its
// promises about itself, and all renditions have the same numbers and
// discontinuities.
func TestDisorderlyLadders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func() {
			r := hls.NewRegistry(hls.Config{RingBytes: int64(rapid.SampledFrom([]int{0, 1 << 20}).Draw(rt, "cap"))})
			defer r.Close()
			m := &riot{rt: rt, p: r.Open(run(rapid.IntRange(1, 5).Draw(rt, "target"))), dts: map[media.TrackID]int64{}}
			for n := range uint8(rapid.IntRange(0, 3).Draw(rt, "videos")) {
				v := videoTrack(t, avc720p30)
				v.ID, v.FrameRate = media.VideoID(n), 25
				m.tracks = append(m.tracks, v)
			}
			for n := range uint8(rapid.IntRange(1, 3).Draw(rt, "audios")) {
				a := audioTrack(t, 48000)
				a.ID = media.AudioID(n)
				m.tracks = append(m.tracks, a)
			}
			m.p.Mark(farAhead, farAhead)
			l := newViews(rt, hlscheck.Options{
				Ignore: []string{"media-duration", "tfdt-continuity", "part-85", "pdt-consistent", "rendition-grid"}})
			st := r.Stream("play")
			m.look = func() { l.look(st) }
			m.begin()
			for range rapid.IntRange(4, 20).Draw(rt, "steps") {
				m.step()
			}
			m.p.End(false)
			m.look()
			l.done()
		})
	})
}
