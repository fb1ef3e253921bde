package input

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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

// Choice reads one of some words; "" when it is absent or empty.
func (p *Query) Choice(name string, words ...string) string {
	v := p.one(name)
	if v != "" && !slices.Contains(words, v) {
		p.fault("%q must be %s", name, strings.Join(words, " or "))
		return ""
	}
	return v
}

// Search reads a text to look for; "" looks for nothing.
func (p *Query) Search(name string) string {
	v := p.one(name)
	switch n := utf8.RuneCountInString(v); {
	case n > maxName:
		p.fault("%q has %d characters, the limit is %d", name, n, maxName)
	case !utf8.ValidString(v), strings.ContainsFunc(v, unicode.IsControl):
		p.fault("%q must be UTF-8 without control characters", name)
	}
	return v
}
