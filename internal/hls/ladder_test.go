package hls_test

import (
	"slices"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/media"
)

// as makes items those of another track.
func as(items []item, id media.TrackID) []item {
	out := slices.Clone(items)
	for i := range out {
		if t := out[i].track; t != nil {
			c := *t
			c.ID = id
			out[i].track = &c
		} else {
			out[i].frame.Track = id
		}
	}
	return out
}

// together interleaves what several tracks send: configurations first.
func together(sources ...[]item) []item {
	var tracks, frames []item
	for _, items := range sources {
		for _, it := range items {
			if it.track != nil {
				tracks = append(tracks, it)
			} else {
				frames = append(frames, it)
			}
		}
	}
	slices.SortStableFunc(frames, func(a, b item) int { return int(a.at - b.at) })
	return append(tracks, frames...)
}

func ids(items []item) (all []media.TrackID) {
	for _, it := range items {
		if it.track != nil {
			all = append(all, it.track.ID)
		}
	}
	return all
}

// A ladder looks at all renditions of a stage's stream.
type ladder struct {
	*stage
	set   *hlscheck.Set
	views map[string]*viewer
	order []string
}

func onLadder(t *testing.T, c hls.Config, o hls.OpenOptions, f func(*ladder)) {
	t.Helper()
	onStage(t, c, o, func(s *stage) {
		l := &ladder{stage: s, set: hlscheck.NewSet(hlscheck.Options{}), views: map[string]*viewer{}}
		f(l)
		for _, name := range l.order {
			v := l.views[name]
			t.Log(name)
			v.done()
		}
	})
}

// look has each rendition's viewer read what is new.
func (l *ladder) look() {
	for _, r := range l.stream().Renditions() {
		v := l.views[r.Name()]
		if v == nil {
			v = newViewer(l.t, r.Window(), hlscheck.Options{})
			var err error
			if v.check, err = l.set.Rendition("/" + r.Name() + "/index.m3u8"); err != nil {
				l.t.Fatal(err)
			}
			l.views[r.Name()] = v
			l.order = append(l.order, r.Name())
		}
		v.look()
	}
}

// send writes items in their own time from now on.
func (l *ladder) send(epoch int64, items []item) {
	l.t.Helper()
	start := time.Now()
	for _, it := range items {
		time.Sleep(it.at - time.Since(start))
		if err := write(l.p, epoch, it); err != nil {
			l.t.Fatal(err)
		}
		l.look()
	}
}

func (l *ladder) text(name string) string {
	l.t.Helper()
	v := l.views[name]
	if v == nil || v.last == nil {
		l.t.Fatalf("no rendition %s lists anything; there are %v", name, l.order)
	}
	return string(v.last.Playlist(false, false).Data)
}

var (
	hi     = synth{fps: 30, gop: 60, announces: 1, length: 20 * time.Second, bytes: 4000, config: avc1080p}
	lo     = synth{fps: 30, gop: 60, announces: 1, length: 20 * time.Second, bytes: 1000}
	voice  = synth{noVideo: true, rate: 48000, length: 20 * time.Second}
	second = synth{noVideo: true, rate: 44100, length: 20 * time.Second}
)

func four(t *testing.T) []item {
	return together(hi.items(t), as(lo.items(t), media.VideoID(1)), voice.items(t), as(second.items(t), media.AudioID(1)))
}

func TestLadder(t *testing.T) {
	onLadder(t, hls.Config{}, run(2), func(l *ladder) {
		src := four(t)
		l.begin(1)
		l.p.Expect(1, ids(src))
		l.send(1, src)
		if !slices.Equal(l.order, []string{"v0", "v1", "a0", "a1"}) {
			t.Errorf("renditions %v", l.order)
		}
		for _, name := range l.order {
			t.Logf("%s\n%s", name, l.text(name))
		}
	})
}
