package main

import (
	"net/http"
	"net/http/pprof"
)

// adminRoutes is the handler of --admin-addr: metrics, profiles and health. It is for
// operators and has no authentication, which is why the default address is
// loopback.
func (s *server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	s.health.routes(mux)
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
