package hlscheck

import (
	"time"

	"tally/internal/hls/playlist"
)

// checkHistory compares a playlist with those before it.
func (c *Checker) checkHistory(m *playlist.Media, delta bool) {
	p := c.prev
	if p == nil {
		c.grew, c.grewWhole = c.now, c.now
		c.checkRecords(m)
		return
	}
	c.checkConstant(p, m)
	if m.MediaSequence < p.MediaSequence {
		c.report("msn-monotone", -1, "EXT-X-MEDIA-SEQUENCE goes from %d to %d", p.MediaSequence, m.MediaSequence)
	}
	if m.DiscontinuitySequence < p.DiscontinuitySequence {
		c.report("discontinuity-sequence", -1, "EXT-X-DISCONTINUITY-SEQUENCE goes from %d to %d", p.DiscontinuitySequence, m.DiscontinuitySequence)
	}
	// Where it ends: in whole segments, then in parts of the next.
	before, now := p.NextMSN(), m.NextMSN()
	if now < before || now == before && openParts(m) < openParts(p) {
		c.report("edge-monotone", now, "ends at MSN %d with %d parts of the next, before that it was MSN %d with %d",
			now-1, openParts(m), before-1, openParts(p))
	}
	c.checkCadence(p, m)
	c.checkWindow(p, m)
	c.checkEnd(p, m)
	c.checkRecords(m)
	c.checkHint(m)
	if now == before && openParts(m) == openParts(p) && m.EndList == p.EndList {
		c.checkSame(p, m, delta)
	}
}

func (c *Checker) checkConstant(p, m *playlist.Media) {
	if m.TargetDuration != p.TargetDuration {
		c.report("target-constant", -1, "EXT-X-TARGETDURATION goes from %d to %d", p.TargetDuration, m.TargetDuration)
	}
	if m.PartTarget != p.PartTarget {
		c.report("part-target-constant", -1, "PART-TARGET goes from %v to %v", p.PartTarget, m.PartTarget)
	}
	if m.Version != p.Version || m.HoldBack != p.HoldBack || m.PartHoldBack != p.PartHoldBack ||
		m.CanSkipUntil != p.CanSkipUntil || m.CanBlockReload != p.CanBlockReload {
		c.report("control-constant", -1, "VERSION %d, HOLD-BACK %v, PART-HOLD-BACK %v, CAN-SKIP-UNTIL %v, CAN-BLOCK-RELOAD %v; were %d, %v, %v, %v, %v",
			m.Version, m.HoldBack, m.PartHoldBack, m.CanSkipUntil, m.CanBlockReload,
			p.Version, p.HoldBack, p.PartHoldBack, p.CanSkipUntil, p.CanBlockReload)
	}
}

// checkCadence looks at how long the playlist stood still before it grew.
func (c *Checker) checkCadence(p, m *playlist.Media) {
	target := time.Duration(m.TargetDuration) * time.Second
	whole, part := m.NextMSN() > p.NextMSN(), openParts(m) > openParts(p)
	if c.o.Cadence > 0 && !m.EndList {
		if late := c.now.Sub(c.grew) - m.PartTarget; (whole || part) && m.PartTarget > 0 && late > c.o.Cadence {
			c.report("part-cadence", m.NextMSN(), "a part came %v later than PART-TARGET after the one before", late)
		}
		if late := c.now.Sub(c.grewWhole) - target*3/2; whole && late > c.o.Cadence {
			c.report("segment-cadence", m.NextMSN()-1, "came %v later than 1.5 x target after the one before", late)
		}
	}
	if whole || part {
		c.grew = c.now
	}
	if whole {
		c.grewWhole = c.now
	}
}

// restarted reports whether m is the list of a server that knows nothing of p:
// no segment is left, and a discontinuity lies between.
func restarted(p, m *playlist.Media) bool {
	first := m.DiscontinuitySequence
	if len(m.Segments) > 0 && m.Segments[0].Discontinuity {
		first++
	}
	last := p.DiscontinuitySequence
	for i := range p.Segments {
		if p.Segments[i].Discontinuity {
			last++
		}
	}
	return m.MediaSequence >= p.NextMSN() && first > last
}

// checkWindow: removing a segment must leave three target durations of whole
// segments. What was never longer has nothing to answer for.
func (c *Checker) checkWindow(p, m *playlist.Media) {
	if m.MediaSequence <= p.MediaSequence || m.EndList || restarted(p, m) {
		return
	}
	var whole time.Duration
	for i := range m.Segments {
		whole += m.Segments[i].Duration // 0 for the open one
	}
	if floor := 3 * time.Duration(m.TargetDuration) * time.Second; whole < floor {
		c.report("window", m.MediaSequence-1, "was removed and leaves %v, 3 x target is %v", whole, floor)
	}
}

func (c *Checker) checkEnd(p, m *playlist.Media) {
	if !p.EndList {
		return
	}
	if !m.EndList {
		c.report("endlist-final", -1, "EXT-X-ENDLIST was taken back")
	}
	if m.NextMSN() > p.NextMSN() || openParts(m) > 0 {
		c.report("endlist-final", p.NextMSN(), "was added after EXT-X-ENDLIST")
	}
}

// checkRecords compares each segment with what was known of its MSN.
func (c *Checker) checkRecords(m *playlist.Media) {
	disc := m.DiscontinuitySequence
	for i := range m.Segments {
		s, msn := &m.Segments[i], m.FirstMSN()+int64(i)
		if s.Discontinuity {
			disc++
		}
		old := c.segs[msn]
		if old == nil {
			continue
		}
		if old.disc != disc {
			c.report("discontinuity-sequence", msn, "was in discontinuity %d, now in %d", old.disc, disc)
		}
		c.checkStable(old, s, msn)
	}
}

func (c *Checker) checkStable(old *segment, s *playlist.Segment, msn int64) {
	if old.complete && s.URI != "" && (old.URI != s.URI || old.Duration != s.Duration || old.Gap != s.Gap || old.Title != s.Title) {
		c.report("segment-stable", msn, "was %s, %v, %q, gap %v; is %s, %v, %q, gap %v",
			old.URI, old.Duration, old.Title, old.Gap, s.URI, s.Duration, s.Title, s.Gap)
	}
	// These apply to the first part as well, so they hold from then on.
	if old.Discontinuity != s.Discontinuity || old.Map != s.Map || !old.ProgramDateTime.Equal(s.ProgramDateTime) {
		c.report("segment-stable", msn, "was discontinuity %v, map %s, date %v; is %v, %s, %v",
			old.Discontinuity, old.Map, old.ProgramDateTime, s.Discontinuity, s.Map, s.ProgramDateTime)
	}
	if len(s.Parts) == 0 {
		return // far from the edge by now
	}
	if old.complete && len(s.Parts) != len(old.Parts) && len(old.Parts) > 0 || len(s.Parts) < len(old.Parts) {
		c.report("part-stable", msn, "had %d parts, has %d", len(old.Parts), len(s.Parts))
		return
	}
	for i := range old.Parts {
		if old.Parts[i] != s.Parts[i] {
			c.report("part-stable", msn, "part %d was %+v, is %+v", i, old.Parts[i], s.Parts[i])
		}
	}
}

// checkHint finds the part that followed the position of the last hint.
func (c *Checker) checkHint(m *playlist.Media) {
	h := c.hint
	if restarted(c.prev, m) || c.prev.PartTarget == 0 {
		return
	}
	i, part := h.msn-m.FirstMSN(), h.part
	for ; i >= 0 && i < int64(len(m.Segments)); i, part = i+1, 0 {
		s := &m.Segments[i]
		if part < len(s.Parts) {
			switch {
			case h.uri == "" && (part > 0 || !s.Discontinuity) && !m.EndList:
				c.report("hint-present", m.FirstMSN()+i, "part %d is %s, and the playlist before had no EXT-X-PRELOAD-HINT", part, s.Parts[part].URI)
			case h.uri != "" && s.Parts[part].URI != h.uri:
				c.report("hint-true", m.FirstMSN()+i, "part %d is %s, the hint was %s", part, s.Parts[part].URI, h.uri)
			}
			return
		}
		if s.URI == "" || len(s.Parts) == 0 {
			return // not there yet, or no longer listed
		}
	}
}

// checkSame compares two playlists that end at the same place. The hint may
// change meanwhile (a new epoch has other names) and reports are of others.
func (c *Checker) checkSame(p, m *playlist.Media, delta bool) {
	a, b := *p, *m
	a.PreloadHint, a.RenditionReports, b.PreloadHint, b.RenditionReports = "", nil, "", nil
	if a.MediaSequence == b.MediaSequence && string(a.AppendText(nil)) == string(b.AppendText(nil)) {
		return
	}
	rule := "same-position"
	if delta != c.prevDelta {
		rule = "delta-full"
	}
	c.report(rule, m.NextMSN(), "two playlists that end here differ: first MSN %d and %d, %d and %d segments, discontinuity sequence %d and %d",
		p.MediaSequence, m.MediaSequence, len(p.Segments), len(m.Segments), p.DiscontinuitySequence, m.DiscontinuitySequence)
}

// whole reports whether parts are all that a segment of that length has.
func whole(parts []playlist.Part, length time.Duration) bool {
	for i := range parts {
		length -= parts[i].Duration
	}
	return length == 0
}

// remember takes m as the last playlist and forgets segments that have left.
func (c *Checker) remember(m *playlist.Media, delta bool) {
	c.prev, c.prevDelta = m, delta
	disc := m.DiscontinuitySequence
	for i := range m.Segments {
		s, msn := &m.Segments[i], m.FirstMSN()+int64(i)
		if s.Discontinuity {
			disc++
		}
		if s.URI == "" && len(s.Parts) == 0 {
			continue // announced by tags alone; it may still change
		}
		r := c.segs[msn]
		if r == nil {
			r = &segment{checked: map[string]sum{}}
			c.segs[msn] = r
		}
		parts := r.Parts
		if len(s.Parts) > 0 {
			parts = s.Parts
		} else if s.URI != "" && !whole(parts, s.Duration) {
			parts = nil // it had more that were never seen
		}
		r.Segment, r.complete, r.disc = *s, s.URI != "", disc
		r.Parts = parts
	}
	for msn := range c.segs {
		if msn < m.MediaSequence {
			delete(c.segs, msn)
		}
	}
	c.hint = heldHint{uri: m.PreloadHint, msn: m.NextMSN(), part: openParts(m)}
}
