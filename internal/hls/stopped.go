package hls

import (
	"time"

	"tally/internal/media"
)

// The methods in this file are what stands in for one rendition's media while
// others have theirs. The caller holds Stream.mu.

// rest lets something stand in for the rendition's media from where it is over.
func (r *Rendition) rest() error {
	c, s := r.cut, r.stream
	if c.hasSamples() {
		end := min(max(c.pos(), c.start+1), c.limit())
		if err := c.closePart(end, c.pos(), false); err != nil {
			return err
		}
	}
	c.fix()
	r.partTarget = c.partTarget
	r.keepStill()
	h := r.newHold(s.domainFrom.Add(c.duration(c.start-c.domain)), c.start)
	h.segStart = c.segStart
	if c.audio != nil && c.audio.begun {
		h.sound = max(h.sound, c.audio.end)
	}
	if h.kind == standGap && c.segParts > 0 { // a segment is a gap as a whole, or not
		c.endSegment()
	}
	r.held = h
	s.elect()
	return nil
}

// fillStopped fills the renditions whose tracks are gone, or have sent nothing
// for a target duration, up to a part behind the others.
func (s *Stream) fillStopped(arrived time.Duration) error {
	front := s.front()
	for _, r := range s.all {
		if r.held == nil && r.cut != nil && len(r.queue) == 0 && arrived-r.arrived >= r.ring.target && front > r.pos()+r.partTargetOr() {
			if err := r.rest(); err != nil {
				return err
			}
		}
		if r.held != nil && r.fillTo(front-r.partTargetOr(), false) {
			if err := r.evict(); err != nil {
				return err
			}
			r.publish(false)
		}
	}
	return nil
}

// fillTo lists what stands in for media up to that time: whole parts, unless
// exact. Segments end where the grid says. It reports whether there was any.
func (r *Rendition) fillTo(to time.Duration, exact bool) (added bool) {
	h := r.held
	limit := clockTicks(to, h.scale)
	for h.at < limit {
		if r.ring.open() == nil {
			h.stand = h.kind
			if r.gapIsBetter() {
				h.stand = standGap
			}
		}
		end, ends := h.at+h.part, false
		if at, ok := r.stream.grid.end(r.seat.msn); ok {
			if b := clockTicks(at, h.scale) + r.seat.shift; end >= b {
				end, ends = max(b, h.at), true
			}
		}
		if end > limit {
			if !exact {
				return added
			}
			end, ends = limit, false
		}
		if !r.fillPart(end, ends) {
			return added // less than an access unit
		}
		added = true
	}
	return added
}

// fillPart lists one part of what stands in, up to that tick, in whole access
// units where it is silence. It reports whether it came any further.
func (r *Rendition) fillPart(end int64, ends bool) bool {
	h := r.held
	length := end - h.at
	if h.stand == standSilence && (length < h.unit || ends) {
		length -= length % max(1, h.unit)
	}
	if length == 0 && ends && r.ring.open() == nil { // a segment shorter than a unit
		h.stand, length = standGap, max(1, end-h.at)
	}
	if length > 0 {
		at := h.date(h.at)
		if h.live {
			at = r.dated(at)
		}
		r.add(h.cut(length), at)
	}
	_, decided := r.stream.grid.end(r.seat.msn)
	began := h.segStart
	if at, ok := r.stream.grid.end(r.seat.msn - 1); ok {
		began = min(began, clockTicks(at, h.scale)+r.seat.shift)
	}
	full := h.at-began+h.part > h.scale*int64(r.ring.target/time.Second)
	if full && !ends && !decided && !r.stream.grid.frozen && !r.stream.leadIsBeyond(clockTime(h.at-r.seat.shift, h.scale)) {
		r.stream.grid.decide(r.seat.msn, clockTime(h.at-r.seat.shift, h.scale))
		ends = true
	}
	if ends {
		r.complete()
		r.seat.msn++
		h.segStart = h.at
	}
	return ends || length > 0
}

// leadIsBeyond reports whether the lead has media there already: then it is for it
// alone to say where its segment ends.
func (s *Stream) leadIsBeyond(at time.Duration) bool {
	return s.lead.cut != nil && s.lead.held == nil && s.lead.pos() > at
}

// gapIsBetter reports whether what is missing should be told: players then turn
// to another rendition that has a picture, which they would not for one that
// stands still.
func (r *Rendition) gapIsBetter() bool {
	s := r.stream
	if s.holding || r.held.coming || !r.held.lead.Codec.Video() {
		return false
	}
	for _, o := range s.all {
		if o != r && o.cut != nil && o.held == nil && o.cut.lead.track.Codec.Video() {
			return true
		}
	}
	return false
}

// back ends what stands in for the rendition's media with f, which is at x. It
// returns false where f is too late, or nothing can begin with it.
func (r *Rendition) back(x time.Duration, f *media.Frame, arrived time.Duration) bool {
	c, h := r.cut, r.held
	l := c.lane(f.Track)
	video := l.track.Codec.Video()
	if video && !f.Key {
		return false
	}
	if length := clockTime(c.pace.frame(), c.scale); x+length <= r.pos() || video && x+length/2 < r.pos() {
		return r.late(l, f, arrived)
	}
	r.lateSince = 0
	gap := h.stand == standGap
	r.fillTo(x, !gap || h.kind == standGap && r.ring.open() == nil)
	if open := r.ring.open(); open != nil && open.gap {
		at, ok := r.stream.grid.end(r.seat.msn)
		at += clockTime(r.seat.shift, c.scale)
		if near := clockTime(c.pace.frame(), c.scale); !ok || x+near < at {
			h.coming = true
			return false // the segment is a gap as a whole
		}
		if r.fillTo(at, true); r.ring.open() != nil {
			return false
		}
	}
	if gap && h.kind != standGap && x-r.pos() > r.partTarget/2 { // a keyframe a little behind the lead's
		h.coming = true
		r.fillTo(x, true)
	}
	r.held = nil
	r.publish(false)
	c.resume(h, f, r.ring.open())
	r.stream.elect()
	return true
}

// late leaves out a frame of a time that was filled. A track that stays late has
// a clock that is off by that, and is put in step.
func (r *Rendition) late(l *lane, f *media.Frame, arrived time.Duration) bool {
	if r.lateSince == 0 {
		r.lateSince = arrived
	}
	if arrived-r.lateSince < inStep*time.Second {
		return false
	}
	scale := int64(l.track.Timescale)
	l.offset = clockTicks(r.stream.front(), scale) - f.DTS
	return false // from the next frame on
}

// resume lets the cutter go on behind what stood in for its media.
func (c *cutter) resume(h *hold, f *media.Frame, open *segment) {
	c.start, c.segStart, c.segParts = h.at, h.segStart, 0
	if open != nil {
		c.segParts = len(open.parts)
	}
	l := c.lead
	l.begun, l.end, l.last, l.lastDTS = true, h.at, h.at-1, f.DTS-c.pace.frame()
	if f.Track != l.track.ID {
		l.lastDTS = h.at - l.offset
	}
	if c.audio != nil && c.audio.begun {
		c.audio.end = max(c.audio.end, h.sound)
		c.audio.last = c.audio.end - 1
	}
}
