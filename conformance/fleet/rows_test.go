package fleet

import (
	"fmt"
	"time"
)

// A row is one viewer of a session, as the API lists it.
type row struct {
	ID         string  `json:"id"`
	Tier       *string `json:"tier"`
	BeaconUs   int64   `json:"beacon_us"`
	MediaUs    int64   `json:"media_us"`
	PlaylistUs int64   `json:"playlist_us"`
	Bytes      int64   `json:"bytes"`
	Left       bool    `json:"left"`
}

func (w *row) viewed() time.Duration {
	return time.Duration(w.BeaconUs+w.MediaUs+w.PlaylistUs) * time.Microsecond
}

// rows lists all viewers of a session.
func (s *server) rows(sessionID string) (all []row, err error) {
	const perPage = 100
	for page := 1; ; page++ {
		var some []row
		path := fmt.Sprintf("/livestreams/sessions/%s/viewers?page_no=%d&per_page=%d", sessionID, page, perPage)
		if err := s.call("GET", path, nil, &some); err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < perPage {
			return all, nil
		}
	}
}

// An audit is what the API makes of a session's rows and windows.
type audit struct {
	AddsUp bool `json:"adds_up"`
	Viewer struct {
		AddsUp  bool  `json:"adds_up"`
		Us      int64 `json:"us"`
		Windows struct {
			AddsUp bool  `json:"adds_up"`
			Us     int64 `json:"us"`
		} `json:"windows"`
		Viewers struct {
			Count int   `json:"count"`
			Us    int64 `json:"us"`
		} `json:"viewers"`
		Remainders []struct {
			Reason string `json:"reason"`
			Us     int64  `json:"us"`
			Detail string `json:"detail"`
		} `json:"remainders"`
	} `json:"viewer"`
}

// by is the part of the seconds that rests on one kind of evidence.
func (s *session) by(tier string) time.Duration {
	e := s.Tally.Evidence
	return time.Duration(map[string]int64{byBeacon: e.BeaconMs, byMedia: e.MediaMs, byPlaylist: e.PlaylistMs}[tier]) * time.Millisecond
}

// evidence checks what the session's seconds rest on.
func (r *run) evidence(l *line, s session) {
	sum := s.by(byBeacon) + s.by(byMedia) + s.by(byPlaylist)
	if diff := sum - s.viewed(); diff < -2*time.Millisecond || diff > 2*time.Millisecond { // each is rounded
		l.fault("evidence %v by beacons, %v by media, %v by playlists is not the %v of session %s",
			s.by(byBeacon), s.by(byMedia), s.by(byPlaylist), s.viewed(), s.ID)
	}
	var early time.Duration // counted before the first beacon came: a buffer, and a second or two
	if r.surprise {
		early = time.Duration(r.n) * (3*r.target + 2*time.Second)
	}
	if others := sum - s.by(r.tier); r.tier != "" && others > early {
		l.fault("%v of session %s do not rest on %s", others, s.ID, r.tier)
	}
}

// oneViewer is by how much any one viewer may be wrong: a part and a second.
func (r *run) oneViewer() time.Duration { return r.longPart + time.Second }

// viewers holds each viewer's row against its book, and the sum of the rows
// against the session. killed: the server was, and rows were lost with it.
func (r *run) viewers(l *line, a airing, killed bool) {
	rows, err := r.server.rows(a.id)
	if err != nil {
		l.fault("%v", err)
		return
	}
	counted := map[string]row{}
	var sum int64
	for _, w := range rows {
		if _, twice := counted[w.ID]; twice {
			l.fault("viewer %s has two rows in session %s", w.ID, a.id)
		}
		if !w.Left {
			l.fault("viewer %s watches session %s, which is over", w.ID, a.id)
		}
		counted[w.ID] = w
		sum += w.viewed().Microseconds()
	}
	if r.tier != "" {
		for _, b := range r.books {
			r.one(l, a, b, counted[b.key], killed)
			delete(counted, b.key)
		}
	}
	for _, w := range counted {
		l.fault("viewer %s of session %s, with %v, was none", w.ID, a.id, w.viewed())
	}
	r.audited(l, a, len(rows), sum, killed)
}

// one compares a viewer's book with its row, zero where it has none.
func (r *run) one(l *line, a airing, b *book, w row, killed bool) {
	truth := b.truth(a)
	wrong := w.viewed() - truth
	if killed {
		if wrong > r.oneViewer()+r.twice {
			l.fault("%v, session %s: counted %v, the truth is %v", b, a.id, w.viewed(), truth)
		}
		return // how little it may be is checked for all together: the row may be gone
	}
	if wrong.Abs() > l.worst.Abs() {
		l.worst = wrong
	}
	if wrong.Abs() > r.oneViewer() {
		l.fault("%v, session %s: counted %v, the truth is %v", b, a.id, w.viewed(), truth)
	}
	if truth == 0 {
		return
	}
	if w.Tier == nil || *w.Tier != b.tier {
		l.fault("%v, session %s: is not counted by %s: %+v", b, a.id, b.tier, w)
	}
	if b.tier == byMedia && len(r.sessions) == 1 && !r.scenario.heavy && w.Bytes != b.bytes {
		l.fault("%v, session %s: was given %d bytes, its row says %d", b, a.id, b.bytes, w.Bytes)
	}
}

// audited checks that the audit says that it adds up, and that it does.
func (r *run) audited(l *line, a airing, rows int, sum int64, killed bool) {
	var o audit
	if err := r.call("GET", "/livestreams/sessions/"+a.id+"/audit", nil, &o); err != nil {
		l.fault("%v", err)
		return
	}
	v := &o.Viewer
	rest := int64(0)
	for _, r := range v.Remainders {
		if rest += r.Us; !killed || r.Reason != "crash" {
			l.fault("%d us of session %s belong to no viewer: %s", r.Us, a.id, r.Detail)
		}
	}
	if !o.AddsUp || !v.AddsUp || !v.Windows.AddsUp || v.Windows.Us != v.Us || v.Viewers.Us+rest != v.Us {
		l.fault("the audit of session %s does not add up: %+v", a.id, o)
	}
	if v.Viewers.Count != rows || v.Viewers.Us != sum {
		l.fault("the audit of session %s knows %d viewers and %d us, their rows are %d and %d us", a.id, v.Viewers.Count, v.Viewers.Us, rows, sum)
	}
}
