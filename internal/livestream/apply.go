package livestream

import (
	"time"

	"tally/internal/secret"
)

// A Kind is what happened to a livestream or its session.
type Kind uint8

const (
	Publish   Kind = iota + 1 // an encoder's publish is to be accepted
	Start                     // a meeting's livestream is asked for
	Playable                  // the first segment can be listed
	Lose                      // the publisher went without a clean end, or fell silent
	Unpublish                 // the publisher ended cleanly
	Expire                    // Session.Deadline passed
	Fail                      // we or the media cannot go on; carries a Reason
	Boot                      // the server starts and finds the session open
	Shutdown                  // the server was asked to stop
	Stop                      // the API: end what is on air, acknowledge what failed
	Enable                    // the API: accept publishes again
	Disable                   // the API: refuse publishes, end what is on air
	ResetKey                  // the API: a new stream key, end what is on air
)

var kindNames = [...]string{"", "publish", "start", "playable", "lose", "unpublish", "expire", "fail",
	"boot", "shutdown", "stop", "enable", "disable", "reset-key"}

// String gives the kind's name for logs, errors and the timeline.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// An Event asks for one transition. At is always set; the other fields belong
// to the kinds named.
type Event struct {
	Kind Kind
	At   time.Time // label

	// Epoch of the publication that the event is about: Playable, Lose,
	// Unpublish, Fail. It can touch only that publication's session.
	Epoch int64
	// LastMediaAt (label) and Ingest are final figures that come with Lose,
	// Unpublish, Fail, Stop, Disable, ResetKey, Expire and Shutdown; zero: as
	// last checkpointed.
	LastMediaAt time.Time
	Ingest      time.Duration

	Reason  Reason        // Fail; Lose while nothing is playable
	NewID   string        // Publish, Start: the id of a session, should one begin
	NewRun  string        // Publish: the id of a run, should one begin
	NewKey  secret.String // ResetKey
	Remote  string        // Publish
	Encoder string        // Publish
	// SessionID restricts Expire to that session, so that a late timer touches
	// no other.
	SessionID string
}

// A Fact is one line of a session's timeline, written in the same transaction
// as the transition it tells of.
type Fact struct {
	SessionID string
	At        time.Time
	Kind      string // what happened: an event kind's name
	From, To  string // phase names
	Epoch     int64
	Remote    string
	Encoder   string
	Detail    string // cause in words; the err_message where there is one
}

// next holds every move a session may make; what is absent is refused. A
// closed session is left by Publish and Start for a new one.
var next = map[Phase]map[Kind]Phase{
	None:         {Publish: Starting, Start: Awaiting},
	Awaiting:     {Publish: Starting, Expire: Failed, Boot: Awaiting, Shutdown: Awaiting, Stop: Ended},
	Starting:     {Publish: Starting, Playable: OnAir, Lose: Failed, Unpublish: Ended, Fail: Failed, Boot: Interrupted, Shutdown: Interrupted, Stop: Ended},
	Interrupted:  {Publish: Starting, Expire: Failed, Fail: Failed, Boot: Interrupted, Shutdown: Interrupted, Stop: Ended},
	OnAir:        {Publish: OnAir, Lose: Reconnecting, Unpublish: Ended, Fail: Failed, Boot: Reconnecting, Shutdown: Reconnecting, Stop: Ended},
	Reconnecting: {Publish: OnAir, Expire: Ended, Fail: Failed, Boot: Reconnecting, Shutdown: Reconnecting, Stop: Ended},
	Ended:        {Publish: Starting, Start: Awaiting},
	Failed:       {Publish: Starting, Start: Awaiting, Stop: Failed},
}

// BootGrace is how long a session that was open at a restart waits for its
// publisher at least (design section 3, Crash).
const BootGrace = 15 * time.Second
