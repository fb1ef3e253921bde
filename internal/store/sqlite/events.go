package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"tally/internal/livestream"
)

const noticeColumns = `e.account_id, e.app_id, e.seq, e.stream_seq, e.event, e.at, e.livestream_id, e.session_id, e.status,
	e.health, e.err_message, e.manual_ingest, e.playback_id, e.stream_key, e.meeting`

func noticeFields(n *livestream.Notice) []any {
	return []any{
		&n.AccountID, &n.AppID, &n.Seq, &n.StreamSeq, &n.Event, moment{&n.At}, &n.LivestreamID, &n.SessionID, &n.Status,
		&n.Health, &n.ErrMessage, flag{&n.ManualIngest}, &n.PlaybackID, key{&n.StreamKey}, ofMeeting{&n.Meeting},
	}
}

// ofMeeting is a JSON object, or NULL for nil.
type ofMeeting struct{ to **livestream.NoticeMeeting }

func (m ofMeeting) Scan(v any) error {
	*m.to = nil
	s, err := characters(v)
	if v == nil || err != nil {
		return err
	}
	return json.Unmarshal([]byte(s), m.to)
}

func scanNotice(row scanner) (livestream.Notice, error) {
	var n livestream.Notice
	err := row.Scan(noticeFields(&n)...)
	return n, err
}

const deliveryColumns = `d.webhook_id, d.id, d.state, d.round, d.queued_at, d.next_at, d.attempts, d.last_at, d.last_took_ms,
	d.last_status, d.last_error, d.last_answer, ` + noticeColumns

func deliveryFields(d *livestream.Delivery) []any {
	a := &d.Last
	return append([]any{
		&d.WebhookID, &d.ID, &d.State, &d.Round, moment{&d.QueuedAt}, moment{&d.NextAt}, &d.Attempts, moment{&a.At},
		millis{&a.Took}, &a.Status, &a.Error, &a.Answer,
	}, noticeFields(&d.Notice)...)
}

func scanDelivery(row scanner) (livestream.Delivery, error) {
	var d livestream.Delivery
	err := row.Scan(deliveryFields(&d)...)
	return d, err
}

func scanDeliveryWithBody(row scanner) (livestream.Delivery, error) {
	var d livestream.Delivery
	err := row.Scan(append([]any{object{&d.Body}}, deliveryFields(&d)...)...)
	return d, err
}

// notify writes the events that follow from a transition, and queues each for
// the webhooks that want it. It runs in the transaction of the transition: what
// happened and that it is to be told are durable together.
func (s *Store) notify(t *tx, before, after livestream.Record) error {
	var ids []string
	for _, n := range livestream.Notices(before, after) {
		if err := t.fill(&n, after.Livestream.MeetingID); err != nil {
			return err
		}
		if err := t.addNotice(n, s.now()); err != nil {
			return err
		}
		queued, err := t.queue(n, s.now())
		if err != nil {
			return err
		}
		ids = append(ids, queued...)
	}
	if len(ids) > 0 {
		t.after = append(t.after, func() { s.queued.add(ids...) })
	}
	return nil
}

// fill sets what the store knows of a notice: its numbers and its meeting.
func (t *tx) fill(n *livestream.Notice, meetingID string) (err error) {
	if n.Seq, err = t.count(n.Scope, "", ""); err != nil {
		return err
	}
	if n.StreamSeq, err = t.count(n.Scope, n.LivestreamID, n.Event); err != nil || meetingID == "" {
		return err
	}
	m := livestream.NoticeMeeting{ID: meetingID}
	title := optional{&m.Title, &m.HasTitle}
	err = t.row(`SELECT m.title, m.created_at, COALESCE(a.name, '') FROM meetings m
		LEFT JOIN apps a ON a.account_id = m.account_id AND a.id = m.app_id WHERE m.id = ?`,
		func(row scanner) error { return row.Scan(&title, moment{&m.CreatedAt}, &m.AppName) }, meetingID)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil // a livestream may have been created for a meeting elsewhere
	}
	n.Meeting = &m
	return err
}

// count gives the next number of a counter, from 1.
func (t *tx) count(sc livestream.Scope, livestreamID, event string) (n int64, err error) {
	t.wrote = true
	err = t.row(`INSERT INTO event_counters (account_id, app_id, livestream_id, event, seq) VALUES (?, ?, ?, ?, 1)
		ON CONFLICT (account_id, app_id, livestream_id, event) DO UPDATE SET seq = event_counters.seq + 1 RETURNING seq`,
		func(row scanner) error { return row.Scan(&n) }, sc.AccountID, sc.AppID, livestreamID, event)
	return n, err
}

func (t *tx) addNotice(n livestream.Notice, now time.Time) error {
	var meeting any
	if n.Meeting != nil {
		b, err := json.Marshal(n.Meeting)
		if err != nil {
			return err
		}
		meeting = string(b)
	}
	_, err := t.exec(`INSERT INTO events (account_id, app_id, seq, stream_seq, event, at, kept_from, livestream_id, session_id,
		status, health, err_message, manual_ingest, playback_id, stream_key, meeting)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		n.AccountID, n.AppID, n.Seq, n.StreamSeq, n.Event, ms(n.At), ms(now), n.LivestreamID, n.SessionID,
		string(n.Status), n.Health, n.ErrMessage, n.ManualIngest, n.PlaybackID, n.StreamKey.Reveal(), meeting)
	return err
}

// queue adds a delivery for each enabled webhook of the app that wants n, and
// returns their ids.
func (t *tx) queue(n livestream.Notice, now time.Time) (ids []string, err error) {
	hooks, err := all(t, scanWebhook, `SELECT `+webhookColumns+` FROM webhooks w
		WHERE w.account_id = ? AND w.app_id = ? AND w.enabled`, n.AccountID, n.AppID)
	if err != nil {
		return nil, err
	}
	for _, w := range hooks {
		if !w.Wants(n.Event) {
			continue
		}
		if _, err := t.exec(`INSERT INTO webhook_deliveries (webhook_id, seq, id, livestream_id, state, round, queued_at,
			next_at, attempts, last_took_ms, last_status, last_error, last_answer)
			SELECT ?1, ?2, ?3, ?4, CASE WHEN EXISTS (SELECT 1 FROM webhook_deliveries
			WHERE webhook_id = ?1 AND livestream_id = ?4 AND state IN ('ready', 'waiting')) THEN 'waiting' ELSE 'ready' END,
			1, ?5, ?5, 0, 0, 0, '', ''`,
			w.ID, n.Seq, livestream.NewUUID(), n.LivestreamID, ms(now)); err != nil {
			return nil, err
		}
		ids = append(ids, w.ID)
	}
	return ids, nil
}

func (s *Store) Notices(ctx context.Context, sc livestream.Scope, after int64, limit int) (page []livestream.Notice, more bool, err error) {
	limit = min(max(limit, 1), maxNotices)
	page, err = collect(ctx, s.reads, scanNotice, selectNotices, sc.AccountID, sc.AppID, after, limit+1)
	if err != nil {
		return nil, false, s.explain("read events", err)
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

// maxNotices bounds one read of the feed.
const maxNotices = 1000

const selectNotices = `SELECT ` + noticeColumns + ` FROM events e
	WHERE e.account_id = ? AND e.app_id = ? AND e.seq > ? ORDER BY e.seq LIMIT ?`

func (s *Store) Deliveries(ctx context.Context, sc livestream.Scope, webhookID string, p livestream.Page) (page []livestream.Delivery, count int, err error) {
	err = s.snapshot(ctx, "list deliveries", func(db *sql.Tx) error {
		// No row when the webhook is not in this scope.
		if err := db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id)
			FROM webhooks w WHERE w.account_id = ? AND w.app_id = ? AND w.id = ?`,
			sc.AccountID, sc.AppID, webhookID).Scan(&count); err != nil {
			return err
		}
		size, skip := limits(p)
		page, err = collect(ctx, db, scanDelivery, selectDeliveries, sc.AccountID, sc.AppID, webhookID, size, skip)
		return err
	})
	return page, count, err
}

const selectDeliveries = `SELECT ` + deliveryColumns + ` FROM webhook_deliveries d
	JOIN events e ON e.account_id = ? AND e.app_id = ? AND e.seq = d.seq
	WHERE d.webhook_id = ? ORDER BY d.seq DESC LIMIT ? OFFSET ?`

func (s *Store) ReadyDeliveries(ctx context.Context, webhookID string, limit int) (w livestream.Webhook, ready []livestream.Delivery, err error) {
	err = s.snapshot(ctx, "read deliveries", func(db *sql.Tx) error {
		w, err = scanWebhook(db.QueryRowContext(ctx, `SELECT `+webhookColumns+` FROM webhooks w WHERE w.id = ?`, webhookID))
		if err != nil || !w.Enabled {
			return err
		}
		ready, err = collect(ctx, db, scanDeliveryWithBody, selectReady, w.AccountID, w.AppID, webhookID, limit)
		return err
	})
	return w, ready, err
}

const selectReady = `SELECT d.body, ` + deliveryColumns + ` FROM webhook_deliveries d
	JOIN events e ON e.account_id = ? AND e.app_id = ? AND e.seq = d.seq
	WHERE d.webhook_id = ? AND d.state = 'ready' ORDER BY d.next_at, d.seq LIMIT ?`

func (s *Store) KeepBody(ctx context.Context, webhookID string, seq int64, body []byte) (kept []byte, err error) {
	err = s.write(ctx, "keep delivery's body", relaxed, func(t *tx) error {
		return t.row(`UPDATE webhook_deliveries SET body = COALESCE(body, ?) WHERE webhook_id = ? AND seq = ? RETURNING body`,
			func(row scanner) error {
				t.wrote = true
				return row.Scan(object{&kept})
			}, string(body), webhookID, seq)
	})
	return kept, err
}

// RecordAttempt is not fsynced: what a power loss takes back is delivered again.
func (s *Store) RecordAttempt(ctx context.Context, d livestream.Delivery, r livestream.Result) error {
	return s.write(ctx, "record delivery", relaxed, func(t *tx) error {
		a := r.Attempt
		if r.State == livestream.DeliveryReady { // or waiting by now, behind what a replay queued
			_, err := t.exec(`UPDATE webhook_deliveries SET next_at = ?, attempts = attempts + 1, last_at = ?, last_took_ms = ?,
				last_status = ?, last_error = ?, last_answer = ? WHERE webhook_id = ? AND seq = ? AND round = ?`,
				ms(r.NextAt), ms(a.At), a.Took.Milliseconds(), a.Status, a.Error, a.Answer, d.WebhookID, d.Notice.Seq, d.Round)
			return err
		}
		n, err := t.exec(`UPDATE webhook_deliveries SET state = ?, attempts = attempts + 1, last_at = ?, last_took_ms = ?,
			last_status = ?, last_error = ?, last_answer = ?
			WHERE webhook_id = ? AND seq = ? AND round = ? AND state IN ('ready', 'waiting')`,
			string(r.State), ms(a.At), a.Took.Milliseconds(), a.Status, a.Error, a.Answer, d.WebhookID, d.Notice.Seq, d.Round)
		if err != nil || n == 0 {
			return err
		}
		return t.promote(d.WebhookID, d.Notice.LivestreamID)
	})
}

// promote makes the oldest open delivery of a webhook and livestream the one
// that is ready.
func (t *tx) promote(webhookID, livestreamID string) error {
	_, err := t.exec(promoteOldest, webhookID, livestreamID)
	return err
}

const promoteOldest = `UPDATE webhook_deliveries SET state = 'ready' WHERE webhook_id = ?1 AND seq = (SELECT seq
	FROM webhook_deliveries WHERE webhook_id = ?1 AND livestream_id = ?2 AND state IN ('ready', 'waiting') ORDER BY seq LIMIT 1)`

func (s *Store) HurryDeliveries(ctx context.Context, webhookID string, now time.Time) error {
	return s.write(ctx, "hurry deliveries", relaxed, func(t *tx) error {
		_, err := t.exec(hurryDeliveries, webhookID, ms(now))
		return err
	})
}

const hurryDeliveries = `UPDATE webhook_deliveries SET next_at = ?2 WHERE (webhook_id, seq) IN (SELECT webhook_id, seq
	FROM webhook_deliveries WHERE webhook_id = ?1 AND state = 'ready' AND next_at > ?2 ORDER BY next_at LIMIT 1000)`

func (s *Store) OpenDeliveries(ctx context.Context) (n int, err error) {
	err = s.row(ctx, "count deliveries", countOpenDeliveries, func(row scanner) error { return row.Scan(&n) })
	return n, err
}

const countOpenDeliveries = `SELECT COUNT(*) FROM webhook_deliveries WHERE state IN ('ready', 'waiting')`
