package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/rtmp/flv"
)

func TestSecondsFromAnyType(t *testing.T) {
	for text, want := range map[string]Seconds{`60`: 60, `"60"`: 60, `"1.5"`: 1.5, `null`: 0} {
		var s Seconds
		if err := json.Unmarshal([]byte(text), &s); err != nil || s != want {
			t.Errorf("%s: %v, %v; want %v", text, s, err, want)
		}
	}
}

// TestFailedMeeting: who asks for a meeting's livestream that failed is told
// where the reason is.
func TestFailedMeeting(t *testing.T) {
	status := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"success":true,"data":{"id":"the-livestream","status":"` + status + `"}}`))
	}))
	t.Cleanup(srv.Close)
	at := APIFlags{APIBase: srv.URL + "/client/v4", APIToken: "t", AccountID: "a", AppID: "b"}
	for _, status = range []string{"LIVE", "ERRORED"} {
		var out bytes.Buffer
		if err := (&MeetingActiveCmd{Common: Common{APIFlags: at}, ID: "m"}).Run(t.Context(), &Streams{Out: &out, Err: &out}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "tally livestream show the-livestream"); got != (status == "ERRORED") {
			t.Errorf("%s:\n%s", status, out.String())
		}
	}
}

// TestPlaybackRevoked: what is taken back is listed by whom, up to when.
func TestPlaybackRevoked(t *testing.T) {
	data := "[]"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/livestreams/the-livestream/playback-revocations") {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		_, _ = w.Write([]byte(`{"success":true,"data":` + data + `}`))
	}))
	t.Cleanup(srv.Close)
	at := APIFlags{APIBase: srv.URL + "/client/v4", APIToken: "t", AccountID: "a", AppID: "b"}
	run := func() string {
		var out bytes.Buffer
		if err := (&PlaybackRevokedCmd{Common: Common{APIFlags: at}, ID: "the-livestream"}).Run(t.Context(), &Streams{Out: &out, Err: &out}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := run(); got != "nothing is revoked\n" {
		t.Errorf("none: %q", got)
	}
	data = `[{"kind":"all","viewer":null,"viewer_id":null,"at":"2026-01-05T12:00:00.000Z","expires_at":"2026-01-12T12:00:00.000Z"},
		{"kind":"name","viewer":"al\u001bice","viewer_id":null,"at":"2026-01-04T12:00:00.000Z","expires_at":"2026-01-11T09:30:00.000Z"},
		{"kind":"viewer","viewer":null,"viewer_id":"00112233aabbccdd","at":"2026-01-03T12:00:00.000Z","expires_at":"2026-01-10T09:30:00.000Z"}]`
	lines := strings.Split(run(), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "everybody ") || !strings.HasPrefix(lines[2], `"viewer al\x1bice" `) ||
		!strings.HasPrefix(lines[3], "viewer id 00112233aabbccdd ") || !strings.Contains(lines[1], "2026-01-05") || !strings.Contains(lines[1], "2026-01-12") {
		t.Errorf("%q", lines)
	}
}

func TestWatchURL(t *testing.T) {
	l := Livestream{PlaybackURL: "https://live.example.com/hls/abc/index.m3u8"}
	if got := l.WatchURL(); got != "https://live.example.com/watch/abc" {
		t.Errorf("WatchURL = %s", got)
	}
	if got := playlistURL(l.WatchURL()); got != l.PlaybackURL {
		t.Errorf("playlistURL = %s", got)
	}
	if got := playlistURL(l.WatchURL() + "?token=a.b.c"); got != l.PlaybackURL+"?token=a.b.c" {
		t.Errorf("with a token, playlistURL = %s", got)
	}
}

// TestWatchWaits: who waits in front of a server that is full is told so.
func TestWatchWaits(t *testing.T) {
	if got := watchLine(player.Stats{Status: player.Starting, Unavailable: 1}); !strings.HasPrefix(got, "starting · the server answers 503") {
		t.Errorf("says %q", got)
	}
	if got := watchLine(player.Stats{Status: player.Playing, Unavailable: 1, MediaBytes: 1}); strings.Contains(got, "503") {
		t.Errorf("while it plays it says %q", got)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{"Sunday": "Sunday", "a\x1b[31mb": `"a\x1b[31mb"`, "käse": "käse"} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %s, want %s", text, got, want)
		}
	}
}

// TestAPIErrors holds what each refusal tells a person to change.
func TestAPIErrors(t *testing.T) {
	var status int
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	defer server.Close()
	client, err := NewClient(Credentials{APIBase: server.URL + "/client/v4", AccountID: "a", AppID: "b", APIToken: "secret-token"})
	if err != nil {
		t.Fatal(err)
	}
	envelope := `{"success":false,"errors":[{"code":404,"message":"NOT_FOUND: no such app"}]}`
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"token unknown", 401, envelope, "check --api-token"},
		{"other account", 403, envelope, "check --account-id"},
		{"unknown app", 404, envelope, "NOT_FOUND: no such app"},
		{"some other server", 200, "<html>", "is --api-base a Tally server's address"},
		{"empty answer", 502, "", "is --api-base a Tally server's address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body = c.status, c.body
			_, _, err := client.Livestream(t.Context(), "x")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "secret-token") {
				t.Errorf("the token is in %v", err)
			}
		})
	}
	server.Close()
	if _, _, err := client.Livestream(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "start one with `tally serve`") {
		t.Errorf("no server: %v", err)
	}
}

// TestLiveLineInPipe: a line when the state turns, none while it stays.
func TestLiveLineInPipe(t *testing.T) {
	var out bytes.Buffer
	line := NewLiveLine(&Streams{Out: &out})
	line.Update("a", "one")
	line.Update("a", "two")
	line.Update("b", "three")
	line.Print("note")
	line.End()
	if got := out.String(); got != "one\nthree\nnote\n" {
		t.Errorf("%q", got)
	}
}

// TestBuiltInClip holds what makes the clip loop without a seam.
func TestBuiltInClip(t *testing.T) {
	c, err := BuiltInClip()
	if err != nil {
		t.Fatal(err)
	}
	if c.Duration != 8000 {
		t.Errorf("duration %d ms, want 8000", c.Duration)
	}
	var pictures, sounds, keys int
	for _, tag := range c.Tags {
		switch {
		case flv.IsSequenceHeader(tag):
		case tag.Type == flv.TypeAudio:
			sounds++
		case tag.Type == flv.TypeVideo:
			v, err := flv.ParseVideo(tag.Body)
			if err != nil {
				t.Fatal(err)
			}
			if v.Packet != flv.Coded {
				continue
			}
			pictures++
			if v.Key {
				keys++
				if tag.Time%int64(time.Second/time.Millisecond) != 0 {
					t.Errorf("keyframe at %d ms", tag.Time)
				}
			}
		}
	}
	if pictures != 240 || sounds != 375 || keys != 8 {
		t.Errorf("%d pictures, %d sounds, %d keyframes; want 240, 375, 8", pictures, sounds, keys)
	}
}
