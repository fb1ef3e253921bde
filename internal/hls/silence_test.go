package hls_test

import (
	"slices"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/media"
)

// Sound that pauses, late sound and sound that comes late for good leave no hole
// in what a player has: the strict checker looks at the media.
func TestSoundPauses(t *testing.T) {
	sound := func(it item) bool { return it.track == nil && it.frame.Track == media.AudioTrack }
	for name, change := range map[string]func([]item) []item{
		"for seconds": func(all []item) []item {
			return slices.DeleteFunc(all, func(it item) bool { return sound(it) && it.at > 7*time.Second && it.at < 10600*time.Millisecond })
		},
		"for three frames": func(all []item) []item {
			return slices.DeleteFunc(all, func(it item) bool { return sound(it) && it.at > 7*time.Second && it.at < 7065*time.Millisecond })
		},
		"not, but its timestamps jitter": func(all []item) []item {
			for i, n := 0, 0; i < len(all); i++ {
				if sound(all[i]) {
					if n++; n%7 == 0 {
						all[i].frame.DTS += 48 * 40 // 40 ms
						all[i].frame.PTS = all[i].frame.DTS
					}
				}
			}
			return all
		},
		"to the end": func(all []item) []item {
			return slices.DeleteFunc(all, func(it item) bool { return sound(it) && it.at > 7*time.Second })
		},
		"and comes at once": func(all []item) []item {
			for i, it := range all {
				if sound(it) && it.at > 7*time.Second && it.at < 10*time.Second {
					all[i].at = 10 * time.Second
				}
			}
			slices.SortStableFunc(all, func(a, b item) int { return int(a.at - b.at) })
			return all
		},
		"and stays late": func(all []item) []item {
			for i, it := range all {
				if sound(it) && it.at > 7*time.Second {
					all[i].at += 3 * time.Second
				}
			}
			slices.SortStableFunc(all, func(a, b item) int { return int(a.at - b.at) })
			return slices.DeleteFunc(all, func(it item) bool { return it.at >= 20*time.Second }) // where the picture ends
		},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, hls.Config{}, run(2), func(s *stage) {
				src := av
				src.length = 20 * time.Second
				s.begin(1)
				s.send(1, change(src.items(t)))
				end(s.p)
			})
		})
	}
}
