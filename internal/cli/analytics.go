package cli

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// AnalyticsOverallCmd is `tally analytics overall`.
type AnalyticsOverallCmd struct {
	Common
	Range
}

// Help implements kong.HelpProvider.
func (AnalyticsOverallCmd) Help() string {
	return `Counts sessions that were ever playable, by the time they started; the last 30 days
unless told otherwise.

Example:

  tally analytics overall --from 2026-07-01 --to 2026-07-31`
}

// totals are sums over sessions.
type totals struct {
	Date  string  `json:"date"` // of one day; "" overall
	Count int     `json:"count"`
	In    Seconds `json:"total_ingest_seconds"`
	Out   Seconds `json:"total_viewer_seconds"`
}

// Run implements the command.
func (c *AnalyticsOverallCmd) Run(ctx context.Context, s *Streams) error {
	query := url.Values{}
	if err := c.Range.set(query, time.Now()); err != nil {
		return err
	}
	get := below(http.MethodGet, "analytics/livestreams/overall?"+query.Encode(), nil)
	return answer(ctx, s, c.Common, get, func(t totals, _ Paging) error {
		s.field("livestreams", strconv.Itoa(t.Count))
		s.field("ingest", span(t.In))
		s.field("viewed", span(t.Out))
		if t.In > 0 {
			s.field("viewers", strconv.FormatFloat(float64(t.Out/t.In), 'f', 1, 64)+" at a time, on average")
		}
		return nil
	})
}

// AnalyticsDailyCmd is `tally analytics daily`.
type AnalyticsDailyCmd struct {
	Common
	Range
}

// Help implements kong.HelpProvider.
func (AnalyticsDailyCmd) Help() string {
	return `A line for each day in UTC, with two bars: how long was received, how long was watched.
Each kind of bar has its own scale, the longest being full.

Example:

  tally analytics daily --from 7d`
}

// Run implements the command.
func (c *AnalyticsDailyCmd) Run(ctx context.Context, s *Streams) error {
	query := url.Values{}
	if err := c.Range.set(query, time.Now()); err != nil {
		return err
	}
	get := below(http.MethodGet, "analytics/livestreams/daywise?"+query.Encode(), nil)
	return answer(ctx, s, c.Common, get, func(days []totals, _ Paging) error {
		s.Printf("%s", chart(days, s.width()))
		return nil
	})
}

// width is how many columns a chart may take: those of the terminal, else of
// $COLUMNS, else 80; 60 at least and 160 at most.
func (s *Streams) width() int {
	width := 80
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil {
		width = n
	}
	if f, ok := s.Out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			width = int(size.Col)
		}
	}
	return max(60, min(width, 160))
}

// chart draws a line per day: date, sessions, and the two bars with their
// figures behind them.
func chart(days []totals, width int) string {
	var longest totals
	figure := utf8.RuneCountInString("0 s")
	for _, d := range days {
		longest.In, longest.Out = max(longest.In, d.In), max(longest.Out, d.Out)
		figure = max(figure, len(span(d.In)), len(span(d.Out)))
	}
	const left = 10 + 2 + 8 + 2 // date, gap, sessions, gap
	bar := max(8, (width-left-2-2*(figure+1))/2)
	var out strings.Builder
	cell := func(v, most Seconds) string {
		return strings.TrimLeft(bars(float64(v), float64(most), bar-1)+" "+span(v), " ")
	}
	line := func(date, sessions, in, watched string) {
		text := pad(date, 12) + strings.Repeat(" ", max(0, 8-len(sessions))) + sessions + "  " + pad(in, bar+figure+2) + watched
		out.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("DAY (UTC)", "SESSIONS", "INGEST", "VIEWED")
	for _, d := range days {
		line(d.Date, strconv.Itoa(d.Count), cell(d.In, longest.In), cell(d.Out, longest.Out))
	}
	return out.String()
}

// pad fills text to a number of columns.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-utf8.RuneCountInString(text)))
}

// bars draws v as a share of most, in eighths of a column. What is more than
// nothing is at least one eighth.
func bars(v, most float64, columns int) string {
	if v <= 0 || most <= 0 {
		return ""
	}
	eighths := max(1, int(v/most*float64(columns)*8+0.5))
	text := strings.Repeat("█", eighths/8)
	if part := eighths % 8; part > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[part-1])
	}
	return text
}
