package sqlite

import (
	"context"
	"database/sql"
	"slices"

	"tally/internal/livestream"
)

// addRows writes what an audit adds up: intervals and facts of the checkpoints,
// whatever the phase and epoch of their sessions, and viewings.
func (s *Store) addRows(t *tx, cs []livestream.Checkpoint, vs []livestream.Viewing) error {
	for i := range cs {
		for k := range cs[i].Intervals {
			if err := t.putInterval(&cs[i].Intervals[k]); err != nil {
				return err
			}
		}
		for k := range cs[i].Facts {
			if err := t.addFactOnce(&cs[i].Facts[k]); err != nil {
				return err
			}
		}
	}
	if s.keep.Viewings == 0 {
		return nil
	}
	for len(vs) > 0 {
		n, query := 1, putOneViewing
		if len(vs) >= chunk && distinctViewings(vs[:chunk]) {
			n, query = chunk, putViewingChunk
		}
		if err := t.putViewings(query, vs[:n]); err != nil {
			return err
		}
		vs = vs[n:]
	}
	return nil
}

// putInterval writes an interval of a session that exists. One that has ended
// stays so.
func (t *tx) putInterval(v *livestream.Interval) error {
	_, err := t.exec(`INSERT INTO ingest_intervals (session_id, epoch, number, from_at, to_at, length_ns)
		SELECT id, ?2, ?3, ?4, ?5, ?6 FROM sessions WHERE id = ?1
		ON CONFLICT (session_id, epoch, number) DO UPDATE SET from_at = excluded.from_at,
		to_at = COALESCE(excluded.to_at, ingest_intervals.to_at), length_ns = MAX(ingest_intervals.length_ns, excluded.length_ns)`,
		v.SessionID, v.Epoch, v.Number, ms(v.From), ms(v.To), int64(v.Length))
	return err
}

// addFactOnce adds a fact of a session that exists, unless it is there already.
func (t *tx) addFactOnce(f *livestream.Fact) error {
	_, err := t.exec(`INSERT INTO timeline (session_id, seq, at, kind, from_phase, to_phase, epoch, remote, encoder, detail,
		bytes, ingest_ms, media, keyframe_ns)
		SELECT s.id, (SELECT COALESCE(MAX(t.seq), 0) + 1 FROM timeline t WHERE t.session_id = s.id),
		?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 FROM sessions s WHERE s.id = ?1 AND NOT EXISTS
		(SELECT 1 FROM timeline t WHERE t.session_id = ?1 AND t.at = ?2 AND t.kind = ?3 AND t.detail = ?9)`,
		f.SessionID, ms(f.At), f.Kind, f.From, f.To, f.Epoch, f.Remote, f.Encoder, f.Detail,
		f.Bytes, f.Ingest.Milliseconds(), f.Media, int64(f.Keyframe))
	return err
}

// viewingArgs is how many arguments putViewing takes for each row.
const viewingArgs = 12

// putViewing writes n viewings of sessions that exist. No figure decreases, and
// when the viewer came stays as it was written first.
func putViewing(n int) string {
	return `WITH v (session_id, viewer, node, incarnation, first_at, last_at, beacon_us, media_us, playlist_us, bytes, renditions, gone) AS
		(VALUES ` + tuples(n, viewingArgs) + `)
		INSERT INTO viewings (session_id, viewer, node, incarnation, first_at, last_at, beacon_us, media_us, playlist_us, bytes, renditions, gone)
		SELECT v.* FROM v JOIN sessions s ON s.id = v.session_id WHERE TRUE
		ON CONFLICT (session_id, viewer, node, incarnation) DO UPDATE SET
		last_at = MAX(viewings.last_at, excluded.last_at),
		beacon_us = MAX(viewings.beacon_us, excluded.beacon_us), media_us = MAX(viewings.media_us, excluded.media_us),
		playlist_us = MAX(viewings.playlist_us, excluded.playlist_us), bytes = MAX(viewings.bytes, excluded.bytes),
		renditions = viewings.renditions | excluded.renditions,
		gone = excluded.gone OR (viewings.gone AND excluded.last_at <= viewings.last_at)` // later evidence: it came back
}

var putOneViewing, putViewingChunk = putViewing(1), putViewing(chunk)

func (t *tx) putViewings(query string, vs []livestream.Viewing) error {
	args := make([]any, 0, viewingArgs*chunk)
	for i := range vs {
		v := &vs[i]
		args = append(args, v.SessionID, v.Viewer, v.Node, v.Incarnation, v.First.UnixMilli(), v.Last.UnixMilli(),
			v.Beacon.Microseconds(), v.Media.Microseconds(), v.Playlist.Microseconds(), v.Bytes, int64(v.Renditions), v.Left)
	}
	_, err := t.exec(query, args...)
	return err
}

// distinctViewings reports whether no two are of one key: an engine may refuse
// to change a row twice in one statement.
func distinctViewings(vs []livestream.Viewing) bool {
	type key struct{ session, viewer, node, incarnation string }
	seen := make(map[key]bool, len(vs))
	for i := range vs {
		seen[key{vs[i].SessionID, vs[i].Viewer, vs[i].Node, vs[i].Incarnation}] = true
	}
	return len(seen) == len(vs)
}

const (
	selectIntervals = `SELECT session_id, epoch, number, from_at, to_at, length_ns
		FROM ingest_intervals WHERE session_id = ? ORDER BY epoch, number`
	selectSums = `SELECT node, incarnation, since, windows, beacon_us, media_us, playlist_us
		FROM usage_sums WHERE session_id = ? ORDER BY node, incarnation`
	viewingColumns = `session_id, viewer, node, incarnation, first_at, last_at, beacon_us, media_us, playlist_us, bytes, renditions, gone`
	selectViewings = `SELECT ` + viewingColumns + ` FROM viewings WHERE session_id = ? ORDER BY viewer, node, incarnation`
	selectPage     = `SELECT ` + viewingColumns + ` FROM viewings WHERE session_id = ?1 AND viewer IN
		(SELECT viewer FROM viewings WHERE session_id = ?1 GROUP BY viewer ORDER BY MIN(first_at), viewer LIMIT ?2 OFFSET ?3)
		ORDER BY viewer`
)

func scanInterval(row scanner) (v livestream.Interval, err error) {
	err = row.Scan(&v.SessionID, &v.Epoch, &v.Number, moment{&v.From}, moment{&v.To}, nanos{&v.Length})
	return v, err
}

func scanSum(row scanner) (w livestream.WindowSum, err error) {
	err = row.Scan(&w.Node, &w.Incarnation, moment{&w.Since}, &w.Windows, micros{&w.Beacon}, micros{&w.Media}, micros{&w.Playlist})
	return w, err
}

func scanViewing(row scanner) (v livestream.Viewing, err error) {
	var renditions int64
	err = row.Scan(&v.SessionID, &v.Viewer, &v.Node, &v.Incarnation, moment{&v.First}, moment{&v.Last},
		micros{&v.Beacon}, micros{&v.Media}, micros{&v.Playlist}, &v.Bytes, &renditions, flag{&v.Left})
	v.Renditions = uint64(renditions)
	return v, err
}

func (s *Store) Intervals(ctx context.Context, sessionID string) ([]livestream.Interval, error) {
	all, err := collect(ctx, s.reads, scanInterval, selectIntervals, sessionID)
	if err != nil {
		return nil, s.explain("list intervals", err)
	}
	return all, nil
}

// Viewings sorts all viewers of the session for each page: 0.1 s for 100,000.
func (s *Store) Viewings(ctx context.Context, sessionID string, p livestream.Page) (page []livestream.Viewing, count int, err error) {
	err = s.snapshot(ctx, "list viewers", func(db *sql.Tx) error {
		if err := db.QueryRowContext(ctx, `SELECT COUNT(DISTINCT viewer) FROM viewings WHERE session_id = ?`, sessionID).Scan(&count); err != nil {
			return err
		}
		size, skip := limits(p)
		rows, err := collect(ctx, db, scanViewing, selectPage, sessionID, size, skip)
		for _, v := range rows {
			if n := len(page); n > 0 && page[n-1].Viewer == v.Viewer {
				page[n-1] = page[n-1].And(v)
				continue
			}
			v.Node, v.Incarnation = "", ""
			page = append(page, v)
		}
		return err
	})
	slices.SortStableFunc(page, func(a, b livestream.Viewing) int { return a.First.Compare(b.First) })
	return page, count, err
}

func (s *Store) Audit(ctx context.Context, sc livestream.Scope, sessionID string, l livestream.Ledger) error {
	return s.snapshot(ctx, "audit session", func(db *sql.Tx) error {
		one, err := scanSession(db.QueryRowContext(ctx, selectSession, sc.AccountID, sc.AppID, sessionID))
		if err != nil {
			return err
		}
		var restarted bool
		if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM timeline WHERE session_id = ? AND kind = ?)`,
			sessionID, livestream.Boot.String()).Scan(&restarted); err != nil {
			return err
		}
		l.Begin(one, restarted, s.keep)
		if err := forEach(ctx, db, scanInterval, l.Interval, selectIntervals, sessionID); err != nil {
			return err
		}
		if err := forEach(ctx, db, scanSum, l.Windows, selectSums, sessionID); err != nil {
			return err
		}
		return forEach(ctx, db, scanViewing, l.Viewing, selectViewings, sessionID)
	})
}

// forEach is collect for rows that may be too many to hold at once.
func forEach[T any](ctx context.Context, q querier, scan func(scanner) (T, error), use func(T), query string, args ...any) error {
	_, err := collect(ctx, q, func(row scanner) (struct{}, error) {
		x, err := scan(row)
		if err == nil {
			use(x)
		}
		return struct{}{}, err
	}, query, args...)
	return err
}
