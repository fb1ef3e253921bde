package fleet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A cache is a shared HTTP cache of this test (RFC 9111) in front of a server or
// of another cache: it keeps what it may, for as long as it may, asks once for
// what several ask for at the same time, and names itself in Via.
type cache struct {
	addr     string // HOST:PORT
	upstream string // HOST:PORT
	client   *http.Client

	mu      sync.Mutex
	stored  map[string]*stored
	flights map[string]*flight
	passed  map[string]bool // not to be kept: everybody's request goes through
	hits    int
	misses  int
}

type stored struct {
	header http.Header
	body   []byte
	until  time.Time
}

// A flight is a request upstream that several wait for.
type flight struct{ done chan struct{} }

// newCache starts a cache, which ends with the test.
func newCache(t *testing.T) *cache {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cache{addr: ln.Addr().String(), stored: map[string]*stored{}, flights: map[string]*flight{}, passed: map[string]bool{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	c.client = &http.Client{Transport: transport}
	srv := &http.Server{Handler: c}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("cache: %v", err)
		}
	}()
	t.Cleanup(func() {
		srv.Close()
		<-served
		transport.CloseIdleConnections()
	})
	return c
}

// ServeHTTP implements http.Handler.
func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.Header.Get("Range") != "" {
		c.pass(w, r, nil)
		return
	}
	for {
		key := r.URL.RequestURI()
		s, f, mine := c.find(key)
		switch {
		case s != nil:
			c.answer(w, s)
			return
		case f == nil:
			c.pass(w, r, nil)
			return
		case mine:
			c.pass(w, r, f)
			return
		}
		select {
		case <-f.done: // stored now, or else not to be kept
		case <-r.Context().Done():
			return
		}
	}
}

// find returns what is kept of a URL, or the flight that fetches it; mine says
// that the caller is to fetch. Neither: what is there is not to be kept.
func (c *cache) find(key string) (s *stored, f *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.stored[key]; s != nil && time.Now().Before(s.until) {
		c.hits++
		return s, nil, false
	}
	c.misses++
	if c.passed[key] {
		return nil, nil, false
	}
	if f := c.flights[key]; f != nil {
		return nil, f, false
	}
	f = &flight{done: make(chan struct{})}
	c.flights[key] = f
	return nil, f, true
}

func (c *cache) answer(w http.ResponseWriter, s *stored) {
	for name, values := range s.header {
		w.Header()[name] = values
	}
	w.Header().Set("X-Cache", "hit")
	w.Write(s.body)
}

// pass asks upstream, and keeps the answer for the flight, if it may.
func (c *cache) pass(w http.ResponseWriter, r *http.Request, f *flight) {
	var got *stored
	defer func() {
		if f != nil {
			c.land(r.URL.RequestURI(), f, got)
		}
	}()
	ctx := r.Context()
	if f != nil {
		ctx = context.WithoutCancel(ctx) // others wait for it, too
	}
	up, err := http.NewRequestWithContext(ctx, r.Method, "http://"+c.upstream+r.URL.RequestURI(), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	up.Header = r.Header.Clone()
	up.Header.Add("Via", "1.1 fleet-cache")
	up.ContentLength = r.ContentLength
	resp, err := c.client.Do(up)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.Header().Set("X-Cache", "miss")
	w.WriteHeader(resp.StatusCode)
	body, err := io.ReadAll(io.TeeReader(resp.Body, w))
	if keep := lifetime(resp); f != nil && err == nil && keep > 0 && int64(len(body)) == resp.ContentLength {
		got = &stored{header: resp.Header.Clone(), body: body, until: time.Now().Add(min(keep, time.Minute))}
	}
}

// lifetime is for how long a shared cache may keep an answer without asking.
func lifetime(resp *http.Response) time.Duration {
	control := resp.Header.Get("Cache-Control")
	for _, word := range []string{"no-store", "private", "no-cache"} {
		if strings.Contains(control, word) {
			return 0
		}
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(control, "public") || !strings.Contains(control, "max-age=31536000") {
		return 0
	}
	return 31536000 * time.Second
}

// land ends a flight.
func (c *cache) land(key string, f *flight, got *stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, key)
	if got == nil {
		c.passed[key] = true
	} else {
		c.stored[key] = got
	}
	close(f.done)
	now := time.Now()
	for key, s := range c.stored {
		if now.After(s.until) {
			delete(c.stored, key)
		}
	}
}
