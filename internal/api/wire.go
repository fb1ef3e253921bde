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
func orNull[T any](v T, has bool) *T {
	if !has {
		return nil
	}
	return &v
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
	Tally        *livestreamTally  `json:"tally,omitempty"`
}

// livestreamObject is a livestream everywhere else. disabled is text in L2, L3,
// L4, L8 and L14, and a boolean in L9, L15 and our own routes.
type livestreamObject struct {
	ID           string            `json:"id"`
	Name         *string           `json:"name"`
	Status       livestream.Status `json:"status"`
	MeetingID    *string           `json:"meeting_id"`
	IngestServer string            `json:"ingest_server"`
	StreamKey    string            `json:"stream_key"`
	PlaybackURL  string            `json:"playback_url"`
	Disabled     flag              `json:"disabled"`
	CreatedAt    stamp             `json:"created_at"`
	UpdatedAt    stamp             `json:"updated_at"`
	Tally        *livestreamTally  `json:"tally,omitempty"`
}

// livestream shows a livestream, its disabled in the form that the endpoint
// declares.
func (v view) livestream(rec livestream.Record, disabled form) livestreamObject {
	l := &rec.Livestream
	return livestreamObject{
		ID:           l.ID,
		Name:         orNull(l.Name, l.HasName),
		Status:       rec.Session.Status(),
		MeetingID:    orNull(l.MeetingID, l.MeetingID != ""),
		IngestServer: v.ingest,
		StreamKey:    v.key(l),
		PlaybackURL:  v.playbackURL(l.PlaybackID),
		Disabled:     flag{l.Disabled, v.form(disabled)},
		CreatedAt:    stamp(l.CreatedAt),
		UpdatedAt:    stamp(l.UpdatedAt),
		Tally:        v.livestreamTally(l),
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

// meetingLivestream is L9's data: livestreams as declared, livestream as in the
// example that came with it (contract 6.6).
type meetingLivestream struct {
	Livestreams []livestreamObject `json:"livestreams"`
	Livestream  livestreamObject   `json:"livestream"`
	Sessions    []sessionObject    `json:"sessions"`
	Paging      paging             `json:"paging"`
}

// sessionList is L10's data: the newest session's fields as declared, the page
// under data as in the example (contract 6.6).
type sessionList struct {
	*sessionObject                 // absent when the page is empty
	Data           []sessionObject `json:"data"`
	Paging         paging          `json:"paging"`
}

// sessionObject is a session everywhere. The seconds are numbers in L3, L5 and
// L10 and text in L4; in L9 ingest_seconds is text, and viewer_seconds, which is
// not declared there, is the number of its example.
type sessionObject struct {
	ID            string        `json:"id"`
	LivestreamID  string        `json:"livestream_id"`
	ErrMessage    *string       `json:"err_message"`
	InvokedTime   stamp         `json:"invoked_time"`
	StartedTime   stamp         `json:"started_time"`
	StoppedTime   stamp         `json:"stopped_time"`
	CreatedAt     stamp         `json:"created_at"`
	UpdatedAt     stamp         `json:"updated_at"`
	IngestSeconds figure        `json:"ingest_seconds"`
	ViewerSeconds figure        `json:"viewer_seconds"`
	Tally         *sessionTally `json:"tally,omitempty"`
}

// session shows a session, its seconds in the forms that the endpoint declares.
func (v view) session(s livestream.Session, ingest, viewer form) sessionObject {
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
		IngestSeconds: figure{seconds(s.Ingest), v.form(ingest)},
		ViewerSeconds: figure{seconds(s.Viewed), v.form(viewer)},
		Tally:         v.sessionTally(s),
	}
}

// sessions shows a page of sessions of rec's livestream. The newest is as of the
// livestream's status, not as of a later read.
func (v view) sessions(all []livestream.Session, rec livestream.Record, ingest, viewer form) []sessionObject {
	page := make([]sessionObject, len(all))
	for i, one := range all {
		if one.ID == rec.Session.ID {
			one = rec.Session
		}
		page[i] = v.session(one, ingest, viewer)
	}
	return page
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
	Tally        *livestreamTally  `json:"tally,omitempty"`
}

// stopped is L7, and our stop of a livestream.
type stopped struct {
	Message string `json:"message"`
}

// stoppedMessage is upstream's literal (contract 5.4).
const stoppedMessage = "Stopped live stream successfully"

// listedMeeting is a meeting in a list: without ai_config (contract 7.11).
type listedMeeting struct {
	ID                   string  `json:"id"`
	Title                *string `json:"title"`
	Status               string  `json:"status"`
	RecordOnStart        bool    `json:"record_on_start"`
	LiveStreamOnStart    bool    `json:"live_stream_on_start"`
	PersistChat          bool    `json:"persist_chat"`
	SummarizeOnEnd       bool    `json:"summarize_on_end"`
	TranscribeOnEnd      bool    `json:"transcribe_on_end"`
	SessionKeepAliveSecs int     `json:"session_keep_alive_time_in_secs"`
	RecordingConfig      config  `json:"recording_config"` // null when none was given
	CreatedAt            stamp   `json:"created_at"`
	UpdatedAt            stamp   `json:"updated_at"`
}

// meetingObject is a meeting everywhere else.
type meetingObject struct {
	listedMeeting
	AIConfig config `json:"ai_config"` // null when none was given
}

const statusActive, statusInactive = "ACTIVE", "INACTIVE"

func listedMeetingOf(m livestream.Meeting) listedMeeting {
	status := statusInactive
	if m.Active {
		status = statusActive
	}
	return listedMeeting{
		ID:                   m.ID,
		Title:                orNull(m.Title, m.HasTitle),
		Status:               status,
		RecordOnStart:        m.RecordOnStart,
		LiveStreamOnStart:    m.LiveStreamOnStart,
		PersistChat:          m.PersistChat,
		SummarizeOnEnd:       m.SummarizeOnEnd,
		TranscribeOnEnd:      m.TranscribeOnEnd,
		SessionKeepAliveSecs: m.SessionKeepAliveSecs,
		RecordingConfig:      recordingConfig.shown(recordingConfig.stored(m.RecordingConfig)),
		CreatedAt:            stamp(m.CreatedAt),
		UpdatedAt:            stamp(m.UpdatedAt),
	}
}

func meetingOf(m livestream.Meeting) meetingObject {
	return meetingObject{listedMeetingOf(m), aiConfig.shown(aiConfig.stored(m.AIConfig))}
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
