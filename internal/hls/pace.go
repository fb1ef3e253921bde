package hls

import (
	"slices"
	"time"

	"tally/internal/media"
)

// spacings is how many distances between frames the measured rate looks back
// on: enough to average the millisecond rounding of RTMP away.
const spacings = 16

// A pace predicts how long a frame lasts: the lead track's frame duration, from
// its configuration where the frames agree with it, else measured.
type pace struct {
	announced int64 // ticks; 0: not announced
	most      int64 // ticks: one second; rarer frames are not waited for
	fixed     bool  // audio: the next frame lasts as long as the one before, which told
	recent    [spacings]int64
	n         int   // spacings seen
	expected  int64 // ticks; what frame tells once a spacing was seen
}

func newPace(t media.Track) pace {
	switch {
	case !t.Codec.Video():
		return pace{announced: t.FrameSamples, most: int64(t.Timescale), fixed: true}
	case t.FrameRate >= 1:
		return pace{announced: int64(float64(t.Timescale)/t.FrameRate + 0.5), most: int64(t.Timescale)}
	}
	return pace{most: int64(t.Timescale)}
}

// lasts takes note of how long a frame of sound says that it lasts; 0: it does not.
func (p *pace) lasts(ticks int64) {
	if p.fixed && ticks > 0 {
		p.announced = ticks
	}
}

// saw takes note of the distance between two frames.
func (p *pace) saw(ticks int64) {
	if !p.fixed && ticks > 0 {
		p.recent[p.n%spacings] = ticks
		p.n++
		p.expected = p.expect()
	}
}

// slack is by how much the frames of one part may differ from as many times
// frame: the rounding of timestamps, and the error of a rate that is measured.
func (p *pace) slack() time.Duration {
	if p.announced > 0 && p.frame() == p.announced {
		return time.Millisecond
	}
	return 5 * time.Millisecond / 2
}

// frame is the expected duration of the next frame in ticks; 0: unknown yet.
func (p *pace) frame() int64 {
	if p.n == 0 { // or fixed
		return p.announced
	}
	return p.expected
}

// expect works out frame from the spacings seen.
func (p *pace) expect() int64 {
	measured := p.measured()
	// RTMP rounds to milliseconds, so few spacings prove little.
	slack := measured/20 + 90/int64(min(p.n, spacings))
	if abs := max(p.announced-measured, measured-p.announced); p.announced > 0 && abs <= slack {
		return p.announced
	}
	return min(measured, p.most)
}

// measured is the mean of the recent spacings without the outliers that a
// dropped frame or a pause leaves.
func (p *pace) measured() int64 {
	n := min(p.n, spacings)
	sorted := p.recent
	slices.Sort(sorted[:n])
	median := sorted[n/2]
	var sum, count int64
	for _, d := range sorted[:n] {
		if d >= median/2 && d <= median*3/2 {
			sum += d
			count++
		}
	}
	return (sum + count/2) / count
}

const (
	defaultPartTarget = 335 * time.Millisecond
	// MinPartTarget and MaxPartTarget bound PART-TARGET (design section 5).
	MinPartTarget = 200 * time.Millisecond
	MaxPartTarget = time.Second
	// partHeadroom goes on top of whole frames: RTMP's millisecond rounding at
	// both ends of a part, and one more.
	partHeadroom = 3 * time.Millisecond
)

// fill is the share of PART-TARGET that a part must have unless it ends a
// segment (rfc8216bis-22 section 4.4.4.9), in percent.
const fill = 85

// choosePartTarget returns PART-TARGET for frames of that duration: want if
// whole frames fill it, else as many frames as come closest, with headroom
// (design section 5, Parts). slack is what timestamps may be off over a part.
// The result is not above limit, the target duration.
func choosePartTarget(want, frame, slack, limit time.Duration) time.Duration {
	if frame <= 0 {
		return min(want, limit)
	}
	if k := (want - slack) / frame; k > 0 && k*frame >= want*fill/100+slack {
		return min(want, limit)
	}
	k := max(1, (want+frame/2)/frame)
	for k*frame < MinPartTarget {
		k++
	}
	for k > 1 && k*frame+partHeadroom > MaxPartTarget {
		k--
	}
	return min((k*frame + partHeadroom + time.Millisecond - 1).Truncate(time.Millisecond), limit)
}
