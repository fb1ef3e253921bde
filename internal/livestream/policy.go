package livestream

import "time"

// A Policy says what becomes of a second publisher with the same key while the
// first one's connection is open. In the reconnect window nobody is connected,
// and whoever comes continues the session (design section 3).
type Policy string

const (
	// ReplaceIfStale holds the newcomer: it takes over as soon as the present
	// publisher has been silent for 2 s, and is refused as soon as that one
	// delivers media. The default.
	ReplaceIfStale Policy = "replace-if-stale"
	Reject         Policy = "reject"  // the newcomer is refused
	Replace        Policy = "replace" // the newcomer takes over at once
)

// Policies are all there are, the default first.
var Policies = []Policy{ReplaceIfStale, Reject, Replace}

// Two encoders that take one key from each other would go on for ever, and so
// would one whose media cannot be used: what happens too often is refused for
// Settings.Damping (design section 3).
const (
	takeoversWithin = 30 * time.Second // three of them
	failuresWithin  = 60 * time.Second // three sessions that were never playable
)

// A Lately remembers when something last happened, and the time before that.
// Zero: it did not.
type Lately struct{ Last, Before time.Time }

// again notes that it happened at now, and reports whether that makes three
// times within span; then counting begins anew.
func (l *Lately) again(now time.Time, span time.Duration) bool {
	third := !l.Before.IsZero() && now.Sub(l.Before) < span
	*l = Lately{Last: now, Before: l.Last}
	if third {
		*l = Lately{}
	}
	return third
}

// damp keeps count of takeovers and failures as the session moves on from the
// phase before.
func (l *Livestream) damp(before Phase, e Event, s Session, at time.Time) {
	switch {
	case e.Kind == Publish && before.Connected():
		if l.Takeovers.again(at, takeoversWithin) {
			l.DefendUntil = l.Settings.dampedUntil(at)
		}
	case s.Phase == Failed && before.Open() && s.StartedAt.IsZero():
		if l.Failures.again(at, failuresWithin) {
			l.RefuseUntil = l.Settings.dampedUntil(at)
		}
	}
}

// dampedUntil is when a refusal that begins at now ends; zero: there is none.
func (s Settings) dampedUntil(now time.Time) time.Time {
	if s.Damping == 0 {
		return time.Time{}
	}
	return now.Add(s.Damping)
}

// SettledAt is when the last of what is timed without an open session is over:
// refusals, the ENDLIST of the run, three takeovers or failures within a while.
func (l *Livestream) SettledAt() time.Time {
	last := notBefore(l.RefuseUntil, notBefore(l.DefendUntil, l.Run.EndsAt))
	for _, t := range []struct {
		at   time.Time
		span time.Duration
	}{{l.Takeovers.Last, takeoversWithin}, {l.Failures.Last, failuresWithin}} {
		if !t.at.IsZero() {
			last = notBefore(last, t.at.Add(t.span))
		}
	}
	return last
}

// forgive ends every refusal: the owner asked for the livestream.
func (l *Livestream) forgive() {
	l.RefuseUntil, l.DefendUntil = time.Time{}, time.Time{}
	l.Takeovers, l.Failures = Lately{}, Lately{}
}

// A Refusal is ErrDamped, ErrFailing or ErrDefended with the time for which a
// publish is refused from now on.
type Refusal struct {
	Err error
	For time.Duration
}

func (r Refusal) Error() string { return r.Err.Error() }
func (r Refusal) Unwrap() error { return r.Err }
