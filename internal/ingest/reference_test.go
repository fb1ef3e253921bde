package ingest

import (
	"time"

	"tally/internal/livestream"
)

// A reference is design section 3 written down a second time, from its text and
// not from the code, for one livestream whose output is playable from its first
// keyframe on. It knows no store, no labels and no goroutines: it is told what
// happens and at what time, and runs the timers in between itself. TestInterleavings
// compares the manager with it.
type reference struct {
	now time.Time

	disabled bool
	deleted  bool
	meeting  bool
	key      int // counts resets
	set      livestream.Settings

	refused   time.Time // the key is refused until then
	failing   bool      // because of failures, not of a stop
	defended  time.Time // a connected publisher is not taken over from until then
	takeovers []time.Time
	failures  []time.Time

	run     int       // counts playlists
	runEnds time.Time // ENDLIST of the newest; zero while a session is open
	epoch   int       // counts accepted publishes
	s       refSession
	conn    *refConn // the connection that is accepted now
	held    *refHeld
}

// A refSession is the newest session, open or closed.
type refSession struct {
	n     int // counts sessions; 0: there was none
	open  bool
	state string // "awaiting", "invoked", "live"; of a closed one the last
	wait  refWait

	invoked, started, stopped time.Time
	last                      time.Time // last media
	ingest                    time.Duration
	failed, acked             bool
	code                      string // of err_message
}

// A refWait is the timer of an open session without a connection.
type refWait struct {
	until time.Time
	cause string    // "encoder", "crash", "shutdown"
	grace time.Time // not before this: 15 s from boot
}

type refConn struct {
	who         int
	accepted    time.Time
	first, last time.Time // media; zero: none
	frames      bool
}

// A refHeld is a newcomer that waits for the present publisher to turn stale.
type refHeld struct {
	who, key int
	since    time.Time
}

// An answer is what a newcomer hears. "" is: nothing yet.
type answer string

const (
	accept     answer = "accepted"
	busy       answer = "busy"
	notFound   answer = "not found"
	isDisabled answer = "disabled"
	damped     answer = "damped"
	failing    answer = "failing"
	defended   answer = "defended"
	notStarted answer = "not started"
)

// advance runs every timer up to t. said gets the answers to held newcomers.
func (r *reference) advance(t time.Time, said func(who int, a answer)) {
	for {
		at, fire := r.next()
		if fire == nil || at.After(t) {
			break
		}
		r.now = later(at, r.now) // what was due while no process ran is due at boot
		fire(said)
	}
	r.now = t
}

// next is the earliest timer; of two, the one that lets somebody in.
func (r *reference) next() (at time.Time, fire func(said func(int, answer))) {
	add := func(t time.Time, f func(func(int, answer))) {
		if fire == nil || t.Before(at) {
			at, fire = t, f
		}
	}
	c := r.conn
	if h := r.held; h != nil {
		due, give := r.now, h.since.Add(2500*time.Millisecond)
		if c != nil {
			due = c.heard().Add(2 * time.Second)
		}
		tooLong := due.After(give) // another one took the place meanwhile
		if tooLong {
			due = give
		}
		add(due, func(said func(int, answer)) {
			r.held = nil
			if tooLong {
				said(h.who, busy)
				return
			}
			said(h.who, r.decide(h.who, h.key))
		})
	}
	switch {
	case c == nil && r.s.open:
		add(r.s.wait.until, func(func(int, answer)) { r.expire() })
	case c == nil:
	case r.s.state == "invoked" && c.first.IsZero():
		add(c.accepted.Add(10*time.Second), func(func(int, answer)) { r.fail("NO_MEDIA") })
	case r.s.state == "invoked":
		add(c.first.Add(10*time.Second), func(func(int, answer)) {
			if c.frames {
				r.fail("NO_KEYFRAME")
			} else {
				r.fail("BAD_MEDIA")
			}
		})
	default:
		add(c.heard().Add(10*time.Second), func(func(int, answer)) { r.lost("") })
	}
	return at, fire
}

// heard is when a connection was last alive.
func (c *refConn) heard() time.Time {
	if c.last.IsZero() {
		return c.accepted
	}
	return c.last
}

// publish is a newcomer with the key of that many resets.
func (r *reference) publish(who, key int) answer {
	switch {
	case r.deleted || key != r.key:
		return notFound
	case r.conn != nil && r.set.Publisher == livestream.Reject:
		return busy
	case r.conn != nil && r.set.Publisher != livestream.Replace && r.now.Sub(r.conn.heard()) < 2*time.Second:
		if r.held != nil {
			return busy
		}
		r.held = &refHeld{who, key, r.now}
		return ""
	}
	return r.decide(who, key)
}

// decide accepts or refuses a newcomer that need not wait.
func (r *reference) decide(who, key int) answer {
	switch {
	case r.deleted || key != r.key:
		return notFound
	case r.disabled:
		return isDisabled
	case r.now.Before(r.refused) && r.failing:
		return failing
	case r.now.Before(r.refused):
		return damped
	case r.conn != nil && r.now.Before(r.defended):
		return defended
	case r.meeting && !r.s.open:
		return notStarted
	}
	if r.conn != nil && thrice(&r.takeovers, r.now, 30*time.Second) && r.set.Damping > 0 {
		r.defended = r.now.Add(r.set.Damping)
	}
	if !r.s.open {
		r.begin("invoked")
	}
	if r.s.state == "awaiting" {
		r.s.state = "invoked"
	}
	r.epoch++
	r.s.wait = refWait{}
	r.conn = &refConn{who: who, accepted: r.now}
	return accept
}

// thrice notes one more, and reports whether that makes three within span.
func thrice(list *[]time.Time, now time.Time, span time.Duration) bool {
	*list = append(*list, now)
	if n := len(*list); n < 3 || now.Sub((*list)[n-3]) >= span {
		return false
	}
	*list = nil
	return true
}

// begin opens a session; the playlist of the one before goes on if it has no
// ENDLIST yet.
func (r *reference) begin(state string) {
	if r.run == 0 || !r.now.Before(r.runEnds) {
		r.run++
	}
	r.runEnds = time.Time{}
	r.s = refSession{n: r.s.n + 1, open: true, state: state, invoked: r.now}
}

// media is one message of a publisher: a frame or not, a keyframe or not.
func (r *reference) media(who int, frame, key bool, said func(int, answer)) {
	c := r.conn
	if c == nil || c.who != who {
		return // cut, or never accepted
	}
	if h := r.held; h != nil && r.now.Sub(h.since) > 250*time.Millisecond { // it is well: the newcomer is refused
		r.held = nil
		said(h.who, busy)
	}
	if c.first.IsZero() {
		c.first = r.now
	} else if gap := r.now.Sub(c.last); gap <= 2*time.Second {
		r.s.ingest += gap
	}
	c.last, r.s.last = r.now, r.now
	c.frames = c.frames || frame
	if key && r.s.state == "invoked" {
		r.s.state, r.s.started = "live", r.now
	}
}

// leave is the end of a connection, as its publisher makes it: "clean", "lost",
// "bad" (media that cannot be used) or "fault" (the packager cannot go on).
func (r *reference) leave(who int, how string) {
	if r.conn == nil || r.conn.who != who {
		return
	}
	switch how {
	case "clean":
		r.close()
		r.runEnds = r.now.Add(r.set.EndlistDelay)
	case "lost":
		r.lost("DISCONNECTED")
	case "bad":
		r.lost("BAD_MEDIA")
	case "fault":
		r.fail("SERVER_FAULT")
	}
}

// lost: the connection is gone. code is why that fails what is not playable.
func (r *reference) lost(code string) {
	if r.s.state == "invoked" {
		r.fail(code)
		return
	}
	r.conn = nil
	r.s.wait.cause = "encoder"
	r.rewait()
}

// rewait says when the wait for a publisher that was on air ends.
func (r *reference) rewait() {
	w := &r.s.wait
	w.until = later(r.s.last.Add(r.set.ReconnectWindow), later(w.grace, r.now))
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// close ends the session now.
func (r *reference) close() {
	r.conn = nil
	r.s.open, r.s.stopped, r.s.wait = false, r.now, refWait{}
	r.runEnds = r.now
}

func (r *reference) fail(code string) {
	r.close()
	r.s.failed, r.s.code = true, code
	if r.s.started.IsZero() && thrice(&r.failures, r.now, 60*time.Second) {
		r.refuse(true)
	}
}

// expire: nobody came in time.
func (r *reference) expire() {
	w := r.s.wait
	switch {
	case r.s.state == "awaiting":
		r.fail("NO_ENCODER")
		return
	case w.cause == "crash":
		r.fail("SERVER_RESTART")
	case w.cause == "shutdown":
		r.close()
		r.s.code = "SERVER_STOPPED"
	default:
		r.close()
		r.s.code = "ENCODER_LOST"
	}
	r.s.stopped = later(r.s.last, r.s.invoked)
}

// refuse refuses the key for a while.
func (r *reference) refuse(failing bool) {
	r.refused, r.failing = time.Time{}, failing
	if r.set.Damping > 0 {
		r.refused = r.now.Add(r.set.Damping)
	}
}

func (r *reference) forgive() {
	r.refused, r.defended, r.takeovers, r.failures = time.Time{}, time.Time{}, nil, nil
}

// stop reports whether there was anything to stop or to acknowledge.
func (r *reference) stop() bool {
	switch {
	case r.deleted:
		return false
	case r.s.open:
		r.close()
		r.refuse(false)
	case r.s.failed && !r.s.acked:
		r.s.acked = true
	default:
		return false
	}
	return true
}

func (r *reference) disable() {
	if r.s.open {
		r.close()
	}
	r.s.acked = r.s.acked || r.s.failed
	r.disabled = true
}

func (r *reference) enable() {
	r.s.acked = r.s.acked || r.s.failed
	r.disabled = false
	r.forgive()
}

func (r *reference) resetKey() {
	if r.s.open {
		r.close()
	}
	r.key++
}

// start is a meeting's; it reports whether that was possible.
func (r *reference) start() bool {
	if r.disabled || r.s.open {
		return false
	}
	r.forgive()
	r.begin("awaiting")
	r.s.wait.until = r.now.Add(r.set.AwaitEncoder)
	return true
}

// configure changes settings. A wait that runs gets its new length. A window
// that is longer than the grace after a restart has taken its place, also if it
// is made shorter then.
func (r *reference) configure(set livestream.Settings) {
	r.set = set
	if w := &r.s.wait; w.until.After(w.grace) {
		w.grace = time.Time{}
	}
	switch {
	case !r.s.open || r.conn != nil:
	case r.s.state == "awaiting":
		r.s.wait.until = later(r.s.invoked.Add(set.AwaitEncoder), r.now)
	case r.s.state == "live":
		r.rewait()
	}
}

// down is the end of the process: "crash" or "shutdown".
func (r *reference) down(cause string) {
	r.held = nil
	if r.conn != nil {
		r.s.wait = refWait{cause: cause, until: r.now}
		if r.s.state == "live" {
			r.rewait()
		}
	}
	r.conn = nil
}

// boot is the start of the next process. Nothing expired while none ran.
func (r *reference) boot(now time.Time) {
	r.now = now
	if !r.s.open || r.s.state == "awaiting" {
		return
	}
	r.s.wait.grace = now.Add(15 * time.Second)
	r.s.wait.until = later(r.s.wait.until, r.s.wait.grace)
}

// status is the wire's, with the code of err_message behind it.
func (r *reference) status() string {
	s := &r.s
	switch {
	case s.open && s.state == "live" && r.conn == nil:
		return "LIVE RECONNECTING"
	case s.open && s.state == "live":
		return "LIVE"
	case s.open:
		return "INVOKED"
	case s.failed && !s.acked:
		return "ERRORED " + s.code
	case s.code != "":
		return "IDLE " + s.code
	}
	return "IDLE"
}
