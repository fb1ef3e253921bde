// Package playtoken reads, checks and signs the tokens that let viewers of a
// private livestream in: JSON Web Tokens (RFC 7519) in the compact form of JWS
// (RFC 7515), by HS256 or RS256 and nothing else.
//
// It is small on purpose. A key knows the one algorithm that it is for, so a
// token's header chooses nothing but which key is tried (RFC 8725 section 3.1);
// keys that a header carries or points at (jwk, jku, x5c, x5u) are never looked
// at; "crit" is refused (RFC 7515 section 4.1.11: none is understood). There is
// one spelling of a token: base64url without padding, without spaces.
//
// [Parse] takes a token apart, [Token.Verify] checks it against keys and a
// clock, [Sign] makes one, [Keyring] finds an app's keys. No error holds any
// part of a token.
package playtoken

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tally/internal/livestream"
	"tally/internal/secret"
)

const (
	// MaxSize is the longest token that is read, in bytes.
	MaxSize = 4096
	// Leeway is how far the clocks of signer and server may differ where a token
	// is not good yet: nbf and iat. Its exp has none: playback ends when it says.
	Leeway = 10 * time.Second
	// MaxLifetime is the longest time between a token's issue and its end.
	MaxLifetime = livestream.MaxPlayback
	// Audience is what "aud" may name, besides the app's id.
	Audience = "tally"
)

// Algorithms (RFC 7518 section 3.1).
const (
	HS256 = "HS256"
	RS256 = "RS256"
)

// Why a token is refused. The text is what a viewer, or who signed, reads.
var (
	ErrMalformed = errors.New("the token is no JWT: it must be three base64url texts with dots between them, at most 4096 bytes, signed by HS256 or RS256")
	ErrClaims    = errors.New("the token's claims cannot be read: sub, exp, and where there are any iat, nbf, play_until, viewer (at most 128 bytes) and aud must have their types")
	ErrKey       = errors.New("no playback key of this app fits the token: its kid and alg must be those of a key that was not deleted")
	ErrSignature = errors.New("the token's signature is wrong: sign it with a playback key of the livestream's app")
	ErrExpired   = errors.New("the token has expired: ask for a new one")
	ErrNotYet    = errors.New("the token is not good yet: its nbf or iat lies ahead; check the clock of who signed it")
	ErrLifetime  = errors.New("the token lasts too long: exp and play_until must lie within 7 days of iat, and exp within 7 days of now")
	ErrSubject   = errors.New("the token is for another livestream: its sub must be this livestream's id or playback id")
	ErrAudience  = errors.New(`the token is for somebody else: its aud, if any, must hold "tally" or the app's id`)
)

// Claims are what a token says that was checked.
type Claims struct {
	Subject string // livestream id or playback id
	Viewer  string // a name; "" without
	// IssuedAt is iat, or where there is none as early as it can have been:
	// MaxLifetime before Expires.
	IssuedAt time.Time
	Expires  time.Time
	// Until is when playback ends for who was let in: play_until where the token
	// has it and that is later, else Expires.
	Until time.Time
}

// A Token is one that was taken apart and not checked: believe nothing of it but
// which key it asks for.
type Token struct {
	KID       string // "": none is named
	Algorithm string

	signed    []byte // what the signature is over
	signature []byte
	payload   []byte
}

// header is a JOSE header (RFC 7515 section 4).
type header struct {
	Algorithm string          `json:"alg"`
	KID       string          `json:"kid"`
	Type      string          `json:"typ"`
	Critical  json.RawMessage `json:"crit"`
	Zip       json.RawMessage `json:"zip"`
}

var encoding = base64.RawURLEncoding.Strict()

// Parse takes a token apart. ErrMalformed when it is none.
func Parse(text string) (*Token, error) {
	if len(text) > MaxSize || strings.ContainsAny(text, "\r\n") { // which the decoder would leave out
		return nil, ErrMalformed
	}
	head, rest, ok1 := strings.Cut(text, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(signature, ".") {
		return nil, ErrMalformed
	}
	t := &Token{signed: []byte(text[:len(head)+1+len(payload)])}
	rawHead, err1 := encoding.DecodeString(head)
	var err2, err3 error
	t.payload, err2 = encoding.DecodeString(payload)
	t.signature, err3 = encoding.DecodeString(signature)
	var h header
	if err1 != nil || err2 != nil || err3 != nil || unmarshalExact(rawHead, &h, "alg", "kid", "typ", "crit", "zip") != nil {
		return nil, ErrMalformed
	}
	typed := h.Type == "" || strings.EqualFold(h.Type, "JWT") || strings.EqualFold(h.Type, "application/jwt")
	if h.Algorithm != HS256 && h.Algorithm != RS256 || !typed || h.Critical != nil || h.Zip != nil {
		return nil, ErrMalformed
	}
	t.KID, t.Algorithm = h.KID, h.Algorithm
	return t, nil
}

// unmarshal reads one JSON object and nothing behind it.
func unmarshal(data []byte, to any) error {
	if !utf8.Valid(data) || !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return ErrMalformed
	}
	return json.Unmarshal(data, to)
}

// unmarshalExact is unmarshal for names that have one spelling (RFC 7519 section
// 4, RFC 7515 section 4): "EXP" is somebody's own claim and not exp, for which
// encoding/json would take it.
func unmarshalExact(data []byte, to any, names ...string) error {
	var all map[string]json.RawMessage
	if err := unmarshal(data, &all); err != nil {
		return err
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return !slices.Contains(names, name) })
	exact, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return json.Unmarshal(exact, to)
}

// A Key checks signatures of one algorithm. The zero Key checks none.
type Key struct {
	KID       string // "": it fits tokens that name none
	Algorithm string
	secret    secret.String  // of HS256
	public    *rsa.PublicKey // of RS256
}

// Secret is an HS256 key. The bytes of the text are the key.
func Secret(kid string, text secret.String) Key {
	return Key{KID: kid, Algorithm: HS256, secret: text}
}

// fits reports whether the token may be checked with the key at all: its
// algorithm is the key's, whatever the header would like, and if it names a key,
// it is this one.
func (t *Token) fits(k Key) bool {
	return t.Algorithm == k.Algorithm && (t.KID == "" || t.KID == k.KID)
}

// signedBy checks the signature with a key that fits.
func (t *Token) signedBy(k Key) bool {
	switch k.Algorithm {
	case HS256:
		return !k.secret.IsZero() && hmac.Equal(mac(k.secret, t.signed), t.signature)
	case RS256:
		if k.public == nil {
			return false
		}
		sum := sha256.Sum256(t.signed)
		return rsa.VerifyPKCS1v15(k.public, crypto.SHA256, sum[:], t.signature) == nil
	}
	return false
}

func mac(key secret.String, message []byte) []byte {
	m := hmac.New(sha256.New, []byte(key.Reveal()))
	m.Write(message)
	return m.Sum(nil)
}

// maxTried bounds the RSA operations that a token without kid can cost.
const maxTried = 8

// Verify checks signature, times and audience. Whether the token is for the
// livestream in question is [Claims.For]'s to say. now is the server's clock;
// appID is a name that aud may hold.
func (t *Token) Verify(keys []Key, appID string, now time.Time) (Claims, error) {
	tried, good := 0, false
	for _, k := range keys {
		if !t.fits(k) || tried == maxTried {
			continue
		}
		tried++
		if good = t.signedBy(k); good {
			break
		}
	}
	switch {
	case tried == 0:
		return Claims{}, ErrKey
	case !good:
		return Claims{}, ErrSignature
	}
	return t.claims(appID, now)
}

// payload is a JWT claims set, as far as it matters here.
type payload struct {
	Subject   string          `json:"sub"`
	Viewer    *string         `json:"viewer"`
	Audience  json.RawMessage `json:"aud"`
	Expires   *float64        `json:"exp"`
	NotBefore *float64        `json:"nbf"`
	IssuedAt  *float64        `json:"iat"`
	PlayUntil *float64        `json:"play_until"`
}

// claims reads and checks what was signed.
func (t *Token) claims(appID string, now time.Time) (Claims, error) {
	var p payload
	if unmarshalExact(t.payload, &p, "sub", "viewer", "aud", "exp", "nbf", "iat", "play_until") != nil || p.Subject == "" || p.Expires == nil {
		return Claims{}, ErrClaims
	}
	c := Claims{Subject: p.Subject}
	if p.Viewer != nil {
		if c.Viewer = *p.Viewer; len(c.Viewer) > livestream.MaxViewerName {
			return Claims{}, ErrClaims
		}
	}
	var nbf, until time.Time
	for _, d := range []struct {
		from *float64
		to   *time.Time
	}{{p.Expires, &c.Expires}, {p.NotBefore, &nbf}, {p.IssuedAt, &c.IssuedAt}, {p.PlayUntil, &until}} {
		var ok bool
		if *d.to, ok = date(d.from); !ok {
			return Claims{}, ErrClaims
		}
	}
	if p.IssuedAt == nil {
		c.IssuedAt = c.Expires.Add(-MaxLifetime)
	}
	if c.Until = c.Expires; until.After(c.Until) {
		c.Until = until
	}
	if ok, err := audienceHolds(p.Audience, appID); err != nil || !ok {
		return Claims{}, cmpErr(err, ErrAudience)
	}
	return c, c.check(nbf, p.IssuedAt != nil, now)
}

// check compares the times. The lifetime comes first: its fault stays one, also
// when the token has expired.
func (c Claims) check(nbf time.Time, issued bool, now time.Time) error {
	switch {
	case c.Expires.Sub(c.IssuedAt) > MaxLifetime, c.Until.Sub(c.IssuedAt) > MaxLifetime, c.Expires.Sub(now) > MaxLifetime:
		return ErrLifetime
	case !now.Before(c.Expires):
		return ErrExpired
	case nbf.After(now.Add(Leeway)), issued && c.IssuedAt.After(now.Add(Leeway)):
		return ErrNotYet
	}
	return nil
}

// For reports whether the token is for that livestream: ErrSubject when not.
func (c Claims) For(livestreamID, playbackID string) error {
	if c.Subject != livestreamID && c.Subject != playbackID {
		return ErrSubject
	}
	return nil
}

// maxDate is the end of the year 9999 in seconds since 1970.
const maxDate = 253402300799

// date is a NumericDate (RFC 7519 section 2), which may have a fraction, to the
// millisecond; zero where there is none.
func date(seconds *float64) (time.Time, bool) {
	if seconds == nil {
		return time.Time{}, true
	}
	if *seconds < 0 || *seconds > maxDate {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(*seconds * 1000))).UTC(), true
}

// audienceHolds reads aud, a text or a list of such (RFC 7519 section 4.1.3).
// Without one the token is for anybody.
func audienceHolds(raw json.RawMessage, appID string) (bool, error) {
	if raw == nil {
		return true, nil
	}
	var one string
	var list []string
	if json.Unmarshal(raw, &one) == nil {
		list = []string{one}
	} else if json.Unmarshal(raw, &list) != nil {
		return false, ErrClaims
	}
	for _, name := range list {
		if name == Audience || name == appID && appID != "" {
			return true, nil
		}
	}
	return false, nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// A Grant is what Sign writes into a token.
type Grant struct {
	Subject   string
	Viewer    string    // "": none
	IssuedAt  time.Time // to the millisecond
	Expires   time.Time // to the second, rounded down
	PlayUntil time.Time // to the second, rounded down; zero: none
}

// Sign makes a token by HS256 with a key that has a secret.
func Sign(k Key, g Grant) secret.String {
	head, _ := json.Marshal(struct { // texts always marshal
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KID       string `json:"kid,omitempty"`
	}{HS256, "JWT", k.KID})
	var until *int64
	if !g.PlayUntil.IsZero() {
		s := g.PlayUntil.Unix()
		until = &s
	}
	body, _ := json.Marshal(struct {
		Subject   string  `json:"sub"`
		Viewer    string  `json:"viewer,omitempty"`
		IssuedAt  float64 `json:"iat"`
		Expires   int64   `json:"exp"`
		PlayUntil *int64  `json:"play_until,omitempty"`
	}{g.Subject, g.Viewer, float64(g.IssuedAt.UnixMilli()) / 1000, g.Expires.Unix(), until})
	text := encoding.EncodeToString(head) + "." + encoding.EncodeToString(body)
	return secret.New(text + "." + encoding.EncodeToString(mac(k.secret, []byte(text))))
}
