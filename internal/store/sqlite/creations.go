package sqlite

import (
	"context"
	"encoding/hex"
	"time"

	"tally/internal/livestream"
)

// noteCreation notes that the request in ctx, if there is one and it is about
// objects of this kind, created the object id. What is too old goes: it is the
// creations that make rows, so nothing grows while there are none.
func (t *tx) noteCreation(ctx context.Context, what livestream.Creates, id string) error {
	c, ok := livestream.CreationOf(ctx)
	if !ok || c.What != what {
		return nil
	}
	if _, err := t.exec(`INSERT INTO creations (request, object_id, created_at, retry) VALUES (?, ?, ?, ?)
		ON CONFLICT (request, object_id) DO UPDATE SET created_at = excluded.created_at, retry = excluded.retry`,
		hex.EncodeToString(c.Request[:]), id, ms(c.At), c.Retry); err != nil {
		return err
	}
	if c.Made != nil {
		t.after = append(t.after, func() { c.Made.Store(true) })
	}
	_, err := t.exec(`DELETE FROM creations WHERE (request, object_id) IN
		(SELECT request, object_id FROM creations WHERE created_at < ? ORDER BY created_at LIMIT 100)`, ms(c.At.Add(-livestream.RetryWindow)))
	return err
}

// Created prefers what was given to no retry of this count or a higher one, so
// that clients which lost the answers to equal requests get an object each.
func (s *Store) Created(ctx context.Context, request [32]byte, retry int, since time.Time) (id string, err error) {
	key := hex.EncodeToString(request[:])
	err = s.write(ctx, "find what was created", relaxed, func(t *tx) error {
		if err := t.row(`SELECT object_id FROM creations WHERE request = ? AND created_at >= ?
			ORDER BY retry >= ?, created_at DESC, object_id LIMIT 1`,
			func(row scanner) error { return row.Scan(&id) }, key, ms(since), retry); err != nil {
			return err
		}
		_, err := t.exec(`UPDATE creations SET retry = ?3 WHERE request = ?1 AND object_id = ?2 AND retry < ?3`, key, id, retry)
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}
