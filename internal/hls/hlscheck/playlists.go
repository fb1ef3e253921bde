package hlscheck

import (
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// An Observation is one Media Playlist as a viewer read it.
type Observation struct {
	At         time.Time           // when its last byte was read
	Asked      time.Time           // when it was asked for; zero: At
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
	c.checkTags(o.Text, read)
	c.checkHead(m)
	c.checkSegments(m)
	c.checkDates(m)
	c.rates.listed(m)
	c.checkAnswer(o.Directives, m)
	c.checkHistory(m, read.SkippedSegments > 0)
	c.checkRanges(m)
	c.remember(m, read.SkippedSegments > 0)
	c.mediaPending()
	if c.among != nil {
		c.among(o, m)
	}
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

// checkTags checks what a parsed playlist does not show. read is as it came.
func (c *Checker) checkTags(text string, read *playlist.Media) {
	need := 6 // EXT-X-MAP in a playlist with media (section 8)
	if read.SkippedSegments > 0 {
		need = 9
	}
	if read.Version < need || read.Version > 10 {
		c.report("version", -1, "EXT-X-VERSION is %d, want %d to 10", read.Version, need)
	}
	if !read.EndList && strings.Contains(text, "\n#EXT-X-PLAYLIST-TYPE:") {
		c.report("playlist-type", -1, "a playlist without EXT-X-ENDLIST has EXT-X-PLAYLIST-TYPE")
	}
	if !strings.Contains(text, "\n#EXT-X-DISCONTINUITY-SEQUENCE:") {
		c.report("discontinuity-present", -1, "no EXT-X-DISCONTINUITY-SEQUENCE")
	}
}

func (c *Checker) checkHead(m *playlist.Media) {
	target := time.Duration(m.TargetDuration) * time.Second
	if m.TargetDuration > maxTarget || m.PartTarget > 0 && (m.PartTarget < minPartTarget || m.PartTarget > target) {
		c.report("target-range", -1, "target duration %v, PART-TARGET %v", target, m.PartTarget)
	}
	if m.PartTarget > 0 && !m.CanBlockReload {
		c.report("can-block-reload", -1, "no CAN-BLOCK-RELOAD=YES")
	}
	if len(m.Segments) == 0 || m.Segments[0].URI == "" {
		c.report("not-empty", -1, "no whole segment is listed")
	}
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
}

// Bounds of design 5: TARGETDURATION in seconds, and PART-TARGET.
const (
	maxTarget     = 10
	minPartTarget = 200 * time.Millisecond
)

// partsSlack keeps the rounding of durations out of parts-kept.
const partsSlack = time.Millisecond

func (c *Checker) checkSegments(m *playlist.Media) {
	target := time.Duration(m.TargetDuration) * time.Second
	uris := make(map[string]bool, 4*len(m.Segments))
	fromEnd := m.Length() // distance of the segment's start from the end
	for i := range m.Segments {
		s, msn := &m.Segments[i], m.FirstMSN()+int64(i)
		fromEnd -= s.Length() // now of its end
		if s.URI != "" {
			c.checkURI(uris, msn, -1, s.URI)
			if s.Duration.Round(time.Second) > target {
				c.report("extinf-target", msn, "EXTINF %v, target duration %v", s.Duration, target)
			}
		}
		if len(s.Parts) > 0 && fromEnd > 3*target {
			c.report("parts-edge", msn, "lists parts, ends %v before the playlist does, 3 x target is %v", fromEnd, 3*target)
		}
		if known := c.segs[msn]; m.PartTarget > 0 && len(s.Parts) == 0 && fromEnd < 3*target-partsSlack && s.URI != "" && (known == nil || len(known.Parts) > 0) {
			c.report("parts-kept", msn, "lists no parts, ends %v before the playlist does, 3 x target is %v", fromEnd, 3*target)
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

// position is where in the stream something is listed: part -1 is the segment.
type position struct {
	msn  int64
	part int
}

// maxURIs bounds the names that are remembered: hours of parts.
const maxURIs = 1 << 16

func (c *Checker) checkURI(seen map[string]bool, msn int64, part int, uri string) {
	at := position{msn, part}
	if before, ok := c.uris[uri]; seen[uri] || ok && before != at {
		c.report("uri-unique", msn, "%s was listed before", uri)
	}
	seen[uri] = true
	if len(c.uris) >= maxURIs {
		clear(c.uris)
	}
	c.uris[uri] = at
}

// dateAhead is what dates may be ahead of the clock: an encoder that connects
// sends what it has in stock.
const dateAhead = time.Second

// checkDates holds the date at which the playlist ends against the time.
func (c *Checker) checkDates(m *playlist.Media) {
	if !c.o.SameClock || len(m.Segments) == 0 {
		return
	}
	s := &m.Segments[len(m.Segments)-1]
	if end := s.ProgramDateTime.Add(s.Length()); !s.ProgramDateTime.IsZero() && end.After(c.now.Add(dateAhead)) {
		c.report("pdt-future", m.FirstMSN()+int64(len(m.Segments))-1, "ends at a date %v after it was read", end.Sub(c.now))
	}
}

// dateTolerance and datePPM are what a date may differ from the end of the segment
// before it: each is printed in milliseconds, and dates may be slewed towards another
// clock than the media's, by less than anybody could see.
const (
	dateTolerance = 2 * time.Millisecond
	datePPM       = 2000
)

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
	case !s.Discontinuity && off.Abs() > dateTolerance+before.Duration/1_000_000*datePPM:
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
		c.checkURI(uris, msn, i, p.URI)
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
