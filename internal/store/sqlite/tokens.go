package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"slices"
	"time"

	"tally/internal/livestream"
)

const tokenColumns = `id, hash, account_id, name, scopes, app_ids, created_at, expires_at, last_used_at, revoked_at`

func scanToken(row scanner) (livestream.Token, error) {
	var k livestream.Token
	err := row.Scan(&k.ID, digest{&k.Hash}, &k.AccountID, &k.Name, list{&k.Scopes}, list{&k.AppIDs},
		moment{&k.CreatedAt}, moment{&k.ExpiresAt}, moment{&k.LastUsedAt}, moment{&k.RevokedAt})
	return k, err
}

// CreateToken adds a token; livestream.ErrExists when its id or text is taken.
func (s *Store) CreateToken(ctx context.Context, k livestream.Token) error {
	return s.write(ctx, "create token", durable, func(t *tx) error {
		_, err := t.exec(`INSERT INTO tokens (`+tokenColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, hex.EncodeToString(k.Hash[:]), k.AccountID, k.Name, texts(k.Scopes), texts(k.AppIDs),
			ms(k.CreatedAt), ms(k.ExpiresAt), ms(k.LastUsedAt), ms(k.RevokedAt))
		return err
	})
}

// TokenByHash reads the database each time: package auth remembers.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (livestream.Token, error) {
	return s.token(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE hash = ?`, hex.EncodeToString(hash[:]))
}

// Token finds a token of the account, also one that is no longer in force.
func (s *Store) Token(ctx context.Context, accountID, id string) (livestream.Token, error) {
	return s.token(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE account_id = ? AND id = ?`, accountID, id)
}

func (s *Store) token(ctx context.Context, query string, args ...any) (k livestream.Token, err error) {
	err = s.row(ctx, "read token", query, func(row scanner) error {
		k, err = scanToken(row)
		return err
	}, args...)
	if err != nil {
		return livestream.Token{}, err
	}
	return k, nil
}

// Tokens reads the page and the count in one snapshot.
func (s *Store) Tokens(ctx context.Context, accountID string, p livestream.Page) (page []livestream.Token, count int, err error) {
	err = s.snapshot(ctx, "list tokens", func(db *sql.Tx) error {
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM tokens WHERE account_id = ?`, accountID).Scan(&count); err != nil {
			return err
		}
		size, skip := limits(p)
		page, err = collect(ctx, db, scanToken, selectTokens, accountID, size, skip)
		return err
	})
	return page, count, err
}

const selectTokens = `SELECT ` + tokenColumns + ` FROM tokens WHERE account_id = ? ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?`

// RevokeToken looks for another token that could administer the account in the
// same transaction, so that two that revoke each other cannot both succeed.
func (s *Store) RevokeToken(ctx context.Context, accountID, id, keep string, at time.Time) (livestream.Token, error) {
	at = wholeMillis(at)
	var k livestream.Token
	err := s.w.do(ctx, durable, func(t *tx) error {
		if err := t.row(`SELECT `+tokenColumns+` FROM tokens WHERE account_id = ? AND id = ?`, func(row scanner) (err error) {
			k, err = scanToken(row)
			return err
		}, accountID, id); err != nil {
			return err
		}
		if !k.RevokedAt.IsZero() && !at.Before(k.RevokedAt) {
			return nil
		}
		if len(k.AppIDs) == 0 && slices.Contains(k.Scopes, keep) && k.InForce(at) {
			var others int
			if err := t.row(`SELECT COUNT(*) FROM tokens WHERE account_id = ?1 AND id <> ?2 AND app_ids = '[]' AND scopes LIKE ?3
				AND (expires_at IS NULL OR expires_at > ?4) AND (revoked_at IS NULL OR revoked_at > ?4)`,
				func(row scanner) error { return row.Scan(&others) }, accountID, id, `%"`+keep+`"%`, ms(at)); err != nil {
				return err
			}
			if others == 0 {
				return refusal{livestream.ErrLastToken}
			}
		}
		k.RevokedAt = at
		_, err := t.exec(`UPDATE tokens SET revoked_at = ? WHERE id = ?`, ms(at), id)
		return err
	})
	if refused, ok := err.(refusal); ok {
		return livestream.Token{}, refused.error
	}
	if err != nil {
		return livestream.Token{}, s.explain("revoke token", err)
	}
	return k, nil
}

// TouchTokens survives the process's death when it returns.
func (s *Store) TouchTokens(ctx context.Context, used map[string]time.Time) error {
	return s.write(ctx, "note tokens' last use", relaxed, func(t *tx) error {
		for id, at := range used {
			if _, err := t.exec(`UPDATE tokens SET last_used_at = ?2 WHERE id = ?1 AND COALESCE(last_used_at, 0) < ?2`,
				id, ms(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) HasTokens(ctx context.Context) (has bool, err error) {
	var n int64
	err = s.row(ctx, "read tokens", `SELECT COUNT(*) FROM (SELECT 1 FROM tokens LIMIT 1)`,
		func(row scanner) error { return row.Scan(&n) })
	return n > 0, err
}
