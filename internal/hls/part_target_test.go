package hls_test

import (
	"testing"
	"time"

	"tally/internal/hls"
)

// Parts as long as a server may be told to make them keep every rule, whatever the
// frames: over a held picture, a reconnect and the end.
func TestPartTargets(t *testing.T) {
	for _, want := range []time.Duration{200 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		for _, src := range []synth{
			{fps: 10, gop: 20, rate: 48000, announces: 1},
			{fps: 24, gop: 24},
			{fps: 25, gop: 50, rate: 44100, bframes: true},
			{fps: 30, gop: 60, rate: 48000, announces: 1},
			{fps: 50, gop: 75, rate: 48000, announces: 1},
			{noVideo: true, rate: 48000},
		} {
			src.length = 15 * time.Second
			onStage(t, hls.Config{PartTarget: want}, run(2), func(s *stage) {
				s.begin(1)
				s.send(1, src.items(t))
				s.p.Lost(1)
				s.wait(7 * time.Second)
				for i := range s.v.media.Segments {
					if g := &s.v.media.Segments[i]; g.Title != "" && g.URI != "" && g.Duration-s.v.media.PartTarget > 998*time.Millisecond {
						t.Errorf("with %v, %v frames a second: a held segment lasts %v", want, src.fps, g.Duration)
					}
				}
				s.begin(2)
				s.send(2, src.items(t))
				if got := s.v.media.PartTarget; got > want*3/2 || got < want*2/3 {
					t.Errorf("with %v, %v frames a second: PART-TARGET is %v", want, src.fps, got)
				}
				end(s.p)
				s.playlist()
			})
		}
	}
}
