package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

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
