package api

import (
	"errors"
	"net/http"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// getSession is L5. A session outlives its livestream.
func getSession(s *server, w http.ResponseWriter, rq *request) error {
	one, err := s.session(rq)
	if err != nil {
		return err
	}
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, v.session(one, bare, bare), nil)
}

// session finds the livestream session that the path names.
func (s *server) session(rq *request) (livestream.Session, error) {
	id := rq.PathValue("session_id")
	one, err := s.Store.Session(rq.Context(), rq.Scope, id)
	return one, orMissing(err, "livestream session", id)
}

// listSessionsOfSession is L10: the livestream sessions of a meeting's session.
// Meetings have no sessions of their own yet, so the only sessions there are to
// ask for are livestream sessions, each with itself.
func listSessionsOfSession(s *server, w http.ResponseWriter, rq *request) error {
	one, err := s.session(rq)
	if err != nil {
		return err
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	page, v := p.Page(), s.view(rq, p)
	if err := p.Err(); err != nil {
		return err
	}
	list := sessionList{Data: []sessionObject{}}
	if page.Number == 1 {
		list.Data = append(list.Data, v.session(one, bare, bare))
		list.sessionObject = &list.Data[0]
	}
	list.Paging = pagingOf(page, len(list.Data), 1)
	return s.reply(w, http.StatusOK, list, &list.Paging)
}

// getMeetingLivestream is L9: a meeting's livestream and a page of its sessions,
// newest first. A meeting that was never started has none.
func getMeetingLivestream(s *server, w http.ResponseWriter, rq *request) error {
	m, err := s.meeting(rq)
	if err != nil {
		return err
	}
	rec, err := s.Store.RecordByMeeting(rq.Context(), rq.Scope, m.ID)
	if errors.Is(err, livestream.ErrNotFound) {
		return tell(err, "No livestream found for meeting_id %s", m.ID)
	}
	if err != nil {
		return err
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	page, v := p.Page(), s.view(rq, p)
	if err := p.Err(); err != nil {
		return err
	}
	all, total, err := s.Store.Sessions(rq.Context(), rq.Scope, rec.Livestream.ID, page)
	if err != nil {
		return orMissing(err, "livestream", rec.Livestream.ID)
	}
	o := v.livestream(rec, bare)
	d := meetingLivestream{
		Livestreams: []livestreamObject{o},
		Livestream:  o,
		Sessions:    v.sessions(all, rec, asText, bare),
		Paging:      pagingOf(page, len(all), total),
	}
	return s.reply(w, http.StatusOK, d, &d.Paging)
}
