package livestream

import (
	"context"
	"errors"
	"strings"
	"time"

	"tally/internal/secret"
)

// A PlaybackPolicy says who may watch a livestream.
type PlaybackPolicy string

const (
	// PlaybackPublic: whoever has the playback URL. The default; the zero value
	// means it too.
	PlaybackPublic PlaybackPolicy = "public"
	// PlaybackSigned: whoever brings a token that a key of the app signed
	// (docs/private-playback.md).
	PlaybackSigned PlaybackPolicy = "signed"
)

// PlaybackPolicies are all there are, the default first.
var PlaybackPolicies = []PlaybackPolicy{PlaybackPublic, PlaybackSigned}

// MaxAllowedOrigins is how many origins a livestream may name.
const MaxAllowedOrigins = 50

// JoinOrigins is a list of origins as Settings.AllowedOrigins holds it. None of
// them may hold a space.
func JoinOrigins(list []string) string { return strings.Join(list, " ") }

// Origins is AllowedOrigins as a list; empty: any origin.
func (s Settings) Origins() []string { return strings.Fields(s.AllowedOrigins) }

// Signed reports whether a token is needed to watch.
func (s Settings) Signed() bool { return s.Playback == PlaybackSigned }

// Limits of playback tokens (docs/private-playback.md).
const (
	// MaxPlayback is how long a playback token, and whoever it let in, is good at
	// most, counted from its issue. It is also how long a revocation is kept.
	MaxPlayback = 7 * 24 * time.Hour
	// MaxViewerName is the longest name of a viewer in a token, in bytes.
	MaxViewerName = 128
	// MaxPlaybackKeys is how many playback keys an app may have.
	MaxPlaybackKeys = 20
	// MaxRevocations is how many revocations of one livestream may be in force.
	MaxRevocations = 1000
)

// What private playback refuses.
var (
	ErrManyPlaybackKeys = errors.New("the app has 20 playback keys, as many as it may have: delete one first")
	ErrNotPrivate       = errors.New("playback of the livestream is public")
	ErrManyRevocations  = errors.New("1000 revocations of this livestream are in force: revoke all of it, which stands for each of them")
)

// A PlaybackKey is what an app's playback tokens are checked with: a secret that
// the server made (HS256), or public keys that the user gave (RS256).
type PlaybackKey struct {
	Scope
	ID        string // UUID v4
	KID       string // what tokens name it by; "" where the keys of a JWKS have names of their own
	Name      string // for people
	Algorithm string // HS256 or RS256
	// Secret is the HS256 key. It is stored in full: a MAC can be checked, and the
	// API can sign, only with the key itself. Encrypting it with a key that lies
	// beside it would protect nobody; the database is readable by its owner alone.
	Secret secret.String
	Public string // RS256: PEM, JWK or JWKS as given; "" with URL
	URL    string // where a JWKS is fetched; "" without
	// Managed: made by the server to sign what the API is asked for. Its secret
	// was shown to nobody. An app has at most one.
	Managed   bool
	CreatedAt time.Time
}

// A RevocationKind says whom a revocation is about.
type RevocationKind string

const (
	RevokeAll    RevocationKind = "all"    // whoever was let in, and whatever token was issued, up to then
	RevokeName   RevocationKind = "name"   // the same of one viewer name
	RevokeViewer RevocationKind = "viewer" // one viewer id, the token that it was minted for, and all ids of that
)

// A Revocation takes back what was allowed up to a moment. Its key is
// (LivestreamID, Kind, Subject); revoking again moves it on.
type Revocation struct {
	LivestreamID string
	Kind         RevocationKind
	Subject      string    // the name; the viewer id's random bits as 16 lower-case hex digits; "" for all
	At           time.Time // whole milliseconds
	ExpiresAt    time.Time // nothing that it is about can be good any more
}

// A PlaybackStore keeps what private playback rests on. It is part of [Store].
type PlaybackStore interface {
	// CreatePlaybackKey adds a key. ErrManyPlaybackKeys when the app has
	// MaxPlaybackKeys; ErrExists when its id is taken, another key of the app has its KID, or it is
	// Managed and the app has such a one.
	CreatePlaybackKey(ctx context.Context, k PlaybackKey) error
	// PlaybackKeys lists the keys of an app, newest first.
	PlaybackKeys(ctx context.Context, s Scope) ([]PlaybackKey, error)
	// DeletePlaybackKey removes a key and returns it as it was.
	DeletePlaybackKey(ctx context.Context, s Scope, id string) (PlaybackKey, error)

	// Revoke writes a revocation, durable when it returns; a moment before the one
	// that is stored changes nothing. ErrNotFound when the livestream does not
	// exist, ErrManyRevocations when there is no room.
	Revoke(ctx context.Context, r Revocation) error
	// Revocations lists the revocations of a livestream that are in force at now,
	// newest first.
	Revocations(ctx context.Context, livestreamID string, now time.Time) ([]Revocation, error)
	// AwaitAccess waits until it may have changed who may watch (a policy, allowed
	// origins, a revocation, a deletion) and returns the playback ids concerned.
	// It ends with ctx, returning its cause. One caller at a time.
	AwaitAccess(ctx context.Context) ([]string, error)
}
