package health

import (
	"fmt"

	"tally/internal/media"
)

const (
	// disorder is how many timestamps in 30 s may go back, or contradict each
	// other, before that is said: one now and then does no harm, since they are
	// repaired. Encoders do that for as long as they run (OBS with NVENC:
	// mediamtx#1170, mediamtx#1002) or never.
	disorder = 3
	// standstill is how many frames must have had the same timestamp.
	standstill = 15
)

// stamp notes what was wrong with a frame's timestamps.
func (s *second) stamp(f media.Frame) {
	switch f.Stamp {
	case media.StampBack:
		s.back++
	case media.StampFrozen:
		s.frozen++
	case media.StampFar:
		s.far++
	}
	if f.PTS < f.DTS {
		s.early++
	}
	if f.Discontinuity {
		s.jumps++
	}
}

// checkStamps says what is wrong with them, the worst first, or "".
func (w *Watcher) checkStamps(s second) string {
	const again = "restart the encoder's output, and update the encoder if this comes back"
	switch jumps := s.jumps; {
	case s.frozen >= standstill:
		return fmt.Sprintf("the timestamps of %d frames of the last %d s stand still (the limit is %d), so that their arrival counts instead; "+
			"%s (ffmpeg: -use_wallclock_as_timestamps 1)", s.frozen, w.span(), standstill-1, again)
	case jumps > 0:
		return fmt.Sprintf("timestamps jumped %s within %d s (by more than 10 s forward or 1 s back), and players see a break each time; "+
			"restart the encoder's output after its source was changed", times(jumps), w.span())
	case s.back >= disorder:
		return fmt.Sprintf("%d timestamps of the last %d s went back (the limit is %d); "+
			"set B-frames to 0, %s", s.back, w.span(), disorder-1, again)
	case s.far >= disorder:
		return fmt.Sprintf("%d frames of the last %d s are to be shown more than 10 s from when they are decoded (the limit is %d); "+
			"set B-frames to 0, %s", s.far, w.span(), disorder-1, again)
	case s.early >= disorder:
		return fmt.Sprintf("%d frames of the last %d s are to be shown before they are decoded (PTS before DTS; the limit is %d); "+
			"set B-frames to 0, %s", s.early, w.span(), disorder-1, again)
	}
	return ""
}
