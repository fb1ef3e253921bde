// Package api answers the REST interface of Cloudflare RealtimeKit's
// livestreams, so that the official clients work when only their base URL
// changes. docs/openapi.yaml is its contract; every answer of the tests is
// validated against that file.
//
// Every answer comes from the store alone, so it is the same before and after
// a restart. Commands (start, stop, disable) go through [Control]. Handlers return
// errors; one table in errors.go turns them into HTTP.
//
// One request walks: ServeHTTP (headers) → serve (route) → authorize (401, 429, 403)
// → findApp (404) → handler (404, 400, answer). The hot path,
// active-livestream-session, is in active.go and builds its JSON by hand.
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/media"
)

// Store is what the API asks of the store.
type Store interface {
	CreateLivestream(ctx context.Context, l livestream.Livestream) error
	RecordByID(ctx context.Context, s livestream.Scope, id string) (livestream.Record, error)
	RecordByMeeting(ctx context.Context, s livestream.Scope, meetingID string) (livestream.Record, error)
	Records(ctx context.Context, s livestream.Scope, q livestream.Query) ([]livestream.Record, int, error)
	Session(ctx context.Context, s livestream.Scope, sessionID string) (livestream.Session, error)
	Sessions(ctx context.Context, s livestream.Scope, livestreamID string, p livestream.Page) ([]livestream.Session, int, error)
	Timeline(ctx context.Context, sessionID string, p livestream.Page) ([]livestream.Fact, int, error)
	Viewings(ctx context.Context, sessionID string, p livestream.Page) ([]livestream.Viewing, int, error)
	Audit(ctx context.Context, s livestream.Scope, sessionID string, l livestream.Ledger) error
	CreateMeeting(ctx context.Context, m livestream.Meeting) error
	Meeting(ctx context.Context, s livestream.Scope, id string) (livestream.Meeting, error)
	Meetings(ctx context.Context, s livestream.Scope, q livestream.MeetingQuery) ([]livestream.Meeting, int, error)
	UpdateMeeting(ctx context.Context, s livestream.Scope, id string, change func(livestream.Meeting) (livestream.Meeting, error)) (livestream.Meeting, error)
	Usage(ctx context.Context, s livestream.Scope, from, to time.Time) (u livestream.Usage, livestreams int, err error)
	UsageByDay(ctx context.Context, s livestream.Scope, from, to time.Time) ([]livestream.DayUsage, error)
	CreateApp(ctx context.Context, a livestream.App) error
	App(ctx context.Context, s livestream.Scope) (livestream.App, error)
	Apps(ctx context.Context, accountID string, q livestream.AppQuery) ([]livestream.App, int, error)
	UpdateApp(ctx context.Context, s livestream.Scope, change func(livestream.App) livestream.App) (livestream.App, error)
	CreateToken(ctx context.Context, k livestream.Token) error
	Token(ctx context.Context, accountID, id string) (livestream.Token, error)
	Tokens(ctx context.Context, accountID string, p livestream.Page) ([]livestream.Token, int, error)
	RevokeToken(ctx context.Context, accountID, id, keep string, at time.Time) (livestream.Token, error)
	CreateWebhook(ctx context.Context, w livestream.Webhook) error
	Webhook(ctx context.Context, s livestream.Scope, id string) (livestream.Webhook, error)
	Webhooks(ctx context.Context, s livestream.Scope) ([]livestream.Webhook, error)
	ChangeWebhook(ctx context.Context, s livestream.Scope, id string, change func(*livestream.Webhook) error) (livestream.Webhook, error)
	DeleteWebhook(ctx context.Context, s livestream.Scope, id string) (livestream.Webhook, error)
	Notices(ctx context.Context, s livestream.Scope, after int64, limit int) ([]livestream.Notice, bool, error)
	Deliveries(ctx context.Context, s livestream.Scope, webhookID string, p livestream.Page) ([]livestream.Delivery, int, error)
	Replay(ctx context.Context, s livestream.Scope, webhookID string, after int64, limit int) (livestream.Replay, error)
	CreatePlaybackKey(ctx context.Context, k livestream.PlaybackKey) error
	PlaybackKeys(ctx context.Context, s livestream.Scope) ([]livestream.PlaybackKey, error)
	DeletePlaybackKey(ctx context.Context, s livestream.Scope, id string) (livestream.PlaybackKey, error)
	Revoke(ctx context.Context, r livestream.Revocation) error
	Revocations(ctx context.Context, livestreamID string, now time.Time) ([]livestream.Revocation, error)
	Created(ctx context.Context, request [32]byte, retry int, since time.Time) (id string, err error)
}

// Control carries commands to whoever owns the livestream. Each returns the
// record as it stands after the command, or livestream.ErrNotFound for a
// livestream that was deleted meanwhile.
type Control interface {
	// Start opens a session that awaits its encoder. ErrAlreadyOn when one is
	// open, ErrDisabled when the livestream is disabled.
	Start(ctx context.Context, livestreamID string) (livestream.Record, error)
	// Stop ends an open session, or acknowledges a failed one. ErrNotActive
	// when there is neither.
	Stop(ctx context.Context, livestreamID string) (livestream.Record, error)
	// Enable accepts publishes again, Disable refuses them and ends what is on
	// air, ResetKey makes a new stream key and ends what is on air.
	Enable(ctx context.Context, livestreamID string) (livestream.Record, error)
	Disable(ctx context.Context, livestreamID string) (livestream.Record, error)
	ResetKey(ctx context.Context, livestreamID string) (livestream.Record, error)
	// Configure changes name and settings, also while on air.
	Configure(ctx context.Context, livestreamID string, c livestream.Change) (livestream.Record, error)
	// Cue puts a cue beside the newest media and tells where it is. ErrNotActive
	// when no media is listed that it could stand beside.
	Cue(ctx context.Context, livestreamID string, c media.Cue) (media.Mark, error)
	// Delete takes the livestream away; its sessions stay. ErrOpen while one is
	// open.
	Delete(ctx context.Context, livestreamID string) (livestream.Record, error)
}

// Config wires an API. Store, Auth, Control and Webhooks are required.
type Config struct {
	Store    Store
	Auth     *auth.Authenticator
	Control  Control
	Webhooks Webhooks
	// Recordings are what is kept of sessions; nil: nothing is.
	Recordings Recordings
	// PlaybackKeys fetches the keys of playback tokens; nil: a key with jwks_url
	// cannot be made.
	PlaybackKeys PlaybackKeys

	// PublicURL is what playback_url begins with, such as
	// "https://live.example.org". Empty: scheme and host of each request.
	PublicURL string
	// IngestURL is ingest_server, such as "rtmp://live.example.org/live/"; a
	// missing path becomes /live/. Empty: the host of each request with
	// RTMPPort, or with RTMPSPort when the request came by TLS.
	IngestURL string
	RTMPPort  int // 0: 1935
	RTMPSPort int // 0: no RTMPS

	// TrustedProxies may say by X-Forwarded-Proto and X-Forwarded-Host how
	// their client reached them, and by X-Forwarded-For who it was.
	TrustedProxies []netip.Prefix

	// RateLimit is how many requests a token may make in 5 minutes, and
	// AddressRateLimit how many may come from one client address, whatever their
	// token. 0: any number.
	RateLimit        int
	AddressRateLimit int
	AccessLog        AccessLog // "": LogChanges

	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
}

// fill completes what is told of where to play and to publish.
func (c *Config) fill() {
	if c.RTMPPort == 0 {
		c.RTMPPort = 1935
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	c.IngestURL = ingestBase(c.IngestURL)
}

// server is the handler behind New.
type server struct {
	Config
	tree *node

	perToken   *limiter[string]     // by token id
	perAddress *limiter[netip.Addr] // by client address, IPv6 by /64
	under      underWay             // creations
	audits     chan struct{}        // holds one for each that is read

	refusedToken, refusedAddress refusals // of creations

	ids      string // first part of every request id, new with each start
	requests atomic.Uint64
}

// New returns the handler of the API. It serves the same routes with and
// without the prefix /client/v4, and answers every other path with the API's
// own 404, so mount it at /client/v4/ and /accounts/.
func New(c Config) http.Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Recordings == nil {
		c.Recordings = noRecordings{}
	}
	c.fill()
	if c.AccessLog == "" {
		c.AccessLog = LogChanges
	}
	return &server{
		Config: c, tree: newTree(routes), ids: rand.Text()[:12] + "-",
		audits:     make(chan struct{}, auditsAtOnce),
		perToken:   newLimiter[string](c.RateLimit),
		perAddress: newLimiter[netip.Addr](c.AddressRateLimit),
	}
}

var (
	jsonType = []string{"application/json"}
	nosniff  = []string{"nosniff"}
	noStore  = []string{"no-store"} // answers carry stream keys
)

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noStore
	h["X-Request-Id"] = []string{s.ids + strconv.FormatUint(s.requests.Add(1), 36)}

	a := answers.Get().(*answer)
	*a = answer{ResponseWriter: w, began: time.Now(), client: s.client(r), status: http.StatusOK}
	// Counted before anything is known of the request, so that a wrong token
	// counts too.
	err := s.perAddress.take(perSubscriber(a.client))
	if err == nil {
		err = s.serve(a, r)
	}
	if err != nil {
		if errors.Is(err, errLimited) {
			s.refuseCreation(a, r)
		}
		s.fail(a, r, err)
	}
	s.logAnswer(a, r)
	a.ResponseWriter = nil
	answers.Put(a)
}
