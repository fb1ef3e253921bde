package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A liveScreen draws in place: on the terminal's second screen, so that what was
// on the first is there again at the end.
type liveScreen struct {
	s     *Streams
	color bool
	last  string // the last look in one line, to be left behind
}

// Control sequences of a terminal (ECMA-48; DEC private modes for the second
// screen, the cursor, and the wrapping of lines that are too long).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	restOfLine  = "\x1b[K"
	restBelow   = "\x1b[J"
)

func newLiveScreen(s *Streams) *liveScreen {
	io.WriteString(s.Out, enterScreen)
	return &liveScreen{s: s, color: os.Getenv("NO_COLOR") == ""}
}

// end implements liveView.
func (v *liveScreen) end() {
	io.WriteString(v.s.Out, leaveScreen)
	if v.last != "" {
		v.s.Printf("%s\n", v.last)
	}
}

// show implements liveView.
func (v *liveScreen) show(now time.Time, l *liveLook) {
	columns, rows := v.s.size()
	v.last = l.line(now)
	io.WriteString(v.s.Out, frame(livePage(now, l, paint(v.color), columns, rows)))
}

// frame is a page as it is written: each line over what was there.
func frame(lines []string) string {
	var b strings.Builder
	b.WriteString(toTop)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + restOfLine)
	}
	b.WriteString(restBelow)
	return b.String()
}

// size is how many columns and rows there are; 80 and 24 where nobody says.
func (s *Streams) size() (columns, rows int) {
	columns, rows = 80, 24
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		columns = n
	}
	if f, ok := s.Out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
			columns, rows = int(size.Col), int(size.Row)
		}
	}
	return columns, rows
}

// paint colours text, or does not.
type paint bool

var moodColors = [...]string{resting: "2", well: "32", warned: "33", waiting: "33", failed: "31"}

func (p paint) in(m mood, text string) string { return p.with(moodColors[m], text) }
func (p paint) bold(text string) string       { return p.with("1", text) }
func (p paint) faint(text string) string      { return p.with("2", text) }

func (p paint) with(code, text string) string {
	if !bool(p) || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// labelColumns is how wide names of figures stand before them.
const labelColumns = 11

// livePage is the whole screen, at most rows lines, each at most columns wide.
func livePage(now time.Time, l *liveLook, p paint, columns, rows int) []string {
	m, word, detail := l.headline(now)
	title := printable(l.Livestream.Name)
	clock := ""
	if l.Session != nil && l.Session.StartedTime != nil {
		clock = Clock(l.onAirFor(now))
	}
	head := m.sign() + " " + word
	gap := columns - utf8.RuneCountInString(head) - utf8.RuneCountInString(clock) - 4
	first := p.bold(p.in(m, head)) + "  " + clipped(title, gap)
	if clock != "" {
		first = p.bold(p.in(m, head)) + "  " + pad(clipped(title, gap), gap) + "  " + p.bold(clock)
	}
	lines := []string{first}
	for _, text := range wrap(printable(detail), columns-2) {
		lines = append(lines, "  "+p.in(m, text))
	}
	lines = append(lines, "")
	lines = append(lines, l.figures(p, columns)...)
	lines = append(lines, l.advice(p, columns)...)
	if room := rows - len(lines) - 1; room > 0 {
		lines = append(lines, l.news(p, columns, room)...)
	}
	return lines[:min(len(lines), rows)]
}

// figures are the numbers with their names.
func (l *liveLook) figures(p paint, columns int) []string {
	v := l.Session
	if v == nil || v.Tally == nil {
		return append(liveAddress(p, columns, "watch", l.Livestream.WatchURL()), liveAddress(p, columns, "server", l.Livestream.IngestServer)...)
	}
	t := v.Tally
	stale := !l.Away.IsZero()
	lines := []string{
		liveField(p, columns, "ingest", span(Seconds(t.IngestMs)/1000)),
		liveField(p, columns, "viewed", span(Seconds(t.ViewerMs)/1000)),
	}
	room := columns - 2 - labelColumns
	now := withChart(viewersText(t), sparkline(l.Rates, func(r liveRate) float64 { return float64(r.Viewers) }, keepRates), room)
	lines = append(lines, liveField(p, columns, "viewers", now))
	if bps, ok := l.bps(); ok {
		lines = append(lines, liveField(p, columns, "bitrate", withChart(bitrateOf(bps), sparkline(l.Rates, func(r liveRate) float64 { return r.Bps }, keepRates), room)))
	}
	label := "media"
	for _, part := range wrap(printable(t.Media), room) { // a ladder has a line or two
		lines, label = append(lines, liveField(p, columns, label, part)), ""
	}
	for _, f := range [][2]string{{"encoder", encoderText(t)}, {"received", receivedText(t)}} {
		if f[1] != "" {
			lines = append(lines, liveField(p, columns, f[0], f[1]))
		}
	}
	if text, bad := keyframeText(t); text != "" {
		line := liveField(p, columns, "keyframes", text)
		if bad {
			line = p.in(waiting, line)
		}
		lines = append(lines, line)
	}
	lines = append(lines, liveAddress(p, columns, "watch", l.Livestream.WatchURL())...)
	if stale {
		for i := range lines {
			lines[i] = p.faint(lines[i])
		}
	}
	return lines
}

func receivedText(t *SessionTally) string {
	if t.Bytes == 0 {
		return ""
	}
	return byteCount(t.Bytes)
}

// withChart is a figure with its last minute behind it, as much as there is room for.
func withChart(figure, spark string, columns int) string {
	const figureColumns = 22
	room := columns - figureColumns
	if room < 10 || strings.Trim(spark, " ·") == "" {
		return figure
	}
	drawn := []rune(spark)
	return pad(figure, figureColumns-1) + " " + string(lastOf(drawn, room))
}

func liveField(p paint, columns int, name, value string) string {
	return "  " + p.faint(pad(name, labelColumns)) + clipped(value, columns-2-labelColumns)
}

// liveAddress is a field that is of no use clipped: it goes on below.
func liveAddress(p paint, columns int, name, value string) []string {
	room := max(columns-2-labelColumns, 10)
	var lines []string
	for rest := []rune(printable(value)); ; name = "" {
		n := min(room, len(rest))
		lines = append(lines, liveField(p, columns, name, string(rest[:n])))
		if rest = rest[n:]; len(rest) == 0 {
			return lines
		}
	}
}

// advice is what the encoder should change, in full.
func (l *liveLook) advice(p paint, columns int) []string {
	if l.Session == nil || l.Session.Tally == nil || l.Session.StoppedTime != nil || len(l.Session.Tally.Warnings) == 0 {
		return nil
	}
	lines := []string{""}
	for _, w := range l.Session.Tally.Warnings {
		lines = append(lines, "  "+p.bold(p.in(waiting, "✗ "+clipped(printable(w.Code), columns-4))))
		for _, text := range wrap(printable(w.Message), columns-4) {
			lines = append(lines, "    "+text)
		}
	}
	return lines
}

// news are the newest events that there is room for, the newest last.
func (l *liveLook) news(p paint, columns, room int) []string {
	var lines []string
	for _, e := range append(append([]transition{}, l.Past...), l.Fresh...) {
		at := "        "
		if e.At != nil {
			at = clockOf(*e.At)
		}
		what, detail, m := eventText(e)
		text := fmt.Sprintf("%-18s %s", clipped(what, 18), detail)
		text = strings.TrimRight(clipped(text, columns-12), " ")
		if m != resting {
			text = p.in(m, text)
		}
		lines = append(lines, "  "+p.faint(at)+"  "+text)
	}
	if len(lines) == 0 {
		return nil
	}
	return append([]string{""}, lastOf(lines, room)...)
}

// clipped is text of at most that many columns, with a mark where something is
// missing.
func clipped(text string, columns int) string {
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	if columns < 2 {
		return ""
	}
	return string([]rune(text)[:columns-1]) + "…"
}

// wrap breaks text between words into lines of at most that many columns.
func wrap(text string, columns int) []string {
	columns = max(columns, 10)
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, clipped(line, columns))
			line = word
		}
	}
	if line != "" {
		lines = append(lines, clipped(line, columns))
	}
	return lines
}
