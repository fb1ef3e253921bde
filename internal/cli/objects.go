package cli

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Livestream is the livestream object of the API, in whichever types the
// endpoint and the app's dialect declare.
type Livestream struct {
	ID           string           `json:"id"`
	Name         string           `json:"name"` // "" where the wire says null
	Status       string           `json:"status"`
	MeetingID    string           `json:"meeting_id"` // "" for an independent one
	IngestServer string           `json:"ingest_server"`
	StreamKey    string           `json:"stream_key"`
	PlaybackURL  string           `json:"playback_url"`
	Disabled     Flag             `json:"disabled"`
	CreatedAt    Moment           `json:"created_at"`
	Tally        *LivestreamTally `json:"tally"` // with ?include=tally
}

// LivestreamTally is what Tally adds to a livestream.
type LivestreamTally struct {
	Settings    map[string]any `json:"settings"`
	Epoch       int64          `json:"epoch"`
	RefuseUntil *time.Time     `json:"refuse_until"` // nil: the key is not refused
}

// WatchURL is the page for people that belongs to the playback address.
func (l Livestream) WatchURL() string {
	base, id, found := strings.Cut(strings.TrimSuffix(l.PlaybackURL, "/index.m3u8"), "/hls/")
	if !found {
		return l.PlaybackURL
	}
	return base + "/watch/" + id
}

// A Session is the session object of the API. A nil time has not happened.
type Session struct {
	ID            string        `json:"id"`
	LivestreamID  string        `json:"livestream_id"`
	ErrMessage    string        `json:"err_message"`
	InvokedTime   *time.Time    `json:"invoked_time"`
	StartedTime   *time.Time    `json:"started_time"`
	StoppedTime   *time.Time    `json:"stopped_time"`
	UpdatedAt     *time.Time    `json:"updated_at"` // when its figures were written
	IngestSeconds Seconds       `json:"ingest_seconds"`
	ViewerSeconds Seconds       `json:"viewer_seconds"`
	Tally         *SessionTally `json:"tally"` // with ?include=tally
}

// SessionTally is what Tally adds to a session.
type SessionTally struct {
	Health      string     `json:"health"` // "" once closed
	Viewers     int        `json:"viewers"`
	PeakViewers int        `json:"peak_viewers"`
	Remote      string     `json:"remote"`
	Encoder     string     `json:"encoder"`
	LastMediaAt *time.Time `json:"last_media_at"`
	Deadline    *time.Time `json:"deadline"` // when it ends unless media comes

	IngestMs   int64     `json:"ingest_ms"`
	ViewerMs   int64     `json:"viewer_ms"`
	Bytes      int64     `json:"bytes"`                // of media received
	Media      string    `json:"media"`                // what the encoder sends, in words; "" until known
	KeyframeMs int64     `json:"keyframe_interval_ms"` // 0 until measured
	Warnings   []Warning `json:"warnings"`
}

// A Warning is what the encoder should change.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// A Meeting is the meeting object of the API.
type Meeting struct {
	ID                string     `json:"id"`
	Title             string     `json:"title"`
	Status            string     `json:"status"`
	RecordOnStart     bool       `json:"record_on_start"`
	LiveStreamOnStart bool       `json:"live_stream_on_start"`
	KeepAliveSecs     float64    `json:"session_keep_alive_time_in_secs"`
	CreatedAt         *time.Time `json:"created_at"`
}

// Paging says which part of a list an answer is: 1-based, inclusive.
type Paging struct {
	TotalCount  int `json:"total_count"`
	StartOffset int `json:"start_offset"`
	EndOffset   int `json:"end_offset"`
}

// Seconds decodes from a number or from a number's text.
type Seconds float64

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		*s = 0
		return nil
	}
	v, err := strconv.ParseFloat(text, 64)
	*s = Seconds(v)
	return err
}

// A Moment decodes from RFC 3339 text. Whatever else a server sends is the zero
// time: a livestream is not lost for its date.
type Moment struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (m *Moment) UnmarshalJSON(b []byte) error {
	at, err := time.Parse(time.RFC3339, strings.Trim(string(b), `"`))
	if err == nil {
		m.Time = at
	}
	return nil
}

// A Flag decodes from a boolean or from a boolean's text.
type Flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(bytes.Trim(b, `"`)) {
	case "true":
		*f = true
	case "false", "null", "":
		*f = false
	default:
		return fmt.Errorf("%.20s is neither true nor false", b)
	}
	return nil
}
