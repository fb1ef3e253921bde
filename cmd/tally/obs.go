package main

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"tally/internal/api"
	"tally/internal/obs"
)

// obsHandler answers OBS when it asks how to encode a ladder.
func (s *server) obsHandler() http.Handler {
	return &obs.Handler{Record: s.store.RecordByKey, Ingest: s.ingestFor, Log: s.log}
}

// ingestFor is where the client of r publishes: as configured, or to the host that
// it asked, by RTMPS if it asked by HTTPS.
func (s *server) ingestFor(r *http.Request) string {
	if s.flags.IngestURL != "" {
		return api.IngestBase(s.flags.IngestURL)
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if r.TLS != nil && s.ports.rtmps != nil {
		return "rtmps://" + net.JoinHostPort(host, strconv.Itoa(port(s.ports.rtmps))) + "/live/"
	}
	return "rtmp://" + net.JoinHostPort(host, strconv.Itoa(port(s.ports.rtmp))) + "/live/"
}
