package ingest

import (
	"context"

	"tally/internal/livestream"
	"tally/internal/media"
)

// A Publication is one accepted publish. Its methods are called by the one
// goroutine that reads the publisher's connection.
type Publication struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Context ends when the publication must stop: the session was stopped,
// disabled, taken over, or fell silent. Its cause says why; a *CutError has a
// sentence for the encoder. The protocol package then closes the connection.
func (p *Publication) Context() context.Context { return p.ctx }

// Arrived counts one audio or video message towards ingest seconds and the
// idle clock, whatever is in it. sizeBytes is its payload's length.
func (p *Publication) Arrived(sizeBytes int) {}

// Expect passes on which tracks onMetaData announced.
func (p *Publication) Expect(video, audio bool) {}

// WriteTrack passes on a track's configuration, at first or when it changed.
func (p *Publication) WriteTrack(t media.Track) error { return nil }

// WriteFrame passes on the next frame, and takes over its payload. An error
// ends the publication: call Fail with it and close the connection.
func (p *Publication) WriteFrame(f media.Frame) error { return nil }

// The publication ends by exactly one of the following; later calls do nothing.

// Unpublish: the encoder ended cleanly.
func (p *Publication) Unpublish() {}

// Lose: the connection ended without a clean end.
func (p *Publication) Lose(err error) {}

// Fail: the media cannot be used; reason becomes err_message when nothing was
// playable yet. When the session is on air it is as if the connection was lost.
func (p *Publication) Fail(reason livestream.Reason) {}
