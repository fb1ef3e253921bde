package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A service is a small account that answers as upstream does, in one of the
// shapes of its list.
type service struct {
	t           *testing.T
	livestreams []map[string]any
	meetings    map[string]map[string]any
	shape       string // "array", "declared", "tally"
	most        int    // per_page is capped there
	requests    atomic.Int64

	before func(w http.ResponseWriter, r *http.Request, n int64) bool // true: has answered
}

// start serves it and returns a client for it.
func (v *service) start() *Client {
	v.t.Helper()
	server := httptest.NewServer(v)
	v.t.Cleanup(server.Close)
	c, err := NewClient(Credentials{APIBase: server.URL + "/client/v4", AccountID: "acc", AppID: "app", APIToken: "t"})
	if err != nil {
		v.t.Fatal(err)
	}
	return c
}

func (v *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if v.before != nil && v.before(w, r, v.requests.Add(1)) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/client/v4/accounts/acc/realtime/kit/app/")
	if path == "livestreams" && r.Method == http.MethodGet {
		v.list(w, r)
		return
	}
	if m, ok := v.meetings[strings.TrimPrefix(path, "meetings/")]; ok && r.Method == http.MethodGet {
		json.NewEncoder(w).Encode(map[string]any{"success": true, "data": m})
		return
	}
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, `{"success":false,"errors":[{"code":404,"message":"NOT_FOUND: no such thing"}]}`)
}

func (v *service) list(w http.ResponseWriter, r *http.Request) {
	number, _ := strconv.Atoi(r.URL.Query().Get("page_no"))
	size, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	if v.most > 0 {
		size = min(size, v.most)
	}
	begin := min((number-1)*size, len(v.livestreams))
	page := v.livestreams[begin:min(begin+size, len(v.livestreams))]
	paging := map[string]any{"total_count": len(v.livestreams), "start_offset": begin + 1, "end_offset": begin + len(page)}
	answer := map[string]any{"success": true}
	object := map[string]any{"paging": paging}
	if len(page) > 0 {
		for name, value := range page[0] {
			object[name] = value
		}
	}
	switch v.shape {
	case "array":
		answer["data"], answer["paging"] = page, paging
	case "declared":
		answer["data"] = object
	case "tally":
		object["livestreams"] = page
		answer["data"], answer["paging"] = object, paging
	}
	json.NewEncoder(w).Encode(answer)
}

// many are n livestreams as upstream shows them: captured oddities included.
func many(n int) []map[string]any {
	var all []map[string]any
	for i := range n {
		l := map[string]any{
			"id": fmt.Sprintf("id-%d", i), "name": fmt.Sprintf("n%d", i), "meeting_id": nil, "status": "IDLE",
			"disabled": "false", "created_at": "", "updated_at": "2023-07-15T07:08:39.000Z",
		}
		if i%3 == 1 {
			l["name"], l["disabled"] = nil, true
		}
		all = append(all, l)
	}
	return all
}

func TestReadAllShapes(t *testing.T) {
	for _, shape := range []string{"array", "declared", "tally"} {
		for _, n := range []int{0, 1, 2, 100, 101, 230} {
			for _, most := range []int{0, 25} {
				t.Run(fmt.Sprintf("%s/%d/%d", shape, n, most), func(t *testing.T) {
					v := &service{t: t, livestreams: many(n), shape: shape, most: most}
					all, err := v.start().allLivestreams(t.Context(), func(int, int) {})
					if err != nil {
						t.Fatal(err)
					}
					if len(all) != n {
						t.Fatalf("%d livestreams, want %d", len(all), n)
					}
					for i, l := range all {
						if l.ID != fmt.Sprintf("id-%d", i) || bool(l.Disabled) != (i%3 == 1) || (l.Name == "") != (i%3 == 1) {
							t.Errorf("%d: %+v", i, l)
						}
					}
				})
			}
		}
	}
}

func TestReadAllOddSources(t *testing.T) {
	page := func(text string) func(http.ResponseWriter, *http.Request, int64) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			fmt.Fprint(w, text)
			return true
		}
	}
	for _, c := range []struct {
		name, answer string
		n            int
		want         string
	}{
		{"ignores page_no, counts right", `{"data":[{"id":"a"},{"id":"b"}],"paging":{"total_count":2}}`, 2, ""},
		{"ignores page_no, no paging", `{"data":[{"id":"a"}]}`, 1, ""},
		{"names fewer than it counts", `{"data":[{"id":"a"}],"paging":{"total_count":5}}`, 0, "says 5 livestreams and names 1"},
		{"one object without paging", `{"data":{"id":"a","name":"x"}}`, 1, ""},
		{"data is null", `{"data":null}`, 0, ""},
		{"no data", `{"success":true}`, 0, "read answer"},
		{"an unknown status", `{"data":[{"id":"a","status":"PAUSED","disabled":0}]}`, 0, "neither true nor false"},
		{"a page of HTML", `<html>`, 0, "no JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := &service{t: t, before: page(c.answer)}
			all, err := v.start().allLivestreams(t.Context(), func(int, int) {})
			if c.want == "" && (err != nil || len(all) != c.n) {
				t.Fatalf("%d, %v", len(all), err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestPatience: what a source puts off is asked again after the time it names.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		times  int64 // it answers so, then well
		header string
		ok     bool
	}{
		{"a full minute's requests", 429, 3, "0.02", true},
		{"a full day's requests", 429, 1, "86400", false},
		{"a moment's fault", 502, 2, "0.02", true},
		{"down", 503, 1 << 40, "0.02", false},
		{"refused for good", 403, 1 << 40, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := &service{t: t, livestreams: many(3), shape: "array"}
			v.before = func(w http.ResponseWriter, _ *http.Request, n int64) bool {
				if n > c.times {
					return false
				}
				w.Header().Set("Retry-After", c.header)
				w.WriteHeader(c.status)
				fmt.Fprint(w, `{"success":false,"errors":[{"code":0,"message":"later"}]}`)
				return true
			}
			said := 0
			client := v.start()
			client.bePatient("the source", func(string) { said++ })
			all, err := client.allLivestreams(t.Context(), func(int, int) {})
			if (err == nil) != c.ok || c.ok && len(all) != 3 {
				t.Fatalf("%d livestreams, %v", len(all), err)
			}
			if c.ok && said != 1 { // of waits a moment apart
				t.Errorf("told %d times", said)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 8, 2, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "4": 4 * time.Second, "-1": 0, "soon": 0, "1e300": 0,
		"Sun, 02 Aug 2026 12:00:30 GMT": 30 * time.Second, "Sun, 02 Aug 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestPlan holds what counts as imported before.
func TestPlan(t *testing.T) {
	there := func(id, name, meeting string) Livestream { return Livestream{ID: id, Name: name, MeetingID: meeting} }
	for _, c := range []struct {
		name        string
		there, here []Livestream
		want        []string
	}{
		{"nothing is here", []Livestream{there("1", "a", ""), there("2", "b", "m")}, nil, []string{"1 not done", "2 not done"}},
		{"all is here", []Livestream{there("1", "a", ""), there("2", "b", "m")},
			[]Livestream{there("x", "a", ""), there("y", "b", "m")}, []string{"1 skipped x", "2 skipped y"}},
		{"a meeting's was renamed here", []Livestream{there("1", "a", "m")}, []Livestream{there("x", "other", "m")}, []string{"1 skipped x"}},
		{"of three with one name, two are here", []Livestream{there("1", "", ""), there("2", "", ""), there("3", "", "")},
			[]Livestream{there("x", "", ""), there("y", "", "")}, []string{"1 skipped x", "2 skipped y", "3 not done"}},
		{"a meeting's name is not an independent one's", []Livestream{there("1", "a", "")}, []Livestream{there("x", "a", "m")}, []string{"1 not done"}},
		{"two of one meeting", []Livestream{there("1", "a", "m"), there("2", "b", "m")}, nil, []string{"1 skipped", "2 not done"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, i := range plan(c.there, c.here) {
				text := i.From.ID + " " + i.State
				if i.To != nil {
					text += " " + i.To.ID
				}
				if (i.State == stateSkipped) != (i.Note != "") {
					t.Errorf("%s: note %q", text, i.Note)
				}
				got = append(got, text)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestImportEndsEarly: the server here goes wrong at the third of five. What
// was done is told, and the rest is told as not done.
func TestImportEndsEarly(t *testing.T) {
	source := &service{t: t, livestreams: many(5), shape: "array"}
	here := &service{t: t, shape: "tally"}
	created := 0
	here.before = func(w http.ResponseWriter, r *http.Request, _ int64) bool {
		switch {
		case r.Method == http.MethodPut:
			fmt.Fprint(w, `{"success":true,"data":{}}`)
		case r.Method != http.MethodPost:
			return false
		case created == 2:
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"success":false,"errors":[{"code":500,"message":"INTERNAL"}]}`)
		default:
			created++
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"success":true,"data":{"id":"new-%d","stream_key":"key-%d","playback_url":"https://live.example.com/hls/p/index.m3u8"}}`, created, created)
		}
		return true
	}
	out, err := runImport(t, source, here, false)
	if err == nil || !strings.Contains(err.Error(), "ended early, with 3 of 5 livestreams not done") || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"new-1", "key-2", "2 created", "3 not done", "disabled, as there"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// runImport imports from one service into another and returns what it printed.
func runImport(t *testing.T, source, here *service, asJSON bool) (string, error) {
	t.Helper()
	from, to := source.start(), here.start()
	var out, errs bytes.Buffer
	cmd := ImportCmd{JSON: asJSON}
	cmd.FromBase, cmd.FromToken, cmd.FromAccount, cmd.FromApp = from.creds.APIBase, "t", "acc", "app"
	cmd.APIBase, cmd.APIToken, cmd.AccountID, cmd.AppID = to.creds.APIBase, "t", "acc", "app"
	err := cmd.Run(t.Context(), &Streams{Out: &out, Err: &errs})
	return out.String(), err
}

// TestImportMeetings: meetings come with what create takes; one that the source
// forgot comes by its id; one that is refused fails its livestream alone; what
// is closed there is closed here at the end.
func TestImportMeetings(t *testing.T) {
	source := &service{t: t, shape: "array", meetings: map[string]map[string]any{
		"m-whole":   {"id": "m-whole", "title": "Weekly", "status": "INACTIVE", "record_on_start": true, "ai_config": nil, "created_at": "x"},
		"m-storage": {"id": "m-storage", "title": nil, "status": "ACTIVE", "recording_config": map[string]any{"storage_config": map[string]any{"type": "aws"}}},
		"m-taken":   {"id": "m-taken", "status": "ACTIVE", "recording_config": map[string]any{"storage_config": map[string]any{"type": "gcs"}}},
		"m-odd":     {"id": "m-odd", "title": "Odd", "status": "ACTIVE"},
	}}
	for i, meeting := range []string{"m-whole", "m-storage", "m-taken", "m-odd", "m-gone"} {
		source.livestreams = append(source.livestreams, map[string]any{"id": fmt.Sprintf("old-%d", i), "name": "n", "meeting_id": meeting})
	}
	here := &service{t: t, shape: "tally"}
	var calls []string
	here.before = func(w http.ResponseWriter, r *http.Request, n int64) bool {
		if r.Method == http.MethodGet {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		call := r.Method + " " + r.URL.Path[strings.Index(r.URL.Path, "/app/")+5:] + " " + string(body)
		calls = append(calls, call)
		refused := ""
		switch {
		case strings.Contains(call, `"aws"`):
			refused = "/recording_config/storage_config/access_key"
		case strings.Contains(call, `"id":"m-odd"`):
			refused = "/tally/id"
		}
		if refused != "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"success":false,"errors":[{"code":400,"message":"BAD_REQUEST: refused","source":{"pointer":%q}}]}`, refused)
			return true
		}
		fmt.Fprintf(w, `{"success":true,"data":{"id":"new-%d","playback_url":"http://127.0.0.1/hls/p/index.m3u8"}}`, n)
		return true
	}
	out, err := runImport(t, source, here, false)
	if err == nil || err.Error() != "1 of 5 livestreams could not be created; the table says why" {
		t.Errorf("%v", err)
	}
	want := []string{
		`POST meetings {"record_on_start":true,"tally":{"id":"m-whole"},"title":"Weekly"}`,
		`POST livestreams {"name":"n","tally":{"meeting_id":"m-whole"}}`,
		`POST meetings {"recording_config":{"storage_config":{"type":"aws"}},"tally":{"id":"m-storage"}}`,
		`POST meetings {"tally":{"id":"m-storage"}}`,
		`POST livestreams {"name":"n","tally":{"meeting_id":"m-storage"}}`,
		`POST meetings {"recording_config":{"storage_config":{"type":"gcs"}},"tally":{"id":"m-taken"}}`,
		`POST livestreams {"name":"n","tally":{"meeting_id":"m-taken"}}`,
		`POST meetings {"tally":{"id":"m-odd"},"title":"Odd"}`,
		`POST meetings {"tally":{"id":"m-gone"}}`,
		`POST livestreams {"name":"n","tally":{"meeting_id":"m-gone"}}`,
		`PATCH meetings/m-whole {"status":"INACTIVE"}`,
	}
	if d := cmp.Diff(want, calls); d != "" {
		t.Error(d)
	}
	for _, text := range []string{
		"without recording_config, which this server refuses", "m-gone  (no title): created, the source does not know it any more",
		"its meeting could not be created: the server answered 400: BAD_REQUEST: refused", "4 created", "1 failed",
		"m-taken  (no title): created, its recording storage came without its secrets",
	} {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// TestImportNothing: no livestreams is no failure, also for programs.
func TestImportNothing(t *testing.T) {
	out, err := runImport(t, &service{t: t, shape: "declared"}, &service{t: t, shape: "tally"}, true)
	if err != nil || strings.Join(strings.Fields(out), "") != `{"livestreams":[],"meetings":[]}` {
		t.Errorf("%s %v", out, err)
	}
}
