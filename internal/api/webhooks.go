package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tally/internal/api/input"
	"tally/internal/livestream"
	"tally/internal/webhook"
)

// Webhooks is what the API asks of the engine that delivers; *webhook.Engine is one.
type Webhooks interface {
	// Try sends a sample at once. The attempt says what the receiver answered.
	Try(ctx context.Context, w livestream.Webhook) (livestream.Attempt, error)
	// PublicKey is the key, as PEM, by which receivers verify deliveries.
	PublicKey(ctx context.Context) (string, error)
	// CheckURL says why an address may not be called; nil when it may, or when
	// only its name's resolution will tell.
	CheckURL(u *url.URL) error
}

// IngestBase completes a configured ingest URL in the way that the API does, for
// who tells it outside of answers; "" stays "".
func IngestBase(s string) string { return ingestBase(s) }

const webhookPath = appPath + "/webhooks/{webhook_id}"

// Limits of the feed of events.
const (
	defaultEvents = 100
	maxEvents     = 1000
)

// webhookObject is a webhook as declared (contract 7.12). Its secret is in
// createdWebhook alone.
type webhookObject struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	URL       string   `json:"url"`
	Events    []string `json:"events"`
	Enabled   bool     `json:"enabled"`
	CreatedAt stamp    `json:"created_at"`
	UpdatedAt stamp    `json:"updated_at"`
}

type createdWebhook struct {
	webhookObject
	Secret string `json:"secret"`
}

func webhookOf(w livestream.Webhook) webhookObject {
	return webhookObject{
		ID: w.ID, Name: w.Name, URL: w.URL, Events: append([]string{}, w.Events...), Enabled: w.Enabled,
		CreatedAt: stamp(w.CreatedAt), UpdatedAt: stamp(w.UpdatedAt),
	}
}

// createWebhook makes a webhook and its secret, which is in this answer alone:
// also in the one to a retry, whose client never saw it.
func createWebhook(s *server, w http.ResponseWriter, rq *request) error {
	change, err := s.readWebhook(w, rq, true)
	if err != nil {
		return err
	}
	now := s.Now()
	h := livestream.Webhook{Scope: rq.Scope, ID: livestream.NewUUID(), CreatedAt: now, Secret: webhook.NewSecret()}
	change(&h)
	if err := s.Store.CreateWebhook(rq.Context(), h); err != nil {
		return err
	}
	return s.reply(w, http.StatusCreated, createdWebhook{webhookOf(h), h.Secret.Reveal()}, nil)
}

// createdWebhookAgain answers the retry of a create (retry.go).
func createdWebhookAgain(s *server, w http.ResponseWriter, rq *request, id string) error {
	h, err := s.Store.Webhook(rq.Context(), rq.Scope, id)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusCreated, createdWebhook{webhookOf(h), h.Secret.Reveal()}, nil)
}

// readWebhook reads a body into a change of a webhook. A whole one replaces
// everything that may be given: what is absent has its default, or is needed.
func (s *server) readWebhook(w http.ResponseWriter, rq *request, whole bool) (change func(*livestream.Webhook), err error) {
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return nil, err
	}
	given := func(name string) bool {
		switch {
		case body.Raw(name) != nil:
			return true
		case whole && name != "enabled":
			body.Fault(name, "is needed")
		case body.Has(name):
			body.Fault(name, "must not be null")
		}
		return false
	}
	var sets []func(*livestream.Webhook)
	if given("name") {
		name, ok := body.Text("name")
		if ok && strings.TrimSpace(name) == "" {
			body.Fault("name", "must not be empty")
		}
		sets = append(sets, func(h *livestream.Webhook) { h.Name = name })
	}
	if given("url") {
		if u, text := body.URL("url"); u != nil {
			if err := s.Webhooks.CheckURL(u); err != nil {
				body.Fault("url", "cannot be called: %s", err)
			}
			sets = append(sets, func(h *livestream.Webhook) { h.URL = text })
		}
	}
	if given("events") {
		events := eventsOf(body)
		sets = append(sets, func(h *livestream.Webhook) { h.Events = events })
	}
	enabled := true
	if given("enabled") {
		enabled = body.Flag("enabled", false)
	}
	if whole || body.Has("enabled") {
		sets = append(sets, func(h *livestream.Webhook) { h.Enabled = enabled })
	}
	at, from := s.Now().UTC().Truncate(time.Millisecond), s.origin(rq.Request)
	return func(h *livestream.Webhook) {
		for _, set := range sets {
			set(h)
		}
		h.Public, h.Ingest = from.public, from.ingest
		h.UpdatedAt = at
		if at.Before(h.CreatedAt) {
			h.UpdatedAt = h.CreatedAt
		}
	}, body.Err()
}

func eventsOf(body input.Object) []string {
	events, ok := body.Texts("events", len(livestream.EventNames))
	if ok && len(events) == 0 {
		body.Fault("events", "must name an event")
	}
	if slices.ContainsFunc(events, func(e string) bool { return !slices.Contains(livestream.EventNames, e) }) {
		body.Fault("events", `may hold "%s" alone`, strings.Join(livestream.EventNames, `", "`))
	}
	return events
}

// listWebhooks answers all webhooks of the app: there is no paging (contract 7.12).
func listWebhooks(s *server, w http.ResponseWriter, rq *request) error {
	all, err := s.Store.Webhooks(rq.Context(), rq.Scope)
	if err != nil {
		return err
	}
	items := make([]webhookObject, len(all))
	for i, h := range all {
		items[i] = webhookOf(h)
	}
	return s.reply(w, http.StatusOK, items, nil)
}

func (s *server) webhook(rq *request) (livestream.Webhook, error) {
	id := rq.PathValue("webhook_id")
	h, err := s.Store.Webhook(rq.Context(), rq.Scope, id)
	return h, orMissing(err, "webhook", id)
}

func getWebhook(s *server, w http.ResponseWriter, rq *request) error {
	h, err := s.webhook(rq)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, webhookOf(h), nil)
}

func replaceWebhook(s *server, w http.ResponseWriter, rq *request) error {
	return s.changeWebhook(w, rq, true)
}
func editWebhook(s *server, w http.ResponseWriter, rq *request) error {
	return s.changeWebhook(w, rq, false)
}

func (s *server) changeWebhook(w http.ResponseWriter, rq *request, whole bool) error {
	if _, err := s.webhook(rq); err != nil {
		return err
	}
	change, err := s.readWebhook(w, rq, whole)
	if err != nil {
		return err
	}
	id := rq.PathValue("webhook_id")
	h, err := s.Store.ChangeWebhook(rq.Context(), rq.Scope, id, func(h *livestream.Webhook) error {
		change(h)
		return nil
	})
	if err != nil {
		return orMissing(err, "webhook", id)
	}
	return s.reply(w, http.StatusOK, webhookOf(h), nil)
}

// deleteWebhook answers the webhook as it was.
func deleteWebhook(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("webhook_id")
	h, err := s.Store.DeleteWebhook(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "webhook", id)
	}
	return s.reply(w, http.StatusOK, webhookOf(h), nil)
}

// attemptObject is what came of sending an event once.
type attemptObject struct {
	At     stamp   `json:"at"`
	TookMs int64   `json:"took_ms"`
	Status *int    `json:"status"` // HTTP; null: there was no answer
	Error  *string `json:"error"`  // why there was none
	Answer *string `json:"answer"` // the first bytes of its body
}

func attemptOf(a livestream.Attempt) attemptObject {
	o := attemptObject{At: stamp(a.At), TookMs: a.Took.Milliseconds(), Error: orNull(a.Error, a.Status == 0)}
	if a.Status != 0 {
		o.Status, o.Answer = &a.Status, &a.Answer
	}
	return o
}

type triedWebhook struct {
	Delivered bool `json:"delivered"`
	attemptObject
}

// testWebhook sends a sample now, also to a webhook that is disabled, and
// answers what the receiver said.
func testWebhook(s *server, w http.ResponseWriter, rq *request) error {
	h, err := s.webhook(rq)
	if err != nil {
		return err
	}
	if _, err := input.ReadBody(w, rq.Request); err != nil {
		return err
	}
	a, err := s.Webhooks.Try(rq.Context(), h)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, triedWebhook{a.Status >= 200 && a.Status < 300, attemptOf(a)}, nil)
}

// deliveryObject is one event on its way to one webhook.
type deliveryObject struct {
	ID           string                   `json:"id"` // rtk-uuid
	Seq          int64                    `json:"seq"`
	Event        string                   `json:"event"`
	LivestreamID string                   `json:"livestream_id"`
	SessionID    string                   `json:"session_id"`
	State        livestream.DeliveryState `json:"state"`
	Attempts     int                      `json:"attempts"`
	QueuedAt     stamp                    `json:"queued_at"`
	NextAt       stamp                    `json:"next_at"` // null unless it is ready
	LastAttempt  *attemptObject           `json:"last_attempt"`
}

func deliveryOf(d livestream.Delivery) deliveryObject {
	o := deliveryObject{
		ID: d.ID, Seq: d.Notice.Seq, Event: d.Notice.Event, LivestreamID: d.Notice.LivestreamID, SessionID: d.Notice.SessionID,
		State: d.State, Attempts: d.Attempts, QueuedAt: stamp(d.QueuedAt),
	}
	if d.State == livestream.DeliveryReady {
		o.NextAt = stamp(d.NextAt)
	}
	if !d.Last.At.IsZero() {
		last := attemptOf(d.Last)
		o.LastAttempt = &last
	}
	return o
}

// listDeliveries is the log of one webhook, newest event first.
func listDeliveries(s *server, w http.ResponseWriter, rq *request) error {
	if _, err := s.webhook(rq); err != nil {
		return err
	}
	q := input.ParseQuery(rq.URL.RawQuery)
	page := q.Page()
	if err := q.Err(); err != nil {
		return err
	}
	id := rq.PathValue("webhook_id")
	all, total, err := s.Store.Deliveries(rq.Context(), rq.Scope, id, page)
	if err != nil {
		return orMissing(err, "webhook", id)
	}
	items := make([]deliveryObject, len(all))
	for i, d := range all {
		items[i] = deliveryOf(d)
	}
	p := pagingOf(page, len(all), total)
	return s.reply(w, http.StatusOK, items, &p)
}

type replayed struct {
	Queued int   `json:"queued"`
	UpTo   int64 `json:"up_to"`
	More   bool  `json:"more"`
}

// replayWebhook queues again what the webhook wants of the events after a cursor.
func replayWebhook(s *server, w http.ResponseWriter, rq *request) error {
	h, err := s.webhook(rq)
	if err != nil {
		return err
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	after := body.Cursor("after")
	if !body.Has("after") {
		body.Fault("after", "is needed: the seq of the last event not to be sent again; 0 for all that are kept")
	}
	if err := body.Err(); err != nil {
		return err
	}
	if !h.Enabled {
		return tell(input.ErrInvalid, "BAD_REQUEST: the webhook is disabled; enable it, then replay")
	}
	r, err := s.Store.Replay(rq.Context(), rq.Scope, h.ID, after, livestream.MaxReplay)
	if err != nil {
		return orMissing(err, "webhook", h.ID)
	}
	return s.reply(w, http.StatusOK, replayed{r.Queued, r.UpTo, r.More}, nil)
}

// listEvents is the feed: everything that happened in the app, in order, whether
// a webhook asked for it or not.
func listEvents(s *server, w http.ResponseWriter, rq *request) error {
	q := input.ParseQuery(rq.URL.RawQuery)
	after, limit := q.Cursor("after"), q.Limit(defaultEvents, maxEvents)
	if err := q.Err(); err != nil {
		return err
	}
	all, _, err := s.Store.Notices(rq.Context(), rq.Scope, after, limit)
	if err != nil {
		return err
	}
	from := s.origin(rq.Request)
	items := make([]webhook.Event, len(all))
	for i, n := range all {
		items[i] = webhook.EventOf(n, from.public, from.ingest)
		if rq.who.Masked() {
			items[i].StreamKey = mask
		}
	}
	return s.reply(w, http.StatusOK, items, nil)
}

// publishedKey has a message, unlike every other answer (contract 5.6).
type publishedKey struct {
	Success bool      `json:"success"`
	Data    publicKey `json:"data"`
	Message string    `json:"message"`
}

type publicKey struct {
	PublicKey string `json:"publicKey"`
}

// getPublicKey is what receivers verify rtk-signature with. No token is asked for.
func getPublicKey(s *server, w http.ResponseWriter, rq *request) error {
	key, err := s.Webhooks.PublicKey(rq.Context())
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, publishedKey{Success: true, Data: publicKey{key}})
	return nil
}
