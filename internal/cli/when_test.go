package cli

import (
	"errors"
	"net/url"
	"os"
	"testing"
	"time"
)

// TestMain puts all tests into a zone in which local and UTC days differ, before
// anything reads the time.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("CEST", 2*3600)
	os.Exit(m.Run())
}

func TestFuture(t *testing.T) {
	now := time.Date(2026, 8, 2, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"30d": "2026-09-01T12:00:00Z", "2w": "2026-08-16T12:00:00Z", "90m": "2026-08-02T13:30:00Z",
		"2026-12-31": "2026-12-31T22:00:00Z", "2026-08-02": "2026-08-02T22:00:00Z", "2027-01-31T18:00:00+01:00": "2027-01-31T17:00:00Z",
		"2026-08-01": "", "0d": "", "-1d": "", "": "", "soon": "", "999999999999d": "", "1e9h": "", "2026-13-01": "",
	} {
		got, err := future("--expires", text, now)
		switch {
		case want == "" && !errors.Is(err, ErrUsage):
			t.Errorf("%q: %s, %v", text, got, err)
		case want != "" && (err != nil || got.UTC().Format(time.RFC3339) != want):
			t.Errorf("%q: %s, %v; want %s", text, got.UTC(), err, want)
		}
	}
}

func TestRange(t *testing.T) {
	now := time.Date(2026, 8, 2, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ from, to, start, end string }{
		{"", "", "", ""},
		{"7d", "", "2026-07-26T12:00:00.000Z", ""},
		{"2026-07-01", "2026-07-31", "2026-07-01T00:00:00.000Z", "2026-07-31T23:59:59.999Z"},
		{"2026-07-01T00:00:00+02:00", "1h", "2026-06-30T22:00:00.000Z", "2026-08-02T11:00:00.000Z"},
	} {
		query := url.Values{}
		if err := (Range{c.from, c.to}).set(query, now); err != nil {
			t.Fatal(err)
		}
		if query.Get("start_time") != c.start || query.Get("end_time") != c.end {
			t.Errorf("%q to %q: %v", c.from, c.to, query)
		}
	}
	if err := (Range{From: "July"}).set(url.Values{}, now); !errors.Is(err, ErrUsage) {
		t.Errorf("%v", err)
	}
}

func TestWhenIsLocal(t *testing.T) {
	at := time.Date(2026, 8, 2, 23, 30, 0, 0, time.UTC)
	if got := when(&at); got != "2026-08-03 01:30:00" {
		t.Error(got)
	}
	if got := whenExactly(&at); got != "2026-08-03 01:30:00 +02:00" {
		t.Error(got)
	}
	if when(nil) != "-" || when(&time.Time{}) != "-" {
		t.Error("what has not happened is no dash")
	}
}
