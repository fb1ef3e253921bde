package sqlite

import (
	"tally/internal/livestream"
)

// addRows writes what an audit adds up: intervals and facts of the checkpoints,
// whatever the phase and epoch of their sessions, and viewings.
func (t *tx) addRows(cs []livestream.Checkpoint, vs []livestream.Viewing) error {
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

// putViewing writes n viewings of sessions that exist. No figure decreases.
func putViewing(n int) string {
	return `WITH v (session_id, viewer, node, incarnation, first_at, last_at, beacon_us, media_us, playlist_us, bytes, renditions, gone) AS
		(VALUES ` + tuples(n, viewingArgs) + `)
		INSERT INTO viewings (session_id, viewer, node, incarnation, first_at, last_at, beacon_us, media_us, playlist_us, bytes, renditions, gone)
		SELECT v.* FROM v JOIN sessions s ON s.id = v.session_id WHERE TRUE
		ON CONFLICT (session_id, viewer, node, incarnation) DO UPDATE SET
		first_at = MIN(viewings.first_at, excluded.first_at), last_at = MAX(viewings.last_at, excluded.last_at),
		beacon_us = MAX(viewings.beacon_us, excluded.beacon_us), media_us = MAX(viewings.media_us, excluded.media_us),
		playlist_us = MAX(viewings.playlist_us, excluded.playlist_us), bytes = MAX(viewings.bytes, excluded.bytes),
		renditions = viewings.renditions | excluded.renditions, gone = viewings.gone OR excluded.gone`
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
