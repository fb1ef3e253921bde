package api_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/livestream"
)

const (
	overall = base + "/analytics/livestreams/overall"
	daywise = base + "/analytics/livestreams/daywise"
	orgwise = base + "/analytics/daywise"
)

// aired puts a livestream on air so that its session starts at that moment, for
// so long, and takes it off again.
func (w *world) aired(id string, start time.Time, ingest, viewed time.Duration) {
	w.t.Helper()
	w.now = start.Add(-1250 * time.Millisecond) // as live turns the clock
	rec := w.live(id, ingest, viewed)
	if !rec.Session.StartedAt.Equal(start) {
		w.t.Fatalf("started at %s, want %s", rec.Session.StartedAt, start)
	}
	w.advance(id, time.Millisecond, livestream.Event{Kind: livestream.Unpublish})
}

// history is three days with sessions and a livestream that is on air.
func (w *world) history() (live string) {
	w.t.Helper()
	a, b, gone := w.create("a").ID, w.create("b").ID, w.create("gone").ID
	w.aired(a, day(3).Add(0), 90*time.Second, 61*time.Second)
	w.aired(b, day(3).Add(24*time.Hour-time.Millisecond), 3600*time.Second, 0) // into the next day
	w.aired(gone, day(5), 59600*time.Millisecond, 499*time.Millisecond)
	w.advance(gone, time.Second, livestream.Event{Kind: livestream.Delete})
	w.advance(a, time.Second, livestream.Event{Kind: livestream.Publish}) // never playable
	w.advance(a, 10*time.Second, livestream.Event{Kind: livestream.Fail, Reason: livestream.Silent(10 * time.Second)})
	w.now = day(6).Add(12*time.Hour - 1250*time.Millisecond)
	w.live(b, 20*time.Second, 30*time.Second)
	return b
}

// day is the first instant of a day in January.
func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func TestAnswersOfAnalytics(t *testing.T) {
	type answer = *httptest.ResponseRecorder
	get := func(path string) func(w *world) answer {
		return func(w *world) answer {
			w.history()
			return w.call("GET", path, "")
		}
	}
	const first, last = "2026-01-02", "2026-01-06"
	for _, c := range []struct {
		name string
		ask  func(w *world) answer
	}{
		{"analytics overall", get(overall)},
		{"analytics overall of one day", get(overall + "?start_time=2026-01-03&end_time=2026-01-03&filters=whatever")},
		{"analytics overall empty", func(w *world) answer { return w.call("GET", overall, "") }},
		{"analytics overall refused", get(overall + "?start_time=soon&end_time=16975008000000")},
		{"analytics overall of too long", get(overall + "?start_time=2010-01-01&end_time=2026-01-01")},
		{"analytics daywise", get(daywise + "?start_time=" + first + "&end_time=" + last)},
		{"analytics daywise empty", get(daywise + "?start_time=2025-12-31&end_time=2026-01-01")},
		{"analytics daywise backwards", get(daywise + "?start_time=2026-01-02&end_time=2026-01-01")},
		{"analytics org daywise", get(orgwise + "?start_date=" + first + "&end_date=" + last)},
		{"analytics org daywise refused", get(orgwise + "?start_date=2026-02-30")},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, strings.ReplaceAll(c.name, " ", "-"), c.ask(newWorld(t)))
		})
	}
}

// TestAnalyticsInEveryTongue: the same range as each client writes it.
func TestAnalyticsInEveryTongue(t *testing.T) {
	w := newWorld(t)
	w.history()
	from, to := day(3), day(5).Add(24*time.Hour-time.Second)
	want := map[string]any{"count": 3.0, "total_ingest_seconds": 3750.0, "total_viewer_seconds": 61.0}
	for _, q := range []string{
		fmt.Sprintf("start_time=%d&end_time=%d", from.Unix(), to.Unix()),
		fmt.Sprintf("start_time=%d&end_time=%d&filters=a&filters=b", from.UnixMilli(), to.Add(999*time.Millisecond).UnixMilli()),
		"start_time=2026-01-03T00:00:00Z&end_time=2026-01-05T23:59:59Z",
		"start_time=2026-01-03T00:00:00.000Z&end_time=2026-01-05T23:59:59.999Z",
		"start_time=2026-01-03T01:00:00%2B01:00&end_time=2026-01-06T00:59:59%2B01:00",
		"start_time=2026-01-03&end_time=2026-01-05",
		fmt.Sprintf("start_time=%d&end_time=2026-01-05", from.Unix()),
	} {
		rec := w.call("GET", overall+"?"+q, "")
		if diff := cmp.Diff(want, object(t, rec)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", q, diff)
		}
		rows := data[[]map[string]any](t, w.call("GET", daywise+"?"+q, ""))
		if len(rows) != 3 || rows[0]["date"] != "2026-01-03" || rows[2]["date"] != "2026-01-05" {
			t.Errorf("%s: days %v", q, rows)
		}
	}
}

// TestDayBorders: a session belongs to the day in UTC in which it started,
// whatever it lasted, and whatever zone the range is given in.
func TestDayBorders(t *testing.T) {
	w := newWorld(t)
	id, other := w.create("a").ID, w.create("b").ID
	w.aired(id, day(10), time.Second, 0)
	w.aired(id, day(11).Add(-time.Millisecond), 2*time.Second, 0)
	w.aired(other, day(11), 4*time.Second, 0)
	for query, want := range map[string][2]string{
		"start_time=2026-01-10&end_time=2026-01-11":                                       {"2 7", "2026-01-10 2 3; 2026-01-11 1 4"},
		"start_time=2026-01-10&end_time=2026-01-10":                                       {"1 3", "2026-01-10 2 3"},
		"start_time=2026-01-11&end_time=2026-01-11":                                       {"1 4", "2026-01-11 1 4"},
		"start_time=2026-01-10T23:59:59.999Z&end_time=2026-01-11T00:00:00.000Z":           {"2 6", "2026-01-10 1 2; 2026-01-11 1 4"},
		"start_time=2026-01-10T23:59:59.999Z&end_time=2026-01-10T23:59:59.999Z":           {"1 2", "2026-01-10 1 2"},
		"start_time=2026-01-10T00:00:00.001Z&end_time=2026-01-10T23:59:59.998Z":           {"0 0", "2026-01-10 0 0"},
		"start_time=2026-01-11T00:59:59.999%2B01:00&end_time=2026-01-11T01:00:00%2B01:00": {"2 6", "2026-01-10 1 2; 2026-01-11 1 4"},
	} {
		sum := object(t, w.call("GET", overall+"?"+query, ""))
		got := fmt.Sprint(sum["count"], " ", sum["total_ingest_seconds"])
		if got != want[0] {
			t.Errorf("%s: overall %s, want %s", query, got, want[0])
		}
		var days []string
		for _, row := range data[[]map[string]any](t, w.call("GET", daywise+"?"+query, "")) {
			days = append(days, fmt.Sprint(row["date"], " ", row["count"], " ", row["total_ingest_seconds"]))
		}
		if got := strings.Join(days, "; "); got != want[1] {
			t.Errorf("%s: days %s, want %s", query, got, want[1])
		}
	}
}

// TestAnalyticsOfWhatIsOnAir: it counts from its first playable moment on, with
// what it has now, and until now includes now.
func TestAnalyticsOfWhatIsOnAir(t *testing.T) {
	w := newWorld(t)
	id := w.create("show").ID
	ask := func(query string) string {
		t.Helper()
		m := object(t, w.call("GET", overall+query, ""))
		return fmt.Sprint(m["count"], " ", m["total_ingest_seconds"], " ", m["total_viewer_seconds"])
	}
	w.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
	if got := ask(""); got != "0 0 0" {
		t.Errorf("before it is playable: %s", got)
	}
	rec := w.advance(id, time.Second, livestream.Event{Kind: livestream.Playable})
	now := fmt.Sprintf("?start_time=%d&end_time=%d", w.now.Add(-time.Hour).Unix(), w.now.Unix())
	if got := ask(now); got != "1 0 0" { // as a client asks that knows seconds alone
		t.Errorf("at its first moment: %s", got)
	}
	for _, ingest := range []time.Duration{time.Second, 1500 * time.Millisecond, 70 * time.Second} {
		w.now = w.now.Add(ingest)
		must(t, w.store.Checkpoint(t.Context(), []livestream.Checkpoint{{LivestreamID: id, SessionID: rec.Session.ID,
			Epoch: rec.Session.Epoch, At: w.now, LastMediaAt: w.now, Ingest: ingest, RunID: rec.Livestream.Run.ID}}, nil, nil))
		want := fmt.Sprint("1 ", int64(ingest.Seconds()+0.5), " 0")
		if got := ask(""); got != want {
			t.Errorf("with %s received: %s, want %s", ingest, got, want)
		}
	}
}

// TestAnalyticsAddUp: sums are those of the sessions as their own answers show
// them, and the days add up to the whole.
func TestAnalyticsAddUp(t *testing.T) {
	w := newWorld(t)
	var ingest, viewed float64
	for i := range 7 {
		id := w.create(fmt.Sprint(i)).ID
		w.aired(id, day(3+i).Add(time.Duration(i)*time.Hour), time.Duration(i)*1499*time.Millisecond, time.Duration(i)*2501*time.Millisecond)
		session := object(t, w.call("GET", base+"/livestreams/sessions/"+w.record(id).Session.ID, ""))
		ingest += session["ingest_seconds"].(float64)
		viewed += session["viewer_seconds"].(float64)
	}
	sum := object(t, w.call("GET", overall, ""))
	if sum["total_ingest_seconds"] != ingest || sum["total_viewer_seconds"] != viewed || sum["count"] != 7.0 {
		t.Errorf("overall %v, the sessions %v and %v", sum, ingest, viewed)
	}
	var byDay [3]float64
	for _, row := range data[[]map[string]any](t, w.call("GET", daywise, "")) {
		byDay[0] += row["count"].(float64)
		byDay[1] += row["total_ingest_seconds"].(float64)
		byDay[2] += row["total_viewer_seconds"].(float64)
	}
	if byDay != [3]float64{7, ingest, viewed} {
		t.Errorf("the days together are %v", byDay)
	}
	stats := inner(object(t, w.call("GET", orgwise, "")), "session_stats")
	if stats["sessions_count"] != 7.0 || stats["sessions_minutes_consumed"] != float64(int(ingest/60*1000+0.5))/1000 {
		t.Errorf("org daywise %v, received %v s", stats, ingest)
	}
}
