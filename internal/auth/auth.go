// Package auth knows who is asking: API tokens, the permission groups they
// hold, and what those allow.
//
// A token's text is known to its holder alone; the store keeps its SHA-256. A
// token has enough random bits that a plain hash cannot be guessed back, and a
// look-up by hash compares nothing that an attacker could time.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// Answers of Authenticate; both are a 401 on the wire. Other errors of it are
// the store's, and a 500.
var (
	ErrNoToken  = errors.New("no API token: send the header Authorization: Bearer TOKEN")
	ErrBadToken = errors.New("API token is unknown, expired or revoked")
)

// A Permission is what one API route asks for.
type Permission uint8

const (
	Read  Permission = iota + 1 // GET of livestreams, sessions, meetings, apps
	Write                       // whatever changes those
	Admin                       // tokens, and whatever concerns the server itself
	// ReadApps is for the list of an account's apps, of which a token limited to
	// apps sees its own. It goes with Read.
	ReadApps
)

// Permission groups, as livestream.Token.Scopes holds them.
const (
	RealtimeAdmin = "Realtime Admin" // everything in its account
	Realtime      = "Realtime"       // every kit route of its account
	RealtimeRead  = "Realtime Read"  // ours: whatever GET shows, stream keys masked
)

// grants says what each group allows. A group that is not here allows nothing.
var grants = map[string][]Permission{
	RealtimeAdmin: {Read, ReadApps, Write, Admin},
	Realtime:      {Read, ReadApps, Write},
	RealtimeRead:  {Read, ReadApps},
}

// Groups returns the names of all permission groups, for usage texts and for
// checking what a user asks for.
func Groups() []string { return []string{RealtimeAdmin, Realtime, RealtimeRead} }

// maxTokenBytes bounds what is hashed. Preset tokens have at most 64 bytes.
const maxTokenBytes = 128

// NewToken returns a new token's text, to be shown once, and its hash, to be
// stored. The text has 32 base62 characters, 190 random bits, behind a prefix
// by which secret scanners can find it.
func NewToken() (text secret.String, hash [32]byte) {
	text = secret.New("tally_" + livestream.RandomText(32))
	return text, HashToken(text.Reveal())
}

// HashToken returns what the store keeps of a token.
func HashToken(text string) [32]byte {
	if len(text) > maxTokenBytes {
		return sha256.Sum256([]byte(text))
	}
	var b [maxTokenBytes]byte // on the stack: no allocation per request
	n := copy(b[:], text)
	return sha256.Sum256(b[:n])
}

// Bearer returns the token of an Authorization header's value, or "" when it
// holds none. The scheme's case does not matter (RFC 9110 section 11.1).
func Bearer(authorization string) string {
	const scheme = "Bearer "
	if len(authorization) < len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(authorization[len(scheme):])
}

// A Principal is who an authenticated request comes from. The zero Principal
// may do nothing. It is immutable.
type Principal struct {
	TokenID   string
	AccountID string
	granted   uint8    // bit p: Permission p
	appIDs    []string // empty: every app of the account
}

// Allows reports whether the principal may do p in scope; false is a 403 on the
// wire. It is false when no group of the token grants p, for another account,
// and for an app outside the token's apps. A scope without an AppID stands for
// the whole account, which a token limited to apps does not have, but for
// ReadApps.
func (p Principal) Allows(scope livestream.Scope, want Permission) bool {
	if p.granted&(1<<want) == 0 || p.AccountID == "" || p.AccountID != scope.AccountID {
		return false
	}
	return len(p.appIDs) == 0 || want == ReadApps || slices.Contains(p.appIDs, scope.AppID)
}

// Masked reports whether answers to the principal show "********" in place of
// stream keys: who may only watch must not be able to publish.
func (p Principal) Masked() bool { return p.granted&(1<<Write) == 0 }

// Apps are the apps that the token is limited to; empty: it reaches every app of
// its account. Do not change them.
func (p Principal) Apps() []string { return p.appIDs }

func newPrincipal(t livestream.Token) Principal {
	p := Principal{TokenID: t.ID, AccountID: t.AccountID, appIDs: t.AppIDs}
	for _, group := range t.Scopes {
		for _, g := range grants[group] {
			p.granted |= 1 << g
		}
	}
	return p
}

// A Store is where tokens are kept; livestream.Store is one.
type Store interface {
	// TokenByHash returns livestream.ErrNotFound for an unknown hash.
	TokenByHash(ctx context.Context, hash [32]byte) (livestream.Token, error)
	// TouchTokens notes when tokens, by id, were last used.
	TouchTokens(ctx context.Context, used map[string]time.Time) error
}

const (
	// cacheFor is how long a revoked token may go on working (design section 7).
	cacheFor = time.Second
	// cacheSize bounds the cache at about 1 MB. When more tokens than this are
	// in use within a second, the surplus is looked up each time.
	cacheSize = 4096
)

// An Authenticator turns a token into a Principal. Found tokens are remembered
// for a second, so that a busy client costs one SHA-256 per request; unknown
// ones are not, so that a new token works at once. Safe for concurrent use.
type Authenticator struct {
	Store Store

	mu    sync.RWMutex
	known map[[32]byte]*entry
	used  map[string]time.Time // by token id, since the last write of them: see Run
}

type entry struct {
	principal Principal
	hash      [32]byte
	goodUntil time.Time // monotonic: when to ask the store again
	expiresAt time.Time // wall; zero: never
}

// Authenticate returns who holds the token bearer (its text alone, as Bearer
// returns it). It returns ErrNoToken for "", ErrBadToken for a token that is
// unknown, expired or revoked, and the store's error when it cannot say.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	if bearer == "" {
		return Principal{}, ErrNoToken
	}
	if len(bearer) > maxTokenBytes {
		return Principal{}, ErrBadToken
	}
	hash, now := HashToken(bearer), time.Now()
	a.mu.RLock()
	e := a.known[hash]
	a.mu.RUnlock()
	if e == nil || !now.Before(e.goodUntil) {
		var err error
		if e, err = a.load(ctx, hash, now); err != nil {
			return Principal{}, err
		}
	}
	if subtle.ConstantTimeCompare(e.hash[:], hash[:]) != 1 ||
		(!e.expiresAt.IsZero() && !now.Before(e.expiresAt)) {
		return Principal{}, ErrBadToken
	}
	return e.principal, nil
}

// load asks the store and remembers a token in force.
func (a *Authenticator) load(ctx context.Context, hash [32]byte, now time.Time) (*entry, error) {
	t, err := a.Store.TokenByHash(ctx, hash)
	switch {
	case errors.Is(err, livestream.ErrNotFound):
		return nil, ErrBadToken
	case err != nil:
		return nil, fmt.Errorf("look up API token: %w", err)
	case !t.RevokedAt.IsZero() && !now.Before(t.RevokedAt):
		a.Forget(hash)
		return nil, ErrBadToken
	}
	e := &entry{newPrincipal(t), t.Hash, now.Add(cacheFor), t.ExpiresAt}
	if !t.RevokedAt.IsZero() && t.RevokedAt.Before(e.goodUntil) {
		e.goodUntil = t.RevokedAt // to be revoked within the second
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.InForce(now) {
		a.note(t.ID, now)
	}
	if a.known == nil {
		a.known = map[[32]byte]*entry{}
	}
	if len(a.known) >= cacheSize {
		for h, old := range a.known {
			if !now.Before(old.goodUntil) {
				delete(a.known, h)
			}
		}
	}
	if len(a.known) < cacheSize {
		a.known[hash] = e
	}
	return e, nil
}

// Forget makes the next request with the token of that hash ask the store: who
// has revoked it need not wait a second.
func (a *Authenticator) Forget(hash [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, hash)
}
