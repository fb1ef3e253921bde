package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"tally/internal/livestream"
)

const (
	// keepWindows and keepTimeline: design section 3, Kept.
	keepWindows  = 7 * 24 * time.Hour
	keepTimeline = 90 * 24 * time.Hour
	// Every sweepEvery, at most dropAtMost rows of each kind that were kept long
	// enough are dropped: as many as a thousand sessions with viewers add between
	// two sweeps, and few enough not to hold up other writes.
	sweepEvery = time.Second
	dropAtMost = 2000
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
		if err := t.addRows(cs, vs); err != nil {
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
			v.all, v.beacon, v.playlist, v.viewers, v.peak)
	}
	ids, err := t.rows(query, args...)
	if err != nil {
		return err
	}
	for i := range cs {
		c := &cs[i]
		if !ids[c.SessionID] {
			continue
		}
		delete(viewed, c.SessionID)
		t.touch(c.LivestreamID)
		if err := s.raiseRun(t, c); err != nil {
			return err
		}
		if err := s.tellWords(t, c); err != nil {
			return err
		}
	}
	return nil
}

// raiseRun raises the figures of the run that the session is in.
func (s *Store) raiseRun(t *tx, c *livestream.Checkpoint) error {
	figures := runFigures{c.Epoch, c.RunID, c.PartTarget, c.MSNMark, c.DiscontinuityMark, c.LongestGOP}
	id := c.SessionID
	if s.written[id] == figures {
		return nil
	}
	if _, err := t.exec(`UPDATE livestreams SET run_part_target_ns = MAX(run_part_target_ns, ?3),
		run_msn_mark = MAX(run_msn_mark, ?4), run_discontinuity_mark = MAX(run_discontinuity_mark, ?5),
		longest_gop_ns = CASE WHEN ?6 > 0 THEN (SELECT longest_gop_ns FROM sessions WHERE id = ?7) ELSE longest_gop_ns END
		WHERE id = ?1 AND run_id = ?2 AND newest_session_id = ?7`,
		c.LivestreamID, c.RunID, int64(c.PartTarget), c.MSNMark, c.DiscontinuityMark, int64(c.LongestGOP), id); err != nil {
		return err
	}
	t.after = append(t.after, func() { s.written[id] = figures })
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
	id, told := c.SessionID, s.told[c.SessionID]
	now := words{c.Epoch, c.Media, c.Warnings}
	if now.media == "" && now.epoch == told.epoch {
		now.media = told.media
	}
	if now == told {
		return nil
	}
	if _, err := t.exec(`UPDATE sessions SET media = CASE WHEN ?2 <> '' THEN ?2 ELSE media END, warnings = ?3 WHERE id = ?1`,
		id, c.Media, c.Warnings); err != nil {
		return err
	}
	t.after = append(t.after, func() { s.told[id] = now })
	return nil
}

// watched is what windows tell of one session.
type watched struct {
	all, beacon, playlist int64 // µs that are new; of all, what rests on beacons and on playlists
	viewers               any   // NULL: no news
	peak                  int
}

// addWindows inserts what is not there yet and returns what that is per
// session. The caller adds it to the sessions in the same transaction, so that
// a window counts once however often it is written.
func (t *tx) addWindows(ws []livestream.UsageWindow, now time.Time) (viewed map[string]watched, err error) {
	viewed = make(map[string]watched, len(ws))
	for i := range ws {
		w := &ws[i]
		v := viewed[w.SessionID]
		v.viewers, v.peak = w.Viewers, max(v.peak, w.PeakViewers)
		n, err := t.exec(`INSERT INTO usage_windows (node, incarnation, "window", session_id, kind, amount_us, folded_at)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			w.Node, w.Incarnation, w.Window, w.SessionID, string(w.Kind), w.Amount.Microseconds(), ms(now))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			if err := v.add(w); err != nil {
				return nil, err
			}
			if _, err := t.exec(`INSERT INTO usage_sums (session_id, kind, node, incarnation, windows, amount_us)
				SELECT ?1, ?2, ?3, ?4, 1, ?5 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?1)
				ON CONFLICT (session_id, kind, node, incarnation) DO UPDATE SET
				windows = usage_sums.windows + 1, amount_us = usage_sums.amount_us + excluded.amount_us`,
				w.SessionID, string(w.Kind), w.Node, w.Incarnation, w.Amount.Microseconds()); err != nil {
				return nil, err
			}
		}
		viewed[w.SessionID] = v
	}
	return viewed, nil
}

// add adds a window to what is new.
func (v *watched) add(w *livestream.UsageWindow) error {
	us := w.Amount.Microseconds()
	switch w.Kind {
	case livestream.ByBeacon:
		v.beacon += us
	case livestream.ByPlaylist:
		v.playlist += us
	case livestream.ByMedia:
	default:
		return fmt.Errorf("usage window of the unknown kind %q", w.Kind)
	}
	v.all += us
	return nil
}

// addViewed adds viewer time to a session, whatever its phase; nobody watches
// a closed one. A session that does not exist is ignored.
func (t *tx) addViewed(sessionID string, v watched) error {
	var livestreamID string
	err := t.row(`UPDATE sessions SET viewed_us = viewed_us + ?, viewed_beacon_us = viewed_beacon_us + ?,
		viewed_playlist_us = viewed_playlist_us + ?, peak_viewers = MAX(peak_viewers, ?),
		viewers = CASE WHEN `+openPhases+` THEN COALESCE(?, viewers) ELSE 0 END WHERE id = ? RETURNING livestream_id`,
		func(row scanner) error { return row.Scan(&livestreamID) }, v.all, v.beacon, v.playlist, v.peak, v.viewers, sessionID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	t.wrote = true
	t.touch(livestreamID)
	return err
}

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
	if _, err := t.exec(dropWindows, ms(now.Add(-keepWindows)), dropAtMost); err != nil {
		return err
	}
	_, err := t.exec(dropTimeline, ms(now.Add(-keepTimeline)), dropAtMost)
	return err
}

const (
	dropWindows = `DELETE FROM usage_windows WHERE (node, incarnation, "window", session_id, kind) IN
		(SELECT node, incarnation, "window", session_id, kind FROM usage_windows WHERE folded_at < ? ORDER BY folded_at LIMIT ?)`
	dropTimeline = `DELETE FROM timeline WHERE (session_id, seq) IN
		(SELECT session_id, seq FROM timeline WHERE at < ? ORDER BY at LIMIT ?)`
)
