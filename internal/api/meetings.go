package api

import (
	"errors"
	"net/http"
	"reflect"

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
	m := livestream.Meeting{Scope: rq.Scope, ID: livestream.NewUUID(), Active: true, CreatedAt: now, UpdatedAt: now}
	ours, wished := wishedID(body)
	if wished != "" {
		m.ID = wished
	}
	m = replaced(m, body)
	if err := body.Err(); err != nil {
		return err
	}
	err = s.Store.CreateMeeting(rq.Context(), m)
	if errors.Is(err, livestream.ErrExists) && wished != "" {
		ours.Fault("id", "is the id of another meeting")
		return body.Err()
	}
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusCreated, meetingOf(m), nil)
}

// wishedID reads the id that a new meeting is to have, our extension: who moves
// in keeps the ids of meetings. "" for a new one.
func wishedID(body input.Object) (ours input.Object, id string) {
	ours, ok := body.Object("tally")
	if !ok {
		return ours, ""
	}
	for _, name := range ours.Names() {
		if name != "id" {
			ours.Fault(name, "is nothing that a meeting can be created with")
		}
	}
	id, has := ours.Text("id")
	if has && !livestream.IsUUID(id) {
		ours.Fault("id", "must be a UUID in lower case")
	}
	return ours, id
}

// createdMeetingAgain answers a retried create.
func createdMeetingAgain(s *server, w http.ResponseWriter, rq *request, id string) error {
	m, err := s.Store.Meeting(rq.Context(), rq.Scope, id)
	if err != nil {
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

// listMeetings lists the app's meetings, newest first.
func listMeetings(s *server, w http.ResponseWriter, rq *request) error {
	p := input.ParseQuery(rq.URL.RawQuery)
	q := livestream.MeetingQuery{
		Page: p.Page(), Search: p.Search("search"), OldestFirst: p.OldestFirst(),
		From: p.Time("start_time", false), To: p.Time("end_time", true),
	}
	if status := p.Choice("status", statusActive, statusInactive); status != "" {
		active := status == statusActive
		q.Active = &active
	}
	if err := p.Err(); err != nil {
		return err
	}
	all, total, err := s.Store.Meetings(rq.Context(), rq.Scope, q)
	if err != nil {
		return err
	}
	items := make([]listedMeeting, len(all))
	for i, m := range all {
		items[i] = listedMeetingOf(m)
	}
	page := pagingOf(q.Page, len(items), total)
	return s.reply(w, http.StatusOK, items, &page)
}

// replaceMeeting is PUT: what the body leaves out becomes what it is by default,
// secrets too. The status, which PUT does not have, stays.
func replaceMeeting(s *server, w http.ResponseWriter, rq *request) error {
	return s.updateMeeting(w, rq, func(m livestream.Meeting, body input.Object) livestream.Meeting {
		return replaced(m, body)
	})
}

// changeMeeting is PATCH: what the body leaves out stays, also inside the
// configurations. INACTIVE ends the meeting's livestream.
func changeMeeting(s *server, w http.ResponseWriter, rq *request) error {
	return s.updateMeeting(w, rq, func(m livestream.Meeting, body input.Object) livestream.Meeting {
		m = read(m, body, false)
		if status, ok := body.Choice("status", statusActive, statusInactive); ok {
			m.Active = status == statusActive
		}
		return m
	})
}

// updateMeeting writes what change makes of the meeting with the body.
func (s *server) updateMeeting(w http.ResponseWriter, rq *request, change func(livestream.Meeting, input.Object) livestream.Meeting) error {
	m, err := s.meeting(rq)
	if err != nil {
		return err
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	change(m, body)
	if err := body.Err(); err != nil {
		return err
	}
	m, err = s.Store.UpdateMeeting(rq.Context(), rq.Scope, m.ID, func(m livestream.Meeting) (livestream.Meeting, error) {
		after := change(m, body)
		if !reflect.DeepEqual(after, m) {
			after.UpdatedAt = s.Now()
		}
		return after, body.Err()
	})
	if err != nil {
		return orMissing(err, "meeting", rq.PathValue("meeting_id"))
	}
	if !m.Active {
		err = s.endMeeting(rq, m.ID)
	}
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, meetingOf(m), nil)
}

// endMeeting ends what a meeting that is INACTIVE has on air. It is asked again
// with each change, so that one that failed half-way can be repeated.
func (s *server) endMeeting(rq *request, id string) error {
	rec, err := s.Store.RecordByMeeting(rq.Context(), rq.Scope, id)
	if err == nil && rec.Session.Phase.Open() {
		_, err = s.Control.Stop(rq.Context(), rec.Livestream.ID)
	}
	if errors.Is(err, livestream.ErrNotFound) || errors.Is(err, livestream.ErrNotActive) {
		return nil // never started, or over meanwhile
	}
	return err
}

// replaced is m with everything that a create or PUT may say as body says it, or
// else as it is by default.
func replaced(m livestream.Meeting, body input.Object) livestream.Meeting {
	return read(livestream.Meeting{
		Scope: m.Scope, ID: m.ID, Active: m.Active, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
		SessionKeepAliveSecs: defaultKeepAlive,
	}, body, true)
}

// Seconds for which a session goes on without anybody (contract 7.11).
const minKeepAlive, maxKeepAlive, defaultKeepAlive = 60, 600, 60

// read is m with what body says. Three members may be null, which stands for
// their default, where nulls are taken.
func read(m livestream.Meeting, body input.Object, nulls bool) livestream.Meeting {
	if body.Has("title") {
		if m.Title, m.HasTitle = body.Text("title"); !nulls && body.Raw("title") == nil {
			body.Fault("title", "must not be null; replace the meeting with PUT to take its title away")
		}
	}
	for _, f := range []struct {
		name     string
		nullable bool
		to       *bool
	}{
		{"record_on_start", nulls, &m.RecordOnStart},
		{"live_stream_on_start", nulls, &m.LiveStreamOnStart},
		{"persist_chat", false, &m.PersistChat},
		{"summarize_on_end", false, &m.SummarizeOnEnd},
		{"transcribe_on_end", false, &m.TranscribeOnEnd},
	} {
		if body.Has(f.name) {
			*f.to = body.Flag(f.name, f.nullable)
		}
	}
	m.SessionKeepAliveSecs = body.Whole("session_keep_alive_time_in_secs", minKeepAlive, maxKeepAlive, m.SessionKeepAliveSecs)
	for _, f := range []struct {
		name   string
		fields fields
		to     *[]byte
	}{{"recording_config", recordingConfig, &m.RecordingConfig}, {"ai_config", aiConfig, &m.AIConfig}} {
		o, ok := body.Object(f.name)
		if ok {
			*f.to = f.fields.put(o, f.fields.stored(*f.to)).json()
		} else if body.Has(f.name) && body.Raw(f.name) == nil {
			body.Fault(f.name, "must be an object")
		}
	}
	return m
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
	change, _ := changeOf(body)
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
	rec, err := s.livestreamOfMeeting(rq, m.ID, change)
	if err != nil {
		return err
	}
	if rec.Livestream.Disabled {
		return livestream.ErrDisabled
	}
	if rec, err = s.Control.Start(rq.Context(), rec.Livestream.ID); err != nil {
		return err
	}
	// The meeting may have become INACTIVE since it was read. Whoever did that
	// looks for an open session afterwards, as this looks at the meeting after
	// it opened one: so one of both ends it.
	if m, err = s.meeting(rq); err != nil {
		return err
	}
	if !m.Active {
		if err := s.endMeeting(rq, m.ID); err != nil {
			return err
		}
		return livestream.ErrInactive
	}
	return s.replyStarted(w, v, rec)
}

func (s *server) replyStarted(w http.ResponseWriter, v view, rec livestream.Record) error {
	o := v.livestream(rec, bare)
	return s.reply(w, http.StatusCreated, startedLivestream{
		ID: o.ID, Name: o.Name, Status: o.Status, MeetingID: o.MeetingID,
		IngestServer: o.IngestServer, StreamKey: o.StreamKey, PlaybackURL: o.PlaybackURL, Tally: o.Tally,
	}, nil)
}

// startedAgain answers a retried start while the session that the first one
// opened is open.
func startedAgain(s *server, w http.ResponseWriter, rq *request, sessionID string) error {
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	rec, err := s.Store.RecordByMeeting(rq.Context(), rq.Scope, rq.PathValue("meeting_id"))
	if err != nil {
		return err
	}
	if rec.Session.ID != sessionID || !rec.Session.Phase.Open() {
		return livestream.ErrNotFound
	}
	return s.replyStarted(w, v, rec)
}

// livestreamOfMeeting finds the meeting's livestream, or makes it. Its name is
// that of the first start, its settings those of the last that had any. When two
// first starts meet, the store takes one livestream and both use that.
func (s *server) livestreamOfMeeting(rq *request, meetingID string, change livestream.Change) (livestream.Record, error) {
	rec, err := s.Store.RecordByMeeting(rq.Context(), rq.Scope, meetingID)
	if errors.Is(err, livestream.ErrNotFound) {
		l := change.Apply(s.newLivestream(rq.Scope))
		l.MeetingID = meetingID
		err = s.Store.CreateLivestream(rq.Context(), l)
		if !errors.Is(err, livestream.ErrExists) {
			return livestream.Record{Livestream: l}, err
		}
		rec, err = s.Store.RecordByMeeting(rq.Context(), rq.Scope, meetingID)
	}
	change.SetName, change.Name, change.HasName = false, "", false
	if err != nil || change == (livestream.Change{}) || rec.Livestream.Disabled || rec.Session.Phase.Open() {
		return rec, err
	}
	return s.Control.Configure(rq.Context(), rec.Livestream.ID, change)
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
