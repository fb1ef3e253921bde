package input

import (
	"net/url"
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	now := time.Date(2026, 3, 29, 10, 0, 0, 123e6, time.UTC) // a day on which clocks change in Europe
	at := func(text string) time.Time {
		t.Helper()
		v, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ago := func(d time.Time) time.Time { return d.Add(-30 * 24 * time.Hour) }
	day := at("2023-10-17T00:00:00Z")
	for _, c := range []struct {
		name, start, end string
		from, to         time.Time
	}{
		{"nothing", "", "", ago(now), now},
		{"seconds", "1697500800", "1697587199", day, at("2023-10-17T23:59:59.999Z")},
		{"milliseconds", "1697500800000", "1697587199999", day, at("2023-10-17T23:59:59.999Z")},
		{"milliseconds of the last century", "946684799999", "946684800000", at("1999-12-31T23:59:59.999Z"), at("2000-01-01T00:00:00Z")},
		{"dates", "2023-10-17", "2023-10-17", day, at("2023-10-17T23:59:59.999Z")},
		{"a leap day", "2024-02-29", "2024-02-29", at("2024-02-29T00:00:00Z"), at("2024-02-29T23:59:59.999Z")},
		{"ISO in whole seconds", "2023-10-17T00:00:00Z", "2023-10-17T23:59:59Z", day, at("2023-10-17T23:59:59.999Z")},
		{"ISO to the millisecond", "2023-10-17T00:00:00.000Z", "2023-10-17T23:59:59.000Z", day, at("2023-10-17T23:59:59Z")},
		{"ISO in another zone", "2023-10-17T02:00:00+02:00", "2023-10-17T22:00:00.5-02:00", day, at("2023-10-18T00:00:00.5Z")},
		{"a plus that became a blank", "2023-10-17T02:00:00 02:00", "2023-10-17T02:00:00 02:00", day, at("2023-10-17T00:00:00.999Z")},
		{"lower case", "2023-10-17t00:00:00z", "2023-10-17", day, at("2023-10-17T23:59:59.999Z")},
		{"one of each", "1697500800", "2023-10-18", day, at("2023-10-18T23:59:59.999Z")},
		{"start alone", "2026-03-28", "", at("2026-03-28T00:00:00Z"), now},
		{"end alone", "", "2026-01-31", ago(at("2026-01-31T23:59:59.999Z")), at("2026-01-31T23:59:59.999Z")},
		{"the future", "2030-01-01", "2030-01-02", at("2030-01-01T00:00:00Z"), at("2030-01-02T23:59:59.999Z")},
		{"one second", "1697500800", "1697500800", day, day.Add(999 * time.Millisecond)},
		{"the epoch", "0", "0", time.UnixMilli(0), time.UnixMilli(999)},
		{"as many days as may be", "2016-03-22", "2026-03-29", at("2016-03-22T00:00:00Z"), at("2026-03-29T23:59:59.999Z")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ParseQuery(url.Values{"a": {c.start}, "b": {c.end}}.Encode())
			from, to := p.Span("a", "b", now)
			if err := p.Err(); err != nil || !from.Equal(c.from) || !to.Equal(c.to) {
				t.Errorf("%v to %v, %v; want %v to %v", from, to, err, c.from, c.to)
			}
		})
	}
	for _, c := range []struct{ name, start, end string }{
		{"words", "yesterday", ""},
		{"a fraction of seconds", "1697500800.5", ""},
		{"negative", "-1", ""},
		{"microseconds", "1697500800000000", ""},
		{"more digits than an integer has", "99999999999999999999", ""},
		{"no such day", "2023-02-29", ""},
		{"no such month", "2023-13-01T00:00:00Z", ""},
		{"backwards", "2023-10-18", "2023-10-17"},
		{"from the future until now", "2030-01-01", ""},
		{"a day too many", "2016-03-21", "2026-03-29"},
		{"for ever", "0001-01-01", "9999-12-31"},
		{"the year one", "0001-01-01", "2026-01-01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ParseQuery(url.Values{"a": {c.start}, "b": {c.end}}.Encode())
			p.Span("a", "b", now)
			if err := p.Err(); err == nil {
				t.Error("was taken")
			} else if fs := err.(Faults); len(fs) != 1 {
				t.Errorf("%d faults: %v", len(fs), fs)
			}
		})
	}
	p := ParseQuery("a=1697500800&a=2")
	if p.Span("a", "b", now); p.Err() == nil {
		t.Error("twice the same name was taken")
	}
}

func TestDays(t *testing.T) {
	now := time.Date(2026, 3, 29, 23, 59, 59, 999e6, time.UTC)
	for _, c := range []struct{ name, query, from, to string }{
		{"nothing", "", "2026-02-27", "2026-03-29"},
		{"one day", "a=2026-03-29&b=2026-03-29", "2026-03-29", "2026-03-29"},
		{"times stand for their day in UTC", "a=2026-01-01T23:00:00-02:00&b=1774742399", "2026-01-02", "2026-03-28"},
		{"end alone", "b=2026-03-31", "2026-03-01", "2026-03-31"},
		{"today", "a=2026-03-29", "2026-03-29", "2026-03-29"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ParseQuery(c.query)
			from, to := p.Days("a", "b", now)
			if got := from.Format(time.RFC3339Nano); p.Err() != nil || got != c.from+"T00:00:00Z" {
				t.Errorf("from %s, want %s; %v", got, c.from, p.Err())
			}
			if got := to.Format(time.RFC3339Nano); got != c.to+"T23:59:59.999Z" {
				t.Errorf("to %s, want %s", got, c.to)
			}
		})
	}
}
