package health

import (
	"fmt"
	"slices"
	"time"

	"tally/internal/media"
)

const (
	// longestInterval is what services refuse or warn of: YouTube asks for 2 s and
	// at most 4 s (support.google.com/youtube/answer/2853702), Cloudflare Stream for
	// 2 to 6 s (cloudflare-docs#23829). OBS left at 0 (auto) takes x264's 250
	// frames: 8.3 s at 30 fps (mifi/lossless-cut#1020). 100 ms are for rounding
	// and for encoders that count a frame too many.
	longestInterval = 4*time.Second + 100*time.Millisecond
	// noKeyframe is how long a publication that had keyframes may be without one
	// before that is said, rather than at the next.
	noKeyframe = 10 * time.Second
	// recent is how far back intervals are looked at, but at least two of them.
	recent = window * time.Second
)

// keyframes measures the media time between keyframes.
type keyframes struct {
	began bool
	last  int64 // DTS of the newest keyframe
	dts   int64 // of the newest picture
	ring  [16]interval
	n     int       // intervals measured
	at    [16]int64 // DTS of the newest keyframes
	keys  int       // keyframes since the last jump
}

type interval struct {
	length time.Duration // media time
	at     time.Duration // arrival of the keyframe that ended it
}

// frame takes a picture. Across a jump of the timestamps nothing can be measured.
func (k *keyframes) frame(f media.Frame, at time.Duration) {
	k.dts = f.DTS
	if f.Discontinuity {
		k.began, k.keys = false, 0
	}
	if !f.Key {
		return
	}
	k.at[k.keys%len(k.at)] = f.DTS
	k.keys++
	if k.began {
		k.ring[k.n%len(k.ring)] = interval{videoTime(f.DTS - k.last), at}
		k.n++
	}
	k.began, k.last = true, f.DTS
}

// videoTime is how long ticks of the video's timescale are.
func videoTime(ticks int64) time.Duration { return mediaTime(ticks, media.VideoTimescale) }

// typical is the middle one of the newest five intervals; 0 when there is none.
// One that is cut short by a change of scene does not move it.
func (k *keyframes) typical() time.Duration {
	var some [5]time.Duration
	n := min(k.n, len(some))
	if n == 0 {
		return 0
	}
	for i := range n {
		some[i] = k.ring[(k.n-1-i)%len(k.ring)].length
	}
	slices.Sort(some[:n])
	return some[n/2]
}

// check says what is wrong, or "".
func (k *keyframes) check(now time.Duration) string {
	var shortest, longest time.Duration
	for i := range min(k.n, len(k.ring)) {
		one := k.ring[(k.n-1-i)%len(k.ring)]
		if i >= 2 && now-one.at > recent {
			break
		}
		longest = max(longest, one.length)
		if i == 0 || one.length < shortest {
			shortest = one.length
		}
	}
	const set = "the limit is 4 s; set Keyframe Interval to 2 s"
	switch since := videoTime(k.dts - k.last); {
	case k.began && since > noKeyframe && since > longest:
		return fmt.Sprintf("no keyframe for %s, %s", seconds(since), set)
	case longest <= longestInterval:
		return ""
	case longest > shortest*5/4:
		return fmt.Sprintf("keyframes come irregularly, between %s and %s apart, %s", seconds(shortest), seconds(longest), set)
	}
	return fmt.Sprintf("keyframes every %s, %s", seconds(longest), set)
}
