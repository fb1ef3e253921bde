// Package hlscheck is the strict checker of low-latency HLS: what players,
// above all Apple's, refuse or stumble over, as rules with ids. A Checker is
// shown one viewer's playlists, in the order they were read, and the media
// fetched for them; Probe asks a live server for what one viewer never asks.
//
// Rules that only our own design asks for (every segment dated, parts never
// short except last) are as strict here as in the packager; the table Rules
// says where each comes from. Sections are those of
// draft-pantos-hls-rfc8216bis-22 ("22"), "design 5" is the project's own.
package hlscheck

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"tally/internal/hls/playlist"
)

// A Violation is one broken rule, once.
type Violation struct {
	Rule    string    // id of one of Rules
	Section string    // where the rule stands
	At      time.Time // of the observation that showed it
	MSN     int64     // segment it is about; -1: none in particular
	Text    string    // what was seen
}

func (v Violation) String() string {
	if v.MSN < 0 {
		return fmt.Sprintf("%s (%s): %s", v.Rule, v.Section, v.Text)
	}
	return fmt.Sprintf("%s (%s): MSN %d: %s", v.Rule, v.Section, v.MSN, v.Text)
}

// maxViolations bounds what a checker keeps; a stream that breaks more has been
// told enough.
const maxViolations = 500

// Options of a Checker. The zero value is right for our own server.
type Options struct {
	// TimeTolerance is what media may differ from its neighbour or its playlist
	// entry; 0: 2 ms. RTMP stamps whole milliseconds, so a part that is listed
	// before its next frame came can be off by one at either end.
	TimeTolerance time.Duration
	// SameClock says that observations are told by the clock that the server
	// dates by: only then can dates be held against them (pdt-future).
	SameClock bool
	// Cadence, when it is not 0, says that the encoder sends steadily and each
	// growth of the playlist is seen at once, and is by how much media may be
	// later than the draft asks (part-cadence, segment-cadence).
	Cadence time.Duration
	// Ignore names rules that are not reported.
	Ignore []string
}

// A Checker follows one media playlist of one run. Its methods may be called
// from several goroutines, but an order of observations is only what the caller
// makes it.
type Checker struct {
	o Options

	mu         sync.Mutex
	violations []Violation
	seen       map[string]bool // violations already reported
	now        time.Time       // of the observation being checked

	prev      *playlist.Media // last playlist, completed
	prevDelta bool            // it came as a delta update
	segs      map[int64]*segment
	hint      heldHint
	ranges    rangeState
	uris      map[string]position // where each URI was listed
	grew      time.Time           // when a part was new last
	grewWhole time.Time           // when a segment was

	variants []playlist.Variant // of the multivariant playlist shown last; nil once a map was compared with it
	rates    rates              // and its BANDWIDTH

	media mediaState

	among func(Observation, *playlist.Media) // compares with other renditions; nil: there are none
}

// New returns a checker that has seen nothing.
func New(o Options) *Checker {
	if o.TimeTolerance == 0 {
		o.TimeTolerance = 2 * time.Millisecond
	}
	return &Checker{o: o, seen: map[string]bool{}, segs: map[int64]*segment{}, ranges: newRangeState(), uris: map[string]position{}, media: newMediaState()}
}

// Violations returns what was found so far, oldest first.
func (c *Checker) Violations() []Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}

// report notes a violation unless it was noted before: a segment that stays
// wrong for its whole life in the window is one finding.
func (c *Checker) report(rule string, msn int64, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	key := fmt.Sprint(rule, " ", msn, " ", text)
	if c.seen[key] || len(c.violations) >= maxViolations || slices.Contains(c.o.Ignore, rule) {
		return
	}
	c.seen[key] = true
	c.violations = append(c.violations, Violation{Rule: rule, Section: section(rule), At: c.now, MSN: msn, Text: text})
}
