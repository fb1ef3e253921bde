package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// diskFloorBytes is the free space below which the server says that it is not
// ready: enough for the database to write the ends of all sessions, many times
// over. A choice; recordings will have a floor of their own above it.
const diskFloorBytes = 64 << 20

// health answers whether the process turns and whether it can serve.
type health struct {
	stopping atomic.Bool // set when the server was asked to stop
	dataDir  string
	ping     func(context.Context) error // the store's
}

// routes adds /healthz and /readyz.
func (h *health) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answerText(w, http.StatusOK, "ok tally "+version)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := h.ready(r.Context()); err != nil {
			answerText(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answerText(w, http.StatusOK, "ready")
	})
}

// ready returns nil, or why requests should go elsewhere.
func (h *health) ready(ctx context.Context) error {
	if h.stopping.Load() {
		return fmt.Errorf("stopping")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := h.ping(ctx); err != nil {
		return fmt.Errorf("store: not reachable") // the cause is for the log, not for strangers
	}
	free, err := freeBytes(h.dataDir)
	if err != nil {
		return fmt.Errorf("disk: free space unknown")
	}
	if free < diskFloorBytes {
		return fmt.Errorf("disk: less than %d MB free in the data directory", diskFloorBytes>>20)
	}
	return nil
}

// freeBytes is what this user may still write to dir's file system.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

func answerText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}
