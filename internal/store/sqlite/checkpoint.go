package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"tally/internal/livestream"
)

const (
	// foldAt is how many windows of one session may be unfolded: what a read of
	// it adds up. At two windows a second they are folded once a minute.
	foldAt = 120
	// sweepEvery is how often windows of sessions without a checkpoint are
	// folded, and what has been kept long enough is dropped.
	sweepEvery = time.Second
	// keepWindows and keepTimeline: design section 3, Kept.
	keepWindows  = 7 * 24 * time.Hour
	keepTimeline = 90 * 24 * time.Hour
	// dropAtMost bounds how long one sweep holds the writer. It is as many as a
	// thousand sessions with viewers add between two sweeps.
	dropAtMost = 2000
)

// usage is what the writer's goroutine knows between transactions.
type usage struct {
	unfolded map[string]*tally     // by session id
	written  map[string]runFigures // by session id: the last that were committed
	sweptAt  time.Time
}

// runFigures are what a checkpoint says of the run and the livestream. They
// change with a segment or less often, so most checkpoints leave the row of the
// livestream alone.
type runFigures struct {
	epoch             int64
	runID             string
	partTarget        time.Duration
	msnMark           int64
	discontinuityMark int64
	longestGOP        time.Duration
}

// A tally counts a session's unfolded windows. It may be too high after a
// transaction that failed, which folds early, and never too low.
type tally struct {
	livestreamID string
	windows      int
}

// loadUsage counts what an earlier process left unfolded.
func (s *Store) loadUsage(ctx context.Context) error {
	s.usage.unfolded, s.usage.written = map[string]*tally{}, map[string]runFigures{}
	type left struct {
		sessionID string
		tally     tally
	}
	all, err := collect(ctx, s.reads, func(row scanner) (x left, err error) {
		err = row.Scan(&x.sessionID, &x.tally.windows, &x.tally.livestreamID)
		return x, err
	}, `SELECT u.session_id, u.n, s.livestream_id FROM
		(SELECT session_id, COUNT(*) AS n FROM usage_windows WHERE folded_at IS NULL GROUP BY session_id) u
		JOIN sessions s ON s.id = u.session_id`)
	for _, x := range all {
		s.usage.unfolded[x.sessionID] = &x.tally
	}
	return err
}

// Checkpoint survives the process's death when it returns; the machine's, as
// soon as any later Advance or creation returned.
func (s *Store) Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow) error {
	now := s.now()
	if len(cs) == 0 && len(ws) == 0 {
		return nil
	}
	return s.write(ctx, "checkpoint", relaxed, func(t *tx) error {
		for i := range cs {
			if err := s.checkpoint(t, &cs[i]); err != nil {
				return err
			}
		}
		for i := range ws {
			if err := s.addWindow(t, &ws[i], now); err != nil {
				return err
			}
		}
		if now.Sub(s.usage.sweptAt) < sweepEvery {
			return nil
		}
		s.usage.sweptAt = now
		return s.sweep(t, cs, now)
	})
}

// checkpoint raises one session's figures, and those of the run and livestream
// it belongs to. Of an older epoch or a closed session it changes nothing.
func (s *Store) checkpoint(t *tx, c *livestream.Checkpoint) error {
	n, err := t.exec(`UPDATE sessions SET
		updated_at = MAX(updated_at, ?3), last_media_at = MAX(COALESCE(last_media_at, ?4), COALESCE(?4, last_media_at)),
		ingest_ms = MAX(ingest_ms, ?5), longest_gop_ns = MAX(longest_gop_ns, ?6)
		WHERE id = ?1 AND epoch = ?2 AND `+openPhases,
		c.SessionID, c.Epoch, ms(c.At), ms(c.LastMediaAt), c.Ingest.Milliseconds(), int64(c.LongestGOP))
	if err != nil || n == 0 {
		return err
	}
	t.touch(c.LivestreamID)
	figures := runFigures{c.Epoch, c.RunID, c.PartTarget, c.MSNMark, c.DiscontinuityMark, c.LongestGOP}
	if s.usage.written[c.SessionID] == figures {
		return nil
	}
	if _, err = t.exec(`UPDATE livestreams SET run_part_target_ns = MAX(run_part_target_ns, ?3),
		run_msn_mark = MAX(run_msn_mark, ?4), run_discontinuity_mark = MAX(run_discontinuity_mark, ?5),
		longest_gop_ns = CASE WHEN ?6 > 0 THEN (SELECT longest_gop_ns FROM sessions WHERE id = ?7) ELSE longest_gop_ns END
		WHERE id = ?1 AND run_id = ?2 AND newest_session_id = ?7`,
		c.LivestreamID, c.RunID, int64(c.PartTarget), c.MSNMark, c.DiscontinuityMark, int64(c.LongestGOP), c.SessionID); err != nil {
		return err
	}
	t.after = append(t.after, func() { s.usage.written[c.SessionID] = figures })
	return nil
}

// addWindow inserts a window unless it is there, and folds its session's when
// there are many. A window of a session that does not exist is ignored.
func (s *Store) addWindow(t *tx, w *livestream.UsageWindow, now time.Time) error {
	known := s.usage.unfolded[w.SessionID]
	if known == nil {
		known = &tally{}
		err := t.row(`SELECT livestream_id FROM sessions WHERE id = ?`, func(row scanner) error {
			return row.Scan(&known.livestreamID)
		}, w.SessionID)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		s.usage.unfolded[w.SessionID] = known
	}
	n, err := t.exec(`INSERT INTO usage_windows (session_id, kind, node, incarnation, "window", amount_us)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		w.SessionID, string(w.Kind), w.Node, w.Incarnation, w.Window, w.Amount.Microseconds())
	if err != nil || n == 0 {
		return err
	}
	t.touch(known.livestreamID)
	if known.windows++; known.windows < foldAt {
		return nil
	}
	known.windows = 0
	return t.fold(w.SessionID, now)
}

// fold adds a session's unfolded windows to its total. A read before and after
// sees the same sum.
func (t *tx) fold(sessionID string, now time.Time) error {
	if _, err := t.exec(`UPDATE sessions SET viewed_us = viewed_us + COALESCE((SELECT SUM(amount_us) FROM usage_windows
		WHERE session_id = ?1 AND folded_at IS NULL AND kind = 'viewer'), 0) WHERE id = ?1`, sessionID); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE usage_windows SET folded_at = ?2
		WHERE session_id = ?1 AND folded_at IS NULL AND kind = 'viewer'`, sessionID, ms(now))
	return err
}

// sweep folds what will not be folded by number, since its session has no
// checkpoint any more, and drops what was kept long enough.
func (s *Store) sweep(t *tx, cs []livestream.Checkpoint, now time.Time) error {
	going := make(map[string]bool, len(cs))
	for i := range cs {
		going[cs[i].SessionID] = true
	}
	for id := range s.usage.unfolded {
		if going[id] {
			continue
		}
		if err := t.fold(id, now); err != nil {
			return err
		}
		delete(s.usage.unfolded, id)
	}
	for id := range s.usage.written {
		if !going[id] {
			delete(s.usage.written, id)
		}
	}
	if _, err := t.exec(`DELETE FROM usage_windows WHERE (session_id, kind, node, incarnation, "window") IN
		(SELECT session_id, kind, node, incarnation, "window" FROM usage_windows
		WHERE folded_at IS NOT NULL AND folded_at < ? ORDER BY folded_at LIMIT ?)`,
		ms(now.Add(-keepWindows)), dropAtMost); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM timeline WHERE (session_id, seq) IN
		(SELECT session_id, seq FROM timeline WHERE at < ? ORDER BY at LIMIT ?)`, ms(now.Add(-keepTimeline)), dropAtMost)
	return err
}
