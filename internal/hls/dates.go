package hls

import (
	"math"
	"time"

	"tally/internal/media"
)

// Dates run by the encoder's clock from the arrival of a domain's first part on.
// No crystal is exact, so they are slewed towards arrival: each segment's date is
// moved by a share of the segment before that is too small to be seen. That is done
// seldom: Shaka (to 5.2.12 at least) places what it plays by dates where they differ
// from durations by 1 ms, and where a date moves behind a part that it has loaded
// already, it drops the rest of that segment.
const (
	// slewPPM is the most that dates are moved, in millionths of media time: half as
	// much again as clocks of encoders are off (0.1 %), and 3 ms in a segment of 2 s,
	// where dates are printed in milliseconds.
	slewPPM = 1500
	// slewSlack is how far arrivals may be from their dates before those are moved,
	// and slewSettled how near they are then brought. A choice: more than a network's
	// jitter and than an encoder takes to come into step, less than a part; a clock
	// that is off by 50 millionths, as many are, takes 50 minutes to it.
	slewSlack   = 150 * time.Millisecond
	slewSettled = 5 * time.Millisecond
	// slewSpan times slewSpans is how long the least delay is looked for: longer than
	// a backlog takes to come.
	slewSpan  = 8 * time.Second
	slewSpans = 4
	// slewKept is how many segments a rendition may be behind another. A choice: what
	// lies further back is dated like the newest.
	slewKept = 16
)

// A dating is how the dates of a domain differ from its media time. Of a frame that
// came, what it was delayed on its way is not known; but the least delay of many is
// nearly the same at any time, so what that grows or shrinks by is the encoder's clock.
// Frames that come late, one or all of five seconds, move nothing.
type dating struct {
	began  time.Duration // arrival of the domain's first frame, since Registry.began
	shift  time.Duration // of the newest segment's dates
	begun  bool          // it has one
	moving bool          // from slewSlack to slewSettled
	recent [slewKept]shifted

	least [slewSpans + 1]time.Duration // by span, the present one last: arrival less media time, since began
	spans int                          // that are over
	until time.Duration                // where the present one ends, since began; 0: nothing came
}

// A shifted segment is one whose dates are decided.
type shifted struct {
	number int64 // its media sequence number and 1; 0: none
	shift  time.Duration
}

// saw takes note of a frame that came, and where on the domain's timeline it is.
func (d *dating) saw(arrived, at time.Duration) {
	since := arrived - d.began
	switch last := &d.least[slewSpans]; {
	case d.until == 0:
		d.until, *last = since+slewSpan, since-at
	case since >= d.until:
		copy(d.least[:], d.least[1:])
		d.until, *last = since+slewSpan, since-at
		d.spans++
	default:
		*last = min(*last, since-at)
	}
}

// of is the shift of a segment's dates. The first rendition to begin one of that
// number decides it; before is how long the segment before it was there. The first
// of a domain begins when its first part is complete: when the least delayed of that
// part's frames came is better known than when the first did, which an encoder often
// sends late. It begins no earlier than back, where what was before ends, unless that
// is further ahead than dates may be.
func (d *dating) of(msn int64, before, back time.Duration) time.Duration {
	was := &d.recent[msn%slewKept]
	switch {
	case was.number == msn+1:
		return was.shift
	case was.number > msn:
		return d.shift
	case !d.begun:
		d.begun, d.shift = true, min(max(d.provisional(), back), slewSlack)
	default:
		// The segment before was listed that much longer than its media.
		d.shift += listedLonger + d.step(time.Duration(int64(before)/1_000_000*slewPPM))
	}
	*was = shifted{msn + 1, d.shift}
	return d.shift
}

// provisional is what the shift would be if the first part were complete.
func (d *dating) provisional() time.Duration { return min(d.least[slewSpans], 0) }

// step is by how much the dates move on with the next segment, at most that far.
func (d *dating) step(most time.Duration) time.Duration {
	if d.spans < slewSpans {
		return 0
	}
	off := d.least[0] - d.shift
	for _, least := range d.least[1:] {
		off = min(off, least-d.shift)
	}
	enough := slewSlack
	if d.moving {
		enough = slewSettled
	}
	if d.moving = off.Abs() > enough; !d.moving {
		return 0
	}
	return max(-most, min(off, most))
}

// The methods below are the writers' side: the caller holds Stream.mu.

// onTime takes note of when a frame of the present domain came.
func (s *Stream) onTime(f *media.Frame) {
	if c := s.lead.cut; c != nil && c.lead.track.ID == f.Track && c.lead.begun {
		s.dates.saw(s.arrived, c.duration(f.DTS+c.lead.offset-c.domain))
	}
}

// onTimeQueued is that for what was queued before the domain began, up to as much as
// a part: what is behind that may belong to another domain.
func (s *Stream) onTimeQueued(queue []queued) {
	c := s.lead.cut
	if c == nil {
		return
	}
	most := s.main.partTargetOr()
	for i := range queue {
		f := &queue[i].frame
		if f.Track != c.lead.track.ID {
			continue
		}
		at := c.duration(f.DTS + c.lead.offset - c.domain)
		if at > most {
			return
		}
		s.dates.saw(queue[i].at.Sub(s.registry.began), at)
	}
}

// date is the wall time of what is that long behind the domain's begin, as the
// newest segment has it, or the first one would.
func (s *Stream) date(at time.Duration) time.Time {
	shift := s.dates.shift
	if !s.dates.begun {
		shift = s.dates.provisional()
	}
	return s.domainFrom.Add(at + shift)
}

// dated moves the date of the part that comes next, which is that by the encoder's
// clock, to where its segment's dates are.
func (r *Rendition) dated(at time.Time) time.Time {
	g := &r.ring
	if open := g.open(); open != nil {
		return at.Add(r.stream.dates.of(open.msn, 0, 0))
	}
	before, back := time.Duration(0), time.Duration(math.MinInt64)
	if n := len(g.segs); n > 0 {
		last := g.segs[n-1]
		if back = last.at.Add(last.length).Sub(at); !g.discNext {
			before = last.length
		}
	}
	return at.Add(r.stream.dates.of(g.nextMSN, before, back))
}
