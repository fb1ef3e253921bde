package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// CreateLivestream adds a livestream that was never on air. livestream.ErrExists
// when its id, key or playback id is taken, or its meeting has one.
func (s *Store) CreateLivestream(ctx context.Context, l livestream.Livestream) error {
	return s.write(ctx, "create livestream", durable, func(t *tx) error {
		_, err := t.exec(`INSERT INTO livestreams (id, account_id, app_id, name, meeting_id, stream_key, stream_key_hash,
			playback_id, disabled, created_at, updated_at, reconnect_window_ms, damping_ms, await_encoder_ms,
			endlist_delay_ms, dvr_window_ms, keep, epoch, refuse_until, longest_gop_ns, run_id, run_target_secs, run_part_target_ns,
			run_msn_mark, run_discontinuity_mark, run_ends_at, publisher_policy, playback_policy, allowed_origins)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			l.ID, l.AccountID, l.AppID, orNull(l.Name, l.HasName), orNull(l.MeetingID, l.MeetingID != ""),
			l.StreamKey.Reveal(), keyHash(l.StreamKey), l.PlaybackID, l.Disabled, ms(l.CreatedAt), ms(l.UpdatedAt),
			l.Settings.ReconnectWindow.Milliseconds(), l.Settings.Damping.Milliseconds(),
			l.Settings.AwaitEncoder.Milliseconds(), l.Settings.EndlistDelay.Milliseconds(),
			l.Settings.DVRWindow.Milliseconds(), l.Settings.Keep, l.Epoch,
			ms(l.RefuseUntil), int64(l.LongestGOP), l.Run.ID, l.Run.TargetDuration, int64(l.Run.PartTarget),
			l.Run.MSNMark, l.Run.DiscontinuityMark, ms(l.Run.EndsAt), string(l.Settings.Publisher),
			string(l.Settings.Playback), l.Settings.AllowedOrigins)
		if err != nil {
			return err
		}
		return t.noteCreation(ctx, livestream.CreatesLivestream, l.ID)
	})
}

// existing ends every WHERE that must not find deleted livestreams.
const existing = ` AND l.deleted_at IS NULL`

// RecordByID answers from memory when nothing was written since the last read.
func (s *Store) RecordByID(ctx context.Context, sc livestream.Scope, id string) (livestream.Record, error) {
	known, generation := s.records.get(id)
	if known != nil {
		if known.Livestream.Scope != sc {
			return livestream.Record{}, livestream.ErrNotFound
		}
		return *known, nil
	}
	r, err := s.record(ctx, `WHERE l.account_id = ? AND l.app_id = ? AND l.id = ?`+existing, sc.AccountID, sc.AppID, id)
	if err == nil {
		s.records.put(id, r, generation)
	}
	return r, err
}

func (s *Store) RecordByKey(ctx context.Context, key secret.String) (livestream.Record, error) {
	return s.record(ctx, `WHERE l.stream_key_hash = ?`+existing, keyHash(key))
}

// RecordByPlaybackID answers from memory like RecordByID.
func (s *Store) RecordByPlaybackID(ctx context.Context, playbackID string) (livestream.Record, error) {
	id, idGeneration := s.playbacks.get(playbackID)
	if id == nil {
		r, err := s.record(ctx, `WHERE l.playback_id = ?`+existing, playbackID)
		if err == nil {
			s.playbacks.put(playbackID, r.Livestream.ID, idGeneration)
		}
		return r, err
	}
	known, generation := s.records.get(*id)
	if known != nil {
		return *known, nil
	}
	r, err := s.record(ctx, `WHERE l.id = ?`+existing, *id)
	if err == nil {
		s.records.put(*id, r, generation)
	}
	return r, err
}

func (s *Store) RecordByMeeting(ctx context.Context, sc livestream.Scope, meetingID string) (livestream.Record, error) {
	return s.record(ctx, `WHERE l.account_id = ? AND l.app_id = ? AND l.meeting_id = ?`+existing, sc.AccountID, sc.AppID, meetingID)
}

// record reads one record. where must be a constant: the statement is kept.
func (s *Store) record(ctx context.Context, where string, args ...any) (r livestream.Record, err error) {
	err = s.row(ctx, "read livestream", selectRecord+where, func(row scanner) (err error) {
		r, err = scanRecord(row)
		return err
	}, args...)
	return r, err
}

// Records reads the page and the count in one snapshot. The page costs what it
// holds; the count costs a walk over an index, 0.1 ms per thousand that match.
func (s *Store) Records(ctx context.Context, sc livestream.Scope, q livestream.Query) (page []livestream.Record, count int, err error) {
	where, args := conditions(sc, q)
	order := ` ORDER BY l.created_at DESC, l.id DESC`
	if q.OldestFirst {
		order = ` ORDER BY l.created_at, l.id`
	}
	err = s.snapshot(ctx, "list livestreams", func(db *sql.Tx) error {
		if count, err = countRecords(ctx, db, sc, q); err != nil {
			return err
		}
		size, skip := limits(q.Page)
		args = append(args, size, skip)
		page, err = collect(ctx, db, scanRecord, selectRecord+`WHERE l.id IN
			(SELECT l.id FROM livestreams l WHERE `+where+order+` LIMIT ? OFFSET ?)`+order, args...)
		return err
	})
	return page, count, err
}

// countRecords counts what is idle as what is not on air or failed: of those
// there are few, and indexes find them.
func countRecords(ctx context.Context, db *sql.Tx, sc livestream.Scope, q livestream.Query) (int, error) {
	count := func(statuses ...livestream.Status) (n int, err error) {
		of := q
		of.Statuses = statuses
		where, args := conditions(sc, of)
		err = db.QueryRowContext(ctx, `SELECT COUNT(*) FROM livestreams l WHERE `+where, args...).Scan(&n)
		return n, err
	}
	if !slices.Contains(q.Statuses, livestream.StatusIdle) {
		return count(q.Statuses...)
	}
	n, err := count()
	if others := notIdleBut(q.Statuses); err == nil && len(others) > 0 {
		var other int
		other, err = count(others...)
		n -= other
	}
	return n, err
}

// notIdle are all statuses but StatusIdle.
var notIdle = []livestream.Status{livestream.StatusInvoked, livestream.StatusLive, livestream.StatusErrored}

// notIdleBut are all statuses but StatusIdle and these.
func notIdleBut(these []livestream.Status) []livestream.Status {
	return slices.DeleteFunc(slices.Clone(notIdle), func(s livestream.Status) bool { return slices.Contains(these, s) })
}

// conditions is the WHERE of a list, over the livestream l.
func conditions(sc livestream.Scope, q livestream.Query) (where string, args []any) {
	all := []string{`l.account_id = ? AND l.app_id = ?` + existing}
	args = []any{sc.AccountID, sc.AppID}
	if q.ExcludeMeetings {
		all = append(all, `l.meeting_id IS NULL`)
	}
	if !q.From.IsZero() { // stored times are whole milliseconds: round up
		all = append(all, `l.created_at >= ?`)
		args = append(args, q.From.Add(time.Millisecond-1).UnixMilli())
	}
	if !q.To.IsZero() {
		all = append(all, `l.created_at <= ?`)
		args = append(args, q.To.UnixMilli())
	}
	switch {
	case len(q.Statuses) == 0:
	case slices.Contains(q.Statuses, livestream.StatusIdle): // the answer also of what was never on air
		all = append(all, `(l.newest_session_id IS NULL OR l.newest_session_id NOT IN (`+
			sessionsOf(notIdleBut(q.Statuses)...)+`))`)
	default: // found from the sessions; the plus signs keep SQLite from walking all livestreams of the app
		all[0] = `+l.account_id = ? AND +l.app_id = ? AND +l.deleted_at IS NULL`
		all = append(all, `l.newest_session_id IN (`+sessionsOf(q.Statuses...)+`)`)
	}
	return strings.Join(all, " AND "), args
}

// sessionsOf selects the ids of all sessions that Session.Status gives one of
// these statuses. It asks Status itself about every phase, so that a filter and
// an answer cannot disagree, and words its parts such that the partial indexes
// of open and of failed sessions serve them. An unknown status selects nothing.
func sessionsOf(statuses ...livestream.Status) string {
	parts := []string{`SELECT id FROM sessions WHERE FALSE`}
	for i, text := range phaseTexts[1:] {
		p := livestream.Phase(i + 1)
		for _, acknowledged := range []bool{false, true} {
			if !slices.Contains(statuses, livestream.Session{Phase: p, Acknowledged: acknowledged}.Status()) {
				continue
			}
			part := fmt.Sprintf(`SELECT id FROM sessions WHERE phase = '%s' AND acknowledged`, text)
			if !acknowledged {
				part = fmt.Sprintf(`SELECT id FROM sessions WHERE phase = '%s' AND NOT acknowledged`, text)
			}
			if p.Open() {
				part += ` AND ` + openPhases
			}
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " UNION ALL ")
}

// limits is the LIMIT and OFFSET of a page.
func limits(p livestream.Page) (size, skip int) {
	size = min(max(p.Size, 1), 100)
	return size, (max(p.Number, 1) - 1) * size
}

// snapshot runs read, whose queries all see the same moment.
func (s *Store) snapshot(ctx context.Context, op string, read func(*sql.Tx) error) error {
	db, err := s.reads.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return s.explain(op, err)
	}
	defer func() { _ = db.Rollback() }() // nothing to undo
	if err := read(db); err != nil {
		return s.explain(op, err)
	}
	return nil
}

const selectOpen = `SELECT ` + recordColumns + `
	FROM sessions s JOIN livestreams l ON l.id = s.livestream_id WHERE s.` + openPhases + ` ORDER BY s.created_at, s.id`

func (s *Store) OpenRecords(ctx context.Context) ([]livestream.Record, error) {
	all, err := collect(ctx, s.reads, scanRecord, selectOpen)
	if err != nil {
		return nil, s.explain("list open sessions", err)
	}
	return all, nil
}

// selectSession also finds a session whose livestream is deleted.
const selectSession = `SELECT ` + sessionColumns + `
	FROM sessions s JOIN livestreams l ON l.id = s.livestream_id
	WHERE l.account_id = ? AND l.app_id = ? AND s.id = ?`

func (s *Store) Session(ctx context.Context, sc livestream.Scope, sessionID string) (x livestream.Session, err error) {
	err = s.row(ctx, "read session", selectSession,
		func(row scanner) (err error) {
			x, err = scanSession(row)
			return err
		}, sc.AccountID, sc.AppID, sessionID)
	return x, err
}

func (s *Store) Sessions(ctx context.Context, sc livestream.Scope, livestreamID string, p livestream.Page) (page []livestream.Session, count int, err error) {
	err = s.snapshot(ctx, "list sessions", func(db *sql.Tx) error {
		// No row when the livestream is not in this scope: sql.ErrNoRows, which is ErrNotFound.
		if err := db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM sessions s WHERE s.livestream_id = l.id)
			FROM livestreams l WHERE l.account_id = ? AND l.app_id = ? AND l.id = ?`+existing,
			sc.AccountID, sc.AppID, livestreamID).Scan(&count); err != nil {
			return err
		}
		size, skip := limits(p)
		page, err = collect(ctx, db, scanSession, `SELECT `+sessionColumns+` FROM sessions s
			WHERE s.livestream_id = ? ORDER BY s.created_at DESC, s.id DESC LIMIT ? OFFSET ?`, livestreamID, size, skip)
		return err
	})
	return page, count, err
}

func (s *Store) Timeline(ctx context.Context, sessionID string, p livestream.Page) (page []livestream.Fact, count int, err error) {
	err = s.snapshot(ctx, "read timeline", func(db *sql.Tx) error {
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM timeline WHERE session_id = ?`, sessionID).Scan(&count); err != nil {
			return err
		}
		size, skip := limits(p)
		page, err = collect(ctx, db, scanFact, `SELECT session_id, at, kind, from_phase, to_phase, epoch, remote, encoder, detail,
			bytes, ingest_ms, media, keyframe_ns
			FROM timeline WHERE session_id = ? ORDER BY seq LIMIT ? OFFSET ?`, sessionID, size, skip)
		return err
	})
	return page, count, err
}

func scanFact(row scanner) (livestream.Fact, error) {
	var f livestream.Fact
	err := row.Scan(&f.SessionID, moment{&f.At}, &f.Kind, &f.From, &f.To, &f.Epoch, &f.Remote, &f.Encoder, &f.Detail,
		&f.Bytes, millis{&f.Ingest}, &f.Media, &f.Keyframe)
	return f, err
}
