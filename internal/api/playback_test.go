package api_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/livestream"
	"tally/internal/playtoken"
	"tally/internal/secret"
	"tally/internal/viewer"
)

// jwks fetches nothing: it knows one address.
type jwks struct{ forgotten []livestream.Scope }

func (k *jwks) CheckJWKS(_ context.Context, u *url.URL) error {
	if u.String() != "https://idp.example.org/jwks.json" {
		return errors.New("it was answered 404 Not Found instead of 200")
	}
	return nil
}

func (k *jwks) Forget(s livestream.Scope) { k.forgotten = append(k.forgotten, s) }

func publicPEM(t *testing.T) string {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// A key is what the answers of playback keys hold.
type key struct {
	ID, Name, Algorithm string
	KID, Secret         *string
	PublicKey           *string `json:"public_key"`
	JWKSURL             *string `json:"jwks_url"`
	Managed             bool
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestPlaybackKeys(t *testing.T) {
	w := newWorld(t)
	fetcher := &jwks{}
	w.cfg.PlaybackKeys = fetcher
	w.h = api.New(w.cfg)
	text := publicPEM(t)
	var made []string
	for _, c := range []struct {
		name, body string
		kid        string // "": null; "id": its id
	}{
		{"a secret", `{"name":"website","algorithm":"HS256"}`, "id"},
		{"a secret with a name in tokens", `{"algorithm":"HS256","kid":"web-1"}`, "web-1"},
		{"PEM", `{"algorithm":"RS256","public_key":` + quoted(text) + `}`, "id"},
		{"a JWKS by address", `{"algorithm":"RS256","jwks_url":"https://idp.example.org/jwks.json"}`, ""},
	} {
		rec := w.call("POST", base+"/playback-keys", c.body)
		if rec.Code != 201 {
			t.Fatalf("%s: %d %s", c.name, rec.Code, rec.Body)
		}
		k := data[key](t, rec)
		want := map[string]string{"id": k.ID}[c.kid]
		if want == "" {
			want = c.kid
		}
		if (k.KID == nil) != (want == "") || k.KID != nil && *k.KID != want {
			t.Errorf("%s: kid is %v, want %q", c.name, k.KID, want)
		}
		if hs := k.Algorithm == playtoken.HS256; hs != (k.Secret != nil) || hs && len(*k.Secret) < 44 {
			t.Errorf("%s: secret %v", c.name, k.Secret)
		}
		made = append([]string{k.ID}, made...)
		w.now = w.now.Add(time.Second)
	}
	rec := w.call("GET", base+"/playback-keys", "")
	var listed []string
	for _, k := range data[[]key](t, rec) {
		listed = append(listed, k.ID)
	}
	if !slices.Equal(listed, made) || strings.Contains(rec.Body.String(), "tally_pk_") {
		t.Errorf("listed %v, want %v: %s", listed, made, rec.Body)
	}
	if rec := w.call("DELETE", base+"/playback-keys/"+made[0], ""); rec.Code != 200 {
		t.Errorf("delete: %d", rec.Code)
	}
	if rec := w.call("DELETE", base+"/playback-keys/"+made[0], ""); rec.Code != 404 {
		t.Errorf("delete again: %d", rec.Code)
	}
	if len(fetcher.forgotten) != 5 || fetcher.forgotten[0] != w.scope {
		t.Errorf("told of %v", fetcher.forgotten)
	}

	small, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)}))
	weak := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&small.PublicKey)}))
	for _, c := range []struct{ name, body, says string }{
		{"no algorithm", `{}`, "is needed"},
		{"another algorithm", `{"algorithm":"none"}`, "HS256 or RS256"},
		{"public key with a secret", `{"algorithm":"HS256","public_key":"x"}`, "goes with algorithm RS256"},
		{"nothing to check with", `{"algorithm":"RS256"}`, "not both"},
		{"both", `{"algorithm":"RS256","public_key":"x","jwks_url":"https://idp.example.org/jwks.json"}`, "not both"},
		{"private key", `{"algorithm":"RS256","public_key":` + quoted(private) + `}`, "private key"},
		{"weak key", `{"algorithm":"RS256","public_key":` + quoted(weak) + `}`, "1024 bits"},
		{"symmetric JWK", `{"algorithm":"RS256","public_key":{"kty":"oct","k":"AAAA"}}`, "secret key"},
		{"unreachable JWKS", `{"algorithm":"RS256","jwks_url":"https://idp.example.org/other"}`, "404"},
		{"kid of another", `{"algorithm":"HS256","kid":"web-1"}`, "another key"},
	} {
		if rec := w.call("POST", base+"/playback-keys", c.body); rec.Code != 400 || !strings.Contains(rec.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.name, rec.Code, rec.Body)
		}
	}
}

// TestPlaybackTokens: what the API signs, its own keys check.
func TestPlaybackTokens(t *testing.T) {
	w := newWorld(t)
	l := w.create("private")
	type signed struct {
		Token, KID  string
		Viewer      *string
		PlaybackURL string    `json:"playback_url"`
		WatchURL    string    `json:"watch_url"`
		ExpiresAt   time.Time `json:"expires_at"`
		PlayUntil   time.Time `json:"play_until"`
		Policy      string    `json:"playback_policy"`
	}
	ring := &playtoken.Keyring{Store: w.store}
	for _, c := range []struct {
		body, viewer string
		expires      time.Duration
		until        time.Duration
	}{
		{"", "", time.Hour, time.Hour},
		{`{"viewer":"alice","expires_in":60}`, "alice", time.Minute, time.Minute},
		{`{"viewer":null,"expires_in":60,"play_for":7200}`, "", time.Minute, 2 * time.Hour},
		{`{"expires_in":604800}`, "", 7 * 24 * time.Hour, 7 * 24 * time.Hour},
	} {
		rec := w.call("POST", base+"/livestreams/"+l.ID+"/playback-tokens", c.body)
		s := data[signed](t, rec)
		claims, err := ring.Verify(t.Context(), w.scope, s.Token, w.now)
		must(t, err)
		must(t, claims.For(l.ID, ""))
		whole := w.now.Truncate(time.Second)
		if claims.Viewer != c.viewer || !claims.Expires.Equal(whole.Add(c.expires)) || !claims.Until.Equal(whole.Add(c.until)) || !claims.IssuedAt.Equal(w.now) {
			t.Errorf("%s: claims are %+v", c.body, claims)
		}
		if !s.ExpiresAt.Equal(claims.Expires) || !s.PlayUntil.Equal(claims.Until) || s.Policy != "public" ||
			s.PlaybackURL != "https://live.example.org/hls/"+l.PlaybackID+"/index.m3u8?token="+s.Token ||
			s.WatchURL != "https://live.example.org/watch/"+l.PlaybackID+"?token="+s.Token {
			t.Errorf("%s: answer %+v", c.body, s)
		}
	}
	if all := data[[]key](t, w.call("GET", base+"/playback-keys", "")); len(all) != 1 || !all[0].Managed {
		t.Errorf("keys are %+v, want one that the server made", all)
	}
	for _, bad := range []string{`{"expires_in":0}`, `{"expires_in":604801}`, `{"viewer":""}`, `{"viewer":"` + strings.Repeat("é", 65) + `"}`,
		`{"expires_in":60,"play_for":59}`, `{"play_for":0}`, `{"expires":60}`, `{"name":"alice"}`} {
		if rec := w.call("POST", base+"/livestreams/"+l.ID+"/playback-tokens", bad); rec.Code != 400 {
			t.Errorf("%s: %d", bad, rec.Code)
		}
	}
	if rec := w.call("POST", base+"/livestreams/"+livestream.NewUUID()+"/playback-tokens", ""); rec.Code != 404 {
		t.Errorf("unknown livestream: %d", rec.Code)
	}
}

// TestPlaybackTokensWithoutRoom: an app that has no room for the server's own key
// is served with its newest secret.
func TestPlaybackTokensWithoutRoom(t *testing.T) {
	w := newWorld(t)
	l := w.create("private")
	for i := range livestream.MaxPlaybackKeys {
		k := livestream.PlaybackKey{Scope: w.scope, ID: livestream.NewUUID(), Algorithm: playtoken.HS256, Secret: secret.New("s"), CreatedAt: w.now}
		if k.KID = k.ID; i == 0 {
			k.KID = "oldest"
		}
		w.now = w.now.Add(time.Second)
		must(t, w.store.CreatePlaybackKey(t.Context(), k))
	}
	s := data[struct{ KID string }](t, w.call("POST", base+"/livestreams/"+l.ID+"/playback-tokens", ""))
	if all := data[[]key](t, w.call("GET", base+"/playback-keys", "")); *all[0].KID != s.KID {
		t.Errorf("signed with %s, the newest is %s", s.KID, *all[0].KID)
	}
	if rec := w.call("POST", base+"/playback-keys", `{"algorithm":"HS256"}`); rec.Code != 400 || !strings.Contains(rec.Body.String(), "delete one first") {
		t.Errorf("one more: %d %s", rec.Code, rec.Body)
	}
}

func TestPlaybackRevocations(t *testing.T) {
	w := newWorld(t)
	l := w.create("private")
	path := base + "/livestreams/" + l.ID + "/playback-revocations"
	if rec := w.call("POST", path, `{"all":true}`); rec.Code != 400 || !strings.Contains(rec.Body.String(), "is public") {
		t.Errorf("of a public one: %d %s", rec.Code, rec.Body)
	}
	rec := w.call("PATCH", base+"/livestreams/"+l.ID+"?include=tally", `{"tally":{"playback_policy":"signed","allowed_origins":["https://Example.org:443/","https://*.example.org","http://[::1]:3000"]}}`)
	if !strings.Contains(rec.Body.String(), `"playback_policy":"signed","allowed_origins":["https://example.org","https://*.example.org","http://[::1]:3000"]`) {
		t.Errorf("set: %d %s", rec.Code, rec.Body)
	}
	signer, err := viewer.NewSigner(make([]byte, viewer.SecretSize))
	must(t, err)
	id := string(signer.AppendMintGranted(nil, l.PlaybackID, false, w.now, viewer.Grant{}))
	verified, _ := signer.Verify(l.PlaybackID, id)
	type revoked struct {
		Kind     string
		Viewer   *string
		ViewerID *string   `json:"viewer_id"`
		At       time.Time `json:"at"`
	}
	for _, c := range []struct{ body, kind, viewer, viewerID string }{
		{`{"viewer":"alice"}`, "name", "alice", ""},
		{`{"viewer_id":"` + id + `"}`, "viewer", "", verified.RandomHex()},
		{`{"viewer_id":"0123456789abcdef"}`, "viewer", "", "0123456789abcdef"},
		{`{"all":true}`, "all", "", ""},
	} {
		rec := w.call("POST", path, c.body)
		r := data[revoked](t, rec)
		if rec.Code != 201 || r.Kind != c.kind || (c.viewer != "") != (r.Viewer != nil) || (c.viewerID != "") != (r.ViewerID != nil) ||
			r.ViewerID != nil && *r.ViewerID != c.viewerID || !r.At.Equal(w.now) {
			t.Errorf("%s: %d %s", c.body, rec.Code, rec.Body)
		}
	}
	if all := data[[]revoked](t, w.call("GET", path, "")); len(all) != 1 || all[0].Kind != "all" { // which stands for those before
		t.Errorf("in force: %+v", all)
	}
	for _, bad := range []string{``, `{"all":false}`, `{"all":true,"viewer":"a"}`, `{"viewer":""}`, `{"viewer_id":"0123456789ABCDEF"}`, `{"viewer_id":"x"}`} {
		if rec := w.call("POST", path, bad); rec.Code != 400 {
			t.Errorf("%s: %d", bad, rec.Code)
		}
	}
}

func TestBadOrigins(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []string{`null`, `"https://example.org"`, `["example.org"]`, `["https://example.org/path"]`, `["ftp://example.org"]`, `["*"]`,
		`["https://*"]`, `["https://a*.example.org"]`, `["https://a b"]`, `["https://u:p@example.org"]`, `["https://example.org?x"]`,
		`["https://example.org","https://example.org"]`, `[""]`, `["null"]`} {
		rec := w.call("POST", base+"/livestreams", `{"tally":{"allowed_origins":`+bad+`}}`)
		if rec.Code != 400 || !strings.Contains(rec.Body.String(), "/tally/allowed_origins") {
			t.Errorf("%s: %d %s", bad, rec.Code, rec.Body)
		}
	}
}
