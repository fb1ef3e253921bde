package conformance_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"tally/internal/api"
)

// A wire stands between clients and the API: it keeps what they sent, and does
// to the next answers what networks and busy servers do.
type wire struct {
	mu     sync.Mutex
	next   http.Handler
	faults []fault // of the next requests to come
	seen   []seen
}

// A seen is one request as it arrived.
type seen struct {
	method, path, query, body string
	header                    http.Header
}

// A fault is what becomes of one request. It reports whether it answered.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

// ServeHTTP implements http.Handler.
func (x *wire) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	x.mu.Lock()
	x.seen = append(x.seen, seen{r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header.Clone()})
	var now fault
	if len(x.faults) > 0 {
		now, x.faults = x.faults[0], x.faults[1:]
	}
	next := x.next
	x.mu.Unlock()
	if now == nil || !now(w, r, next) {
		next.ServeHTTP(w, r)
	}
}

// will has these faults befall the next requests, and forgets what was seen.
func (x *wire) will(faults ...fault) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults, x.seen = faults, nil
}

// requests are those seen since will.
func (x *wire) requests() []seen {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.seen)
}

// lost lets the server act, and cuts the connection before its answer.
func lost(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	next.ServeHTTP(httptest.NewRecorder(), r)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
	return true
}

// half lets the server act, and cuts the connection in the middle of its answer.
func half(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	conn, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return true
	}
	defer conn.Close()
	answer := rec.Result()
	answer.ContentLength = int64(rec.Body.Len())
	var whole strings.Builder
	answer.Write(&whole)
	buf.WriteString(whole.String()[:whole.Len()-20])
	buf.Flush()
	return true
}

// restarted is lost, and what answers from then on is another server, over the
// same store.
func restarted(p *place) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		p.wire.mu.Lock()
		p.wire.next = api.New(p.config)
		p.wire.mu.Unlock()
		return lost(w, r, next)
	}
}

// busy answers in the server's place, with nothing done. after is Retry-After;
// "10ms" says it in milliseconds.
func busy(status int, after string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.Header().Set("Content-Type", "application/json")
		if ms, ok := strings.CutSuffix(after, "ms"); ok {
			w.Header().Set("Retry-After-Ms", ms)
		} else if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
		io.WriteString(w, `{"success":false,"errors":[{"code":0,"message":"not now"}],"messages":[],"result":null}`)
		return true
	}
}

// unseen lets the server act, and answers that it could not.
func unseen(status int) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		next.ServeHTTP(httptest.NewRecorder(), r)
		return busy(status, "")(w, r, next)
	}
}
