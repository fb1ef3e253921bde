package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/livestream"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Random texts of an answer, by the form that docs/openapi.yaml gives them.
var random = []struct {
	name string
	form *regexp.Regexp
}{
	{"uuid", regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)},
	{"token", regexp.MustCompile(`\b(tally|whsec)_[0-9A-Za-z]{32}\b`)},
	{"key", regexp.MustCompile(`\b[0-9A-Za-z]{32}\b`)},
	{"playback", regexp.MustCompile(`\b[0-9A-Za-z]{20}\b`)},
}

// golden compares an answer with testdata/NAME.golden. Random texts are
// numbered by their first appearance, so that equal ones stay equal.
func golden(t *testing.T, name string, rec *httptest.ResponseRecorder) {
	t.Helper()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%d\n", rec.Code)
	for _, h := range []string{"Allow", "Retry-After", "WWW-Authenticate"} {
		if v := rec.Header().Get(h); v != "" {
			fmt.Fprintf(&out, "%s: %s\n", h, v)
		}
	}
	if rec.Body.Len() > 0 {
		if err := json.Indent(&out, rec.Body.Bytes(), "", "  "); err != nil {
			t.Fatalf("%s is not JSON: %s", rec.Body, err)
		}
	}
	text := out.String()
	for _, r := range random {
		var seen []string
		text = r.form.ReplaceAllStringFunc(text, func(s string) string {
			i := slices.Index(seen, s)
			if i < 0 {
				i, seen = len(seen), append(seen, s)
			}
			return fmt.Sprintf("<%s-%d>", r.name, i+1)
		})
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// Every endpoint in every state that shows in its answer.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  func(w *world) *httptest.ResponseRecorder
	}{
		{"create named", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/livestreams", `{"name":"Zoë's <show> & \"more\"","unknown":1}`)
		}},
		{"create unnamed", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/livestreams", `{"name":null}`)
		}},
		{"list empty", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/livestreams", "")
		}},
		{"list", func(w *world) *httptest.ResponseRecorder {
			w.create("first")
			w.live(w.create("").ID, 7*time.Second, 3*time.Second)
			w.create("third")
			return w.call("GET", base+"/livestreams", "")
		}},
		{"list beyond the end", func(w *world) *httptest.ResponseRecorder {
			w.create("first")
			return w.call("GET", base+"/livestreams?page_no=2", "")
		}},
		{"livestream never on air", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/livestreams/"+w.create("quiet").ID, "")
		}},
		{"livestream on air for the second time", func(w *world) *httptest.ResponseRecorder {
			id := w.create("show").ID
			w.live(id, 90*time.Second, 61*time.Second)
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Unpublish})
			w.live(id, 1500*time.Millisecond, 1499*time.Millisecond)
			return w.call("GET", base+"/livestreams/"+id, "")
		}},
		{"active invoked", func(w *world) *httptest.ResponseRecorder {
			id := w.create("show").ID
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
			return w.call("GET", base+"/livestreams/"+id+"/active-livestream-session", "")
		}},
		{"active live", func(w *world) *httptest.ResponseRecorder {
			id := w.create("show").ID
			w.live(id, 60600*time.Millisecond, 12400*time.Millisecond)
			return w.call("GET", base+"/livestreams/"+id+"/active-livestream-session", "")
		}},
		{"active reconnecting", func(w *world) *httptest.ResponseRecorder {
			id := w.create("").ID
			w.live(id, 5*time.Second, 0)
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Lose})
			return w.call("GET", base+"/livestreams/"+id+"/active-livestream-session", "")
		}},
		{"active errored", func(w *world) *httptest.ResponseRecorder {
			id := w.create("show").ID
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
			w.advance(id, 10*time.Second, livestream.Event{Kind: livestream.Fail, Reason: livestream.Silent(10 * time.Second)})
			return w.call("GET", base+"/livestreams/"+id+"/active-livestream-session", "")
		}},
		{"active none", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/livestreams/"+w.create("show").ID+"/active-livestream-session", "")
		}},
		{"session ended", func(w *world) *httptest.ResponseRecorder {
			id := w.create("show").ID
			rec := w.live(id, 60600*time.Millisecond, 12400*time.Millisecond)
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Unpublish})
			return w.call("GET", base+"/livestreams/sessions/"+rec.Session.ID, "")
		}},
		{"session errored", func(w *world) *httptest.ResponseRecorder {
			id := w.create("show").ID
			rec := w.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
			w.advance(id, 10*time.Second, livestream.Event{Kind: livestream.Fail, Reason: livestream.Silent(10 * time.Second)})
			return w.call("GET", base+"/livestreams/sessions/"+rec.Session.ID, "")
		}},
		{"stop", func(w *world) *httptest.ResponseRecorder {
			id := w.create("show").ID
			w.live(id, time.Second, 0)
			return w.call("POST", base+"/livestreams/"+id+"/stop", "")
		}},
		{"stop none", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/livestreams/"+w.create("show").ID+"/stop", "")
		}},
		{"meeting create", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/meetings", `{"title":"Weekly","record_on_start":true,"session_keep_alive_time_in_secs":90.0,
				"recording_config":{"max_seconds":60,"storage_config":{"type":"aws","bucket":"b","access_key":"AK","secret":"SK"}},
				"ai_config":{"summarization":{"word_limit":200}}}`)
		}},
		{"meeting get", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/meetings/"+w.meeting(true)+"?name=ignored", "")
		}},
		{"meeting start", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/meetings/"+w.meeting(true)+"/livestreams", `{"name":"From a meeting","video_config":{"width":1280,"height":720}}`)
		}},
		{"meeting start twice", func(w *world) *httptest.ResponseRecorder {
			m := w.meeting(true)
			w.call("POST", base+"/meetings/"+m+"/livestreams", "{}")
			return w.call("POST", base+"/meetings/"+m+"/livestreams", "{}")
		}},
		{"meeting start inactive", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/meetings/"+w.meeting(false)+"/livestreams", "{}")
		}},
		{"meeting active", func(w *world) *httptest.ResponseRecorder {
			m := w.meeting(true)
			w.call("POST", base+"/meetings/"+m+"/livestreams", "{}")
			return w.call("GET", base+"/meetings/"+m+"/active-livestream", "")
		}},
		{"meeting active none", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/meetings/"+w.meeting(true)+"/active-livestream", "")
		}},
		{"meeting stop", func(w *world) *httptest.ResponseRecorder {
			m := w.meeting(true)
			w.call("POST", base+"/meetings/"+m+"/livestreams", "{}")
			return w.call("POST", base+"/meetings/"+m+"/active-livestream/stop", "")
		}},
		{"meeting stop none", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/meetings/"+w.meeting(true)+"/active-livestream/stop", "")
		}},
		{"error no token", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/livestreams", "", "Authorization", "")
		}},
		{"error other account", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", "/accounts/other/realtime/kit/app/livestreams", "")
		}},
		{"error unknown app", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", "/accounts/acc/realtime/kit/nope/livestreams", "")
		}},
		{"error unknown livestream", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/livestreams/00000000-0000-0000-0000-000000000000", "")
		}},
		{"error unknown route", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/liverstreams", "")
		}},
		{"error unknown route below long ids", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", "/client/v4/accounts/0123456789abcdef0123456789abcdef/realtime/kit/0123456789abcdef0123456789abcdef/liverstreams", "")
		}},
		{"error unknown route without end", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/"+strings.Repeat("x", 4000), "")
		}},
		{"error method", func(w *world) *httptest.ResponseRecorder {
			return w.call("DELETE", base+"/livestreams", "")
		}},
		{"error several fields", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/meetings", `{"title":7,"persist_chat":null,"session_keep_alive_time_in_secs":59}`)
		}},
		{"error query", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/livestreams?per_page=-1&status=OFFLINE&start_time=yesterday", "")
		}},
		{"error not JSON", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/livestreams", `{"name":"x"`)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, strings.ReplaceAll(c.name, " ", "-"), c.ask(newWorld(t)))
		})
	}
}
