package api

import (
	"net/http"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// sessionEvent is one line of a session's timeline: a transition and its cause,
// or what the encoder sends and should change; then both phases are the same.
type sessionEvent struct {
	At      stamp   `json:"at"`
	Event   string  `json:"event"` // publish, playable, lose, unpublish, stop, …, media, warning, warning-over
	From    string  `json:"from"`  // phase before
	To      string  `json:"to"`    // phase after
	Epoch   int64   `json:"epoch"` // of the publish that it is about; 0: none came yet
	Remote  *string `json:"remote"`
	Encoder *string `json:"encoder"` // what the encoder calls itself
	Detail  *string `json:"detail"`  // the err_message that it led to, that a meeting's start awaits an encoder, the media, the warning

	// As known at that time.
	Bytes      int64   `json:"bytes"`
	IngestMs   int64   `json:"ingest_ms"`
	Media      *string `json:"media"`
	KeyframeMs *int64  `json:"keyframe_interval_ms"`
}

// getTimeline is ours: what happened to a session, oldest first, while it is on
// air and for as long after as the timeline is kept.
func getTimeline(s *server, w http.ResponseWriter, rq *request) error {
	one, err := s.session(rq)
	if err != nil {
		return err
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	page := p.Page()
	if err := p.Err(); err != nil {
		return err
	}
	facts, total, err := s.Store.Timeline(rq.Context(), one.ID, page)
	if err != nil {
		return err
	}
	events := make([]sessionEvent, len(facts))
	for i, f := range facts {
		events[i] = eventOf(f)
	}
	paging := pagingOf(page, len(events), total)
	return s.reply(w, http.StatusOK, events, &paging)
}

func eventOf(f livestream.Fact) sessionEvent {
	return sessionEvent{
		At: stamp(f.At), Event: f.Kind, From: f.From, To: f.To, Epoch: f.Epoch,
		Remote: orNull(f.Remote, f.Remote != ""), Encoder: orNull(f.Encoder, f.Encoder != ""), Detail: orNull(f.Detail, f.Detail != ""),
		Bytes: f.Bytes, IngestMs: f.Ingest.Milliseconds(),
		Media: orNull(f.Media, f.Media != ""), KeyframeMs: orNull(f.Keyframe.Milliseconds(), f.Keyframe > 0),
	}
}
