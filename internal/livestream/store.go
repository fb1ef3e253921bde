package livestream

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"tally/internal/secret"
)

// Shared conditions. Everything else a Store returns is wrapped around its cause.
var (
	ErrNotFound   = errors.New("not found")
	ErrTransition = errors.New("not possible in this state")
	ErrStale      = errors.New("of an older publish") // the event's or checkpoint's epoch is not the present one
	ErrDisabled   = errors.New("livestream is disabled")
	ErrBusy       = errors.New("livestream has a publisher")
	ErrDamped     = errors.New("stream key is refused for a while after a stop")
	ErrFailing    = errors.New("stream key is refused for a while after three publishes that were never playable")
	ErrDefended   = errors.New("publisher is not taken over from for a while after three takeovers")
	ErrNotStarted = errors.New("the meeting's livestream was not started")
	ErrAlreadyOn  = errors.New("a livestream is already active for the meeting")
	ErrNotActive  = errors.New("nothing is active")
	ErrInactive   = errors.New("meeting is inactive: set its status to ACTIVE first")
	ErrExists     = errors.New("already exists") // the id, or another value that must be unique
	ErrOpen       = errors.New("livestream is on air: stop it first")
	ErrLastToken  = errors.New("it is the account's last token in force that may manage tokens: make another one first")
	ErrStopping   = errors.New("the server is stopping; try again in a moment")
)

// A Meeting is the room a livestream may belong to. A meeting has one
// livestream for life.
type Meeting struct {
	Scope
	ID        string // UUID v4
	Title     string
	HasTitle  bool // false: the wire's null
	Active    bool // wire: ACTIVE or INACTIVE
	CreatedAt time.Time
	UpdatedAt time.Time

	RecordOnStart        bool
	LiveStreamOnStart    bool
	PersistChat          bool
	SummarizeOnEnd       bool
	TranscribeOnEnd      bool
	SessionKeepAliveSecs int    // 60 to 600
	RecordingConfig      []byte // JSON object as given, or nil
	AIConfig             []byte // JSON object as given, or nil
}

// An App groups livestreams and meetings.
type App struct {
	AccountID string
	ID        string
	Name      string // no two apps of an account have the same
	CreatedAt time.Time
	Wire      Wire
}

// A Wire is the dialect in which an app's answers are written.
type Wire string

const (
	WireDeclared Wire = ""         // each field in the type that its endpoint declares
	WireUpstream Wire = "upstream" // as captured from the real service: the list is an array, booleans and numbers are bare
)

// A Page selects part of a list. Number is 1-based; Size is 1 to 100.
type Page struct{ Number, Size int }

// A Query filters a list of livestreams. Zero fields do not filter.
type Query struct {
	Page
	Statuses        []Status // any of these
	ExcludeMeetings bool
	From, To        time.Time // by CreatedAt, inclusive
	OldestFirst     bool
}

// An AppQuery filters a list of apps. Zero fields do not filter.
type AppQuery struct {
	Page
	Search      string   // part of the name or of the id, in any case
	IDs         []string // only these; empty: every app of the account
	OldestFirst bool
}

// A MeetingQuery filters a list of meetings. Zero fields do not filter.
type MeetingQuery struct {
	Page
	Search      string // part of the title or of the id, in any case
	Active      *bool
	From, To    time.Time // by CreatedAt, inclusive
	OldestFirst bool
}

// A Usage is a sum over the sessions of an app that were ever playable.
type Usage struct {
	Sessions int
	// Seconds are whole in each session, rounded to nearest as its own answers
	// show them, and then added up: so an audit of the sessions finds the same.
	IngestSecs int64
	ViewerSecs int64
}

// A DayUsage is the Usage of the sessions that started on one day.
type DayUsage struct {
	Day time.Time // its first instant in UTC
	Usage
}

// A Token is an API credential as stored: its text is known to nobody.
type Token struct {
	ID        string   // UUID v4
	Hash      [32]byte // SHA-256 of the text
	AccountID string
	Name      string
	Scopes    []string // names of auth.Permission groups: "Realtime Admin", "Realtime", "Realtime Read"
	AppIDs    []string // empty: every app of the account
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: in force

	LastUsedAt time.Time // up to a minute old, whole seconds or finer; zero: never
}

// InForce reports whether the token is neither expired nor revoked at now.
func (t Token) InForce(now time.Time) bool {
	return (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt)) && (t.RevokedAt.IsZero() || now.Before(t.RevokedAt))
}

// A Checkpoint is what the owner of an open session knows of it now. Figures
// are totals of the whole session, so writing one twice changes nothing; none
// ever decreases. It applies only while the session is open and Epoch is still
// the session's.
type Checkpoint struct {
	LivestreamID string
	SessionID    string
	Epoch        int64
	At           time.Time // label
	LastMediaAt  time.Time // label; zero when no media came yet
	Ingest       time.Duration

	RunID             string
	PartTarget        time.Duration
	MSNMark           int64
	DiscontinuityMark int64
	LongestGOP        time.Duration

	Bytes    int64         // media received, payload of audio and video messages
	Media    string        // Session.Media; "" when nothing new is known
	Keyframe time.Duration // Session.Keyframe; 0 when nothing new is known
	Warnings string        // Session.Warnings, as they are now
	// Intervals began or ended since the last checkpoint that was written. Each
	// replaces what is stored of the same (SessionID, Epoch, Number).
	Intervals []Interval
	// Facts are lines for the timeline that are no transition: what the encoder
	// sends, a warning that begins or ends. One that is there already (the same
	// session, time, kind and detail) is not written twice.
	Facts []Fact
}

// An Interval is one stretch of media that arrived without a gap of more than
// 2 s: what ingest seconds are the sum of (design section 4).
type Interval struct {
	SessionID string
	Epoch     int64         // of the publish
	Number    int64         // counts from 1 within the publish
	From, To  time.Time     // labels: arrival of the first and of the last message; To is zero while it goes on
	Length    time.Duration // by the monotonic clock; 0 while it goes on
}

// A Viewing is what one node counted of one viewer in one session, in totals
// since the node started. Its key is (SessionID, Viewer, Node, Incarnation);
// writing one again replaces all but First, and no figure decreases. A viewer that outlived
// a restart has several, and so has one that came back when the node had
// forgotten it: its Incarnation is then the node's with a suffix (".2f").
type Viewing struct {
	SessionID   string
	Viewer      string // 16 lower-case hex digits: the random bits of its id, so that a row opens no playlist
	Node        string
	Incarnation string

	First, Last time.Time // evidence, wall time
	// What was counted, by the evidence it rests on. Their sums over all viewers
	// are the sums of the windows, once everybody has left.
	Beacon, Media, Playlist time.Duration

	Bytes      int64  // media delivered to it by this node; a cache in front delivers more
	Renditions uint64 // bit n: it was given media of rendition n
	Left       bool   // no evidence for the presence time, or the session is over
}

// A UsageWindow is what one node counted for one session in one short stretch
// of time. The key (SessionID, Kind, Node, Incarnation, Window) makes a retry
// harmless: a window is inserted or ignored. Windows are accepted for closed
// sessions too: the last one is written after the end.
type UsageWindow struct {
	SessionID   string
	Kind        UsageKind // by which evidence
	Node        string
	Incarnation string        // changes with every start of the node
	Window      int64         // rises within an incarnation
	Amount      time.Duration // may be 0: only the figures below changed

	// When the window was made: who watched then, and the most that ever did at
	// once. They are news of an open session, and replace what was known.
	Viewers     int
	PeakViewers int
}

// A UsageKind says on which evidence viewer time rests (design section 4). A
// window of each may bear the same number.
type UsageKind string

const (
	ByBeacon   UsageKind = "beacon"   // the player told how long it played
	ByMedia    UsageKind = "media"    // media that it was given
	ByPlaylist UsageKind = "playlist" // it kept asking for the playlist
)

// RetryWindow is how long after a request its retry finds what it created, and
// so how long that is kept (docs/decisions/0004). The official clients retry
// within seconds; after a restart of the server, within the time that one takes.
const RetryWindow = 2 * time.Minute

// A Creation is the request on whose behalf something is created. It travels in
// the context, because on its way from the API to the transaction that creates
// it passes others, such as the ingest manager, that it does not concern.
//
// The Store's methods that create an object of the kind What also note that
// Request created it, in the same transaction: so a client that lost the answer
// and asks again is told of that object, also after a crash. See Store.Created.
type Creation struct {
	What    Creates
	Request [32]byte // SHA-256 of who asked for what
	Retry   int      // how often it had asked before
	At      time.Time
	Made    *atomic.Bool // the store sets it once the object is there; nil: nobody asks
}

// Creates is a kind of object.
type Creates uint8

const (
	CreatesLivestream Creates = iota + 1
	CreatesMeeting
	CreatesApp
	CreatesWebhook
	CreatesSession // by Advance with a Start
	CreatesPlaybackKey
)

type creationKey struct{}

// WithCreation returns ctx with c.
func WithCreation(ctx context.Context, c Creation) context.Context {
	return context.WithValue(ctx, creationKey{}, c)
}

// CreationOf returns what WithCreation put into ctx; false when nothing.
func CreationOf(ctx context.Context) (Creation, bool) {
	c, ok := ctx.Value(creationKey{}).(Creation)
	return c, ok
}

// A Store keeps the truth. The API reads it alone. Every method may be called
// concurrently; each is one transaction. Look-ups of what does not exist in the
// given scope return ErrNotFound.
type Store interface {
	// Advance loads the livestream and its newest session, calls Record.Apply
	// and writes the result and its facts, in one transaction that is durable
	// (fsynced) when Advance returns. When Apply refuses, nothing is written,
	// and the record as it stands is returned with Apply's error.
	Advance(ctx context.Context, livestreamID string, e Event) (Record, error)

	// Checkpoint writes all checkpoints, windows and viewings in one transaction,
	// not necessarily fsynced. Stale checkpoints (older epoch, closed session) are
	// skipped silently, but for their Intervals and Facts, which are written for
	// any session that exists.
	Checkpoint(ctx context.Context, cs []Checkpoint, ws []UsageWindow, vs []Viewing) error

	CreateLivestream(ctx context.Context, l Livestream) error
	// A deleted livestream is found by none of these. RecordByID, RecordByKey and RecordByPlaybackID return a livestream and
	// its newest session. By key or playback id no scope is asked for: the key
	// is the credential, the playback id is public.
	RecordByID(ctx context.Context, s Scope, id string) (Record, error)
	RecordByKey(ctx context.Context, key secret.String) (Record, error)
	RecordByPlaybackID(ctx context.Context, playbackID string) (Record, error)
	RecordByMeeting(ctx context.Context, s Scope, meetingID string) (Record, error)
	// Records lists by CreatedAt, newest first unless asked otherwise, and
	// returns how many match in all.
	Records(ctx context.Context, s Scope, q Query) ([]Record, int, error)
	// OpenRecords returns every livestream whose session is open, in any scope.
	OpenRecords(ctx context.Context) ([]Record, error)

	// Session finds a session also when its livestream is deleted.
	Session(ctx context.Context, s Scope, sessionID string) (Session, error)
	// Sessions lists a livestream's sessions, newest first, and how many there are.
	Sessions(ctx context.Context, s Scope, livestreamID string, p Page) ([]Session, int, error)
	// Timeline lists a session's facts, oldest first, and how many there are. A
	// session that does not exist has none.
	Timeline(ctx context.Context, sessionID string, p Page) ([]Fact, int, error)

	// Intervals lists a session's stretches of media, by epoch and number.
	Intervals(ctx context.Context, sessionID string) ([]Interval, error)
	// Viewings lists the viewers of a session, who came first first, and how many
	// there are. What several starts of nodes counted of one viewer is one.
	Viewings(ctx context.Context, sessionID string, p Page) ([]Viewing, int, error)
	// Audit tells l what is stored of a session, in one transaction: so figures of
	// one moment are compared. l must not wait for anybody.
	Audit(ctx context.Context, s Scope, sessionID string, l Ledger) error

	// Usage sums up the sessions of an app that started from from to to, both
	// included; open ones with what they have now. It returns too how many
	// livestreams they are of, deleted ones included. UsageByDay sums up each day
	// in UTC, oldest first; a day without sessions is left out.
	Usage(ctx context.Context, s Scope, from, to time.Time) (u Usage, livestreams int, err error)
	UsageByDay(ctx context.Context, s Scope, from, to time.Time) ([]DayUsage, error)

	CreateMeeting(ctx context.Context, m Meeting) error
	Meeting(ctx context.Context, s Scope, id string) (Meeting, error)
	// Meetings lists by CreatedAt, newest first unless asked otherwise, and
	// returns how many match in all.
	Meetings(ctx context.Context, s Scope, q MeetingQuery) ([]Meeting, int, error)
	// UpdateMeeting writes what change makes of the meeting, in one transaction
	// with reading it, and returns that. Scope, ID and CreatedAt stay, and UpdatedAt
	// does not go back. change may be called twice; its error is returned as it
	// is, and nothing is written.
	UpdateMeeting(ctx context.Context, s Scope, id string, change func(Meeting) (Meeting, error)) (Meeting, error)

	CreateApp(ctx context.Context, a App) error
	App(ctx context.Context, s Scope) (App, error)
	// Apps lists an account's apps by CreatedAt, newest first unless asked
	// otherwise, and returns how many match in all.
	Apps(ctx context.Context, accountID string, q AppQuery) ([]App, int, error)
	// UpdateApp is as UpdateMeeting. ErrExists when another app of the account has
	// the name.
	UpdateApp(ctx context.Context, s Scope, change func(App) App) (App, error)
	CreateToken(ctx context.Context, t Token) error
	TokenByHash(ctx context.Context, hash [32]byte) (Token, error)
	// Token and Tokens find tokens of an account, those no longer in force too;
	// Tokens lists by CreatedAt, newest first, and returns how many there are.
	Token(ctx context.Context, accountID, id string) (Token, error)
	Tokens(ctx context.Context, accountID string, p Page) ([]Token, int, error)
	// RevokeToken ends a token at that moment and returns it; one that was revoked
	// before stays as it is. ErrLastToken when the account would be left without a
	// token in force that has the scope keep and reaches every app.
	RevokeToken(ctx context.Context, accountID, id, keep string, at time.Time) (Token, error)
	// TouchTokens notes when tokens, by id, were last used; never an earlier time
	// than is noted. Unknown ids are ignored.
	TouchTokens(ctx context.Context, used map[string]time.Time) error
	// Created returns the id of the object that a request created since then: see
	// [Creation]. Of several that the same request created, each retry that asks
	// gets the newest that was given to no other; retry is its count, from 1.
	// ErrNotFound when there is none.
	Created(ctx context.Context, request [32]byte, retry int, since time.Time) (id string, err error)
	// HasTokens reports whether any token was ever created: false on a first start.
	HasTokens(ctx context.Context) (bool, error)
	// Secret returns the server's own secret of that name (32 random bytes),
	// creating it on first use: viewer ids are signed with one.
	Secret(ctx context.Context, name string) ([]byte, error)

	WebhookStore
	PlaybackStore

	// Ping reports whether the store can be read and written.
	Ping(ctx context.Context) error
	Close() error
}
