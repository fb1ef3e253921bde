package health

import (
	"fmt"
	"math"
	"slices"
	"time"

	"tally/internal/media"
)

const (
	// Pictures are missed when more than 1 % of those of the last 30 s are, and at
	// least ten. OBS drops up to everything until the next keyframe once 700 ms of
	// media wait to be sent (its author: gist.github.com/jp9000, "What are dropped
	// frames"), so one drop is some 10 to 60 frames; a single lost frame is noise.
	missingShare = 100
	missingLeast = 10
	// stalled is how long video may stay away while audio goes on until pictures
	// count as missing before the next one shows the hole.
	stalled = 2 * time.Second
)

// spacing measures how far pictures are apart.
type spacing struct {
	began  bool
	dts    int64
	deltas [31]int64 // ticks, the newest; 1 s of 30 fps
	n      int

	step     int64   // ticks, as measured; 0: not known yet
	fps      float64 // 0: not known yet
	variable bool    // distances vary so much that none is right
}

// forget begins anew: another configuration came.
func (p *spacing) forget() { *p = spacing{} }

// frame takes a picture, and returns how many are missing before it.
func (p *spacing) frame(f media.Frame) (missing int32) {
	delta := f.DTS - p.dts
	measurable := p.began && !f.Discontinuity && f.Stamp == media.StampGood && delta > 0
	p.began, p.dts = true, f.DTS
	if !measurable {
		return 0
	}
	p.deltas[p.n%len(p.deltas)] = min(delta, math.MaxInt32)
	p.n++
	if p.step == 0 || p.variable || 2*delta <= 3*p.step {
		return 0
	}
	return int32(min((delta+p.step/2)/p.step-1, math.MaxInt32/(2*window)))
}

// measure takes the middle distance as the frame duration, and for precision
// the mean of those near it: RTMP has whole milliseconds. Where distances vary,
// they are held against the rate that the stream announced, 0 for none, if many
// are as short as that.
func (p *spacing) measure(announced float64) {
	n := min(p.n, len(p.deltas))
	if n < len(p.deltas)/2 {
		return
	}
	sorted := p.deltas
	slices.Sort(sorted[:n])
	middle := sorted[n/2]
	if 2*sorted[n*3/4] > 3*sorted[n/4] { // screens and phones that send a picture when it changes
		p.variable = true
		if step := media.VideoTimescale / announced; announced > 0 && math.Abs(float64(sorted[n/4])-step) <= step/7 {
			p.variable, p.step, p.fps = false, max(1, int64(step)), announced
		}
		return
	}
	p.variable = false
	sum, near := int64(0), int64(0)
	for _, d := range sorted[:n] {
		if 4*d >= 3*middle && 4*d <= 5*middle {
			sum, near = sum+d, near+1
		}
	}
	p.step = sum / near
	p.fps = media.VideoTimescale * float64(near) / float64(sum)
}

// checkPictures says how many of a track are missing, or "". They are also where
// it stays away while another goes on.
func (w *Watcher) checkPictures(l *lane, sum second) string {
	missing, newest := int64(sum.missing), time.Duration(0)
	for _, list := range [][]*lane{w.pictures, w.sounds} {
		for _, o := range list {
			newest = max(newest, o.last)
		}
	}
	if away := newest - l.last; l.seen && away > stalled && l.spacing.step > 0 {
		missing += int64(min(away, window*time.Second) / videoTime(l.spacing.step))
	}
	all := int64(sum.frames) + missing
	if missing < missingLeast || missing*missingShare <= all {
		return ""
	}
	return fmt.Sprintf("%d of the %d video frames of the last %d s are missing (%.2g %%, the limit is 1 %%); "+
		"lower Bitrate to what the upload carries, or choose a faster CPU Usage Preset if the encoder is overloaded",
		missing, all, w.span(), 100*float64(missing)/float64(all))
}
