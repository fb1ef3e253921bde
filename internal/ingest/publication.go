package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

// IntervalGap is the silence that ends an interval of ingest seconds (design
// section 4), and the silence after which a publisher counts as stale.
const IntervalGap = 2 * time.Second

// A CutError is the cause of a publication's context when the server ends it.
// Sentence is for the person at the encoder. Err is livestream.ErrStopping when
// the server itself is about to end, else nil.
type CutError struct {
	Sentence string
	Err      error
}

func (e *CutError) Error() string { return e.Sentence }

func (e *CutError) Unwrap() error { return e.Err }

// A Publication is one accepted publish. Its methods are called by the one
// goroutine that reads the publisher's connection.
type Publication struct {
	s      *session
	log    *slog.Logger
	epoch  int64
	out    Output
	ctx    context.Context
	cancel context.CancelCauseFunc
	began  time.Time // accepted; what the atomics below count from
	once   sync.Once // the end

	first  atomic.Int64 // arrival of the first media message: nanoseconds since began, 0 before
	last   atomic.Int64 // arrival of the newest
	bytes  atomic.Int64
	frames atomic.Int64

	intervals intervals
	condition condition

	playable bool // owned by the publisher's goroutine
}

// Context ends when the publication must stop: the session was stopped,
// disabled, taken over, or fell silent. Its cause is a *CutError. The protocol
// package then closes the connection.
func (p *Publication) Context() context.Context { return p.ctx }

// Arrived counts one audio or video message towards ingest seconds and the
// idle clock, whatever is in it. sizeBytes is its payload's length.
func (p *Publication) Arrived(sizeBytes int) {
	p.bytes.Add(int64(sizeBytes))
	now := max(1, int64(time.Since(p.began)))
	if last := p.last.Load(); last > 0 && now-last <= int64(IntervalGap) {
		p.last.Store(now) // the interval goes on
		return
	}
	p.first.CompareAndSwap(0, now)
	p.intervals.next(&p.last, now)
}

// silence is how long ago the newest media message arrived, or the publish was
// accepted when none did.
func (p *Publication) silence() time.Duration {
	return time.Since(p.began) - time.Duration(p.last.Load())
}

// lastArrival is when the newest media message arrived; zero when none did.
func (p *Publication) lastArrival() time.Time {
	if n := p.last.Load(); n > 0 {
		return p.began.Add(time.Duration(n))
	}
	return time.Time{}
}

// arrival is when the newest media message arrived, since the publication
// began: the one that is being handled.
func (p *Publication) arrival() time.Duration { return time.Duration(p.last.Load()) }

// Expect passes on which tracks onMetaData announced.
func (p *Publication) Expect(ids []media.TrackID) {
	p.condition.watch.Expect(ids)
	p.out.Expect(p.epoch, ids)
}

// WriteTrack passes on a track's configuration, at first or when it changed.
func (p *Publication) WriteTrack(t media.Track) error {
	p.watchTrack(t)
	return p.written(p.out.WriteTrack(p.epoch, t))
}

// WriteFrame passes on the next frame, and takes over its payload. An error
// ends the publication: close the connection.
func (p *Publication) WriteFrame(f media.Frame) error {
	p.frames.Add(1)
	p.watchFrame(f)
	return p.written(p.out.WriteFrame(p.epoch, f))
}

// WriteCue passes on a cue. An error refuses it and ends nothing.
func (p *Publication) WriteCue(c media.Cue) (media.Mark, error) { return p.out.WriteCue(p.epoch, c) }

// reasoned is an output's error that knows its err_message.
type reasoned interface {
	error
	Reason() livestream.Reason
}

func (p *Publication) written(err error) error {
	if err == nil {
		if p.playable {
			return nil
		}
		if progress := p.out.Progress(); progress.Playable {
			p.playable = true
			p.condition.watch.PartTarget(progress.PartTarget)
			p.s.post(func() { p.s.becamePlayable(p) })
		}
		return nil
	}
	if errors.Is(err, livestream.ErrStale) {
		return err // another publish owns the session: the context has ended or is about to
	}
	reason := livestream.Fault("the packager cannot go on")
	if r, ok := errors.AsType[reasoned](err); ok {
		reason = r.Reason()
	} else {
		p.log.Error("the packager cannot go on", "err", err)
	}
	p.end(func() { p.s.fail(p, reason) })
	return err
}

// The publication ends by exactly one of the following; later calls do nothing.

// Unpublish: the encoder ended cleanly.
func (p *Publication) Unpublish() { p.end(func() { p.s.unpublish(p) }) }

// Lose: the connection ended without a clean end.
func (p *Publication) Lose(err error) {
	p.end(func() { p.s.lose(p, livestream.Reason{}, "the connection ended") })
}

// Fail: the media cannot be used. The reason becomes err_message when nothing
// was playable yet; when the session is on air it is as if the connection was
// lost, so that an encoder can come back with better media.
func (p *Publication) Fail(reason livestream.Reason) { p.end(func() { p.s.lose(p, reason, "") }) }

func (p *Publication) end(op func()) { p.once.Do(func() { p.s.post(op) }) }
