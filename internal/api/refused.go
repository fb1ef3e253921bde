package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"tally/internal/livestream"
)

const (
	// maxRefusals bounds a refusals at about 1 MB.
	maxRefusals = 8192
	// maxRefusedBody and refusedBodyTime bound what is read of a request that is
	// refused before its handler would read it, and how long that is waited for.
	// What creates has some hundred bytes, which come with the header.
	maxRefusedBody  = 16 << 10
	refusedBodyTime = time.Second
)

// refusals knows the creations that this server refused with nothing done, so
// that their retries are not taken for those of equal requests that did create
// something: each is done as if it were the first. It is memory alone: after a
// restart such a retry is the ambiguous case of docs/decisions/0004. When it is
// full, any one is forgotten, with the same effect. Safe for concurrent use.
type refusals struct {
	mu      sync.Mutex
	expects map[attempt]refusal
}

// An attempt is a request, and the retry count with which its client comes next.
type attempt struct {
	request [32]byte
	retry   uint64
}

type refusal struct {
	clients int       // that were refused
	at      time.Time // the last of them
}

// add says that the request with this retry count was refused with nothing
// done, as were those of its client before it.
func (f *refusals) add(request [32]byte, retry uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.expects == nil {
		f.expects = map[attempt]refusal{}
	}
	next := attempt{request, retry + 1}
	r, known := f.expects[next]
	if !known && len(f.expects) >= maxRefusals {
		for some := range f.expects {
			delete(f.expects, some)
			break
		}
	}
	f.expects[next] = refusal{r.clients + 1, now}
}

// original reports whether nothing was done yet for the request: it is no retry,
// or the retry of one that was refused, of which this takes one.
func (f *refusals) original(request [32]byte, retry uint64, now time.Time) bool {
	if retry == 0 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	this := attempt{request, retry}
	r := f.expects[this]
	fresh := r.clients > 0 && now.Sub(r.at) <= livestream.RetryWindow
	if r.clients--; r.clients > 0 && fresh {
		f.expects[this] = r
	} else {
		delete(f.expects, this)
	}
	return fresh
}

// refuseCreation notes a 429 for a request that would have created something.
func (s *server) refuseCreation(w *answer, r *http.Request) {
	e, _ := s.tree.find(r.URL)
	if e == nil || r.Method != http.MethodPost || r.ContentLength < 0 || r.ContentLength > maxRefusedBody {
		return
	}
	if _, ok := creations[e.path]; !ok {
		return
	}
	// Not every ResponseWriter has deadlines; then the server's own must do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBodyTime))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	request, ok := identify(w, r)
	if !ok {
		return
	}
	retry := retryCount(r)
	if !s.original(request, retry) {
		return
	}
	// What addresses are refused, which anyone can bring about, is kept apart.
	f := &s.refusedToken
	if w.tokenID == "" {
		f = &s.refusedAddress
	}
	f.add(request, retry, s.Now())
}

// original is refusals.original of whichever knows the request.
func (s *server) original(request [32]byte, retry uint64) bool {
	return s.refusedToken.original(request, retry, s.Now()) || s.refusedAddress.original(request, retry, s.Now())
}

// isRefused reports whether err is an answer that clients retry, given while
// nothing was done. A client that has gone is none: its command may be done yet.
func isRefused(err error) bool {
	return errors.Is(err, livestream.ErrStopping) || statusOf(err) == http.StatusInternalServerError
}
