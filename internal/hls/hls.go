// Package hls makes low-latency HLS of what an encoder sends. A [Packager] cuts
// frames into parts and segments; each part replaces the run's immutable
// [Snapshot] in its [Window], which viewers read without locks; the [Registry]
// knows which playback id has which [Stream].
//
// One frame's way: Packager.WriteFrame locks the stream against other writers,
// the intake holds frames back until tracks and a keyframe are there, the
// cutter (media time only) decides where parts and segments end, the ring
// numbers and keeps them, and render publishes the next snapshot.
//
// What the playlist promises stands rule by rule in docs/hls.md.
package hls

import (
	"log/slog"
	"time"

	"tally/internal/hls/archive"
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
	// MediaBase is where caches serve media in shared delivery: an absolute URL
	// without a slash at its end, to which /hls/{playback_id}/… is appended. "":
	// this server, by relative URIs.
	MediaBase string
	// RingBytes caps the media held per run, listed or not; 0: 64 MB.
	RingBytes int64
	// Archive is where segments are put to rest; nil: nowhere, and what
	// OpenOptions says of that has no effect.
	Archive *archive.Library
	Log     *slog.Logger // nil: slog.Default
}

const (
	defaultWindow = 12 * time.Second
	defaultRing   = 64 << 20
	defaultTarget = 4 * time.Second // of a first broadcast (design section 5)
)

func (c Config) withDefaults() Config {
	if c.PartTarget <= 0 {
		c.PartTarget = defaultPartTarget
	}
	c.PartTarget = min(max(c.PartTarget, MinPartTarget), MaxPartTarget)
	if c.Window <= 0 {
		c.Window = defaultWindow
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.RingBytes <= 0 {
		c.RingBytes = defaultRing
	}
	return c
}

// OpenOptions say what a session's packager continues or begins.
type OpenOptions struct {
	PlaybackID   string
	SessionID    string
	Run          livestream.Run
	EndlistDelay time.Duration // how long the playlist outlives a clean end

	LivestreamID string        // for who finds the segments at rest
	DVRWindow    time.Duration // media time listed, on disk where memory has it no more; up to Config.Window: in memory alone
	Keep         bool          // the session's segments stay
}
