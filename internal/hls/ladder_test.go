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

// A ladder is a stage whose viewers look at all renditions.
type ladder struct {
	*stage
	all *views
}

func onLadder(t *testing.T, c hls.Config, o hls.OpenOptions, f func(*ladder)) {
	t.Helper()
	onStage(t, c, o, func(s *stage) {
		l := &ladder{stage: s, all: newViews(s.t, hlscheck.Options{})}
		f(l)
		l.all.done()
	})
}

// look has each rendition's viewer read what is new.
func (l *ladder) look() { l.all.look(l.stream()) }

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

// broadcast begins a publish of what all tracks send, and sends it.
func (l *ladder) broadcast(epoch int64, items []item) {
	l.t.Helper()
	l.begin(epoch)
	l.p.Expect(epoch, ids(items))
	l.send(epoch, items)
}

// text is a rendition's playlist as it was seen last.
func (l *ladder) text(name string) string {
	l.t.Helper()
	v := l.all.views[name]
	if v == nil || v.last == nil {
		l.t.Fatalf("no rendition %s lists anything; there are %v", name, l.all.names)
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

// What players of a ladder with sound in two languages read.
func TestGoldenLadder(t *testing.T) {
	onLadder(t, hls.Config{}, run(2), func(l *ladder) {
		src := four(t)
		for i := range src {
			switch tr := src[i].track; {
			case tr == nil:
			case tr.ID == media.AudioID(0):
				tr.Language, tr.Name = "en", `The "original"`
			case tr.ID == media.AudioID(1):
				tr.Language = "pt-BR"
			}
		}
		l.broadcast(1, src)
		if !slices.Equal(l.all.names, []string{"v0", "v1", "a0", "a1"}) {
			t.Errorf("renditions %v", l.all.names)
		}
		for _, name := range l.all.names {
			golden(t, "ladder-"+name+".m3u8", []byte(l.text(name)))
		}
		shared := l.stream().Rendition("v1").Window().Current().SharedPlaylist(false, false)
		golden(t, "ladder-v1-shared.m3u8", shared.Data)
		golden(t, "ladder-multivariant.m3u8", l.stream().AppendMultivariant(nil, "run/viewer/"))
	})
}
