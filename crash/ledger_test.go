package crash

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A view is what the API says of a livestream and its newest session.
type view struct {
	Livestream struct {
		ID          string  `json:"id"`
		Name        *string `json:"name"`
		Status      string  `json:"status"`
		StreamKey   string  `json:"stream_key"`
		PlaybackURL string  `json:"playback_url"`
		Disabled    string  `json:"disabled"`
	} `json:"livestream"`
	Sessions []session `json:"sessions"`
}

type session struct {
	ID            string     `json:"id"`
	ErrMessage    *string    `json:"err_message"`
	InvokedTime   *time.Time `json:"invoked_time"`
	StartedTime   *time.Time `json:"started_time"`
	StoppedTime   *time.Time `json:"stopped_time"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	IngestSeconds int64      `json:"ingest_seconds"`
	ViewerSeconds int64      `json:"viewer_seconds"`
	Tally         struct {
		IngestMs int64 `json:"ingest_ms"`
		ViewerMs int64 `json:"viewer_ms"`
	} `json:"tally"`
}

// A claim is a value that the server has answered for, and the one that was
// under way when the server died: after the restart either may be true.
type claim[T comparable] struct {
	sure    T
	perhaps *T
}

// ask notes that v was asked for; answered, that it was granted.
func (c *claim[T]) ask(v T)     { c.perhaps = &v }
func (c *claim[T]) answered()   { c.sure, c.perhaps = *c.perhaps, nil }
func (c *claim[T]) ok(v T) bool { return v == c.sure || c.perhaps != nil && v == *c.perhaps }
func (c *claim[T]) settle(v T)  { c.sure, c.perhaps = v, nil }
func (c claim[T]) String() string {
	if c.perhaps != nil {
		return fmt.Sprintf("%v, perhaps %v", c.sure, *c.perhaps)
	}
	return fmt.Sprint(c.sure)
}

// An entry is what the ledger holds of one livestream. The goroutine that
// drives the livestream owns it while the server runs, the test in between.
type entry struct {
	id       string
	name     claim[string]
	disabled claim[bool]
	deleted  claim[bool]
	key      claim[string] // "?" stands for a new one that was not read
	playback string        // path of the multivariant playlist

	seen     view               // newest answer
	sessions map[string]session // every session ever seen, as newest seen
	media    *media
}

// check compares what the API says after a restart with the ledger, and takes
// over what was open. faults are sentences.
func (e *entry) check(status int, v view) (faults []string) {
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("livestream %s: ", e.id)+fmt.Sprintf(format, args...))
	}
	if gone := status == 404; status != 200 && !gone || !e.deleted.ok(gone) {
		bad("status %d, deleted is %v", status, e.deleted)
		return faults
	} else if e.deleted.settle(gone); gone {
		return nil
	}
	name := ""
	if v.Livestream.Name != nil {
		name = *v.Livestream.Name
	}
	if !e.name.ok(name) {
		bad("name %q, want %v", name, e.name)
	}
	e.name.settle(name)
	disabled := v.Livestream.Disabled == "true"
	if !e.disabled.ok(disabled) {
		bad("disabled %v, want %v", disabled, e.disabled)
	}
	e.disabled.settle(disabled)
	if v.Livestream.StreamKey != e.key.sure && e.key.perhaps == nil {
		bad("stream key changed without being asked for")
	}
	e.key.settle(v.Livestream.StreamKey)
	return append(faults, e.compare(v)...)
}

// compare holds a newer answer against all that were seen before: nothing
// decreases, what is closed stays as it was, what existed exists.
func (e *entry) compare(v view) (faults []string) {
	bad := func(s session, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("livestream %s session %s: ", e.id, s.ID)+fmt.Sprintf(format, args...))
	}
	now := map[string]session{}
	open := 0
	for _, s := range v.Sessions {
		now[s.ID] = s
		if s.StoppedTime == nil {
			open++
		}
		if s.InvokedTime == nil || s.InvokedTime.Before(s.CreatedAt) || s.StartedTime != nil && s.StartedTime.Before(*s.InvokedTime) {
			bad(s, "times out of order: %+v", s)
		}
		if s.StoppedTime != nil && float64(s.IngestSeconds) > s.StoppedTime.Sub(*s.InvokedTime).Seconds()+0.5 {
			bad(s, "%d ingest seconds within %v", s.IngestSeconds, s.StoppedTime.Sub(*s.InvokedTime))
		}
	}
	if open > 1 {
		bad(session{}, "%d sessions are open", open)
	}
	for id, before := range e.sessions {
		s, ok := now[id]
		switch {
		case !ok && len(v.Sessions) < 100:
			bad(before, "is gone")
		case !ok:
		case s.Tally.IngestMs < before.Tally.IngestMs || s.Tally.ViewerMs < before.Tally.ViewerMs:
			bad(s, "seconds fell: %+v, before %+v", s.Tally, before.Tally)
		case before.StartedTime != nil && (s.StartedTime == nil || !s.StartedTime.Equal(*before.StartedTime)):
			bad(s, "its start moved")
		case before.StoppedTime != nil && (s.StoppedTime == nil || !s.StoppedTime.Equal(*before.StoppedTime)):
			bad(s, "was closed at %v, now %v", before.StoppedTime, s.StoppedTime)
		case before.StoppedTime != nil && s.IngestSeconds != before.IngestSeconds && s.UpdatedAt.Sub(*s.StoppedTime) > 3*time.Second:
			bad(s, "its ingest seconds changed long after its end")
		}
	}
	for id, s := range now {
		e.sessions[id] = s
	}
	e.seen = v
	return faults
}

// A position is a segment's media sequence number and discontinuity sequence
// number.
type position struct{ number, disc int64 }

var nowhere = position{-1, -1}

// media is what one viewer was served of a livestream, over all lives of the
// server: an address never changes its meaning, and numbers only rise.
type media struct {
	mu     sync.Mutex
	bytes  map[string][32]byte // path below the playlist's run -> SHA-256
	run    string
	newest position // of the newest segment listed in run
	floor  position // what the numbers of a restarted server must exceed; negative: nothing
	faults []string
}

// served notes one answer.
func (m *media) served(path string, text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := sha256.Sum256(text)
	if before, ok := m.bytes[path]; ok && before != sum {
		m.faults = append(m.faults, path+" has other bytes than before")
	}
	m.bytes[path] = sum
}

// listed notes a playlist's run, its first segment and its newest.
func (m *media) listed(run string, first, newest position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if run != m.run {
		m.run, m.newest, m.floor = run, position{}, nowhere
	}
	if first.number <= m.floor.number || first.disc <= m.floor.disc {
		m.faults = append(m.faults, fmt.Sprintf("run %s lists %+v after a restart, %+v was listed before", run, first, m.floor))
	}
	m.floor = nowhere
	if newest.number < m.newest.number || newest.disc < m.newest.disc {
		m.faults = append(m.faults, fmt.Sprintf("run %s ends in %+v, before in %+v", run, newest, m.newest))
	}
	m.newest = position{max(m.newest.number, newest.number), max(m.newest.disc, newest.disc)}
}

// restarted: from now on the numbers of the run must be higher than all before.
func (m *media) restarted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.floor = m.newest
}

// parsePlaylist reads the little that media needs.
func parsePlaylist(text string) (first, newest position, segments []string) {
	var disc int64
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "#EXT-X-MEDIA-SEQUENCE:"); ok {
			fmt.Sscan(v, &first.number)
		}
		if v, ok := strings.CutPrefix(line, "#EXT-X-DISCONTINUITY-SEQUENCE:"); ok {
			fmt.Sscan(v, &disc)
		}
		if line == "#EXT-X-DISCONTINUITY" {
			disc++
		}
		if line != "" && line[0] != '#' {
			if len(segments) == 0 {
				first.disc = disc
			}
			newest.disc = disc
			segments = append(segments, line)
		}
	}
	newest.number = first.number + int64(len(segments)) - 1
	return first, newest, segments
}

// A watched is what one player was given of a livestream that nobody else
// watches, over all lives of the server.
type watched struct {
	mu    sync.Mutex
	given time.Duration // of media, not of held pictures
	lost  time.Duration // of that, when last looked at
}

// check compares with what the sessions say after an end of the server. A kill
// may have lost a second. What was on its way to the player then was counted here
// or there alone: two parts at most.
func (w *watched) check(counted time.Duration, killed bool) error {
	const underWay = 700 * time.Millisecond
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := w.given - counted
	now := lost - w.lost
	w.lost = lost
	if most := map[bool]time.Duration{true: time.Second}[killed] + underWay; now > most || now < -underWay {
		return fmt.Errorf("its viewer was given %v and %v was counted, which is %v less than after the end before (killed: %v)", w.given, counted, now, killed)
	}
	return nil
}

func decode[T any](data json.RawMessage) (v T) {
	json.Unmarshal(data, &v) // what cannot be read fails the comparison
	return v
}
