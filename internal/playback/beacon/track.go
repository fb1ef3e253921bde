package beacon

import (
	"strings"
	"time"
)

// A Track follows one viewer's moments. The zero Track has seen none. It is not
// safe for concurrent use.
type Track struct {
	last  Moment
	known bool
	seq   int64
}

// Take adds a moment and returns for how long the player played since the one
// before, and whether the moment is news: one that was told already, or is older
// than one that was told, changes nothing, so a batch may be sent again.
//
// A stretch counts by how it began. While the player plays it is the time that
// passed on the player's clock, at most: less where its rate is below 1, and no
// more than the playhead moved where both moments tell (a machine that slept).
// While it is hidden only a playhead that moved counts; a player that does not
// tell its playhead may as well wait.
func (t *Track) Take(m Moment) (played time.Duration, fresh bool) {
	before := t.last
	switch same := m.Session == before.Session; {
	case !t.known:
	case !same && m.At <= before.At:
		return 0, false // of a session that is over
	case same && !m.follows(&before):
		return 0, false
	case same:
		if m.State == StateUnsaid {
			m.State = before.State
		}
		played = before.until(&m)
	}
	t.last, t.known = m, true
	if t.last.Session = before.Session; m.Session != before.Session {
		t.last.Session = strings.Clone(m.Session) // not the whole body with it
	}
	t.seq = max(t.seq+1, m.At)
	return played, true
}

// Seq is a number for what the newest moment told: it rises from one to the
// next, also for a Track that was forgotten and begun again.
func (t *Track) Seq() int64 { return t.seq }

// follows reports whether m is newer than before, of the same session. Sequence
// numbers decide where both have one: clocks are set.
func (m *Moment) follows(before *Moment) bool {
	if m.Seq >= 0 && before.Seq >= 0 {
		return m.Seq > before.Seq
	}
	return m.At > before.At
}

// until is for how long the player played from m to next.
func (m *Moment) until(next *Moment) time.Duration {
	wall := next.At - m.At
	if m.State != StatePlaying || wall <= 0 {
		return 0
	}
	played := float64(wall) * min(m.Rate, 1)
	switch moved := next.Playhead - m.Playhead; {
	case m.Playhead >= 0 && next.Playhead >= 0 && moved >= 0: // else it jumped back
		played = min(played, float64(moved))
	case m.Hidden:
		return 0
	}
	return min(time.Duration(min(played, float64(MaxPlayed/time.Millisecond))*float64(time.Millisecond)), MaxPlayed)
}
