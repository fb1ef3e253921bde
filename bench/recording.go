package main

import (
	"fmt"
	"strings"

	"tally/internal/hls/playlist"
)

// A recording is what a player can be told about a stretch of one run, byte by
// byte as the server under test sent it. The bare server hands it out again at
// the pace at which the generator plays it.
type recording struct {
	Multivariant []byte
	// Before is what the first playlist lists already: init sections, segments
	// and parts by their name.
	Before map[string][]byte
	Steps  []step
}

// A step is one part and the playlists that list it first.
type step struct {
	At        int64 // nanoseconds after the first step, when the part was first there
	NextMSN   int64 // the segment after the last complete one
	NextParts int   // how many of its parts are listed
	Media     map[string][]byte
	Playlist  [variants][]byte
}

// Each playlist exists in four forms.
const (
	formDelta = 1 << iota // Playlist Delta Update
	formGzip
	variants = 4
)

// position fills in how far the step's playlist goes.
func (s *step) position(m *playlist.Media) {
	s.NextMSN = m.NextMSN()
	s.NextParts = 0
	if open := m.Open(); open != nil {
		s.NextParts = len(open.Parts)
	}
}

// has reports whether the step's playlist holds what a blocking reload waits
// for; part -1 means the whole segment.
func (s *step) has(msn int64, part int) bool {
	return msn < s.NextMSN || msn == s.NextMSN && part >= 0 && part < s.NextParts
}

// mediaURI returns the media playlist's URI in a multivariant playlist.
func mediaURI(text string) (string, error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			return line, nil
		}
	}
	return "", fmt.Errorf("no media playlist in %q", text)
}

// listed calls f for each init section, segment and part that m lists.
func listed(m *playlist.Media, f func(name string)) {
	for i := range m.Segments {
		s := &m.Segments[i]
		if s.Map != "" {
			f(s.Map)
		}
		if s.URI != "" && !s.Gap {
			f(s.URI)
		}
		for _, p := range s.Parts {
			if !p.Gap {
				f(p.URI)
			}
		}
	}
}
