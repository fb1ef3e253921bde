package hls

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"tally/internal/livestream"
)

// What a [Window] refuses. The edge turns them into answers.
var (
	// ErrEnded: the playlist has its ENDLIST, what was asked for will not come.
	// Wait returns the final snapshot beside it, which is the answer to any
	// playlist request (rfc8216bis-22 section 6.2.5: directives are ignored).
	ErrEnded = errors.New("the playlist has ended")
	// ErrTooFar: the position lies too far ahead to be waited for; 400.
	ErrTooFar = errors.New("too far ahead of the playlist")
	// ErrStarting: nothing is listed yet, so there is no playlist; 503.
	ErrStarting = errors.New("nothing is listed yet")
	// ErrTimeout and ErrChanged: that channel of a [Within] ended the wait.
	ErrTimeout = errors.New("it did not come in time")
	ErrChanged = errors.New("it has changed for whom is waited")
)

// A Within ends a wait besides its context, which is the request's own: thus a
// wait needs no context for itself. nil channels end nothing.
type Within struct {
	Timeout <-chan time.Time
	Changed <-chan struct{}
}

// next waits for the successor of a snapshot: nil when it is there.
func (in Within) next(ctx context.Context, s *Snapshot) error {
	select {
	case <-s.next: // closed after the successor was stored
		return nil
	case <-in.Timeout:
		return ErrTimeout
	case <-in.Changed:
		return ErrChanged
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A Position names what a blocking reload waits for (rfc8216bis-22 section
// 6.2.5.2).
type Position struct {
	MSN  int64
	Part int // index within the segment; -1: the whole segment
}

// String is the position as a player's person reads it.
func (p Position) String() string {
	if p.Part < 0 {
		return fmt.Sprintf("segment %d", p.MSN)
	}
	return fmt.Sprintf("segment %d part %d", p.MSN, p.Part)
}

// A Window is one run's media as viewers may fetch it: a sequence of immutable
// snapshots. All methods may be called concurrently; none takes a lock.
type Window struct {
	current atomic.Pointer[Snapshot]

	// fixed for the run
	targetDuration time.Duration
	span           time.Duration
}

// TargetDuration is EXT-X-TARGETDURATION. A playlist request that was held for
// three of them is answered 503 (rfc8216bis-22 section 6.2.5.2).
func (w *Window) TargetDuration() time.Duration { return w.targetDuration }

// Span is the media time that the playlist lists, unless memory is short: what
// a viewer that joins may take at once.
func (w *Window) Span() time.Duration { return w.span }

// Current returns the newest snapshot, never nil.
func (w *Window) Current() *Snapshot { return w.current.Load() }

// Wait returns the first snapshot that has want, at once when it is there
// already. It ends with ctx, returning its cause; with [ErrTimeout] or
// [ErrChanged]; with [ErrEnded] and the final snapshot when the run is over; with
// [ErrTooFar]; with [ErrStarting] when nothing is listed yet. It allocates nothing.
func (w *Window) Wait(ctx context.Context, want Position, in Within) (*Snapshot, error) {
	s := w.current.Load()
	switch {
	case !s.Listed() && !s.Ended:
		return nil, ErrStarting
	case !s.Ended && s.tooFar(want):
		return nil, fmt.Errorf("%v, the last segment is %d: %w", want, s.LastMSN, ErrTooFar)
	}
	for {
		if s.Has(want) {
			return s, nil
		}
		if s.Ended {
			return s, ErrEnded
		}
		if err := in.next(ctx, s); err != nil {
			return nil, err
		}
		s = w.current.Load()
	}
}

// WaitListed returns the first snapshot that lists something. It ends like
// Wait; [ErrEnded] when the run is over without.
func (w *Window) WaitListed(ctx context.Context) (*Snapshot, error) {
	for {
		s := w.current.Load()
		if s.Listed() {
			return s, nil
		}
		if s.Ended {
			return s, ErrEnded
		}
		if err := (Within{}).next(ctx, s); err != nil {
			return nil, err
		}
	}
}

// WaitPart returns the part of that name, held while it is the one that the
// playlist hints at (rfc8216bis-22 section 4.4.5.3). A part that is neither
// there nor hinted, that has left, that is a gap or will not come because the
// run ended, is [livestream.ErrNotFound]. It ends with ctx, returning its cause,
// and with [ErrTimeout] or [ErrChanged].
func (w *Window) WaitPart(ctx context.Context, epoch, counter int64, in Within) (*Part, error) {
	for {
		s := w.current.Load()
		if p := s.Part(epoch, counter); p != nil {
			return p, nil
		}
		if s.Ended || epoch != s.Epoch || counter != s.NextPart {
			return nil, livestream.ErrNotFound
		}
		if err := in.next(ctx, s); err != nil {
			return nil, err
		}
	}
}
