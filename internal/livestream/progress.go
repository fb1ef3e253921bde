package livestream

import "time"

// Progress is what an output has made of the media so far.
type Progress struct {
	Playable      bool  // a segment of this session is listable
	KeyframeSeen  bool  // a video keyframe came in this session
	MSN           int64 // of the newest segment begun; before the first, the run's mark
	Discontinuity int64 // of the newest segment begun; before the first, the run's mark
	PartTarget    time.Duration
	LongestGOP    time.Duration // between keyframes, within this session
	Trouble       string        // why segments cannot be put to rest at present, for people; "": they are, or need not be
}
