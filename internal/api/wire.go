package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"tally/internal/livestream"
)

// The shapes of answers, one type per shape that the contract declares: the
// same field changes its type from endpoint to endpoint (contract 6.2), and
// each is sent as its endpoint declares it. What has not happened is null; no
// declared field is left out.

// success is the envelope of every answer that is not an error. There is no
// "result": this family has its own envelope (contract 3.1).
type success struct {
	Success bool    `json:"success"` // always true
	Data    any     `json:"data"`
	Paging  *paging `json:"paging,omitempty"`
}

// paging says which part of a list this is: 1-based, inclusive; 0 and 0 for
// an empty page.
type paging struct {
	TotalCount  int `json:"total_count"`
	StartOffset int `json:"start_offset"`
	EndOffset   int `json:"end_offset"`
}

func pagingOf(p livestream.Page, shown, total int) paging {
	if shown == 0 {
		return paging{TotalCount: total}
	}
	start := (p.Number - 1) * p.Size
	return paging{TotalCount: total, StartOffset: start + 1, EndOffset: start + shown}
}

// A stamp is a time on the wire: RFC 3339, UTC, milliseconds; zero is null.
type stamp time.Time

// stampLayout needs a time in UTC.
const stampLayout = "2006-01-02T15:04:05.000Z"

// MarshalJSON implements json.Marshaler.
func (t stamp) MarshalJSON() ([]byte, error) { return appendStamp(nil, time.Time(t)), nil }

func appendStamp(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, stampLayout)
	return append(b, '"')
}

// seconds is a duration in whole seconds, rounded to nearest, so that L3, L4
// and L5 agree once parsed.
func seconds(d time.Duration) int64 { return int64((d + time.Second/2) / time.Second) }

// orNull is s, or null when there is none.
func orNull(s string, has bool) *string {
	if !has {
		return nil
	}
	return &s
}

// createdLivestream is L1: disabled is a boolean, and there are no other
// declared fields; the two times are a harmless addition (contract 7.2).
type createdLivestream struct {
	ID           string            `json:"id"`
	Name         *string           `json:"name"`
	Status       livestream.Status `json:"status"`
	MeetingID    *string           `json:"meeting_id"`
	IngestServer string            `json:"ingest_server"`
	StreamKey    string            `json:"stream_key"`
	PlaybackURL  string            `json:"playback_url"`
	Disabled     bool              `json:"disabled"`
	CreatedAt    stamp             `json:"created_at"`
	UpdatedAt    stamp             `json:"updated_at"`
}

// livestreamObject is L2's items, L3's and L4's livestream, and L8: disabled
// is the text "true" or "false".
type livestreamObject struct {
	ID           string            `json:"id"`
	Name         *string           `json:"name"`
	Status       livestream.Status `json:"status"`
	MeetingID    *string           `json:"meeting_id"`
	IngestServer string            `json:"ingest_server"`
	StreamKey    string            `json:"stream_key"`
	PlaybackURL  string            `json:"playback_url"`
	Disabled     string            `json:"disabled"`
	CreatedAt    stamp             `json:"created_at"`
	UpdatedAt    stamp             `json:"updated_at"`
}

func livestreamOf(rec livestream.Record, o origin) livestreamObject {
	l := rec.Livestream
	return livestreamObject{
		ID:           l.ID,
		Name:         orNull(l.Name, l.HasName),
		Status:       rec.Session.Status(),
		MeetingID:    orNull(l.MeetingID, l.MeetingID != ""),
		IngestServer: o.ingest,
		StreamKey:    l.StreamKey.Reveal(),
		PlaybackURL:  o.playbackURL(l.PlaybackID),
		Disabled:     strconv.FormatBool(l.Disabled),
		CreatedAt:    stamp(l.CreatedAt),
		UpdatedAt:    stamp(l.UpdatedAt),
	}
}

// livestreamList is L2's data. Typed clients read one livestream and paging
// inside data; people find the page under livestreams (contract 6.4).
type livestreamList struct {
	*livestreamObject                    // the first of the page; absent when it is empty
	Paging            paging             `json:"paging"`
	Livestreams       []livestreamObject `json:"livestreams"`
}

// livestreamDetail is L3's data (contract 6.5).
type livestreamDetail struct {
	Livestream livestreamObject `json:"livestream"`
	Session    *sessionObject   `json:"session"` // the newest; null when it was never on air
	Sessions   []sessionObject  `json:"sessions"`
	Paging     paging           `json:"paging"`
}

// sessionObject is a session with its seconds as numbers: L3 and L5. (L4 has
// them as text and is built in active.go.)
type sessionObject struct {
	ID            string  `json:"id"`
	LivestreamID  string  `json:"livestream_id"`
	ErrMessage    *string `json:"err_message"`
	InvokedTime   stamp   `json:"invoked_time"`
	StartedTime   stamp   `json:"started_time"`
	StoppedTime   stamp   `json:"stopped_time"`
	CreatedAt     stamp   `json:"created_at"`
	UpdatedAt     stamp   `json:"updated_at"`
	IngestSeconds int64   `json:"ingest_seconds"`
	ViewerSeconds int64   `json:"viewer_seconds"`
}

func sessionOf(s livestream.Session) sessionObject {
	message := s.ErrMessage()
	return sessionObject{
		ID:            s.ID,
		LivestreamID:  s.LivestreamID,
		ErrMessage:    orNull(message, message != ""),
		InvokedTime:   stamp(s.InvokedAt),
		StartedTime:   stamp(s.StartedAt),
		StoppedTime:   stamp(s.StoppedAt),
		CreatedAt:     stamp(s.CreatedAt),
		UpdatedAt:     stamp(s.UpdatedAt),
		IngestSeconds: seconds(s.Ingest),
		ViewerSeconds: seconds(s.Viewed),
	}
}

// startedLivestream is L6: five declared fields, and two that do no harm.
type startedLivestream struct {
	ID           string            `json:"id"`
	Name         *string           `json:"name"`
	Status       livestream.Status `json:"status"`
	MeetingID    *string           `json:"meeting_id"`
	IngestServer string            `json:"ingest_server"`
	StreamKey    string            `json:"stream_key"`
	PlaybackURL  string            `json:"playback_url"`
}

// stopped is L7, and our stop of a livestream.
type stopped struct {
	Message string `json:"message"`
}

// stoppedMessage is upstream's literal (contract 5.4).
const stoppedMessage = "Stopped live stream successfully"

// meetingObject is a meeting (contract 7.11).
type meetingObject struct {
	ID                   string          `json:"id"`
	Title                *string         `json:"title"`
	Status               string          `json:"status"`
	RecordOnStart        bool            `json:"record_on_start"`
	LiveStreamOnStart    bool            `json:"live_stream_on_start"`
	PersistChat          bool            `json:"persist_chat"`
	SummarizeOnEnd       bool            `json:"summarize_on_end"`
	TranscribeOnEnd      bool            `json:"transcribe_on_end"`
	SessionKeepAliveSecs int             `json:"session_keep_alive_time_in_secs"`
	RecordingConfig      json.RawMessage `json:"recording_config"` // null when none was given
	AIConfig             json.RawMessage `json:"ai_config"`        // null when none was given
	CreatedAt            stamp           `json:"created_at"`
	UpdatedAt            stamp           `json:"updated_at"`
}

func meetingOf(m livestream.Meeting) meetingObject {
	status := "INACTIVE"
	if m.Active {
		status = "ACTIVE"
	}
	return meetingObject{
		ID:                   m.ID,
		Title:                orNull(m.Title, m.HasTitle),
		Status:               status,
		RecordOnStart:        m.RecordOnStart,
		LiveStreamOnStart:    m.LiveStreamOnStart,
		PersistChat:          m.PersistChat,
		SummarizeOnEnd:       m.SummarizeOnEnd,
		TranscribeOnEnd:      m.TranscribeOnEnd,
		SessionKeepAliveSecs: m.SessionKeepAliveSecs,
		RecordingConfig:      withoutSecrets(m.RecordingConfig),
		AIConfig:             json.RawMessage(m.AIConfig),
		CreatedAt:            stamp(m.CreatedAt),
		UpdatedAt:            stamp(m.UpdatedAt),
	}
}

// withoutSecrets removes the write-only fields of recording_config's
// storage_config, and returns config itself when there are none.
func withoutSecrets(config []byte) json.RawMessage {
	var outer, storage map[string]json.RawMessage
	if json.Unmarshal(config, &outer) != nil || json.Unmarshal(outer["storage_config"], &storage) != nil || storage == nil {
		return config
	}
	for _, name := range []string{"access_key", "secret", "password", "private_key"} {
		delete(storage, name)
	}
	inner, err := json.Marshal(storage)
	if err != nil {
		return nil
	}
	outer["storage_config"] = inner
	shown, err := json.Marshal(outer)
	if err != nil {
		return nil
	}
	return shown
}

// reply answers with the success envelope.
func (s *server) reply(w http.ResponseWriter, status int, data any, p *paging) error {
	s.write(w, status, success{Success: true, Data: data, Paging: p})
	return nil
}

// buffers are reused by every answer.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled keeps a rare long list from staying in the pool for ever.
const maxPooled = 64 << 10

// write sends body as JSON. An error of the connection is the client's loss.
func (s *server) write(w http.ResponseWriter, status int, body any) {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		s.Logger.Error("api answer", "err", err, "request", w.Header().Get("X-Request-Id"))
		status = http.StatusInternalServerError
		buf.Reset()
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	w.WriteHeader(status)
	w.Write(buf.Bytes())
	if buf.Cap() <= maxPooled {
		buffers.Put(buf)
	}
}
