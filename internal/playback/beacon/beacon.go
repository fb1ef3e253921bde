// Package beacon reads what players tell of their own playing: the body of
//
//	POST /hls/{playback_id}/{run}/{viewer}/beacon
//
// It is one of two forms, and may hold several reports.
//
// JSON objects, one after another: {"seq":3,"played_ms":4012} says that the
// playhead moved on by 4.012 s since the report before. Other members are
// ignored.
//
// CMCD version 2 in event mode (CTA-5004-A, "Event Mode" and "Reserved Keys"):
// lines of structured-field dictionaries (RFC 9651 section 3.2), such as
//
//	e=t,sid="6e2fb550",sn=4,sta=p,ts=1764000004000,v=2
//
// They say how the player stood at a moment; a [Track] derives from one moment
// to the next how long it played.
//
// The package is pure: no clock, no state but a Track's, nothing of HTTP. What
// it returns is bounded by the body's length.
package beacon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// MaxBody is the longest body in bytes: some 40 CMCD reports of usual length.
	MaxBody = 4 << 10
	// MaxReports is how many reports one body may hold.
	MaxReports = 64
	// MaxPlayed bounds one report. Players report each few seconds; what was
	// stored through a night without a network is no viewing of this server's.
	MaxPlayed = 24 * time.Hour
)

// ErrBody is in every error of Parse: the body is none of the two forms. The
// text is for whoever writes the player.
var ErrBody = errors.New("beacon")

// Reports is what a body says: Played or Moments, as its form is.
type Reports struct {
	Played  []Played
	Moments []Moment
}

// Played is a report in JSON.
type Played struct {
	Seq int64         // rises from report to report of one viewer; the same one again replaces what it said
	For time.Duration // by which the playhead moved on since the report before
}

// Parse reads a body of at most MaxBody bytes. It keeps no reference to it.
func Parse(body []byte) (Reports, error) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return Reports{}, bad(`the body is empty, want {"seq":N,"played_ms":N} or CMCD event reports`)
	case len(body) > MaxBody:
		return Reports{}, bad("%d bytes, at most %d are read", len(body), MaxBody)
	case body[0] == '{':
		played, err := parseJSON(body)
		return Reports{Played: played}, err
	case body[0] == '[':
		return Reports{}, bad("a JSON array, want objects one after another")
	}
	moments, err := parseCMCD(body)
	return Reports{Moments: moments}, err
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBody}, args...)...)
}

// parseJSON reads objects one after another, with or without line breaks.
func parseJSON(body []byte) ([]Played, error) {
	var all []Played
	d := json.NewDecoder(bytes.NewReader(body))
	for n := 1; ; n++ {
		var r struct {
			Seq      *int64   `json:"seq"`
			PlayedMS *float64 `json:"played_ms"`
		}
		err := d.Decode(&r)
		var wrong *json.UnmarshalTypeError
		switch {
		case err == io.EOF:
			return all, nil
		case errors.As(err, &wrong) && wrong.Field == "seq":
			return nil, bad("report %d: seq must be a whole number", n)
		case errors.As(err, &wrong) && wrong.Field == "played_ms":
			return nil, bad("report %d: played_ms must be a number of milliseconds", n)
		case err != nil:
			return nil, bad(`report %d is not JSON such as {"seq":3,"played_ms":4012}`, n)
		case n > MaxReports:
			return nil, bad("more than %d reports", MaxReports)
		case r.Seq == nil || r.PlayedMS == nil:
			return nil, bad("report %d: seq and played_ms are required", n)
		case *r.Seq < 0:
			return nil, bad("report %d: seq must be 0 or more", n)
		case !(*r.PlayedMS >= 0 && *r.PlayedMS <= float64(MaxPlayed/time.Millisecond)):
			return nil, bad("report %d: played_ms must be from 0 to %d", n, MaxPlayed/time.Millisecond)
		}
		all = append(all, Played{Seq: *r.Seq, For: time.Duration(*r.PlayedMS * float64(time.Millisecond))})
	}
}
