package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// printTimeline prints a session's timeline: as a table, or on a terminal, which
// is never as wide as that, as a line for each event with the rest below it.
func (s *Streams) printTimeline(events []transition, p Paging) error {
	const none = "none; what happened is kept for 90 days"
	if !s.Terminal() || len(events) == 0 {
		rows := make([][]string, 0, len(events))
		for _, e := range events {
			rows = append(rows, []string{when(e.At), e.Event, e.From, e.moved(), strconv.FormatInt(e.Epoch, 10), e.Remote, e.Encoder,
				e.received(), byteCount(e.Bytes), keyframes(e.KeyframeMs), e.Detail})
		}
		return s.list("TIME|EVENT|FROM|TO|PUBLISH|ADDRESS|ENCODER|INGEST|BYTES|KEYFRAMES|DETAIL", rows, p, none)
	}
	columns, _ := s.size()
	s.Printf("%s", timeline(events, columns))
	s.rest(p)
	return nil
}

// timeline is a session's timeline in lines of at most that many columns. Who
// publishes is told where that changes.
func timeline(events []transition, columns int) string {
	var b strings.Builder
	who := ""
	for _, e := range events {
		what := printable(e.From)
		if to := e.moved(); to != "" {
			what += " → " + printable(to)
		}
		head := fmt.Sprintf("%s  %-12s ", when(e.At), printable(e.Event))
		var below []string
		if utf8.RuneCountInString(head+what) > columns {
			below, what = append(below, what), ""
		}
		fmt.Fprintln(&b, strings.TrimRight(clipped(head+what, columns), " "))
		if now := fmt.Sprintf("publish %d: %s at %s", e.Epoch, printable(e.Encoder), printable(e.Remote)); e.Remote != "" && now != who {
			who = now
			below = append(below, now)
		}
		sums := e.received() + " received, " + byteCount(e.Bytes)
		if e.KeyframeMs > 0 {
			sums += ", keyframes every " + keyframes(e.KeyframeMs)
		}
		for _, text := range append(below, printable(e.Detail), sums) {
			for _, line := range wrap(text, columns-2) {
				fmt.Fprintln(&b, "  "+line)
			}
		}
	}
	return b.String()
}

// moved is where the session went; "" where nothing moved.
func (e transition) moved() string {
	if e.To == e.From && e.Event != "publish" {
		return ""
	}
	return e.To
}

// received is how much time had been received by then.
func (e transition) received() string { return span(Seconds(math.Round(float64(e.IngestMs) / 1000))) }
