package conformance_test

import (
	"maps"
	"strconv"
	"time"

	"tally/internal/livestream"
)

// broadcast puts a livestream on air at that time, for that long, and takes it
// off cleanly.
func (p *place) broadcast(id string, from time.Time, ingest, viewed time.Duration) {
	p.t.Helper()
	p.now = from
	p.advance(id, 0, livestream.Event{Kind: livestream.Publish})
	rec := p.advance(id, time.Second, livestream.Event{Kind: livestream.Playable})
	p.count(rec, ingest, viewed)
	p.advance(id, time.Second, livestream.Event{Kind: livestream.Unpublish})
}

// Three broadcasts of two livestreams on two days, and one that was never
// playable, asked for in each client's own form of time.
func (s *story) analytics() {
	p := s.p
	day := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	p.now = day
	one, two := p.create("one", ""), p.create("two", "")
	p.broadcast(one, day.Add(23*time.Hour+59*time.Minute), 2*time.Minute, 90*time.Second) // counts on the day it began
	p.broadcast(one, day.Add(34*time.Hour), 30*time.Second, 10*time.Second)
	p.broadcast(two, day.Add(35*time.Hour), time.Minute, 5*time.Minute)
	p.now = day.Add(36 * time.Hour)
	p.advance(two, 0, livestream.Event{Kind: livestream.Publish})
	p.advance(two, time.Second, livestream.Event{Kind: livestream.Unpublish})

	span := params{"start_time": day, "end_time": day.Add(60 * time.Hour), "filters": ""}
	s.want("overall", s.call("Livestreams.GetLivestreamAnalyticsComplete", nil, span), map[string]field{
		"count": whole(2), "total_ingest_seconds": whole(210), "total_viewer_seconds": whole(400)})
	second := params{"start_time": day.Add(24 * time.Hour), "end_time": day.Add(34*time.Hour + 30*time.Minute)}
	s.want("overall of a part", s.call("Livestreams.GetLivestreamAnalyticsComplete", nil, second), map[string]field{
		"count": whole(1), "total_ingest_seconds": whole(30), "total_viewer_seconds": whole(10)})

	row := func(i, date string, count, ingest, viewed int64) map[string]field {
		return map[string]field{i + ".date": plain(date), i + ".count": whole(count), i + ".total_ingest_seconds": whole(ingest), i + ".total_viewer_seconds": whole(viewed)}
	}
	want := map[string]field{"#": length(3)}
	maps.Copy(want, row("0", "2026-06-01", 1, 120, 90))
	maps.Copy(want, row("1", "2026-06-02", 2, 90, 310))
	maps.Copy(want, row("2", "2026-06-03", 0, 0, 0))
	s.want("daywise", s.call("Livestreams.GetLivestreamAnalyticsDaywise", nil, span), want)

	p.now = day.Add(60 * time.Hour) // 3 June
	for _, method := range []string{"Livestreams.GetOrgAnalytics", "Analytics.GetOrgAnalytics"} {
		dates := params{"start_date": "2026-06-01", "end_date": "2026-06-03"}
		a := s.call(method, nil, dates)
		want := map[string]field{
			"session_stats.sessions_count": whole(3), "session_stats.sessions_minutes_consumed": number(3.5),
			"recording_stats.recording_count": whole(0), "recording_stats.recording_minutes_consumed": number(0),
			"session_stats.day_stats.#": length(3), "recording_stats.day_stats.#": length(3),
		}
		for i, sessions := range []int64{1, 2, 0} {
			at := strconv.Itoa(i) + "."
			date := plain(day.AddDate(0, 0, i).Format(layout))
			maps.Copy(want, under("session_stats.day_stats."+at, map[string]field{
				"day": date, "total_sessions": whole(sessions), "total_session_minutes": number([]float64{2, 1.5, 0}[i])}))
			maps.Copy(want, under("recording_stats.day_stats."+at, map[string]field{
				"day": date, "total_recordings": whole(0), "total_recording_minutes": whole(0)}))
		}
		s.want(method, a, want)
		if a := s.call(method, nil, nil); a.Reading["session_stats.day_stats.#"] != 31 {
			s.t.Errorf("%s without dates shows %v days, want the last 30 and today", method, a.Reading["session_stats.day_stats.#"])
		}
	}
}
