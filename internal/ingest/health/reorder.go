package health

import (
	"fmt"
	"time"

	"tally/internal/media"
)

// defaultPart is the part target until it is known (design section 5).
const defaultPart = 335 * time.Millisecond

// reorder notes how far presentation is from decoding.
func (s *second) reorder(f media.Frame) {
	if f.Stamp == media.StampFar {
		return
	}
	shift := f.PTS - f.DTS
	if s.frames == 0 {
		s.least, s.most = shift, shift
	}
	s.least, s.most = min(s.least, shift), max(s.most, shift)
}

// checkReorder says what the order of pictures costs, or "". A picture that is
// sent ahead of those that are shown before it waits for them: the span of PTS
// less DTS. x264's default of 3 B-frames costs some 130 to 170 ms at 30 fps, less
// than the part that a player waits for anyway, so it is no matter.
func (w *Watcher) checkReorder(sum second) string {
	limit := w.part
	if limit == 0 {
		limit = defaultPart
	}
	cost := videoTime(sum.most - sum.least)
	if cost <= limit {
		return ""
	}
	return fmt.Sprintf("B-frames delay every picture by %d ms, more than one part (the limit is %d ms); "+
		"set B-frames to 0, or Tune to zerolatency", cost.Milliseconds(), limit.Milliseconds())
}
