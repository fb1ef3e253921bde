package main

import (
	"net/http"
	"net/http/pprof"
)

// adminRoutes is the handler of --admin-addr: metrics, profiles, health. It is
// for operators and has no authentication, which is why the default address is
// loopback.
func adminRoutes(metrics http.Handler, h *health) http.Handler {
	mux := http.NewServeMux()
	h.routes(mux)
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
