package sqlite

import (
	"database/sql"
	"errors"
	"time"

	"tally/internal/livestream"
)

const (
	// Every sweepEvery, at most dropAtMost rows of each kind that were kept long
	// enough are dropped: as many as a thousand sessions with viewers add between
	// two sweeps, and few enough not to hold up other writes.
	sweepEvery = time.Second
	dropAtMost = 2000
	// A sweep looks at the windows of so many starts of nodes, in turn.
	startsAtOnce = 8
)

// sweep forgets sessions without a checkpoint and drops what was kept long
// enough.
func (s *Store) sweep(t *tx, cs []livestream.Checkpoint, now time.Time) error {
	going := make(map[string]bool, len(cs))
	for i := range cs {
		going[cs[i].SessionID] = true
	}
	for id := range s.written {
		if !going[id] {
			delete(s.written, id)
		}
	}
	for id := range s.told {
		if !going[id] {
			delete(s.told, id)
		}
	}
	if err := s.sweepWindows(t, now.Add(-s.keep.Windows)); err != nil {
		return err
	}
	for _, old := range []struct {
		drop string
		keep time.Duration
	}{{dropTimeline, s.keep.Timeline}, {dropIntervals, s.keep.Timeline}, {dropViewings, s.keep.Viewings}} {
		if _, err := t.exec(old.drop, ms(now.Add(-old.keep)), dropAtMost); err != nil {
			return err
		}
	}
	_, err := t.exec(dropRevocations, ms(now), dropAtMost)
	return err
}

const (
	dropTimeline = `DELETE FROM timeline WHERE (session_id, seq) IN
		(SELECT session_id, seq FROM timeline WHERE at < ? ORDER BY at LIMIT ?)`
	dropIntervals = `DELETE FROM ingest_intervals WHERE (session_id, epoch, number) IN
		(SELECT session_id, epoch, number FROM ingest_intervals WHERE from_at < ? ORDER BY from_at LIMIT ?)`
	dropRevocations = `DELETE FROM playback_revocations WHERE (livestream_id, kind, subject) IN
		(SELECT livestream_id, kind, subject FROM playback_revocations WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`
	dropViewings = `DELETE FROM viewings WHERE (session_id, viewer, node, incarnation) IN
		(SELECT session_id, viewer, node, incarnation FROM viewings
		WHERE first_at < ?1 AND last_at < ?1 ORDER BY first_at LIMIT ?2)`

	selectNextStart = `SELECT node, incarnation FROM usage_windows WHERE node = ? AND incarnation > ?
		ORDER BY incarnation LIMIT 1`
	selectNextNode     = `SELECT node, incarnation FROM usage_windows WHERE node > ? ORDER BY node, incarnation LIMIT 1`
	selectOldestWindow = `SELECT folded_at FROM usage_windows WHERE node = ? AND incarnation = ?
		ORDER BY "window", session_id LIMIT 1`
	dropWindows = `DELETE FROM usage_windows WHERE (node, incarnation, "window", session_id) IN
		(SELECT node, incarnation, "window", session_id FROM usage_windows
		WHERE node = ? AND incarnation = ? ORDER BY "window", session_id LIMIT ?) AND folded_at < ?`
)

// sweepWindows drops windows that were folded before then. No index knows their
// age: within one start of a node the oldest come first, and starts are looked
// at in turn.
func (s *Store) sweepWindows(t *tx, then time.Time) error {
	left := int64(dropAtMost)
	for range startsAtOnce {
		at := s.sweptTo
		scan := func(row scanner) error { return row.Scan(&at.node, &at.id) }
		err := t.row(selectNextStart, scan, at.node, at.id)
		if errors.Is(err, sql.ErrNoRows) {
			err = t.row(selectNextNode, scan, at.node)
		}
		if errors.Is(err, sql.ErrNoRows) {
			s.sweptTo = incarnation{} // all were looked at
			return nil
		}
		if err != nil {
			return err
		}
		var oldest time.Time
		if err := t.row(selectOldestWindow, func(row scanner) error { return row.Scan(moment{&oldest}) }, at.node, at.id); err != nil {
			return err
		}
		if oldest.Before(then) {
			n, err := t.exec(dropWindows, at.node, at.id, left, then.UnixMilli())
			if err != nil {
				return err
			}
			if left -= n; left <= 0 {
				return nil // and goes on here
			}
		}
		s.sweptTo = at
	}
	return nil
}
