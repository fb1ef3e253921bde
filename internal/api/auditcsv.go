package api

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"tally/internal/livestream"
)

// csvColumns are the columns of an audit in CSV. The lines of record "viewer"
// and "viewers" add up to the line "total" in each of the viewer columns, those
// of "interval" and "intervals" in ingest_seconds.
var csvColumns = []string{"record", "id", "tier", "evidence", "from", "to", "beacon_seconds", "media_seconds",
	"playlist_seconds", "viewer_seconds", "ingest_seconds", "bytes", "renditions", "note"}

// A csvAudit writes the lines of an audit.
type csvAudit struct {
	livestream.Audit
	out *csv.Writer
}

// auditCSV answers with one line per viewer and interval. The lines are written
// while the store reads, and sent after that: a slow client holds up nobody.
func (s *server) auditCSV(w http.ResponseWriter, rq *request, sessionID string) error {
	text := &spool{}
	defer text.Close()
	c := &csvAudit{out: csv.NewWriter(text)}
	c.OnViewer, c.OnInterval = c.viewer, c.interval
	c.line(csvColumns...)
	if err := s.audit(rq, sessionID, &c.Audit, c); err != nil {
		return err
	}
	c.Done()
	c.rest()
	c.total()
	if c.out.Flush(); c.out.Error() != nil {
		return fmt.Errorf("write audit: %w", c.out.Error())
	}
	size, err := text.rewind()
	if err != nil {
		return fmt.Errorf("read audit: %w", err)
	}
	h := w.Header()
	h["Content-Type"] = []string{"text/csv; charset=utf-8"}
	h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	h["Content-Disposition"] = []string{`attachment; filename="tally-audit-` + sessionID + `.csv"`}
	allowTime(w, size)
	w.WriteHeader(http.StatusOK)
	_, _ = io.Copy(w, text) // an error of the connection is the client's loss
	return nil
}

// allowTime gives a download of size bytes two minutes, and what it takes at 1 Mbit/s.
func allowTime(w http.ResponseWriter, size int64) {
	// An error means that there are no deadlines, as in tests.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2*time.Minute + time.Duration(size)*time.Second/(128<<10)))
}

// line writes one line. Its error is asked for at the end.
func (c *csvAudit) line(fields ...string) { _ = c.out.Write(fields) }

func (c *csvAudit) viewer(v livestream.Viewing) {
	a := v.Amounts()
	c.line("viewer", v.Viewer, string(v.Tier()), evidences(a), csvTime(v.First), csvTime(v.Last),
		exact(a.Beacon), exact(a.Media), exact(a.Playlist), exact(a.Total()), "",
		strconv.FormatInt(v.Bytes, 10), strings.Trim(fmt.Sprint(renditions(v.Renditions)), "[]"), "")
}

// evidences names every evidence that something was counted by.
func evidences(a livestream.Amounts) string {
	var all []string
	for _, e := range []struct {
		kind livestream.UsageKind
		time.Duration
	}{{livestream.ByBeacon, a.Beacon}, {livestream.ByMedia, a.Media}, {livestream.ByPlaylist, a.Playlist}} {
		if e.Duration != 0 {
			all = append(all, string(e.kind))
		}
	}
	return strings.Join(all, " ")
}

func (c *csvAudit) interval(v livestream.Interval) {
	length, note := exact(v.Length), ""
	if v.To.IsZero() {
		length, note = exact(0), "no end is written: its time is in the line of open intervals"
	}
	c.line("interval", fmt.Sprintf("%d.%d", v.Epoch, v.Number), "", "", csvTime(v.From), csvTime(v.To), "", "", "", "", length, "", "", note)
}

// rest writes what no row accounts for, and why.
func (c *csvAudit) rest() {
	for _, r := range c.IngestRest {
		c.line("intervals", string(r.Why), "", "", "", "", "", "", "", "", exact(r.Ingest), "", "", c.Text(r))
	}
	for _, r := range c.ViewerRest {
		a := r.Viewed
		c.line("viewers", string(r.Why), "", "", "", "", exact(a.Beacon), exact(a.Media), exact(a.Playlist), exact(a.Total()), "", "", "", c.Text(r))
	}
}

// total writes the session's own figures.
func (c *csvAudit) total() {
	one, a := c.Session, c.Session.Counted()
	verdict := "adds up"
	if !c.AddsUp() {
		verdict = "does not add up"
	}
	c.line("total", one.ID, "", "", csvTime(one.InvokedAt), csvTime(one.StoppedAt),
		exact(a.Beacon), exact(a.Media), exact(a.Playlist), exact(a.Total()), exact(one.Ingest), strconv.FormatInt(c.Bytes, 10), "",
		fmt.Sprintf("%s; the API shows whole seconds: ingest %d, viewer %d", verdict, seconds(one.Ingest), seconds(one.Viewed)))
}

func csvTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(stampLayout)
}

// exact is a duration in seconds, to the microsecond.
func exact(d time.Duration) string {
	us := d.Microseconds()
	sign := ""
	if us < 0 {
		sign, us = "-", -us
	}
	return fmt.Sprintf("%s%d.%06d", sign, us/1_000_000, us%1_000_000)
}

// inMemory is how much of a spool stays in memory: some 8,000 viewers.
const inMemory = 1 << 20

// A spool holds a text of any length: a long one in a file that has no name.
type spool struct {
	memory bytes.Buffer
	file   *os.File // nil: all is in memory
	named  bool     // an open file could not lose its name here: Close removes it
	size   int64
}

// Write implements io.Writer.
func (s *spool) Write(b []byte) (int, error) {
	s.size += int64(len(b))
	if s.file == nil && s.memory.Len()+len(b) <= inMemory {
		return s.memory.Write(b)
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "tally-audit-")
		if err != nil {
			return 0, err
		}
		s.file = f
		s.named = os.Remove(f.Name()) != nil
		if _, err := s.memory.WriteTo(f); err != nil {
			return 0, err
		}
		s.memory = bytes.Buffer{}
	}
	return s.file.Write(b)
}

// rewind ends the writing and returns how much there is to read.
func (s *spool) rewind() (int64, error) {
	if s.file == nil {
		return s.size, nil
	}
	_, err := s.file.Seek(0, io.SeekStart)
	return s.size, err
}

// Read implements io.Reader.
func (s *spool) Read(b []byte) (int, error) {
	if s.file != nil {
		return s.file.Read(b)
	}
	return s.memory.Read(b)
}

// Close forgets the text.
func (s *spool) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.named {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	return err
}
