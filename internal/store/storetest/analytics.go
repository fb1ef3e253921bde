package storetest

import (
	"testing"
	"time"

	"tally/internal/livestream"
)

// aired is one session that was playable from start on.
type aired struct {
	livestream     int // which one
	start          time.Time
	ingest, viewed time.Duration
}

// air gives a livestream such a session, closed unless open.
func (f *fixture) air(t *testing.T, l livestream.Livestream, a aired, open bool) livestream.Record {
	t.Helper()
	r := f.advance(t, l.ID, publish(l, a.start.Add(-time.Second)))
	r = f.advance(t, l.ID, livestream.Event{Kind: livestream.Playable, At: a.start, Epoch: r.Session.Epoch})
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{checkpoint(r, a.start.Add(a.ingest), a.ingest)}, []livestream.UsageWindow{{SessionID: r.Session.ID, Kind: livestream.ByMedia, Node: "n", Incarnation: "i", Window: 1, Amount: a.viewed}}, nil))
	if open {
		return r
	}
	return f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: a.start.Add(a.ingest + time.Millisecond), Epoch: r.Session.Epoch})
}

func testUsage(t *testing.T, f *fixture) {
	day := start.Truncate(24*time.Hour).AddDate(0, 0, -10)
	end := 24*time.Hour - time.Millisecond // of a day
	made := func(sc livestream.Scope) livestream.Livestream {
		l := newLivestream(sc, day.AddDate(0, 0, -1))
		l.Settings.Damping = 0
		must(t, f.CreateLivestream(ctx, l))
		return l
	}
	ls := []livestream.Livestream{made(here), made(here), made(here), made(here)}
	for _, a := range []aired{
		{0, day, 10 * time.Second, 1499 * time.Millisecond},                                      // the day's first instant
		{0, day.Add(end), 60600 * time.Millisecond, 500 * time.Millisecond},                      // its last: into the next day
		{1, day.Add(12 * time.Hour), 1499 * time.Millisecond, 499*time.Millisecond + 999_999},    // rounds down
		{2, day.AddDate(0, 0, 1), 1500 * time.Millisecond, 1500 * time.Millisecond},              // the next day's first instant
		{1, day.AddDate(0, 0, 3).Add(time.Hour), 3 * time.Hour, 300*time.Hour + time.Nanosecond}, // after a day without any
	} {
		f.air(t, ls[a.livestream], a, false)
	}
	f.advance(t, ls[2].ID, livestream.Event{Kind: livestream.Delete, At: day.AddDate(0, 0, 5)}) // its session stays
	live := f.air(t, ls[3], aired{3, day.AddDate(0, 0, 3).Add(2 * time.Hour), 7 * time.Second, 2 * time.Second}, true)

	never := made(here) // never playable: failed, stopped, awaiting
	r := f.advance(t, never.ID, publish(never, day.Add(time.Hour)))
	f.advance(t, never.ID, livestream.Event{Kind: livestream.Fail, At: day.Add(2 * time.Hour), Epoch: r.Session.Epoch, Ingest: time.Hour})
	f.advance(t, never.ID, livestream.Event{Kind: livestream.Start, At: day.Add(3 * time.Hour), NewID: livestream.NewUUID()})
	for _, sc := range []livestream.Scope{{AccountID: "account-2", AppID: here.AppID}, {AccountID: here.AccountID, AppID: "app-2"}} {
		f.air(t, made(sc), aired{0, day.Add(time.Hour), time.Hour, time.Hour}, false)
	}

	later := day.AddDate(0, 0, 3)
	for _, c := range []struct {
		name        string
		from, to    time.Time
		livestreams int
		want        livestream.Usage
	}{
		{"all", day, later.Add(end), 4, livestream.Usage{Sessions: 6, IngestSecs: 10 + 61 + 1 + 2 + 10800 + 7, ViewerSecs: 1 + 1 + 0 + 2 + 1080000 + 2}},
		{"one day, both ends included", day, day.Add(end), 2, livestream.Usage{Sessions: 3, IngestSecs: 72, ViewerSecs: 2}},
		{"without its first instant", day.Add(1), day.Add(end), 2, livestream.Usage{Sessions: 2, IngestSecs: 62, ViewerSecs: 1}},
		{"without its last instant", day, day.Add(end - 1), 2, livestream.Usage{Sessions: 2, IngestSecs: 11, ViewerSecs: 1}},
		{"one instant", day.Add(end), day.Add(end), 1, livestream.Usage{Sessions: 1, IngestSecs: 61, ViewerSecs: 1}},
		{"in another zone", day.In(time.FixedZone("", -3600)), day.Add(end).In(time.FixedZone("", 3600)), 2, livestream.Usage{Sessions: 3, IngestSecs: 72, ViewerSecs: 2}},
		{"of a deleted livestream", day.AddDate(0, 0, 1), day.AddDate(0, 0, 1).Add(end), 1, livestream.Usage{Sessions: 1, IngestSecs: 2, ViewerSecs: 2}},
		{"nothing", day.AddDate(0, 0, 2), day.AddDate(0, 0, 2).Add(end), 0, livestream.Usage{}},
		{"the end before the start", later, day, 0, livestream.Usage{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, livestreams, err := f.Usage(ctx, here, c.from, c.to)
			must(t, err)
			same(t, "usage", got, c.want)
			same(t, "livestreams", livestreams, c.livestreams)
			days, err := f.UsageByDay(ctx, here, c.from, c.to)
			must(t, err)
			var sum livestream.Usage
			for _, d := range days {
				sum.Sessions += d.Sessions
				sum.IngestSecs += d.IngestSecs
				sum.ViewerSecs += d.ViewerSecs
			}
			same(t, "the days together", sum, c.want)
		})
	}
	days, err := f.UsageByDay(ctx, here, day, later.Add(end))
	must(t, err)
	same(t, "days", days, []livestream.DayUsage{
		{Day: day, Usage: livestream.Usage{Sessions: 3, IngestSecs: 72, ViewerSecs: 2}},
		{Day: day.AddDate(0, 0, 1), Usage: livestream.Usage{Sessions: 1, IngestSecs: 2, ViewerSecs: 2}},
		{Day: later, Usage: livestream.Usage{Sessions: 2, IngestSecs: 10807, ViewerSecs: 1080002}},
	})

	// What is on air counts with what it has now.
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{checkpoint(live, live.Session.StartedAt.Add(20*time.Second), 20*time.Second)}, nil, nil))
	got, _, err := f.Usage(ctx, here, live.Session.StartedAt, live.Session.StartedAt)
	must(t, err)
	same(t, "on air, later", got, livestream.Usage{Sessions: 1, IngestSecs: 20, ViewerSecs: 2})
}
