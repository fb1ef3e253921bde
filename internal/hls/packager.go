package hls

import (
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

// A Packager makes one session's frames into a run's parts, segments and
// playlists. It implements ingest.Output, which documents the methods. All of
// them may be called concurrently; Progress takes no lock. After End, and once
// the run was opened for another session, the Write methods return
// [livestream.ErrStale] and the others do nothing.
type Packager struct {
	s          *Stream
	generation int64
}

// lock reports whether the packager is still its session's, with the stream
// locked either way.
func (p *Packager) lock() bool {
	p.s.mu.Lock()
	return p.generation == p.s.generation
}

// writes is lock for what a publish of that epoch does.
func (p *Packager) writes(epoch int64) bool {
	return p.lock() && epoch == p.s.epoch && !p.s.gone
}

// Begin says that the publish of that epoch was accepted. What was received
// before it becomes playable; what follows stands behind a discontinuity. Its
// first part has the name that the playlist hints at already.
func (p *Packager) Begin(epoch int64) {
	defer p.s.mu.Unlock()
	if p.lock() && epoch > p.s.epoch {
		p.s.begin(epoch)
	}
}

// Expect says which tracks the encoder announced.
func (p *Packager) Expect(epoch int64, ids []media.TrackID) {
	defer p.s.mu.Unlock()
	if p.writes(epoch) {
		p.s.intake.expect(ids)
	}
}

// WriteTrack gives a track's configuration, at first or when it changed. The
// same configuration again changes nothing. Errors: ErrStale; an *Error.
func (p *Packager) WriteTrack(epoch int64, t media.Track) error {
	defer p.s.mu.Unlock()
	if !p.writes(epoch) {
		return livestream.ErrStale
	}
	return p.s.writeTrack(t)
}

// WriteFrame gives the next frame. Frames of a track without a configuration,
// and those that nothing could decode, are left out. Errors: ErrStale; an
// *Error when the publication cannot go on.
func (p *Packager) WriteFrame(epoch int64, f media.Frame) error {
	defer p.s.mu.Unlock()
	if !p.writes(epoch) {
		return livestream.ErrStale
	}
	return p.s.writeFrame(f)
}

// WriteCue gives a cue. Its date range is listed with the next part, or when the
// media that it belongs to begins; where it was put is told as far as it is
// known. Errors: ErrStale; livestream.ErrNotActive for a cue of Now while nothing
// is playable; ErrCue.
func (p *Packager) WriteCue(epoch int64, c media.Cue) (media.Mark, error) {
	defer p.s.mu.Unlock()
	if c.Now {
		if !p.lock() {
			return media.Mark{}, livestream.ErrStale
		}
	} else if !p.writes(epoch) {
		return media.Mark{}, livestream.ErrStale
	}
	return p.s.writeCue(c)
}

// Lost says that the publisher is gone while the session stays open: what is
// pending becomes playable. After a target duration without media the playlist
// goes on with the last picture held, until media comes or the session ends;
// that is so whether or not the publisher was lost.
func (p *Packager) Lost(epoch int64) {
	defer p.s.mu.Unlock()
	if p.writes(epoch) {
		p.s.lost()
	}
}

// Mark raises the numbers that may be listed: those above are held back.
func (p *Packager) Mark(msn, discontinuity int64) {
	defer p.s.mu.Unlock()
	if p.lock() {
		p.s.mark(msn, discontinuity)
	}
}

// Progress tells how far the packager is.
func (p *Packager) Progress() livestream.Progress { return *p.s.progress.Load() }

// Linger changes what [OpenOptions] said of the playlist after a clean end.
func (p *Packager) Linger(d time.Duration) {
	defer p.s.mu.Unlock()
	if p.lock() {
		p.s.delay = d
	}
}

// End ends the session, with linger as [OpenOptions] or Linger said.
func (p *Packager) End(linger bool) {
	defer p.s.mu.Unlock()
	if !p.lock() {
		return
	}
	if linger {
		p.s.end(p.s.delay)
	} else {
		p.s.end(0)
	}
}
