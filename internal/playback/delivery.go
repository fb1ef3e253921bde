package playback

import (
	"net/http"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/usage"
)

// A Mode is how media reach viewers, as --delivery says it.
type Mode string

const (
	// Direct: media URLs hold the viewer, so that each request is attributable.
	Direct Mode = "direct"
	// Shared: media URLs are the same for all viewers, so that any cache in
	// front serves them to all. What is left to count by are the requests for
	// playlists, and beacons.
	Shared Mode = "shared"
	// Auto decides for each playlist: shared where the request came through a
	// cache, else direct.
	Auto Mode = "auto"
)

// sharedFor reports whether a playlist request is answered in shared delivery.
// Via (RFC 9110 section 7.6.3) and CDN-Loop (RFC 8586) are what caches add to
// the requests that they pass on. Anyone can add them: all it gains is to be
// counted by playlists.
func (h *Handler) sharedFor(r *http.Request) bool {
	switch h.mode {
	case Direct:
		return false
	case Shared:
		return true
	}
	return len(r.Header["Via"]) > 0 || len(r.Header["Cdn-Loop"]) > 0
}

// present tells usage that a viewer was answered a media playlist in shared
// delivery.
//
// The answer is the evidence, not the question: a player asks for the next
// playlist as soon as it has one, so answers are as far apart as questions, and
// who is answered was there for the whole wait. What was not answered with a
// playlist (gone meanwhile, 503 after three target durations) says nothing; the
// next answer makes up for it, as far as one step may be long.
//
// Once the session is over the playlist stands still until its ENDLIST or until
// the next session's media: players go on asking, and there is nothing to be
// there for.
func (h *Handler) present(st *hls.Stream, s *hls.Snapshot, p *path, r *http.Request) {
	session := s.SessionID()
	on := session != "" && session == st.SessionID() && st.Stage() != livestream.StageEnded
	if !on || s.Ended || r.Method != http.MethodGet || r.Context().Err() != nil {
		return
	}
	if id, ok := h.verified(p); ok {
		h.counter.Asked(usage.Presence{
			SessionID: session, Viewer: id, Target: st.Window().TargetDuration(), Held: s.Held(),
		})
	}
}
