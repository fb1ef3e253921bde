package hls_test

import (
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
)

// Whoever joins where no keyframe is near is told to begin at one.
func TestStart(t *testing.T) {
	both, mute := av, av
	both.gop = 120
	mute.gop, mute.rate = 120, 0
	sound := av
	sound.noVideo = true
	rare := av
	rare.gop = 300 // 10 s, segments are cut at 4 s
	short := av
	short.gop = 60
	for _, c := range []struct {
		name string
		s    synth
		at   time.Duration // media listed when the player joins, rounded up to a part
		want string        // TIME-OFFSET; "": none
	}{
		{"the first part", both, 400 * time.Millisecond, ""},
		{"the first segment reaches the start position", both, 1300 * time.Millisecond, ""},
		{"behind the first segment", both, 2 * time.Second, ""},
		{"behind the first segment, no keyframe for two seconds", both, 2600 * time.Millisecond, "0.000000"},
		{"just before the next keyframe", both, 3900 * time.Millisecond, "0.000000"},
		{"sound, and soon a picture", both, 4500 * time.Millisecond, ""},
		{"the next segment has a keyframe", both, 6 * time.Second, ""},
		{"no sound, behind the first segment", mute, 2 * time.Second, "0.000000"},
		{"no sound, and soon a picture", mute, 4500 * time.Millisecond, "-0.334001"},
		{"no sound, the next segment has a keyframe", mute, 6 * time.Second, ""},
		{"sound alone", sound, 3 * time.Second, ""},
		{"keyframes each 2 s", short, 5 * time.Second, ""},
		{"rare keyframes, in their segment", rare, 12 * time.Second, ""},
		{"rare keyframes, segments later", rare, 17 * time.Second, "-7.000002"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.length = c.at
			onStage(t, hls.Config{}, run(4), func(s *stage) {
				s.begin(1)
				s.send(1, c.s.items(t))
				s.v.look()
				text := string(s.v.window.Current().AppendMultivariant(nil, "x/index.m3u8"))
				_, got, _ := strings.Cut(text, "#EXT-X-START:TIME-OFFSET=")
				got, _, _ = strings.Cut(got, "\n")
				if got != c.want {
					t.Errorf("TIME-OFFSET %q, want %q\n%s%s", got, c.want, text, s.playlist())
				}
			})
		})
	}
}
