package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tally/internal/api/input"
	"tally/internal/livestream"
	"tally/internal/playtoken"
	"tally/internal/secret"
	"tally/internal/viewer"
)

// Private playback is ours (docs/private-playback.md): keys of an app, tokens
// and revocations of a livestream.
const (
	playbackKeysPath = appPath + "/playback-keys"
	revocationsPath  = appPath + "/livestreams/{livestream_id}/playback-revocations"
)

// defaultTokenFor is how long a playback token is good that was not told.
const defaultTokenFor = time.Hour

// PlaybackKeys is what checks playback tokens, as far as the API has to do with
// it.
type PlaybackKeys interface {
	// CheckJWKS returns why the keys at an address cannot be used.
	CheckJWKS(ctx context.Context, u *url.URL) error
	// Forget is called when the keys of an app have changed.
	Forget(s livestream.Scope)
}

// playbackKey is a key as it is known: its secret is in createdPlaybackKey alone.
type playbackKey struct {
	ID        string  `json:"id"`
	KID       *string `json:"kid"` // null: the keys of a JWKS have names of their own
	Name      string  `json:"name"`
	Algorithm string  `json:"algorithm"`
	PublicKey *string `json:"public_key"`
	JWKSURL   *string `json:"jwks_url"`
	Managed   bool    `json:"managed"` // made by the server, for what it signs itself
	CreatedAt stamp   `json:"created_at"`
}

type createdPlaybackKey struct {
	playbackKey
	Secret *string `json:"secret"` // null for RS256
}

func playbackKeyOf(k livestream.PlaybackKey) playbackKey {
	return playbackKey{
		ID: k.ID, KID: orNull(k.KID, k.KID != ""), Name: k.Name, Algorithm: k.Algorithm,
		PublicKey: orNull(k.Public, k.Public != ""), JWKSURL: orNull(k.URL, k.URL != ""), Managed: k.Managed, CreatedAt: stamp(k.CreatedAt),
	}
}

// newPlaybackSecret is an HS256 key: 44 base62 characters, 261 random bits, behind
// a prefix by which secret scanners can find it. Its text is the key, so that
// every JWT library and openssl take it as it is.
func newPlaybackSecret() secret.String {
	return secret.New("tally_pk_" + livestream.RandomText(44))
}

func listPlaybackKeys(s *server, w http.ResponseWriter, rq *request) error {
	all, err := s.Store.PlaybackKeys(rq.Context(), rq.Scope)
	if err != nil {
		return err
	}
	items := make([]playbackKey, len(all))
	for i, k := range all {
		items[i] = playbackKeyOf(k)
	}
	return s.reply(w, http.StatusOK, items, nil)
}

// createPlaybackKey makes a secret, or takes public keys. The secret is in this
// answer, and in one to its retry, alone.
func createPlaybackKey(s *server, w http.ResponseWriter, rq *request) error {
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	k := livestream.PlaybackKey{Scope: rq.Scope, ID: livestream.NewUUID(), CreatedAt: s.Now()}
	k.Name, _ = body.Text("name")
	var ok bool
	if k.Algorithm, ok = body.Choice("algorithm", playtoken.HS256, playtoken.RS256); !ok && !body.Has("algorithm") {
		body.Fault("algorithm", "is needed: HS256 for a secret that is made here, RS256 for public keys of yours")
	}
	k.KID, _ = body.Text("kid")
	switch k.Algorithm {
	case playtoken.HS256:
		k.Secret = newPlaybackSecret()
		for _, name := range []string{"public_key", "jwks_url"} {
			if body.Raw(name) != nil {
				body.Fault(name, "goes with algorithm RS256; an HS256 key is made here")
			}
		}
	case playtoken.RS256:
		s.readPublic(rq, body, &k)
	}
	if k.KID == "" && k.URL == "" && !isSet(k.Public) {
		k.KID = k.ID
	}
	if err := body.Err(); err != nil {
		return err
	}
	err = s.Store.CreatePlaybackKey(rq.Context(), k)
	if errors.Is(err, livestream.ErrExists) {
		body.Fault("kid", "is that of another key of the app")
		return body.Err()
	}
	if err != nil {
		return err
	}
	s.playbackKeysChanged(rq.Scope)
	return s.replyPlaybackKey(w, k)
}

func (s *server) replyPlaybackKey(w http.ResponseWriter, k livestream.PlaybackKey) error {
	return s.reply(w, http.StatusCreated, createdPlaybackKey{playbackKeyOf(k), orNull(k.Secret.Reveal(), !k.Secret.IsZero())}, nil)
}

// createdPlaybackKeyAgain answers a retried create, whose client never saw the
// secret.
func createdPlaybackKeyAgain(s *server, w http.ResponseWriter, rq *request, id string) error {
	all, err := s.Store.PlaybackKeys(rq.Context(), rq.Scope)
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.ID == id {
			return s.replyPlaybackKey(w, k)
		}
	}
	return livestream.ErrNotFound
}

// readPublic reads the public keys of an RS256 key: PEM or JSON as a text, a JWK
// or JWKS as an object, or where a JWKS is.
func (s *server) readPublic(rq *request, body input.Object, k *livestream.PlaybackKey) {
	raw := body.Raw("public_key")
	if given := body.Raw("jwks_url") != nil; given == (raw != nil) {
		body.Fault("public_key", "or jwks_url is needed, and not both")
	}
	if raw != nil {
		readPublicKey(body, raw, k)
	}
	if u, text := body.URL("jwks_url"); u != nil && body.Err() == nil {
		k.URL = text
		if s.PlaybackKeys == nil {
			body.Fault("jwks_url", "cannot be used: this server fetches no keys")
		} else if err := s.PlaybackKeys.CheckJWKS(rq.Context(), u); err != nil {
			body.Fault("jwks_url", "cannot be used: %s", err)
		}
	}
	if k.KID != "" && (k.URL != "" || isSet(k.Public)) {
		body.Fault("kid", "is for a single key: those of a JWKS have their own")
	}
}

// readPublicKey reads keys that the body holds. A JWK may name itself.
func readPublicKey(body input.Object, raw json.RawMessage, k *livestream.PlaybackKey) {
	if json.Unmarshal(raw, &k.Public) != nil {
		k.Public = string(raw)
	}
	k.Public = strings.TrimSpace(k.Public)
	keys, err := playtoken.Public(k.KID, k.Public)
	if err != nil {
		body.Fault("public_key", "cannot be used: %s", err)
		return
	}
	if !isSet(k.Public) {
		k.KID = keys[0].KID
	}
}

// isSet reports whether a text that playtoken.Public took is a JWKS: its keys have
// names of their own.
func isSet(public string) bool {
	var doc struct{ Keys []json.RawMessage }
	return strings.HasPrefix(public, "{") && json.Unmarshal([]byte(public), &doc) == nil && doc.Keys != nil
}

func (s *server) playbackKeysChanged(scope livestream.Scope) {
	if s.PlaybackKeys != nil {
		s.PlaybackKeys.Forget(scope)
	}
}

// deletePlaybackKey makes its tokens worthless for who comes now; who was let in
// by one goes on: see revokePlayback.
func deletePlaybackKey(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("key_id")
	k, err := s.Store.DeletePlaybackKey(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "playback key", id)
	}
	s.playbackKeysChanged(rq.Scope)
	return s.reply(w, http.StatusOK, playbackKeyOf(k), nil)
}

// signedToken is a playback token and what to do with it.
type signedToken struct {
	Token       string                    `json:"token"`
	KID         string                    `json:"kid"`
	PlaybackURL string                    `json:"playback_url"`
	WatchURL    string                    `json:"watch_url"`
	Viewer      *string                   `json:"viewer"`
	ExpiresAt   stamp                     `json:"expires_at"`
	PlayUntil   stamp                     `json:"play_until"`
	Policy      livestream.PlaybackPolicy `json:"playback_policy"` // public: the token is not needed
}

// createPlaybackToken signs a token for one livestream.
func createPlaybackToken(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	most := int(livestream.MaxPlayback / time.Second)
	now := s.Now()
	g := playtoken.Grant{Subject: id, IssuedAt: now, Viewer: viewerName(body)}
	g.Expires = now.Add(time.Duration(body.Whole("expires_in", 1, most, int(defaultTokenFor/time.Second))) * time.Second)
	until := g.Expires
	if body.Has("play_for") {
		until = now.Add(time.Duration(body.Whole("play_for", 1, most, 0)) * time.Second)
		if body.Err() == nil && until.Before(g.Expires) {
			body.Fault("play_for", "must not be less than expires_in: who is let in at the last moment plays at least until then")
		}
		g.PlayUntil = until
	}
	for _, name := range body.Names() { // a misspelt limit would let somebody in for longer than was meant
		if name != "expires_in" && name != "play_for" && name != "viewer" {
			body.Fault(name, "is no member of a playback token: it has expires_in, play_for and viewer")
		}
	}
	if err := body.Err(); err != nil {
		return err
	}
	k, err := s.signingKey(rq)
	if err != nil {
		return err
	}
	token := playtoken.Sign(playtoken.Secret(k.KID, k.Secret), g).Reveal()
	l, at := rec.Livestream, s.origin(rq.Request)
	return s.reply(w, http.StatusCreated, signedToken{
		Token: token, KID: k.KID, PlaybackURL: at.playbackURL(l.PlaybackID) + "?token=" + token,
		WatchURL: at.public + "/watch/" + l.PlaybackID + "?token=" + token, Viewer: orNull(g.Viewer, g.Viewer != ""),
		ExpiresAt: stamp(g.Expires.Truncate(time.Second)), PlayUntil: stamp(until.Truncate(time.Second)),
		Policy: cmp.Or(l.Settings.Playback, livestream.PlaybackPublic),
	}, nil)
}

// viewerName reads a viewer's name; "" when there is none.
func viewerName(body input.Object) string {
	name, has := body.Text("viewer")
	switch {
	case has && name == "":
		body.Fault("viewer", "must not be empty")
	case len(name) > livestream.MaxViewerName:
		body.Fault("viewer", "has %d bytes, the limit is %d", len(name), livestream.MaxViewerName)
	}
	return name
}

// signingKey is the secret that the API signs with: the app's managed one, made
// when it is asked for first; where there is no room for it, the newest one.
func (s *server) signingKey(rq *request) (livestream.PlaybackKey, error) {
	fresh := livestream.PlaybackKey{Scope: rq.Scope, ID: livestream.NewUUID(), Name: "signs what the API is asked for",
		Algorithm: playtoken.HS256, Secret: newPlaybackSecret(), Managed: true, CreatedAt: s.Now()}
	fresh.KID = fresh.ID
	for {
		all, err := s.Store.PlaybackKeys(rq.Context(), rq.Scope)
		if err != nil {
			return livestream.PlaybackKey{}, err
		}
		var newest *livestream.PlaybackKey
		for i, k := range all {
			if k.Managed {
				return k, nil
			}
			if k.Algorithm == playtoken.HS256 && newest == nil {
				newest = &all[i]
			}
		}
		switch err := s.Store.CreatePlaybackKey(rq.Context(), fresh); {
		case err == nil:
			s.playbackKeysChanged(rq.Scope)
			return fresh, nil
		case errors.Is(err, livestream.ErrManyPlaybackKeys) && newest != nil:
			return *newest, nil
		case !errors.Is(err, livestream.ErrExists): // else another request was faster
			return livestream.PlaybackKey{}, err
		}
	}
}

// revocation says what was taken back.
type revocation struct {
	Kind      livestream.RevocationKind `json:"kind"`      // all, name, viewer
	Viewer    *string                   `json:"viewer"`    // of kind name
	ViewerID  *string                   `json:"viewer_id"` // of kind viewer: as audits show it
	At        stamp                     `json:"at"`
	ExpiresAt stamp                     `json:"expires_at"`
}

func revocationOf(r livestream.Revocation) revocation {
	return revocation{
		Kind: r.Kind, Viewer: orNull(r.Subject, r.Kind == livestream.RevokeName),
		ViewerID: orNull(r.Subject, r.Kind == livestream.RevokeViewer), At: stamp(r.At), ExpiresAt: stamp(r.ExpiresAt),
	}
}

// revokePlayback takes back what a name, one viewer id, or everybody was allowed
// up to now.
func revokePlayback(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	r := livestream.Revocation{LivestreamID: id, At: s.Now().Truncate(time.Millisecond)}
	r.ExpiresAt = r.At.Add(livestream.MaxPlayback)
	r.Kind, r.Subject = revocationSubject(body)
	if err := body.Err(); err != nil {
		return err
	}
	if !rec.Livestream.Settings.Signed() {
		return tell(livestream.ErrNotPrivate, `BAD_REQUEST: this livestream is public, so whoever is revoked could come back at once: set "tally": {"playback_policy": "signed"} first`)
	}
	if err := s.Store.Revoke(rq.Context(), r); err != nil {
		return orMissing(err, "livestream", id)
	}
	return s.reply(w, http.StatusCreated, revocationOf(r), nil)
}

// revocationSubject reads whom a revocation is about: exactly one.
func revocationSubject(body input.Object) (kind livestream.RevocationKind, subject string) {
	var given []string
	if name := viewerName(body); body.Raw("viewer") != nil {
		kind, subject, given = livestream.RevokeName, name, append(given, "viewer")
	}
	if text, has := body.Text("viewer_id"); has {
		random, ok := viewer.ReadRandom(text)
		if !ok {
			body.Fault("viewer_id", "is no viewer id: it is 16 hex digits, as audits show it, or what stands in a viewer's media URLs")
		}
		kind, subject, given = livestream.RevokeViewer, random, append(given, "viewer_id")
	}
	if body.Flag("all", true) {
		kind, subject, given = livestream.RevokeAll, "", append(given, "all")
	}
	switch len(given) {
	case 0:
		given = []string{"viewer", "viewer_id", "all"}
		fallthrough
	case 2, 3:
		for _, name := range given {
			body.Fault(name, `is one of viewer, viewer_id and "all": true: give one of them, and one alone`)
		}
	}
	return kind, subject
}

func listRevocations(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	if _, err := s.Store.RecordByID(rq.Context(), rq.Scope, id); err != nil {
		return orMissing(err, "livestream", id)
	}
	all, err := s.Store.Revocations(rq.Context(), id, s.Now())
	if err != nil {
		return err
	}
	items := make([]revocation, len(all))
	for i, r := range all {
		items[i] = revocationOf(r)
	}
	return s.reply(w, http.StatusOK, items, nil)
}
