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
	stand   stand
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

// newHold prepares a hold that begins at from, which is timeline in media time.
func (r *Rendition) newHold(from time.Time) *hold {
	h := &hold{lead: r.tracks[0], scale: int64(r.tracks[0].Timescale), from: from}
	c := cutter{scale: h.scale}
	h.start = (r.stream.timeline.Microseconds()*h.scale + 999_999) / 1_000_000
	h.at, h.segStart = h.start, h.start
	h.part = c.ticks(r.partTarget)
	sound := &r.tracks[len(r.tracks)-1]
	h.silence, h.unit = media.Silence(sound)
	h.sound = h.start * int64(sound.Timescale) / h.scale
	switch video := h.lead.Codec.Video(); {
	case video && len(r.tracks) > 1:
		h.audio = sound
		fallthrough
	case video:
		h.stand, h.picture, h.offset = standPicture, r.still.data, r.still.offset
	default:
		h.stand = standSilence
		h.part -= h.part % max(1, h.unit) // whole access units
	}
	if video := h.stand == standPicture; video && (len(h.picture) == 0 || len(h.picture) > maxPicture) ||
		(!video || h.audio != nil) && h.silence == nil || h.part <= 0 {
		h.stand, h.part = standGap, c.ticks(r.partTarget)
	}
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
		duration: playlist.Span(h.at, end, uint32(h.scale)), stand: h.stand,
		independent: h.stand != standGap && (h.stand == standSilence || len(h.picture) > 0),
	}
	switch h.stand {
	case standPicture:
		c.runs = append(c.runs, cmaf.Run{Track: h.lead.ID, Time: h.at,
			Samples: []cmaf.Sample{{Duration: uint32(length), Offset: h.offset, Key: true, Data: h.picture}}})
		if h.audio != nil {
			c.runs = append(c.runs, h.units(h.audio, end*int64(h.audio.Timescale)/h.scale))
		}
	case standSilence:
		c.runs = append(c.runs, h.units(&h.lead, end))
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
	now := s.now()
	if s.main.held == nil {
		idle := now.Sub(s.registry.began) - s.arrived
		switch {
		case idle < s.main.ring.target:
			s.set(&s.starving, s.main.ring.target-idle, s.starve)
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
	wait := s.main.held.date(s.main.held.at + s.main.held.part).Sub(now)
	if wait <= 0 { // media is about to come, or the store hangs
		wait = s.main.partTarget
	}
	s.set(&s.starving, wait, s.starve)
}

// hold begins to hold the picture, from where the media was over: the playlist
// stays in step with the clock. Shaka takes a hole in the dates of more than a
// second out of its timeline, but not out of its live edge, and is lost until
// the hole has left the list.
func (s *Stream) hold(now time.Time) {
	s.interrupt()
	from := s.over
	if early := now.Add(-2 * s.main.ring.target); from.Before(early) {
		from = early
	} else if late := now.Add(-3 * s.main.partTarget); from.After(late) {
		from = late // media that came faster than it plays is dated ahead
	}
	if len(s.main.still.data) <= maxPicture {
		s.main.still.data = media.Still(&s.main.tracks[0], s.main.still.data) // lets go of the part around it
	}
	s.main.held = s.main.newHold(from)
	s.main.ring.discNext = true
	s.fresh = false
	if s.Stage() == livestream.StageLive {
		s.setStage(livestream.StageReconnecting)
	}
}

// fill lists the parts that are due. Nothing is added to what the store has not
// made durable yet.
func (s *Stream) fill(now time.Time) {
	h := s.main.held
	if behind := now.Sub(h.date(h.at)); behind > 2*s.main.ring.target+s.main.partTarget {
		// The process or the store hung: what is missing is not made up for.
		s.endHold()
		s.hold(now)
		h = s.main.held
	}
	added := false
	for !h.date(h.at + h.part).After(now) {
		if s.main.ring.visible() < len(s.main.ring.segs) {
			break
		}
		s.addHeld(h.part)
		added = true
	}
	if added {
		s.main.ring.evict() // what does not fit is media, and told to its publisher
		s.main.publish(false)
	}
}

// addHeld lists a part of the hold. Its segments end like a steady encoder's.
func (s *Stream) addHeld(length int64) {
	h := s.main.held
	at := h.date(h.at)
	p := s.main.ring.add(h.cut(length), at)
	p.SessionID, p.cues = s.SessionID(), s.cues.list()
	s.main.putAway(p)
	long := h.at - h.segStart
	if long >= h.scale*int64(minSegment/time.Second) || long+h.part > h.scale*int64(s.main.ring.target/time.Second) {
		s.main.complete()
		h.segStart = h.at
	}
}

// release ends the hold because media is back, which arrived at that time: the
// picture is held until then.
func (s *Stream) release(arrived time.Time) {
	h := s.main.held
	if h == nil {
		return
	}
	s.fill(arrived)
	h = s.main.held
	c := cutter{scale: h.scale}
	rest := min(c.ticks(arrived.Sub(h.date(h.at))), h.part)
	least := c.ticks(shortTail)
	if s.main.ring.open() != nil {
		least /= 4
	}
	if h.stand == standSilence {
		rest -= rest % max(1, h.unit)
	}
	if rest >= least && rest > 0 && s.main.ring.visible() == len(s.main.ring.segs) {
		s.addHeld(rest)
	}
	s.endHold()
}

// endHold ends the hold as it is, and its segment.
func (s *Stream) endHold() {
	if s.main.held == nil {
		return
	}
	s.timeline, s.over = s.main.held.end(), s.main.held.date(s.main.held.at)
	s.main.held = nil
	s.main.split()
}
