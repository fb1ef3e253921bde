// Package hls makes low-latency HLS of what an encoder sends. A [Packager] cuts
// frames into parts and segments; each part replaces the run's immutable
// [Snapshot] in its [Window], which viewers read without locks; the [Registry]
// knows which playback id has which [Stream].
//
// What the playlist promises stands rule by rule in docs/hls.md.
package hls

import (
	"time"

	"tally/internal/livestream"
)

// Config of a [Registry]. The zero value works.
type Config struct {
	// PartTarget is EXT-X-PART-INF's PART-TARGET where whole frames fill it
	// well; 0: 335 ms. 200 ms to 1 s.
	PartTarget time.Duration
	// Window is the media time listed; 0: 12 s. It is never less than three
	// target durations.
	Window time.Duration
	// RingBytes caps the media held per run, listed or not; 0: 64 MB.
	RingBytes int64
}

// OpenOptions say what a session's packager continues or begins.
type OpenOptions struct {
	PlaybackID   string
	SessionID    string
	Run          livestream.Run
	EndlistDelay time.Duration // how long the playlist outlives a clean end
}

// A State is where a stream stands, for viewers.
type State uint8

const (
	Starting     State = iota // a publish was accepted, nothing of the session is listed yet
	Live                      // media comes
	Reconnecting              // the publisher is gone, the session stays open
	Ended                     // the session is over; the playlist may await its ENDLIST
)

// String gives the state's name as the public state endpoint shows it.
func (s State) String() string {
	return [...]string{"waiting", "live", "reconnecting", "ended"}[s]
}

// A Registry holds the runs that this process packages, and those that ended a
// short while ago. All methods may be called concurrently.
type Registry struct{}

// NewRegistry returns an empty registry.
func NewRegistry(c Config) *Registry { return &Registry{} }

// Open returns the packager of a session. If the run is in memory and its
// playlist has no ENDLIST, the session continues it behind a discontinuity;
// else a playlist begins at Run.MSNMark+1.
func (r *Registry) Open(o OpenOptions) *Packager { return nil }

// Stream returns the newest run of a playback id, or nil when none is in
// memory: never published since the server started, or ended long ago.
func (r *Registry) Stream(playbackID string) *Stream { return nil }

// Run returns that run of a playback id, which may be an older one that ended
// a short while ago, or nil.
func (r *Registry) Run(playbackID, runID string) *Stream { return nil }

// Changed returns a channel that is closed when the state of that playback id,
// or the snapshot's being listed, changes next; now and then also without such
// a change. To miss nothing, ask for the channel before looking at the stream.
// Ids that were never opened cost nothing.
func (r *Registry) Changed(playbackID string) <-chan struct{} { return nil }

// Close ends all runs and waits for the registry's timers. Packagers may not
// be used afterwards.
func (r *Registry) Close() {}

// A Stream is one run of a playback id. All methods may be called concurrently.
type Stream struct{}

// State tells where the stream stands.
func (s *Stream) State() State { return Starting }

// SessionID is the session that publishes into the run, or the last that did.
func (s *Stream) SessionID() string { return "" }

// RunID names the run in URLs.
func (s *Stream) RunID() string { return "" }

// Window is the run's media.
func (s *Stream) Window() *Window { return nil }
