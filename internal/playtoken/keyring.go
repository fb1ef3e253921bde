package playtoken

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"tally/internal/livestream"
)

const (
	// cacheFor is how long a key that was deleted may go on being good, and a
	// new one unknown (design section 7: revoked within a second).
	cacheFor = time.Second
	// cachedApps bounds what is remembered: an app's keys are some KB.
	cachedApps = 1024

	// setFor is how long a JWKS from a URL is used before it is asked for again:
	// so long a key that was taken out of it may go on being good.
	setFor = 5 * time.Minute
	// setStale is how long it is used while it cannot be fetched.
	setStale = 24 * time.Hour
	// setAgain is the least time between two fetches of a URL, whatever tokens
	// ask for: a kid that nobody knows costs its sender nothing.
	setAgain = 30 * time.Second
	// FetchTimeout bounds one fetch.
	FetchTimeout = 5 * time.Second
	// maxSets bounds how many URLs are remembered.
	maxSets = 1024
)

// ErrUnavailable: a JWKS was asked for and did not come. The token may be good.
var ErrUnavailable = errors.New("the keys that the token is to be checked with cannot be fetched now: try again in a moment")

// Keys is where an app's keys are looked up. livestream.Store is one.
type Keys interface {
	PlaybackKeys(ctx context.Context, s livestream.Scope) ([]livestream.PlaybackKey, error)
}

// A Keyring checks tokens with the keys of their apps. Store and Client are
// required. It may be used concurrently.
type Keyring struct {
	Store  Keys
	Client *http.Client // fetches what users named: guard its addresses, follow no redirect
	Log    *slog.Logger // nil: slog.Default

	mu   sync.Mutex // guards what follows
	apps map[livestream.Scope]*appKeys
	sets map[string]*keySet // by URL
}

// appKeys are the keys of an app as they were a moment ago.
type appKeys struct {
	keys      []Key
	urls      []string
	goodUntil time.Time
}

// Verify checks a token of an app's viewers: the errors of this package, or the
// store's. The caller compares what it is for ([Claims.For]).
func (r *Keyring) Verify(ctx context.Context, s livestream.Scope, text string, now time.Time) (Claims, error) {
	t, err := Parse(text)
	if err != nil {
		return Claims{}, err
	}
	app, err := r.app(ctx, s)
	if err != nil {
		return Claims{}, err
	}
	keys, absent := app.keys, error(nil)
	if t.Algorithm == RS256 && !t.known(keys) {
		for _, url := range app.urls {
			more, err := r.set(url).find(ctx, r, url, t)
			if err != nil {
				absent = err // another set may have the key
			}
			keys = append(keys[:len(keys):len(keys)], more...)
		}
	}
	c, err := t.Verify(keys, s.AppID, now)
	if absent != nil && (errors.Is(err, ErrKey) || errors.Is(err, ErrSignature)) {
		err = absent
	}
	return c, err
}

// known reports whether one of the keys is the one that the token names.
func (t *Token) known(keys []Key) bool {
	for _, k := range keys {
		if t.KID != "" && t.fits(k) {
			return true
		}
	}
	return false
}

// app returns the keys of an app, up to cacheFor old.
func (r *Keyring) app(ctx context.Context, s livestream.Scope) (*appKeys, error) {
	now := time.Now()
	r.mu.Lock()
	a := r.apps[s]
	r.mu.Unlock()
	if a != nil && now.Before(a.goodUntil) {
		return a, nil
	}
	stored, err := r.Store.PlaybackKeys(ctx, s)
	if err != nil {
		return nil, err
	}
	a = &appKeys{goodUntil: now.Add(cacheFor)}
	for _, k := range stored {
		switch {
		case k.URL != "":
			a.urls = append(a.urls, k.URL)
		case k.Algorithm == HS256:
			a.keys = append(a.keys, Secret(k.KID, k.Secret))
		default:
			keys, err := Public(k.KID, k.Public) // was checked when it was stored
			if err != nil {
				r.log().Error("a stored playback key cannot be read", "key", k.ID, "err", err)
			}
			a.keys = append(a.keys, keys...)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.apps == nil || len(r.apps) >= cachedApps {
		r.apps = map[livestream.Scope]*appKeys{}
	}
	r.apps[s] = a
	return a, nil
}

// Forget makes the next token of that app ask the store: its keys have changed.
func (r *Keyring) Forget(s livestream.Scope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.apps, s)
}

// Fetch reads the JWKS at a URL: for whoever adds one, to learn at once that it
// cannot be used. It is not remembered.
func (r *Keyring) Fetch(ctx context.Context, url string) ([]Key, error) {
	ctx, cancel := context.WithTimeout(ctx, FetchTimeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Accept", "application/json, application/jwk-set+json")
	q.Header.Set("User-Agent", "Tally")
	a, err := r.Client.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it was answered %s instead of 200", a.Status)
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, MaxKeyText+1))
	if err != nil {
		return nil, err
	}
	return fromJSONSet(body)
}

func fromJSONSet(body []byte) ([]Key, error) {
	if len(body) > MaxKeyText {
		return nil, fmt.Errorf("more than %d bytes: %w", MaxKeyText, ErrPublic)
	}
	return fromJSON("", body)
}

func (r *Keyring) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.Default()
}

// set returns what is remembered of a URL. When too many are, all are forgotten.
func (r *Keyring) set(url string) *keySet {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := r.sets[url]
	if set == nil {
		if r.sets == nil || len(r.sets) >= maxSets {
			r.sets = map[string]*keySet{}
		}
		set = &keySet{turn: make(chan struct{}, 1)}
		r.sets[url] = set
	}
	return set
}

// A keySet is a JWKS that was fetched.
type keySet struct {
	turn chan struct{} // holds one while somebody looks; guards what follows

	keys    []Key
	fetched time.Time // zero: never
	tried   time.Time
}

// find returns the set's keys, fetched if they are old or lack the one that the
// token names. Whoever comes meanwhile waits, for as long as its ctx lasts.
func (s *keySet) find(ctx context.Context, r *Keyring, url string, t *Token) ([]Key, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	now := time.Now()
	fresh := !s.fetched.IsZero() && now.Sub(s.fetched) < setFor
	known := t.known(s.keys) || t.KID == "" && len(s.keys) > 0
	if (!fresh || !known) && (s.tried.IsZero() || now.Sub(s.tried) >= setAgain) {
		s.tried = now
		// Not with ctx alone: who asked may leave, and others wait for the answer.
		keys, err := r.Fetch(context.WithoutCancel(ctx), url)
		if err != nil {
			r.log().Warn("a JWKS for playback tokens cannot be fetched", "url", url, "err", err)
		} else {
			s.keys, s.fetched = keys, now
		}
	}
	if s.fetched.IsZero() || now.Sub(s.fetched) > setStale {
		return nil, ErrUnavailable
	}
	return s.keys, nil
}
