package hls

import "time"

// keyWait is by how much the keyframes of another video track may lie beside
// the lead's and still begin the same segment: what reordering (B-frames) moves
// decode times by, and some jitter.
const keyWait = 150 * time.Millisecond

// A grid is where the segments of a domain end, in all renditions of a run. The
// lead decides; others end theirs at the whole frame or keyframe nearest to
// that, so that segments of one number show the same.
type grid struct {
	first  int64 // number of the segment that ends[0] ends
	ends   []gridEnd
	frozen bool // the domain is being ended: no more is decided
	closed bool // and what was does not count any more
}

// A gridEnd is where a segment ends, on the run's timeline.
type gridEnd struct {
	at    time.Duration
	keyed bool // the lead's next segment begins with a keyframe
}

func newGrid(msn int64) *grid { return &grid{first: msn} }

// end is where the segment of that number ends, if that is decided.
func (g *grid) end(msn int64) (time.Duration, bool) {
	if i := msn - g.first; !g.closed && i >= 0 && i < int64(len(g.ends)) {
		return g.ends[i].at, true
	}
	return 0, false
}

// decide ends the segment of that number, unless it is decided where.
func (g *grid) decide(msn int64, at time.Duration) {
	if !g.frozen && msn == g.first+int64(len(g.ends)) {
		g.ends = append(g.ends, gridEnd{at: at})
	}
}

// begins notes that the lead's segment of that number begins with a keyframe.
func (g *grid) begins(msn int64) {
	if i := msn - 1 - g.first; i >= 0 && i < int64(len(g.ends)) {
		g.ends[i].keyed = true
	}
}

// keyed reports whether the lead's segment of that number begins with a keyframe.
func (g *grid) keyed(msn int64) bool {
	i := msn - 1 - g.first
	return i >= 0 && i < int64(len(g.ends)) && g.ends[i].keyed
}

// forget drops what ended before the segment of that number began.
func (g *grid) forget(msn int64) {
	if n := msn - 1 - g.first; n >= 64 {
		g.ends = append(g.ends[:0], g.ends[n:]...)
		g.first += n
	}
}

// forgetGrid lets go of boundaries that every rendition is past. The caller holds mu.
func (s *Stream) forgetGrid() {
	if !s.several || s.grid == nil {
		return
	}
	past := s.all[0].seat.msn
	for _, r := range s.all[1:] {
		past = min(past, r.seat.msn)
	}
	s.grid.forget(past)
}

// A seat is a rendition's place at the grid.
type seat struct {
	grid  *grid
	msn   int64 // of the open segment, or of the one that begins next
	leads bool
	// shift is how far a video's keyframes lie behind the grid's boundaries, in
	// its ticks; aligned: it is known, because the open segment began with one.
	shift   int64
	aligned bool
	apart   int64 // segments that began without a keyframe where the lead's began with one
}

// clockTime is the time of a tick, rounded down to nanoseconds.
func clockTime(ticks, scale int64) time.Duration {
	return time.Duration(ticks/scale)*time.Second + time.Duration(ticks%scale*int64(time.Second)/scale)
}

// clockTicks is the tick nearest to a time.
func clockTicks(d time.Duration, scale int64) int64 {
	rest := int64(d % time.Second)
	return int64(d/time.Second)*scale + (rest*scale+int64(time.Second)/2)/int64(time.Second)
}

// The methods of cutter below are what a cutter does at a grid. Without one,
// seat is nil and a rendition decides for itself.

// leads reports whether the cutter decides where segments end.
func (c *cutter) leads() bool { return c.seat == nil || c.seat.leads }

// pos is up to where there is media.
func (c *cutter) pos() int64 { return max(c.start, c.lead.end) }

// boundary is where the open segment ends by the grid, if that is decided: for
// video where its keyframe is expected, for audio with the last whole frame before
// that. Video whose keyframes lie elsewhere waits a little for one.
func (c *cutter) boundary() (int64, bool) {
	if c.seat == nil {
		return 0, false
	}
	at, ok := c.seat.grid.end(c.seat.msn)
	if !ok {
		return 0, false
	}
	b := clockTicks(at, c.scale)
	frame := max(1, c.pace.frame())
	from := c.pos()
	switch video := c.lead.track.Codec.Video(); {
	case video && c.seat.aligned:
		b += c.seat.shift + frame/2
	case video:
		b += c.ticks(keyWait)
	}
	return from + max(0, (b+c.scale/1000-from)/frame*frame), true
}

// gridStart is where the open segment began, in this rendition or by the grid: one
// that ran ahead of the lead began its own later.
func (c *cutter) gridStart() int64 {
	if c.seat != nil {
		if at, ok := c.seat.grid.end(c.seat.msn - 1); ok {
			return min(c.segStart, clockTicks(at, c.scale)+c.seat.shift)
		}
	}
	return c.segStart
}

// gridKey takes a keyframe at that time where the grid decides: one near the
// boundary begins the next segment, another begins a part where the open one is
// long enough.
func (c *cutter) gridKey(at int64) error {
	s := c.seat
	if end, ok := s.grid.end(s.msn); ok {
		from := clockTicks(end, c.scale) - c.ticks(keyWait)
		if s.aligned {
			from = clockTicks(end, c.scale) + s.shift - max(c.pace.frame()/2, c.scale/50)
		}
		if at >= from {
			if c.hasSamples() {
				return c.closePart(at, at, true)
			}
			c.endSegment()
			return nil
		}
	}
	if c.hasSamples() && (at-c.start)*100 >= c.partTicks()*fill {
		return c.close(at)
	}
	return nil
}

// begins takes note of the first frame of a segment.
func (c *cutter) begins(key bool, at int64) {
	s := c.seat
	switch {
	case !c.lead.track.Codec.Video():
	case s.leads:
		if key {
			s.grid.begins(s.msn)
		}
	case !key:
		s.aligned = false
		if s.grid.keyed(s.msn) {
			s.apart++
		}
	default:
		if start, ok := s.grid.end(s.msn - 1); ok {
			if shift := at - clockTicks(start, c.scale); max(shift, -shift) <= c.ticks(keyWait) {
				s.shift, s.aligned = shift, true
			}
		}
	}
}

// ended takes note that the open segment ended there.
func (c *cutter) ended(at int64) {
	if s := c.seat; s != nil {
		s.grid.decide(s.msn, clockTime(at-s.shift, c.scale))
		s.msn++
	}
}

// catchUp ends the open segment if what is in it reaches its boundary, without
// waiting for the frame behind it.
func (c *cutter) catchUp() error {
	for {
		b, ok := c.boundary()
		if !ok || c.pos()+c.pace.frame()/2 < b {
			return nil
		}
		switch {
		case c.hasSamples():
			end := min(c.pos(), c.start+c.partTicks())
			if err := c.closePart(end, c.pos(), true); err != nil {
				return err
			}
		case c.segParts > 0:
			c.endSegment()
		default:
			return nil
		}
	}
}

// passed reports whether a frame at x lies behind the open segment, in which
// there is nothing.
func (c *cutter) passed(x int64) bool {
	b, ok := c.boundary()
	return ok && c.segParts == 0 && !c.hasSamples() && x+c.pace.frame()/2 >= b
}
