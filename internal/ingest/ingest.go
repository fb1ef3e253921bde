// Package ingest decides who may publish and keeps the truth about what is on
// air: one actor per open session owns the session's timers, tells the store of
// each transition, and cuts the publisher when it must. A protocol package asks
// [Manager.Publish], then hands the [Publication] its tracks and frames; the
// publication gives them to the session's [Output].
package ingest

import (
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/secret"
)

// An Output is where a session's media goes: the packager. It belongs to one
// playback id for one run. The Write methods are called by the publisher's
// goroutine, the others by the session's actor; an Output serialises them.
// What carries an epoch older than the last Begin is refused with
// [livestream.ErrStale], so that media of two publishers never mix.
type Output interface {
	// Begin says that the publish of that epoch was accepted. If media went
	// before, what follows is behind a discontinuity.
	Begin(epoch int64)
	// Expect says which tracks the encoder announced (onMetaData). Without it
	// the output waits up to 1 s of arrival time for a second track.
	Expect(epoch int64, ids []media.TrackID)
	// WriteTrack gives a track's configuration, at first or when it changed.
	WriteTrack(epoch int64, t media.Track) error
	// WriteFrame gives the next frame. An error other than ErrStale means that
	// the publication cannot go on; an error with a Reason method says why.
	WriteFrame(epoch int64, f media.Frame) error
	// WriteCue gives a cue, which viewers see with the media of its time. One
	// whose time is Now may come while the publisher is gone; it fails with
	// [livestream.ErrNotActive] while nothing is playable. What is refused because
	// of what is in it is another error, for whoever made it.
	WriteCue(epoch int64, c media.Cue) (media.Mark, error)
	// Lost says that the publisher is gone while the session stays open: what
	// is pending becomes playable. The playlist may go on with a held picture,
	// which takes up media sequence numbers.
	Lost(epoch int64)
	// Mark raises the numbers that are durable: nothing above them is listed.
	Mark(msn, discontinuity int64)
	// Progress tells how far the output is. It may be called by anyone.
	Progress() livestream.Progress
	// Linger says how long the playlist is to outlive a clean end, from now on.
	Linger(d time.Duration)
	// End ends the session. With linger the playlist stays open for a new
	// session that continues the run, and gets its ENDLIST after the delay;
	// without, at once. The Output is not used afterwards.
	End(linger bool)
}

// A Request is a publish that a protocol package wants accepted. It may be
// refused before any byte of media is read.
type Request struct {
	Key     secret.String // the stream key as the encoder sent it
	Remote  string        // the peer's address, for the timeline
	Encoder string        // what the encoder calls itself; untrusted, may be ""
	Proto   string        // "rtmp", "rtmps"
}
