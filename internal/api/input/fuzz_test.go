package input

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Whatever ParseObject takes is one JSON object that encoding/json takes too,
// and what it reads from it can be stored and sent: valid UTF-8 without NUL.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"name":"a"}`, `{"name":null}`, `{"name":"\ud83d\ude00"}`, `{"name":"\ud800"}`, `{"name":"\u0000"}`, `{"a":1,"a":2}`,
		`{"tally":{"damping_seconds":5}}`, `{"video_config":{"width":1e2}}`, `[[[[`, `{"a":[{"b":{}}]}`, `nul`, `{"a":1e999}`, "\ufeff{}", `{"\\":"\\"}`, `{"a":"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ParseObject(data)
		if err != nil {
			return
		}
		if len(strings.TrimSpace(string(data))) > 0 && !json.Valid(data) {
			t.Fatalf("%q was taken", data)
		}
		for name := range o.members {
			if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
				t.Fatalf("member %q", name)
			}
			o.Flag(name, true)
			o.Whole(name, 0, 10, 5)
			o.Object(name)
		}
		if s, _ := o.Text("name"); !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			t.Fatalf("name %q", s)
		}
		for _, one := range *o.faults {
			if !strings.HasPrefix(one.Pointer, "/") || one.Text == "" {
				t.Fatalf("fault %+v", one)
			}
		}
	})
}

// Whatever the query, what is read from it is within bounds or refused.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "per_page=1&page_no=2", "per_page=-1", "page_no=99999999999999999999", "status=LIVE", "sort_order=dsc", "exclude_meetings=true",
		"start_time=2026-01-02T03:04:05Z", "start_time=2026-01-02", "end_time=2026-01-02T03:04:60.5%2B01:00", "end_time=2026-01-02T03:04:05 01:00",
		"start_time=2026-01-02t03:04:05z", "a;b", "%", "start_time=2026-01-02T03:04:05       ",
		"start_time=1697500800&end_time=1697500800000", "start_time=0001-01-01&end_time=9999-12-31", "search=%00", "search=%ff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p := ParseQuery(raw)
		if page := p.Page(); page.Number < 1 || page.Number > maxPageNumber || page.Size < 1 || page.Size > maxPageSize {
			t.Fatalf("page %+v", page)
		}
		p.Statuses()
		p.OldestFirst()
		p.Flag("exclude_meetings")
		p.Time("start_time", false)
		p.Time("end_time", true)
		p.Choice("status", "ACTIVE", "INACTIVE")
		now := time.Unix(1_700_000_000, 0)
		for _, read := range []func(string, string, time.Time) (time.Time, time.Time){p.Span, p.Days} {
			q := ParseQuery(raw)
			from, to := read("start_time", "end_time", now)
			if q.Span("start_time", "end_time", now); q.Err() == nil && (from.After(to) || to.Sub(from) > (maxSpanDays+1)*day) {
				t.Fatalf("span %v to %v", from, to)
			}
		}
		if s := p.Search("search"); p.Err() == nil && (!utf8.ValidString(s) || strings.ContainsRune(s, 0)) {
			t.Fatalf("search %q", s)
		}
	})
}
