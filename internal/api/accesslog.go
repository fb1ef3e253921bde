package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// An AccessLog says which requests are logged.
type AccessLog string

const (
	LogChanges AccessLog = "changes" // what is no GET, and every answer >= 400; the default
	LogAll     AccessLog = "all"
	LogOff     AccessLog = "off"
)

// An answer is what one request was answered, and what of the request is worth
// a line. It comes from a pool: nobody keeps it after the request.
type answer struct {
	http.ResponseWriter
	began   time.Time
	client  netip.Addr
	tokenID string // "" before the token is known
	status  int
	bytes   int64 // of the body as written; net/http drops that of a HEAD
}

var answers = sync.Pool{New: func() any { return new(answer) }}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// logAnswer writes the access log's line. It holds the route and not the path:
// ids are in no line, nor is anything else that a client chose but its method.
func (s *server) logAnswer(a *answer, r *http.Request) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if s.AccessLog == LogOff || s.AccessLog == LogChanges && read && a.status < 400 {
		return
	}
	bytes := a.bytes
	if r.Method == http.MethodHead {
		bytes = 0
	}
	s.Logger.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelInfo, "api",
		slog.String("request", a.Header().Get("X-Request-Id")),
		slog.String("method", methodText(r.Method)),
		slog.String("route", r.Pattern), // "" when there is none
		slog.Int("status", a.status),
		slog.Int64("bytes", bytes),
		slog.Float64("ms", float64(time.Since(a.began).Microseconds())/1000),
		slog.String("token", a.tokenID), // its id
		slog.String("remote", addressText(a.client)))
}

// methodText is the method of a route's kind; whatever else a client sends is
// not repeated.
func methodText(method string) string {
	if len(method) > len(http.MethodConnect) || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "other"
	}
	return method
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
