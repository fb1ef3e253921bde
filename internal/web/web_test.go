package web_test

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"tally/docs"
	"tally/internal/livestream"
	"tally/internal/web"
)

const known = "pPbVBHSlwWUqmyGrCjoT"

// shelf holds one livestream.
type shelf struct {
	session  livestream.Session
	settings livestream.Settings
	err      error
}

func (s shelf) RecordByPlaybackID(_ context.Context, id string) (livestream.Record, error) {
	if s.err != nil {
		return livestream.Record{}, s.err
	}
	if id != known {
		return livestream.Record{}, livestream.ErrNotFound
	}
	return livestream.Record{Livestream: livestream.Livestream{PlaybackID: id, Name: "private name", Settings: s.settings}, Session: s.session}, nil
}

// kept is whose recordings there are.
type kept map[string]string

func (k kept) PlaybackID(session string) string { return k[session] }

func serve(t *testing.T, s shelf) *httptest.Server {
	t.Helper()
	h, err := web.New(web.Config{Records: s, Recordings: kept{"kept": known, "of-a-deleted-one": "gone"}, Contract: docs.OpenAPI})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestWatchPageKnowsTheStateItIsServedIn(t *testing.T) {
	at := time.Now()
	for _, c := range []struct {
		name string
		s    livestream.Session
		want string
	}{
		{"never live", livestream.Session{}, "waiting"},
		{"publish accepted", livestream.Session{Phase: livestream.Starting}, "waiting"},
		{"on air", livestream.Session{Phase: livestream.OnAir, StartedAt: at}, "live"},
		{"encoder away", livestream.Session{Phase: livestream.Reconnecting, StartedAt: at}, "reconnecting"},
		{"over", livestream.Session{Phase: livestream.Ended, StartedAt: at}, "ended"},
		{"failed before anybody saw it", livestream.Session{Phase: livestream.Failed}, "waiting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, shelf{session: c.s})
			resp, body := get(t, srv.URL+"/watch/"+known)
			if resp.StatusCode != 200 || !strings.Contains(body, `data-state="`+c.want+`"`) {
				t.Errorf("%d, want 200 and state %s", resp.StatusCode, c.want)
			}
			if strings.Contains(body, "private name") {
				t.Error("the page tells the livestream's name")
			}
		})
	}
}

func TestPagesAreLocked(t *testing.T) {
	srv := serve(t, shelf{})
	inline := regexp.MustCompile(`(?i)<script(?:>| [^>]*[^"]>)[^<]|<style|\son[a-z]+=|\sstyle=|javascript:`)
	for path, code := range map[string]int{
		"/": 200, "/watch/" + known: 200, "/watch/" + known + "?embed=1": 200, "/embed/" + known: 200, "/embed/" + known + "?autoplay=1": 200,
		"/embed/unknown": 404, "/embed/": 404,
		"/watch/unknown": 404, "/watch/": 404, "/watch/a/b": 404, "/watch/%3Cscript%3E": 404, "/watch/" + strings.Repeat("a", 65): 404, "/nowhere": 404,
	} {
		resp, body := get(t, srv.URL+path)
		if resp.StatusCode != code {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, code)
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'; script-src 'self'; style-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
		if m := inline.FindString(body); m != "" {
			t.Errorf("%s: inline %q", path, m)
		}
		body = strings.ReplaceAll(body, srv.URL, "") // link previews have whole addresses
		if strings.Contains(body, "//") && regexp.MustCompile(`(?:src|href)="(?:https?:)?//`).MatchString(body) {
			t.Errorf("%s: names another host", path)
		}
	}
}

func TestDocumentationHoldsEveryRoute(t *testing.T) {
	srv := serve(t, shelf{})
	resp, body := get(t, srv.URL+"/docs")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	ids := regexp.MustCompile(`(?m)^ +operationId: (\w+)$`).FindAllSubmatch(docs.OpenAPI, -1)
	if len(ids) < 11 {
		t.Fatalf("%d routes", len(ids))
	}
	for _, m := range ids {
		if !strings.Contains(body, `<article class="op" id="`+string(m[1])+`">`) {
			t.Errorf("%s is not on the page", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(body, -1) {
		switch {
		case strings.HasPrefix(m[1], "#"), m[1] == "./", m[1] == "./openapi.json":
		case strings.HasPrefix(m[1], "./static/"):
			if resp, _ := get(t, srv.URL+strings.TrimPrefix(m[1], ".")); resp.StatusCode != 200 {
				t.Errorf("%s: %d", m[1], resp.StatusCode)
			}
		default:
			t.Errorf("the page needs %s", m[1])
		}
	}
	if regexp.MustCompile(`(?i)<script|<style|\son[a-z]+=|\sstyle=|<no value>|ZgotmplZ`).MatchString(body) {
		t.Error("the page has script, inline style, or a hole in its template")
	}
}

func TestContractAsJSON(t *testing.T) {
	srv := serve(t, shelf{})
	resp, body := get(t, srv.URL+"/openapi.json")
	var file struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(body), &file); err != nil || file.OpenAPI != "3.1.0" || len(file.Paths) < 9 {
		t.Errorf("%v, %q with %d paths", err, file.OpenAPI, len(file.Paths))
	}
	if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("headers %v", resp.Header)
	}
	for _, encoding := range []string{"gzip", "identity"} {
		ask := func(etag string) *http.Response {
			req, _ := http.NewRequest("GET", srv.URL+"/openapi.json", nil)
			req.Header.Set("Accept-Encoding", encoding)
			req.Header.Set("If-None-Match", etag)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp
		}
		first := ask(`"another"`)
		if again := ask(first.Header.Get("ETag")); first.StatusCode != 200 || again.StatusCode != 304 || again.Header.Get("ETag") != first.Header.Get("ETag") {
			t.Errorf("%s: %d, then %d with %v", encoding, first.StatusCode, again.StatusCode, again.Header)
		}
	}
}

func TestOnlyTheWatchPageMayBeFramed(t *testing.T) {
	srv := serve(t, shelf{})
	for path, want := range map[string]string{"/": "frame-ancestors 'none'", "/watch/" + known + "?embed=1": "frame-ancestors *"} {
		resp, _ := get(t, srv.URL+path)
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, want) {
			t.Errorf("%s: %q, want %s", path, csp, want)
		}
	}
}

// Where a cache beside serves the media, the watch page may fetch them there.
func TestWatchPageMayFetchMediaElsewhere(t *testing.T) {
	h, err := web.New(web.Config{Records: shelf{}, Contract: docs.OpenAPI, MediaOrigin: "https://cdn.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for path, may := range map[string]bool{"/": false, "/watch/" + known: true, "/watch/unknown": false} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		csp := rec.Header().Get("Content-Security-Policy")
		for _, want := range []string{"media-src 'self' https://cdn.example.com blob: data:;", "connect-src 'self' https://cdn.example.com;"} {
			if strings.Contains(csp, want) != may {
				t.Errorf("%s: %q", path, csp)
			}
		}
	}
}

func TestEmbeddedPageIsTheStageAlone(t *testing.T) {
	srv := serve(t, shelf{})
	_, body := get(t, srv.URL+"/watch/"+known+"?embed=1")
	if strings.Contains(body, "<header") || strings.Contains(body, "<kbd>") || !strings.Contains(body, `id="video"`) {
		t.Error("the embedded page shows more or less than the stage")
	}
}

// TestStaticFiles fetches everything the watch page names, as the browser would.
func TestPageOfARecording(t *testing.T) {
	srv := serve(t, shelf{})
	resp, body := get(t, srv.URL+"/vod/kept")
	if resp.StatusCode != 200 || !strings.Contains(body, `data-recording="kept"`) || !strings.Contains(body, `data-playback-id="`+known+`"`) ||
		!strings.Contains(body, `href="../vod/kept/index.m3u8"`) {
		t.Errorf("%d:\n%s", resp.StatusCode, body)
	}
	for _, path := range []string{"/vod/other", "/vod/of-a-deleted-one", "/vod/", "/vod/kept/", "/vod/k%65pt"} {
		if resp, _ := get(t, srv.URL+path); resp.StatusCode != 404 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if _, body := get(t, srv.URL+"/watch/"+known); strings.Contains(body, "data-recording") {
		t.Error("the watch page says that it is a recording's")
	}
}

func TestStaticFiles(t *testing.T) {
	srv := serve(t, shelf{})
	_, body := get(t, srv.URL+"/watch/"+known)
	refs := regexp.MustCompile(`"\.\./(static/[^"]+)"`).FindAllStringSubmatch(body, -1)
	if len(refs) != 6 {
		t.Fatalf("%d static files, want icon, style, player, worker and two scripts", len(refs))
	}
	for _, m := range refs {
		for _, encoding := range []string{"gzip", "identity"} {
			req, _ := http.NewRequest("GET", srv.URL+"/"+m[1], nil)
			req.Header.Set("Accept-Encoding", encoding)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			var r io.Reader = resp.Body
			if resp.Header.Get("Content-Encoding") == "gzip" {
				if r, err = gzip.NewReader(r); err != nil {
					t.Fatal(err)
				}
			} else if encoding == "gzip" {
				t.Errorf("%s is not compressed", m[1])
			}
			content, err := io.ReadAll(r)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(content)
			if resp.StatusCode != 200 || !strings.Contains(m[1], "-"+hex.EncodeToString(sum[:6])+".") {
				t.Errorf("%s: %d, and its name is not its content's", m[1], resp.StatusCode)
			}
			if !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") || resp.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: %v", m[1], resp.Header)
			}
		}
	}
	resp, _ := get(t, srv.URL+"/static/hls.min-000000000000.js")
	if resp.StatusCode != 404 || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a file of another version: %d %v", resp.StatusCode, resp.Header)
	}
}

// TestVendoredPlayerIsWhatItSays compares the vendored files with their sums.
func TestVendoredPlayerIsWhatItSays(t *testing.T) {
	sums, err := os.ReadFile("vendor/hls.js/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		f, err := os.Open("vendor/hls.js/" + name + ".gz")
		if err != nil {
			t.Fatal(err)
		}
		zr, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, zr); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if hex.EncodeToString(h.Sum(nil)) != sum {
			t.Errorf("%s is not the file that SHA256SUMS names", name)
		}
	}
	licence, err := os.ReadFile("vendor/hls.js/LICENSE")
	if err != nil || !strings.Contains(string(licence), "Apache License") {
		t.Errorf("licence: %v", err)
	}
}

func TestStoreFaultTellsNothing(t *testing.T) {
	srv := serve(t, shelf{err: errors.New("disk of the secret kind")})
	resp, body := get(t, srv.URL+"/watch/"+known)
	if resp.StatusCode != 500 || strings.Contains(body, "secret") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestOtherMethods(t *testing.T) {
	srv := serve(t, shelf{})
	resp, err := http.Post(srv.URL+"/watch/"+known, "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", resp.StatusCode, resp.Header)
	}
	resp, err = http.Head(srv.URL + "/watch/" + known)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength <= 0 {
		t.Errorf("HEAD: %d, length %d", resp.StatusCode, resp.ContentLength)
	}
}
