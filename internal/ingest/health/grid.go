package health

import "tally/internal/media"

const (
	// gridTolerance is how far keyframes of two renditions may be apart to be of the
	// same picture: less than a frame at 50 fps, more than rounding.
	gridTolerance = media.VideoTimescale / 100
	// gridLeast is how many keyframes of the first rendition must have been seen.
	gridLeast = 3
)

// checkGrid says that a rendition's keyframes do not come with the first
// rendition's, or "". Segments of all renditions begin at those, and players can
// switch to one only where it has a keyframe.
func (w *Watcher) checkGrid(l *lane) string {
	first := w.pictures[0]
	if l == first || !l.seen || !first.seen {
		return ""
	}
	own, theirs := l.keys.times(), first.keys.times()
	if len(own) < gridLeast {
		return ""
	}
	all, met := 0, 0
	for _, k := range theirs {
		if k < own[0]-gridTolerance || k > own[len(own)-1]+gridTolerance {
			continue
		}
		all++
		for _, o := range own {
			if max(k-o, o-k) <= gridTolerance {
				met++
				break
			}
		}
	}
	if all < gridLeast || 2*met >= all {
		return ""
	}
	return "keyframes do not come at the times of those of video track 0, so that players cannot switch to it; " +
		"set the same Keyframe Interval for all renditions, and turn keyframes at changes of scene off (x264: scenecut=0)"
}

// times are the decode times of the newest keyframes, oldest first.
func (k *keyframes) times() []int64 {
	n := min(k.keys, len(k.at))
	times := make([]int64, n)
	for i := range n {
		times[i] = k.at[(k.keys-n+i)%len(k.at)]
	}
	return times
}
