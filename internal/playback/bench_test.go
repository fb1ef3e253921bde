package playback_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tally/internal/playback"
)

// BenchmarkHits measures what one request costs the handler when what it asks
// for is there, without a socket: nearly all requests are such.
func BenchmarkHits(b *testing.B) {
	for _, mode := range []playback.Mode{playback.Direct, playback.Shared} {
		w := newWorld(b, options{delivery: mode})
		w.rush(4 * time.Second)
		for _, h := range w.hits() {
			b.Run(string(mode)+" "+h.name, func(b *testing.B) {
				out := &lean{header: http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					w.handler.ServeHTTP(out, h.request)
				}
			})
		}
		w.close()
	}
}

// A hit is a request for something that is there.
type hit struct {
	name    string
	request *http.Request
}

// hits are the requests that a player makes over and over.
func (w *world) hits() []hit {
	dir := w.join()
	text := body(w.t, w.get(dir+"index.m3u8"))
	names := named(text)
	files := dir // where media are
	if strings.HasPrefix(names[0], "../") {
		files = below("")
	}
	text = strings.ReplaceAll(text, "../", "")
	s := w.registry.Stream(id).Window().Current()
	var hits []hit
	for _, h := range []struct{ name, url string }{
		{"part", files + uris(text, listedParts)[3]},
		{"segment", files + uris(text, segments)[1]},
		{"init section", files + uris(text, initSection)[0]},
		{"playlist", dir + "index.m3u8"},
		{"reload", fmt.Sprintf("%sindex.m3u8?_HLS_msn=%d&_HLS_part=0", dir, s.LastMSN)},
		{"delta", dir + "index.m3u8?_HLS_skip=YES"},
	} {
		r := httptest.NewRequest("GET", h.url, nil)
		r.Header.Set("Accept-Encoding", "gzip, deflate, br")
		hits = append(hits, hit{h.name, r})
	}
	return hits
}
