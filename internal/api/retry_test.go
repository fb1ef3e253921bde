package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/store/sqlite"
)

// retried calls with a retry count, as the official clients do.
func (w *world) retried(count, path, body string, header ...string) (id string, rec *httptest.ResponseRecorder) {
	w.t.Helper()
	rec = w.call("POST", path, body, append([]string{"X-Stainless-Retry-Count", count}, header...)...)
	var answer struct {
		Data struct {
			ID  string
			App struct{ ID string }
		}
	}
	must(w.t, json.Unmarshal(rec.Body.Bytes(), &answer))
	return answer.Data.ID + answer.Data.App.ID, rec
}

func TestRetriedCreate(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ name, path, body, other string }{
		{"livestream", base + "/livestreams", `{"name":"a"}`, `{"name":"b"}`},
		{"livestream with our settings", base + "/livestreams?include=tally", `{"tally":{"damping_seconds":1}}`, `{}`},
		{"meeting", base + "/meetings", `{"title":"a"}`, ``},
		{"webhook", base + "/webhooks", `{"name":"a","url":"https://hooks.example.org/","events":["livestreaming.statusUpdate"]}`,
			`{"name":"b","url":"https://hooks.example.org/","events":["livestreaming.statusUpdate"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			lost, first := w.retried("0", c.path, c.body)
			if first.Code != 201 {
				t.Fatal(first)
			}
			w.now = w.now.Add(2 * time.Minute)
			again, second := w.retried("1", c.path, c.body)
			if again != lost || second.Code != first.Code || second.Body.String() != first.Body.String() {
				t.Errorf("the retry answers %d %s\nthe first %d %s", second.Code, second.Body, first.Code, first.Body)
			}
			if third, _ := w.retried("2", "/client/v4"+c.path, c.body); third == lost || third == "" {
				t.Errorf("another path answers %q", third) // one client asks by one path
			}
			other := w.newToken(auth.Realtime)
			for name, id := range map[string]func() (string, *httptest.ResponseRecorder){
				"another body": func() (string, *httptest.ResponseRecorder) { return w.retried("1", c.path, c.other) },
				"no retry":     func() (string, *httptest.ResponseRecorder) { return w.retried("0", c.path, c.body) },
				"no count":     func() (string, *httptest.ResponseRecorder) { return w.retried("", c.path, c.body) },
				"no number":    func() (string, *httptest.ResponseRecorder) { return w.retried("-1", c.path, c.body) },
				"another token": func() (string, *httptest.ResponseRecorder) {
					return w.retried("1", c.path, c.body, "Authorization", "Bearer "+other)
				},
			} {
				if got, rec := id(); got == lost || rec.Code != 201 {
					t.Errorf("%s: %d %q, want a new one", name, rec.Code, got)
				}
			}
		})
	}
	w.t = t
	lost, _ := w.retried("0", base+"/livestreams", `{"name":"late"}`)
	w.now = w.now.Add(2*time.Minute + time.Millisecond)
	if late, _ := w.retried("1", base+"/livestreams", `{"name":"late"}`); late == lost {
		t.Error("a retry after more than 2 minutes is answered with the first one's")
	}
	never, rec := w.retried("3", base+"/livestreams", `{"name":"never arrived"}`)
	if rec.Code != 201 {
		t.Errorf("a retry of what never arrived: %d", rec.Code)
	}
	if again, _ := w.retried("4", base+"/livestreams", `{"name":"never arrived"}`); again != never {
		t.Error("its own retry creates another")
	}
	if _, rec := w.retried("1", base+"/livestreams", `{"name":5}`); rec.Code != 400 {
		t.Errorf("a retry that is wrong: %d", rec.Code)
	}
	if _, rec := w.retried("1", base+"/livestreams", strings.Repeat("x", 1<<20+1)); rec.Code != 413 {
		t.Errorf("a retry that is too large: %d", rec.Code)
	}
}

// TestRetriedCreateOfAnApp: its name may be there once.
func TestRetriedCreateOfAnApp(t *testing.T) {
	w := newWorld(t)
	const apps = "/accounts/acc/realtime/kit/apps"
	lost, first := w.retried("0", apps, `{"name":"a"}`)
	again, second := w.retried("1", apps, `{"name":"a"}`)
	if lost == "" || again != lost || second.Code != first.Code || second.Body.String() != first.Body.String() {
		t.Errorf("the retry answers %d %s\nthe first %d %s", second.Code, second.Body, first.Code, first.Body)
	}
	if _, rec := w.retried("0", apps, `{"name":"a"}`); rec.Code != 400 {
		t.Errorf("another of that name: %d", rec.Code)
	}
}

// TestRetriedCreateOfWhatIsGone: nobody is told of an object that was deleted.
func TestRetriedCreateOfWhatIsGone(t *testing.T) {
	w := newWorld(t)
	lost, _ := w.retried("0", base+"/livestreams", `{}`)
	w.advance(lost, time.Second, livestream.Event{Kind: livestream.Delete})
	if again, rec := w.retried("1", base+"/livestreams", `{}`); again == lost || rec.Code != 201 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestRetriedStart(t *testing.T) {
	w := newWorld(t)
	start := base + "/meetings/" + w.meeting(true) + "/livestreams"
	_, first := w.retried("0", start, "")
	_, second := w.retried("1", start, "")
	if first.Code != 201 || second.Code != 201 || second.Body.String() != first.Body.String() {
		t.Errorf("the retry answers %d %s\nthe first %d %s", second.Code, second.Body, first.Code, first.Body)
	}
	if _, rec := w.retried("0", start, ""); rec.Code != 400 {
		t.Errorf("a second start: %d", rec.Code)
	}
	id, _ := w.retried("1", start, "")
	w.advance(id, time.Second, livestream.Event{Kind: livestream.Stop})
	w.now = w.now.Add(time.Minute)
	if _, rec := w.retried("2", start, ""); rec.Code != 201 || w.record(id).Session.Phase != livestream.Awaiting {
		t.Errorf("after a stop: %d, %s", rec.Code, w.record(id).Session.Phase)
	}
}

// slow is a store whose creations wait to be let go.
type slow struct {
	*sqlite.Store
	arrived chan struct{}
	proceed chan error
}

func (s *slow) CreateLivestream(ctx context.Context, l livestream.Livestream) error {
	s.arrived <- struct{}{}
	if err := <-s.proceed; err != nil {
		return err
	}
	return s.Store.CreateLivestream(ctx, l)
}

// TestRetryWhileTheFirstIsUnderWay: it waits, as long as its client does.
func TestRetryWhileTheFirstIsUnderWay(t *testing.T) {
	w := newWorld(t)
	s := &slow{w.store, make(chan struct{}), make(chan error)}
	w.cfg.Store = s
	w.h = api.New(w.cfg)
	type result struct {
		id   string
		code int
	}
	var all sync.WaitGroup
	results := make(chan result, 10)
	body := `{}`
	ask := func(count string) {
		all.Go(func() {
			id, rec := w.retried(count, base+"/livestreams", body)
			results <- result{id, rec.Code}
		})
	}
	ask("0")
	<-s.arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", base+"/livestreams", strings.NewReader(`{}`))
	r.Header.Set("Authorization", "Bearer "+w.token)
	r.Header.Set("X-Stainless-Retry-Count", "1")
	rec := httptest.NewRecorder()
	if w.h.ServeHTTP(rec, r); rec.Code != 503 {
		t.Errorf("a retry whose client has gone: %d", rec.Code)
	}
	ask("1")
	ask("2")
	s.proceed <- nil // neither of the two gets to here
	all.Wait()
	first := <-results
	for range 2 {
		if next := <-results; next != first || next.code != 201 {
			t.Errorf("%v and %v", first, next)
		}
	}

	body = `{"name":"x"}`
	// The first fails: of the retries one creates, the other waits for that.
	ask("0")
	<-s.arrived
	ask("3")
	ask("4")
	s.proceed <- errors.New("disk on fire")
	select {
	case <-s.arrived:
		s.proceed <- nil
	case <-time.After(time.Minute):
		t.Fatal("no retry creates")
	}
	all.Wait()
}

// TestRetryAfterARestart: the note is in the store.
func TestRetryAfterARestart(t *testing.T) {
	w := newWorld(t)
	lost, first := w.retried("0", base+"/livestreams", `{"name":"a"}`)
	w.h = api.New(w.cfg) // knows nothing of the first
	again, second := w.retried("1", base+"/livestreams", `{"name":"a"}`)
	if again != lost || second.Body.String() != first.Body.String() {
		t.Errorf("%s\n%s", first.Body, second.Body)
	}
}

// TestLostAnswersToEqualRequests: each client gets an object of its own.
func TestLostAnswersToEqualRequests(t *testing.T) {
	w := newWorld(t)
	made := map[string]bool{}
	for range 5 {
		id, _ := w.retried("0", base+"/livestreams", `{}`)
		made[id] = true
	}
	for i := range 5 {
		id, _ := w.retried("1", base+"/livestreams", `{}`)
		if !made[id] {
			t.Errorf("retry %d: %s was given to another or is new", i, id)
		}
		delete(made, id)
	}
}

// Every create of the table answers retries, or is here with a reason.
func TestCreatesThatAnswerRetries(t *testing.T) {
	without := map[string]string{
		"/accounts/{account_id}/tally/tokens":                                           "a token's text is not kept",
		"/accounts/{account_id}/realtime/kit/{app_id}/livestreams/{livestream_id}/cues": "a cue is of its moment: told later it is another, and nothing stores it",
	}
	commands := []string{"/stop", "/reset-stream-key", "/test", "/replay", "/playback-tokens", "/playback-revocations"} // they create nothing, or nothing that is stored twice
	for _, row := range api.Table() {
		if row.Method != "POST" || api.AnswersRetries(row.Path) || without[row.Path] != "" {
			continue
		}
		command := false
		for _, end := range commands {
			command = command || strings.HasSuffix(row.Path, end)
		}
		if !command {
			t.Errorf("POST %s creates something twice when it is retried: see creations in retry.go", row.Path)
		}
	}
}
