package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
)

const tokens = "/accounts/acc/tally/tokens"

// A shownToken is a token as the API shows it.
type shownToken struct {
	ID, Name, Token string
	Scopes          []string
	AppIDs          []string `json:"app_ids"`
	ExpiresAt       *string  `json:"expires_at"`
	RevokedAt       *string  `json:"revoked_at"`
	LastUsedAt      *string  `json:"last_used_at"`
}

// token calls and decodes a token.
func (w *world) tokenCall(status int, method, path, body string) (k shownToken) {
	w.t.Helper()
	rec := w.call(method, path, body)
	if rec.Code != status {
		w.t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	must(w.t, json.Unmarshal(rec.Body.Bytes(), &struct{ Data any }{&k}))
	return k
}

// as is the status of a call with another token.
func (w *world) as(token, method, path string) int {
	w.t.Helper()
	return w.call(method, path, "", "Authorization", "Bearer "+token).Code
}

func TestTokensLife(t *testing.T) {
	w := newWorld(t)
	must(t, w.store.CreateApp(t.Context(), livestream.App{AccountID: "acc", ID: "second", CreatedAt: w.now}))
	w.now = w.now.Add(time.Second)
	made := w.tokenCall(201, "POST", tokens, `{"name":"Wall","scopes":["Realtime Read"],"app_ids":["second","app"],"expires_at":"2999-01-01T00:00:00+01:00"}`)
	w.now = w.now.Add(time.Second)
	golden(t, "token_created", w.call("POST", tokens, `{"name":"All","scopes":["Realtime Admin","Realtime"]}`))
	if !strings.HasPrefix(made.Token, "tally_") || len(made.Token) < 30 {
		t.Errorf("the token is %q", made.Token)
	}
	golden(t, "token", w.call("GET", tokens+"/"+made.ID, ""))
	golden(t, "token_list", w.call("GET", tokens+"?per_page=2", ""))
	golden(t, "token_unknown", w.call("GET", tokens+"/nothing", ""))
	if got := w.as(made.Token, "GET", base+"/livestreams"); got != 200 {
		t.Errorf("a new token: %d", got)
	}
	if got := w.as(made.Token, "POST", base+"/livestreams"); got != 403 {
		t.Errorf("Realtime Read creates: %d", got)
	}
	if got := w.as(made.Token, "GET", tokens); got != 403 {
		t.Errorf("Realtime Read lists tokens: %d", got)
	}
	w.now = w.now.Add(time.Minute)
	revoked := w.tokenCall(200, "DELETE", tokens+"/"+made.ID, "")
	if revoked.RevokedAt == nil || *revoked.RevokedAt != "2026-01-02T03:05:07.678Z" || revoked.Token != "" {
		t.Errorf("revoked: %+v", revoked)
	}
	if got := w.as(made.Token, "GET", base+"/livestreams"); got != 401 { // though it was remembered a moment ago
		t.Errorf("a revoked token: %d", got)
	}
	w.now = w.now.Add(time.Minute)
	if again := w.tokenCall(200, "DELETE", tokens+"/"+made.ID, ""); *again.RevokedAt != *revoked.RevokedAt {
		t.Errorf("revoked again: %+v", again)
	}
	golden(t, "token_revoked", w.call("GET", tokens+"/"+made.ID, ""))
}

func TestLastAdminTokenStays(t *testing.T) {
	w := newWorld(t)
	first := w.tokenID(w.token)
	golden(t, "token_last", w.call("DELETE", tokens+"/"+first, ""))
	limited := w.tokenCall(201, "POST", tokens, `{"name":"one app","scopes":["Realtime Admin"],"app_ids":["app"]}`)
	if rec := w.call("DELETE", tokens+"/"+first, ""); rec.Code != 400 {
		t.Errorf("%d: a token limited to an app cannot manage tokens", rec.Code)
	}
	second := w.tokenCall(201, "POST", tokens, `{"name":"second","scopes":["Realtime Admin"]}`)
	w.tokenCall(200, "DELETE", tokens+"/"+first, "") // itself
	if got := w.as(w.token, "GET", tokens); got != 401 {
		t.Errorf("a token that revoked itself: %d", got)
	}
	w.token = second.Token
	w.tokenCall(200, "DELETE", tokens+"/"+limited.ID, "")
	if rec := w.call("DELETE", tokens+"/"+second.ID, ""); rec.Code != 400 || !strings.Contains(rec.Body.String(), "last token in force") {
		t.Errorf("the last one: %d %s", rec.Code, rec.Body)
	}
	w.tokenCall(200, "GET", tokens+"/"+second.ID, "")
}

func TestTokenThatExpires(t *testing.T) {
	w := newWorld(t)
	w.now = time.Now().UTC() // the clock by which tokens expire
	w.cfg.Now = time.Now
	w.h = api.New(w.cfg)
	until := time.Now().Add(400 * time.Millisecond)
	k := w.tokenCall(201, "POST", tokens, fmt.Sprintf(`{"name":"brief","scopes":["Realtime"],"expires_at":%q}`, until.Format(time.RFC3339Nano)))
	for {
		before := time.Now()
		got := w.as(k.Token, "GET", base+"/livestreams")
		after := time.Now()
		if after.Before(until.Truncate(time.Millisecond)) && got != 200 || !before.Before(until) && got != 401 {
			t.Fatalf("%d %v before it expires", got, until.Sub(before))
		}
		if !before.Before(until) {
			return
		}
	}
}

// tokenID is the id of the token with this text.
func (w *world) tokenID(text string) string {
	w.t.Helper()
	k, err := w.store.TokenByHash(w.t.Context(), auth.HashToken(text))
	must(w.t, err)
	return k.ID
}

func TestTokenFaults(t *testing.T) {
	w := newWorld(t)
	must(t, w.store.CreateApp(t.Context(), livestream.App{AccountID: "other", ID: "theirs", CreatedAt: w.now}))
	for _, c := range []struct{ name, body, pointer string }{
		{"nothing", `{}`, "/name /scopes"},
		{"no name", `{"scopes":["Realtime"]}`, "/name"},
		{"empty name", `{"name":"","scopes":["Realtime"]}`, "/name"},
		{"name that is none", `{"name":5,"scopes":["Realtime"]}`, "/name"},
		{"name of two lines", `{"name":"a\nb","scopes":["Realtime"]}`, "/name"},
		{"long name", `{"name":"` + strings.Repeat("x", 256) + `","scopes":["Realtime"]}`, "/name"},
		{"no scope", `{"name":"x","scopes":[]}`, "/scopes"},
		{"null scopes", `{"name":"x","scopes":null}`, "/scopes"},
		{"scopes that are none", `{"name":"x","scopes":"Realtime"}`, "/scopes"},
		{"unknown scope", `{"name":"x","scopes":["Realtime","Stream"]}`, "/scopes"},
		{"scope in other letters", `{"name":"x","scopes":["realtime"]}`, "/scopes"},
		{"scope twice", `{"name":"x","scopes":["Realtime","Realtime"]}`, "/scopes"},
		{"number among scopes", `{"name":"x","scopes":["Realtime",1]}`, "/scopes"},
		{"null among scopes", `{"name":"x","scopes":[null]}`, "/scopes"},
		{"many scopes", `{"name":"x","scopes":["a","b","c","d"]}`, "/scopes"},
		{"no app", `{"name":"x","scopes":["Realtime"],"app_ids":[]}`, "/app_ids"},
		{"unknown app", `{"name":"x","scopes":["Realtime"],"app_ids":["app","nothing"]}`, "/app_ids"},
		{"foreign app", `{"name":"x","scopes":["Realtime"],"app_ids":["theirs"]}`, "/app_ids"},
		{"app twice", `{"name":"x","scopes":["Realtime"],"app_ids":["app","app"]}`, "/app_ids"},
		{"apps that are none", `{"name":"x","scopes":["Realtime"],"app_ids":{"a":1}}`, "/app_ids"},
		{"expired", `{"name":"x","scopes":["Realtime"],"expires_at":"2026-01-02T03:04:05.678Z"}`, "/expires_at"},
		{"expired before there was time", `{"name":"x","scopes":["Realtime"],"expires_at":"0001-01-01T00:00:00Z"}`, "/expires_at"},
		{"time that is none", `{"name":"x","scopes":["Realtime"],"expires_at":"tomorrow"}`, "/expires_at"},
		{"number for a time", `{"name":"x","scopes":["Realtime"],"expires_at":4070908800}`, "/expires_at"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := w.call("POST", tokens, c.body)
			var pointers []string
			for _, m := range regexp.MustCompile(`"pointer":"([^"]*)"`).FindAllStringSubmatch(rec.Body.String(), -1) {
				pointers = append(pointers, m[1])
			}
			slices.Sort(pointers)
			if got := strings.Join(slices.Compact(pointers), " "); rec.Code != 400 || got != c.pointer {
				t.Errorf("%d %s, want 400 at %s", rec.Code, rec.Body, c.pointer)
			}
		})
	}
	for name, body := range map[string]string{
		"null for what may be left out": `{"name":"x","scopes":["Realtime"],"app_ids":null,"expires_at":null}`,
		"in a millisecond":              `{"name":"x","scopes":["Realtime"],"expires_at":"2026-01-02T03:04:05.679Z"}`,
	} {
		if rec := w.call("POST", tokens, body); rec.Code != 201 {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

// TestAccessLog reads what is logged of each request.
func TestAccessLog(t *testing.T) {
	w := newWorld(t)
	id := w.tokenID(w.token)
	l := w.create("Secret plans")
	read, change := base+"/livestreams/"+l.ID, base+"/livestreams?name=hidden"
	for _, c := range []struct {
		mode         api.AccessLog
		method, path string
		line         string // "": none
	}{
		{api.LogChanges, "GET", read, ""},
		{api.LogChanges, "HEAD", read, ""},
		{"", "GET", read, ""},
		{api.LogAll, "GET", read, "GET 200 /accounts/{account_id}/realtime/kit/{app_id}/livestreams/{livestream_id} " + id},
		{api.LogAll, "HEAD", read, "HEAD 200 /accounts/{account_id}/realtime/kit/{app_id}/livestreams/{livestream_id} " + id},
		{api.LogChanges, "POST", change, "POST 201 /accounts/{account_id}/realtime/kit/{app_id}/livestreams " + id},
		{api.LogChanges, "GET", read + "x", "GET 404 /accounts/{account_id}/realtime/kit/{app_id}/livestreams/{livestream_id} " + id},
		{api.LogChanges, "GET", read + "/nothing", "GET 404  "},
		{api.LogChanges, "GET", "/accounts/other/realtime/kit/app/livestreams", "GET 403 /accounts/{account_id}/realtime/kit/{app_id}/livestreams " + id},
		{api.LogChanges, "OPTIONS", change, "OPTIONS 204 /accounts/{account_id}/realtime/kit/{app_id}/livestreams "},
		{api.LogChanges, "HIDDEN-WORD", change, "other 405 /accounts/{account_id}/realtime/kit/{app_id}/livestreams "},
		{api.LogOff, "POST", change, ""},
		{api.LogOff, "GET", read + "x", ""},
	} {
		var out bytes.Buffer
		w.cfg.AccessLog, w.cfg.Logger = c.mode, logger(&out)
		w.h = api.New(w.cfg)
		rec := w.call(c.method, c.path, "")
		var line struct {
			Msg, Request, Method, Route, Token, Remote string
			Status, Bytes                              int
			MS                                         *float64
		}
		if c.line == "" {
			if out.Len() > 0 {
				t.Errorf("%s %s: logged %s", c.method, c.path, &out)
			}
			continue
		}
		must(t, json.Unmarshal(out.Bytes(), &line))
		if got := fmt.Sprint(line.Method, " ", line.Status, " ", line.Route, " ", line.Token); got != c.line || line.Msg != "api" {
			t.Errorf("%s %s: logged %s, want %s", c.method, c.path, &out, c.line)
		}
		wantBytes := rec.Body.Len()
		if c.method == "HEAD" {
			wantBytes = 0
		}
		if line.Request != rec.Header().Get("X-Request-Id") || line.Bytes != wantBytes || line.MS == nil || line.Remote != "192.0.2.1" {
			t.Errorf("%s %s: logged %s for an answer of %d bytes", c.method, c.path, &out, wantBytes)
		}
		for _, never := range []string{w.token, l.ID, l.StreamKey.Reveal(), "Secret plans", "hidden", "HIDDEN"} {
			if strings.Contains(out.String(), never) {
				t.Errorf("%s %s: %q is in the log", c.method, c.path, never)
			}
		}
	}
}

// TestFaultsAreLoggedUnderTheRequest: what the log says of a 500 has the id that
// the client can tell.
func TestFaultsAreLoggedUnderTheRequest(t *testing.T) {
	w := newWorld(t)
	var out bytes.Buffer
	w.cfg.Logger = logger(&out)
	w.h = api.New(w.cfg)
	must(t, w.store.Close())
	rec := w.call("GET", base+"/livestreams", "")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if rec.Code != http.StatusInternalServerError || len(lines) != 2 {
		t.Fatalf("%d, logged %s", rec.Code, &out)
	}
	for _, line := range lines {
		if !strings.Contains(line, `"request":"`+rec.Header().Get("X-Request-Id")+`"`) {
			t.Errorf("the line %s lacks the answer's id", line)
		}
	}
}
