package ingest

import (
	"context"
	"fmt"

	"tally/internal/livestream"
	"tally/internal/media"
)

// Cue puts a cue beside the newest media of the session that is on air, also
// while its encoder is away, and tells where it is. It is a line of the session's
// timeline. livestream.ErrNotActive: nothing is on air, or nothing playable yet.
func (m *Manager) Cue(ctx context.Context, livestreamID string, c media.Cue) (media.Mark, error) {
	type result struct {
		mark media.Mark
		err  error
	}
	reply := make(chan result, 1)
	c.Now = true
	err := m.do(ctx, livestreamID, func(s *session) {
		mark, err := s.cue(c)
		reply <- result{mark, err}
	})
	if err != nil {
		return media.Mark{}, err
	}
	select {
	case r := <-reply:
		return r.mark, r.err
	case <-ctx.Done():
		return media.Mark{}, ctx.Err()
	case <-m.ctx.Done():
		return media.Mark{}, livestream.ErrStopping
	}
}

// cue is Cue in the actor.
func (s *session) cue(c media.Cue) (media.Mark, error) {
	switch {
	case s.stopping:
		return media.Mark{}, livestream.ErrStopping
	case s.out == nil || !s.rec.Session.Phase.Open():
		return media.Mark{}, livestream.ErrNotActive
	}
	one := &s.rec.Session
	mark, err := s.out.WriteCue(one.Epoch, c)
	if err != nil {
		return mark, err
	}
	phase := one.Phase.String()
	detail := fmt.Sprintf("%s at %s, %s", c.Class, mark.Date.UTC().Format("15:04:05.000"), mark.ID)
	if c.Duration > 0 {
		detail += fmt.Sprintf(", for %v", c.Duration)
	}
	s.m.keep(livestream.Checkpoint{
		LivestreamID: s.id, SessionID: one.ID, At: s.clock.now(),
		Facts: []livestream.Fact{{
			SessionID: one.ID, At: s.clock.now(), Kind: livestream.FactCue, From: phase, To: phase, Epoch: one.Epoch,
			Remote: one.Remote, Encoder: one.Encoder, Detail: detail,
		}},
	})
	return mark, nil
}
