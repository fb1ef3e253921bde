package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tally/internal/obs"
)

// send sends a request with a body, and the token where it is the API's.
func (h *house) send(method, url, body string, headers ...string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	fatal(h.t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if strings.Contains(url, "/client/") {
		req.Header.Set("Authorization", "Bearer "+h.flags.APIToken)
	}
	resp, err := h.client.Do(req)
	fatal(h.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	fatal(h.t, err)
	return resp.StatusCode, string(text)
}

// TestBehindAProxy: whatever is told of where this server is follows what a trusted
// proxy says, in the API, to OBS and to pages that embed; nobody else is believed.
func TestBehindAProxy(t *testing.T) {
	forwarded := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "live.example.org"}
	for name, c := range map[string]struct {
		trusted []string
		change  func(*serverFlags)
		base    string // "": as it was asked
		ingest  string
	}{
		"trusted":    {trusted: []string{"127.0.0.1/32"}, base: "https://live.example.org", ingest: "rtmps://live.example.org:%[2]d/live/"},
		"not":        {ingest: "rtmp://127.0.0.1:%[1]d/live/"},
		"configured": {trusted: []string{"127.0.0.1/32"}, change: func(f *serverFlags) { f.PublicURL, f.IngestURL = "https://tv.example.com/", "rtmp://in.example.com" }, base: "https://tv.example.com", ingest: "rtmp://in.example.com/live/"},
	} {
		t.Run(name, func(t *testing.T) {
			h := openHouse(t, func(f *serverFlags) {
				f.TrustedProxies = c.trusted
				if c.change != nil {
					c.change(f)
				}
			})
			base, ingest := c.base, c.ingest
			if base == "" {
				base = h.plainURL()
			}
			if strings.Contains(ingest, "%") {
				ingest = strings.ReplaceAll(strings.ReplaceAll(ingest, "%[1]d", fmt.Sprint(port(h.ports.rtmp))), "%[2]d", fmt.Sprint(port(h.ports.rtmps)))
			}
			l := h.create(h.plainURL())
			_, text := h.send("GET", h.plainURL()+h.api+"/livestreams/"+l.ID, "", forwarded...)
			for _, want := range []string{`"ingest_server":"` + ingest + `"`, `"playback_url":"` + base + "/hls/"} {
				if !strings.Contains(text, want) {
					t.Errorf("the API does not say %s: %s", want, text)
				}
			}
			var config obs.Config
			code, text := h.send("POST", h.plainURL()+obs.Path, fmt.Sprintf(`{"authentication":%q}`, l.StreamKey), forwarded...)
			if err := json.Unmarshal([]byte(text), &config); err != nil || code != 200 || len(config.Endpoints) != 1 || !strings.HasPrefix(config.Endpoints[0].URL, ingest) {
				t.Errorf("OBS is not told %s: %d %s: %v", ingest, code, text, err)
			}
			watch := strings.Replace(strings.TrimSuffix(l.PlaybackURL, "/index.m3u8"), "/hls/", "/watch/", 1)
			_, text = h.send("GET", h.plainURL()+"/oembed?url="+watch, "", forwarded...)
			if want := base + "/embed/"; !strings.Contains(text, want) {
				t.Errorf("who embeds is not told of %s: %s", want, text)
			}
		})
	}
}
