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
	name   string // in URLs; "": the muxed one
	// mediaPrefix stands before each URI in shared delivery.
	mediaPrefix string
	window      Window

	// What follows is the writers', under Stream.mu.
	ring       ring
	past       past
	resumed    bool          // the past is that of another process, and nothing follows it yet
	partTarget time.Duration // 0 until chosen
	cut        *cutter       // of the present domain; nil between domains
	tracks     []media.Track // of the newest initialization section
	still      still
	held       *hold // the domain that stands in for media; nil while it comes
	renderer   playlist.Media
	text       []byte
	version    int64
	cued       int64 // serial of the newest cue that is listed
}

// Name is how URLs name the rendition: v0, v1 … for video tracks, a0, a1 … for
// audio ones; "" for the one in which sound and picture are muxed.
func (r *Rendition) Name() string { return r.name }

// Window is the rendition's media.
func (r *Rendition) Window() *Window { return &r.window }

// newRendition begins a rendition at the numbers behind those that were ever
// listed.
func newRendition(s *Stream, run livestream.Run, target time.Duration) *Rendition {
	r := &Rendition{stream: s, mediaPrefix: "../", partTarget: run.PartTarget}
	if base := s.registry.config.MediaBase; base != "" {
		r.mediaPrefix = base + "/hls/" + s.playbackID + "/" + s.runID + "/"
	}
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
	r.remember(run)
	r.window.current.Store(&Snapshot{
		FirstMSN: r.ring.nextMSN, LastMSN: run.MSNMark, PartTarget: r.partTarget, next: make(chan struct{}),
	})
	return r
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
// frame. tracks are those of the rendition, the lead first.
func (r *Rendition) startDomain(tracks []media.Track, first *media.Frame) error {
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
		lead:       &lane{track: tracks[0]},
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
	c.target = c.ticks(r.partTarget)
	c.domain = (s.timeline.Microseconds()*c.scale + 999_999) / 1_000_000
	c.start, c.segStart = c.domain, c.domain
	c.lead.offset = c.domain - first.DTS
	if len(tracks) > 1 {
		c.setAudio(tracks[1], first.DTS)
	}
	r.cut = c
	return nil
}

// emit takes a part that the cutter closed.
func (r *Rendition) emit(c cut) error {
	s := r.stream
	if r.partTarget == 0 {
		r.partTarget = r.cut.partTarget
	}
	at := s.domainFrom.Add(r.cut.duration(c.start))
	r.resume(at)
	p := r.ring.add(c, at)
	p.SessionID, p.cues = s.SessionID(), s.cues.list()
	r.putAway(p)
	r.still.see(&c, p)
	if c.endsSegment {
		r.complete()
	}
	s.fresh = true
	s.watchOver()
	err := r.ring.evict()
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
