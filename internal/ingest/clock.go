package ingest

import (
	"time"

	"tally/internal/livestream"
)

// A labelClock gives a session's labels: wall time at its beginning plus what
// has passed since on the monotonic clock. A wall clock that is set meanwhile
// moves no label (design section 3, Time).
type labelClock struct {
	began time.Time // carries the monotonic reading
	label time.Time // what the beginning is called; whole milliseconds, UTC
}

// startClock begins a clock now, at the time of day wall, whose labels are not
// before floor.
func startClock(wall, floor time.Time) labelClock {
	label := wall.UTC().Truncate(time.Millisecond)
	if label.Before(floor) {
		label = floor
	}
	return labelClock{began: time.Now(), label: label}
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

// keptClocks bounds the clocks that outlive their actors.
const keptClocks = 10_000

// A keptClock goes on after its livestream's actor, because something of the
// livestream is timed by it still: a refusal, an ENDLIST, three of a kind in a
// minute. Without it a wall clock that was set back by an hour would make a refusal
// of 30 s one of an hour, since no label goes back.
type keptClock struct {
	labelClock
	until time.Time // label of the last of these times
}

// needed reports whether it makes a difference still: a new clock would show an
// earlier time than until.
func (k keptClock) needed(wall time.Time) bool {
	return k.labelClock.until(k.until) > 0 || wall.Before(k.until)
}

// clockFor is the clock of a livestream's new actor. The caller holds mu.
func (m *Manager) clockFor(livestreamID string) labelClock {
	if k, ok := m.clocks[livestreamID]; ok {
		return k.labelClock
	}
	return startClock(m.wall(), time.Time{})
}

// keepClock keeps the clock of an actor that ends. The caller holds mu.
func (m *Manager) keepClock(s *session) {
	k := keptClock{s.clock, s.rec.Livestream.SettledAt()}
	if !k.needed(m.wall()) {
		return
	}
	if _, known := m.clocks[s.id]; !known && len(m.clocks) == keptClocks {
		for id := range m.clocks { // whichever: it matters only when the wall clock is set
			delete(m.clocks, id)
			break
		}
	}
	m.clocks[s.id] = k
}

// dropClocks forgets the clocks that are needed no more.
func (m *Manager) dropClocks() {
	wall := m.wall()
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, k := range m.clocks {
		if !k.needed(wall) {
			delete(m.clocks, id)
		}
	}
}

// idleClock is the clock of what happens to a livestream that has no open
// session: the wall clock, but no earlier than the labels that were given, which
// go on at the pace of real time within a process.
func (s *session) idleClock(kind livestream.Kind) labelClock {
	l := &s.rec.Livestream
	clock := s.clock
	if clock.until(l.UpdatedAt) > 0 { // set back while no process ran
		clock = startClock(s.m.wall(), l.UpdatedAt)
	}
	// A wall clock that was set ahead ends no refusal early.
	if kind != livestream.Publish || clock.until(l.RefuseUntil) <= 0 {
		clock = startClock(s.m.wall(), clock.now())
	}
	s.mu.Lock()
	s.clock = clock
	s.mu.Unlock()
	return clock
}
