package media

import "time"

// A Cue is something that an encoder, or whoever controls the broadcast, tells
// about a moment of it: a caption's text, a score, the begin of an ad break. It
// is immutable once handed on.
type Cue struct {
	// Class says how Data is to be read: the name of the RTMP message, or what the
	// API's caller chose. At most [MaxCueClass] bytes.
	Class string
	// At is when it happens, in ticks of VideoTimescale on the time line of
	// Frame.DTS. Now: with the newest media, whatever At is.
	At  int64
	Now bool
	// Duration is how long it lasts, 0 for a moment. Planned: that is only
	// expected, and a later cue may say otherwise.
	Duration time.Duration
	Planned  bool
	Data     string // text or JSON, in UTF-8; at most [MaxCueData] bytes; "" for none

	Splice Splice
	// Event pairs the cue that begins a splice with the one that ends it; 0 with
	// SpliceNone and SpliceCommand.
	Event uint32
	// Section is the splice_info_section (ANSI/SCTE 35 section 9.6), nil where the
	// encoder sent none. At most [MaxCueSection] bytes.
	Section []byte
}

// A Splice says what a cue means to a splicer of advertisements.
type Splice uint8

const (
	SpliceNone    Splice = iota // it is no splice
	SpliceOut                   // the programme is left
	SpliceIn                    // the programme is back
	SpliceCommand               // any other command of SCTE 35
)

// Bounds of one cue: it goes into every playlist while it is listed.
const (
	MaxCueClass   = 128
	MaxCueData    = 2048
	MaxCueSection = 1024
)

// A Mark tells where a cue was put. ID is "" while that is not known, because no
// media has come that it could belong to.
type Mark struct {
	ID   string // of the date range in the playlist
	Date time.Time
}
