// Package playlist turns HLS playlists into text and back: Media Playlists
// with the low-latency tags, Multivariant Playlists, Playlist Delta Updates,
// and the delivery directives of a request. It reads no clock and does no I/O.
//
// Sections are those of draft-pantos-hls-rfc8216bis-22 ("rfc8216bis-22").
//
// The server renders one Media per part with AppendText, which allocates
// nothing once its buffer has grown. Players and checkers read with
// (*Media).Parse, which is strict: what a tag's definition forbids is an error
// that names the line.
package playlist

import "time"

// Precision is the unit in which durations are printed. A renderer whose
// durations are multiples of it (see Span) lists parts that sum exactly to the
// EXTINF of their segment. One microsecond is a choice: 44.1 kHz and 90 kHz
// have no common decimal unit, and players read durations as floating point.
const Precision = time.Microsecond

// DefaultVersion is the EXT-X-VERSION written for a zero Version: EXT-X-SKIP
// needs 9 (rfc8216bis-22 section 8), and some players refuse numbers they have
// not heard of.
const DefaultVersion = 9

// Span returns the duration between two boundaries on a tick clock, rounded to
// Precision at the boundaries and not between them: the spans of adjacent
// parts sum exactly to the span of their segment, however long the stream.
// Ticks count from the start of the stream; timescale is in ticks per second
// and must not be 0.
func Span(start, end int64, timescale uint32) time.Duration {
	return At(end, timescale) - At(start, timescale)
}

// At returns the time of a tick, rounded half up to Precision.
func At(tick int64, timescale uint32) time.Duration {
	ts := int64(timescale)
	sec, rest := tick/ts, tick%ts
	if rest < 0 {
		sec, rest = sec-1, rest+ts
	}
	const unit = int64(time.Second / Precision)
	return time.Duration(sec)*time.Second + time.Duration((rest*unit+ts/2)/ts)*Precision
}

// Media is a Media Playlist (rfc8216bis-22 section 4.4.3). The zero value of
// an optional field leaves its tag or attribute out.
//
// A Media may be read by several goroutines while nobody changes it.
type Media struct {
	Version             int  // EXT-X-VERSION; 0 is written as DefaultVersion
	TargetDuration      int  // seconds; constant for the life of a playlist
	IndependentSegments bool // every segment starts with a keyframe

	PartTarget     time.Duration // EXT-X-PART-INF PART-TARGET; constant too
	PartHoldBack   time.Duration // EXT-X-SERVER-CONTROL PART-HOLD-BACK, >= 3 x PartTarget
	HoldBack       time.Duration // HOLD-BACK, >= 3 x TargetDuration
	CanSkipUntil   time.Duration // CAN-SKIP-UNTIL, >= 6 x TargetDuration
	CanBlockReload bool          // CAN-BLOCK-RELOAD=YES

	MediaSequence         int64 // MSN of the first segment, listed or skipped
	DiscontinuitySequence int64 // of the first segment, its own EXT-X-DISCONTINUITY not counted

	// SkippedSegments > 0 makes this a Playlist Delta Update: that many
	// segments from MediaSequence on are replaced by EXT-X-SKIP and are not in
	// Segments. Never write 0 as a skip (players loop on it).
	SkippedSegments int

	// VOD writes EXT-X-PLAYLIST-TYPE:VOD: the playlist never changes. Parsing
	// leaves it out.
	VOD bool

	// LastMap is the map in force where Segments begin: who writes a list so long
	// that most of its text is better kept than written again puts that text behind
	// [Media.AppendStart]. Parsing leaves it out.
	LastMap string

	// Segments in order. Only the last may be open (its URI empty).
	Segments []Segment

	// DateRanges are written before the segments, and in a delta update too: none
	// are ever skipped.
	DateRanges []DateRange

	PreloadHint      string // URI of the next part; EXT-X-PRELOAD-HINT:TYPE=PART
	RenditionReports []RenditionReport
	EndList          bool

	parts []Part // backing of the Parts of parsed segments
}

// Segment is a Media Segment with the tags that apply to it. An empty URI is
// the open segment, whose parts are listed but which has no EXTINF yet.
type Segment struct {
	URI             string
	Duration        time.Duration // EXTINF; a multiple of Precision; 0 while open
	ProgramDateTime time.Time     // zero: no tag; printed in UTC with milliseconds
	Discontinuity   bool          // EXT-X-DISCONTINUITY before this segment
	Gap             bool          // EXT-X-GAP: listed but not to be fetched
	Title           string        // EXTINF's, which is for people; no line break; "" while open
	Map             string        // URI of its initialization section; written where it changes
	Parts           []Part        // empty once the segment is far from the live edge
}

// TitleHeld is the Title of segments that hold the picture while no media comes
// from the encoder. Players show titles to nobody; our own know by it.
const TitleHeld = "held"

// Held reports whether the segment stands in for media that did not come.
func (s *Segment) Held() bool { return s.Title == TitleHeld }

// Part is a Partial Segment (rfc8216bis-22 section 4.4.4.9).
type Part struct {
	URI         string
	Duration    time.Duration // a multiple of Precision
	Independent bool          // starts with a keyframe
	Gap         bool
}

// RenditionReport says how far another Media Playlist of the same programme is
// (rfc8216bis-22 section 4.4.5.4).
type RenditionReport struct {
	URI      string
	LastMSN  int64
	LastPart int64 // index of the last part of LastMSN; -1: not given
}

// NextMSN returns the MSN after the last complete segment: that of the open
// segment, whether or not one is listed.
func (m *Media) NextMSN() int64 {
	n := m.MediaSequence + int64(m.SkippedSegments) + int64(len(m.Segments))
	if m.Open() != nil {
		n--
	}
	return n
}

// FirstMSN returns the MSN of Segments[0].
func (m *Media) FirstMSN() int64 { return m.MediaSequence + int64(m.SkippedSegments) }

// Open returns the open segment, or nil.
func (m *Media) Open() *Segment {
	if n := len(m.Segments); n > 0 && m.Segments[n-1].URI == "" {
		return &m.Segments[n-1]
	}
	return nil
}

// Length returns the duration of the listed segments, and of the parts of the
// open one. Skipped segments are not in it.
func (m *Media) Length() time.Duration {
	var d time.Duration
	for i := range m.Segments {
		d += m.Segments[i].Length()
	}
	return d
}

// Length returns EXTINF, or for the open segment the sum of its parts.
func (s *Segment) Length() time.Duration {
	if s.URI != "" {
		return s.Duration
	}
	var d time.Duration
	for i := range s.Parts {
		d += s.Parts[i].Duration
	}
	return d
}
