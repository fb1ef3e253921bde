package api

import (
	"errors"
	"net/http"
	"time"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// createLivestream is L1. The answer says INVOKED, as upstream's does; nothing
// stores that, and a read right after says IDLE.
func createLivestream(s *server, w http.ResponseWriter, rq *request) error {
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	l := s.newLivestream(rq.Scope)
	l.Name, l.HasName = body.Text("name")
	l.Settings = settings(body)
	if err := body.Err(); err != nil {
		return err
	}
	if err := s.Store.CreateLivestream(rq.Context(), l); err != nil {
		return err
	}
	o := livestreamOf(livestream.Record{Livestream: l}, s.origin(rq.Request))
	return s.reply(w, http.StatusCreated, createdLivestream{
		ID: o.ID, Name: o.Name, Status: livestream.StatusInvoked, MeetingID: o.MeetingID,
		IngestServer: o.IngestServer, StreamKey: o.StreamKey, PlaybackURL: o.PlaybackURL,
		Disabled: l.Disabled, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
	}, nil)
}

func (s *server) newLivestream(scope livestream.Scope) livestream.Livestream {
	now := s.Now()
	return livestream.Livestream{
		Scope:      scope,
		ID:         livestream.NewUUID(),
		StreamKey:  livestream.NewStreamKey(),
		PlaybackID: livestream.NewPlaybackID(),
		CreatedAt:  now,
		UpdatedAt:  now,
		Settings:   livestream.DefaultSettings,
	}
}

// settings reads our extension of create: what a livestream has otherwise than
// the server's defaults (design section 3). A name that is not known is a
// fault here, because upstream sends nothing below "tally".
func settings(body input.Object) livestream.Settings {
	set := livestream.DefaultSettings
	ours, ok := body.Object("tally")
	if !ok {
		return set
	}
	fields := map[string]struct {
		value     *time.Duration
		low, high int // seconds
	}{
		"reconnect_window_seconds": {&set.ReconnectWindow, 0, 1800},
		"damping_seconds":          {&set.Damping, 0, 300},
		"await_encoder_seconds":    {&set.AwaitEncoder, 60, 86400},
		"endlist_delay_seconds":    {&set.EndlistDelay, 0, 600},
	}
	for _, name := range ours.Names() {
		f, ok := fields[name]
		if !ok {
			ours.Fault(name, "is no setting")
			continue
		}
		n := ours.Whole(name, f.low, f.high, int(*f.value/time.Second))
		*f.value = time.Duration(n) * time.Second
	}
	return set
}

// listLivestreams is L2.
func listLivestreams(s *server, w http.ResponseWriter, rq *request) error {
	p := input.ParseQuery(rq.URL.RawQuery)
	q := livestream.Query{
		Page:            p.Page(),
		Status:          p.Status(),
		ExcludeMeetings: p.Flag("exclude_meetings"),
		From:            p.Time("start_time", false),
		To:              p.Time("end_time", true),
		OldestFirst:     p.OldestFirst(),
	}
	if err := p.Err(); err != nil {
		return err
	}
	recs, total, err := s.Store.Records(rq.Context(), rq.Scope, q)
	if err != nil {
		return err
	}
	list := livestreamList{Paging: pagingOf(q.Page, len(recs), total), Livestreams: make([]livestreamObject, len(recs))}
	from := s.origin(rq.Request)
	for i, rec := range recs {
		list.Livestreams[i] = livestreamOf(rec, from)
	}
	if len(recs) > 0 {
		list.livestreamObject = &list.Livestreams[0]
	}
	return s.reply(w, http.StatusOK, list, &list.Paging)
}

// getLivestream is L3: a livestream and a page of its sessions, newest first.
func getLivestream(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	page := p.Page()
	if err := p.Err(); err != nil {
		return err
	}
	all, total, err := s.Store.Sessions(rq.Context(), rq.Scope, id, page)
	if err != nil {
		return err
	}
	d := livestreamDetail{
		Livestream: livestreamOf(rec, s.origin(rq.Request)),
		Sessions:   make([]sessionObject, len(all)),
		Paging:     pagingOf(page, len(all), total),
	}
	for i, one := range all {
		if one.ID == rec.Session.ID {
			one = rec.Session // as of the livestream's status
		}
		d.Sessions[i] = sessionOf(one)
	}
	if rec.Session.ID != "" { // the newest, whatever the page
		newest := sessionOf(rec.Session)
		d.Session = &newest
	}
	return s.reply(w, http.StatusOK, d, &d.Paging)
}

// getSession is L5.
func getSession(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("session_id")
	one, err := s.Store.Session(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream session", id)
	}
	return s.reply(w, http.StatusOK, sessionOf(one), nil)
}

// stopLivestream is ours: it ends what is on air, or acknowledges what failed.
func stopLivestream(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	if _, err := input.ReadBody(w, rq.Request); err != nil {
		return err
	}
	return s.stop(w, rq, rec, tell(livestream.ErrNotActive, "No active livestream session found for livestream_id %s", input.Clip(id)))
}

// stop answers for both stops; none is the error when there is nothing to stop.
func (s *server) stop(w http.ResponseWriter, rq *request, rec livestream.Record, none error) error {
	_, err := s.Control.Stop(rq.Context(), rec.Livestream.ID)
	switch {
	case errors.Is(err, livestream.ErrNotActive), errors.Is(err, livestream.ErrTransition):
		return none
	case err != nil:
		return err
	}
	return s.reply(w, http.StatusOK, stopped{stoppedMessage}, nil)
}
