package obs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tally/internal/livestream"
	"tally/internal/secret"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// server answers for the key KEY.
func server(t *testing.T, log *bytes.Buffer, disabled bool, err error) *httptest.Server {
	t.Helper()
	h := &Handler{
		Record: func(_ context.Context, key secret.String) (livestream.Record, error) {
			if key.Reveal() != "KEY" {
				return livestream.Record{}, livestream.ErrNotFound
			}
			return livestream.Record{Livestream: livestream.Livestream{Disabled: disabled}}, err
		},
		Ingest: func(*http.Request) string { return "rtmp://live.example.org:1935/live/" },
		Log:    slog.New(slog.NewTextHandler(log, nil)),
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func post(t *testing.T, s *httptest.Server, body string) (int, []byte) {
	t.Helper()
	r, err := http.Post(s.URL+Path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var b bytes.Buffer
	b.ReadFrom(r.Body)
	return r.StatusCode, b.Bytes()
}

// TestCaptures: what OBS sends, written down from its log
// (obsproject/obs-studio#11509: 31.0) and from its source (32.0), and our answers.
func TestCaptures(t *testing.T) {
	s := server(t, &bytes.Buffer{}, false, nil)
	for _, name := range []string{"obs-31.0", "obs-32.0"} {
		rq, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		code, got := post(t, s, string(rq))
		if code != http.StatusOK {
			t.Fatalf("%s: %d %s", name, code, got)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, got, "", "  "); err != nil {
			t.Fatal(err)
		}
		golden := "testdata/" + name + ".answer.json"
		if *update {
			if err := os.WriteFile(golden, indented.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), indented.String()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestRefusals(t *testing.T) {
	var log bytes.Buffer
	for _, tt := range []struct {
		name, body string
		disabled   bool
		err        error
		code       int
		says       string
	}{
		{"unknown key", `{"authentication":"other"}`, false, nil, 200, "No livestream has this stream key"},
		{"no key", `{}`, false, nil, 200, "empty or too long"},
		{"long key", `{"authentication":"` + strings.Repeat("x", 300) + `"}`, false, nil, 200, "empty or too long"},
		{"disabled", `{"authentication":"KEY"}`, true, nil, 200, "disabled"},
		{"store is away", `{"authentication":"KEY"}`, false, errors.New("disk"), 200, "fault of its own"},
		{"no JSON", `hello`, false, nil, 200, "Update OBS"},
		{"another type", `{"preferences":{"canvases":7}}`, false, nil, 200, "Update OBS"},
		{"endless", strings.Repeat(" ", 100<<10), false, nil, 413, "64 KB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, got := post(t, server(t, &log, tt.disabled, tt.err), tt.body)
			if code != tt.code || !strings.Contains(string(got), tt.says) {
				t.Fatalf("%d %s", code, got)
			}
			var c Config
			if code == 200 && (json.Unmarshal(got, &c) != nil || c.Status.Result != "error") {
				t.Errorf("answer %s", got)
			}
		})
	}
	if strings.Contains(log.String(), "KEY") {
		t.Errorf("the key is in the log: %s", log.String())
	}
	r, err := http.Get(server(t, &log, false, nil).URL + Path)
	if err != nil || r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %v, %v", r.Status, err)
	}
	r.Body.Close()
}

// TestLadders: what fits the canvas, the processor's encoders and the user's limits.
func TestLadders(t *testing.T) {
	for _, tt := range []struct{ name, request, want string }{
		{"nothing told", `{}`, "1920x1080@60 6000, 1280x720@30 2500, 854x480@30 1200, 640x360@30 700"},
		{"1080p30", `{"preferences":{"width":1920,"height":1080,"framerate":{"numerator":30,"denominator":1}}}`,
			"1920x1080@30 4500, 1280x720@30 2500, 854x480@30 1200, 640x360@30 700"},
		{"720p50", `{"preferences":{"width":1280,"height":720,"framerate":{"numerator":50,"denominator":1}}}`, "1280x720@50 3750, 854x480@25 1200, 640x360@25 700"},
		{"144 fps", `{"preferences":{"width":640,"height":480,"framerate":{"numerator":144,"denominator":1}}}`, "640x480@144 1800, 480x360@28.8 700"},
		{"portrait", `{"preferences":{"canvases":[{"width":1080,"height":1920,"framerate":{"numerator":30,"denominator":1}}]}}`,
			"1080x1920@30 4500, 720x1280@30 2500, 480x854@30 1200, 360x640@30 700"},
		{"tiny", `{"preferences":{"width":320,"height":181,"framerate":{"numerator":30,"denominator":1}}}`, "320x182@30 700"},
		{"two tracks", `{"preferences":{"maximum_video_tracks":2}}`, "1920x1080@60 6000, 640x360@30 700"},
		{"one track", `{"preferences":{"maximum_video_tracks":1}}`, "1920x1080@60 6000"},
		{"no tracks mean no limit", `{"preferences":{"maximum_video_tracks":0,"maximum_aggregate_bitrate":0}}`,
			"1920x1080@60 6000, 1280x720@30 2500, 854x480@30 1200, 640x360@30 700"},
		{"8 Mbit/s", `{"preferences":{"maximum_aggregate_bitrate":8200}}`, "1920x1080@60 6000, 854x480@30 1200, 640x360@30 700"},
		{"6 Mbit/s", `{"preferences":{"maximum_aggregate_bitrate":6000}}`, "1280x720@30 2500, 854x480@30 1200, 640x360@30 700"},
		{"6 Mbit/s, one track", `{"preferences":{"maximum_aggregate_bitrate":6000,"maximum_video_tracks":1}}`, "1280x720@30 2500"},
		{"1 Mbit/s", `{"preferences":{"maximum_aggregate_bitrate":1000}}`, "640x360@30 700"},
		{"nearly nothing", `{"preferences":{"maximum_aggregate_bitrate":1}}`, "640x360@30 300"},
		{"nonsense", `{"preferences":{"width":4294967295,"height":1,"framerate":{"numerator":1,"denominator":0}}}`,
			"1920x1080@60 6000, 1280x720@30 2500, 854x480@30 1200, 640x360@30 700"},
	} {
		var rq Request
		if err := json.Unmarshal([]byte(tt.request), &rq); err != nil {
			t.Fatal(err)
		}
		c := Configure(&rq, "rtmps://x/live/")
		var got []string
		for _, v := range c.Video {
			got = append(got, fmt.Sprintf("%dx%d@%.4g %v", v.Width, v.Height, v.Framerate.fps(), v.Settings["bitrate"]))
			if v.Settings["keyint_sec"] != 2 || v.Settings["rate_control"] != "CBR" {
				t.Errorf("%s: settings %v", tt.name, v.Settings)
			}
		}
		if text := strings.Join(got, ", "); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.want)
		}
		if c.Endpoints[0].Protocol != "RTMPS" || c.Endpoints[0].URL != "rtmps://x/live/{stream_key}" || len(c.Audio.Live) != 1 {
			t.Errorf("%s: %+v, %+v", tt.name, c.Endpoints, c.Audio)
		}
	}
}

// FuzzConfigure: whatever OBS is said to send, there is a rendition of an even size.
func FuzzConfigure(f *testing.F) {
	for _, name := range []string{"obs-31.0", "obs-32.0"} {
		b, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var rq Request
		if json.Unmarshal(b, &rq) != nil {
			return
		}
		c := Configure(&rq, "rtmp://x/live/")
		if len(c.Video) == 0 || len(c.Video) > len(ladder) {
			t.Fatalf("%d renditions", len(c.Video))
		}
		for _, v := range c.Video {
			if v.Width == 0 || v.Height == 0 || v.Width%2+v.Height%2 != 0 || v.Framerate.fps() <= 0 || v.Settings["bitrate"].(uint64) < leastKbps {
				t.Errorf("rendition %+v", v)
			}
		}
		if _, err := json.Marshal(c); err != nil {
			t.Error(err)
		}
	})
}
