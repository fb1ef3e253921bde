package hls_test

import (
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/media"
)

// By the durations that are listed each part begins later than by its media, with
// the first part of any segment before it in mind: Shaka drops parts that begin
// earlier, by a billionth of a second (shaka-player#10589). All of that is a
// microsecond for each segment.
func TestPartsAreListedNoEarlierThanTheirMedia(t *testing.T) {
	for _, src := range []synth{
		{fps: 10, gop: 20, rate: 44100},
		{fps: 15, gop: 60, rate: 48000},
		{fps: 24000. / 1001, gop: 47, bframes: true},
		{fps: 25, gop: 25, rate: 48000, bframes: true},
		{fps: 30000. / 1001, gop: 45, rate: 44100},
		{fps: 30, gop: 30, rate: 44100, announces: 1},
		{fps: 50, gop: 13},
		{fps: 60, gop: 240, rate: 48000},
	} {
		src.length = 40 * time.Second
		onStage(t, hls.Config{}, run(2), func(s *stage) {
			s.begin(1)
			s.send(1, src.items(t))
			s.playlist()
			const unit = media.VideoTimescale / 10_000 // of 9 MHz: both ticks and microseconds are whole
			var sum, base int64                        // base: by how much the first of a segment began later, at most
			parts, segments := 0, 0
			for i := range s.v.media.Segments {
				g := &s.v.media.Segments[i]
				in, err := hlscheck.ParseInit(s.v.files[s.v.media.Segments[0].Map])
				if err != nil {
					t.Fatal(err)
				}
				segments++
				at := sum
				for j := range g.Parts {
					frags, err := in.ParseMedia(s.v.files[g.Parts[j].URI])
					if err != nil {
						t.Fatal(err)
					}
					if frags[0].Track.Handler != "vide" {
						t.Fatalf("the first fragment of %s has no picture", g.Parts[j].URI)
					}
					late := at - 100*frags[0].Time
					if parts++; parts > 1 && late <= base {
						t.Errorf("%v frames a second: part %d of segment %d begins %d/9 us earlier than its media, with the segments before it in mind", src.fps, j, i, base-late)
					}
					if j == 0 && (parts == 1 || late > base) {
						base = late
					}
					at += g.Parts[j].Duration.Microseconds() * unit
				}
				sum += g.Length().Microseconds() * unit
			}
			if parts < 12 || segments < 6 {
				t.Fatalf("%d segments, %d parts", segments, parts)
			}
		})
	}
}
