package hls

import (
	"slices"
	"time"

	"tally/internal/media"
)

// The methods in this file are how the renditions of a run with several of them
// take their frames. The caller holds Stream.mu.
//
// The lead's frames go into parts as they come. A frame of another rendition
// waits until it is known which segment it belongs to: until the lead is as far,
// or has sent nothing for followWait. A rendition whose track stops while
// others go on is filled up to where those are, and comes back with its next
// keyframe or access unit.

const (
	// followWait is how long frames wait for a lead that sends nothing. A choice: a
	// part. Those of an encoder that interleaves its tracks wait a frame at most.
	followWait = defaultPartTarget
	// followMost is how long they wait for one that is late.
	followMost = inStep * time.Second
	// followLead is the least media time of a segment but the first: up to there a
	// frame need not wait. A little less than minSegment, for jitter.
	followLead = minSegment - 50*time.Millisecond
)

// A waiting frame and when it came, since Registry.began.
type waiting struct {
	frame media.Frame
	at    time.Duration
}

// spread gives f to each rendition that has its track. It returns false where f
// must begin a new domain.
func (s *Stream) spread(f *media.Frame) (taken bool, err error) {
	arrived := time.Since(s.registry.began)
	lead := s.lead
	if lead.cut != nil && lead.cut.lane(f.Track) != nil {
		lead.arrived = arrived
		paused, err := lead.take(f, arrived)
		if paused || err != nil {
			return !paused, err
		}
	}
	for _, r := range s.all {
		if r != lead && r.cut != nil && r.cut.lane(f.Track) != nil {
			r.arrived = arrived
			if len(r.queue) == 0 {
				r.align(f)
			}
			r.queue = append(r.queue, waiting{*f, arrived})
			r.queueBytes += weight(f)
		}
	}
	for _, r := range s.all {
		if err := r.takeQueued(arrived, false); err != nil {
			return true, err
		}
	}
	return true, s.fillStopped(arrived)
}

// takeQueued takes the frames whose segment is known, or all.
func (r *Rendition) takeQueued(arrived time.Duration, all bool) error {
	n := 0
	for n < len(r.queue) {
		q := &r.queue[n]
		if !all && arrived-r.stream.lead.arrived < followWait && arrived-q.at < followMost && r.queueBytes < r.ring.capBytes/16 && !r.certain(&q.frame) {
			break
		}
		r.queueBytes -= weight(&q.frame)
		n++
		if _, err := r.take(&q.frame, arrived); err != nil {
			return err
		}
	}
	if n > 0 {
		rest := copy(r.queue, r.queue[n:])
		clear(r.queue[rest:])
		r.queue = r.queue[:rest]
	}
	if r.cut != nil && r.held == nil && r != r.stream.lead {
		return r.cut.catchUp()
	}
	return nil
}

// certain reports whether the grid says which segment f belongs to.
func (r *Rendition) certain(f *media.Frame) bool {
	c, s := r.cut, r.stream
	if r == s.lead {
		return true
	}
	if _, decided := s.grid.end(r.seat.msn); decided {
		return true
	}
	l := c.lane(f.Track)
	scale := int64(l.track.Timescale)
	at := f.DTS + l.offset
	if l.track.Codec.Video() {
		at += c.pace.frame()/2 - r.seat.shift
	} else {
		at += c.pace.frame() - scale/1000
	}
	if clockTime(at, scale) <= s.lead.pos() {
		return true
	}
	began, ok := s.grid.end(r.seat.msn - 1)
	return ok && clockTime(at, scale) <= began+followLead
}

// pos is up to where the rendition has media or what stands in for it, on the
// run's timeline.
func (r *Rendition) pos() time.Duration {
	switch {
	case r.held != nil:
		return clockTime(r.held.at, r.held.scale)
	case r.cut != nil:
		return clockTime(r.cut.pos(), r.cut.scale)
	}
	return 0
}

// front is up to where any rendition has media; where none has any more, what
// stands in for it.
func (s *Stream) front() (front time.Duration) {
	stands := time.Duration(0)
	for _, r := range s.all {
		if r.cut != nil && r.held == nil {
			front = max(front, r.pos())
		}
		stands = max(stands, r.pos())
	}
	if front == 0 {
		return stands
	}
	return front
}

// take puts a frame into the rendition's parts. paused: nothing was taken,
// because all tracks have paused for so long that the media goes on behind a
// discontinuity.
func (r *Rendition) take(f *media.Frame, arrived time.Duration) (paused bool, err error) {
	c := r.cut
	l := c.lead
	if c.audio != nil && f.Track == c.audio.track.ID {
		if r.held != nil && !r.back(clockTime(f.DTS+c.audio.offset, int64(c.audio.track.Timescale)), f, arrived) {
			return false, nil
		}
		return false, c.audioFrame(f)
	}
	if c.sizeBytes() > min(r.ring.capBytes, maxPartBytes) {
		return false, r.stream.tooMuch()
	}
	if !l.begun && r.held == nil && !r.first(f) {
		return false, nil
	}
	if r.mayFill() {
		r.align(f)
	}
	x := f.DTS + l.offset
	if r.held == nil {
		if err = c.catchUp(); err != nil {
			return false, err
		}
		hole := x - c.pos()
		if hole > c.ticks(maxPause) && !r.mayFill() {
			return true, nil
		}
		if hole > c.partTicks()/2 || c.passed(x) {
			if err = r.rest(); err != nil {
				return false, err
			}
		}
	}
	if r.held != nil && !r.back(clockTime(x, c.scale), f, arrived) {
		return false, nil
	}
	if paused, err = c.leadFrame(f); paused || err != nil {
		return paused && r == r.stream.lead, err
	}
	return false, c.catchUp()
}

// mayFill reports whether a hole in the rendition's media is its own: others have
// media there. After a long pause of all tracks the lead's next frame begins a new
// domain.
func (r *Rendition) mayFill() bool {
	if r != r.stream.lead {
		return true
	}
	beyond := r.pos() + r.partTargetOr()
	for _, o := range r.stream.all {
		if o == r || o.cut == nil || o.held != nil {
			continue
		}
		reach := o.pos()
		if n := len(o.queue); n > 0 {
			f := &o.queue[n-1].frame
			l := o.cut.lane(f.Track)
			reach = clockTime(f.DTS+l.offset, int64(l.track.Timescale))
		}
		if reach > beyond {
			return true
		}
	}
	return false
}

// align puts a track in step with the others where its clock has nothing in
// common with theirs: at its first frame, and when it runs ahead of all media.
func (r *Rendition) align(f *media.Frame) {
	l := r.cut.lane(f.Track)
	scale := int64(l.track.Timescale)
	if apart := f.DTS + l.offset - clockTicks(r.stream.front(), scale); apart > inStep*scale || !l.begun && apart < -inStep*scale {
		l.offset -= apart
	}
}

// first places the rendition's first frame in the domain. It returns false where
// f lies before it, or cannot begin it.
func (r *Rendition) first(f *media.Frame) bool {
	c := r.cut
	l := c.lead
	r.align(f)
	x := f.DTS + l.offset
	late := x - c.start
	if l.track.Codec.Video() {
		near := c.ticks(keyWait)
		if !f.Key || late < -near {
			return false
		}
		if late <= near {
			r.seat.shift, r.seat.aligned = late, true
		}
		if late <= near || r.alone() {
			c.start, c.segStart = x, x
		}
		return true
	}
	if late+l.length(f)/2 < 0 {
		return false
	}
	if late <= c.partTicks()/2 || r.alone() {
		c.start, c.segStart = max(x, 0), max(x, 0)
	}
	return true
}

// alone reports whether no other rendition has had a frame in this domain.
func (r *Rendition) alone() bool {
	for _, o := range r.stream.all {
		if o != r && o.cut != nil && (o.cut.lead.begun || len(o.queue) > 0) {
			return false
		}
	}
	return true
}

// elect makes the first rendition that has media the lead.
func (s *Stream) elect() {
	for _, r := range s.all {
		if r.cut != nil && r.held == nil {
			s.lead = r
			break
		}
	}
	for _, r := range s.all {
		r.seat.leads = r == s.lead
	}
}

// partTargetOr is PART-TARGET, or what it will be about.
func (r *Rendition) partTargetOr() time.Duration {
	if r.partTarget > 0 {
		return r.partTarget
	}
	return min(r.stream.registry.config.PartTarget, r.ring.target)
}

// flushAll ends the domain in all renditions, each with the same number of
// segments.
func (s *Stream) flushAll() {
	for _, r := range s.all {
		if err := r.takeQueued(0, true); err != nil && s.fault == nil {
			s.fault = err
		}
	}
	s.grid.frozen = true
	s.evenOut()
	s.grid.closed = true
	for _, r := range s.all {
		switch {
		case r.held != nil:
			r.split()
		case r.cut != nil:
			if err := r.cut.flush(); err != nil && s.fault == nil {
				s.fault = err
			}
		}
	}
	s.level()
	over := time.Duration(0)
	for _, r := range s.all {
		if r.held != nil {
			s.timeline = max(s.timeline, r.held.end())
		}
		if r.cut != nil {
			s.timeline = max(s.timeline, r.cut.mediaEnd())
			over = max(over, r.cut.duration(r.cut.start-r.cut.domain))
		}
		r.cut, r.held = nil, nil
	}
	s.over = s.date(over)
	s.holding = false
}

// evenOut has the renditions end with the same segment when the domain ends: what
// had only begun one that no other has is left out if it is short, and what lies
// segments behind is filled up to the front.
func (s *Stream) evenOut() {
	front, last := s.front(), int64(0)
	for _, r := range s.all {
		last = max(last, r.seat.msn)
	}
	begun := func(r *Rendition) bool {
		c := r.cut
		switch {
		case r.held != nil:
			return r.ring.open() != nil
		case c == nil || c.segParts > 0:
			return c != nil
		}
		return c.hasSamples() && c.pos()-c.start >= c.ticks(shortTail)
	}
	if !slices.ContainsFunc(s.all, func(r *Rendition) bool { return r.seat.msn == last && begun(r) }) {
		last--
	}
	for _, r := range s.all {
		c := r.cut
		switch {
		case r.seat.msn > last && r.held == nil && c != nil:
			c.lead.drop()
			c.lead.end = c.start
			if c.audio != nil {
				c.audio.drop()
			}
		case r.seat.msn > last:
		case r.held == nil && c != nil && r.seat.msn < last:
			if err := r.rest(); err != nil && s.fault == nil {
				s.fault = err
			}
			fallthrough
		case r.held != nil:
			r.fillTo(front, true)
		}
	}
}

// level gives each rendition the segments that another has more, as gaps: those
// that had only begun when the domain ended.
func (s *Stream) level() {
	last := int64(0)
	for _, r := range s.all {
		last = max(last, r.ring.nextMSN)
	}
	for _, r := range s.all {
		added := false
		for r.ring.nextMSN < last {
			r.addGap(s.like(r.ring.nextMSN))
			added = true
		}
		if added {
			r.publish(false)
		}
	}
}

// like returns the segment of that number of a rendition that has it.
func (s *Stream) like(msn int64) *segment {
	for _, r := range s.all {
		if n := len(r.ring.segs); n > 0 {
			if i := msn - r.ring.segs[0].msn; i >= 0 && i < int64(n) {
				return r.ring.segs[i]
			}
		}
	}
	return &segment{msn: msn, length: time.Millisecond, at: s.now()}
}

// addGap lists a gap that is like another rendition's segment.
func (r *Rendition) addGap(g *segment) {
	r.partTarget = r.partTargetOr()
	at, rest := g.at, max(g.length, time.Millisecond)-listedLonger
	if n := len(r.ring.segs); n > 0 && !r.ring.discNext {
		at = r.ring.segs[n-1].at.Add(r.ring.segs[n-1].length)
	}
	for rest > 0 {
		d := min(rest, r.partTarget-listedLonger)
		r.add(cut{duration: d, stand: standGap, live: !r.stream.holding}, at)
		at, rest = at.Add(d), rest-d
	}
	r.complete()
}
