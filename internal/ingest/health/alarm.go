package health

import "time"

const (
	// quiet is how long all must be well until a warning is over the first time;
	// twice as long each time it came back, up to longestQuiet. That bounds the
	// timeline: a warning begins and ends at most ten times within the first hour
	// and once an hour after that.
	quiet        = 10 * time.Second
	longestQuiet = time.Hour
	// retell is how often the figures of a warning in force are brought up to date.
	retell = 10 * time.Second
)

// An alarm is one warning, on or off.
type alarm struct {
	on     bool
	detail string        // as it is shown
	since  time.Duration // when it began
	bad    time.Duration // when its limit was last passed
	told   time.Duration // when detail was written
	quiet  time.Duration // how long until it is over; 0: it never began
}

type step uint8

const (
	nothing step = iota
	begins
	renewed // the figures
	over
)

// step takes what was measured at now: "" when that is within the limit.
func (a *alarm) step(now time.Duration, detail string) step {
	switch {
	case detail == "" && a.on && now-a.bad >= a.quiet:
		a.on = false
		return over
	case detail == "":
		return nothing
	}
	a.bad = now
	switch {
	case !a.on:
		a.on, a.since, a.told, a.detail = true, now, now, detail
		a.quiet = min(max(quiet, 2*a.quiet), longestQuiet)
		return begins
	case now-a.told >= retell && detail != a.detail:
		a.told, a.detail = now, detail
		return renewed
	}
	return nothing
}
