package sqlite

import (
	"context"
	"database/sql"
	"time"

	"tally/internal/livestream"
)

const meetingColumns = `id, account_id, app_id, title, active, record_on_start, live_stream_on_start,
	persist_chat, summarize_on_end, transcribe_on_end, session_keep_alive_secs, recording_config, ai_config,
	created_at, updated_at`

func scanMeeting(row scanner) (livestream.Meeting, error) {
	var m livestream.Meeting
	title := optional{&m.Title, &m.HasTitle}
	err := row.Scan(&m.ID, &m.AccountID, &m.AppID, &title, &m.Active, &m.RecordOnStart, &m.LiveStreamOnStart,
		&m.PersistChat, &m.SummarizeOnEnd, &m.TranscribeOnEnd, &m.SessionKeepAliveSecs, object{&m.RecordingConfig},
		object{&m.AIConfig}, moment{&m.CreatedAt}, moment{&m.UpdatedAt})
	return m, err
}

// CreateMeeting adds a meeting; livestream.ErrExists when its id is taken, also
// in another app.
func (s *Store) CreateMeeting(ctx context.Context, m livestream.Meeting) error {
	return s.write(ctx, "create meeting", durable, func(t *tx) error {
		_, err := t.exec(`INSERT INTO meetings (`+meetingColumns+`, title_folded)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			m.ID, m.AccountID, m.AppID, orNull(m.Title, m.HasTitle), m.Active, m.RecordOnStart, m.LiveStreamOnStart,
			m.PersistChat, m.SummarizeOnEnd, m.TranscribeOnEnd, m.SessionKeepAliveSecs, blob(m.RecordingConfig),
			blob(m.AIConfig), ms(m.CreatedAt), ms(m.UpdatedAt), folded(m.Title))
		if err != nil {
			return err
		}
		return t.noteCreation(ctx, livestream.CreatesMeeting, m.ID)
	})
}

const selectMeeting = `SELECT ` + meetingColumns + ` FROM meetings WHERE account_id = ? AND app_id = ? AND id = ?`

func (s *Store) Meeting(ctx context.Context, sc livestream.Scope, id string) (m livestream.Meeting, err error) {
	err = s.row(ctx, "read meeting", selectMeeting, func(row scanner) error {
		m, err = scanMeeting(row)
		return err
	}, sc.AccountID, sc.AppID, id)
	if err != nil {
		return livestream.Meeting{}, err
	}
	return m, nil
}

// UpdateMeeting lets change see the row as no other writer can change it any
// more.
func (s *Store) UpdateMeeting(ctx context.Context, sc livestream.Scope, id string,
	change func(livestream.Meeting) (livestream.Meeting, error)) (m livestream.Meeting, err error) {
	err = s.w.do(ctx, durable, func(t *tx) error {
		var before livestream.Meeting
		if err := t.row(selectMeeting, func(row scanner) (err error) {
			before, err = scanMeeting(row)
			return err
		}, sc.AccountID, sc.AppID, id); err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return refusal{err}
		}
		after.Scope, after.ID, after.CreatedAt = before.Scope, before.ID, before.CreatedAt
		after.UpdatedAt = wholeMillis(after.UpdatedAt)
		if after.UpdatedAt.Before(before.UpdatedAt) {
			after.UpdatedAt = before.UpdatedAt
		}
		m = after
		return t.putMeeting(after)
	})
	if refused, ok := err.(refusal); ok {
		return livestream.Meeting{}, refused.error
	}
	if err != nil {
		return livestream.Meeting{}, s.explain("update meeting", err)
	}
	return m, nil
}

func (t *tx) putMeeting(m livestream.Meeting) error {
	_, err := t.exec(`UPDATE meetings SET title = ?, title_folded = ?, active = ?, record_on_start = ?, live_stream_on_start = ?,
		persist_chat = ?, summarize_on_end = ?, transcribe_on_end = ?, session_keep_alive_secs = ?, recording_config = ?,
		ai_config = ?, updated_at = ? WHERE id = ?`,
		orNull(m.Title, m.HasTitle), folded(m.Title), m.Active, m.RecordOnStart, m.LiveStreamOnStart, m.PersistChat,
		m.SummarizeOnEnd, m.TranscribeOnEnd, m.SessionKeepAliveSecs, blob(m.RecordingConfig), blob(m.AIConfig),
		ms(m.UpdatedAt), m.ID)
	return err
}

// Meetings reads the page and the count in one snapshot.
func (s *Store) Meetings(ctx context.Context, sc livestream.Scope, q livestream.MeetingQuery) (page []livestream.Meeting, count int, err error) {
	where, args := meetingConditions(sc, q)
	err = s.snapshot(ctx, "list meetings", func(db *sql.Tx) error {
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM meetings WHERE `+where, args...).Scan(&count); err != nil {
			return err
		}
		size, skip := limits(q.Page)
		page, err = collect(ctx, db, scanMeeting, `SELECT `+meetingColumns+` FROM meetings WHERE `+where+
			byAge(q.OldestFirst)+` LIMIT ? OFFSET ?`, append(args, size, skip)...)
		return err
	})
	return page, count, err
}

// meetingConditions is the WHERE of a list of meetings.
func meetingConditions(sc livestream.Scope, q livestream.MeetingQuery) (where string, args []any) {
	where, args = `account_id = ? AND app_id = ?`, []any{sc.AccountID, sc.AppID}
	if !q.From.IsZero() { // stored times are whole milliseconds: round up
		where += ` AND created_at >= ?`
		args = append(args, q.From.Add(time.Millisecond-1).UnixMilli())
	}
	if !q.To.IsZero() {
		where += ` AND created_at <= ?`
		args = append(args, q.To.UnixMilli())
	}
	if q.Active != nil {
		where += ` AND active = ?`
		args = append(args, *q.Active)
	}
	if q.Search != "" {
		where += ` AND (title_folded LIKE ? ESCAPE '\' OR id LIKE ? ESCAPE '\')`
		args = append(args, containing(q.Search), containing(q.Search))
	}
	return where, args
}
