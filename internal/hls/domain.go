package hls

import (
	"fmt"
	"time"

	"tally/internal/hls/cmaf"
	"tally/internal/livestream"
	"tally/internal/media"
)

// maxPartBytes bounds a part: half of what its boxes could tell.
const maxPartBytes = 1 << 30

// The methods of Stream in this file are the writers' side: the caller holds mu.

// jumpTogether is how long after one track's clock jump the other's counts as
// the same jump, by arrival.
const jumpTogether = 3 * time.Second

// begin lets the publish of that epoch write.
func (s *Stream) begin(epoch int64) {
	s.interrupt()
	s.intake.reset()
	s.cues.forget()
	s.epoch, s.gone, s.fresh, s.jumper = epoch, false, false, 0
	s.ring.begins(epoch)
}

func (s *Stream) lost() {
	s.interrupt()
	s.intake.reset()
	s.gone = true
	if s.Stage() == livestream.StageLive {
		s.setStage(livestream.StageReconnecting)
	}
}

// interrupt makes what was received playable and ends the domain.
func (s *Stream) interrupt() {
	s.flush()
	s.gop.interrupt()
	s.note()
}

// flush closes the open part and segment. That it may not fit into memory is
// told to the next frame.
func (s *Stream) flush() {
	if s.cut == nil {
		return
	}
	if err := s.cut.flush(); err != nil && s.fault == nil {
		s.fault = err
	}
	s.timeline = s.cut.mediaEnd()
	s.over = s.domainFrom.Add(s.cut.duration(s.cut.start - s.cut.domain))
	s.cut = nil
}

func (s *Stream) mark(msn, discontinuity int64) {
	hidden := s.ring.visible() < len(s.ring.segs)
	s.ring.markMSN = max(s.ring.markMSN, msn)
	s.ring.markDisc = max(s.ring.markDisc, discontinuity)
	if hidden {
		s.publish(s.window.Current().Ended)
	}
}

func (s *Stream) writeTrack(t media.Track) error {
	if t.Codec != media.H264 && t.Codec != media.AAC || t.Timescale == 0 {
		return &Error{livestream.Reason{Code: livestream.UnsupportedCodec,
			Detail: fmt.Sprintf("%v cannot be packaged; use H.264 and AAC", t.Codec)}}
	}
	now := s.now()
	if s.intake.since.IsZero() {
		s.intake.since = now
	}
	if sameTrack(s.intake.track(t.ID), &t) {
		return nil
	}
	if s.cut == nil && s.intake.track(t.ID) != nil {
		s.intake.dropQueue() // frames of the old configuration
	}
	s.intake.put(t)
	if s.cut != nil {
		s.intake.waiting = !s.sameTracks(s.intake.list())
		return nil
	}
	return s.tryStart(now)
}

func (s *Stream) writeFrame(f media.Frame) error {
	if s.fault != nil {
		return s.fault
	}
	t := s.intake.track(f.Track)
	if t == nil || len(f.Payload) == 0 {
		return nil
	}
	s.meter(&f, t)
	if s.cut != nil {
		taken, err := s.running(&f, t)
		if taken || err != nil {
			s.arrived = time.Since(s.registry.began)
			return err
		}
		s.interrupt()
	} else if f.Discontinuity {
		s.jumper = f.Track
	}
	now := s.now()
	s.intake.enqueue(f, now)
	return s.tryStart(now)
}

// meter keeps the figures that Progress tells.
func (s *Stream) meter(f *media.Frame, t *media.Track) {
	if f.Key && !s.keySeen && (t.Codec.Video() || s.intake.tracks[0] == nil) {
		s.keySeen = true
		s.note()
	}
	if !t.Codec.Video() {
		return
	}
	if f.Discontinuity {
		s.gop.interrupt()
	}
	s.gop.frame(f, t.Timescale)
}

// running gives f to the present domain. It returns false where f must begin a
// new one, or wait for it.
func (s *Stream) running(f *media.Frame, t *media.Track) (taken bool, err error) {
	l := s.cut.lane(f.Track)
	if f.Discontinuity && !s.sameJump(l, f.Track) {
		s.jumper = f.Track
		return false, nil
	}
	if s.intake.waiting {
		if s.intake.tracks[0] == nil || f.Key && t.Codec.Video() {
			s.jumper = 0
			return false, nil
		}
		if l == nil || !sameTrack(&l.track, t) {
			return true, nil // it has no initialization section yet
		}
	}
	// Frames whose clock stands nearly still would fill a part for ever.
	if s.cut.sizeBytes() > min(s.ring.capBytes, maxPartBytes) {
		return true, s.ring.tooMuch()
	}
	if l == s.cut.audio {
		return true, s.cut.audioFrame(f)
	}
	paused, err := s.cut.leadFrame(f)
	if paused {
		s.jumper = f.Track
	}
	return !paused, err
}

// sameJump reports whether a flagged frame tells of the jump for which the
// domain began: each track of a publication has its own flag.
func (s *Stream) sameJump(l *lane, id media.TrackID) bool {
	if l == nil || l.aligned || s.jumper == 0 || s.jumper == id || time.Since(s.domainFrom) > jumpTogether {
		return false
	}
	l.aligned = true
	return true
}

func (s *Stream) sameTracks(ts []media.Track) bool {
	if len(ts) != len(s.tracks) {
		return false
	}
	for i := range ts {
		if !sameTrack(&ts[i], &s.tracks[i]) {
			return false
		}
	}
	return true
}

// tryStart begins a domain if what it needs is there, with what was queued.
func (s *Stream) tryStart(now time.Time) error {
	in := &s.intake
	in.trimAudio(now)
	if !in.ready(now, s.ring.capBytes/4) {
		return nil
	}
	queue := in.queue
	in.queue, in.queueBytes, in.waiting = nil, 0, false
	lead := in.list()[0].ID
	for len(queue) > 0 && queue[0].frame.Track != lead {
		// Audio before the picture is sorted out by its time, so it may stay
		// behind the frame that sets the clock.
		i := 1
		for queue[i].frame.Track != lead {
			i++
		}
		first := queue[i]
		copy(queue[1:i+1], queue[:i])
		queue[0] = first
	}
	if err := s.startDomain(&queue[0]); err != nil {
		return err
	}
	for i := range queue {
		f := &queue[i].frame
		f.Discontinuity = false // all of it is behind the one that begins here
		if err := s.replay(f); err != nil {
			return err
		}
	}
	return nil
}

// replay is writeFrame for what was queued and metered.
func (s *Stream) replay(f *media.Frame) error {
	if s.cut == nil { // a pause within the queue ended the domain again
		s.intake.enqueue(*f, s.now())
		return s.tryStart(s.now())
	}
	taken, err := s.running(f, s.intake.track(f.Track))
	if taken || err != nil {
		return err
	}
	s.interrupt()
	s.intake.enqueue(*f, s.now())
	return s.tryStart(s.now())
}

// startDomain begins a stretch of continuous decode times with its first frame.
func (s *Stream) startDomain(first *queued) error {
	tracks := s.intake.list()
	s.release(first.at)
	if !s.sameTracks(tracks) {
		if err := s.newInit(tracks); err != nil {
			return err
		}
	}
	if s.ring.nextPart > 0 {
		s.ring.discNext = true
	}
	c := &cutter{
		lead:       &lane{track: tracks[0]},
		pace:       newPace(tracks[0]),
		scale:      int64(tracks[0].Timescale),
		single:     s.ring.nextPart == 0,
		want:       s.registry.config.PartTarget,
		partTarget: s.partTarget,
		emit:       s.emit,
		split:      s.split,
	}
	c.segLimit = c.ticks(s.ring.target)
	c.target = c.ticks(s.partTarget)
	c.domain = (s.timeline.Microseconds()*c.scale + 999_999) / 1_000_000
	c.start, c.segStart = c.domain, c.domain
	c.lead.offset = c.domain - first.frame.DTS
	if len(tracks) > 1 {
		c.setAudio(tracks[1], first.frame.DTS)
	}
	s.cut, s.domainFrom = c, first.at
	s.placeWaiting()
	s.arrived = time.Since(s.registry.began)
	return nil
}

func (s *Stream) newInit(tracks []media.Track) error {
	data, err := cmaf.InitSegment(tracks)
	if err != nil {
		return &Error{livestream.Reason{Code: livestream.BadMedia, Detail: err.Error()}}
	}
	s.tracks, s.still = tracks, still{}
	s.ring.addInit(&Init{Epoch: s.epoch, Data: data, Length: lengthOf(len(data))})
	return nil
}

// emit takes a part that the cutter closed.
func (s *Stream) emit(c cut) error {
	if s.partTarget == 0 {
		s.partTarget = s.cut.partTarget
	}
	p := s.ring.add(c, s.domainFrom.Add(s.cut.duration(c.start)))
	p.SessionID = s.SessionID()
	s.still.see(&c, p)
	if c.endsSegment {
		s.ring.complete()
	}
	s.fresh = true
	s.watchOver()
	err := s.ring.evict()
	s.publish(false)
	return err
}

// split takes note that the open segment ended between two parts.
func (s *Stream) split() {
	s.ring.complete()
	s.publish(false)
}
