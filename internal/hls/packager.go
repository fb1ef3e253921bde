package hls

import (
	"tally/internal/livestream"
	"tally/internal/media"
)

// A Packager makes one session's frames into a run's parts, segments and
// playlists. It implements ingest.Output, which documents the methods; all of
// them may be called concurrently.
type Packager struct{}

// Begin says that the publish of that epoch was accepted.
func (p *Packager) Begin(epoch int64) {}

// Expect says which tracks the encoder announced.
func (p *Packager) Expect(epoch int64, video, audio bool) {}

// WriteTrack gives a track's configuration, at first or when it changed.
func (p *Packager) WriteTrack(epoch int64, t media.Track) error { return nil }

// WriteFrame gives the next frame.
func (p *Packager) WriteFrame(epoch int64, f media.Frame) error { return nil }

// Lost says that the publisher is gone while the session stays open.
func (p *Packager) Lost(epoch int64) {}

// Mark raises the numbers that may be listed.
func (p *Packager) Mark(msn, discontinuity int64) {}

// Progress tells how far the packager is.
func (p *Packager) Progress() livestream.Progress { return livestream.Progress{} }

// End ends the session.
func (p *Packager) End(linger bool) {}
