package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestFront: the API gets its paths as they came, without a redirect.
func TestFront(t *testing.T) {
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) })
	}
	f := &front{playback: named("playback"), api: named("api"), rest: named("rest")}
	for path, want := range map[string]string{
		"/hls/x/index.m3u8": "playback", "/hls/": "rest", "/client/v4": "api", "/client/v4//accounts/a": "api",
		"/client/v4/accounts/a/../b": "api", "/accounts/a": "api", "/client/v40": "rest", "/accountsx": "rest", "/": "rest", "/watch/x": "rest",
	} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "http://tally/", nil)
		r.URL.Path = path
		f.ServeHTTP(rec, r)
		if got, _ := io.ReadAll(rec.Body); string(got) != want {
			t.Errorf("%s went to %s, want %s", path, got, want)
		}
	}
}
