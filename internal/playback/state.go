package playback

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"tally/internal/livestream"
)

// A State is what the public may know of a broadcast: the body of
// /hls/{playback_id}/state. A time that does not apply is null.
type State struct {
	State    string     `json:"state"`    // waiting, live, reconnecting or ended
	Since    *time.Time `json:"since"`    // waiting: publish accepted; live: on air; reconnecting: last media; ended: end
	Deadline *time.Time `json:"deadline"` // reconnecting: when the broadcast ends unless the encoder returns
	Run      *string    `json:"run"`      // names the playlist that index.m3u8 leads to; another run is another broadcast
	// Recording is the session whose recording can be played, below /vod/; null
	// unless the broadcast is over and was kept.
	Recording *string `json:"recording"`
	Disabled  bool    `json:"disabled"` // switched off: no broadcast begins until it is enabled again
}

// state answers with JSON, or with an event stream where that is accepted.
func (h *Handler) state(w http.ResponseWriter, r *http.Request, p *path) error {
	w.Header()["Vary"] = p.varyWith(varyAccept, varyAcceptOrigin)
	if acceptsEvents(r) {
		return h.events(w, r, p)
	}
	st, _, err := h.derive(r.Context(), p.playbackID)
	if err != nil {
		return err
	}
	body, err := json.Marshal(st)
	if err != nil {
		return err
	}
	hdr := w.Header()
	hdr["Content-Type"] = typeJSON
	hdr["Cache-Control"] = noStore
	hdr["Content-Length"] = []string{strconv.Itoa(len(body) + 1)}
	extendDeadline(w)
	if r.Method != http.MethodHead {
		w.Write(append(body, '\n'))
	}
	return nil
}

// derive reads the state from the store, which has the times, and the registry,
// which is a moment ahead. settled is false while the two differ.
func (h *Handler) derive(ctx context.Context, playbackID string) (st State, settled bool, err error) {
	stream := h.registry.Stream(playbackID)
	rec, err := h.record(ctx, playbackID)
	if err != nil {
		return State{}, false, err
	}
	s := rec.Session
	run := rec.Livestream.Run.ID
	stage := s.Stage()
	settled = true
	if stream != nil {
		run = stream.RunID()
		seen := stream.Stage()
		settled = seen == stage || stage == livestream.StageWaiting && s.Phase != livestream.Starting
		if s.Phase.Open() && s.Phase != livestream.Awaiting && (seen == livestream.StageLive || seen == livestream.StageReconnecting) {
			stage = seen
		}
	} else if stage == livestream.StageLive { // the server restarts
		stage, settled = livestream.StageReconnecting, false
	}
	st.State, st.Disabled = stage.String(), rec.Livestream.Disabled
	switch stage {
	case livestream.StageWaiting:
		st.Since = stamp(s.InvokedAt, s.Phase.Open())
	case livestream.StageLive:
		st.Since = stamp(s.StartedAt, true)
	case livestream.StageReconnecting:
		st.Since = stamp(s.LastMediaAt, true)
		st.Deadline = stamp(s.Deadline, s.Phase == livestream.Reconnecting)
	case livestream.StageEnded:
		st.Since = stamp(s.StoppedAt, true)
		if h.archive != nil && h.archive.Has(s.ID) {
			st.Recording = &s.ID
		}
	}
	if run != "" && stage != livestream.StageWaiting {
		st.Run = &run
	}
	return st, settled, nil
}

// stamp is a time as it goes on the wire, to the millisecond; nil when it does
// not apply or has not happened.
func stamp(t time.Time, applies bool) *time.Time {
	if !applies || t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
