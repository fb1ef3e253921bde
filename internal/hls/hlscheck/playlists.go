package hlscheck

import (
	"time"

	"tally/internal/hls/playlist"
)

// An Observation is one Media Playlist as a viewer read it.
type Observation struct {
	At         time.Time           // when its last byte was read
	Directives playlist.Directives // asked for; the zero value is taken as none
	Text       string
}

// segment is what the checker remembers about one MSN.
type segment struct {
	playlist.Segment       // as listed last, with the parts it ever listed
	complete         bool  // it had its EXTINF
	disc             int64 // its Discontinuity Sequence Number

	checked map[string]sum // bodies seen, by URI; in mediaState's hands
}

// heldHint is a preload hint and the position it was made at.
type heldHint struct {
	uri  string
	msn  int64 // of the segment that was open, or was to be opened
	part int   // parts it listed
}

// Playlist checks a Media Playlist against the rules and against those shown
// before it, in time order. Media that arrived ahead of its listing is checked
// now.
func (c *Checker) Playlist(o Observation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = o.At
	if o.Directives == (playlist.Directives{}) {
		o.Directives = playlist.NoDirectives
	}
	read, err := playlist.ParseMedia(o.Text)
	if err != nil {
		c.report("syntax", -1, "%v", err)
		return
	}
	m := c.complete(o, read)
	if m == nil {
		return
	}
	c.checkHead(m)
	c.checkSegments(m)
	c.checkAnswer(o.Directives, m)
	c.checkHistory(m, read.SkippedSegments > 0)
	c.remember(m, read.SkippedSegments > 0)
	c.mediaPending()
}

// complete turns a delta update into the full playlist; nil when it cannot.
func (c *Checker) complete(o Observation, m *playlist.Media) *playlist.Media {
	if m.SkippedSegments == 0 {
		return m
	}
	if !o.Directives.Skip || m.EndList || m.CanSkipUntil == 0 {
		c.report("delta-unasked", -1, "%d segments skipped; asked: %v, ENDLIST: %v, CAN-SKIP-UNTIL: %v",
			m.SkippedSegments, o.Directives.Skip, m.EndList, m.CanSkipUntil)
	}
	full, err := m.Merge(c.prev)
	if err != nil {
		c.report("delta-full", -1, "%v", err)
		return nil
	}
	// What is skipped must end further than the boundary from the end of the
	// last segment, open or not.
	if from := m.Length(); from < m.CanSkipUntil {
		c.report("delta-boundary", m.FirstMSN()-1, "ends %v before the playlist does, CAN-SKIP-UNTIL is %v", from, m.CanSkipUntil)
	}
	return full
}

func (c *Checker) checkHead(m *playlist.Media) {
	target := time.Duration(m.TargetDuration) * time.Second
	if m.HoldBack < 3*target {
		c.report("hold-back", -1, "HOLD-BACK %v, 3 x target is %v", m.HoldBack, 3*target)
	}
	if m.PartTarget > 0 && m.PartHoldBack < 3*m.PartTarget {
		c.report("part-hold-back", -1, "PART-HOLD-BACK %v, 3 x part target is %v", m.PartHoldBack, 3*m.PartTarget)
	}
	if m.CanSkipUntil > 0 && m.CanSkipUntil < 6*target {
		c.report("can-skip-until", -1, "CAN-SKIP-UNTIL %v, 6 x target is %v", m.CanSkipUntil, 6*target)
	}
	if m.EndList && (m.PreloadHint != "" || m.Open() != nil) {
		c.report("endlist-hint", -1, "hint %q, open segment: %v", m.PreloadHint, m.Open() != nil)
	}
	if m.PartTarget > 0 && !m.EndList && m.PreloadHint == "" {
		c.report("hint-present", -1, "no EXT-X-PRELOAD-HINT")
	}
}

func (c *Checker) checkSegments(m *playlist.Media) {
	target := time.Duration(m.TargetDuration) * time.Second
	uris := make(map[string]bool, 4*len(m.Segments))
	fromEnd := m.Length() // distance of the segment's start from the end
	for i := range m.Segments {
		s, msn := &m.Segments[i], m.FirstMSN()+int64(i)
		fromEnd -= s.Length() // now of its end
		if s.URI != "" {
			c.checkURI(uris, msn, s.URI)
			if s.Duration.Round(time.Second) > target {
				c.report("extinf-target", msn, "EXTINF %v, target duration %v", s.Duration, target)
			}
		}
		if len(s.Parts) > 0 && fromEnd > 3*target {
			c.report("parts-edge", msn, "lists parts, ends %v before the playlist does, 3 x target is %v", fromEnd, 3*target)
		}
		if s.ProgramDateTime.IsZero() {
			c.report("pdt-present", msn, "no EXT-X-PROGRAM-DATE-TIME")
		}
		if s.Map == "" && !s.Gap {
			c.report("map-present", msn, "no EXT-X-MAP applies")
		}
		if i > 0 {
			c.checkNeighbours(&m.Segments[i-1], s, msn)
		}
		c.checkParts(m, s, msn, uris)
	}
}

func (c *Checker) checkURI(seen map[string]bool, msn int64, uri string) {
	if seen[uri] {
		c.report("uri-unique", msn, "%s is listed twice", uri)
	}
	seen[uri] = true
}

// dateTolerance is what a date may differ from the end of the segment before
// it: each is printed in milliseconds.
const dateTolerance = 2 * time.Millisecond

func (c *Checker) checkNeighbours(before, s *playlist.Segment, msn int64) {
	if s.Map != before.Map && !s.Discontinuity {
		c.report("map-discontinuity", msn, "map %s after %s without EXT-X-DISCONTINUITY", s.Map, before.Map)
	}
	// What the open segment is, it says when it is complete.
	if s.URI != "" && s.Held() != before.Held() && !s.Discontinuity {
		c.report("held-apart", msn, "held is %v after %v without EXT-X-DISCONTINUITY", s.Held(), before.Held())
	}
	if before.ProgramDateTime.IsZero() || s.ProgramDateTime.IsZero() {
		return
	}
	off := s.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Duration))
	switch {
	case s.Discontinuity && off <= -time.Second:
		c.report("pdt-consistent", msn, "date goes back by %v across a discontinuity", -off)
	case !s.Discontinuity && off.Abs() > dateTolerance:
		c.report("pdt-consistent", msn, "date is %v after the end of the segment before", off)
	}
}

func (c *Checker) checkParts(m *playlist.Media, s *playlist.Segment, msn int64, uris map[string]bool) {
	if len(s.Parts) == 0 {
		return
	}
	if m.IndependentSegments && !s.Parts[0].Independent && !s.Parts[0].Gap {
		c.report("independent-first", msn, "the first part is not INDEPENDENT")
	}
	var sum time.Duration
	for i := range s.Parts {
		p := &s.Parts[i]
		sum += p.Duration
		c.checkURI(uris, msn, p.URI)
		if p.Gap != s.Gap {
			c.report("gap-parts", msn, "part %d: GAP is %v, that of the segment %v", i, p.Gap, s.Gap)
		}
		if s.Held() && !p.Independent && !p.Gap {
			c.report("held-independent", msn, "part %d is not INDEPENDENT", i)
		}
		if p.Duration > m.PartTarget {
			c.report("part-target-max", msn, "part %d lasts %v, PART-TARGET is %v", i, p.Duration, m.PartTarget)
		}
		// The last of an open segment may turn out to be the last of it.
		last := i == len(s.Parts)-1
		if p.Duration*100 < m.PartTarget*85 && !last && !p.Gap && !s.Parts[i+1].Gap && !s.Parts[i+1].Independent {
			c.report("part-85", msn, "part %d of %d lasts %v, 85 %% of PART-TARGET is %v", i, len(s.Parts), p.Duration, m.PartTarget*85/100)
		}
	}
	if s.URI != "" && sum != s.Duration {
		c.report("part-sum", msn, "%d parts sum to %v, EXTINF is %v", len(s.Parts), sum, s.Duration)
	}
}

// checkAnswer checks that a blocking reload held until there was what it asked
// for. With ENDLIST directives are ignored.
func (c *Checker) checkAnswer(d playlist.Directives, m *playlist.Media) {
	if d.MSN < 0 || m.EndList {
		return
	}
	if !has(m, d.MSN, d.Part) {
		c.report("block-early", d.MSN, "asked for part %d (-1: the segment), got a playlist that ends at MSN %d with %d parts of the next",
			d.Part, m.NextMSN()-1, openParts(m))
	}
}

// has reports whether m has part of msn, or for part -1 the whole segment. A
// part past the last of a segment is part 0 of the next.
func has(m *playlist.Media, msn int64, part int) bool {
	next := m.NextMSN()
	if part < 0 || msn > next {
		return msn < next
	}
	if msn == next {
		return openParts(m) > part
	}
	i := msn - m.FirstMSN()
	if i < 0 || len(m.Segments[i].Parts) == 0 || part < len(m.Segments[i].Parts) {
		return true
	}
	return has(m, msn+1, 0)
}

func openParts(m *playlist.Media) int {
	if open := m.Open(); open != nil {
		return len(open.Parts)
	}
	return 0
}
