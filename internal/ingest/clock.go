package ingest

import "time"

// A labelClock gives a session's labels: wall time at its beginning plus what
// has passed since on the monotonic clock. A wall clock that is set meanwhile
// moves no label (design section 3, Time).
type labelClock struct {
	began time.Time // carries the monotonic reading
	label time.Time // what the beginning is called; whole milliseconds, UTC
}

// startClock begins a clock now whose labels are not before floor.
func startClock(floor time.Time) labelClock {
	now := time.Now()
	label := now.UTC().Truncate(time.Millisecond)
	if label.Before(floor) {
		label = floor
	}
	return labelClock{began: now, label: label}
}

// at labels a moment that carries a monotonic reading. Whole milliseconds, UTC.
func (c labelClock) at(t time.Time) time.Time {
	return c.label.Add(t.Sub(c.began)).Truncate(time.Millisecond)
}

// now labels the present.
func (c labelClock) now() time.Time { return c.at(time.Now()) }

// until is how long it takes until the clock shows label; for the zero label it
// is as long ago as can be.
func (c labelClock) until(label time.Time) time.Duration { return label.Sub(c.now()) }
