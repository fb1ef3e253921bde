package fleet

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCache shows that the cache in front is one: what it may keep it asks for
// once, whoever asks how often; what it may not is asked for by everybody.
func TestCache(t *testing.T) {
	var asked, wrong atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Via") == "" {
			wrong.Add(1)
		}
		w.Header().Set("Cache-Control", map[string]string{
			"/part": "public, max-age=31536000, immutable", "/list": "private, no-cache", "/gone": "no-store",
		}[r.URL.Path])
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, "answer %d", asked.Load())
	}))
	defer upstream.Close()
	far, near := newCache(t), newCache(t)
	far.upstream, near.upstream = strings.TrimPrefix(upstream.URL, "http://"), far.addr
	const players = 20
	for _, test := range []struct {
		path string
		want int64
	}{{"/part", 1}, {"/list", players}, {"/gone", players}} {
		asked.Store(0)
		var wg sync.WaitGroup
		for range players {
			wg.Go(func() {
				c := &client{ctx: context.Background()}
				defer c.close()
				r, err := c.do(request{host: near.addr, path: test.path, keep: true})
				if err != nil || !r.whole || !strings.HasPrefix(string(r.body), "answer") {
					t.Errorf("%s: %+v %v", test.path, r, err)
				}
			})
		}
		wg.Wait()
		if got := asked.Load(); got != test.want {
			t.Errorf("%d players asked for %s, which the server was asked for %d times, want %d", players, test.path, got, test.want)
		}
	}
	if wrong.Load() != 0 {
		t.Error("requests came without Via")
	}
}
