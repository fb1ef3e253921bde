package sqlite

import (
	"fmt"
	"testing"
	"time"

	"tally/internal/livestream"
)

// BenchmarkUsage sums up an app's sessions when there are as many of another
// app. A row is written at once here, not by the events that make one.
func BenchmarkUsage(b *testing.B) {
	const sessions, livestreams, days = 100_000, 1000, 365
	s := openTemp(b)
	all := make([]livestream.Livestream, livestreams)
	for i := range all {
		all[i] = newLivestream(i)
		if i%2 == 1 {
			all[i].AppID = "app-2"
		}
		if err := s.CreateLivestream(ctx, all[i]); err != nil {
			b.Fatal(err)
		}
	}
	from := start.AddDate(0, 0, -days)
	if err := s.write(ctx, "fill", relaxed, func(t *tx) error {
		for i := range 2 * sessions {
			at := from.Add(time.Duration(i) * (days * 24 * time.Hour / (2 * sessions)))
			if err := t.insertSession(livestream.Session{ID: livestream.NewUUID(), LivestreamID: all[i%livestreams].ID, Phase: livestream.Ended,
				CreatedAt: at, UpdatedAt: at, InvokedAt: at, StartedAt: at, StoppedAt: at.Add(time.Hour), LastMediaAt: at.Add(time.Hour),
				Remote: "192.0.2.1:50000", Encoder: "OBS", Ingest: time.Hour}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{days, 30, 1} {
		from := start.AddDate(0, 0, -n)
		b.Run(fmt.Sprintf("overall/days=%d", n), func(b *testing.B) {
			defer reportCPU(b)()
			for b.Loop() {
				if u, _, err := s.Usage(ctx, here, from, start); err != nil || u.Sessions < sessions*n/days-1 {
					b.Fatal(u, err)
				}
			}
		})
		b.Run(fmt.Sprintf("daily/days=%d", n), func(b *testing.B) {
			defer reportCPU(b)()
			for b.Loop() {
				if d, err := s.UsageByDay(ctx, here, from, start); err != nil || len(d) < n {
					b.Fatal(len(d), err)
				}
			}
		})
	}
}
