package sqlite

import (
	"context"
	"time"

	"tally/internal/livestream"
)

// usageColumns are the sums of livestream.Usage. Rounding is that of the
// answers about one session: to the nearest second, halves up.
const usageColumns = `COUNT(*),
	COALESCE(SUM((ingest_ms + 500) / 1000), 0), COALESCE(SUM((viewed_us + 500000) / 1000000), 0)`

// fromUsage is served by the index sessions_by_start: only what was ever
// playable has a start.
const fromUsage = ` FROM sessions WHERE account_id = ? AND app_id = ? AND started_at BETWEEN ? AND ?`

const (
	selectUsage = `SELECT COUNT(DISTINCT livestream_id), ` + usageColumns + fromUsage
	// 86,400,000 ms are a day: UTC has no summer time, and leap seconds are not counted.
	selectUsageByDay = `SELECT started_at / 86400000, ` + usageColumns + fromUsage +
		` GROUP BY started_at / 86400000 ORDER BY started_at / 86400000`
)

func usageArgs(sc livestream.Scope, from, to time.Time) []any {
	return []any{sc.AccountID, sc.AppID, from.Add(time.Millisecond - 1).UnixMilli(), to.UnixMilli()}
}

// Usage walks the index over the range and reads each session: 0.2 s for 100,000.
func (s *Store) Usage(ctx context.Context, sc livestream.Scope, from, to time.Time) (u livestream.Usage, livestreams int, err error) {
	err = s.row(ctx, "sum up sessions", selectUsage, func(row scanner) error {
		return row.Scan(&livestreams, &u.Sessions, &u.IngestSecs, &u.ViewerSecs)
	}, usageArgs(sc, from, to)...)
	return u, livestreams, err
}

func (s *Store) UsageByDay(ctx context.Context, sc livestream.Scope, from, to time.Time) ([]livestream.DayUsage, error) {
	days, err := collect(ctx, s.reads, func(row scanner) (d livestream.DayUsage, err error) {
		var day int64
		err = row.Scan(&day, &d.Sessions, &d.IngestSecs, &d.ViewerSecs)
		d.Day = time.Unix(day*86400, 0).UTC()
		return d, err
	}, selectUsageByDay, usageArgs(sc, from, to)...)
	if err != nil {
		return nil, s.explain("sum up sessions by day", err)
	}
	return days, nil
}
