package sqlite

import (
	"context"
	"time"

	"tally/internal/livestream"
)

const playbackKeyColumns = `id, account_id, app_id, kid, name, algorithm, secret, public, url, managed, created_at`

func scanPlaybackKey(row scanner) (livestream.PlaybackKey, error) {
	var k livestream.PlaybackKey
	err := row.Scan(&k.ID, &k.AccountID, &k.AppID, text{&k.KID}, &k.Name, &k.Algorithm, key{&k.Secret}, &k.Public, &k.URL,
		flag{&k.Managed}, moment{&k.CreatedAt})
	return k, err
}

// CreatePlaybackKey counts and adds in one transaction, so that of two at once
// none is one too many.
func (s *Store) CreatePlaybackKey(ctx context.Context, k livestream.PlaybackKey) error {
	err := s.w.do(ctx, durable, func(t *tx) error {
		var n int
		if err := t.row(`SELECT COUNT(*) FROM playback_keys WHERE account_id = ? AND app_id = ?`,
			func(row scanner) error { return row.Scan(&n) }, k.AccountID, k.AppID); err != nil {
			return err
		}
		if n >= livestream.MaxPlaybackKeys {
			return refusal{livestream.ErrManyPlaybackKeys}
		}
		_, err := t.exec(`INSERT INTO playback_keys (`+playbackKeyColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, k.AccountID, k.AppID, orNull(k.KID, k.KID != ""), k.Name, k.Algorithm, k.Secret.Reveal(), k.Public, k.URL,
			k.Managed, ms(k.CreatedAt))
		if err != nil {
			return err
		}
		return t.noteCreation(ctx, livestream.CreatesPlaybackKey, k.ID)
	})
	return s.refusedOr("create playback key", err)
}

// refusedOr explains err, but for a refusal, which it takes out of its wrapping.
func (s *Store) refusedOr(op string, err error) error {
	if refused, ok := err.(refusal); ok {
		return refused.error
	}
	if err != nil {
		return s.explain(op, err)
	}
	return nil
}

const selectPlaybackKeys = `SELECT ` + playbackKeyColumns + ` FROM playback_keys
	WHERE account_id = ? AND app_id = ? ORDER BY created_at DESC, id DESC`

func (s *Store) PlaybackKeys(ctx context.Context, sc livestream.Scope) ([]livestream.PlaybackKey, error) {
	all, err := collect(ctx, s.reads, scanPlaybackKey, selectPlaybackKeys, sc.AccountID, sc.AppID)
	if err != nil {
		return nil, s.explain("list playback keys", err)
	}
	return all, nil
}

func (s *Store) DeletePlaybackKey(ctx context.Context, sc livestream.Scope, id string) (k livestream.PlaybackKey, err error) {
	err = s.write(ctx, "delete playback key", durable, func(t *tx) error {
		if err := t.row(`SELECT `+playbackKeyColumns+` FROM playback_keys WHERE account_id = ? AND app_id = ? AND id = ?`,
			func(row scanner) (err error) {
				k, err = scanPlaybackKey(row)
				return err
			}, sc.AccountID, sc.AppID, id); err != nil {
			return err
		}
		_, err := t.exec(`DELETE FROM playback_keys WHERE id = ?`, id)
		return err
	})
	if err != nil {
		return livestream.PlaybackKey{}, err
	}
	return k, nil
}

// Revoke counts and writes in one transaction, and wakes AwaitAccess after it.
func (s *Store) Revoke(ctx context.Context, r livestream.Revocation) error {
	r.At = wholeMillis(r.At)
	err := s.w.do(ctx, durable, func(t *tx) error {
		var playbackID string
		if err := t.row(`SELECT l.playback_id FROM livestreams l WHERE l.id = ?`+existing,
			func(row scanner) error { return row.Scan(&playbackID) }, r.LivestreamID); err != nil {
			return err
		}
		var others int
		if err := t.row(`SELECT COUNT(*) FROM playback_revocations
			WHERE livestream_id = ?1 AND expires_at >= ?2 AND NOT (kind = ?3 AND subject = ?4)`,
			func(row scanner) error { return row.Scan(&others) }, r.LivestreamID, ms(r.At), string(r.Kind), r.Subject); err != nil {
			return err
		}
		if others >= livestream.MaxRevocations && r.Kind != livestream.RevokeAll {
			return refusal{livestream.ErrManyRevocations}
		}
		if _, err := t.exec(`INSERT INTO playback_revocations (livestream_id, kind, subject, at, expires_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (livestream_id, kind, subject) DO UPDATE SET at = excluded.at, expires_at = excluded.expires_at
			WHERE excluded.at > at`, r.LivestreamID, string(r.Kind), r.Subject, ms(r.At), ms(r.ExpiresAt)); err != nil {
			return err
		}
		if r.Kind == livestream.RevokeAll { // it stands for all of before
			if _, err := t.exec(`DELETE FROM playback_revocations WHERE livestream_id = ? AND kind <> 'all' AND at <= ?`,
				r.LivestreamID, ms(r.At)); err != nil {
				return err
			}
		}
		t.after = append(t.after, func() { s.access.add(playbackID) })
		return nil
	})
	return s.refusedOr("revoke playback", err)
}

const selectRevocations = `SELECT livestream_id, kind, subject, at, expires_at FROM playback_revocations
	WHERE livestream_id = ? AND expires_at >= ? ORDER BY at DESC, kind, subject`

func scanRevocation(row scanner) (livestream.Revocation, error) {
	var r livestream.Revocation
	err := row.Scan(&r.LivestreamID, (*string)(&r.Kind), &r.Subject, moment{&r.At}, moment{&r.ExpiresAt})
	return r, err
}

func (s *Store) Revocations(ctx context.Context, livestreamID string, now time.Time) ([]livestream.Revocation, error) {
	all, err := collect(ctx, s.reads, scanRevocation, selectRevocations, livestreamID, ms(now))
	if err != nil {
		return nil, s.explain("list revocations", err)
	}
	return all, nil
}

// tellAccess wakes AwaitAccess after the commit if the livestream's change is
// about who may watch.
func (s *Store) tellAccess(t *tx, before, after livestream.Livestream) {
	if before.Settings.Playback != after.Settings.Playback || before.Settings.AllowedOrigins != after.Settings.AllowedOrigins ||
		before.DeletedAt != after.DeletedAt {
		t.after = append(t.after, func() { s.access.add(after.PlaybackID) })
	}
}

// AwaitAccess is woken by the writer right after a commit.
func (s *Store) AwaitAccess(ctx context.Context) ([]string, error) { return s.access.take(ctx) }
