package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
)

// This file asks every route of the table, with every method, for everybody:
// a row that is added is asked as well. Only the name of a parameter that is new
// must be told what it stands for, in objects.

// publicRoutes are those that may be read without a token.
var publicRoutes = []string{"/.well-known/webhooks.json", "/openapi.json", "/docs"}

// parameter finds a route's parameters.
var parameter = regexp.MustCompile(`\{(\w+)\}`)

// objects are an account's and app's values for the parameters of routes.
type objects map[string]string

// path fills a route's parameters in.
func (o objects) path(t *testing.T, route string) string {
	return parameter.ReplaceAllStringFunc(route, func(p string) string {
		v, ok := o[p[1:len(p)-1]]
		if !ok {
			t.Fatalf("%s: tell objects in matrix_test.go what %s stands for", route, p)
		}
		return v
	})
}

// with replaces what stands for the objects, but not account and app.
func (o objects) with(value func(name string) string) objects {
	all := maps.Clone(o)
	for name := range all {
		if name != "account_id" && name != "app_id" {
			all[name] = value(name)
		}
	}
	return all
}

// foreign puts another's objects below this account and app.
func (o objects) foreign(other objects) objects {
	return o.with(func(name string) string { return other[name] })
}

// unknown names nothing, in ids that look like any.
func (o objects) unknown() objects {
	return o.with(func(string) string { return livestream.NewUUID() })
}

// A caller is a token and what it may do.
type caller struct {
	name, token string
	account     string
	apps        []string // nil: all
	may         []auth.Permission
}

func (c caller) allowed(row api.Row, o objects) bool {
	if c.account != o["account_id"] || !slices.Contains(c.may, row.Need) {
		return false
	}
	app := ""
	if strings.Contains(row.Path, "{app_id}") {
		app = o["app_id"]
	}
	return c.apps == nil || row.Need == auth.ReadApps || slices.Contains(c.apps, app)
}

// A matrix is two accounts with two apps each, all with the same kinds of
// objects.
type matrix struct {
	*world
	homes   map[string]objects // by "account/app"
	callers []caller
	keys    []string // stream keys of all
	checked map[string]bool
}

func newMatrix(t *testing.T) *matrix {
	m := &matrix{world: newWorld(t), homes: map[string]objects{}, checked: map[string]bool{}}
	must(t, m.store.CreateApp(t.Context(), livestream.App{AccountID: "acc", ID: "ap2", Name: "ap2", CreatedAt: m.now}))
	must(t, m.store.CreateApp(t.Context(), livestream.App{AccountID: "cca", ID: "app", Name: "app", CreatedAt: m.now}))
	must(t, m.store.CreateApp(t.Context(), livestream.App{AccountID: "cca", ID: "ap3", Name: "ap3", CreatedAt: m.now}))
	read := []auth.Permission{auth.Read, auth.ReadApps}
	write := append(slices.Clone(read), auth.Write)
	admin := append(slices.Clone(write), auth.Admin)
	for _, c := range []struct {
		caller
		groups []string
		change func(*livestream.Token)
	}{
		{caller{name: "admin", account: "acc", may: admin}, []string{auth.RealtimeAdmin}, nil},
		{caller{name: "realtime", account: "acc", may: write}, []string{auth.Realtime}, nil},
		{caller{name: "read", account: "acc", may: read}, []string{auth.RealtimeRead}, nil},
		{caller{name: "admin of an app", account: "acc", apps: []string{"app"}, may: admin}, []string{auth.RealtimeAdmin}, nil},
		{caller{name: "realtime of the other app", account: "acc", apps: []string{"ap2"}, may: write}, []string{auth.Realtime}, nil},
		{caller{name: "read of both apps", account: "acc", apps: []string{"app", "ap2"}, may: read}, []string{auth.RealtimeRead}, nil},
		{caller{name: "no scope", account: "acc"}, nil, nil},
		{caller{name: "admin of the other account", account: "cca", may: admin}, []string{auth.RealtimeAdmin}, nil},
		{caller{name: "read of the other account", account: "cca", may: read}, []string{auth.RealtimeRead}, nil},
		{caller{name: "revoked"}, []string{auth.RealtimeAdmin}, func(k *livestream.Token) { k.RevokedAt = time.Now().Add(-time.Second) }},
		{caller{name: "expired"}, []string{auth.RealtimeAdmin}, func(k *livestream.Token) { k.ExpiresAt = time.Now().Add(-time.Second) }},
	} {
		text, hash := auth.NewToken()
		k := livestream.Token{ID: livestream.NewUUID(), Hash: hash, AccountID: c.account, Name: c.name, Scopes: c.groups, AppIDs: c.apps, CreatedAt: m.now}
		if c.change != nil {
			c.change(&k)
			k.AccountID = "acc"
		}
		must(t, m.store.CreateToken(t.Context(), k))
		c.token = text.Reveal()
		logs.plant("token", c.token)
		m.callers = append(m.callers, c.caller)
	}
	m.callers = append(m.callers, caller{name: "unknown", token: "tally_unknown"}, caller{name: "nobody"})
	for _, home := range []string{"acc/app", "acc/ap2", "cca/app", "cca/ap3"} {
		m.homes[home] = m.furnish(home)
	}
	return m
}

// by is the caller of that name.
func (m *matrix) by(name string) caller {
	return m.callers[slices.IndexFunc(m.callers, func(c caller) bool { return c.name == name })]
}

// furnish puts one object of each kind into an app and returns their ids.
func (m *matrix) furnish(home string) objects {
	m.t.Helper()
	account, app, _ := strings.Cut(home, "/")
	m.scope = livestream.Scope{AccountID: account, AppID: app}
	l := m.create("of " + home)
	m.live(l.ID, 5*time.Second, 3*time.Second)
	m.keys = append(m.keys, l.StreamKey.Reveal())
	token := m.by("admin")
	if account != token.account {
		token = m.by("admin of the other account")
	}
	kit := "/accounts/" + account + "/realtime/kit/" + app
	made := func(path, body string) string {
		m.t.Helper()
		rec := m.call("POST", path, body, "Authorization", "Bearer "+token.token)
		var answer struct {
			Data struct {
				ID  string
				Key string `json:"stream_key"`
			}
		}
		if must(m.t, json.Unmarshal(rec.Body.Bytes(), &answer)); rec.Code >= 300 || answer.Data.ID == "" {
			m.t.Fatalf("POST %s: %d %s", path, rec.Code, rec.Body)
		}
		if answer.Data.Key != "" {
			m.keys = append(m.keys, answer.Data.Key)
		}
		return answer.Data.ID
	}
	o := objects{
		"account_id": account, "app_id": app,
		"livestream_id": l.ID,
		"session_id":    m.record(l.ID).Session.ID,
		"meeting_id":    made(kit+"/meetings", `{"title":"of `+home+`"}`),
		"token_id":      made("/accounts/"+account+"/tally/tokens", `{"name":"one more","scopes":["Realtime"]}`),
		"key_id":        made(kit+"/playback-keys", `{"name":"of `+home+`","algorithm":"HS256"}`),
	}
	made(kit+"/meetings/"+o["meeting_id"]+"/livestreams", "")
	if slices.Contains(api.Routes(), "POST /accounts/{account_id}/realtime/kit/{app_id}/webhooks") {
		o["webhook_id"] = made(kit+"/webhooks", `{"name":"hook","url":"https://hooks.example.org/tally","events":["livestreaming.statusUpdate"]}`)
	}
	return o
}

// ask sends a request without a body as c. Of answers to the same method of the
// same route with the same status the first is held against the contract: all of
// them would take minutes under the race detector.
func (m *matrix) ask(c caller, method, path string) *httptest.ResponseRecorder {
	m.t.Helper()
	r := httptest.NewRequest(method, path, http.NoBody)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	rec := httptest.NewRecorder()
	m.h.ServeHTTP(rec, r)
	logs.plantAnswer(rec.Body.String())
	kind := fmt.Sprint(method, r.Pattern, rec.Code)
	if !m.checked[kind] {
		m.checked[kind] = true
		conforms(m.t, r, rec)
	}
	return rec
}

const refusal = `"error":{"code":10000,"message":"Authentication error"}`

func TestTableOfRoutes(t *testing.T) {
	for _, row := range api.Table() {
		name := row.Method + " " + row.Path
		switch {
		case row.Need == 0:
			if !slices.Contains(publicRoutes, row.Path) || row.Method != "GET" {
				t.Errorf("%s asks for no permission; say in publicRoutes why it may", name)
			}
		case row.Method != "GET" && (row.Need == auth.Read || row.Need == auth.ReadApps):
			t.Errorf("%s changes something and asks for Read alone", name)
		case (row.Need == auth.ReadApps) != (name == "GET /accounts/{account_id}/realtime/kit/apps"):
			t.Errorf("%s: only the list of apps shows a part to a token that is limited to apps", name)
		case !strings.HasPrefix(row.Path, "/accounts/{account_id}/"):
			t.Errorf("%s asks for a permission in no account", name)
		case (strings.Contains(row.Path, "/tally/tokens") || strings.Contains(row.Path, "/playback-keys")) != (row.Need == auth.Admin):
			t.Errorf("%s: tokens and playback keys, and nothing else, are for Admin", name)
		}
	}
}

// TestEverybodyAsksEverything: who may not is refused before anything is said of
// an object, and who may is not refused.
func TestEverybodyAsksEverything(t *testing.T) {
	m := newMatrix(t)
	paths := map[string]map[string]api.Row{}
	for _, row := range api.Table() {
		if paths[row.Path] == nil {
			paths[row.Path] = map[string]api.Row{}
		}
		paths[row.Path][row.Method] = row
	}
	asked := 0
	for path, rows := range paths {
		for _, home := range []string{"acc/app", "acc/ap2", "cca/app"} {
			o := m.homes[home].unknown() // what is asked of them changes nothing
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TALLY"} {
				row, served := rows[strings.Replace(method, "HEAD", "GET", 1)]
				for _, c := range m.callers {
					rec := m.ask(c, method, o.path(t, path))
					name := fmt.Sprintf("%s, %s %s", c.name, method, o.path(t, path))
					asked++
					refused := strings.Contains(rec.Body.String(), refusal) || method == "HEAD" && (rec.Code == 401 || rec.Code == 403)
					want := 0 // anything but a refusal
					switch {
					case method == "OPTIONS":
						want = http.StatusNoContent
					case !served:
						want = http.StatusMethodNotAllowed
					case row.Need == 0:
					case c.account == "":
						want = http.StatusUnauthorized
					case !c.allowed(row, o):
						want = http.StatusForbidden
					}
					switch {
					case want == 0 && (refused || rec.Code >= 500):
						t.Errorf("%s: %d, want no refusal: %s", name, rec.Code, rec.Body)
					case want != 0 && rec.Code != want:
						t.Errorf("%s: %d, want %d: %s", name, rec.Code, want, rec.Body)
					case (want == 401 || want == 403) && !refused:
						t.Errorf("%s: refused as %s", name, rec.Body)
					}
				}
			}
		}
	}
	t.Logf("%d questions", asked)
}

// TestForeignIsUnknown: what belongs to another app or account answers byte for
// byte like what does not exist, and so does another's app.
func TestForeignIsUnknown(t *testing.T) {
	m := newMatrix(t)
	own := m.homes["acc/app"]
	for _, row := range api.Table() {
		names := parameter.FindAllString(row.Path, -1)
		if len(names) > 2 || slices.Contains(names, "{token_id}") {
			for _, other := range []string{"acc/ap2", "cca/app", "cca/ap3"} {
				if strings.Contains(row.Path, "{token_id}") && strings.HasPrefix(other, "acc/") {
					continue // tokens are the account's
				}
				m.alike(row, own.foreign(m.homes[other]), own.unknown(), "admin")
			}
		}
		if !slices.Contains(names, "{app_id}") {
			continue
		}
		their, nobodys := maps.Clone(own), maps.Clone(own)
		their["app_id"], nobodys["app_id"] = "ap3", "ap9" // an app of the other account
		m.alike(row, their, nobodys, "admin")
		m.alike(row, their, nobodys, "admin of an app")
		their["account_id"], nobodys["account_id"] = "cca", "cc9"
		m.alike(row, their, nobodys, "admin")
		their["app_id"], nobodys["app_id"] = "app", "app"
		m.alike(row, their, nobodys, "admin of an app")
	}
	for home, o := range m.homes { // nothing was changed by it
		account, app, _ := strings.Cut(home, "/")
		rec, err := m.store.RecordByID(t.Context(), livestream.Scope{AccountID: account, AppID: app}, o["livestream_id"])
		must(t, err)
		if rec.Session.Phase != livestream.OnAir || rec.Livestream.Disabled {
			t.Errorf("%s: the livestream is %s", home, rec.Session.Phase)
		}
	}
}

// alike compares two answers to the same route, all but their ids.
func (m *matrix) alike(row api.Row, a, b objects, as string) {
	m.t.Helper()
	text := func(o objects) string {
		rec := m.ask(m.by(as), row.Method, o.path(m.t, row.Path))
		if rec.Code != 403 && rec.Code != 404 {
			m.t.Errorf("%s %s answers %d: %s", row.Method, o.path(m.t, row.Path), rec.Code, rec.Body)
		}
		header := rec.Header()
		header.Del("X-Request-Id")
		s := fmt.Sprint(rec.Code, header, rec.Body)
		for name, id := range o {
			s = strings.ReplaceAll(s, `"`+id+`\"`, `"`+name+`\"`) // quoted in a message
			s = strings.ReplaceAll(s, " "+id+`"`, " "+name+`"`)   // at a message's end
		}
		return s
	}
	if diff := cmp.Diff(text(b), text(a)); diff != "" {
		m.t.Errorf("%s %s as %s (-unknown +foreign):\n%s", row.Method, a.path(m.t, row.Path), as, diff)
	}
}

// TestReadersSeeNoStreamKey asks every GET for a Realtime Read token. What a
// token that writes sees is there but for the keys.
func TestReadersSeeNoStreamKey(t *testing.T) {
	m := newMatrix(t)
	masked := 0
	for _, row := range api.Table() {
		if row.Method != "GET" || row.Need != auth.Read && row.Need != auth.ReadApps {
			continue
		}
		path := m.homes["acc/app"].path(t, row.Path)
		open := m.ask(m.by("realtime"), "GET", path)
		shown := m.ask(m.by("read"), "GET", path)
		hidden := open.Body.String()
		for _, key := range m.keys {
			if strings.Contains(shown.Body.String(), key) {
				t.Errorf("GET %s shows a reader a stream key: %s", path, shown.Body)
			}
			masked += strings.Count(hidden, key)
			hidden = strings.ReplaceAll(hidden, key, "********")
		}
		if diff := cmp.Diff(hidden, shown.Body.String()); diff != "" || open.Code != shown.Code {
			t.Errorf("GET %s (-expected +seen by a reader):\n%s", path, diff)
		}
	}
	if masked < 5 {
		t.Errorf("%d keys were masked in all: the test sees too little", masked)
	}
}
