package api

import (
	"errors"
	"net/http"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// createMeeting makes a meeting (contract 7.11). Its livestream comes with the
// first start.
func createMeeting(s *server, w http.ResponseWriter, rq *request) error {
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	now := s.Now()
	m := livestream.Meeting{
		Scope: rq.Scope, ID: livestream.NewUUID(), Active: true, CreatedAt: now, UpdatedAt: now,
		RecordOnStart:        body.Flag("record_on_start", true),
		LiveStreamOnStart:    body.Flag("live_stream_on_start", true),
		PersistChat:          body.Flag("persist_chat", false),
		SummarizeOnEnd:       body.Flag("summarize_on_end", false),
		TranscribeOnEnd:      body.Flag("transcribe_on_end", false),
		SessionKeepAliveSecs: body.Whole("session_keep_alive_time_in_secs", 60, 600, 60),
	}
	m.Title, m.HasTitle = body.Text("title")
	if _, ok := body.Object("recording_config"); ok {
		m.RecordingConfig = body.Raw("recording_config")
	}
	if _, ok := body.Object("ai_config"); ok {
		m.AIConfig = body.Raw("ai_config")
	}
	if err := body.Err(); err != nil {
		return err
	}
	if err := s.Store.CreateMeeting(rq.Context(), m); err != nil {
		return err
	}
	return s.reply(w, http.StatusCreated, meetingOf(m), nil)
}

// getMeeting reads one meeting.
func getMeeting(s *server, w http.ResponseWriter, rq *request) error {
	m, err := s.meeting(rq)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, meetingOf(m), nil)
}

func (s *server) meeting(rq *request) (livestream.Meeting, error) {
	id := rq.PathValue("meeting_id")
	m, err := s.Store.Meeting(rq.Context(), rq.Scope, id)
	return m, orMissing(err, "meeting", id)
}

// startMeetingLivestream is L6: the meeting's livestream awaits an encoder
// ("manual ingest": nothing composes the meeting's own picture yet, so whoever
// has the key sends it). A meeting has one livestream for life.
func startMeetingLivestream(s *server, w http.ResponseWriter, rq *request) error {
	m, err := s.meeting(rq)
	if err != nil {
		return err
	}
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	name, hasName := body.Text("name")
	if video, ok := body.Object("video_config"); ok { // bounds of recordings (contract 7.6)
		video.Whole("width", 1, 1920, 1280)
		video.Whole("height", 1, 1920, 720)
	}
	body.Flag("manual_ingest", true)
	if err := body.Err(); err != nil {
		return err
	}
	if !m.Active {
		return livestream.ErrInactive
	}
	rec, err := s.livestreamOfMeeting(rq, m.ID, name, hasName)
	if err != nil {
		return err
	}
	if rec.Livestream.Disabled {
		return livestream.ErrDisabled
	}
	if rec, err = s.Control.Start(rq.Context(), rec.Livestream.ID); err != nil {
		return err
	}
	o := v.livestream(rec, bare)
	return s.reply(w, http.StatusCreated, startedLivestream{
		ID: o.ID, Name: o.Name, Status: o.Status, MeetingID: o.MeetingID,
		IngestServer: o.IngestServer, StreamKey: o.StreamKey, PlaybackURL: o.PlaybackURL, Tally: o.Tally,
	}, nil)
}

// livestreamOfMeeting finds the meeting's livestream, or makes it. When two
// first starts meet, the store takes one livestream and both use that.
func (s *server) livestreamOfMeeting(rq *request, meetingID, name string, hasName bool) (livestream.Record, error) {
	rec, err := s.Store.RecordByMeeting(rq.Context(), rq.Scope, meetingID)
	if !errors.Is(err, livestream.ErrNotFound) {
		return rec, err
	}
	l := s.newLivestream(rq.Scope)
	l.MeetingID, l.Name, l.HasName = meetingID, name, hasName
	err = s.Store.CreateLivestream(rq.Context(), l)
	if errors.Is(err, livestream.ErrExists) {
		return s.Store.RecordByMeeting(rq.Context(), rq.Scope, meetingID)
	}
	return livestream.Record{Livestream: l}, err
}

// stopMeeting is L7.
func stopMeeting(s *server, w http.ResponseWriter, rq *request) error {
	rec, none, err := s.meetingRecord(rq)
	if err != nil {
		return err
	}
	if _, err := input.ReadBody(w, rq.Request); err != nil {
		return err
	}
	return s.stop(w, rq, rec, none)
}

// getMeetingActiveLivestream is L8.
func getMeetingActiveLivestream(s *server, w http.ResponseWriter, rq *request) error {
	rec, none, err := s.meetingRecord(rq)
	if err != nil {
		return err
	}
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	if !rec.Session.Active(s.Now()) {
		return none
	}
	return s.reply(w, http.StatusOK, v.livestream(rec, asText), nil)
}

// meetingRecord finds a meeting's livestream. none is the error that says that
// nothing of it is active; a meeting that was never started has nothing else.
func (s *server) meetingRecord(rq *request) (rec livestream.Record, none, err error) {
	m, err := s.meeting(rq)
	if err != nil {
		return rec, nil, err
	}
	none = tell(livestream.ErrNotActive, "No active livestream found for meeting_id %s", m.ID)
	rec, err = s.Store.RecordByMeeting(rq.Context(), rq.Scope, m.ID)
	if errors.Is(err, livestream.ErrNotFound) {
		err = none
	}
	return rec, none, err
}
