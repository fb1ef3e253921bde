package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"
)

// A row is one figure: ours, the yardstick's beside it, and what the design
// asks for.
type row struct {
	Scenario string  `json:"scenario"`
	What     string  `json:"what"`
	Unit     string  `json:"unit"`
	Ours     float64 `json:"ours"`
	Bare     float64 `json:"bare,omitempty"`  // the yardstick's figure; 0: there is none
	Ratio    float64 `json:"ratio,omitempty"` // ours / bare
	Goal     string  `json:"goal,omitempty"`
	Met      *bool   `json:"met,omitempty"` // absent: no goal
	Note     string  `json:"note,omitempty"`
}

// A report collects rows and prints progress.
type report struct {
	progress io.Writer
	began    time.Time

	mu   sync.Mutex
	rows []row
}

// say prints one line of progress.
func (r *report) say(format string, args ...any) {
	fmt.Fprintf(r.progress, "%6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// add keeps a row, with its ratio filled in.
func (r *report) add(w row) {
	if w.Bare != 0 {
		w.Ratio = w.Ours / w.Bare
	}
	r.mu.Lock()
	r.rows = append(r.rows, w)
	r.mu.Unlock()
	r.say("%s: %s = %s", w.Scenario, w.What, w.figures())
}

// figures is a row's numbers on one line.
func (w row) figures() string {
	s := figure(w.Ours) + " " + w.Unit
	if w.Bare != 0 {
		s += fmt.Sprintf(", bare %s, ratio %.2f", figure(w.Bare), w.Ratio)
	}
	return s
}

// atMost sets a goal on the figure itself, or on the ratio.
func (w row) atMost(limit float64) row {
	return w.goal("<= "+figure(limit)+" "+w.Unit, w.Ours <= limit)
}
func (w row) ratioMost(l float64) row    { return w.goal("<= "+figure(l)+"x bare", w.Ours <= l*w.Bare) }
func (w row) ratioLeast(l float64) row   { return w.goal(">= "+figure(l)+"x bare", w.Ours >= l*w.Bare) }
func (w row) none() row                  { return w.goal("0", w.Ours == 0) }
func (w row) noted(s string) row         { w.Note = s; return w }
func (w row) goal(s string, ok bool) row { w.Goal, w.Met = s, &ok; return w }

// figure prints three significant digits, or the whole integer.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// table prints all rows.
func (r *report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tours\tbare\tratio\tunit\tgoal\t\tnote")
	last := ""
	for _, w := range r.rows {
		if w.Scenario != last {
			fmt.Fprintf(t, "[%s]\t\t\t\t\t\t\t\n", w.Scenario)
			last = w.Scenario
		}
		bare, ratio, met := "", "", ""
		if w.Bare != 0 {
			bare, ratio = figure(w.Bare), fmt.Sprintf("%.2f", w.Ratio)
		}
		if w.Met != nil {
			met = map[bool]string{true: "met", false: "MISSED"}[*w.Met]
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", w.What, figure(w.Ours), bare, ratio, w.Unit, w.Goal, met, w.Note)
	}
	return t.Flush()
}

// save writes the rows and where they were taken as JSON.
func (r *report) save(path string, args []string) error {
	b, err := json.MarshalIndent(struct {
		Machine string    `json:"machine"`
		Go      string    `json:"go"`
		Args    []string  `json:"args"`
		At      time.Time `json:"at"`
		Rows    []row     `json:"rows"`
	}{machine(), runtime.Version(), args, r.began.UTC(), r.rows}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func cores() int { return runtime.NumCPU() }
