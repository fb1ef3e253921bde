package hls

import (
	"time"

	"tally/internal/hls/playlist"
)

// start is where a player that joins now should begin, or nil where its own
// choice is right.
//
// A player begins PART-HOLD-BACK before the end and decodes from the last
// keyframe before that, but hls.js 1.7 looks for one in that segment only.
// Where the segment has none (behind a run's first, which is one part, and
// where the encoder's keyframes are further apart than segments may be long) it
// shows nothing until the next keyframe, and often not even then: it waits at a
// position that it has no media for.
func (s *Snapshot) start() *playlist.Start {
	parts := s.parts
	for len(parts) > 0 && parts[0].MSN < s.FirstMSN {
		parts = parts[1:] // can be fetched, is not listed
	}
	if s.Ended || len(parts) == 0 {
		return nil
	}
	var edge time.Duration
	for _, p := range parts {
		edge += p.Duration
	}
	own := max(0, edge-3*s.PartTarget)
	key, later, at := time.Duration(-1), time.Duration(-1), time.Duration(0)
	var keyMSN, ownMSN int64
	for _, p := range parts {
		if at <= own {
			ownMSN = p.MSN
		}
		switch {
		case !p.Independent:
		case at <= own:
			key, keyMSN = at, p.MSN
		default:
			later = at
		}
		at += p.Duration
	}
	switch {
	case key >= 0 && keyMSN == ownMSN:
		return nil
	case s.muxed && (later >= 0 || edge-key <= 6*s.PartTarget):
		return nil // sound until the picture comes, which is less late than going back
	case later >= 0:
		return &playlist.Start{Offset: later - edge}
	case key < 0:
		return nil
	case keyMSN == s.FirstMSN && s.past.listed() == 0:
		// As long as this one is listed nothing leaves the list, while its end
		// moves on.
		return &playlist.Start{Offset: key}
	}
	return &playlist.Start{Offset: key - edge}
}
