package api

import (
	"math"
	"net/http"
	"time"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// overallUsage is L11's data. count is of livestreams, not of sessions.
type overallUsage struct {
	Count              int   `json:"count"`
	TotalIngestSeconds int64 `json:"total_ingest_seconds"`
	TotalViewerSeconds int64 `json:"total_viewer_seconds"`
}

// getUsage is L11: the app's sessions of a range of time, summed up.
func getUsage(s *server, w http.ResponseWriter, rq *request) error {
	from, to, err := s.span(rq)
	if err != nil {
		return err
	}
	u, livestreams, err := s.Store.Usage(rq.Context(), rq.Scope, from, to)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, overallUsage{livestreams, u.IngestSecs, u.ViewerSecs}, nil)
}

// span reads the range of L11 and L12. filters is a parameter of theirs whose
// meaning was never published; whatever it says is taken and changes nothing.
func (s *server) span(rq *request) (from, to time.Time, err error) {
	p := input.ParseQuery(rq.URL.RawQuery)
	from, to = p.Span("start_time", "end_time", s.Now())
	return from, to, p.Err()
}

// dayUsage is one row of L12's data. count is of sessions.
type dayUsage struct {
	Date               string `json:"date"` // YYYY-MM-DD, UTC
	Count              int    `json:"count"`
	TotalIngestSeconds int64  `json:"total_ingest_seconds"`
	TotalViewerSeconds int64  `json:"total_viewer_seconds"`
}

// getUsageByDay is L12: a row for each day in UTC, oldest first. Days without
// sessions are zeros, and those at the ends hold what is within the range.
func getUsageByDay(s *server, w http.ResponseWriter, rq *request) error {
	from, to, err := s.span(rq)
	if err != nil {
		return err
	}
	days, err := s.usageByDay(rq, from, to)
	if err != nil {
		return err
	}
	rows := make([]dayUsage, len(days))
	for i, d := range days {
		rows[i] = dayUsage{d.Day.Format(time.DateOnly), d.Sessions, d.IngestSecs, d.ViewerSecs}
	}
	return s.reply(w, http.StatusOK, rows, nil)
}

// usageByDay asks the store and fills in the days without sessions.
func (s *server) usageByDay(rq *request, from, to time.Time) ([]livestream.DayUsage, error) {
	some, err := s.Store.UsageByDay(rq.Context(), rq.Scope, from, to)
	if err != nil {
		return nil, err
	}
	var all []livestream.DayUsage
	for day := from.UTC().Truncate(24 * time.Hour); !day.After(to); day = day.AddDate(0, 0, 1) {
		d := livestream.DayUsage{Day: day}
		if len(some) > 0 && some[0].Day.Equal(day) {
			d, some = some[0], some[1:]
		}
		all = append(all, d)
	}
	return all, nil
}

// orgUsage is L13's data.
type orgUsage struct {
	Sessions   sessionStats   `json:"session_stats"`
	Recordings recordingStats `json:"recording_stats"`
}

type sessionStats struct {
	Count    int          `json:"sessions_count"`
	Minutes  minutes      `json:"sessions_minutes_consumed"`
	DayStats []sessionDay `json:"day_stats"`
}

type sessionDay struct {
	Day     stamp   `json:"day"` // midnight, UTC
	Count   int     `json:"total_sessions"`
	Minutes minutes `json:"total_session_minutes"`
}

type recordingStats struct {
	Count    int            `json:"recording_count"`
	Minutes  minutes        `json:"recording_minutes_consumed"`
	DayStats []recordingDay `json:"day_stats"`
}

type recordingDay struct {
	Day     stamp `json:"day"` // midnight, UTC
	Count   int   `json:"total_recordings"`
	Minutes int64 `json:"total_recording_minutes"`
}

// minutes is a number with at most three decimals.
type minutes float64

func minutesOf(secs int64) minutes { return minutes(math.Round(float64(secs)*1000/60) / 1000) }

// getOrgUsage is L13: sessions by day, their minutes being those received. There
// are no recordings yet.
func getOrgUsage(s *server, w http.ResponseWriter, rq *request) error {
	p := input.ParseQuery(rq.URL.RawQuery)
	from, to := p.Days("start_date", "end_date", s.Now())
	if err := p.Err(); err != nil {
		return err
	}
	days, err := s.usageByDay(rq, from, to)
	if err != nil {
		return err
	}
	u := orgUsage{
		Sessions:   sessionStats{DayStats: make([]sessionDay, len(days))},
		Recordings: recordingStats{DayStats: make([]recordingDay, len(days))},
	}
	var secs int64
	for i, d := range days {
		secs += d.IngestSecs
		u.Sessions.Count += d.Sessions
		u.Sessions.DayStats[i] = sessionDay{stamp(d.Day), d.Sessions, minutesOf(d.IngestSecs)}
		u.Recordings.DayStats[i].Day = stamp(d.Day)
	}
	u.Sessions.Minutes = minutesOf(secs)
	return s.reply(w, http.StatusOK, u, nil)
}
