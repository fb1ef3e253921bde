package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"tally/internal/livestream"
)

// runFigures are what a checkpoint says of the run and the livestream. They
// change with a segment or less often; the last that were committed are
// remembered, so that most checkpoints leave the row of the livestream alone.
type runFigures struct {
	epoch             int64
	runID             string
	partTarget        time.Duration
	msnMark           int64
	discontinuityMark int64
	longestGOP        time.Duration
}

// Checkpoint survives the process's death when it returns; the machine's, as
// soon as any later Advance or creation returned.
func (s *Store) Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow, vs []livestream.Viewing) error {
	if len(cs) == 0 && len(ws) == 0 && len(vs) == 0 {
		return nil
	}
	now := s.now()
	return s.write(ctx, "checkpoint", relaxed, func(t *tx) error {
		viewed, err := t.addWindows(ws, now)
		if err != nil {
			return err
		}
		if err := s.checkpointAll(t, cs, viewed); err != nil {
			return err
		}
		for id, v := range viewed { // of sessions without a publisher, or with a newer one
			if err := t.addViewed(id, v); err != nil {
				return err
			}
		}
		if err := s.addRows(t, cs, vs); err != nil {
			return err
		}
		if now.Sub(s.sweptAt) < sweepEvery {
			return nil
		}
		s.sweptAt = now
		return s.sweep(t, cs, now)
	})
}

// chunk is how many sessions one statement raises. Fifty at once cost half the
// CPU of fifty statements; more gained nothing (BenchmarkCheckpoint).
const chunk = 50

// sessionArgs is how many arguments raiseSessions takes for each session.
const sessionArgs = 13

// raiseSessions raises the figures of n sessions and adds to them what was
// watched, and returns the ids of those it applied to. Of an older epoch or a
// closed session it changes nothing. NULL viewers are no news.
func raiseSessions(n int) string {
	return `WITH c (id, epoch, at, last_media_at, ingest_ms, longest_gop_ns, bytes, keyframe_ns,
		viewed_us, viewed_beacon_us, viewed_playlist_us, viewers, peak_viewers) AS (VALUES ` + tuples(n, sessionArgs) + `)
		UPDATE sessions SET updated_at = MAX(updated_at, c.at),
		last_media_at = MAX(COALESCE(sessions.last_media_at, c.last_media_at), COALESCE(c.last_media_at, sessions.last_media_at)),
		ingest_ms = MAX(sessions.ingest_ms, c.ingest_ms), longest_gop_ns = MAX(sessions.longest_gop_ns, c.longest_gop_ns),
		bytes = MAX(sessions.bytes, c.bytes), keyframe_ns = CASE WHEN c.keyframe_ns > 0 THEN c.keyframe_ns ELSE sessions.keyframe_ns END,
		viewed_us = sessions.viewed_us + c.viewed_us, viewed_beacon_us = sessions.viewed_beacon_us + c.viewed_beacon_us,
		viewed_playlist_us = sessions.viewed_playlist_us + c.viewed_playlist_us,
		viewers = COALESCE(c.viewers, sessions.viewers), peak_viewers = MAX(sessions.peak_viewers, c.peak_viewers)
		FROM c WHERE sessions.id = c.id AND sessions.epoch = c.epoch AND ` + openPhases + ` RETURNING id`
}

// tuples are n rows of VALUES with so many arguments each.
func tuples(n, args int) string {
	one := `(?` + strings.Repeat(`, ?`, args-1) + `)`
	return one + strings.Repeat(`, `+one, n-1)
}

var raiseOne, raiseChunk = raiseSessions(1), raiseSessions(chunk)

// checkpointAll applies the checkpoints, in chunks and then one by one. What it
// adds to a session it takes out of viewed.
func (s *Store) checkpointAll(t *tx, cs []livestream.Checkpoint, viewed map[string]watched) error {
	for len(cs) > 0 {
		n, query := 1, raiseOne
		if len(cs) >= chunk && distinct(cs[:chunk]) {
			n, query = chunk, raiseChunk
		}
		if err := s.checkpoint(t, query, cs[:n], viewed); err != nil {
			return err
		}
		cs = cs[n:]
	}
	return nil
}

// distinct reports whether no two checkpoints are of one session: of two, one
// statement would apply an arbitrary one.
func distinct(cs []livestream.Checkpoint) bool {
	seen := make(map[string]bool, len(cs))
	for i := range cs {
		seen[cs[i].SessionID] = true
	}
	return len(seen) == len(cs)
}

func (s *Store) checkpoint(t *tx, query string, cs []livestream.Checkpoint, viewed map[string]watched) error {
	args := make([]any, 0, sessionArgs*chunk)
	for i := range cs {
		c := &cs[i]
		v := viewed[c.SessionID]
		args = append(args, c.SessionID, c.Epoch, ms(c.At), ms(c.LastMediaAt), c.Ingest.Milliseconds(),
			int64(c.LongestGOP), c.Bytes, int64(c.Keyframe),
			v.sum(), v.beacon, v.playlist, v.viewers, v.peak)
	}
	ids, err := t.rows(query, args...)
	if err != nil {
		return err
	}
	var moved []*livestream.Checkpoint
	for i := range cs {
		c := &cs[i]
		if !ids[c.SessionID] {
			continue
		}
		delete(viewed, c.SessionID)
		t.touch(c.LivestreamID)
		if s.written[c.SessionID] != figuresOf(c) {
			moved = append(moved, c)
		}
		if err := s.tellWords(t, c); err != nil {
			return err
		}
	}
	return s.raiseRuns(t, moved)
}

func figuresOf(c *livestream.Checkpoint) runFigures {
	return runFigures{c.Epoch, c.RunID, c.PartTarget, c.MSNMark, c.DiscontinuityMark, c.LongestGOP}
}

const (
	runArgs    = 7
	runsAtOnce = 10 // as in chunk, but fewer of them move between two checkpoints
)

// raiseRuns raises the figures of the runs that n sessions are in.
func raiseRuns(n int) string {
	return `WITH c (id, run_id, session_id, part_target_ns, msn_mark, discontinuity_mark, longest_gop_ns) AS (VALUES ` + tuples(n, runArgs) + `)
		UPDATE livestreams SET run_part_target_ns = MAX(run_part_target_ns, c.part_target_ns),
		run_msn_mark = MAX(run_msn_mark, c.msn_mark), run_discontinuity_mark = MAX(run_discontinuity_mark, c.discontinuity_mark),
		longest_gop_ns = CASE WHEN c.longest_gop_ns > 0
			THEN (SELECT s.longest_gop_ns FROM sessions s WHERE s.id = c.session_id) ELSE livestreams.longest_gop_ns END
		FROM c WHERE livestreams.id = c.id AND livestreams.run_id = c.run_id AND livestreams.newest_session_id = c.session_id`
}

var raiseOneRun, raiseRunChunk = raiseRuns(1), raiseRuns(runsAtOnce)

// raiseRuns raises the runs of checkpoints whose sessions are all different.
func (s *Store) raiseRuns(t *tx, cs []*livestream.Checkpoint) error {
	for len(cs) > 0 {
		n, query := 1, raiseOneRun
		if len(cs) >= runsAtOnce {
			n, query = runsAtOnce, raiseRunChunk
		}
		args := make([]any, 0, runArgs*runsAtOnce)
		for _, c := range cs[:n] {
			args = append(args, c.LivestreamID, c.RunID, c.SessionID, int64(c.PartTarget), c.MSNMark, c.DiscontinuityMark, int64(c.LongestGOP))
		}
		if _, err := t.exec(query, args...); err != nil {
			return err
		}
		for _, c := range cs[:n] {
			id, figures := c.SessionID, figuresOf(c)
			t.after = append(t.after, func() { s.written[id] = figures })
		}
		cs = cs[n:]
	}
	return nil
}

// words are what a checkpoint says in text. They change a few times in a
// session, so the last that were committed are remembered and not written again.
type words struct {
	epoch           int64
	media, warnings string
}

// tellWords writes the session's words.
func (s *Store) tellWords(t *tx, c *livestream.Checkpoint) error {
	id := c.SessionID
	told, known := s.told[id]
	now := words{c.Epoch, c.Media, c.Warnings}
	if now.media == "" && now.epoch == told.epoch {
		now.media = told.media
	}
	if known && now == told {
		return nil
	}
	if _, err := t.exec(`UPDATE sessions SET media = CASE WHEN ?2 <> '' THEN ?2 ELSE media END, warnings = ?3 WHERE id = ?1`,
		id, c.Media, c.Warnings); err != nil {
		return err
	}
	t.after = append(t.after, func() { s.told[id] = now })
	return nil
}

// addViewed adds viewer time to a session, whatever its phase; nobody watches
// a closed one. A session that does not exist is ignored.
func (t *tx) addViewed(sessionID string, v watched) error {
	var livestreamID string
	err := t.row(`UPDATE sessions SET viewed_us = viewed_us + ?, viewed_beacon_us = viewed_beacon_us + ?,
		viewed_playlist_us = viewed_playlist_us + ?, peak_viewers = MAX(peak_viewers, ?),
		viewers = CASE WHEN `+openPhases+` THEN COALESCE(?, viewers) ELSE 0 END WHERE id = ? RETURNING livestream_id`,
		func(row scanner) error { return row.Scan(&livestreamID) }, v.sum(), v.beacon, v.playlist, v.peak, v.viewers, sessionID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	t.wrote = true
	t.touch(livestreamID)
	return err
}
