package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// createLivestream is L1. The answer says INVOKED, as upstream's does; nothing
// stores that, and a read right after says IDLE.
func createLivestream(s *server, w http.ResponseWriter, rq *request) error {
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	change, ours := changeOf(body, "meeting_id")
	l := change.Apply(s.newLivestream(rq.Scope))
	if l.MeetingID, err = s.meetingFor(rq, ours); err != nil {
		return err
	}
	if err := body.Err(); err != nil {
		return err
	}
	err = s.Store.CreateLivestream(rq.Context(), l)
	if errors.Is(err, livestream.ErrExists) && l.MeetingID != "" {
		ours.Fault("meeting_id", "names a meeting that has its livestream already")
		return body.Err()
	}
	if err != nil {
		return err
	}
	return s.replyCreated(w, v, l)
}

func (s *server) replyCreated(w http.ResponseWriter, v view, l livestream.Livestream) error {
	o := v.livestream(livestream.Record{Livestream: l}, bare)
	return s.reply(w, http.StatusCreated, createdLivestream{
		ID: o.ID, Name: o.Name, Status: livestream.StatusInvoked, MeetingID: o.MeetingID,
		IngestServer: o.IngestServer, StreamKey: o.StreamKey, PlaybackURL: o.PlaybackURL,
		Disabled: l.Disabled, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt, Tally: o.Tally,
	}, nil)
}

// createdLivestreamAgain answers a retried create.
func createdLivestreamAgain(s *server, w http.ResponseWriter, rq *request, id string) error {
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return err
	}
	return s.replyCreated(w, v, rec.Livestream)
}

// meetingFor reads whose livestream a new one is to be, in our extension of
// create: whoever moves in keeps the ids of meetings. "" for an independent one.
func (s *server) meetingFor(rq *request, ours input.Object) (string, error) {
	id, has := ours.Text("meeting_id")
	if !has {
		return "", nil
	}
	_, err := s.Store.Meeting(rq.Context(), rq.Scope, id)
	if errors.Is(err, livestream.ErrNotFound) {
		ours.Fault("meeting_id", "names no meeting of this app; create the meeting first")
		err = nil
	}
	return id, err
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

// settings are the durations that "tally" of a body may set: bounds in seconds,
// and the place in a change.
var settings = map[string]struct {
	low, high int
	in        func(*livestream.Change) **time.Duration
}{
	"reconnect_window_seconds": {0, 1800, func(c *livestream.Change) **time.Duration { return &c.ReconnectWindow }},
	"damping_seconds":          {0, 300, func(c *livestream.Change) **time.Duration { return &c.Damping }},
	"await_encoder_seconds":    {60, 86400, func(c *livestream.Change) **time.Duration { return &c.AwaitEncoder }},
	"endlist_delay_seconds":    {0, 600, func(c *livestream.Change) **time.Duration { return &c.EndlistDelay }},
	"dvr_window_seconds":       {0, 43200, func(c *livestream.Change) **time.Duration { return &c.DVRWindow }},
}

// policySetting is the one setting that is no duration.
const policySetting = "publisher_policy"

// keepSetting is a flag.
const keepSetting = "keep"

// Who may watch, and from which pages.
const (
	playbackSetting = "playback_policy"
	originsSetting  = "allowed_origins"
)

func playbackPolicies() (words []string) {
	for _, p := range livestream.PlaybackPolicies {
		words = append(words, string(p))
	}
	return words
}

func policies() (words []string) {
	for _, p := range livestream.Policies {
		words = append(words, string(p))
	}
	return words
}

// changeOf reads what a body sets of a livestream: its name, and our settings
// below "tally", which is returned too (design section 3). A name below "tally"
// that is neither a setting nor known to the caller is a fault, because upstream
// sends nothing there.
func changeOf(body input.Object, known ...string) (c livestream.Change, ours input.Object) {
	if body.Has("name") {
		c.SetName = true
		c.Name, c.HasName = body.Text("name")
	}
	ours, ok := body.Object("tally")
	if !ok {
		return c, ours
	}
	for _, name := range ours.Names() {
		f, ok := settings[name]
		switch {
		case ok:
			d := time.Duration(ours.Whole(name, f.low, f.high, 0)) * time.Second
			*f.in(&c) = &d
		case name == policySetting:
			if word, ok := ours.Choice(name, policies()...); ok {
				p := livestream.Policy(word)
				c.Publisher = &p
			}
		case name == playbackSetting:
			if word, ok := ours.Choice(name, playbackPolicies()...); ok {
				p := livestream.PlaybackPolicy(word)
				c.Playback = &p
			}
		case name == originsSetting:
			if list, ok := ours.Origins(name, livestream.MaxAllowedOrigins); ok {
				origins := livestream.JoinOrigins(list)
				c.AllowedOrigins = &origins
			}
		case name == keepSetting:
			keep := ours.Flag(name, false)
			c.Keep = &keep
		case !slices.Contains(known, name):
			ours.Fault(name, "is no setting")
		}
	}
	return c, ours
}

// listLivestreams is L2.
func listLivestreams(s *server, w http.ResponseWriter, rq *request) error {
	p := input.ParseQuery(rq.URL.RawQuery)
	q := livestream.Query{
		Page:            p.Page(),
		Statuses:        p.Statuses(),
		ExcludeMeetings: p.Flag("exclude_meetings"),
		From:            p.Time("start_time", false),
		To:              p.Time("end_time", true),
		OldestFirst:     p.OldestFirst(),
	}
	v := s.view(rq, p)
	if err := p.Err(); err != nil {
		return err
	}
	recs, total, err := s.Store.Records(rq.Context(), rq.Scope, q)
	if err != nil {
		return err
	}
	page := pagingOf(q.Page, len(recs), total)
	items := make([]livestreamObject, len(recs))
	for i, rec := range recs {
		items[i] = v.livestream(rec, asText)
	}
	if v.upstream {
		return s.reply(w, http.StatusOK, items, &page)
	}
	list := livestreamList{Paging: page, Livestreams: items}
	if len(items) > 0 {
		list.livestreamObject = &items[0]
	}
	return s.reply(w, http.StatusOK, list, &page)
}

// getLivestream is L3: a livestream and a page of its sessions, newest first.
func getLivestream(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	page, v := p.Page(), s.view(rq, p)
	if err := p.Err(); err != nil {
		return err
	}
	all, total, err := s.Store.Sessions(rq.Context(), rq.Scope, id, page)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	d := livestreamDetail{
		Livestream: v.livestream(rec, asText),
		Sessions:   v.sessions(all, rec, bare, bare),
		Paging:     pagingOf(page, len(all), total),
	}
	if rec.Session.ID != "" { // the newest, whatever the page
		newest := v.session(rec.Session, bare, bare)
		d.Session = &newest
	}
	return s.reply(w, http.StatusOK, d, &d.Paging)
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
// A retry that finds what was closed a moment ago finds its own work done.
func (s *server) stop(w http.ResponseWriter, rq *request, rec livestream.Record, none error) error {
	now, err := s.Control.Stop(rq.Context(), rec.Livestream.ID)
	closed := now.Session.ID != "" && !now.Session.Phase.Open() && s.Now().Sub(now.Session.UpdatedAt) < livestream.RetryWindow
	switch {
	case err != nil && closed && retryCount(rq.Request) > 0 &&
		(errors.Is(err, livestream.ErrNotActive) || errors.Is(err, livestream.ErrTransition)):
	case errors.Is(err, livestream.ErrNotActive), errors.Is(err, livestream.ErrTransition):
		return none
	case err != nil:
		return err
	}
	return s.reply(w, http.StatusOK, stopped{stoppedMessage}, nil)
}

// changeLivestream is ours: name and settings, also while on air.
func changeLivestream(s *server, w http.ResponseWriter, rq *request) error {
	return s.command(w, rq, bare, func(ctx context.Context, rec livestream.Record, body input.Object) (livestream.Record, error) {
		c, _ := changeOf(body)
		if err := body.Err(); err != nil {
			return rec, err
		}
		if c == (livestream.Change{}) {
			return rec, nil // nothing to change is no change: updated_at stays
		}
		return s.Control.Configure(ctx, rec.Livestream.ID, c)
	})
}

// deleteLivestream is ours: 400 while it is on air. Its sessions can still be
// read by their ids, and its key and playback URL are never used again.
func deleteLivestream(s *server, w http.ResponseWriter, rq *request) error {
	return s.command(w, rq, bare, bodyless(s.Control.Delete))
}

// enableLivestream and disableLivestream are L15; a disabled livestream refuses
// publishes, and what is on air ends.
func enableLivestream(s *server, w http.ResponseWriter, rq *request) error {
	return s.command(w, rq, bare, bodyless(s.Control.Enable))
}

func disableLivestream(s *server, w http.ResponseWriter, rq *request) error {
	return s.command(w, rq, bare, bodyless(s.Control.Disable))
}

// resetStreamKey is L14: it answers the new key, and what is on air ends.
func resetStreamKey(s *server, w http.ResponseWriter, rq *request) error {
	return s.command(w, rq, asText, bodyless(s.Control.ResetKey))
}

// A deed changes a livestream as a body asks and returns it as it is then.
type deed func(ctx context.Context, rec livestream.Record, body input.Object) (livestream.Record, error)

// bodyless makes a deed of a command that reads nothing of the body.
func bodyless(command func(ctx context.Context, id string) (livestream.Record, error)) deed {
	return func(ctx context.Context, rec livestream.Record, _ input.Object) (livestream.Record, error) {
		return command(ctx, rec.Livestream.ID)
	}
}

// command does what changes the livestream that the path names, and answers it
// as it stands then, disabled in the form that the endpoint declares.
func (s *server) command(w http.ResponseWriter, rq *request, disabled form, do deed) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	if rec, err = do(rq.Context(), rec, body); err != nil {
		return orMissing(err, "livestream", id)
	}
	return s.reply(w, http.StatusOK, v.livestream(rec, disabled), nil)
}
