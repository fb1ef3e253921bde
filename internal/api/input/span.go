package input

import (
	"strconv"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour // in UTC all are as long

	defaultSpan = 30 * day // back from the end (contract 7.9)
	maxSpanDays = 3660     // ten years: bounds what a list by days answers
)

// Span reads a range of time, both ends included: 30 days back to now unless
// told otherwise. Unix seconds, milliseconds (12 or 13 digits), RFC 3339 and
// bare dates are taken, since the official clients send each of them (contract
// 0.2). An end that is written in whole seconds includes that second, so that
// what began just now counts until now.
func (p *Query) Span(start, end string, now time.Time) (from, to time.Time) {
	from, hasFrom := p.instant(start, false)
	to, hasTo := p.instant(end, true)
	if !hasTo {
		to = now
	}
	if !hasFrom {
		from = to.Add(-defaultSpan)
	}
	switch days := dayOf(to) - dayOf(from) + 1; {
	case len(p.faults) > 0:
	case from.After(to) && !hasTo:
		p.fault("%q is in the future, and %q is now unless given", start, end)
	case from.After(to):
		p.fault("%q is after %q", start, end)
	case days > maxSpanDays:
		p.fault("%q to %q are %d days, the limit is %d", start, end, days, maxSpanDays)
	}
	return from, to
}

// Days reads a range of whole days in UTC as Span does: the first instant of the
// first to the last of the last.
func (p *Query) Days(start, end string, now time.Time) (from, to time.Time) {
	from, to = p.Span(start, end, now)
	return from.UTC().Truncate(day), to.UTC().Truncate(day).Add(day - time.Millisecond)
}

// dayOf counts days since 1970-01-01, in UTC.
func dayOf(t time.Time) int64 {
	secs := t.Unix()
	days := secs / 86400
	if secs%86400 < 0 {
		days--
	}
	return days
}

// instant reads one end of a range; ok is false when it is not given, or not a
// time.
func (p *Query) instant(name string, end bool) (t time.Time, ok bool) {
	text := p.one(name)
	if text == "" {
		return time.Time{}, false
	}
	if strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || len(text) > 13:
			p.fault("%q has %d digits; Unix seconds have 10, milliseconds 13", name, len(text))
			return time.Time{}, false
		case len(text) > 11: // as seconds it would be in the year 5138 or later
			return time.UnixMilli(n), true
		}
		return wholeSecond(time.Unix(n, 0), end), true
	}
	if date, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			return date.Add(day - time.Millisecond), true
		}
		return date, true
	}
	t, err := parseTime(text)
	if err != nil {
		p.fault("%q must be Unix seconds, an RFC 3339 time such as 2026-01-31T12:00:00Z, or a date", name)
		return time.Time{}, false
	}
	if !strings.Contains(text, ".") {
		t = wholeSecond(t, end)
	}
	return t, true
}

func wholeSecond(t time.Time, end bool) time.Time {
	if end {
		return t.Add(time.Second - time.Millisecond)
	}
	return t
}
