package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"tally/internal/livestream"
)

// CreateApp adds an app; livestream.ErrExists when the account has its id.
func (s *Store) CreateApp(ctx context.Context, a livestream.App) error {
	return s.write(ctx, "create app", durable, func(t *tx) error {
		_, err := t.exec(`INSERT INTO apps (account_id, id, name, created_at) VALUES (?, ?, ?, ?)`,
			a.AccountID, a.ID, a.Name, ms(a.CreatedAt))
		if err != nil {
			return err
		}
		return t.noteCreation(ctx, livestream.CreatesApp, a.ID)
	})
}

// App answers from memory once it has found the app.
func (s *Store) App(ctx context.Context, sc livestream.Scope) (livestream.App, error) {
	known, generation := s.apps.get(sc)
	if known != nil {
		return *known, nil
	}
	var a livestream.App
	err := s.row(ctx, "read app", `SELECT account_id, id, name, created_at FROM apps WHERE account_id = ? AND id = ?`,
		func(row scanner) error { return row.Scan(&a.AccountID, &a.ID, &a.Name, moment{&a.CreatedAt}) },
		sc.AccountID, sc.AppID)
	if err != nil {
		return livestream.App{}, err
	}
	s.apps.put(sc, a, generation)
	return a, nil
}

// CreateMeeting adds a meeting; livestream.ErrExists when its id is taken.
func (s *Store) CreateMeeting(ctx context.Context, m livestream.Meeting) error {
	return s.write(ctx, "create meeting", durable, func(t *tx) error {
		_, err := t.exec(`INSERT INTO meetings (id, account_id, app_id, title, active, record_on_start, live_stream_on_start,
			persist_chat, summarize_on_end, transcribe_on_end, session_keep_alive_secs, recording_config, ai_config,
			created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			m.ID, m.AccountID, m.AppID, orNull(m.Title, m.HasTitle), m.Active, m.RecordOnStart, m.LiveStreamOnStart,
			m.PersistChat, m.SummarizeOnEnd, m.TranscribeOnEnd, m.SessionKeepAliveSecs, blob(m.RecordingConfig),
			blob(m.AIConfig), ms(m.CreatedAt), ms(m.UpdatedAt))
		if err != nil {
			return err
		}
		return t.noteCreation(ctx, livestream.CreatesMeeting, m.ID)
	})
}

func (s *Store) Meeting(ctx context.Context, sc livestream.Scope, id string) (livestream.Meeting, error) {
	var m livestream.Meeting
	title := optional{&m.Title, &m.HasTitle}
	err := s.row(ctx, "read meeting", `SELECT id, account_id, app_id, title, active, record_on_start, live_stream_on_start,
		persist_chat, summarize_on_end, transcribe_on_end, session_keep_alive_secs, recording_config, ai_config,
		created_at, updated_at FROM meetings WHERE account_id = ? AND app_id = ? AND id = ?`,
		func(row scanner) error {
			return row.Scan(&m.ID, &m.AccountID, &m.AppID, &title, &m.Active, &m.RecordOnStart, &m.LiveStreamOnStart,
				&m.PersistChat, &m.SummarizeOnEnd, &m.TranscribeOnEnd, &m.SessionKeepAliveSecs, object{&m.RecordingConfig},
				object{&m.AIConfig}, moment{&m.CreatedAt}, moment{&m.UpdatedAt})
		}, sc.AccountID, sc.AppID, id)
	if err != nil {
		return livestream.Meeting{}, err
	}
	return m, nil
}

// Secret makes the secret on first use; of two that do so at once, both get the
// same.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	var value string
	fresh := make([]byte, 32)
	rand.Read(fresh)
	err := s.write(ctx, "make secret", durable, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`,
			name, hex.EncodeToString(fresh)); err != nil {
			return err
		}
		return t.row(`SELECT value FROM secrets WHERE name = ?`, func(row scanner) error { return row.Scan(&value) }, name)
	})
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != len(fresh) {
		return nil, fmt.Errorf("secret %s in %s is damaged: restore a backup", name, s.path)
	}
	return b, nil
}
