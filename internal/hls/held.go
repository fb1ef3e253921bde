package hls

import (
	"encoding/binary"
	"time"

	"tally/internal/hls/cmaf"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// maxPicture is the largest keyframe that is repeated: at 335 ms parts, 50
// Mbit/s to each viewer. That of a stream of 10 Mbit/s has some 300 KB.
const maxPicture = 2 << 20

// What a part or segment is in for media that did not come.
type stand uint8

const (
	standNone    stand = iota // it is media that came
	standPicture              // the last keyframe, and silence where there is sound
	standSilence              // silence alone
	standGap                  // nothing: EXT-X-GAP
)

// A still is the newest picture that decodes by itself.
type still struct {
	data   []byte // of the keyframe, inside the bytes of its part
	offset int32  // ticks from decoding to presentation
}

// see takes note of a part's keyframe. It copies nothing.
func (st *still) see(c *cut, p *Part) {
	if !c.independent || len(c.runs[0].Samples) == 0 {
		return
	}
	first := &c.runs[0].Samples[0]
	at := int(binary.BigEndian.Uint32(p.Data)) + 8 // behind the moof and the mdat's header
	*st = still{data: p.Data[at : at+len(first.Data)], offset: first.Offset}
}

// A hold is a domain that goes on while no media comes: the last picture and
// silence, paced by the clock (design section 3, Held picture). The timer that
// paces it also notices that it must begin.
type hold struct {
	kind    stand // what it can be
	stand   stand // what it is: of one rendition alone, kind or standGap
	live    bool  // of one rendition alone: others have media
	shown   bool  // the picture is counted in memory
	coming  bool  // a keyframe came amid a gap: the next may come anywhere
	lead    media.Track
	audio   *media.Track // beside a picture; nil: none
	scale   int64        // ticks of the lead per second
	picture []byte
	offset  int32
	silence []byte // one access unit

	from     time.Time // wall time of start
	start    int64     // ticks of the lead on the run's timeline, as follows
	at       int64     // where the next part begins
	segStart int64
	part     int64 // length of a part
	sound    int64 // decode time of the next access unit, in ticks of its track
	unit     int64 // ticks of one
}

// newHold prepares a hold that begins at from, which is that tick of the lead on
// the run's timeline.
func (r *Rendition) newHold(from time.Time, start int64) *hold {
	r.partTarget = r.partTargetOr() // nothing was listed before, if it was 0
	h := &hold{lead: r.tracks[0], scale: int64(r.tracks[0].Timescale), from: from, live: !r.stream.holding}
	c := cutter{scale: h.scale}
	h.start, h.at, h.segStart = start, start, start
	h.part = c.partLimit(r.partTarget)
	sound := &r.tracks[len(r.tracks)-1]
	h.silence, h.unit = media.Silence(sound)
	h.sound = h.start * int64(sound.Timescale) / h.scale
	switch video := h.lead.Codec.Video(); {
	case video && len(r.tracks) > 1:
		h.audio = sound
		fallthrough
	case video:
		h.kind, h.picture, h.offset = standPicture, r.still.data, r.still.offset
	default:
		h.kind = standSilence
		h.part -= h.part % max(1, h.unit) // whole access units
	}
	if video := h.kind == standPicture; video && (len(h.picture) == 0 || len(h.picture) > maxPicture) ||
		(!video || h.audio != nil) && h.silence == nil || h.part <= 0 {
		h.kind, h.part = standGap, c.partLimit(r.partTarget)
	}
	h.stand = h.kind
	return h
}

// date is the wall time of a tick.
func (h *hold) date(at int64) time.Time {
	return h.from.Add(playlist.Span(h.start, at, uint32(h.scale)))
}

// cut makes the next part, which lasts that many ticks.
func (h *hold) cut(length int64) cut {
	end := h.at + length
	c := cut{
		at:       playlist.At(h.at, uint32(h.scale)),
		duration: playlist.Span(h.at, end, uint32(h.scale)), stand: h.stand, live: h.live, again: h.shown,
		independent: h.stand != standGap && (h.stand == standSilence || len(h.picture) > 0),
	}
	switch h.stand {
	case standPicture:
		h.shown = true
		c.runs = append(c.runs, cmaf.Run{Track: h.lead.ID, Time: h.at,
			Samples: []cmaf.Sample{{Duration: uint32(length), Offset: h.offset, Key: true, Data: h.picture}}})
		if h.audio != nil {
			c.runs = append(c.runs, h.units(h.audio, end*int64(h.audio.Timescale)/h.scale))
		}
	case standSilence:
		c.runs = append(c.runs, h.whole(end))
	}
	h.at = end
	return c
}

// units is the silence up to a decode time.
func (h *hold) units(t *media.Track, until int64) cmaf.Run {
	r := cmaf.Run{Track: t.ID, Time: h.sound}
	for ; h.sound < until; h.sound += h.unit {
		r.Samples = append(r.Samples, cmaf.Sample{Duration: uint32(h.unit), Key: true, Data: h.silence})
	}
	return r
}

// whole is the silence up to a decode time, of which the last unit lasts a little
// longer where whole ones do not fit.
func (h *hold) whole(until int64) cmaf.Run {
	r := h.units(&h.lead, until-(until-h.sound)%h.unit)
	if n := len(r.Samples); n > 0 {
		r.Samples[n-1].Duration += uint32(until - h.sound)
		h.sound = until
	}
	return r
}

// end is where the hold ends on the run's timeline, rounded up.
func (h *hold) end() time.Duration {
	end := playlist.At(h.at, uint32(h.scale))
	if h.audio != nil {
		end = max(end, playlist.At(h.sound, h.audio.Timescale))
	}
	return end + time.Millisecond
}

// The methods of Stream below are the writers' side: the caller holds mu.

// watchOver makes sure that somebody looks whether media comes.
func (s *Stream) watchOver() {
	if s.starving.t == nil {
		s.set(&s.starving, s.main.ring.target, s.starve)
	}
}

// starve is the alarm: it holds the picture when no media came for one target
// duration, and then lists each part as it is due.
func (s *Stream) starve() {
	now, target := s.now(), s.main.ring.target
	if !s.holding {
		idle := now.Sub(s.registry.began) - s.arrived
		switch {
		case idle < target:
			s.set(&s.starving, target-idle, s.starve)
			return
		case !s.progress.Load().Playable || s.intake.imminent(now) || s.fault != nil:
			s.set(&s.starving, trackWait, s.starve)
			return
		}
		s.hold(now)
	}
	if !s.intake.imminent(now) {
		s.fill(now)
	}
	h := s.main.held
	wait := h.date(h.at + h.part).Sub(now)
	if wait <= 0 { // media is about to come, or the store hangs
		wait = s.main.partTarget
	}
	s.set(&s.starving, wait, s.starve)
}

// hold begins to hold the picture, from where the media was over: the playlist
// stays in step with the clock. Shaka takes a hole in the dates of more than a
// second out of its timeline, but not out of its live edge, and is lost until
// the hole has left the list.
//
// Of several renditions the first sets the pace and the segments.
func (s *Stream) hold(now time.Time) {
	s.interrupt()
	from := s.over
	if early := now.Add(-2 * s.main.ring.target); from.Before(early) {
		from = early
	} else if late := now.Add(-min(3*s.main.partTarget, s.main.ring.target)); from.After(late) {
		from = late // media that came faster than it plays is dated ahead
	}
	s.holding = true
	s.grid = newGrid(s.main.ring.nextMSN)
	for _, r := range s.all {
		r.keepStill()
		scale := int64(r.tracks[0].Timescale)
		r.held = r.newHold(from, (s.timeline.Microseconds()*scale+999_999)/1_000_000)
		r.ring.discNext = true
		r.seat = seat{grid: s.grid, msn: s.grid.first, leads: r == s.main, apart: r.seat.apart}
	}
	s.fresh = false
	if s.Stage() == livestream.StageLive {
		s.setStage(livestream.StageReconnecting)
	}
}

// fill lists the parts that are due. Nothing is added to what the store has not
// made durable yet.
func (s *Stream) fill(now time.Time) {
	m := s.main
	if behind := now.Sub(m.held.date(m.held.at)); behind > 2*m.ring.target+m.partTarget {
		// The process or the store hung: what is missing is not made up for.
		s.endHold()
		s.hold(now)
	}
	added := false
	for h := m.held; !h.date(h.at + h.part).After(now); {
		if m.ring.visible() < len(m.ring.segs) {
			break
		}
		s.addHeld(h.part)
		added = true
	}
	if added {
		s.fillOthers(false)
		for _, r := range s.all {
			r.evict() // what does not fit is media, and told to its publisher
			r.publish(false)
		}
	}
}

// fillOthers brings the other renditions to where the first one is.
func (s *Stream) fillOthers(exact bool) {
	for _, r := range s.all {
		if r != s.main {
			r.fillTo(s.main.pos(), exact)
		}
	}
}

// addHeld lists a part of the hold. Its segments end like a steady encoder's.
func (s *Stream) addHeld(length int64) {
	r := s.main
	h := r.held
	at := h.date(h.at)
	r.add(h.cut(length), at)
	long := h.at - h.segStart
	if long+h.scale/1000 >= h.scale*int64(minSegment/time.Second) || // parts are a little shorter than PART-TARGET
		long+h.part > h.scale*int64(r.ring.target/time.Second) {
		r.complete()
		h.segStart = h.at
		s.grid.decide(r.seat.msn, clockTime(h.at, h.scale))
		r.seat.msn++
	}
}

// release ends the hold because media is back, which arrived at that time: the
// picture is held until then.
func (s *Stream) release(arrived time.Time) {
	if !s.holding {
		return
	}
	s.fill(arrived)
	h, g := s.main.held, &s.main.ring
	c := cutter{scale: h.scale}
	rest := min(c.ticks(arrived.Sub(h.date(h.at))), h.part)
	least := c.ticks(shortTail)
	if g.open() != nil {
		least /= 4
	}
	if h.stand == standSilence {
		rest -= rest % max(1, h.unit)
	}
	if rest >= least && rest > 0 && g.visible() == len(g.segs) {
		s.addHeld(rest)
	}
	s.endHold()
}

// endHold ends the hold as it is, and its segment.
func (s *Stream) endHold() {
	if !s.holding {
		return
	}
	s.fillOthers(true)
	s.over = s.main.held.date(s.main.held.at)
	for _, r := range s.all {
		s.timeline = max(s.timeline, r.held.end())
		r.held = nil
		r.split()
	}
	s.level()
	s.holding = false
}
