package cli

import (
	"strconv"
	"strings"
	"time"
)

// parseSpan reads a length of time that may have days and weeks: 90m, 30d, 2w.
func parseSpan(text string) (time.Duration, bool) {
	unit := map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	if len(text) > 1 {
		if u, ok := unit[text[len(text)-1:]]; ok {
			n, err := strconv.Atoi(text[:len(text)-1])
			return time.Duration(n) * u, err == nil && n >= 0 && n <= 100_000
		}
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

const day = "2006-01-02"

// future reads --expires: a span from now, a local date, through whose end it
// holds, or a moment in RFC 3339.
func future(flag, text string, now time.Time) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if span, ok := parseSpan(text); ok {
		at, err = now.Add(span), nil
	} else if date, dateErr := time.ParseInLocation(day, text, time.Local); dateErr == nil {
		at, err = date.AddDate(0, 0, 1), nil
	}
	if err != nil {
		return time.Time{}, Usagef("%s %q must be a span such as 30d or 12h, a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z", flag, text)
	}
	if !at.After(now) {
		return time.Time{}, Usagef("%s %s is not in the future", flag, text)
	}
	return at, nil
}

// past reads --from and --to: a span before now, a day in UTC (its begin for
// --from, its end for --to), or a moment in RFC 3339. "" is the zero time.
func past(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if span, ok := parseSpan(text); ok {
		return now.Add(-span), nil
	}
	if date, err := time.Parse(day, text); err == nil {
		if strings.HasSuffix(flag, "to") {
			date = date.AddDate(0, 0, 1).Add(-time.Millisecond)
		}
		return date, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, Usagef("%s %q must be a span such as 7d (that long ago), a day such as 2026-07-31 (UTC), or a time such as 2026-07-31T18:00:00Z", flag, text)
	}
	return at, nil
}

// Range is --from and --to.
type Range struct {
	From string `placeholder:"TIME" help:"From then on: 7d (ago), 2026-07-01 (UTC), or RFC 3339."`
	To   string `placeholder:"TIME" help:"Until then, a day included."`
}

// set adds the range to a query as RFC 3339 times.
func (r Range) set(query map[string][]string, now time.Time) error {
	for _, end := range []struct{ flag, text, name string }{
		{"--from", r.From, "start_time"}, {"--to", r.To, "end_time"},
	} {
		at, err := past(end.flag, end.text, now)
		if err != nil {
			return err
		}
		if !at.IsZero() {
			query[end.name] = []string{at.UTC().Format("2006-01-02T15:04:05.000Z")}
		}
	}
	return nil
}
