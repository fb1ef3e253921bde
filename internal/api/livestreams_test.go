package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tally/internal/auth"
	"tally/internal/livestream"
)

// upstream makes the world's app speak upstream's dialect.
func (w *world) upstream() {
	w.t.Helper()
	_, err := w.store.UpdateApp(w.t.Context(), w.scope, func(a livestream.App) livestream.App {
		a.Wire = livestream.WireUpstream
		return a
	})
	must(w.t, err)
}

// watcher makes the world's token one that may read alone.
func (w *world) watcher() { w.token = w.newToken(auth.RealtimeRead) }

// started makes a meeting and starts its livestream.
func (w *world) started() (meeting, id string) {
	w.t.Helper()
	meeting = w.meeting(true)
	rec := w.call("POST", base+"/meetings/"+meeting+"/livestreams", `{"name":"From a meeting"}`)
	return meeting, data[struct{ ID string }](w.t, rec).ID
}

// Every livestream route in both dialects, with our own fields, and as a token
// sees it that may not publish.
func TestLivestreamAnswers(t *testing.T) {
	type answer = *httptest.ResponseRecorder
	onAir := func(w *world) string {
		id := w.create("show").ID
		w.live(id, 60600*time.Millisecond, 12400*time.Millisecond)
		return base + "/livestreams/" + id
	}
	const active = "/active-livestream-session"
	for _, c := range []struct {
		name string
		ask  func(w *world) answer
	}{
		{"upstream list", func(w *world) answer {
			w.upstream()
			w.create("first")
			w.create("second")
			return w.call("GET", base+"/livestreams?per_page=1&page_no=2", "")
		}},
		{"upstream list empty", func(w *world) answer {
			w.upstream()
			return w.call("GET", base+"/livestreams", "")
		}},
		{"upstream livestream", func(w *world) answer {
			w.upstream()
			return w.call("GET", onAir(w), "")
		}},
		{"upstream active", func(w *world) answer {
			w.upstream()
			return w.call("GET", onAir(w)+active, "")
		}},
		{"upstream active with tally", func(w *world) answer {
			w.upstream()
			return w.call("GET", onAir(w)+active+"?include=tally", "")
		}},
		{"upstream meeting livestream", func(w *world) answer {
			w.upstream()
			m, id := w.started()
			w.live(id, time.Second, time.Second)
			return w.call("GET", base+"/meetings/"+m+"/livestream", "")
		}},
		{"upstream reset key", func(w *world) answer {
			w.upstream()
			return w.call("POST", onAir(w)+"/reset-stream-key", "")
		}},

		{"tally create", func(w *world) answer {
			return w.call("POST", base+"/livestreams?include=tally", `{"tally":{"reconnect_window_seconds":0,"publisher_policy":"replace"}}`)
		}},
		{"tally list", func(w *world) answer {
			onAir(w)
			return w.call("GET", base+"/livestreams?include=tally&status=LIVE", "")
		}},
		{"tally livestream", func(w *world) answer {
			id := w.create("show").ID
			w.live(id, time.Second, 0)
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Stop})
			w.now = w.now.Add(time.Minute)
			w.live(id, 61500*time.Millisecond, 1499*time.Millisecond)
			return w.call("GET", base+"/livestreams/"+id+"?include=tally", "")
		}},
		{"tally livestream never on air", func(w *world) answer {
			return w.call("GET", base+"/livestreams/"+w.create("quiet").ID+"?include=tally", "")
		}},
		{"tally active", func(w *world) answer { return w.call("GET", onAir(w)+active+"?include=tally", "") }},
		{"tally active awaiting", func(w *world) answer {
			_, id := w.started()
			return w.call("GET", base+"/livestreams/"+id+active+"?include=tally&include=tally", "")
		}},
		{"tally active reconnecting", func(w *world) answer {
			at := onAir(w)
			w.advance(at[strings.LastIndex(at, "/")+1:], time.Second, livestream.Event{Kind: livestream.Lose})
			return w.call("GET", at+active+"?include=tally", "")
		}},
		{"tally session", func(w *world) answer {
			id := w.create("show").ID
			session := w.live(id, time.Second, time.Second).Session.ID
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Unpublish})
			return w.call("GET", base+"/livestreams/sessions/"+session+"?include=tally", "")
		}},
		{"session events", func(w *world) answer {
			at := onAir(w)
			id := at[strings.LastIndex(at, "/")+1:]
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Lose})
			session := w.advance(id, time.Second, livestream.Event{Kind: livestream.Stop}).Session.ID
			return w.call("GET", base+"/livestreams/sessions/"+session+"/events", "")
		}},
		{"session events of a meeting", func(w *world) answer {
			_, id := w.started()
			return w.call("GET", base+"/livestreams/sessions/"+w.record(id).Session.ID+"/events", "")
		}},
		{"session events page", func(w *world) answer {
			at := onAir(w)
			session := w.record(at[strings.LastIndex(at, "/")+1:]).Session.ID
			return w.call("GET", base+"/livestreams/sessions/"+session+"/events?per_page=1&page_no=2", "")
		}},
		{"session events unknown", func(w *world) answer {
			return w.call("GET", base+"/livestreams/sessions/"+livestream.NewUUID()+"/events", "")
		}},
		{"tally meeting active", func(w *world) answer {
			m, _ := w.started()
			return w.call("GET", base+"/meetings/"+m+"/active-livestream?include=tally", "")
		}},
		{"tally meeting livestream", func(w *world) answer {
			m, id := w.started()
			w.live(id, time.Second, time.Second)
			return w.call("GET", base+"/meetings/"+m+"/livestream?include=tally", "")
		}},
		{"tally and nothing else", func(w *world) answer { return w.call("GET", onAir(w)+active+"?include=sessions", "") }},

		{"masked list", func(w *world) answer { onAir(w); w.watcher(); return w.call("GET", base+"/livestreams", "") }},
		{"masked livestream", func(w *world) answer { at := onAir(w); w.watcher(); return w.call("GET", at, "") }},
		{"masked active", func(w *world) answer { at := onAir(w); w.watcher(); return w.call("GET", at+active, "") }},
		{"masked meeting active", func(w *world) answer {
			m, _ := w.started()
			w.watcher()
			return w.call("GET", base+"/meetings/"+m+"/active-livestream", "")
		}},
		{"masked meeting livestream", func(w *world) answer {
			m, _ := w.started()
			w.watcher()
			return w.call("GET", base+"/meetings/"+m+"/livestream", "")
		}},
		{"masked stop", func(w *world) answer { at := onAir(w); w.watcher(); return w.call("POST", at+"/stop", "") }},

		{"create for a meeting", func(w *world) answer {
			return w.call("POST", base+"/livestreams", `{"name":"moved in","tally":{"meeting_id":"`+w.meeting(true)+`"}}`)
		}},
		{"create for a meeting that has one", func(w *world) answer {
			m, _ := w.started()
			return w.call("POST", base+"/livestreams", `{"tally":{"meeting_id":"`+m+`"}}`)
		}},
		{"create for no meeting", func(w *world) answer {
			return w.call("POST", base+"/livestreams", `{"name":7,"tally":{"meeting_id":"nobody"}}`)
		}},

		{"change", func(w *world) answer {
			return w.call("PATCH", onAir(w)+"?include=tally", `{"name":"Evening","tally":{"damping_seconds":5,"publisher_policy":"reject"},"unknown":1}`)
		}},
		{"change name to null", func(w *world) answer { return w.call("PATCH", onAir(w), `{"name":null}`) }},
		{"change nothing", func(w *world) answer { return w.call("PATCH", onAir(w), `{}`) }},
		{"change wrongly", func(w *world) answer {
			return w.call("PATCH", onAir(w), `{"name":[],"tally":{"damping_seconds":301,"meeting_id":"x","publisher_policy":null}}`)
		}},
		{"delete", func(w *world) answer { return w.call("DELETE", base+"/livestreams/"+w.create("show").ID, "") }},
		{"delete on air", func(w *world) answer { return w.call("DELETE", onAir(w), "") }},
		{"disable", func(w *world) answer { return w.call("PUT", onAir(w)+"/disable", "{}") }},
		{"enable", func(w *world) answer {
			at := onAir(w)
			w.call("PUT", at+"/disable", "")
			return w.call("PUT", at+"/enable", "")
		}},
		{"reset key", func(w *world) answer { return w.call("POST", onAir(w)+"/reset-stream-key", "") }},

		{"meeting livestream", func(w *world) answer {
			m, id := w.started()
			w.live(id, 1500*time.Millisecond, 1499*time.Millisecond)
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Stop})
			w.call("POST", base+"/meetings/"+m+"/livestreams", "")
			return w.call("GET", base+"/meetings/"+m+"/livestream", "")
		}},
		{"meeting livestream beyond the end", func(w *world) answer {
			m, _ := w.started()
			return w.call("GET", base+"/meetings/"+m+"/livestream?page_no=2", "")
		}},
		{"meeting livestream none", func(w *world) answer {
			return w.call("GET", base+"/meetings/"+w.meeting(true)+"/livestream", "")
		}},
		{"sessions of a session", func(w *world) answer {
			id := w.create("show").ID
			return w.call("GET", base+"/sessions/"+w.live(id, time.Second, time.Second).Session.ID+"/livestream-sessions", "")
		}},
		{"sessions of a session beyond the end", func(w *world) answer {
			id := w.create("show").ID
			return w.call("GET", base+"/sessions/"+w.live(id, time.Second, time.Second).Session.ID+"/livestream-sessions?page_no=2", "")
		}},
		{"sessions of no session", func(w *world) answer {
			return w.call("GET", base+"/sessions/00000000-0000-4000-8000-000000000000/livestream-sessions", "")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, strings.ReplaceAll(c.name, " ", "-"), c.ask(newWorld(t)))
		})
	}
}

// What the commands do, seen through the API alone.
func TestCommandsShow(t *testing.T) {
	w := newWorld(t)
	id := w.create("show").ID
	at := base + "/livestreams/" + id
	type object struct {
		Disabled bool
		Status   string
		Updated  string `json:"updated_at"`
	}
	w.live(id, time.Second, 0)
	if o := data[object](t, w.call("PUT", at+"/disable", "")); !o.Disabled || o.Status != "IDLE" {
		t.Errorf("disabled on air: %+v", o)
	}
	if o := data[object](t, w.call("PUT", at+"/disable", "")); !o.Disabled {
		t.Errorf("disabled twice: %+v", o)
	}
	if o := data[object](t, w.call("PUT", at+"/enable", "")); o.Disabled {
		t.Errorf("enabled: %+v", o)
	}
	before := w.record(id).Livestream.StreamKey.Reveal()
	session := w.live(id, time.Second, 0).Session.ID
	w.now = w.now.Add(time.Second)
	type keyed struct {
		Key    string `json:"stream_key"`
		Status string
	}
	o := data[keyed](t, w.call("POST", at+"/reset-stream-key", ""))
	if o.Key == before || o.Status != "IDLE" || w.record(id).Livestream.StreamKey.Reveal() != o.Key {
		t.Errorf("reset on air: %+v, the key was %s", o, before)
	}
	updated := data[object](t, w.call("PATCH", at, `{"tally":{}}`)).Updated
	w.now = w.now.Add(time.Hour)
	if o := data[object](t, w.call("PATCH", at, `{"tally":null}`)); o.Updated != updated {
		t.Errorf("nothing was changed, yet updated_at went from %s to %s", updated, o.Updated)
	}

	for i, want := range []int{200, 404} {
		if rec := w.call("DELETE", at, ""); rec.Code != want {
			t.Errorf("delete %d: %d, want %d", i+1, rec.Code, want)
		}
	}
	for _, c := range [][2]string{{"GET", ""}, {"GET", "/active-livestream-session"}, {"PATCH", ""}, {"POST", "/stop"},
		{"PUT", "/enable"}, {"PUT", "/disable"}, {"POST", "/reset-stream-key"}} {
		if rec := w.call(c[0], at+c[1], ""); rec.Code != 404 || !strings.Contains(rec.Body.String(), "does not exist") {
			t.Errorf("%s %s of a deleted livestream: %d %s", c[0], c[1], rec.Code, rec.Body)
		}
	}
	if list := data[struct{ Livestreams []any }](t, w.call("GET", base+"/livestreams", "")); len(list.Livestreams) != 0 {
		t.Errorf("the list has %d livestreams after the only one was deleted", len(list.Livestreams))
	}
	if rec := w.call("GET", base+"/livestreams/sessions/"+session, ""); rec.Code != 200 {
		t.Errorf("a session of a deleted livestream: %d %s", rec.Code, rec.Body)
	}
}

// A livestream made for a meeting is the one that the meeting starts.
func TestLivestreamMadeForAMeeting(t *testing.T) {
	w := newWorld(t)
	m := w.meeting(true)
	type object struct {
		ID   string
		Name string
		Key  string `json:"stream_key"`
	}
	made := data[object](t, w.call("POST", base+"/livestreams", `{"name":"moved in","tally":{"meeting_id":"`+m+`"}}`))
	if got := data[object](t, w.call("POST", base+"/meetings/"+m+"/livestreams", "")); got != made {
		t.Errorf("the meeting starts %+v, want %+v", got, made)
	}
	if got := data[struct{ Livestreams []object }](t, w.call("GET", base+"/livestreams?exclude_meetings=true", "")); len(got.Livestreams) != 0 {
		t.Errorf("it is listed as independent: %+v", got)
	}
}
