package main

import (
	"net/http"

	"tally/internal/obs"
)

// obsHandler answers OBS when it asks how to encode a ladder. ingest is where the
// client of a request publishes.
func (s *server) obsHandler(ingest func(*http.Request) string) http.Handler {
	return &obs.Handler{Record: s.store.RecordByKey, Ingest: ingest, Log: s.log}
}
