package livestream

import (
	"fmt"
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
	Configure                 // the API: a new name or other settings; carries a Change
	Delete                    // the API: the livestream is no more; refused while a session is open
)

var kindNames = [...]string{"", "publish", "start", "playable", "lose", "unpublish", "expire", "fail",
	"boot", "shutdown", "stop", "enable", "disable", "reset-key", "configure", "delete"}

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
	// LastMediaAt (label), Ingest and what follows are the session's figures
	// now; they come with every kind while a session is open. Zero: as last
	// checkpointed.
	LastMediaAt time.Time
	Ingest      time.Duration
	Bytes       int64  // as Session.Bytes
	Media       string // as Session.Media; "" when nothing new is known
	Keyframe    time.Duration
	Warnings    string // as Session.Warnings; "" when nothing new is known

	Reason  Reason        // Fail; Lose while nothing is playable
	NewID   string        // Publish, Start: the id of a session, should one begin
	NewRun  string        // Publish: the id of a run, should one begin
	Key     secret.String // Publish: what the encoder presented; must still be the livestream's
	NewKey  secret.String // ResetKey
	Change  Change        // Configure
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
	Detail    string // cause in words: the err_message where there is one; what a start waits for

	// What was known at that time; zero where it was not.
	Bytes    int64         // media received by the session
	Ingest   time.Duration // ingest seconds of the session
	Media    string        // what the encoder sends, as Session.Media
	Keyframe time.Duration // between keyframes, as Session.Keyframe
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

// Apply returns the record as it stands after e, and the facts that tell of
// it. It does no I/O and reads no clock. An event that does not fit yields
// ErrTransition, one of an older publish ErrStale, a publish that is refused
// ErrDisabled, ErrDamped, ErrFailing, ErrDefended, ErrNotStarted, a deletion while on air ErrOpen,
// whatever is asked of a deleted livestream ErrNotFound; then r is returned
// unchanged.
func (r Record) Apply(e Event) (Record, []Fact, error) {
	if !r.Livestream.DeletedAt.IsZero() {
		return r, nil, ErrNotFound
	}
	switch e.Kind {
	case Enable, Disable, ResetKey:
		return r.switchTo(e)
	case Configure:
		return r.configure(e), nil, nil
	case Delete:
		return r.remove(e)
	case Publish:
		if err := r.mayPublish(e); err != nil {
			return r, nil, err
		}
	case Start:
		if r.Livestream.Disabled {
			return r, nil, ErrDisabled
		}
	}
	s := r.Session
	to, ok := next[s.Phase][e.Kind]
	switch {
	case !ok, s.Acknowledged && e.Kind == Stop:
		return r, nil, fmt.Errorf("%s while %s: %w", e.Kind, s.Phase, ErrTransition)
	case e.ofPublication() && e.Epoch != s.Epoch,
		e.Kind == Expire && (e.SessionID != s.ID || e.At.Before(s.Deadline)):
		return r, nil, fmt.Errorf("%s of epoch %d while %d: %w", e.Kind, e.Epoch, s.Epoch, ErrStale)
	}
	from := s.Phase
	if !from.Open() && (e.Kind == Publish || e.Kind == Start) {
		r, s = r.begin(e)
		e.LastMediaAt, e.Ingest, e.Bytes, e.Media, e.Keyframe, e.Warnings = time.Time{}, 0, 0, "", 0, "" // nothing of it is received yet
	}
	s.measure(e)
	s.Phase = to
	at := notBefore(e.At, s.UpdatedAt)
	r.move(&s, from, e, at)
	r.Livestream.damp(from, e, s, at)
	s.UpdatedAt = at
	r.Livestream.UpdatedAt = notBefore(at, r.Livestream.UpdatedAt)
	r.Session = s
	return r, []Fact{factOf(s, from, e, at)}, nil
}

// ofPublication reports whether the event speaks of one publication, and must
// therefore carry its epoch.
func (e Event) ofPublication() bool {
	switch e.Kind {
	case Playable, Lose, Unpublish, Fail:
		return true
	}
	return false
}

// mayPublish says whether a publish would be accepted, as far as the
// record can tell: whether the present publisher is healthy is the owner's
// knowledge (ingest.Manager), not the record's.
func (r Record) mayPublish(e Event) error {
	l := r.Livestream
	switch {
	case e.Key != l.StreamKey: // reset since it was looked up
		return ErrNotFound
	case l.Disabled:
		return ErrDisabled
	case e.At.Before(l.RefuseUntil):
		if r.Session.Phase == Failed {
			return Refusal{ErrFailing, l.RefuseUntil.Sub(e.At)}
		}
		return Refusal{ErrDamped, l.RefuseUntil.Sub(e.At)}
	case e.At.Before(l.DefendUntil) && r.Session.Phase.Connected():
		return Refusal{ErrDefended, l.DefendUntil.Sub(e.At)}
	case l.MeetingID != "" && !r.Session.Phase.Open():
		return ErrNotStarted
	}
	return nil
}

// begin opens a new session: the last run goes on when its ENDLIST is not due
// yet, otherwise a new one starts.
func (r Record) begin(e Event) (Record, Session) {
	l := &r.Livestream
	if l.Run.ID == "" || !e.At.Before(l.Run.EndsAt) {
		l.Run = Run{ID: e.NewRun, TargetDuration: targetDuration(r.Livestream.LongestGOP)}
	}
	l.Run.EndsAt = time.Time{}
	if e.Kind == Start {
		l.forgive()
	}
	at := notBefore(e.At, l.CreatedAt)
	return r, Session{ID: e.NewID, LivestreamID: l.ID, CreatedAt: at, InvokedAt: at, UpdatedAt: at}
}

// targetDuration chooses EXT-X-TARGETDURATION of a new run from the longest
// GOP of the last session (design section 5, Segments).
func targetDuration(gop time.Duration) int {
	switch {
	case gop == 0:
		return 4
	case gop <= 2*time.Second+50*time.Millisecond: // a 2 s GOP in millisecond timestamps
		return 2
	}
	return min(10, int((gop+time.Second-1)/time.Second))
}

// measure takes over the final figures an event carries. None of the sums decreases.
func (s *Session) measure(e Event) {
	s.Ingest = max(s.Ingest, e.Ingest)
	s.Bytes = max(s.Bytes, e.Bytes)
	if e.Media != "" {
		s.Media = e.Media
	}
	if e.Keyframe > 0 {
		s.Keyframe = e.Keyframe
	}
	if e.Warnings != "" {
		s.Warnings = e.Warnings
	}
	if e.LastMediaAt.After(s.LastMediaAt) {
		s.LastMediaAt = e.LastMediaAt
	}
}

// move sets the fields that the move from one phase to s.Phase is about.
func (r *Record) move(s *Session, from Phase, e Event, at time.Time) {
	set := r.Livestream.Settings
	switch e.Kind {
	case Publish:
		r.Livestream.Epoch++
		s.Epoch = r.Livestream.Epoch
		s.Remote, s.Encoder, s.Warnings = e.Remote, e.Encoder, ""
		s.Deadline, s.LostBy = time.Time{}, LossNone
	case Start:
		s.Deadline = at.Add(set.AwaitEncoder)
	case Playable:
		s.StartedAt = at
	case Boot, Shutdown:
		s.interrupt(from, e, at, set)
	case Lose:
		if s.Phase == Reconnecting {
			s.LostBy = LossEncoder
			s.Deadline = notBefore(s.lastSign().Add(set.ReconnectWindow), at)
			return
		}
	}
	if s.Phase.Open() || !from.Open() && e.Kind == Stop {
		if e.Kind == Stop {
			s.Acknowledged = true
		}
		return
	}
	r.close(s, from, e, at)
}

// interrupt is what a stop or crash of the server does to an open session.
func (s *Session) interrupt(from Phase, e Event, at time.Time, set Settings) {
	if from == Awaiting {
		return // awaits on, with the deadline it has
	}
	if from.Connected() {
		s.LostBy = LossCrash
		if e.Kind == Shutdown {
			s.LostBy = LossShutdown
		}
		s.Deadline = s.lastSign()
		if from == OnAir {
			s.Deadline = s.Deadline.Add(set.ReconnectWindow)
		}
	}
	s.Deadline = notBefore(s.Deadline, at)
	if e.Kind == Boot {
		s.Viewers = 0 // as last written by a process that is gone; whoever still watches is counted anew
		s.Deadline = notBefore(s.Deadline, at.Add(BootGrace))
	}
}

// lastSign is the last moment the publisher was known to be there.
func (s Session) lastSign() time.Time { return notBefore(s.LastMediaAt, s.InvokedAt) }

// close ends the session. It says when and why, and when the run's ENDLIST is due.
func (r *Record) close(s *Session, from Phase, e Event, at time.Time) {
	l := &r.Livestream
	s.StoppedAt, l.Run.EndsAt = at, at
	switch e.Kind {
	case Unpublish:
		l.Run.EndsAt = at.Add(l.Settings.EndlistDelay)
	case Stop:
		l.RefuseUntil = l.Settings.dampedUntil(at)
	case Expire:
		s.expire(from, l.Settings)
	case Fail, Lose:
		s.Reason = e.Reason
		if s.Reason.Code == "" {
			s.Reason = Gone(at.Sub(s.InvokedAt))
		}
	}
	s.StoppedAt = notBefore(s.StoppedAt, notBefore(s.StartedAt, s.InvokedAt))
	if span := s.StoppedAt.Sub(s.InvokedAt); s.Ingest > span {
		s.StoppedAt = s.InvokedAt.Add(s.Ingest) // labels are whole milliseconds; seconds never exceed the span
	}
	s.Deadline, s.LostBy = time.Time{}, LossNone
	s.Viewers = 0
}

// expire closes a session whose deadline passed: the outcome depends on who
// took its publisher away (design section 3, Crash and SIGTERM).
func (s *Session) expire(from Phase, set Settings) {
	switch {
	case from == Awaiting:
		s.Reason = NeverCame(set.AwaitEncoder)
		return
	case s.LostBy == LossCrash:
		s.Phase, s.Reason = Failed, NotResumed(s.LastMediaAt)
	case s.LostBy == LossShutdown:
		s.Phase, s.Reason = Ended, StoppedServer()
	default:
		s.Phase, s.Reason = Ended, Lost(s.LastMediaAt, set.ReconnectWindow)
	}
	s.StoppedAt = s.lastSign()
}

// configure takes over a change. A window that runs is measured anew: it ends
// as it would had it had this length from the start, but not in the past.
func (r Record) configure(e Event) Record {
	at := notBefore(e.At, r.Livestream.UpdatedAt)
	before := r.Livestream.Settings
	r.Livestream = e.Change.Apply(r.Livestream)
	r.Livestream.UpdatedAt = at
	s, set := &r.Session, r.Livestream.Settings
	switch {
	case s.Phase == Reconnecting && set.ReconnectWindow != before.ReconnectWindow:
		ends := s.lastSign().Add(set.ReconnectWindow)
		if s.Deadline.After(s.lastSign().Add(before.ReconnectWindow)) {
			ends = notBefore(ends, s.Deadline) // the grace after a restart is no part of the window
		}
		s.Deadline = notBefore(ends, at)
	case s.Phase == Awaiting && set.AwaitEncoder != before.AwaitEncoder:
		s.Deadline = notBefore(s.Deadline.Add(set.AwaitEncoder-before.AwaitEncoder), at)
	}
	return r
}

// remove deletes the livestream. Its sessions stay.
func (r Record) remove(e Event) (Record, []Fact, error) {
	if r.Session.Phase.Open() {
		return r, nil, ErrOpen
	}
	at := notBefore(e.At, r.Livestream.UpdatedAt)
	r.Livestream.DeletedAt, r.Livestream.UpdatedAt = at, at
	return r, nil, nil
}

// switchTo applies what the API switches about the livestream itself; an open
// session ends by it, a failure is acknowledged.
func (r Record) switchTo(e Event) (Record, []Fact, error) {
	at := notBefore(e.At, r.Livestream.UpdatedAt)
	var facts []Fact
	s := r.Session
	switch {
	case s.Phase.Open() && e.Kind != Enable:
		from := s.Phase
		s.measure(e)
		s.Phase = Ended
		r.close(&s, from, e, notBefore(at, s.UpdatedAt))
		s.UpdatedAt = notBefore(at, s.UpdatedAt)
		facts = append(facts, factOf(s, from, e, s.UpdatedAt))
	case s.Phase == Failed && e.Kind != ResetKey:
		s.Acknowledged = true
	}
	r.Session = s
	switch e.Kind {
	case Enable:
		r.Livestream.Disabled = false
		r.Livestream.forgive()
	case Disable:
		r.Livestream.Disabled = true
	case ResetKey:
		r.Livestream.StreamKey = e.NewKey
	}
	r.Livestream.UpdatedAt = at
	return r, facts, nil
}

// manualIngest tells in the timeline what a started meeting waits for.
const manualIngest = "manual ingest: an encoder with the stream key sends the picture; nothing composes the meeting's own"

func factOf(s Session, from Phase, e Event, at time.Time) Fact {
	detail := s.ErrMessage()
	if e.Kind == Start {
		detail = manualIngest
	}
	f := Fact{
		SessionID: s.ID, At: at, Kind: e.Kind.String(), From: from.String(), To: s.Phase.String(),
		Epoch: s.Epoch, Remote: s.Remote, Encoder: s.Encoder, Detail: detail,
		Bytes: s.Bytes, Ingest: s.Ingest,
	}
	if e.Kind != Publish { // of what comes now nothing is known yet
		f.Media, f.Keyframe = s.Media, s.Keyframe
	}
	return f
}

// notBefore is the later of two labels: a clock that was set back moves nothing back.
func notBefore(t, floor time.Time) time.Time {
	if t.Before(floor) {
		return floor
	}
	return t
}
