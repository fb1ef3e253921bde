package api

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

const (
	// auditsAtOnce is how many audits are read at once, so that they leave the
	// store to others; further ones wait. Each reads every viewer of a session:
	// 0.5 s for 100,000.
	auditsAtOnce = 2
	// shownIntervals is how many intervals an audit in JSON lists.
	shownIntervals = 1000
)

// auditObject says whether a session's seconds add up.
type auditObject struct {
	SessionID    string           `json:"session_id"`
	LivestreamID string           `json:"livestream_id"`
	At           stamp            `json:"at"`   // of this moment is all of it
	Open         bool             `json:"open"` // the session goes on
	AddsUp       bool             `json:"adds_up"`
	Ingest       ingestAudit      `json:"ingest"`
	Viewer       viewerAudit      `json:"viewer"`
	Intervals    []intervalObject `json:"intervals"` // the first 1,000
}

type ingestAudit struct {
	AddsUp      bool              `json:"adds_up"`
	Seconds     int64             `json:"seconds"` // as the session's own answers show them
	Us          int64             `json:"us"`      // the same, exact
	Intervals   int               `json:"intervals"`
	IntervalsUs int64             `json:"intervals_us"` // their sum
	Remainders  []ingestRemainder `json:"remainders"`   // with the sum, the session's
}

type ingestRemainder struct {
	Reason livestream.Why `json:"reason"`
	Us     int64          `json:"us"`
	Detail string         `json:"detail"`
}

type viewerAudit struct {
	AddsUp  bool  `json:"adds_up"`
	Seconds int64 `json:"seconds"`
	microseconds
	Windows    windowsAudit      `json:"windows"`
	Viewers    viewersAudit      `json:"viewers"`
	Remainders []viewerRemainder `json:"remainders"` // with the sum over viewers, the session's
}

type windowsAudit struct {
	AddsUp bool  `json:"adds_up"`
	Count  int64 `json:"count"`
	microseconds
}

type viewersAudit struct {
	AddsUp bool  `json:"adds_up"`
	Count  int   `json:"count"`
	Bytes  int64 `json:"bytes"` // delivered to them
	microseconds
	Tiers tiersObject `json:"tiers"`
}

// tiersObject says how the viewers were counted.
type tiersObject struct {
	Beacon   tierObject `json:"beacon"`
	Media    tierObject `json:"media"`
	Playlist tierObject `json:"playlist"`
	None     tierObject `json:"none"` // nothing was counted
}

type tierObject struct {
	Viewers int   `json:"viewers"`
	Us      int64 `json:"us"`
}

type viewerRemainder struct {
	Reason livestream.Why `json:"reason"`
	microseconds
	Detail string `json:"detail"`
}

type intervalObject struct {
	Epoch  int64 `json:"epoch"`
	Number int64 `json:"number"`
	From   stamp `json:"from"`
	To     stamp `json:"to"` // null: it goes on, or its end is not written
	Us     int64 `json:"us"`
}

// getAudit is ours: both seconds of a session recomputed from what is stored,
// and what no row accounts for.
func getAudit(s *server, w http.ResponseWriter, rq *request) error {
	one, err := s.session(rq)
	if err != nil {
		return err
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	format := p.Choice("format", "json", "csv")
	if err := p.Err(); err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	if format == "csv" || format == "" && wantsCSV(rq.Header["Accept"]) {
		return s.auditCSV(w, rq, one.ID)
	}
	intervals := []intervalObject{}
	a := &livestream.Audit{OnInterval: func(v livestream.Interval) {
		if len(intervals) < shownIntervals {
			intervals = append(intervals, intervalObject{v.Epoch, v.Number, stamp(v.From), stamp(v.To), v.Length.Microseconds()})
		}
	}}
	if err := s.audit(rq, one.ID, a, a); err != nil {
		return err
	}
	a.Done()
	o := auditOf(a)
	o.Intervals = intervals
	return s.reply(w, http.StatusOK, o, nil)
}

// audit tells l, which a is or is part of, what the store has of the session,
// when it is its turn.
func (s *server) audit(rq *request, sessionID string, a *livestream.Audit, l livestream.Ledger) error {
	select {
	case s.audits <- struct{}{}:
		defer func() { <-s.audits }()
	case <-rq.Context().Done():
		return rq.Context().Err()
	}
	a.At = s.Now()
	return orMissing(s.Store.Audit(rq.Context(), rq.Scope, sessionID, l), "livestream session", sessionID)
}

// wantsCSV reports whether a client names CSV with more weight than JSON (RFC 9110
// section 12.5.1). What it does not name by its own name has none.
func wantsCSV(accept []string) bool {
	csv, other := 0.0, 0.0
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := parameters["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		switch name {
		case "text/csv":
			csv = max(csv, q)
		case "application/json":
			other = max(other, q)
		}
	}
	return csv > other
}

func auditOf(a *livestream.Audit) auditObject {
	one := a.Session
	o := auditObject{
		SessionID: one.ID, LivestreamID: one.LivestreamID, At: stamp(a.At), Open: one.Phase.Open(), AddsUp: a.AddsUp(),
		Ingest: ingestAudit{
			AddsUp: a.IngestAddsUp(), Seconds: seconds(one.Ingest), Us: one.Ingest.Microseconds(),
			Intervals: a.Intervals + a.Open, IntervalsUs: a.Received.Microseconds(), Remainders: []ingestRemainder{},
		},
		Viewer: viewerAudit{
			AddsUp: a.ViewersAddUp() && a.WindowsAddUp(), Seconds: seconds(one.Viewed), microseconds: microsecondsOf(one.Counted()),
			Windows: windowsAudit{a.WindowsAddUp(), a.Count, microsecondsOf(a.Windowed)},
			Viewers: viewersAudit{
				AddsUp: a.ViewersAddUp(), Count: a.Viewers, Bytes: a.Bytes, microseconds: microsecondsOf(a.Listed),
				Tiers: tiersObject{tierOf(a, livestream.ByBeacon), tierOf(a, livestream.ByMedia), tierOf(a, livestream.ByPlaylist), tierOf(a, "")},
			},
			Remainders: []viewerRemainder{},
		},
	}
	for _, r := range a.IngestRest {
		o.Ingest.Remainders = append(o.Ingest.Remainders, ingestRemainder{r.Why, r.Ingest.Microseconds(), a.Text(r)})
	}
	for _, r := range a.ViewerRest {
		o.Viewer.Remainders = append(o.Viewer.Remainders, viewerRemainder{r.Why, microsecondsOf(r.Viewed), a.Text(r)})
	}
	return o
}

func tierOf(a *livestream.Audit, kind livestream.UsageKind) tierObject {
	t := a.Tiers[kind]
	return tierObject{t.Viewers, t.Time.Microseconds()}
}
