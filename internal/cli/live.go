package cli

import (
	"fmt"
	"strings"
	"time"
)

// pipeEvery is how often a live line is repeated where it cannot be rewritten.
const pipeEvery = 5 * time.Second

// A LiveLine is one line that is kept up to date: in place on a terminal, as a
// line every few seconds in a pipe. It belongs to one goroutine.
type LiveLine struct {
	s       *Streams
	inPlace bool
	shown   string
	at      time.Time
	state   string
}

// NewLiveLine returns a line on s.
func NewLiveLine(s *Streams) *LiveLine { return &LiveLine{s: s, inPlace: s.Terminal()} }

// Update shows text. In a pipe it is written when state differs from that of
// the last line, or when that is five seconds old.
func (l *LiveLine) Update(state, text string) {
	if l.inPlace {
		columns, _ := l.s.size()
		l.shown = clipped(text, columns-1) // of a line that went on below, only that would be rewritten
		fmt.Fprintf(l.s.Out, "\r%s\x1b[K", l.shown)
		return
	}
	now := time.Now()
	if state == l.state && now.Sub(l.at) < pipeEvery {
		return
	}
	l.state, l.at = state, now
	fmt.Fprintln(l.s.Out, text)
}

// Print writes a line of its own above the live line.
func (l *LiveLine) Print(text string) {
	if l.inPlace {
		fmt.Fprintf(l.s.Out, "\r%s\x1b[K\n%s", text, l.shown)
		return
	}
	fmt.Fprintln(l.s.Out, text)
}

// End leaves the line as it stands and goes below it.
func (l *LiveLine) End() {
	if l.inPlace && l.shown != "" {
		fmt.Fprintln(l.s.Out)
		l.shown = ""
	}
}

// Clock prints d as minutes and seconds, with hours where there are any.
func Clock(d time.Duration) string {
	s := int64(d / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// byteCount prints n as people say it.
func byteCount(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 10_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// bitrate prints bytes over a time.
func bitrate(bytes int64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	bps := float64(bytes) * 8 / d.Seconds()
	if bps < 10e6 {
		return fmt.Sprintf("%.0f kbit/s", bps/1e3)
	}
	return fmt.Sprintf("%.1f Mbit/s", bps/1e6)
}

// join puts the parts of a live line together, leaving out empty ones.
func join(parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, " · ")
}
