package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An issuer signs tokens and publishes its key, on a loopback address by plain HTTP.
type issuer struct {
	key   *rsa.PrivateKey
	kid   string
	srv   *httptest.Server
	asked atomic.Int64
}

func newIssuer(t *testing.T, kid string) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	fatal(t, err)
	i := &issuer{key: key, kid: kid}
	i.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","alg":"RS256","use":"sig","kid":%q,"n":%q,"e":%q}]}`, i.kid,
			base64.RawURLEncoding.EncodeToString(key.N.Bytes()), base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()))
	}))
	t.Cleanup(i.srv.Close)
	return i
}

// sign makes a token that is good for a minute.
func (i *issuer) sign(t *testing.T, kid, livestream string) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		fatal(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now()
	text := part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": kid}) + "." +
		part(map[string]any{"sub": livestream, "viewer": "alice", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, sum[:])
	fatal(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestJWKS: with --jwks-allow a server takes the keys of an issuer on a loopback
// address, and plays for who has its tokens; without, it does not go there.
func TestJWKS(t *testing.T) {
	own, other := newIssuer(t, "own"), newIssuer(t, "own")
	key := func(h *house) (int, string) {
		return h.send("POST", h.plainURL()+h.api+"/playback-keys", fmt.Sprintf(`{"name":"idp","algorithm":"RS256","jwks_url":%q}`, own.srv.URL))
	}
	careful := openHouse(t, nil)
	if code, text := key(careful); code != 400 || !strings.Contains(text, "--jwks-allow 127.0.0.1/32") || own.asked.Load() != 0 {
		t.Errorf("without --jwks-allow: %d %s, and the issuer was asked %d times", code, text, own.asked.Load())
	}

	h := openHouse(t, func(f *serverFlags) { f.JWKSAllow = []string{"127.0.0.1/32"} })
	if code, text := key(h); code != 201 {
		t.Fatalf("with --jwks-allow: %d %s", code, text)
	}
	l := h.create(h.plainURL())
	h.air(l)
	if code, text := h.send("PATCH", h.plainURL()+h.api+"/livestreams/"+l.ID, `{"tally":{"playback_policy":"signed"}}`); code != 200 {
		t.Fatalf("PATCH: %d %s", code, text)
	}
	fatal(t, until(func() error {
		if resp, text := h.ask("GET", l.PlaybackURL); resp.StatusCode != 403 {
			return fmt.Errorf("private, and without a token: %d %s", resp.StatusCode, text)
		}
		return nil
	}))
	for name, c := range map[string]struct {
		token string
		code  int
	}{
		"its token":                   {own.sign(t, "own", l.ID), 200},
		"of another livestream":       {own.sign(t, "own", "5c1c2d3e-0000-4000-8000-000000000000"), 403},
		"of an issuer of that name":   {other.sign(t, "own", l.ID), 403},
		"of a key that is nowhere":    {own.sign(t, "nowhere", l.ID), 403},
		"with another livestream put": {splice(own.sign(t, "own", l.ID), own.sign(t, "own", "x")), 403},
	} {
		resp, text := h.ask("GET", l.PlaybackURL+"?token="+c.token)
		if resp.StatusCode != c.code || c.code == 200 && !strings.Contains(text, "#EXT-X-STREAM-INF") {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, text, c.code)
		}
	}
	if n := own.asked.Load(); n == 0 || n > 3 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// splice is a with the signature of b.
func splice(a, b string) string {
	return a[:strings.LastIndexByte(a, '.')] + b[strings.LastIndexByte(b, '.'):]
}
