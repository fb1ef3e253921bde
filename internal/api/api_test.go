package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
)

// data decodes the data of a success.
func data[T any](t *testing.T, rec *httptest.ResponseRecorder) T {
	t.Helper()
	var body struct {
		Success bool `json:"success"`
		Data    T    `json:"data"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || !body.Success {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	return body.Data
}

func TestStatusCodes(t *testing.T) {
	w := newWorld(t)
	id := w.create("show").ID
	realtime := "Bearer " + w.newToken(auth.Realtime)
	limited := "Bearer " + w.newToken(auth.RealtimeAdmin, "other")
	useless := "Bearer " + w.newToken("Something Else")
	const nobody = "/livestreams/00000000-0000-4000-8000-000000000000"
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		want                     int
	}{
		{"group Realtime reads", "GET", base + "/livestreams", "", []string{"Authorization", realtime}, 200},
		{"group Realtime writes", "POST", base + "/livestreams", "{}", []string{"Authorization", realtime}, 201},
		{"scheme in lower case", "GET", base + "/livestreams", "", []string{"Authorization", "bearer " + w.token}, 200},
		{"unknown token", "GET", base + "/livestreams", "", []string{"Authorization", "Bearer nope"}, 401},
		{"empty token", "GET", base + "/livestreams", "", []string{"Authorization", "Bearer "}, 401},
		{"basic", "GET", base + "/livestreams", "", []string{"Authorization", "Basic YTpi"}, 401},
		{"legacy key alone", "GET", base + "/livestreams", "", []string{"Authorization", "", "X-Auth-Email", "a@b.c", "X-Auth-Key", "k"}, 401},
		{"legacy key beside a token", "GET", base + "/livestreams", "", []string{"X-Auth-Email", "a@b.c", "X-Auth-Key", "k"}, 200},
		{"group that grants nothing", "GET", base + "/livestreams", "", []string{"Authorization", useless}, 403},
		{"token of another app", "GET", base + "/livestreams", "", []string{"Authorization", limited}, 403},
		{"unknown account", "GET", "/accounts/nope/realtime/kit/app/livestreams", "", nil, 403},

		{"401 before the app", "GET", "/accounts/acc/realtime/kit/nope/livestreams", "", []string{"Authorization", ""}, 401},
		{"403 before the object", "GET", "/accounts/nope/realtime/kit/app" + nobody, "", nil, 403},
		{"app before the query", "GET", "/accounts/acc/realtime/kit/nope/livestreams?per_page=x", "", nil, 404},
		{"app before the body", "POST", "/accounts/acc/realtime/kit/nope/livestreams", "{", nil, 404},
		{"object before the query", "GET", base + nobody + "?per_page=x", "", nil, 404},
		{"object before the body", "POST", base + nobody + "/stop", "{", nil, 404},
		{"route before the token", "GET", base + "/nope", "", []string{"Authorization", ""}, 404},

		{"with the prefix", "GET", "/client/v4" + base + "/livestreams/" + id, "", nil, 200},
		{"trailing slash", "GET", base + "/livestreams/", "", nil, 404},
		{"double slash", "GET", base + "//livestreams", "", nil, 404},
		{"dot dot", "GET", base + "/livestreams/../livestreams", "", nil, 404},
		{"escaped dot dot", "GET", base + "/livestreams/%2e%2e", "", nil, 404},
		{"escaped slash in an id", "GET", base + "/livestreams/" + id + "%2Factive-livestream-session", "", nil, 404},
		{"malformed id", "GET", base + "/livestreams/not-a-uuid", "", nil, 404},
		{"id in upper case", "GET", base + "/livestreams/" + strings.ToUpper(id), "", nil, 404},
		{"id with NUL", "GET", base + "/livestreams/%00", "", nil, 404},
		{"id that is not UTF-8", "GET", base + "/livestreams/%ff%fe", "", nil, 404},
		{"very long id", "GET", base + "/livestreams/" + strings.Repeat("a", 10_000), "", nil, 404},
		{"SQL for an id", "GET", base + "/livestreams/'%20OR%201=1%20--", "", nil, 404},
		{"the word sessions as an id", "GET", base + "/livestreams/sessions", "", nil, 404},
		{"a verb as a session", "GET", base + "/livestreams/sessions/stop", "", nil, 404},
		{"stop of the word sessions", "POST", base + "/livestreams/sessions/stop", "", nil, 405},
		{"unknown verb", "GET", base + "/livestreams/" + id + "/nope", "", nil, 404},
		{"malformed session", "GET", base + "/livestreams/sessions/x", "", nil, 404},
		{"malformed meeting", "GET", base + "/meetings/x/active-livestream", "", nil, 404},
		{"stop of an unknown meeting", "POST", base + "/meetings/x/active-livestream/stop", "", nil, 404},
		{"start of an unknown meeting", "POST", base + "/meetings/x/livestreams", "{}", nil, 404},
		{"get of a verb that posts", "GET", base + "/livestreams/" + id + "/stop", "", nil, 405},
		{"head", "HEAD", base + "/livestreams/" + id, "", nil, 200},
		{"options", "OPTIONS", base + "/livestreams", "", []string{"Authorization", ""}, 204},
		{"post to a read", "POST", base + "/livestreams/" + id + "/active-livestream-session", "", nil, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := w.call(c.method, c.path, c.body, c.header...)
			if rec.Code != c.want {
				t.Errorf("got %d, want %d: %s", rec.Code, c.want, rec.Body)
			}
			if rec.Code == 405 || rec.Code == 204 {
				if rec.Header().Get("Allow") == "" {
					t.Error("no Allow header")
				}
			}
			if loc := rec.Header().Get("Location"); loc != "" {
				t.Errorf("redirects to %s", loc)
			}
		})
	}
}

// A livestream of one app does not exist in another, whoever asks.
func TestForeignObjectsAnswerLikeUnknownOnes(t *testing.T) {
	w := newWorld(t)
	must(t, w.store.CreateApp(t.Context(), livestream.App{AccountID: "acc", ID: "other", CreatedAt: w.now}))
	id := w.create("show").ID
	session := w.live(id, time.Second, 0).Session.ID
	meeting := w.meeting(true)
	const unknown = "00000000-0000-4000-8000-000000000000"
	for _, path := range []string{"/livestreams/%s", "/livestreams/%s/active-livestream-session", "/livestreams/sessions/%s",
		"/meetings/%s", "/meetings/%s/active-livestream"} {
		own := map[bool]string{true: meeting, false: id}[strings.HasPrefix(path, "/meetings")]
		if strings.Contains(path, "sessions/%s") {
			own = session
		}
		foreign := w.call("GET", "/accounts/acc/realtime/kit/other"+fmt.Sprintf(path, own), "")
		none := w.call("GET", "/accounts/acc/realtime/kit/other"+fmt.Sprintf(path, unknown), "")
		if got, want := strings.ReplaceAll(foreign.Body.String(), own, unknown), none.Body.String(); got != want || foreign.Code != 404 {
			t.Errorf("%s: a foreign id answers %d %s, an unknown one %s", path, foreign.Code, got, want)
		}
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, body string
		want       int
		pointer    string
	}{
		{"not JSON", `hello`, 400, ""},
		{"ends early", `{"name":"a"`, 400, ""},
		{"null", `null`, 400, ""},
		{"array", `[]`, 400, ""},
		{"string", `"x"`, 400, ""},
		{"two objects", `{}{}`, 400, ""},
		{"comment", `{/**/}`, 400, ""},
		{"byte order mark", "\ufeff{}", 400, ""},
		{"name twice", `{"name":"a","name":"b"}`, 400, ""},
		{"name twice by an escape", `{"name":"a","n\u0061me":"b"}`, 400, ""},
		{"twice deep inside", `{"x":[{"y":1,"y":2}]}`, 400, ""},
		{"NUL byte", "{\"name\":\"a\x00b\"}", 400, ""},
		{"NUL escape", `{"name":"a\u0000b"}`, 400, ""},
		{"NUL escape in a name", `{"na\u0000me":"a"}`, 400, ""},
		{"not UTF-8", "{\"name\":\"\xff\"}", 400, ""},
		{"lone surrogate", `{"name":"\ud800"}`, 400, ""},
		{"surrogates the wrong way round", `{"name":"\ude00\ud83d"}`, 400, ""},
		{"deep", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), 400, ""},
		{"deep and unfinished", strings.Repeat("[", 100_000), 400, ""},
		{"name is a number", `{"name":7}`, 400, "/name"},
		{"name is an object", `{"name":{}}`, 400, "/name"},
		{"name with a line break", `{"name":"a\nb"}`, 400, "/name"},
		{"name with DEL", `{"name":"a\u007fb"}`, 400, "/name"},
		{"name too long", `{"name":"` + strings.Repeat("ä", 256) + `"}`, 400, "/name"},
		{"unknown setting", `{"tally":{"reconect":5}}`, 400, "/tally/reconect"},
		{"setting with a slash", `{"tally":{"a/b~c":5}}`, 400, "/tally/a~1b~0c"},
		{"setting out of bounds", `{"tally":{"reconnect_window_seconds":1801}}`, 400, "/tally/reconnect_window_seconds"},
		{"setting that is none of a few", `{"tally":{"publisher_policy":"Reject"}}`, 400, "/tally/publisher_policy"},
		{"setting of the wrong type", `{"tally":{"publisher_policy":1}}`, 400, "/tally/publisher_policy"},
		{"tally is text", `{"tally":"x"}`, 400, "/tally"},
		{"meeting that does not exist", `{"tally":{"meeting_id":"00000000-0000-4000-8000-000000000000"}}`, 400, "/tally/meeting_id"},
		{"meeting is a number", `{"tally":{"meeting_id":7}}`, 400, "/tally/meeting_id"},
		{"setting with a fraction", `{"tally":{"damping_seconds":1.5}}`, 400, "/tally/damping_seconds"},
		{"setting is null", `{"tally":{"damping_seconds":null}}`, 400, "/tally/damping_seconds"},
		{"huge", `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, 413, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := w.call("POST", base+"/livestreams", c.body)
			var e struct {
				Errors []struct {
					Code    int
					Message string
					Source  struct{ Pointer string }
				}
			}
			must(t, json.Unmarshal(rec.Body.Bytes(), &e))
			if rec.Code != c.want || e.Errors[0].Code != c.want || e.Errors[0].Source.Pointer != c.pointer {
				t.Errorf("got %d %s, want %d with pointer %q", rec.Code, rec.Body, c.want, c.pointer)
			}
		})
	}
	if list := data[struct{ Livestreams []any }](t, w.call("GET", base+"/livestreams", "")); len(list.Livestreams) != 0 {
		t.Errorf("a refused create left %d livestreams", len(list.Livestreams))
	}
}

func TestBodiesThatAreTaken(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ name, body, want string }{
		{"nothing", ``, "null"},
		{"blank", " \r\n\t", "null"},
		{"empty object", `{}`, "null"},
		{"null name", `{"name":null}`, "null"},
		{"empty name", `{"name":""}`, `""`},
		{"emoji by escapes", `{"name":"\ud83d\ude00"}`, `"😀"`},
		{"escaped backslash before u0000", `{"name":"\\u0000"}`, `"\\u0000"`},
		{"as long as may be", `{"name":"` + strings.Repeat("ä", 255) + `"}`, `"` + strings.Repeat("ä", 255) + `"`},
		{"unknown members", `{"NAME":7,"x":{"y":[1,{"y":2}]}}`, "null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := w.call("POST", base+"/livestreams", c.body)
			got := data[struct {
				ID   string
				Name json.RawMessage
			}](t, rec)
			if string(got.Name) != c.want {
				t.Errorf("name is %s, want %s", got.Name, c.want)
			}
			read := data[struct {
				Livestream struct{ Name json.RawMessage }
			}](t, w.call("GET", base+"/livestreams/"+got.ID, ""))
			if string(read.Livestream.Name) != c.want {
				t.Errorf("read back, name is %s, want %s", read.Livestream.Name, c.want)
			}
		})
	}
}

func TestSettingsAtCreate(t *testing.T) {
	w := newWorld(t)
	id := data[struct{ ID string }](t, w.call("POST", base+"/livestreams",
		`{"tally":{"reconnect_window_seconds":0,"damping_seconds":5,"await_encoder_seconds":60,"endlist_delay_seconds":0,"dvr_window_seconds":43200,"keep":true,"publisher_policy":"reject"}}`)).ID
	want := livestream.Settings{Damping: 5 * time.Second, AwaitEncoder: time.Minute, DVRWindow: 12 * time.Hour, Keep: true, Publisher: livestream.Reject}
	if got := w.record(id).Livestream.Settings; got != want {
		t.Errorf("settings are %+v, want %+v", got, want)
	}
	id = data[struct{ ID string }](t, w.call("POST", base+"/livestreams", `{}`)).ID
	if got := w.record(id).Livestream.Settings; got != livestream.DefaultSettings {
		t.Errorf("settings are %+v, want the defaults", got)
	}
}

// The three ways in which clients send a POST without a body (contract 3.5).
func TestBodylessPosts(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.h)
	defer srv.Close()
	for _, c := range []struct {
		name, body  string
		contentType string
	}{
		{"nothing", "", ""},
		{"content type and length 0", "", "application/json"},
		{"empty object", "{}", "application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := w.meeting(true)
			w.call("POST", base+"/meetings/"+m+"/livestreams", "")
			r, err := http.NewRequest("POST", srv.URL+base+"/meetings/"+m+"/active-livestream/stop", strings.NewReader(c.body))
			must(t, err)
			r.Header.Set("Authorization", "Bearer "+w.token)
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			resp, err := srv.Client().Do(r)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("got %s", resp.Status)
			}
		})
	}
}

func TestListFiltersAndPages(t *testing.T) {
	w := newWorld(t)
	first := w.create("first")
	second := w.create("second")
	w.live(second.ID, time.Second, 0)
	third := w.create("third")
	m := w.meeting(true)
	w.now = w.now.Add(time.Second)
	w.call("POST", base+"/meetings/"+m+"/livestreams", `{"name":"fourth"}`)
	stamp := func(l livestream.Livestream) string { return l.CreatedAt.Format("2006-01-02T15:04:05.000Z") }

	for _, c := range []struct{ query, names, paging string }{
		{"", "fourth third second first", "4 1 4"},
		{"?per_page=&page_no=", "fourth third second first", "4 1 4"},
		{"?per_page=0&page_no=0", "fourth third second first", "4 1 4"},
		{"?per_page=1000", "fourth third second first", "4 1 4"},
		{"?per_page=3", "fourth third second", "4 1 3"},
		{"?per_page=3&page_no=2", "first", "4 4 4"},
		{"?per_page=3&page_no=3", "", "4 0 0"},
		{"?page_no=9223372036854775807", "", "4 0 0"},
		{"?sort_order=ASC", "first second third fourth", "4 1 4"},
		{"?sort_order=asc&per_page=2&page_no=2", "third fourth", "4 3 4"},
		{"?sort_order=DSC", "fourth third second first", "4 1 4"},
		{"?sort_order=DESC", "fourth third second first", "4 1 4"},
		{"?exclude_meetings=true", "third second first", "3 1 3"},
		{"?exclude_meetings=false", "fourth third second first", "4 1 4"},
		{"?status=LIVE", "second", "1 1 1"},
		{"?status=INVOKED", "fourth", "1 1 1"},
		{"?status=IDLE", "third first", "2 1 2"},
		{"?status=ERRORED", "", "0 0 0"},
		{"?status=LIVE&status=INVOKED", "fourth second", "2 1 2"},
		{"?status=LIVE&status=IDLE&status=LIVE&per_page=2", "third second", "3 1 2"},
		{"?status=LIVE&status=INVOKED&status=IDLE&status=ERRORED", "fourth third second first", "4 1 4"},
		{"?status=", "fourth third second first", "4 1 4"},
		{"?start_time=" + stamp(third), "fourth third", "2 1 2"},
		{"?end_time=" + stamp(second), "second first", "2 1 2"},
		{"?start_time=" + stamp(first) + "&end_time=" + stamp(second), "second first", "2 1 2"},
		{"?start_time=2026-01-02&end_time=2026-01-02", "fourth third second first", "4 1 4"},
		{"?start_time=2026-01-03", "", "0 0 0"},
		{"?end_time=2026-01-01", "", "0 0 0"},
		{"?start_time=2026-01-02T06:04:06%2B03:00&end_time=2026-01-02t03:04:07.9z", "second first", "2 1 2"},
		{"?start_time=2026-01-02T06:04:06+03:00", "fourth third second first", "4 1 4"}, // a + that was not escaped
		{"?start_time=2016-12-31T23:59:60Z&end_time=9999-12-31T23:59:59Z", "fourth third second first", "4 1 4"},
		{"?start_time=0000-01-01T00:00:00Z", "fourth third second first", "4 1 4"},
		{"?nonsense=1", "fourth third second first", "4 1 4"},
	} {
		t.Run(c.query, func(t *testing.T) {
			type item struct{ Name string }
			type paging struct {
				Total int `json:"total_count"`
				Start int `json:"start_offset"`
				End   int `json:"end_offset"`
			}
			rec := w.call("GET", base+"/livestreams"+c.query, "")
			var body struct {
				Data struct {
					item
					Livestreams []item
					Paging      paging
				}
				Paging paging
			}
			must(t, json.Unmarshal(rec.Body.Bytes(), &body))
			var names []string
			for _, l := range body.Data.Livestreams {
				names = append(names, l.Name)
			}
			if got := strings.Join(names, " "); got != c.names {
				t.Errorf("got %q, want %q", got, c.names)
			}
			if len(names) > 0 && body.Data.Name != names[0] {
				t.Errorf("data.name is %q, want the first of the page", body.Data.Name)
			}
			p := body.Data.Paging
			if got := fmt.Sprint(p.Total, p.Start, p.End); got != c.paging || p != body.Paging {
				t.Errorf("paging is %s and %v, want %s twice", got, body.Paging, c.paging)
			}
		})
	}
	for _, query := range []string{"per_page=-1", "per_page=x", "per_page=1.5", "page_no=99999999999999999999", "per_page=1&per_page=2",
		"status=live", "status=OFFLINE", "status=LIVE&status=OFFLINE", "sort_order=up", "exclude_meetings=1", "start_time=1", "end_time=2026-02-30", "start_time=2026-01-02T25:00:00Z",
		"%zz", "a=1;b=2"} {
		if rec := w.call("GET", base+"/livestreams?"+query, ""); rec.Code != 400 {
			t.Errorf("%s: got %d, want 400", query, rec.Code)
		}
	}
}

// The same session read at the same moment agrees in L3, L4 and L5, and whole
// seconds are rounded to nearest.
func TestSecondsAgree(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		ingest, viewed time.Duration
		want           string
	}{
		{0, 0, "0 0"},
		{499 * time.Millisecond, 500 * time.Millisecond, "0 1"},
		{1500 * time.Millisecond, 1499 * time.Millisecond, "2 1"},
		{100 * time.Hour, 60 * time.Second, "360000 60"},
	} {
		id := w.create("show").ID
		session := w.live(id, c.ingest, c.viewed).Session.ID
		type figures struct {
			I json.RawMessage `json:"ingest_seconds"`
			V json.RawMessage `json:"viewer_seconds"`
		}
		text := func(f figures) string { return string(f.I) + " " + string(f.V) }
		l3 := data[struct {
			Session  figures
			Sessions []figures
		}](t, w.call("GET", base+"/livestreams/"+id, ""))
		l4 := data[struct{ Session figures }](t, w.call("GET", base+"/livestreams/"+id+"/active-livestream-session", ""))
		l5 := data[figures](t, w.call("GET", base+"/livestreams/sessions/"+session, ""))
		quoted := `"` + strings.ReplaceAll(c.want, " ", `" "`) + `"`
		if text(l3.Session) != c.want || text(l3.Sessions[0]) != c.want || text(l4.Session) != quoted || text(l5) != c.want {
			t.Errorf("ingest %s, viewed %s: L3 %s, %s, L4 %s, L5 %s, want %s", c.ingest, c.viewed,
				text(l3.Session), text(l3.Sessions[0]), text(l4.Session), text(l5), c.want)
		}
	}
}

// A stop whose answer was lost is asked for again, and has been done.
func TestRetriedStop(t *testing.T) {
	w := newWorld(t)
	id := w.create("show").ID
	stop := func(retry string, want int) {
		t.Helper()
		if rec := w.call("POST", base+"/livestreams/"+id+"/stop", "", "X-Stainless-Retry-Count", retry); rec.Code != want {
			t.Errorf("retry %q: %d, want %d", retry, rec.Code, want)
		}
	}
	stop("1", 404) // never was on air
	w.live(id, time.Second, 0)
	stop("0", 200)
	stop("1", 200)
	stop("0", 404) // not a retry
	w.now = w.now.Add(3 * time.Minute)
	stop("1", 404) // of nothing that happened lately
}

// A failure answers as active until it is acknowledged or 15 minutes old; stop
// acknowledges it once.
func TestFailureIsActiveUntilAcknowledged(t *testing.T) {
	w := newWorld(t)
	fail := func() (id, active string) {
		id = w.create("show").ID
		w.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
		w.advance(id, time.Second, livestream.Event{Kind: livestream.Fail, Reason: livestream.Silent(time.Second)})
		return id, base + "/livestreams/" + id + "/active-livestream-session"
	}
	id, active := fail()
	if rec := w.call("GET", active, ""); rec.Code != 200 {
		t.Errorf("after the failure: %d", rec.Code)
	}
	for i, want := range []int{200, 404} {
		if rec := w.call("POST", base+"/livestreams/"+id+"/stop", ""); rec.Code != want {
			t.Errorf("stop %d: %d, want %d", i+1, rec.Code, want)
		}
	}
	if rec := w.call("GET", active, ""); rec.Code != 404 {
		t.Errorf("after stop: %d", rec.Code)
	}
	_, active = fail()
	w.now = w.now.Add(livestream.FailedVisible - time.Millisecond)
	if rec := w.call("GET", active, ""); rec.Code != 200 {
		t.Errorf("just before 15 min: %d", rec.Code)
	}
	w.now = w.now.Add(time.Millisecond)
	if rec := w.call("GET", active, ""); rec.Code != 404 {
		t.Errorf("after 15 min: %d", rec.Code)
	}
}

// A meeting has one livestream for life, also when two first starts meet.
func TestMeetingHasOneLivestream(t *testing.T) {
	w := newWorld(t)
	type started struct {
		ID     string
		Key    string `json:"stream_key"`
		URL    string `json:"playback_url"`
		Status string
	}
	m := w.meeting(true)
	start := base + "/meetings/" + m + "/livestreams"
	var codes []int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			rec := httptest.NewRecorder()
			r := httptest.NewRequest("POST", start, http.NoBody)
			r.Header.Set("Authorization", "Bearer "+w.token)
			w.h.ServeHTTP(rec, r)
			mu.Lock()
			defer mu.Unlock()
			codes = append(codes, rec.Code)
		})
	}
	all.Wait()
	slices.Sort(codes)
	if want := []int{201, 400, 400, 400, 400, 400, 400, 400}; !slices.Equal(codes, want) {
		t.Errorf("eight starts at once: %v, want %v", codes, want)
	}
	list := data[struct{ Livestreams []started }](t, w.call("GET", base+"/livestreams", ""))
	if len(list.Livestreams) != 1 {
		t.Fatalf("the meeting has %d livestreams", len(list.Livestreams))
	}
	w.call("POST", base+"/meetings/"+m+"/active-livestream/stop", "")
	again := data[started](t, w.call("POST", start, `{"name":"later names are not taken"}`))
	if one := list.Livestreams[0]; again != one || again.Status != "INVOKED" {
		t.Errorf("second start answers %+v, the first was %+v", again, one)
	}
}

func TestStartOfADisabledLivestreamIsRefused(t *testing.T) {
	w := newWorld(t)
	m := w.meeting(true)
	id := data[struct{ ID string }](t, w.call("POST", base+"/meetings/"+m+"/livestreams", "")).ID
	w.advance(id, time.Second, livestream.Event{Kind: livestream.Disable})
	if rec := w.call("POST", base+"/meetings/"+m+"/livestreams", ""); rec.Code != 403 || strings.Contains(rec.Body.String(), "10000") {
		t.Errorf("got %d %s, want 403 with its own code", rec.Code, rec.Body)
	}
}

// Without configured addresses, clients are told the one they used.
func TestAddressesComeFromTheRequest(t *testing.T) {
	w := newWorld(t)
	id := w.create("show").ID
	for _, c := range []struct {
		name, url      string
		change         func(*api.Config)
		header         []string
		ingest, public string
	}{
		{"plain", "http://tally.local:8080", nil, nil, "rtmp://tally.local:1935/live/", "http://tally.local:8080"},
		{"other port", "http://tally.local", func(c *api.Config) { c.RTMPPort = 40001 }, nil, "rtmp://tally.local:40001/live/", "http://tally.local"},
		{"TLS without RTMPS", "https://tally.local", nil, nil, "rtmp://tally.local:1935/live/", "https://tally.local"},
		{"TLS with RTMPS", "https://tally.local", func(c *api.Config) { c.RTMPSPort = 443 }, nil, "rtmps://tally.local:443/live/", "https://tally.local"},
		{"IPv6", "http://[::1]:8080", nil, nil, "rtmp://[::1]:1935/live/", "http://[::1]:8080"},
		{"proxy not trusted", "http://tally.local", nil, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.example"}, "rtmp://tally.local:1935/live/", "http://tally.local"},
		{"proxy trusted", "http://10.0.0.1", trustTests, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "live.example"}, "rtmp://live.example:1935/live/", "https://live.example"},
		{"proxy talks nonsense", "http://10.0.0.1", trustTests, []string{"X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "a/b\"c"}, "rtmp://10.0.0.1:1935/live/", "http://10.0.0.1"},
		{"both configured", "http://x", func(c *api.Config) { c.PublicURL, c.IngestURL = "https://p.example/", "rtmps://i.example:443" }, nil, "rtmps://i.example:443/live/", "https://p.example"},
		{"ingest with a path", "http://x", func(c *api.Config) { c.IngestURL = "rtmp://i.example/live" }, nil, "rtmp://i.example/live/", "http://x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := w.cfg
			cfg.PublicURL, cfg.IngestURL = "", ""
			if c.change != nil {
				c.change(&cfg)
			}
			here := *w
			here.t, here.h = t, api.New(cfg)
			got := data[struct {
				Livestream struct {
					Ingest   string `json:"ingest_server"`
					Playback string `json:"playback_url"`
				}
			}](t, here.call("GET", c.url+base+"/livestreams/"+id, "", c.header...)).Livestream
			want := c.public + "/hls/" + w.record(id).Livestream.PlaybackID + "/index.m3u8"
			if got.Ingest != c.ingest || got.Playback != want {
				t.Errorf("got %s and %s, want %s and %s", got.Ingest, got.Playback, c.ingest, want)
			}
		})
	}
}

func trustTests(c *api.Config) {
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's client
}

// A fault of the store is a 500 that says nothing, and one line in the log
// that names no secret.
func TestFaultsAreLoggedNotTold(t *testing.T) {
	w := newWorld(t)
	l := w.create("show")
	var log strings.Builder
	cfg := w.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Control = broken{commands{w}}
	w.h = api.New(cfg)
	w.live(l.ID, time.Second, 0)
	rec := w.call("POST", base+"/livestreams/"+l.ID+"/stop", "")
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "fire") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if id := rec.Header().Get("X-Request-Id"); !strings.Contains(log.String(), "fire") || !strings.Contains(log.String(), id) {
		t.Errorf("the log says %q, want the cause and %s", log.String(), id)
	}
	for _, secret := range []string{w.token, l.StreamKey.Reveal()} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds a secret: %s", log.String())
		}
	}
}

type broken struct{ commands }

func (broken) Stop(_ context.Context, id string) (livestream.Record, error) {
	return livestream.Record{}, errors.New("stop " + id + ": disk on fire")
}
