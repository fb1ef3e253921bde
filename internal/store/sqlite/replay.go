package sqlite

import (
	"context"
	"database/sql"
	"time"

	"tally/internal/livestream"
)

// replayStep is how many events one transaction of a replay looks at: some
// milliseconds, for which other writes wait.
const replayStep = 250

// A place is an event's place among those of its app.
type place struct {
	seq          int64
	event        string
	livestreamID string
}

// Replay reads the events in steps, outside of the writer, and queues each step
// in a transaction of its own. It goes no further than the newest event of when
// it began, so it ends.
func (s *Store) Replay(ctx context.Context, sc livestream.Scope, webhookID string, after int64, limit int) (r livestream.Replay, err error) {
	r.UpTo = after
	w, err := s.Webhook(ctx, sc, webhookID)
	if err != nil {
		return r, err
	}
	var newest int64
	if err := s.row(ctx, "read cursor", `SELECT COALESCE(MAX(seq), 0) FROM events WHERE account_id = ? AND app_id = ?`,
		func(row scanner) error { return row.Scan(&newest) }, sc.AccountID, sc.AppID); err != nil {
		return r, err
	}
	for looked := 0; looked < limit; looked += replayStep {
		step, err := s.replayStep(ctx, sc, r.UpTo, newest, min(replayStep, limit-looked))
		if err != nil {
			return r, err
		}
		if len(step) == 0 {
			return r, nil
		}
		n, err := s.requeue(ctx, w, step)
		if err != nil {
			return r, err
		}
		r.Queued += n
		r.UpTo = step[len(step)-1].seq
	}
	r.More = r.UpTo < newest
	return r, nil
}

func (s *Store) replayStep(ctx context.Context, sc livestream.Scope, after, newest int64, limit int) (step []place, err error) {
	err = s.snapshot(ctx, "read events to replay", func(db *sql.Tx) error {
		step, err = collect(ctx, db, func(row scanner) (p place, err error) {
			err = row.Scan(&p.seq, &p.event, &p.livestreamID)
			return p, err
		}, `SELECT seq, event, livestream_id FROM events WHERE account_id = ? AND app_id = ? AND seq > ? AND seq <= ?
			ORDER BY seq LIMIT ?`, sc.AccountID, sc.AppID, after, newest, limit)
		return err
	})
	return step, err
}

// requeue queues what w wants of a step, and returns how much that is. What is
// open already begins a new round, so that a try under way does not end it: it
// comes again after what now stands before it.
func (s *Store) requeue(ctx context.Context, w livestream.Webhook, step []place) (n int, err error) {
	now := s.now()
	err = s.write(ctx, "replay events", durable, func(t *tx) error {
		n = 0
		if _, err := t.webhook(w.Scope, w.ID); err != nil {
			return err // deleted meanwhile
		}
		livestreams := map[string]bool{}
		for _, p := range step {
			if !w.Wants(p.event) {
				continue
			}
			added, err := t.exec(`INSERT INTO webhook_deliveries (webhook_id, seq, id, livestream_id, state, round, queued_at,
				next_at, attempts, last_took_ms, last_status, last_error, last_answer)
				SELECT ?1, e.seq, ?2, e.livestream_id, 'waiting', 1, ?3, ?3, 0, 0, 0, '', '' FROM events e
				WHERE e.account_id = ?4 AND e.app_id = ?5 AND e.seq = ?6
				ON CONFLICT (webhook_id, seq) DO UPDATE SET state = 'waiting', round = webhook_deliveries.round + 1,
				queued_at = excluded.queued_at, next_at = excluded.next_at, attempts = 0`,
				w.ID, livestream.NewUUID(), ms(now), w.AccountID, w.AppID, p.seq)
			if err != nil {
				return err
			}
			if added > 0 {
				n++
				livestreams[p.livestreamID] = true
			}
		}
		for id := range livestreams {
			if _, err := t.exec(`UPDATE webhook_deliveries SET state = 'waiting'
				WHERE webhook_id = ? AND livestream_id = ? AND state = 'ready'`, w.ID, id); err != nil {
				return err
			}
			if err := t.promote(w.ID, id); err != nil {
				return err
			}
		}
		t.after = append(t.after, func() { s.queued.add(w.ID) })
		return nil
	})
	return n, err
}

// dropStep is how many events one transaction drops.
const dropStep = 200

const selectOldEvents = `SELECT account_id, app_id, seq FROM events WHERE kept_from < ? ORDER BY kept_from LIMIT ?`

func (s *Store) DropEvents(ctx context.Context, before time.Time) (n int, err error) {
	err = s.write(ctx, "drop old events", relaxed, func(t *tx) error {
		old, err := all(t, func(row scanner) (e livestream.Notice, err error) {
			err = row.Scan(&e.AccountID, &e.AppID, &e.Seq)
			return e, err
		}, selectOldEvents, ms(before), dropStep)
		if err != nil {
			return err
		}
		n = len(old)
		for _, e := range old {
			if err := s.dropEvent(t, e); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

const dropDeliveries = `DELETE FROM webhook_deliveries WHERE seq = ? AND webhook_id IN
	(SELECT id FROM webhooks WHERE account_id = ? AND app_id = ?) RETURNING webhook_id, livestream_id, state`

// dropEvent drops an event and its deliveries. One that was still open, because
// its webhook is disabled, makes room for the next.
func (s *Store) dropEvent(t *tx, e livestream.Notice) error {
	dropped, err := all(t, func(row scanner) (d livestream.Delivery, err error) {
		err = row.Scan(&d.WebhookID, &d.Notice.LivestreamID, &d.State)
		return d, err
	}, dropDeliveries, e.Seq, e.AccountID, e.AppID)
	t.wrote = t.wrote || err != nil || len(dropped) > 0
	if err != nil {
		return err
	}
	for _, d := range dropped {
		if d.State != livestream.DeliveryReady {
			continue
		}
		if err := t.promote(d.WebhookID, d.Notice.LivestreamID); err != nil {
			return err
		}
		t.after = append(t.after, func() { s.queued.add(d.WebhookID) })
	}
	_, err = t.exec(`DELETE FROM events WHERE account_id = ? AND app_id = ? AND seq = ?`, e.AccountID, e.AppID, e.Seq)
	return err
}
