package sqlite

import (
	"context"
	"sync"

	"tally/internal/livestream"
)

const webhookColumns = `w.account_id, w.app_id, w.id, w.name, w.url, w.events, w.enabled, w.secret, w.public, w.ingest,
	w.created_at, w.updated_at`

const selectWebhook = `SELECT ` + webhookColumns + ` FROM webhooks w WHERE w.account_id = ? AND w.app_id = ? AND w.id = ?`

func scanWebhook(row scanner) (livestream.Webhook, error) {
	var w livestream.Webhook
	err := row.Scan(&w.AccountID, &w.AppID, &w.ID, &w.Name, &w.URL, list{&w.Events}, flag{&w.Enabled}, key{&w.Secret},
		&w.Public, &w.Ingest, moment{&w.CreatedAt}, moment{&w.UpdatedAt})
	return w, err
}

// CreateWebhook counts and adds in one transaction, so that of two at once none
// is one too many.
func (s *Store) CreateWebhook(ctx context.Context, w livestream.Webhook) error {
	return s.write(ctx, "create webhook", durable, func(t *tx) error {
		var n int
		if err := t.row(`SELECT COUNT(*) FROM webhooks WHERE account_id = ? AND app_id = ?`,
			func(row scanner) error { return row.Scan(&n) }, w.AccountID, w.AppID); err != nil {
			return err
		}
		if n >= livestream.MaxWebhooks {
			return livestream.ErrTooMany
		}
		if _, err := t.exec(`INSERT INTO webhooks (id, account_id, app_id, name, url, events, enabled, secret, public, ingest,
			created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			w.ID, w.AccountID, w.AppID, w.Name, w.URL, texts(w.Events), w.Enabled, w.Secret.Reveal(), w.Public, w.Ingest,
			ms(w.CreatedAt), ms(w.UpdatedAt)); err != nil {
			return err
		}
		return t.noteCreation(ctx, livestream.CreatesWebhook, w.ID)
	})
}

func (s *Store) Webhook(ctx context.Context, sc livestream.Scope, id string) (w livestream.Webhook, err error) {
	err = s.row(ctx, "read webhook", selectWebhook, func(row scanner) (err error) {
		w, err = scanWebhook(row)
		return err
	}, sc.AccountID, sc.AppID, id)
	return w, err
}

func (s *Store) Webhooks(ctx context.Context, sc livestream.Scope) ([]livestream.Webhook, error) {
	all, err := collect(ctx, s.reads, scanWebhook, `SELECT `+webhookColumns+` FROM webhooks w
		WHERE w.account_id = ? AND w.app_id = ? ORDER BY w.created_at DESC, w.id DESC`, sc.AccountID, sc.AppID)
	if err != nil {
		return nil, s.explain("list webhooks", err)
	}
	return all, nil
}

// ChangeWebhook reads, changes and writes in one transaction, so that two
// changes of different fields both last.
func (s *Store) ChangeWebhook(ctx context.Context, sc livestream.Scope, id string, change func(*livestream.Webhook) error) (w livestream.Webhook, err error) {
	err = s.w.do(ctx, durable, func(t *tx) error {
		if w, err = t.webhook(sc, id); err != nil {
			return err
		}
		if err := change(&w); err != nil {
			return refusal{err}
		}
		if _, err := t.exec(`UPDATE webhooks SET name = ?, url = ?, events = ?, enabled = ?, public = ?, ingest = ?, updated_at = ?
			WHERE id = ?`, w.Name, w.URL, texts(w.Events), w.Enabled, w.Public, w.Ingest, ms(w.UpdatedAt), id); err != nil {
			return err
		}
		t.after = append(t.after, func() { s.queued.add(id) }) // it may be enabled now, or elsewhere
		return nil
	})
	if refused, ok := err.(refusal); ok {
		return livestream.Webhook{}, refused.error
	}
	if err != nil {
		return livestream.Webhook{}, s.explain("change webhook", err)
	}
	return w, nil
}

func (t *tx) webhook(sc livestream.Scope, id string) (w livestream.Webhook, err error) {
	err = t.row(selectWebhook, func(row scanner) (err error) {
		w, err = scanWebhook(row)
		return err
	}, sc.AccountID, sc.AppID, id)
	return w, err
}

// DeleteWebhook disables the webhook first, so that nothing more is queued, and
// removes its deliveries in steps, so that no other write waits for a month of
// them. A crash meanwhile leaves a disabled webhook.
func (s *Store) DeleteWebhook(ctx context.Context, sc livestream.Scope, id string) (w livestream.Webhook, err error) {
	ctx = context.WithoutCancel(ctx)
	if err := s.write(ctx, "delete webhook", relaxed, func(t *tx) error {
		if w, err = t.webhook(sc, id); err != nil {
			return err
		}
		_, err := t.exec(`UPDATE webhooks SET enabled = FALSE WHERE id = ?`, id)
		return err
	}); err != nil {
		return livestream.Webhook{}, err
	}
	for dropped := int64(-1); dropped != 0; {
		if err := s.write(ctx, "delete webhook", relaxed, func(t *tx) (err error) {
			dropped, err = t.exec(`DELETE FROM webhook_deliveries WHERE (webhook_id, seq) IN
				(SELECT webhook_id, seq FROM webhook_deliveries WHERE webhook_id = ? ORDER BY seq LIMIT ?)`, id, dropAtMost)
			return err
		}); err != nil {
			return livestream.Webhook{}, err
		}
	}
	err = s.write(ctx, "delete webhook", durable, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM webhook_deliveries WHERE webhook_id = ?`, id); err != nil { // of a replay meanwhile
			return err
		}
		_, err := t.exec(`DELETE FROM webhooks WHERE id = ?`, id)
		return err
	})
	s.queued.add(id)
	return w, err
}

// A wakeList holds the ids of what somebody should look at: of webhooks, of
// playback. It has each at most once.
type wakeList struct {
	mu   sync.Mutex
	ids  map[string]bool
	some chan struct{} // holds one when ids is not empty
}

func newWakeList() *wakeList {
	return &wakeList{ids: map[string]bool{}, some: make(chan struct{}, 1)}
}

func (l *wakeList) add(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.ids[id] = true
	}
	if len(l.ids) > 0 {
		select {
		case l.some <- struct{}{}:
		default:
		}
	}
}

// AwaitDeliveries is woken by the writer right after a commit.
func (s *Store) AwaitDeliveries(ctx context.Context) ([]string, error) { return s.queued.take(ctx) }

// take waits until the list holds something and empties it.
func (l *wakeList) take(ctx context.Context) ([]string, error) {
	for {
		select {
		case <-l.some:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		l.mu.Lock()
		ids := make([]string, 0, len(l.ids))
		for id := range l.ids {
			ids = append(ids, id)
		}
		clear(l.ids)
		l.mu.Unlock()
		if len(ids) > 0 {
			return ids, nil
		}
	}
}

func (s *Store) PendingWebhooks(ctx context.Context) ([]string, error) {
	ids, err := collect(ctx, s.reads, scanText, selectPendingWebhooks)
	if err != nil {
		return nil, s.explain("find webhooks with deliveries", err)
	}
	return ids, nil
}

const selectPendingWebhooks = `SELECT w.id FROM webhooks w WHERE w.enabled AND EXISTS
	(SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'ready')`

func scanText(row scanner) (s string, err error) {
	err = row.Scan(&s)
	return s, err
}

// all runs a query of a transaction that yields many rows. One that writes, by
// RETURNING, must have written something when it yields a row.
func all[T any](t *tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	stmt, err := t.w.prepared(query)
	if err != nil {
		return nil, err
	}
	return collect(context.Background(), statement{stmt}, scan, "", args...)
}
