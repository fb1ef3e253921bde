package hlscheck

import (
	"strings"
	"testing"
	"time"

	"tally/internal/hls/hlscheck/origin"
	"tally/internal/hls/playlist"
)

// written shows n playlists with their text changed.
func written(n int, from, to string) func(*feed) {
	return func(f *feed) {
		for range n {
			f.o.Publish()
			f.text(playlist.NoDirectives, strings.Replace(string(f.o.Current().AppendText(nil)), from, to, 1))
		}
	}
}

// joined begins with a multivariant playlist.
func joined(streamInf string) func(*feed) {
	return func(f *feed) {
		f.c.Multivariant(f.now, "#EXTM3U\n#EXT-X-STREAM-INF:"+streamInf+",RESOLUTION=640x360,FRAME-RATE=30\nrun/media.m3u8\n")
		f.steps(2)
	}
}

var laterFixtures = []fixture{
	{"codecs", "CODECS without the sound that the init section has", nil, joined(`BANDWIDTH=1000000,CODECS="avc1.64001f"`)},
	{"bandwidth", "BANDWIDTH of a tenth of what the segments have", nil, joined(`BANDWIDTH=1000,CODECS="avc1.64001f,mp4a.40.2"`)},
	{"version", "EXT-X-MAP under version 3", nil, edited(2, func(m *playlist.Media) { m.Version = 3 })},
	{"version", "a version that no player knows", nil, edited(2, func(m *playlist.Media) { m.Version = 13 })},
	{"not-empty", "a playlist that lists parts before it has a segment", []string{"edge-monotone"}, func(f *feed) {
		f.c = New(Options{})
		f.o = origin.New(2)
		f.show(playlist.NoDirectives)
		f.text(playlist.NoDirectives, strings.Split(string(f.o.Current().AppendText(nil)), "#EXT-X-MAP")[0])
	}},
	{"playlist-type", "EVENT for a list that segments leave", nil,
		written(2, "#EXT-X-TARGETDURATION", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION")},
	{"target-range", "a target duration of 12 s", []string{"hold-back", "can-skip-until", "parts-kept"},
		edited(2, func(m *playlist.Media) { m.TargetDuration = 12 })},
	{"target-range", "PART-TARGET of 100 ms", []string{"part-target-max"}, edited(2, func(m *playlist.Media) { m.PartTarget = 100 * time.Millisecond })},
	{"can-block-reload", "parts without blocking reload", nil, edited(2, func(m *playlist.Media) { m.CanBlockReload = false })},
	{"parts-kept", "parts that leave two seconds before the end", nil, func(f *feed) {
		f.edit = func(m *playlist.Media) {
			for i := range len(m.Segments) - 2 {
				m.Segments[i].Parts = nil
			}
		}
		f.steps(4)
	}},
	{"uri-unique", "a name used again once its first bearer has left", []string{"hint-true"}, func(f *feed) {
		f.steps(2)
		f.edit = func(m *playlist.Media) {
			if s := at(m, 26); len(s.Parts) > 0 {
				s.Parts[0].URI = "part-0-30.m4s"
			}
		}
		f.steps(17)
	}},
	{"pdt-future", "dates that run ahead of the clock", nil, func(f *feed) {
		f.now, f.c.o.SameClock = time.Now(), true
		f.edit = func(m *playlist.Media) {
			for i := range m.Segments {
				m.Segments[i].ProgramDateTime = m.Segments[i].ProgramDateTime.Add(3 * time.Second)
			}
		}
		f.steps(2)
	}},
	{"discontinuity-present", "no EXT-X-DISCONTINUITY-SEQUENCE until something is discontinuous", nil,
		written(2, "#EXT-X-DISCONTINUITY-SEQUENCE:0\n", "")},
	{"part-cadence", "a part that comes half a second late", nil, func(f *feed) {
		f.c.o.Cadence = 10 * time.Millisecond
		f.steps(4)
		f.now = f.now.Add(500 * time.Millisecond)
		f.steps(4)
	}},
	{"segment-cadence", "a segment that comes after two target durations", []string{"part-cadence"}, func(f *feed) {
		f.c.o.Cadence = 10 * time.Millisecond
		f.steps(4)
		f.now = f.now.Add(time.Second)
		f.steps(4)
	}},
	{"sample-duration", "a sample that lasts 0 ticks", []string{"segment-bytes", "media-duration", "tfdt-continuity"}, damaged("part-0-31.m4s",
		replaced("\x00\x00\x0b\xb8", "\x00\x00\x00\x00"))},
}

// A server that comes back with another list behind a discontinuity, as Tally
// does after a restart, breaks no rule by it: what was listed is gone.
func TestRestart(t *testing.T) {
	f := newFeed(t, 30)
	f.show(playlist.NoDirectives)
	next := *f.o.Current()
	s := next.Segments[len(next.Segments)-1]
	s.Discontinuity, s.URI = true, "seg-1-40.m4s"
	s.ProgramDateTime = s.ProgramDateTime.Add(20 * time.Second)
	s.Parts = []playlist.Part{{URI: "part-1-0.m4s", Duration: s.Duration, Independent: true}}
	s.Parts[0].Duration = 333333 * time.Microsecond
	s.Duration = s.Parts[0].Duration
	next.MediaSequence, next.Segments, next.PreloadHint = 40, []playlist.Segment{s}, "part-1-1.m4s"
	f.text(playlist.NoDirectives, string(next.AppendText(nil)))
	for _, v := range f.c.Violations() {
		t.Error(v)
	}
}
