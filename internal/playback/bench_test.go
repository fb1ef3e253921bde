package playback_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkHits measures what one request costs the handler when what it asks
// for is there, without a socket: nearly all requests are such.
func BenchmarkHits(b *testing.B) {
	w := newWorld(b)
	defer w.close()
	w.air(4 * time.Second) // in real time
	for _, h := range w.hits() {
		b.Run(h.name, func(b *testing.B) {
			out := &lean{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				w.handler.ServeHTTP(out, h.request)
			}
		})
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
	s := w.registry.Stream(id).Window().Current()
	var all []hit
	for _, h := range []struct{ name, url string }{
		{"part", dir + uris(text, listedParts)[3]},
		{"segment", dir + uris(text, segments)[1]},
		{"init section", dir + uris(text, initSection)[0]},
		{"playlist", dir + "index.m3u8"},
		{"reload", fmt.Sprintf("%sindex.m3u8?_HLS_msn=%d&_HLS_part=0", dir, s.LastMSN)},
		{"delta", dir + "index.m3u8?_HLS_skip=YES"},
	} {
		r := httptest.NewRequest("GET", h.url, nil)
		r.Header.Set("Accept-Encoding", "gzip, deflate, br")
		all = append(all, hit{h.name, r})
	}
	return all
}
