package hls

import (
	"time"

	"tally/internal/hls/cmaf"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// A Rendition is one encoding of a run's programme with a playlist, parts and
// initialization sections of its own. A run of one video and at most one audio
// track has one, in which both are muxed. The exported methods may be called
// concurrently and take no lock.
type Rendition struct {
	stream *Stream
	name   string        // in URLs; "": the muxed one
	id     media.TrackID // its track; 0: the muxed one
	// mediaPrefix stands before each URI in shared delivery.
	mediaPrefix string
	window      Window
	since       time.Time // when it began

	// What follows is the writers', under Stream.mu.
	ring       ring
	past       past
	resumed    bool          // the past is that of another process, and nothing follows it yet
	partTarget time.Duration // 0 until chosen
	cut        *cutter       // of the present domain; nil between domains
	tracks     []media.Track // of the newest initialization section
	still      still
	held       *hold // what stands in for media; nil while it comes
	seat       seat
	queue      []waiting     // frames whose segment is not known yet
	queueBytes int64         // see weight
	arrived    time.Duration // when its newest frame came, since Registry.began
	lateSince  time.Duration // since when its frames have come too late; 0: they do not
	renderer   playlist.Media
	text       []byte
	version    int64
	cued       int64 // serial of the newest cue that is listed
}

// Name is how URLs name the rendition: v0, v1 … for video tracks, a0, a1 … for
// audio ones; "" for the one in which sound and picture are muxed.
func (r *Rendition) Name() string { return r.name }

// Index tells the renditions of a run apart: video by its track's number, audio by
// 32 more; the muxed one has that of the first video.
func (r *Rendition) Index() int {
	switch {
	case r.id == 0:
		return 0
	case r.id.Video():
		return int(r.id.Index())
	}
	return 32 + int(r.id.Index())
}

// Window is the rendition's media.
func (r *Rendition) Window() *Window { return &r.window }

// newRendition begins a run's first rendition, at the numbers behind those that
// were ever listed.
func newRendition(s *Stream, run livestream.Run, target time.Duration) *Rendition {
	r := &Rendition{stream: s, since: time.Now(), partTarget: run.PartTarget}
	r.window.targetDuration = target
	r.window.span = max(s.registry.config.Window, 3*target)
	r.ring = ring{
		target:   target,
		listFor:  r.window.span,
		capBytes: s.registry.config.RingBytes,
		nextMSN:  run.MSNMark + 1,
		listFrom: run.MSNMark + 1,
		disc:     run.DiscontinuityMark,
		discNext: run.MSNMark > 0, // a player may hold what was listed before a restart
		markMSN:  run.MSNMark,
		markDisc: run.DiscontinuityMark,
	}
	r.ring.leave = r.leave
	r.isNamed(s.firstPast())
	r.remember(run.MSNMark)
	if s.pastDisc > 0 {
		r.ring.disc = s.pastDisc
	}
	r.window.current.Store(&Snapshot{
		FirstMSN: r.ring.nextMSN, LastMSN: run.MSNMark, PartTarget: r.partTarget, next: make(chan struct{}),
	})
	return r
}

// another begins a further rendition, at the numbers where the run is.
func (s *Stream) another(id media.TrackID) *Rendition {
	m := &s.main.ring
	r := &Rendition{stream: s, since: time.Now()}
	r.window.targetDuration, r.window.span = s.main.window.targetDuration, s.main.window.span
	r.ring = ring{
		target: m.target, listFor: m.listFor, capBytes: m.capBytes,
		nextMSN: m.nextMSN, listFrom: m.nextMSN,
		disc: m.disc, discNext: m.discNext, markMSN: m.markMSN, markDisc: m.markDisc,
	}
	r.ring.begins(s.epoch)
	r.ring.leave = r.leave
	r.isNamed(id)
	r.past.listFor = s.dvr
	r.remember(s.pastMark)
	r.window.current.Store(&Snapshot{FirstMSN: m.nextMSN, LastMSN: m.nextMSN - 1, next: make(chan struct{})})
	return r
}

// isNamed makes r the rendition of a track, or the muxed one for 0.
func (r *Rendition) isNamed(id media.TrackID) {
	s := r.stream
	r.id, r.name = id, ""
	up, below := "../", ""
	if id != 0 {
		r.name = renditionName(id)
		up, below = "../../"+r.name+"/", r.name+"/"
	}
	r.mediaPrefix = up
	if base := s.registry.config.MediaBase; base != "" {
		r.mediaPrefix = base + "/hls/" + s.playbackID + "/" + s.runID + "/" + below
	}
}

// renditionName is how URLs name the rendition of a track.
func renditionName(id media.TrackID) string {
	kind := "a"
	if id.Video() {
		kind = "v"
	}
	return kind + number(int64(id.Index()))
}

// The methods below are the writers' side: the caller holds Stream.mu.

// newInit makes an initialization section for the rendition's tracks, if it is
// not that of the newest one.
func (r *Rendition) newInit(tracks []media.Track) error {
	if sameTracks(tracks, r.tracks) {
		return nil
	}
	data, err := cmaf.InitSegment(tracks)
	if err != nil {
		return &Error{livestream.Reason{Code: livestream.BadMedia, Detail: err.Error()}}
	}
	r.tracks, r.still = tracks, still{}
	r.ring.addInit(&Init{Epoch: r.stream.epoch, Data: data, Length: lengthOf(len(data)), video: tracks[0].Codec.Video()})
	return nil
}

// startDomain begins a stretch of continuous decode times with the lead's first
// frame, of that timescale. tracks are those of the rendition, its lead first.
func (r *Rendition) startDomain(tracks []media.Track, first *media.Frame, timescale uint32) error {
	if err := r.newInit(tracks); err != nil {
		return err
	}
	if r.ring.nextPart > 0 {
		r.ring.discNext = true
	}
	s := r.stream
	begins := r.ring.nextPart == 0
	restarted := begins && r.ring.nextMSN > 1 // the numbers go on behind those of the process before
	c := &cutter{
		lead:       &lane{track: tracks[0], frame: tracks[0].FrameSamples},
		pace:       newPace(tracks[0]),
		scale:      int64(tracks[0].Timescale),
		single:     begins && !restarted,
		want:       s.registry.config.PartTarget,
		partTarget: r.partTarget,
		emit:       r.emit,
		split:      r.split,
	}
	c.segLimit = c.ticks(r.ring.target)
	if restarted {
		c.opening = c.ticks(openingSegment)
	}
	c.target = c.partLimit(r.partTarget)
	c.domain = (s.timeline.Microseconds()*c.scale + 999_999) / 1_000_000
	c.start, c.segStart = c.domain, c.domain
	c.lead.offset = c.domain - first.DTS*c.scale/int64(timescale)
	if len(tracks) > 1 {
		c.setAudio(tracks[1], first.DTS)
	}
	r.cut = c
	return nil
}

// add appends a part that begins at that wall time.
func (r *Rendition) add(c cut, at time.Time) *Part {
	s := r.stream
	r.resume(at)
	p := r.ring.add(c, at)
	p.SessionID, p.cues = s.SessionID(), s.cues.list()
	r.putAway(p)
	return p
}

// emit takes a part that the cutter closed.
func (r *Rendition) emit(c cut) error {
	s := r.stream
	if r.partTarget == 0 {
		r.partTarget = r.cut.partTarget
	}
	at := r.dated(s.domainFrom.Add(r.cut.duration(c.start)))
	if len(s.cues.waiting) > 0 {
		s.placeWaiting()
	}
	p := r.add(c, at)
	r.still.see(&c, p)
	if c.endsSegment {
		r.complete()
		s.forgetGrid()
	}
	s.fresh = true
	s.watchOver()
	err := r.evict()
	r.publish(false)
	return err
}

// split takes note that the open segment ended between two parts.
func (r *Rendition) split() {
	r.complete()
	r.publish(false)
}

// complete ends the open segment, if there is one. Each complete segment of
// each rendition passes here once, before a playlist lists it whole, in order
// of its numbers. Its record has the parts, the initialization section, the
// discontinuity, the date, and what it stands in for; its number may not be
// durable yet (see ring.visible).
func (r *Rendition) complete() {
	if g := r.ring.open(); g != nil && g.rest != nil {
		r.lane().End(g.rest)
	}
	r.ring.complete()
}

// evict takes off the list and out of memory what is old enough. It fails when
// the cap leaves no room for three target durations of all renditions.
func (r *Rendition) evict() error {
	r.ring.expire()
	return r.stream.shed()
}

// keepStill makes the newest picture the rendition's own, which lets go of the
// part around it.
func (r *Rendition) keepStill() {
	if len(r.still.data) <= maxPicture {
		r.still.data = media.Still(&r.tracks[0], r.still.data)
	}
}
