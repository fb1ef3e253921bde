package hls

import (
	"fmt"
	"slices"
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
	for _, r := range s.all {
		r.ring.begins(epoch)
	}
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
	switch {
	case !s.running:
		return
	case len(s.all) > 1:
		s.flushAll()
	default:
		c := s.main.cut
		if err := c.flush(); err != nil && s.fault == nil {
			s.fault = err
		}
		s.timeline = c.mediaEnd()
		s.over = s.date(c.duration(c.start - c.domain))
		s.main.cut = nil
	}
	s.running = false
}

func (s *Stream) mark(msn, discontinuity int64) {
	for _, r := range s.all {
		g := &r.ring
		hidden := g.visible() < len(g.segs)
		g.markMSN = max(g.markMSN, msn)
		g.markDisc = max(g.markDisc, discontinuity)
		if hidden {
			r.publish(r.window.Current().Ended)
		}
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
	if !s.running && s.intake.track(t.ID) != nil {
		s.intake.dropQueue() // frames of the old configuration
	}
	if !s.intake.put(t) {
		return nil
	}
	if s.running {
		s.intake.waiting = !sameTracks(s.intake.list(), s.tracks)
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
	if s.running {
		taken, err := s.goOn(&f, t)
		if taken || err != nil {
			s.arrived = time.Since(s.registry.began)
			s.onTime(&f)
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
	v := s.intake.video()
	if f.Key && !s.keySeen && (v == nil || t.ID == v.ID) {
		s.keySeen = true
		s.note()
	}
	if v == nil || t.ID != v.ID {
		return
	}
	if f.Discontinuity {
		s.gop.interrupt()
	}
	s.gop.frame(f, t.Timescale)
	s.captions.see(f, t)
}

// goOn gives f to the present domain. It returns false where f must begin a new
// one, or wait for it.
func (s *Stream) goOn(f *media.Frame, t *media.Track) (taken bool, err error) {
	l := s.lane(f.Track)
	if f.Discontinuity && !s.sameJump(l, f.Track) {
		s.jumper = f.Track
		return false, nil
	}
	if s.intake.waiting {
		if v := s.intake.video(); v == nil || f.Key && t.ID == v.ID {
			s.jumper = 0
			return false, nil
		}
		if l == nil || !sameTrack(&l.track, t) {
			return true, nil // it has no initialization section yet
		}
	}
	if len(s.all) > 1 {
		taken, err = s.spread(f)
		if !taken {
			s.jumper = f.Track
		}
		return taken, err
	}
	// Frames whose clock stands nearly still would fill a part for ever.
	if s.main.cut.sizeBytes() > min(s.main.ring.capBytes, maxPartBytes) {
		return true, s.tooMuch()
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

// lane returns a lane of a track in the present domain, or nil.
func (s *Stream) lane(id media.TrackID) *lane {
	for _, r := range s.all {
		if r.cut != nil {
			if l := r.cut.lane(id); l != nil {
				return l
			}
		}
	}
	return nil
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
	in.waiting = false
	in.dropQueue()
	lead := in.list()[0].ID
	if in.video() == nil && !slices.ContainsFunc(queue, func(q queued) bool { return q.frame.Track == lead }) {
		lead = queue[0].frame.Track // of several sounds any tells the time
	}
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
	s.onTimeQueued(queue)
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
	if !s.running { // a pause within the queue ended the domain again
		s.intake.enqueue(*f, s.now())
		return s.tryStart(s.now())
	}
	taken, err := s.goOn(f, s.intake.track(f.Track))
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
	s.tracks = s.intake.list()
	if err := s.arrange(s.tracks); err != nil {
		s.giveUp()
		return err
	}
	s.domainFrom, s.arrived = first.at, time.Since(s.registry.began)
	s.dates = dating{began: first.at.Sub(s.registry.began)}
	lead := s.intake.track(first.frame.Track)
	if len(s.all) == 1 {
		if err := s.main.startDomain(s.tracks, &first.frame, lead.Timescale); err != nil {
			return err
		}
	} else if err := s.startAll(&first.frame, lead.Timescale); err != nil {
		s.giveUp()
		return err
	}
	s.running = true
	s.show()
	return nil
}

// headroom is the media time that a domain of several renditions leaves before
// its lead's first frame: others may begin a little earlier.
const headroom = 2 * keyWait

// giveUp undoes what was done of a domain that could not be begun.
func (s *Stream) giveUp() {
	s.all = slices.DeleteFunc(s.all, func(r *Rendition) bool { return r != s.main && len(r.tracks) == 0 })
	for _, r := range s.all {
		r.cut, r.held = nil, nil
	}
}

// maxRenditions bounds those of a run, over all its reconnects: each playlist
// tells of all others.
const maxRenditions = 2 * maxTracks

// arrange makes the renditions that the tracks need. One video and at most one
// audio track are muxed; more have a rendition each, and so it stays for the run:
// what players know of goes on (docs/decisions/0009).
func (s *Stream) arrange(tracks []media.Track) error {
	videos := 0
	for i := range tracks {
		if tracks[i].Codec.Video() {
			videos++
		}
	}
	if !s.several && videos <= 1 && len(tracks)-videos <= 1 {
		return nil
	}
	if m := s.main; s.lineup.Load() == nil && !(m.resumed && m.of(tracks) != nil) && m.id != tracks[0].ID {
		m.isNamed(tracks[0].ID) // nobody has seen it yet
		m.past = past{}
		m.remember(s.pastMark)
	}
	s.several = true
	for i := range tracks {
		id := tracks[i].ID
		if slices.ContainsFunc(s.all, func(r *Rendition) bool { return r.id == id }) {
			continue
		}
		if len(s.all) == maxRenditions {
			return &Error{livestream.Reason{Code: livestream.BadMedia,
				Detail: fmt.Sprintf("more than %d different tracks were sent in one broadcast; number them alike each time, or begin a new one", maxRenditions)}}
		}
		s.all = append(s.all, s.another(id))
	}
	slices.SortFunc(s.all, func(a, b *Rendition) int { return order(a.id)*min(1, int(a.id)) - order(b.id)*min(1, int(b.id)) })
	s.pasts = nil
	return nil
}

// startAll is startDomain for several renditions.
func (s *Stream) startAll(first *media.Frame, timescale uint32) error {
	s.timeline += headroom
	s.grid = newGrid(s.main.ring.nextMSN)
	begun := s.main.ring.nextPart > 0
	behind := begun || s.main.ring.discNext
	for _, r := range s.all {
		r.ring.discNext = behind
		r.queue, r.queueBytes, r.lateSince = r.queue[:0], 0, 0
		r.seat = seat{grid: s.grid, msn: s.grid.first, aligned: true, apart: r.seat.apart}
		r.arrived = s.arrived
		r.cut, r.held = nil, nil
		tracks := r.of(s.tracks)
		if tracks == nil { // its track is gone
			r.keepStill()
			at := clockTicks(s.timeline, int64(r.tracks[0].Timescale))
			r.held = r.newHold(s.domainFrom, at)
			continue
		}
		if err := r.startDomain(tracks, first, timescale); err != nil {
			return err
		}
		r.cut.seat = &r.seat
	}
	s.elect()
	for _, r := range s.all {
		if r.cut != nil && (r != s.lead || begun) {
			r.cut.single, r.cut.opening = false, 0
		}
	}
	return nil
}

// of picks the rendition's tracks, or nil where they are gone.
func (r *Rendition) of(tracks []media.Track) (own []media.Track) {
	for i := range tracks {
		t := &tracks[i]
		video := t.Codec.Video()
		if r.id == t.ID || r.id == 0 && (len(own) == 0 || own[0].Codec.Video() && !video && len(own) == 1) {
			own = append(own, *t)
		}
	}
	return own
}
