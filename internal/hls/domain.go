package hls

import (
	"fmt"
	"time"

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
	s.main.ring.begins(epoch)
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
	c := s.main.cut
	if c == nil {
		return
	}
	if err := c.flush(); err != nil && s.fault == nil {
		s.fault = err
	}
	s.timeline = c.mediaEnd()
	s.over = s.domainFrom.Add(c.duration(c.start - c.domain))
	s.main.cut = nil
}

func (s *Stream) mark(msn, discontinuity int64) {
	r := &s.main.ring
	hidden := r.visible() < len(r.segs)
	r.markMSN = max(r.markMSN, msn)
	r.markDisc = max(r.markDisc, discontinuity)
	if hidden {
		s.main.publish(s.main.window.Current().Ended)
	}
}

func (s *Stream) writeTrack(t media.Track) error {
	if t.Codec == media.CodecNone || t.Timescale == 0 {
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
	if s.main.cut == nil && s.intake.track(t.ID) != nil {
		s.intake.dropQueue() // frames of the old configuration
	}
	s.intake.put(t)
	if s.main.cut != nil {
		s.intake.waiting = !sameTracks(s.intake.list(), s.main.tracks)
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
	if s.main.cut != nil {
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
	s.captions.see(f, t)
}

// running gives f to the present domain. It returns false where f must begin a
// new one, or wait for it.
func (s *Stream) running(f *media.Frame, t *media.Track) (taken bool, err error) {
	l := s.main.cut.lane(f.Track)
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
	if s.main.cut.sizeBytes() > min(s.main.ring.capBytes, maxPartBytes) {
		return true, s.main.ring.tooMuch()
	}
	if l == s.main.cut.audio {
		return true, s.main.cut.audioFrame(f)
	}
	paused, err := s.main.cut.leadFrame(f)
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

// tryStart begins a domain if what it needs is there, with what was queued.
func (s *Stream) tryStart(now time.Time) error {
	in := &s.intake
	in.trimAudio(now)
	if !in.ready(now, s.main.ring.capBytes/4) {
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
	if s.main.cut == nil { // a pause within the queue ended the domain again
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
	s.release(first.at)
	if err := s.main.startDomain(s.intake.list(), &first.frame); err != nil {
		return err
	}
	s.domainFrom, s.arrived = first.at, time.Since(s.registry.began)
	s.placeWaiting()
	return nil
}
