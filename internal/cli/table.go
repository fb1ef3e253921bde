package cli

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints rows below their titles, aligned. Cells are made safe for a
// terminal; an empty one shows as a dash, so that columns can be counted.
func (s *Streams) table(titles string, rows [][]string) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(strings.Split(titles, "|"), "\t"))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = cmp.Or(printable(cell), "-")
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// list prints rows as a table, or none where there are none, and below it what
// the page leaves out.
func (s *Streams) list(titles string, rows [][]string, p Paging, none string) error {
	if len(rows) == 0 {
		s.Printf("%s\n", none)
		return nil
	}
	if err := s.table(titles, rows); err != nil {
		return err
	}
	s.rest(p)
	return nil
}

// rest says what a page leaves out.
func (s *Streams) rest(p Paging) {
	if p.EndOffset > 0 && p.EndOffset-p.StartOffset+1 < p.TotalCount {
		s.Printf("%d to %d of %d; --page shows others\n", p.StartOffset, p.EndOffset, p.TotalCount)
	}
}

// field prints one line of an object: "  name   value".
func (s *Streams) field(name, value string) {
	s.Printf("  %-12s %s\n", name, cmp.Or(printable(value), "-"))
}

// when is a time for people: local, to the second; a dash for what has not
// happened.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// whenExactly is when with the zone, for where there is room.
func whenExactly(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 -07:00")
}

// span is a number of seconds for people: 45 s, 12:05, 3:12:05.
func span(s Seconds) string {
	if s < 60 {
		return fmt.Sprintf("%.0f s", float64(s))
	}
	return Clock(time.Duration(float64(s) * float64(time.Second)))
}

// oneLine folds an error's text into one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// printable makes other people's text safe for a terminal: where a character
// is no plain one, the text is shown quoted with escapes.
func printable(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}
