package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"tally/internal/livestream"
)

const secretSize = 32 // bytes

// Secret is Keep of so many random bytes.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	b, err := s.Keep(ctx, name, func() ([]byte, error) {
		fresh := make([]byte, secretSize)
		rand.Read(fresh)
		return fresh, nil
	})
	if err == nil && len(b) != secretSize {
		return nil, s.damaged(name)
	}
	return b, err
}

// Keep makes a value outside of the transaction, since a key may take long.
func (s *Store) Keep(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	var value string
	read := func(row scanner) error { return row.Scan(&value) }
	const query = `SELECT value FROM secrets WHERE name = ?`
	err := s.row(ctx, "read "+name, query, read, name)
	if errors.Is(err, livestream.ErrNotFound) {
		var b []byte
		if b, err = fresh(); err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
		err = s.write(ctx, "keep "+name, durable, func(t *tx) error {
			if _, err := t.exec(`INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`,
				name, hex.EncodeToString(b)); err != nil {
				return err
			}
			return t.row(query, read, name)
		})
	}
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(value)
	if err != nil {
		return nil, s.damaged(name)
	}
	return b, nil
}

func (s *Store) damaged(name string) error {
	return fmt.Errorf("%s in %s is damaged: restore a backup", name, s.path)
}
