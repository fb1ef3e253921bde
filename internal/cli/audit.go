package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// AuditCmd is `tally audit`.
type AuditCmd struct {
	Common
	Session string `arg:"" help:"The session's id."`
	CSV     string `name:"csv" placeholder:"FILE" help:"Write a line per viewer and interval to FILE; - is standard output."`
}

// Help implements kong.HelpProvider.
func (AuditCmd) Help() string {
	return `Adds up what the server stored of a session - stretches of received media, what was
counted twice a second, and each viewer by itself - and compares the sums with the seconds
that the API shows. What no row accounts for is listed with its reason. Ends with 1 when
something does not add up.

In CSV every column ending in _seconds adds up to the last line exactly.

Examples:

  tally audit 5c1c2d3e-0000-4000-8000-000000000000
  tally audit 5c1c2d3e-0000-4000-8000-000000000000 --csv night.csv`
}

// An audit is the API's answer. Time is in microseconds.
type audit struct {
	At     *time.Time `json:"at"`
	Open   bool       `json:"open"`
	AddsUp bool       `json:"adds_up"`
	Ingest struct {
		AddsUp      bool        `json:"adds_up"`
		Seconds     int64       `json:"seconds"`
		Us          int64       `json:"us"`
		Intervals   int         `json:"intervals"`
		IntervalsUs int64       `json:"intervals_us"`
		Remainders  []remainder `json:"remainders"`
	} `json:"ingest"`
	Viewer struct {
		Seconds int64 `json:"seconds"`
		Us      int64 `json:"us"`
		Windows struct {
			AddsUp bool  `json:"adds_up"`
			Count  int   `json:"count"`
			Us     int64 `json:"us"`
		} `json:"windows"`
		Viewers struct {
			AddsUp bool  `json:"adds_up"`
			Count  int   `json:"count"`
			Bytes  int64 `json:"bytes"`
			Us     int64 `json:"us"`
			Tiers  map[string]struct {
				Viewers int   `json:"viewers"`
				Us      int64 `json:"us"`
			} `json:"tiers"`
		} `json:"viewers"`
		Remainders []remainder `json:"remainders"`
	} `json:"viewer"`
	Intervals []interval `json:"intervals"`
}

// A remainder is time that no row accounts for.
type remainder struct {
	Reason string `json:"reason"`
	Us     int64  `json:"us"`
	Detail string `json:"detail"`
}

type interval struct {
	Epoch  int64      `json:"epoch"`
	Number int64      `json:"number"`
	From   *time.Time `json:"from"`
	To     *time.Time `json:"to"` // nil: it goes on, or its end is not written
	Us     int64      `json:"us"`
}

// Run implements the command.
func (c *AuditCmd) Run(ctx context.Context, s *Streams) error {
	path := "livestreams/sessions/" + url.PathEscape(c.Session) + "/audit"
	api, err := c.client()
	switch {
	case err != nil:
		return err
	case c.CSV != "" && c.JSON:
		return Usagef("--json and --csv are two forms of one answer: leave one out")
	case c.CSV != "":
		return c.table(ctx, s, api, path)
	}
	var a audit
	reply, err := api.call(ctx, below(http.MethodGet, path, nil)(api), &a)
	if err != nil {
		return err
	}
	if c.JSON {
		err = s.JSON(reply.Data)
	} else {
		err = a.print(s)
	}
	if err == nil && !a.AddsUp {
		err = QuietError{}
	}
	return err
}

// shownIntervals is how many intervals are printed.
const shownIntervals = 20

func (a audit) print(s *Streams) error {
	if a.Open {
		s.Printf("as of %s; the session goes on\n\n", whenExactly(a.At))
	}
	s.Printf("ingest   %-9s %s s\n", span(Seconds(a.Ingest.Seconds)), exactly(a.Ingest.Us))
	sum(s, a.Ingest.IntervalsUs, "in "+several(a.Ingest.Intervals, "interval"))
	remainders(s, a.Ingest.Remainders)
	v := a.Viewer
	s.Printf("\nviewed   %-9s %s s\n", span(Seconds(v.Seconds)), exactly(v.Us))
	sum(s, v.Viewers.Us, "in the rows of "+several(v.Viewers.Count, "viewer")+", who were given "+byteCount(v.Viewers.Bytes))
	remainders(s, v.Remainders)
	s.Printf("         counted twice a second: %s s in %s %s\n", exactly(v.Windows.Us), several(v.Windows.Count, "window"), mark(v.Windows.AddsUp))
	if v.Viewers.Count > 0 {
		var rows [][]string
		for _, tier := range []string{"beacon", "media", "playlist", "none"} {
			if t := v.Viewers.Tiers[tier]; t.Viewers > 0 {
				rows = append(rows, []string{tier, strconv.Itoa(t.Viewers), exactly(t.Us)})
			}
		}
		s.Printf("\n")
		if err := s.table("COUNTED BY|VIEWERS|SECONDS", rows); err != nil {
			return err
		}
	}
	if err := a.printIntervals(s); err != nil {
		return err
	}
	s.Printf("\n%s\n", a.verdict())
	return nil
}

func (a audit) printIntervals(s *Streams) error {
	if len(a.Intervals) == 0 {
		return nil
	}
	s.Printf("\n")
	var rows [][]string
	for i, v := range a.Intervals[:min(len(a.Intervals), shownIntervals)] {
		length := exactly(v.Us)
		switch {
		case v.To == nil && a.Open && i == a.Ingest.Intervals-1:
			length = "open"
		case v.To == nil:
			length = "end not written"
		}
		rows = append(rows, []string{fmt.Sprintf("%d.%d", v.Epoch, v.Number), when(v.From), when(v.To), length})
	}
	if err := s.table("INTERVAL|FROM|TO|SECONDS", rows); err != nil {
		return err
	}
	if more := a.Ingest.Intervals - shownIntervals; more > 0 {
		s.Printf("and %d more; --csv has all\n", more)
	}
	return nil
}

// sum prints a sum that rows come to.
func sum(s *Streams, us int64, of string) { s.Printf("%18s s %s\n", exactly(us), of) }

func remainders(s *Streams, all []remainder) {
	for _, r := range all {
		s.Printf("%18s s %s %s\n", exactly(r.Us), printable(r.Detail), mark(r.Reason != "unknown"))
	}
}

func mark(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

// verdict says in one line whether it adds up, and what does not.
func (a audit) verdict() string {
	if a.AddsUp {
		return "adds up ✓"
	}
	var wrong []string
	for _, part := range []struct {
		ok   bool
		name string
	}{{a.Ingest.AddsUp, "ingest"}, {a.Viewer.Viewers.AddsUp, "viewers"}, {a.Viewer.Windows.AddsUp, "windows"}} {
		if !part.ok {
			wrong = append(wrong, part.name)
		}
	}
	return "does not add up ✗ " + strings.Join(wrong, ", ")
}

// exactly is a number of microseconds in seconds.
func exactly(us int64) string {
	sign := ""
	if us < 0 {
		sign, us = "-", -us
	}
	return fmt.Sprintf("%s%d.%06d", sign, us/1_000_000, us%1_000_000)
}

// several is a number of things.
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// table writes the answer in CSV to the file, or to standard output.
func (c *AuditCmd) table(ctx context.Context, s *Streams, api *Client, path string) (err error) {
	lines := &auditLines{}
	if c.CSV == "-" {
		if err := api.download(ctx, path+"?format=csv", "text/csv", io.MultiWriter(s.Out, lines)); err != nil {
			return err
		}
		return lines.end(s.Err, "")
	}
	f, err := os.Create(c.CSV)
	if err != nil {
		return err
	}
	err = api.download(ctx, path+"?format=csv", "text/csv", io.MultiWriter(f, lines))
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(c.CSV) // what there is of it is no audit
		return err
	}
	return lines.end(s.Out, c.CSV+": ")
}

// auditLines counts lines of CSV as they pass and keeps the last one. No field
// of an audit holds a line break.
type auditLines struct {
	viewers, intervals int
	line, last         []byte
}

// Write implements io.Writer.
func (l *auditLines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.line = append(l.line, b...)
			return n, nil
		}
		l.last = append(append(l.last[:0], l.line...), b[:i]...)
		l.line = l.line[:0]
		switch {
		case bytes.HasPrefix(l.last, []byte("viewer,")):
			l.viewers++
		case bytes.HasPrefix(l.last, []byte("interval,")):
			l.intervals++
		}
		b = b[i+1:]
	}
}

// end prints what was written, and whether it adds up, which the last line says.
func (l *auditLines) end(to io.Writer, name string) error {
	fields, err := csv.NewReader(bytes.NewReader(l.last)).Read()
	if err != nil || len(l.line) > 0 || fields[0] != "total" {
		return errors.New("the server's answer has no end: ask again")
	}
	note := fields[len(fields)-1]
	fmt.Fprintf(to, "%s%s, %s; %s\n", name, several(l.viewers, "viewer"), several(l.intervals, "interval"), printable(note))
	if !strings.HasPrefix(note, "adds up") {
		return QuietError{}
	}
	return nil
}

// downloadWithin bounds the download of an audit: millions of viewers.
const downloadWithin = 10 * time.Minute

// download copies an answer that may be long to w.
func (c *Client) download(ctx context.Context, path, accept string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(path), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.creds.APIToken)
	req.Header.Set("Accept", cmp.Or(accept, "application/json"))
	patient := *c.http
	patient.Timeout = downloadWithin
	resp, err := patient.Do(req)
	if err != nil {
		return c.explain(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		_, err = rawAnswer{host: req.URL.Host, status: resp.StatusCode, header: resp.Header, body: text}.decode(nil)
		return err
	}
	out := bufio.NewWriter(w)
	if _, err := io.Copy(out, resp.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return out.Flush()
}
