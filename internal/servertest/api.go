package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An Answer is one of the API's. Status 0: none came, or not all of it.
type Answer struct {
	Status int
	Body   []byte
	Data   json.RawMessage // of the envelope
}

// Into decodes the data into v.
func (a Answer) Into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Data, v); err != nil {
		t.Fatalf("answer %d %s: %v", a.Status, a.Body, err)
	}
}

// Call sends a request with the server's token to a path below its app, such as
// /livestreams, and does not judge the answer. body is sent as JSON; nil: none.
func (s *Server) Call(method, path string, body any) Answer {
	a, _, _ := s.send(method, path, body)
	return a
}

func (s *Server) send(method, path string, body any) (Answer, *http.Request, http.Header) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			panic(err) // of the test
		}
		content = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address := fmt.Sprintf("%s/accounts/%s/realtime/kit/%s%s", s.API, s.Account, s.App, path)
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("Content-Type", "application/json")
	status, header, text := fetch(req)
	a := Answer{Status: status, Body: text}
	var envelope struct{ Data json.RawMessage }
	if json.Unmarshal(text, &envelope) == nil {
		a.Data = envelope.Data
	} else {
		a.Status = 0
	}
	return a, req, header
}

// Get fetches a public path of this server; status 0: no whole answer came.
func (s *Server) Get(path string) (status int, body []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTP+path, nil)
	if err != nil {
		panic(err)
	}
	status, _, body = fetch(req)
	return status, body
}

func fetch(req *http.Request) (int, http.Header, []byte) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil
	}
	return resp.StatusCode, resp.Header, text
}

// A Number is a whole number that some endpoints send as text.
type Number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*n = Number(v)
	return err
}

// A Bool is a boolean that some endpoints send as text.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *Bool) UnmarshalJSON(b []byte) error {
	is, err := strconv.ParseBool(strings.Trim(string(b), `"`))
	*v = Bool(is)
	return err
}

// A Livestream is one as the API shows it.
type Livestream struct {
	ID           string    `json:"id"`
	Name         *string   `json:"name"`
	Status       string    `json:"status"`
	MeetingID    *string   `json:"meeting_id"`
	IngestServer string    `json:"ingest_server"`
	StreamKey    string    `json:"stream_key"`
	PlaybackURL  string    `json:"playback_url"`
	Disabled     Bool      `json:"disabled"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// A Session is one as the API shows it.
type Session struct {
	ID            string     `json:"id"`
	LivestreamID  string     `json:"livestream_id"`
	ErrMessage    *string    `json:"err_message"`
	InvokedTime   *time.Time `json:"invoked_time"`
	StartedTime   *time.Time `json:"started_time"`
	StoppedTime   *time.Time `json:"stopped_time"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	IngestSeconds Number     `json:"ingest_seconds"`
	ViewerSeconds Number     `json:"viewer_seconds"`
	// Tally is there when it was asked for with ?include=tally.
	Tally *struct {
		Health      *string    `json:"health"`
		IngestMs    int64      `json:"ingest_ms"`
		ViewerMs    int64      `json:"viewer_ms"`
		Viewers     int        `json:"viewers"`
		PeakViewers int        `json:"peak_viewers"`
		Epoch       int64      `json:"epoch"`
		Remote      *string    `json:"remote"`
		LastMediaAt *time.Time `json:"last_media_at"`
		Deadline    *time.Time `json:"deadline"`
		Evidence    struct {
			BeaconMs   int64 `json:"beacon_ms"`
			MediaMs    int64 `json:"media_ms"`
			PlaylistMs int64 `json:"playlist_ms"`
		} `json:"evidence"`
	} `json:"tally"`
}

// Code is the code of err_message, "" when it is null.
func (s Session) Code() string {
	if s.ErrMessage == nil {
		return ""
	}
	code, _, _ := strings.Cut(*s.ErrMessage, ":")
	return code
}

// Health is the session's health; "" once it is closed, and where it was not
// asked for.
func (s Session) Health() string {
	if s.Tally == nil || s.Tally.Health == nil {
		return ""
	}
	return *s.Tally.Health
}

// An Event is one line of a session's timeline.
type Event struct {
	At      time.Time `json:"at"`
	Event   string    `json:"event"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Epoch   int64     `json:"epoch"`
	Remote  *string   `json:"remote"`
	Encoder *string   `json:"encoder"`
	Detail  *string   `json:"detail"`
}
