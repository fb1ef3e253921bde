// Package livestream holds what Tally knows of a livestream and of each time it
// was on air, and the rules by which that changes.
//
// A [Livestream] is the configured thing: it exists while nothing is on air. A
// [Session] is one broadcast of it. [Record] is both together, and [Record.Apply]
// is the whole state machine: a pure function that reads no clock and does no
// I/O. The wire's status is derived by [Record.Status] and is stored nowhere.
//
// Everything here is a value. Nothing is safe for concurrent change; copies are
// cheap.
package livestream

import (
	"time"

	"tally/internal/secret"
)

// A Scope names the account and app that own an object. Every look-up carries
// one, so that a foreign id answers exactly like an unknown one.
type Scope struct {
	AccountID string // [A-Za-z0-9_-]{1,64}
	AppID     string // [A-Za-z0-9_-]{1,64}
}

// A Livestream is the configured thing: name, stream key, playback id.
type Livestream struct {
	Scope
	ID         string // UUID v4
	Name       string // "" when HasName is false
	HasName    bool
	MeetingID  string // "" for an independent livestream
	StreamKey  secret.String
	PlaybackID string // >= 96 random bits, not derived from ID
	Disabled   bool
	CreatedAt  time.Time
	UpdatedAt  time.Time
	// DeletedAt is zero while the livestream exists. A deleted one is found by no
	// look-up and its key and playback id are never used again; its sessions stay,
	// because bills are made from them.
	DeletedAt time.Time

	Settings Settings

	// Epoch counts accepted publishes over the livestream's life. Each publish
	// raises it by one conditional update; what carries an older one is ignored.
	Epoch int64
	// RefuseUntil: after a stop, and after three sessions in a row that were
	// never playable, the key is refused until then. Zero: not refused.
	RefuseUntil time.Time
	// DefendUntil: after three takeovers in short time a publisher that is
	// connected is not taken over from until then. Zero: it may be.
	DefendUntil time.Time
	Takeovers   Lately
	Failures    Lately // of sessions that were never playable
	// LongestGOP of the last session that was playable; it chooses the next
	// run's target duration. Zero: never measured.
	LongestGOP time.Duration
	Run        Run
}

// Settings are what a livestream may have otherwise than the server's defaults.
type Settings struct {
	ReconnectWindow time.Duration // 0 to 1800 s, whole seconds; DefaultSettings has 60 s
	Damping         time.Duration // how long the key is refused after a stop, three takeovers, three failures; 0 to 300 s
	AwaitEncoder    time.Duration // how long a started meeting waits; 1 min to 24 h
	EndlistDelay    time.Duration // how long the playlist outlives a clean end; 0 to 600 s
	// DVRWindow is how much media the playlist lists, 0 to 12 h, whole seconds. Up
	// to the server's own window (12 s) it is that, in memory alone. Keep keeps a
	// session's segments after its end. Both hold for sessions that begin later.
	DVRWindow time.Duration
	Keep      bool

	Publisher Policy // what becomes of a second publisher; "" is ReplaceIfStale

	Playback       PlaybackPolicy // who may watch; "" is PlaybackPublic
	AllowedOrigins string         // of pages that may play, as JoinOrigins makes it; "": any
}

// DefaultSettings are those of design section 3.
var DefaultSettings = Settings{
	ReconnectWindow: 60 * time.Second,
	Damping:         30 * time.Second,
	AwaitEncoder:    30 * time.Minute,
	EndlistDelay:    10 * time.Second,
	Publisher:       ReplaceIfStale,
}

// A Change is what may be changed of a livestream. What is not set stays.
type Change struct {
	SetName bool // take over Name and HasName
	Name    string
	HasName bool // false: the wire's null

	ReconnectWindow *time.Duration
	Damping         *time.Duration
	AwaitEncoder    *time.Duration
	EndlistDelay    *time.Duration
	DVRWindow       *time.Duration
	Keep            *bool
	Publisher       *Policy

	Playback       *PlaybackPolicy
	AllowedOrigins *string // as JoinOrigins makes it
}

// Apply returns l with what c sets. The values were checked by who made c.
func (c Change) Apply(l Livestream) Livestream {
	if c.SetName {
		l.Name, l.HasName = c.Name, c.HasName
	}
	if c.Publisher != nil {
		l.Settings.Publisher = *c.Publisher
	}
	if c.Playback != nil {
		l.Settings.Playback = *c.Playback
	}
	if c.AllowedOrigins != nil {
		l.Settings.AllowedOrigins = *c.AllowedOrigins
	}
	if c.Keep != nil {
		l.Settings.Keep = *c.Keep
	}
	for _, f := range []struct {
		to   *time.Duration
		from *time.Duration
	}{
		{&l.Settings.ReconnectWindow, c.ReconnectWindow},
		{&l.Settings.Damping, c.Damping},
		{&l.Settings.AwaitEncoder, c.AwaitEncoder},
		{&l.Settings.EndlistDelay, c.EndlistDelay},
		{&l.Settings.DVRWindow, c.DVRWindow},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return l
}

// A Run is one playlist's life: from its first segment to ENDLIST. It outlives
// a reconnect, a crash, and a clean end that is followed by a new session
// within the ENDLIST delay. Its facts are durable, because a restarted server
// must go on with the same targets and never reuse a number.
type Run struct {
	ID                string        // URL-safe random text; "" before the first publish
	TargetDuration    int           // EXT-X-TARGETDURATION in seconds, fixed for the run
	PartTarget        time.Duration // EXT-X-PART-INF PART-TARGET; 0 until the packager has chosen it
	MSNMark           int64         // no Media Sequence Number above this was ever listed
	DiscontinuityMark int64         // no discontinuity sequence above this was ever listed
	EndsAt            time.Time     // when ENDLIST is or was due; zero while a session is open
}

// A Phase is where a session stands. The zero Phase is no session at all.
type Phase uint8

const (
	None         Phase = iota
	Awaiting           // a meeting was started; its encoder has not come yet
	Starting           // a publish was accepted; nothing is playable yet
	Interrupted        // Starting when the server stopped; the publisher may come back
	OnAir              // playable, publisher connected
	Reconnecting       // playable before, publisher gone, the window runs
	Ended              // closed, as it should
	Failed             // closed before it was playable, or through our fault
)

var phaseNames = [...]string{"none", "awaiting", "starting", "interrupted", "on air", "reconnecting", "ended", "failed"}

// String gives the phase's name for logs and errors.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown"
}

// Open reports whether the session is still going on.
func (p Phase) Open() bool { return p >= Awaiting && p <= Reconnecting }

// Connected reports whether a publisher's connection belongs to the session now.
func (p Phase) Connected() bool { return p == Starting || p == OnAir }

// A Loss says who took a session's publisher away.
type Loss uint8

const (
	LossNone     Loss = iota
	LossEncoder       // the connection ended, or fell silent
	LossCrash         // the server stopped without notice
	LossShutdown      // the server was asked to stop
)

// A Session is one time a livestream was on air, from publish to end.
// Times are labels: wall time at invocation plus monotonic elapsed. A zero time
// has not happened.
type Session struct {
	ID           string // UUID v4; "" when there never was one
	LivestreamID string
	Phase        Phase
	Epoch        int64 // of the publish that owns the session now; 0 while awaiting the first
	CreatedAt    time.Time
	UpdatedAt    time.Time
	InvokedAt    time.Time
	StartedAt    time.Time // became playable
	StoppedAt    time.Time
	LastMediaAt  time.Time // as of the last checkpoint
	Deadline     time.Time // when Awaiting, Interrupted or Reconnecting expires; else zero
	LostBy       Loss      // while Interrupted or Reconnecting
	Reason       Reason    // why it closed; zero while open and after a clean end or a stop
	Acknowledged bool      // a failure that was answered by stop, enable or disable
	Remote       string    // the publisher's address
	Encoder      string    // what the encoder calls itself: untrusted text

	Ingest time.Duration // received media, design section 4
	Viewed time.Duration // summed over viewers
	// Of Viewed, what rests on beacons and on presence at the playlist; the rest
	// rests on media delivered.
	ViewedByBeacon, ViewedByPlaylist time.Duration

	Bytes    int64         // media received, as of the last checkpoint
	Media    string        // what the encoder sends, in words: "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo"; "" until known
	Keyframe time.Duration // between keyframes, as measured of late; 0 until known
	Warnings string        // what the encoder should change: lines "CODE: sentence"; "" when it is well

	Viewers     int // watching now, as of the last checkpoint; 0 once closed
	PeakViewers int // the most that watched at once
}

// A Record is what [Record.Apply] reads and writes: a livestream and its newest
// session, whose zero value means that it was never on air. At most one session
// of a livestream is open, and if one is open it is the newest.
type Record struct {
	Livestream Livestream
	Session    Session
}

// A Status is the wire's word for a livestream.
type Status string

const (
	StatusLive    Status = "LIVE"
	StatusIdle    Status = "IDLE"
	StatusErrored Status = "ERRORED"
	StatusInvoked Status = "INVOKED"
)

// Status derives the wire's status (design section 3).
func (s Session) Status() Status {
	switch s.Phase {
	case Awaiting, Starting, Interrupted:
		return StatusInvoked
	case OnAir, Reconnecting:
		return StatusLive
	case Failed:
		if !s.Acknowledged {
			return StatusErrored
		}
	}
	return StatusIdle
}

// FailedVisible is how long a failed session still answers as the active one,
// so that its err_message can be read (design section 3).
const FailedVisible = 15 * time.Minute

// Active reports whether the session answers active-livestream-session at now:
// it is open, or it was closed as failed within FailedVisible and nobody
// acknowledged that. UpdatedAt is when it closed; StoppedAt may be dated back.
func (s Session) Active(now time.Time) bool {
	if s.Phase.Open() {
		return true
	}
	return s.Phase == Failed && !s.Acknowledged && now.Sub(s.UpdatedAt) < FailedVisible
}

// A Stage is where a broadcast stands for its viewers.
type Stage uint8

const (
	StageWaiting      Stage = iota // nothing of the session can be seen yet
	StageLive                      // media comes
	StageReconnecting              // the publisher is gone, the session stays open
	StageEnded                     // the session is over
)

// String gives the stage's name as the public state endpoint shows it.
func (s Stage) String() string {
	return [...]string{"waiting", "live", "reconnecting", "ended"}[s]
}

// Stage derives what the public may know of the session.
func (s Session) Stage() Stage {
	switch {
	case s.Phase == OnAir:
		return StageLive
	case s.Phase == Reconnecting:
		return StageReconnecting
	case !s.Phase.Open() && !s.StartedAt.IsZero():
		return StageEnded
	}
	return StageWaiting
}

// ErrMessage is the wire's err_message, or "" for null.
func (s Session) ErrMessage() string {
	if s.Phase == Reconnecting {
		return Reconnect(s.LastMediaAt, s.Deadline).String()
	}
	return s.Reason.String()
}
