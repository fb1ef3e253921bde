package playlist

import (
	"errors"
	"fmt"
	"slices"
)

// ErrSkipGap means that a Playlist Delta Update skips segments which the
// previous playlist does not hold: fetch the full playlist.
var ErrSkipGap = errors.New("delta update skips segments that the previous playlist does not hold")

// Merge returns the full playlist that the delta update m stands for, taking
// the skipped segments from prev, the full playlist held before it
// (rfc8216bis-22 section 6.3.7). Neither is changed; the result shares their
// segments' parts and URIs. A playlist that skips nothing is returned as is.
//
// The parts of skipped segments are dropped: a skipped segment lies beyond
// CAN-SKIP-UNTIL, six target durations, where parts are no longer listed.
func (m *Media) Merge(prev *Media) (*Media, error) {
	if m.SkippedSegments == 0 {
		return m, nil
	}
	if prev == nil || prev.SkippedSegments != 0 {
		return nil, fmt.Errorf("no full playlist before it: %w", ErrSkipGap)
	}
	from := m.MediaSequence - prev.MediaSequence
	to := from + int64(m.SkippedSegments)
	if from < 0 || to > int64(len(prev.Segments)) || prev.Segments[to-1].URI == "" {
		return nil, fmt.Errorf("MSN %d to %d, previous holds %d to %d: %w", m.MediaSequence, m.FirstMSN()-1,
			prev.MediaSequence, prev.NextMSN()-1, ErrSkipGap)
	}
	full := *m
	full.SkippedSegments = 0
	full.DateRanges = slices.Clone(m.DateRanges)
	full.Segments = make([]Segment, 0, m.SkippedSegments+len(m.Segments))
	for _, s := range prev.Segments[from:to] {
		s.Parts = nil
		full.Segments = append(full.Segments, s)
	}
	// Without an EXT-X-MAP of its own the first segment goes on with the map
	// of those skipped.
	lastMap := full.Segments[len(full.Segments)-1].Map
	for _, s := range m.Segments {
		if s.Map == "" {
			s.Map = lastMap
		}
		lastMap = s.Map
		full.Segments = append(full.Segments, s)
	}
	full.parts = nil
	return &full, nil
}
