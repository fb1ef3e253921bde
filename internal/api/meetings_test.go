package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/api"
	"tally/internal/livestream"
)

// object is an answer's data when it is an object.
func object(t *testing.T, rec *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var answer struct{ Data map[string]any }
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || answer.Data == nil {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	return answer.Data
}

// pointers are those of an answer's errors.
func pointers(t *testing.T, rec *httptest.ResponseRecorder) (list []string) {
	t.Helper()
	var answer struct {
		Errors []struct{ Source struct{ Pointer string } }
	}
	must(t, json.Unmarshal(rec.Body.Bytes(), &answer))
	for _, e := range answer.Errors {
		list = append(list, e.Source.Pointer)
	}
	return list
}

// at puts value where a pointer says, in an object of nothing else.
func at(pointer, value string) string {
	names := strings.Split(pointer, "/")[1:]
	for i := len(names) - 1; i >= 0; i-- {
		inside := ""
		switch names[i] { // what an object must say besides
		case "storage_config":
			inside = `"type":"aws",`
		case "realtimekit_bucket_config":
			inside = `"enabled":true,`
		}
		if strings.HasPrefix(value, "{") && inside != "" && !strings.HasPrefix(value, `{"type"`) && !strings.HasPrefix(value, `{"enabled"`) {
			value = "{" + inside + value[1:]
		}
		value = fmt.Sprintf(`{%q:%s}`, names[i], value)
	}
	return value
}

// TestMeetingBounds tries each member of a meeting's body at and beyond its
// bounds, with every word of its list, with the wrong type, and as null, by
// every method that takes it.
func TestMeetingBounds(t *testing.T) {
	long := func(n int) string { return `"` + strings.Repeat("ä", n) + `"` }
	bytes := func(n int) string { return `"` + strings.Repeat("a", n) + `"` }
	numbers := func(low, high int) (good, bad []string) {
		return []string{fmt.Sprint(low), fmt.Sprint(high), fmt.Sprint(low) + ".0"},
			[]string{fmt.Sprint(low - 1), fmt.Sprint(high + 1), fmt.Sprint(low) + ".5", `"` + fmt.Sprint(low) + `"`, "true", "1e400", "-1", "[]", "null"}
	}
	words := func(list ...string) (good, bad []string) {
		for _, w := range list {
			good = append(good, `"`+w+`"`)
			bad = append(bad, `"`+w+`x"`)
			if lower := strings.ToLower(w); lower != w {
				bad = append(bad, `"`+lower+`"`)
			}
		}
		return good, append(bad, `""`, "7", "null", `["`+list[0]+`"]`)
	}
	flags := func() (good, bad []string) {
		return []string{"true", "false"}, []string{`"true"`, "0", "1", "null", "{}"}
	}
	line := func() (good, bad []string) {
		return []string{`""`, long(255)}, []string{long(256), `"a\nb"`, "7", "{}", "null"}
	}
	text := func() (good, bad []string) {
		return []string{`""`, bytes(16384), `"a\nb"`}, []string{bytes(16385), "7", "null", "[]"}
	}
	objects := func() (good, bad []string) { return []string{"{}"}, []string{`""`, "[]", "7", "null"} }
	type values func() (good, bad []string)
	num := func(low, high int) values { return func() ([]string, []string) { return numbers(low, high) } }
	enum := func(list ...string) values { return func() ([]string, []string) { return words(list...) } }

	w := newWorld(t)
	for pointer, of := range map[string]values{
		"/session_keep_alive_time_in_secs":                     num(60, 600),
		"/persist_chat":                                        flags,
		"/summarize_on_end":                                    flags,
		"/transcribe_on_end":                                   flags,
		"/recording_config":                                    objects,
		"/recording_config/max_seconds":                        num(60, 86400),
		"/recording_config/file_name_prefix":                   line,
		"/recording_config/audio_config":                       objects,
		"/recording_config/audio_config/codec":                 enum("MP3", "AAC"),
		"/recording_config/audio_config/channel":               enum("mono", "stereo"),
		"/recording_config/audio_config/export_file":           flags,
		"/recording_config/video_config":                       objects,
		"/recording_config/video_config/codec":                 enum("H264", "VP8", "VP9"),
		"/recording_config/video_config/width":                 num(1, 1920),
		"/recording_config/video_config/height":                num(1, 1920),
		"/recording_config/video_config/export_file":           flags,
		"/recording_config/video_config/watermark":             objects,
		"/recording_config/video_config/watermark/position":    enum("left top", "right top", "left bottom", "right bottom"),
		"/recording_config/video_config/watermark/size":        objects,
		"/recording_config/video_config/watermark/size/width":  num(1, 1920),
		"/recording_config/video_config/watermark/size/height": num(1, 1920),
		"/recording_config/live_streaming_config":              objects,
		"/recording_config/realtimekit_bucket_config/enabled":  flags,
		"/recording_config/storage_config/type":                enum("aws", "azure", "digitalocean", "gcs", "sftp"),
		"/recording_config/storage_config/bucket":              line,
		"/recording_config/storage_config/region":              line,
		"/recording_config/storage_config/path":                line,
		"/recording_config/storage_config/auth_method":         enum("KEY", "PASSWORD"),
		"/recording_config/storage_config/host":                line,
		"/recording_config/storage_config/port":                num(1, 65535),
		"/recording_config/storage_config/username":            line,
		"/recording_config/storage_config/access_key":          text,
		"/recording_config/storage_config/secret":              text,
		"/recording_config/storage_config/password":            text,
		"/recording_config/storage_config/private_key":         text,
		"/ai_config":                                objects,
		"/ai_config/transcription":                  objects,
		"/ai_config/transcription/language":         enum("en-US", "en-IN", "de", "hi", "sv", "ru", "pl", "el", "fr", "nl"),
		"/ai_config/transcription/profanity_filter": flags,
		"/ai_config/summarization":                  objects,
		"/ai_config/summarization/word_limit":       num(150, 1000),
		"/ai_config/summarization/text_format":      enum("plain_text", "markdown"),
		"/ai_config/summarization/summary_type": enum("general", "team_meeting", "sales_call", "client_check_in", "interview",
			"daily_standup", "one_on_one_meeting", "lecture", "code_review"),
		"/recording_config/live_streaming_config/rtmp_url": func() ([]string, []string) {
			return []string{`"rtmp://a"`, `"rtmps://a.example.org:443/live2/k?x=1"`},
				[]string{`""`, `"http://a/b"`, `"rtmp:///x"`, `"a"`, `"rtmp://a b"`, `"rtmp://a/\n"`, `"rtmp://` + strings.Repeat("a", 2048) + `"`, "7", "null"}
		},
		"/recording_config/video_config/watermark/url": func() ([]string, []string) {
			return []string{`"http://a/b.png"`, `"https://a.example.org/?x=1"`}, []string{`""`, `"file:///etc/passwd"`, `"rtmp://a"`, `"//a/b"`, "7", "null"}
		},
		"/ai_config/transcription/keywords": func() ([]string, []string) {
			return []string{"[]", `["a","b c"]`}, []string{`"a"`, `[1]`, `[null]`, `["a","a"]`, `[""]`, "{}", "null", "[" + strings.TrimSuffix(strings.Repeat(`"a",`, 1001), ",") + "]"}
		},
	} {
		t.Run(pointer[1:], func(t *testing.T) {
			w.t = t
			good, bad := of()
			id := w.made("")
			for _, m := range []struct{ method, path string }{{"POST", "/meetings"}, {"PUT", "/meetings/" + id}, {"PATCH", "/meetings/" + id}} {
				for _, v := range good {
					if rec := w.call(m.method, base+m.path, at(pointer, v)); rec.Code >= 300 {
						t.Errorf("%s %.60s: %d %s", m.method, at(pointer, v), rec.Code, rec.Body)
					}
				}
				for _, v := range bad {
					rec := w.call(m.method, base+m.path, at(pointer, v))
					if got := pointers(t, rec); rec.Code != 400 || len(got) != 1 || got[0] != pointer {
						t.Errorf("%s %.60s: %d with %q, want 400 with %q", m.method, at(pointer, v), rec.Code, got, pointer)
					}
				}
			}
		})
	}
	w.t = t
	for body, pointer := range map[string]string{
		`{"recording_config":{"storage_config":{"bucket":"b"}}}`: "/recording_config/storage_config/type",
		`{"recording_config":{"realtimekit_bucket_config":{}}}`:  "/recording_config/realtimekit_bucket_config/enabled",
	} {
		rec := w.call("POST", base+"/meetings", body)
		if got := pointers(t, rec); rec.Code != 400 || len(got) != 1 || got[0] != pointer {
			t.Errorf("%s: %d with %q, want 400 with %q", body, rec.Code, got, pointer)
		}
	}
}

// TestMeetingPatchGoesDeep: PATCH changes what it names, at any depth.
func TestMeetingPatchGoesDeep(t *testing.T) {
	w := newWorld(t)
	path := base + "/meetings/" + w.made(wholeMeeting)
	before := object(t, w.call("GET", path, ""))
	for _, c := range []struct {
		body string
		set  func(m map[string]any)
	}{
		{`{"recording_config":{"video_config":{"watermark":{"size":{"width":7}}}}}`, func(m map[string]any) {
			inner(m, "recording_config", "video_config", "watermark", "size")["width"] = 7.0
		}},
		{`{"ai_config":{"transcription":{"keywords":[]}}}`, func(m map[string]any) {
			inner(m, "ai_config", "transcription")["keywords"] = []any{}
		}},
		{`{"recording_config":{},"ai_config":{"summarization":{}}}`, func(map[string]any) {}},
		{`{"title":"","record_on_start":false}`, func(m map[string]any) { m["title"], m["record_on_start"] = "", false }},
		{`{"recording_config":{"storage_config":null}}`, func(m map[string]any) { delete(inner(m, "recording_config"), "storage_config") }},
	} {
		c.set(before)
		got := object(t, w.call("PATCH", path, c.body))
		before["updated_at"] = got["updated_at"]
		if diff := cmp.Diff(before, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.body, diff)
		}
		if diff := cmp.Diff(got, object(t, w.call("GET", path, ""))); diff != "" {
			t.Errorf("%s: a read says otherwise (-patch +get):\n%s", c.body, diff)
		}
	}
}

func inner(m map[string]any, names ...string) map[string]any {
	for _, name := range names {
		m = m[name].(map[string]any)
	}
	return m
}

// TestSecretsOfAStorage: they are never shown, stay with a PATCH as long as they
// are for the same place, and go with a PUT.
func TestSecretsOfAStorage(t *testing.T) {
	const storage = `{"recording_config":{"storage_config":%s}}`
	planted := `{"type":"sftp","host":"a.example.org","port":22,"username":"u","bucket":"b","region":"r","auth_method":"KEY",
		"access_key":"planted-1","secret":"planted-2","password":"planted-3","private_key":"planted-4"}`
	for _, c := range []struct {
		name, method, body string
		kept               string // digits of the secrets that are still there
	}{
		{"another path", "PATCH", fmt.Sprintf(storage, `{"path":"/x"}`), "1234"},
		{"another limit", "PATCH", `{"recording_config":{"max_seconds":60}}`, "1234"},
		{"the same place, as it was read", "PATCH", fmt.Sprintf(storage, `{"type":"sftp","host":"a.example.org","port":22.0,"username":"u","bucket":"b","region":"r","auth_method":"KEY"}`), "1234"},
		{"one secret anew", "PATCH", fmt.Sprintf(storage, `{"secret":"planted-5"}`), "1345"},
		{"another host", "PATCH", fmt.Sprintf(storage, `{"host":"evil.example.org"}`), ""},
		{"another port", "PATCH", fmt.Sprintf(storage, `{"port":2222}`), ""},
		{"another user", "PATCH", fmt.Sprintf(storage, `{"username":"v"}`), ""},
		{"another bucket", "PATCH", fmt.Sprintf(storage, `{"bucket":"c"}`), ""},
		{"another region", "PATCH", fmt.Sprintf(storage, `{"region":"s"}`), ""},
		{"another type", "PATCH", fmt.Sprintf(storage, `{"type":"aws"}`), ""},
		{"another way in", "PATCH", fmt.Sprintf(storage, `{"auth_method":"PASSWORD"}`), ""},
		{"another host and its password", "PATCH", fmt.Sprintf(storage, `{"host":"b.example.org","password":"planted-6"}`), "6"},
		{"none", "PATCH", fmt.Sprintf(storage, `null`), ""},
		{"replaced by the same without secrets", "PUT", fmt.Sprintf(storage, `{"type":"sftp","host":"a.example.org","port":22}`), ""},
		{"replaced by nothing", "PUT", `{}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			create := w.call("POST", base+"/meetings", fmt.Sprintf(storage, planted))
			id := object(t, create)["id"].(string)
			rec := w.call(c.method, base+"/meetings/"+id, c.body)
			if rec.Code != 200 {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
			m, err := w.store.Meeting(t.Context(), w.scope, id)
			must(t, err)
			var kept string
			for i := 1; i <= 6; i++ {
				if strings.Contains(string(m.RecordingConfig), fmt.Sprint("planted-", i)) {
					kept += fmt.Sprint(i)
				}
			}
			if kept != c.kept {
				t.Errorf("secrets %q are stored, want %q: %s", kept, c.kept, m.RecordingConfig)
			}
			for _, answer := range []*httptest.ResponseRecorder{create, rec, w.call("GET", base+"/meetings/"+id, ""), w.call("GET", base+"/meetings", "")} {
				if strings.Contains(answer.Body.String(), "planted") {
					t.Errorf("an answer shows a secret: %s", answer.Body)
				}
			}
		})
	}
}

// TestInactiveMeeting: INACTIVE ends what is on air and refuses the next start,
// ACTIVE allows it again.
func TestInactiveMeeting(t *testing.T) {
	w := newWorld(t)
	m := w.meeting(true)
	path := base + "/meetings/" + m
	set := func(status string) {
		t.Helper()
		if rec := w.call("PATCH", path, `{"status":"`+status+`"}`); rec.Code != 200 || object(t, rec)["status"] != status {
			t.Fatalf("%s: %d %s", status, rec.Code, rec.Body)
		}
	}
	set("INACTIVE") // never started
	if rec := w.call("POST", path+"/livestreams", ""); rec.Code != 400 {
		t.Fatalf("start of an inactive meeting: %d", rec.Code)
	}
	set("ACTIVE")
	id := w.begun(m)
	rec := w.live(id, 5*time.Second, time.Second)
	set("ACTIVE") // as it is: nothing ends
	if w.record(id).Session.Status() != livestream.StatusLive {
		t.Fatal("ACTIVE ended the session")
	}
	set("INACTIVE")
	if got := w.record(id).Session; got.Phase != livestream.Ended || got.Status() != livestream.StatusIdle || got.ErrMessage() != "" || got.ID != rec.Session.ID {
		t.Errorf("after INACTIVE the session is %+v", got)
	}
	if rec := w.call("GET", path+"/active-livestream", ""); rec.Code != 404 {
		t.Errorf("active livestream of an inactive meeting: %d", rec.Code)
	}
	if rec := w.call("POST", path+"/active-livestream/stop", ""); rec.Code != 404 {
		t.Errorf("stop of what has ended: %d", rec.Code)
	}
	set("ACTIVE")
	if again := w.begun(m); again != id {
		t.Errorf("another livestream %s, want %s", again, id)
	}
	// A failure stays to be read: INACTIVE ends what is open, and acknowledges nothing.
	w.advance(id, time.Hour, livestream.Event{Kind: livestream.Expire, SessionID: w.record(id).Session.ID})
	set("INACTIVE")
	if got := w.record(id).Session.Status(); got != livestream.StatusErrored {
		t.Errorf("after INACTIVE a failed livestream is %s", got)
	}
}

// closing is a Control whose starts meet a meeting that becomes INACTIVE at the
// worst moment: after the start saw it ACTIVE, and looking for an open session
// before there is one.
type closing struct {
	commands
	meeting string
}

func (c closing) Start(ctx context.Context, id string) (livestream.Record, error) {
	if rec := c.w.call("PATCH", base+"/meetings/"+c.meeting, `{"status":"INACTIVE"}`); rec.Code != 200 {
		c.w.t.Errorf("INACTIVE: %d %s", rec.Code, rec.Body)
	}
	return c.commands.Start(ctx, id)
}

func TestStartMeetsInactive(t *testing.T) {
	w := newWorld(t)
	m := w.meeting(true)
	w.cfg.Control = closing{commands{w}, m}
	w.h = api.New(w.cfg)
	if rec := w.call("POST", base+"/meetings/"+m+"/livestreams", ""); rec.Code != 400 || !strings.Contains(rec.Body.String(), "inactive") {
		t.Errorf("start: %d %s", rec.Code, rec.Body)
	}
	rec, err := w.store.RecordByMeeting(t.Context(), w.scope, m)
	must(t, err)
	if rec.Session.Phase.Open() {
		t.Errorf("an inactive meeting has a session that is %s", rec.Session.Phase)
	}
}

// TestStartTakesSettings: those of a start hold from then on, its name only at
// the first.
func TestStartTakesSettings(t *testing.T) {
	w := newWorld(t)
	path := base + "/meetings/" + w.meeting(true)
	for _, c := range []struct {
		body, name string
		window     time.Duration
	}{
		{`{"name":"first","tally":{"reconnect_window_seconds":20}}`, "first", 20 * time.Second},
		{`{"name":"second"}`, "first", 20 * time.Second},
		{`{"tally":{"reconnect_window_seconds":30}}`, "first", 30 * time.Second},
	} {
		rec := w.call("POST", path+"/livestreams?include=tally", c.body)
		if rec.Code != 201 {
			t.Fatalf("%s: %d %s", c.body, rec.Code, rec.Body)
		}
		got := object(t, rec)
		l := w.record(got["id"].(string)).Livestream
		if l.Name != c.name || l.Settings.ReconnectWindow != c.window || got["name"] != c.name ||
			inner(got, "tally", "settings")["reconnect_window_seconds"] != c.window.Seconds() {
			t.Errorf("%s: %q with %s; answer %s", c.body, l.Name, l.Settings.ReconnectWindow, rec.Body)
		}
		w.call("POST", path+"/active-livestream/stop", "")
	}
	for _, body := range []string{`{"tally":{"reconnect_window_seconds":-1}}`, `{"tally":{"id":"x"}}`, `{"manual_ingest":1}`, `{"video_config":{"width":1921}}`, `{"video_config":{"height":0}}`} {
		if rec := w.call("POST", path+"/livestreams", body); rec.Code != 400 {
			t.Errorf("%s: %d", body, rec.Code)
		}
	}
}
