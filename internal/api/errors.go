package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"tally/internal/api/input"
	"tally/internal/auth"
	"tally/internal/livestream"
)

// Conditions that only the API knows.
var (
	errForbidden = errors.New("token may not do this here")
	errNoRoute   = errors.New("no such route")
	errMethod    = errors.New("method not allowed")
)

// statuses turns errors into HTTP: the one place that does. There is no 409,
// because the official clients retry it, some for minutes (contract 3.4).
var statuses = []struct {
	err  error
	code int
}{
	{auth.ErrNoToken, http.StatusUnauthorized},
	{auth.ErrBadToken, http.StatusUnauthorized},
	{errForbidden, http.StatusForbidden},
	{errNoRoute, http.StatusNotFound},
	{errMethod, http.StatusMethodNotAllowed},
	{errLimited, http.StatusTooManyRequests},
	{input.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{input.ErrInvalid, http.StatusBadRequest},
	{livestream.ErrNotFound, http.StatusNotFound},
	{livestream.ErrNotActive, http.StatusNotFound},
	{livestream.ErrDisabled, http.StatusForbidden},
	{livestream.ErrAlreadyOn, http.StatusBadRequest},
	{livestream.ErrBusy, http.StatusBadRequest},
	{livestream.ErrInactive, http.StatusBadRequest},
	{livestream.ErrDamped, http.StatusBadRequest},
	{livestream.ErrNotStarted, http.StatusBadRequest},
	{livestream.ErrTransition, http.StatusBadRequest},
	{livestream.ErrExists, http.StatusBadRequest},
	{livestream.ErrTooMany, http.StatusBadRequest},
	{livestream.ErrOpen, http.StatusBadRequest},
	{livestream.ErrLastToken, http.StatusBadRequest},
	{livestream.ErrManyPlaybackKeys, http.StatusBadRequest},
	{livestream.ErrManyRevocations, http.StatusBadRequest},
	{livestream.ErrNotPrivate, http.StatusBadRequest},
	{livestream.ErrStopping, http.StatusServiceUnavailable},
	{context.Canceled, http.StatusServiceUnavailable}, // the client left, or we stop
	{context.DeadlineExceeded, http.StatusServiceUnavailable},
} // anything else: 500, logged in full, answered without detail

// A told error has a text for the client; what it wraps chooses the status.
type told struct {
	err  error
	text string
}

func (e *told) Error() string { return e.text }
func (e *told) Unwrap() error { return e.err }

// tell gives err a text for the client.
func tell(err error, format string, args ...any) error {
	return &told{err, fmt.Sprintf(format, args...)}
}

// missing is what a look-up of an id that names nothing answers. An id that is
// malformed or foreign gets the same words.
func missing(what, id string) error {
	return tell(livestream.ErrNotFound, "NOT_FOUND: %s %q does not exist", what, input.Clip(id))
}

// orMissing is the error of a look-up: missing when the id names nothing.
func orMissing(err error, what, id string) error {
	if errors.Is(err, livestream.ErrNotFound) {
		return missing(what, id)
	}
	return err
}

// Cloudflare's own codes; everything else has the status as its code (contract 3.2).
const (
	codeAuthentication = 10000
	codeNoRoute        = 7003
	codeNoURI          = 7000
)

type errorEntry struct {
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Source  *source `json:"source,omitempty"`
}

type source struct {
	Pointer string `json:"pointer"`
}

// errorBody is the union of both error dialects (contract 3.2): Cloudflare's
// errors[] and RealtimeKit's error.
type errorBody struct {
	Success  bool         `json:"success"`
	Errors   []errorEntry `json:"errors"`
	Messages []string     `json:"messages"`
	Result   *struct{}    `json:"result"`
	Error    errorEntry   `json:"error"`
}

// fail answers err.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests:
		h.Set("Retry-After", errorAs[limited](err).seconds())
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusInternalServerError:
		s.Logger.Error("api request", "err", err, "method", r.Method, "route", r.Pattern, "request", h.Get("X-Request-Id"))
	}
	entries := entriesOf(err, status, r.URL.Path, h.Get("Allow"))
	s.write(w, status, errorBody{Errors: entries, Messages: []string{},
		Error: errorEntry{Code: entries[0].Code, Message: entries[0].Message}})
}

// errorAs is the E in err's chain, or a zero one.
func errorAs[E error](err error) (e E) {
	errors.As(err, &e)
	return e
}

func statusOf(err error) int {
	for _, row := range statuses {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	return http.StatusInternalServerError
}

// clipPath shortens a path before it is sent back, so far that its end, where
// the mistake mostly is, shows behind two long ids.
func clipPath(path string) string {
	if len(path) > 256 {
		return strings.ToValidUTF8(path[:256], "") + "…"
	}
	return path
}

// entriesOf says err in the client's words: a told text, the faults, or a
// sentence for the status. Nothing else of err leaves the server.
func entriesOf(err error, status int, path, allow string) []errorEntry {
	one := func(code int, format string, args ...any) []errorEntry {
		return []errorEntry{{Code: code, Message: fmt.Sprintf(format, args...)}}
	}
	var text *told
	var fs input.Faults
	switch {
	case errors.As(err, &fs):
		entries := make([]errorEntry, len(fs))
		for i, f := range fs {
			entries[i] = errorEntry{Code: status, Message: "BAD_REQUEST: " + f.Text}
			if f.Pointer != "" {
				entries[i].Source = &source{f.Pointer}
			}
		}
		return entries
	case errors.As(err, &text):
		return one(status, "%s", text.text)
	case status == http.StatusUnauthorized, errors.Is(err, errForbidden):
		return one(codeAuthentication, "Authentication error")
	case errors.Is(err, errNoRoute):
		return append(one(codeNoRoute, "Could not route to %s, perhaps your object identifier is invalid?", clipPath(path)),
			errorEntry{Code: codeNoURI, Message: "No route for that URI"})
	case status == http.StatusMethodNotAllowed:
		return one(status, "METHOD_NOT_ALLOWED: this path takes %s", allow)
	case status == http.StatusTooManyRequests:
		return one(status, "TOO_MANY_REQUESTS: try again in %s s", errorAs[limited](err).seconds())
	case status == http.StatusRequestEntityTooLarge:
		return one(status, "PAYLOAD_TOO_LARGE: the body may have %d bytes", input.MaxBody)
	case status == http.StatusServiceUnavailable:
		return one(status, "SERVICE_UNAVAILABLE: the request was not finished in time or the server is stopping; try again")
	case status == http.StatusInternalServerError:
		return one(status, "INTERNAL_SERVER_ERROR: the server's log says more under this answer's X-Request-Id")
	}
	return one(status, "%s: %s", strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_")), rootText(err))
}

// rootText is the shared condition's own text, without what was wrapped around it.
func rootText(err error) string {
	for _, row := range statuses {
		if errors.Is(err, row.err) {
			return row.err.Error()
		}
	}
	return strconv.Itoa(http.StatusInternalServerError)
}
