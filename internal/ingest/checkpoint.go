package ingest

import (
	"context"
	"errors"
	"time"

	"tally/internal/livestream"
)

// checkpointEvery bounds what a crash costs, and how old the figures are that the
// API reads: half a second (design section 3, Checkpoint), of which 30 ms are for
// the transaction and for the message that comes next.
const checkpointEvery = 470 * time.Millisecond

// msnHeadroom is how many segments may be listed beyond the present one before
// the next checkpoint must have been written: 16 s of them, the shortest being
// 1 s. After a crash the playlist goes on behind the reserved numbers.
const msnHeadroom = 16

// discontinuityHeadroom is the same for discontinuities: a reconnect and some
// changes of parameters within one checkpoint.
const discontinuityHeadroom = 16

// checkpoints writes all open sessions each 500 ms, in one transaction.
func (m *Manager) checkpoints() {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.checkpoint(m.ctx, m.all(), m.usage)
			m.dropClocks()
		case <-m.ctx.Done():
			return
		}
	}
}

// A written is one session's part of a checkpoint, and what to do when it is
// durable.
type written struct {
	s     *session
	out   Output
	pub   *Publication // nil: none is connected
	given given        // of pub's intervals
	told  int          // of pub's lines for the timeline
}

// checkpoint writes the figures of sessions, what publications that ended left
// to be written, and what viewers watched, then tells the outputs which numbers
// are durable. usage may be nil. A store that cannot write is asked again at the
// next tick: figures are totals, and what is no total is kept until it is
// written, so nothing is lost. One checkpoint is written after the other, so
// that an older view of a session never overtakes a newer one.
func (m *Manager) checkpoint(ctx context.Context, sessions []*session, usage Usage) {
	select {
	case m.writing <- struct{}{}:
		defer func() { <-m.writing }()
	case <-ctx.Done():
		return
	}
	cs := m.remaining()
	rests := len(cs)
	of := make([]written, 0, len(sessions))
	for _, s := range sessions {
		if c, w, ok := s.checkpoint(); ok {
			cs, of = append(cs, c), append(of, w)
		}
	}
	var ws []livestream.UsageWindow
	var vs []livestream.Viewing
	if usage != nil {
		ws, vs = usage.Drain()
	}
	if len(cs) == 0 && len(ws) == 0 && len(vs) == 0 {
		return
	}
	if err := m.store.Checkpoint(ctx, cs, ws, vs); err != nil {
		if errors.Is(err, context.Canceled) {
			return // Shutdown has written the last figures and ended the loop
		}
		m.log.Error("checkpoint", "sessions", len(cs), "err", err)
		return
	}
	m.forget(rests)
	for i, w := range of {
		c := &cs[rests+i]
		w.s.reserved(c.MSNMark - msnHeadroom)
		w.out.Mark(c.MSNMark, c.DiscontinuityMark)
		if w.pub != nil {
			w.pub.intervals.written(w.given)
			w.pub.condition.told(w.told)
		}
	}
	if usage != nil {
		usage.Ack(ws, vs)
	}
}

// checkpoint reads the session's figures; ok is false when nothing moves: no
// publisher is connected, and no picture is held meanwhile, which takes up
// media sequence numbers and earns no seconds.
func (s *session) checkpoint() (c livestream.Checkpoint, w written, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == nil {
		return c, w, false
	}
	progress := s.out.Progress()
	if s.pub == nil && progress.MSN <= s.msn {
		return c, w, false
	}
	w = written{s: s, out: s.out, pub: s.pub}
	c = livestream.Checkpoint{
		LivestreamID: s.id, SessionID: s.rec.Session.ID, Epoch: s.rec.Session.Epoch,
		At: s.clock.now(), Ingest: s.ingest, Bytes: s.bytes,
		RunID: s.rec.Livestream.Run.ID, PartTarget: progress.PartTarget, LongestGOP: progress.LongestGOP,
		MSNMark:           progress.MSN + msnHeadroom,
		DiscontinuityMark: progress.Discontinuity + discontinuityHeadroom,
	}
	if s.pub == nil {
		c.Warnings = s.advice
		return c, w, true
	}
	r, intervals, given := s.news(s.pub)
	c.Epoch = s.pub.epoch
	c.Ingest += r.ingest
	c.Bytes += r.bytes
	c.LastMediaAt = s.labelOf(s.pub, r.last)
	c.Intervals, w.given = intervals, given
	s.stores(s.pub, progress.Trouble)
	w.told = s.describe(&c, s.pub)
	return c, w, true
}

// reserved takes note that a checkpoint for that media sequence number is
// written.
func (s *session) reserved(msn int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.msn = max(s.msn, msn)
}
