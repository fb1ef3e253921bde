package cli

import (
	"net/http"
	"strconv"
	"time"
)

// A patience repeats requests that a server put off, as the official clients
// do. The zero value repeats nothing: a person would rather see the answer.
type patience struct {
	tell func(wait time.Duration, why string) // nil: no patience
}

const (
	busyTries = 12              // for 429: each waits as long as the server asks
	lostTries = 3               // for a connection that broke, and for 5xx
	maxWait   = 5 * time.Minute // the window of the API's rate limit
)

// next says how long to wait before the request is sent once more. What a
// server refused with 429 it did not do, so everything is repeated; what was
// lost may have been done, so only reads are.
func (p patience) next(method string, try int, raw rawAnswer, err error) (wait time.Duration, again bool) {
	if p.tell == nil {
		return 0, false
	}
	wait = retryAfter(raw.header, time.Now())
	if wait == 0 {
		wait = 500 * time.Millisecond << min(try, 6)
	}
	if wait > maxWait {
		return 0, false
	}
	switch {
	case err == nil && raw.status == http.StatusTooManyRequests:
		return wait, try+1 < busyTries
	case method != http.MethodGet:
		return 0, false
	case err != nil || raw.status >= 500 || raw.status == http.StatusRequestTimeout:
		return wait, try+1 < lostTries
	}
	return 0, false
}

func (p patience) say(wait time.Duration, raw rawAnswer, err error) {
	why := "answered " + strconv.Itoa(raw.status)
	if err != nil {
		why = "did not answer"
	}
	p.tell(wait, why)
}

// retryAfter is how long the header asks to wait, in whole seconds or until a
// date (RFC 9110 section 10.2.3); 0 where it says nothing.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
