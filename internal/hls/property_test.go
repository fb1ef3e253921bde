package hls_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/livestream"
	"tally/internal/media"
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
	p.Expect(1, media.First(!s.noVideo, s.rate > 0))
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

// mess is one step of an encoder that does what it likes.
type mess struct {
	rt    *rapid.T
	p     *hls.Packager
	look  func()
	epoch int64
	dts   map[media.TrackID]int64
	scale map[media.TrackID]int64
	pics  synth
	video []media.Track
	audio []media.Track
}

func (m *mess) step() {
	switch k := rapid.IntRange(0, 99).Draw(m.rt, "what"); {
	case k < 50:
		m.frame(media.VideoTrack, 90000/int64(rapid.IntRange(1, 70).Draw(m.rt, "fps")))
	case k < 88:
		m.frame(media.AudioTrack, 1024)
	case k < 91:
		m.track(rapid.SampledFrom(m.video).Draw(m.rt, "video"))
	case k < 94:
		m.track(rapid.SampledFrom(m.audio).Draw(m.rt, "audio"))
	case k < 96:
		m.p.Lost(m.epoch)
	default:
		m.begin()
	}
}

func (m *mess) begin() {
	m.epoch++
	m.p.Begin(m.epoch)
	if rapid.Bool().Draw(m.rt, "announced") {
		m.p.Expect(m.epoch, media.First(rapid.Bool().Draw(m.rt, "with video"), rapid.Bool().Draw(m.rt, "with audio")))
	}
	if rapid.IntRange(0, 3).Draw(m.rt, "tracks at once") > 0 {
		m.track(m.video[0])
		m.track(m.audio[0])
	}
}

func (m *mess) track(tr media.Track) {
	m.scale[tr.ID] = int64(tr.Timescale)
	if err := m.p.WriteTrack(m.epoch, tr); err != nil && !errors.Is(err, livestream.ErrStale) {
		m.rt.Fatal(err)
	}
}

// frame sends a few frames of that duration, one of them out of step at times.
func (m *mess) frame(id media.TrackID, ticks int64) {
	for range rapid.IntRange(1, 40).Draw(m.rt, "frames") {
		m.dts[id] += ticks
		f := media.Frame{Track: id, Key: id == media.AudioTrack, Payload: []byte("audio")}
		switch rapid.IntRange(0, 99).Draw(m.rt, "fate") {
		case 0:
			m.dts[id] += rapid.Int64Range(-1<<40, 1<<40).Draw(m.rt, "jump")
		case 1:
			m.dts[id] += rapid.Int64Range(-90000, 10*90000).Draw(m.rt, "step")
		case 2:
			f.Discontinuity = true
		case 3, 4, 5:
			f.Key = true
		}
		f.DTS, f.PTS = m.dts[id], m.dts[id]
		if id == media.VideoTrack {
			f.PTS += rapid.Int64Range(-1<<33, 1<<33).Draw(m.rt, "offset") * int64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(m.rt, "reordered"))
			f.Payload = m.pics.picture(f.Key)
		}
		if err := m.p.WriteFrame(m.epoch, f); err != nil && !errors.Is(err, livestream.ErrStale) {
			m.rt.Fatal(err)
		}
		m.look()
	}
}

// Whatever a broken encoder sends, nothing panics and the playlist keeps its
// promises about itself: targets, numbers, sums. Only what the media inside
// last, and how full parts are, is the encoder's affair.
func TestDisorderlyEncoders(t *testing.T) {
	media1, media2 := videoTrack(t, avc720p30), videoTrack(t, avc1080p)
	bare := media1
	bare.FrameRate = 0
	rapid.Check(t, func(rt *rapid.T) {
		r := hls.NewRegistry(hls.Config{Window: time.Duration(rapid.IntRange(1, 30).Draw(rt, "window")) * time.Second})
		defer r.Close()
		m := &mess{rt: rt, dts: map[media.TrackID]int64{}, scale: map[media.TrackID]int64{},
			video: []media.Track{media1, media2, bare}, audio: []media.Track{audioTrack(t, 48000), audioTrack(t, 44100)}}
		m.p = r.Open(run(rapid.IntRange(1, 6).Draw(rt, "target")))
		m.p.Mark(farAhead, farAhead)
		v := newViewer(rt, r.Stream("play").Window(), hlscheck.Options{
			Ignore: []string{"media-duration", "tfdt-continuity", "part-85", "pdt-consistent", "independent-idr"}})
		m.look = v.look
		m.begin()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			m.step()
			v.look()
		}
		m.p.End(false)
		v.look()
		for _, x := range v.check.Violations() {
			rt.Errorf("%v", x)
		}
		if rt.Failed() && len(v.texts) > 0 {
			rt.Logf("%s", v.texts[len(v.texts)-1])
		}
	})
}
