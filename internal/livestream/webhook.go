package livestream

import (
	"context"
	"errors"
	"slices"
	"time"

	"tally/internal/secret"
)

// Names of events. Only those of livestreaming happen so far; the others are
// taken so that a webhook registered for them keeps what it asked for.
const (
	StatusUpdate = "livestreaming.statusUpdate"
	HealthUpdate = "livestreaming.healthUpdate" // ours: a reconnect, which the other does not tell of
)

// EventNames are the events that a webhook may ask for: the contract's (section
// 5.6) and ours.
var EventNames = []string{
	"meeting.started", "meeting.ended", "meeting.participantJoined", "meeting.participantLeft", "meeting.chatSynced",
	"recording.statusUpdate", StatusUpdate, "meeting.transcript", "meeting.summary", HealthUpdate,
}

// MaxWebhooks is how many webhooks an app may have: each event of the app is
// queued once for each that asks for it.
const MaxWebhooks = 100

// StatusOffline is the other status of a notice, besides StatusLive. No answer of
// the API has it (contract 5.2).
const StatusOffline Status = "OFFLINE"

// What a HealthUpdate says.
const (
	HealthReconnecting = "reconnecting"
	HealthOK           = "ok"
)

// ErrTooMany is what the store answers to one more webhook than MaxWebhooks.
var ErrTooMany = errors.New("the app has as many webhooks as it may have; delete one first")

// A Webhook is an address that wants to be told of an app's events.
type Webhook struct {
	Scope
	ID        string // UUID v4
	Name      string
	URL       string   // absolute, http or https, without userinfo
	Events    []string // of EventNames
	Enabled   bool
	CreatedAt time.Time
	UpdatedAt time.Time

	// Secret keys the HMAC of each delivery. It is made with the webhook, shown
	// once, and never changes.
	Secret secret.String
	// Public and Ingest are where the client that made or last changed the
	// webhook reached the server: what URLs in the body begin with, where the
	// configuration does not say it.
	Public string // such as "https://live.example.org"
	Ingest string // such as "rtmp://live.example.org/live/"
}

// Wants reports whether the webhook asks for the event.
func (w Webhook) Wants(event string) bool { return slices.Contains(w.Events, event) }

// A Notice is one event of an app, as it was written in the transaction that
// made it happen. It never changes.
type Notice struct {
	Scope
	// Seq rises by one with each event of the app: the cursor of the feed and of
	// a replay. StreamSeq counts the events of this name of one livestream, from
	// 1. Neither has a hole. The store gives both.
	Seq       int64
	StreamSeq int64

	Event        string // of EventNames
	At           time.Time
	LivestreamID string
	SessionID    string
	Status       Status         // StatusLive or StatusOffline
	Health       string         // of a HealthUpdate; "" otherwise
	ErrMessage   string         // why it ended, or since when it is reconnecting; "" for none
	ManualIngest bool           // an encoder sends, not a meeting's own picture
	PlaybackID   string         // as the livestream's
	StreamKey    secret.String  // as it was then
	Meeting      *NoticeMeeting // nil for an independent livestream
}

// A NoticeMeeting is what a notice says of the meeting its livestream belongs to.
type NoticeMeeting struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	HasTitle  bool      `json:"has_title"`
	CreatedAt time.Time `json:"created_at"`
	AppName   string    `json:"app_name"`
}

// A DeliveryState is where the delivery of one notice to one webhook stands.
type DeliveryState string

const (
	// DeliveryReady is the oldest open one of its webhook and livestream, to be
	// tried when NextAt has come. DeliveryWaiting stands behind it.
	DeliveryReady   DeliveryState = "ready"
	DeliveryWaiting DeliveryState = "waiting"
	// DeliveryDone was answered with 2xx.
	DeliveryDone DeliveryState = "delivered"
	// DeliveryFailed was answered with what trying again would not change.
	DeliveryFailed DeliveryState = "failed"
	// DeliveryGivenUp was tried for 24 hours.
	DeliveryGivenUp DeliveryState = "given_up"
)

// Open reports whether the delivery is still to be made.
func (s DeliveryState) Open() bool { return s == DeliveryReady || s == DeliveryWaiting }

// A Delivery is one notice on its way to one webhook, and what became of it.
type Delivery struct {
	Notice    Notice
	WebhookID string
	ID        string // UUID v4, the same for each try and each replay
	State     DeliveryState
	Round     int64     // rises with each replay
	QueuedAt  time.Time // of this round
	NextAt    time.Time // not tried before
	Attempts  int       // of this round
	Body      []byte    // what is sent; nil before the first try
	Last      Attempt   // zero before the first try
}

// An Attempt is what came of sending a notice once.
type Attempt struct {
	At     time.Time
	Took   time.Duration
	Status int    // HTTP; 0 when there was no answer
	Error  string // why there was no answer; "" when there was one
	Answer string // the first bytes of the answer's body: untrusted text, stream key masked
}

// A Result is what the store is told after an attempt.
type Result struct {
	Attempt
	State  DeliveryState // DeliveryReady: to be tried again
	NextAt time.Time     // when, for DeliveryReady
}

// A Replay says what a replay queued.
type Replay struct {
	Queued int   // deliveries
	UpTo   int64 // cursor of the last event looked at; the given one when there was none
	More   bool  // events after UpTo were not looked at
}

// MaxReplay is how many events one request for a replay looks at, and so the
// most that it queues.
const MaxReplay = 10_000

// KeepEvents is how long events and the log of their deliveries are kept
// (design section 3, Kept).
const KeepEvents = 30 * 24 * time.Hour

// A WebhookStore is the part of a [Store] that keeps webhooks, events and
// deliveries. Events are written by Advance, in its transaction, together with
// one delivery for each enabled webhook of the app that wants it then.
type WebhookStore interface {
	// CreateWebhook adds a webhook; ErrTooMany when the app has MaxWebhooks.
	CreateWebhook(ctx context.Context, w Webhook) error
	Webhook(ctx context.Context, s Scope, id string) (Webhook, error)
	// Webhooks lists an app's webhooks, newest first.
	Webhooks(ctx context.Context, s Scope) ([]Webhook, error)
	// ChangeWebhook applies change to what is stored and stores the result: name,
	// URL, events, whether it is enabled, where the server is reached, and
	// UpdatedAt. An error of change is returned as it is, and nothing is stored.
	// change may be called more than once.
	ChangeWebhook(ctx context.Context, s Scope, id string, change func(*Webhook) error) (Webhook, error)
	// DeleteWebhook removes a webhook with its deliveries, open ones too, and
	// returns it.
	DeleteWebhook(ctx context.Context, s Scope, id string) (Webhook, error)

	// Notices returns at most limit events of an app after the cursor, oldest
	// first, and whether there are more.
	Notices(ctx context.Context, s Scope, after int64, limit int) (list []Notice, more bool, err error)
	// Deliveries returns a page of a webhook's deliveries, newest event first, and
	// how many there are. Bodies are left out.
	Deliveries(ctx context.Context, s Scope, webhookID string, p Page) ([]Delivery, int, error)
	// Replay queues what the webhook wants of the events after the cursor, of which
	// it looks at limit at most, whatever became of them before. What is open
	// already is begun anew, so that everything arrives in order from the cursor on.
	Replay(ctx context.Context, s Scope, webhookID string, after int64, limit int) (Replay, error)

	// AwaitDeliveries returns the ids of webhooks for which something was queued or
	// changed since the last call, once there is one, or ctx's error. One
	// goroutine calls it.
	AwaitDeliveries(ctx context.Context) ([]string, error)
	// PendingWebhooks returns the ids of all enabled webhooks, in any scope, that
	// have a delivery to make.
	PendingWebhooks(ctx context.Context) ([]string, error)
	// ReadyDeliveries returns a webhook and, when it is enabled, at most limit of
	// its deliveries that are DeliveryReady, by NextAt.
	ReadyDeliveries(ctx context.Context, webhookID string, limit int) (Webhook, []Delivery, error)
	// KeepBody stores what a delivery sends, unless that is stored already, and
	// returns what is. It survives the process's death.
	KeepBody(ctx context.Context, webhookID string, seq int64, body []byte) ([]byte, error)
	// RecordAttempt notes what came of sending d. When that ends it, the next one
	// of its livestream becomes ready. A d of an older round ends nothing.
	RecordAttempt(ctx context.Context, d Delivery, r Result) error
	// HurryDeliveries makes what the webhook was to be sent later due at now: it
	// answers again. At most a thousand deliveries in one call.
	HurryDeliveries(ctx context.Context, webhookID string, now time.Time) error
	// DropEvents drops some hundred of the events written before then, with their
	// deliveries, and returns how many it dropped: 0 when there are no more.
	DropEvents(ctx context.Context, before time.Time) (int, error)
	// OpenDeliveries counts what is still to be delivered, over all webhooks.
	OpenDeliveries(ctx context.Context) (int, error)

	// Keep returns the value stored under name, and stores what fresh returns when
	// there is none: a key of the server's own, of whatever length. Of two calls at
	// once, both get the same.
	Keep(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error)
}
