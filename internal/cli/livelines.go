package cli

import (
	"encoding/json"
	"fmt"
	"time"
)

// liveLines prints a line for each change, for a pipe or a log.
type liveLines struct {
	s    *Streams
	last liveMark
	said string // codes of the warnings that were printed
}

// A liveMark is what a line or an object was printed for.
type liveMark struct {
	mark    string
	away    bool
	viewers int
	at      time.Time
}

// viewersEvery is how often a change of the number of viewers alone is worth a
// line: a large audience changes all the time.
const viewersEvery = 5 * time.Second

// differs reports whether there is something to tell, and notes it.
func (m *liveMark) differs(now time.Time, l *liveLook) bool {
	next := liveMark{mark: l.mark(), away: !l.Away.IsZero(), viewers: m.viewers, at: now}
	if l.Session != nil && l.Session.Tally != nil {
		next.viewers = l.Session.Tally.Viewers
	}
	if next.mark == m.mark && next.away == m.away && (next.viewers == m.viewers || now.Sub(m.at) < viewersEvery) {
		return false
	}
	*m = next
	return true
}

func (v *liveLines) end() {}

// show implements liveView.
func (v *liveLines) show(now time.Time, l *liveLook) {
	for _, e := range l.Fresh {
		at := now
		if e.At != nil {
			at = *e.At
		}
		what, detail, _ := eventText(e)
		v.s.Printf("%s  %s\n", clockOf(at), join("  "+what, detail))
	}
	if !v.last.differs(now, l) {
		return
	}
	v.s.Printf("%s  %s\n", clockOf(now), l.line(now))
	v.warn(now, l)
}

// warn prints the warnings when there are others than before.
func (v *liveLines) warn(now time.Time, l *liveLook) {
	if l.Session == nil || l.Session.Tally == nil {
		return
	}
	text := ""
	for _, w := range l.Session.Tally.Warnings {
		text += fmt.Sprintf("%s    ✗ %s: %s\n", clockOf(now), printable(w.Code), printable(w.Message))
	}
	if text != "" && v.said != l.codes() {
		v.s.Printf("%s", text)
	}
	v.said = l.codes()
}

// line is everything in one line.
func (l *liveLook) line(now time.Time) string {
	m, word, detail := l.headline(now)
	head := m.sign() + " " + printable(word)
	v := l.Session
	if !l.Away.IsZero() || v == nil || v.Tally == nil || v.StartedTime == nil {
		return join(head, printable(detail))
	}
	bits := ""
	if bps, ok := l.bps(); ok {
		bits = bitrateOf(bps)
	}
	keyframes, _ := keyframeText(v.Tally)
	if keyframes != "" {
		keyframes = "keyframes " + keyframes
	}
	return join(head, printable(detail), "on air "+Clock(l.onAirFor(now)), fmt.Sprintf("ingest %.0f s", float64(v.IngestSeconds)),
		"viewers "+viewersText(v.Tally), fmt.Sprintf("viewed %.0f s", float64(v.ViewerSeconds)), printable(v.Tally.Media), keyframes, bits)
}

// liveJSON prints one line of JSON for each change.
type liveJSON struct {
	s    *Streams
	last liveMark
}

func (v *liveJSON) end() {}

// A liveChange is one such line. The livestream is without its stream key: this
// goes into logs.
type liveChange struct {
	At         time.Time       `json:"at"`
	Reachable  bool            `json:"reachable"`
	Error      string          `json:"error,omitempty"` // why it is not
	Livestream liveIdentity    `json:"livestream"`
	Session    json.RawMessage `json:"session"` // as the API has it, with tally; null: never on air
	// Events are what is new of its timeline, as the API has them.
	Events []json.RawMessage `json:"events"`
}

type liveIdentity struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Status   string `json:"status"`
	Disabled bool   `json:"disabled"`
}

// show implements liveView.
func (v *liveJSON) show(now time.Time, l *liveLook) {
	if !v.last.differs(now, l) && len(l.Fresh) == 0 {
		return
	}
	away := !l.Away.IsZero()
	one := liveChange{
		At: now.UTC().Truncate(time.Millisecond), Reachable: !away, Session: l.session, Events: append([]json.RawMessage{}, l.fresh...),
		Livestream: liveIdentity{l.Livestream.ID, l.Livestream.Name, l.Livestream.Status, bool(l.Livestream.Disabled)},
	}
	if away {
		one.Error = briefly(l.Why)
	}
	e := json.NewEncoder(v.s.Out)
	e.SetEscapeHTML(false)
	_ = e.Encode(one) // nobody reads any more: the signal that follows ends the command
}
