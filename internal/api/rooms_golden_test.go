package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tally/internal/auth"
	"tally/internal/livestream"
)

const kit = "/accounts/acc/realtime/kit"

// apps makes two more apps, each a minute younger than the one before.
func (w *world) apps() {
	w.t.Helper()
	for _, name := range []string{"Parish", "School radio"} {
		w.now = w.now.Add(time.Minute)
		must(w.t, w.store.CreateApp(w.t.Context(), livestream.App{AccountID: "acc", ID: strings.ToLower(name[:6]), Name: name, CreatedAt: w.now}))
	}
	must(w.t, w.store.CreateApp(w.t.Context(), livestream.App{AccountID: "other", ID: "app", Name: "Parish", CreatedAt: w.now}))
}

// limited makes a token that is limited to apps the caller from now on.
func (w *world) limited(group string, apps ...string) { w.token = w.newToken(group, apps...) }

const wholeConfig = `{"max_seconds":86400,"file_name_prefix":"weekly-",
	"audio_config":{"codec":"MP3","channel":"mono","export_file":false},
	"video_config":{"codec":"VP9","width":1920,"height":1080,"export_file":false,
		"watermark":{"url":"https://example.org/logo.png","size":{"width":100,"height":50},"position":"right bottom"}},
	"live_streaming_config":{"rtmp_url":"rtmps://a.example.org:443/live2/key"},
	"realtimekit_bucket_config":{"enabled":true},
	"storage_config":{"type":"sftp","bucket":"b","region":"eu","path":"/r","auth_method":"KEY","host":"h.example.org","port":22,"username":"u",
		"access_key":"AK","secret":"SK","password":"PW","private_key":"-----BEGIN\nPRIVATE"}}`

const wholeAI = `{"transcription":{"keywords":["Tally","RTMP"],"language":"de","profanity_filter":true},
	"summarization":{"word_limit":1000,"text_format":"plain_text","summary_type":"lecture"}}`

const wholeMeeting = `{"title":"Weekly","record_on_start":true,"live_stream_on_start":true,"persist_chat":true,"summarize_on_end":true,
	"transcribe_on_end":true,"session_keep_alive_time_in_secs":600,"recording_config":` + wholeConfig + `,"ai_config":` + wholeAI + `}`

// Every endpoint of apps and meetings in every state that shows in its answer.
func TestAnswersOfRooms(t *testing.T) {
	type answer = *httptest.ResponseRecorder
	for _, c := range []struct {
		name string
		ask  func(w *world) answer
	}{
		{"app list", func(w *world) answer {
			w.apps()
			return w.call("GET", kit+"/apps", "")
		}},
		{"app list second page oldest first", func(w *world) answer {
			w.apps()
			return w.call("GET", kit+"/apps?page_no=2&per_page=1&sort_order=ASC", "")
		}},
		{"app list found", func(w *world) answer {
			w.apps()
			return w.call("GET", kit+"/apps?search=SCHOOL&include=tally", "")
		}},
		{"app list found nothing", func(w *world) answer {
			return w.call("GET", kit+"/apps?search=nothing", "")
		}},
		{"app list to a token of one app", func(w *world) answer {
			w.apps()
			w.limited(auth.RealtimeRead, "parish")
			return w.call("GET", kit+"/apps", "")
		}},
		{"app list of another account", func(w *world) answer {
			return w.call("GET", "/accounts/other/realtime/kit/apps", "")
		}},
		{"app list refused", func(w *world) answer {
			return w.call("GET", kit+"/apps?page_no=x&sort_order=up&search="+strings.Repeat("a", 256)+"&include=all", "")
		}},
		{"app create", func(w *world) answer {
			return w.call("POST", kit+"/apps", `{"name":"Zoë's <radio>","unknown":1}`)
		}},
		{"app create with settings", func(w *world) answer {
			return w.call("POST", kit+"/apps?include=tally", `{"name":"x","tally":{"wire":"upstream"}}`)
		}},
		{"app create of a name that is taken", func(w *world) answer {
			return w.call("POST", kit+"/apps", `{"name":"default"}`)
		}},
		{"app create without a name", func(w *world) answer {
			return w.call("POST", kit+"/apps", `{}`)
		}},
		{"app create by a token of one app", func(w *world) answer {
			w.limited(auth.RealtimeAdmin, "app")
			return w.call("POST", kit+"/apps", `{"name":"x"}`)
		}},
		{"app get", func(w *world) answer { return w.call("GET", base, "") }},
		{"app get unknown", func(w *world) answer { return w.call("GET", kit+"/nope", "") }},
		{"app change", func(w *world) answer {
			w.limited(auth.Realtime, "app")
			return w.call("PATCH", base, `{"name":"New name","tally":{"wire":"upstream"}}`)
		}},
		{"app change nothing", func(w *world) answer { return w.call("PATCH", base, ``) }},
		{"app change to a name that is taken", func(w *world) answer {
			w.apps()
			return w.call("PATCH", base, `{"name":"Parish"}`)
		}},
		{"app change to what cannot be", func(w *world) answer {
			return w.call("PATCH", base, `{"name":null,"tally":{"wire":"both","colour":"red"}}`)
		}},

		{"meeting create of nothing", func(w *world) answer { return w.call("POST", base+"/meetings", "") }},
		{"meeting create of nulls", func(w *world) answer {
			return w.call("POST", base+"/meetings", `{"title":null,"record_on_start":null,"live_stream_on_start":null,"recording_config":{"storage_config":null}}`)
		}},
		{"meeting create of everything", func(w *world) answer { return w.call("POST", base+"/meetings", wholeMeeting) }},
		{"meeting create with defaults inside", func(w *world) answer {
			return w.call("POST", base+"/meetings", `{"recording_config":{"audio_config":{},"video_config":{"watermark":{}},"live_streaming_config":{},"unknown":{"a":1}},
				"ai_config":{"transcription":{},"summarization":{}}}`)
		}},
		{"meeting create with its id", func(w *world) answer {
			return w.call("POST", base+"/meetings", `{"tally":{"id":"bbb0a1b2-c3d4-1e5f-0123-456789abcdef"}}`)
		}},
		{"meeting create with an id that is taken", func(w *world) answer {
			w.call("POST", base+"/meetings", `{"tally":{"id":"bbb0a1b2-c3d4-1e5f-0123-456789abcdef"}}`)
			return w.call("POST", base+"/meetings", `{"title":"x","tally":{"id":"bbb0a1b2-c3d4-1e5f-0123-456789abcdef"}}`)
		}},
		{"meeting create with what is no id", func(w *world) answer {
			return w.call("POST", base+"/meetings", `{"tally":{"id":"../../etc","wire":"upstream"}}`)
		}},
		{"meeting list", func(w *world) answer {
			w.call("POST", base+"/meetings", wholeMeeting)
			w.now = w.now.Add(time.Minute)
			w.meeting(false)
			return w.call("GET", base+"/meetings", "")
		}},
		{"meeting list empty", func(w *world) answer { return w.call("GET", base+"/meetings", "") }},
		{"meeting list found", func(w *world) answer {
			w.call("POST", base+"/meetings", `{"title":"Weekly"}`)
			w.call("POST", base+"/meetings", `{"title":"Daily"}`)
			return w.call("GET", base+"/meetings?search=WEEK&status=ACTIVE&start_time=2026-01-02&end_time=2026-01-02&sort_order=asc", "")
		}},
		{"meeting list refused", func(w *world) answer {
			return w.call("GET", base+"/meetings?status=OPEN&start_time=soon&per_page=-1", "")
		}},
		{"meeting change", func(w *world) answer {
			id := w.made(wholeMeeting)
			w.now = w.now.Add(time.Minute)
			return w.call("PATCH", base+"/meetings/"+id, `{"title":"Monthly","recording_config":{"max_seconds":60,"video_config":{"width":640}},
				"ai_config":{"summarization":{"word_limit":150}},"status":"INACTIVE"}`)
		}},
		{"meeting change nothing", func(w *world) answer {
			id := w.made(`{"title":"Weekly"}`)
			w.now = w.now.Add(time.Minute)
			return w.call("PATCH", base+"/meetings/"+id, `{"title":"Weekly"}`)
		}},
		{"meeting change to nulls", func(w *world) answer {
			return w.call("PATCH", base+"/meetings/"+w.meeting(true), `{"title":null,"status":null,"record_on_start":null,"live_stream_on_start":null,"persist_chat":null,
				"summarize_on_end":null,"transcribe_on_end":null,"session_keep_alive_time_in_secs":null,"recording_config":null,"ai_config":null}`)
		}},
		{"meeting change unknown", func(w *world) answer {
			return w.call("PATCH", base+"/meetings/00000000-0000-4000-8000-000000000000", `{"title":7}`)
		}},
		{"meeting replace", func(w *world) answer {
			id := w.made(wholeMeeting)
			w.now = w.now.Add(time.Minute)
			return w.call("PUT", base+"/meetings/"+id, `{"persist_chat":true,"recording_config":{"storage_config":{"type":"gcs"}},"status":"INACTIVE"}`)
		}},
		{"meeting replace by nulls", func(w *world) answer {
			return w.call("PUT", base+"/meetings/"+w.meeting(false), `{"title":null,"record_on_start":null,"live_stream_on_start":null}`)
		}},
		{"meeting replace by nulls that may not be", func(w *world) answer {
			return w.call("PUT", base+"/meetings/"+w.meeting(true), `{"persist_chat":null,"summarize_on_end":null,"transcribe_on_end":null,
				"session_keep_alive_time_in_secs":null,"recording_config":null,"ai_config":null}`)
		}},
		{"meeting start of a disabled livestream", func(w *world) answer {
			m := w.meeting(true)
			id := w.begun(m)
			w.advance(id, time.Second, livestream.Event{Kind: livestream.Disable})
			return w.call("POST", base+"/meetings/"+m+"/livestreams", "")
		}},
		{"meeting stop of what failed", func(w *world) answer {
			m := w.meeting(true)
			id := w.begun(m)
			rec := w.record(id)
			w.advance(id, time.Hour, livestream.Event{Kind: livestream.Expire, SessionID: rec.Session.ID})
			return w.call("POST", base+"/meetings/"+m+"/active-livestream/stop", "")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, strings.ReplaceAll(c.name, " ", "-"), c.ask(newWorld(t)))
		})
	}
}

// made creates a meeting over the API and returns its id.
func (w *world) made(body string) string {
	w.t.Helper()
	rec := w.call("POST", base+"/meetings", body)
	if rec.Code != 201 {
		w.t.Fatalf("create meeting: %d %s", rec.Code, rec.Body)
	}
	return object(w.t, rec)["id"].(string)
}

// begun starts a meeting's livestream and returns its id.
func (w *world) begun(meeting string) string {
	w.t.Helper()
	rec := w.call("POST", base+"/meetings/"+meeting+"/livestreams", "")
	if rec.Code != 201 {
		w.t.Fatalf("start: %d %s", rec.Code, rec.Body)
	}
	return object(w.t, rec)["id"].(string)
}
