package api

import (
	"errors"
	"net/http"
	"time"

	"tally/internal/hls/archive"
	"tally/internal/livestream"
)

// Recordings are what is kept of sessions. [archive.Library] has it.
type Recordings interface {
	// Recording returns what is kept of a session: archive.ErrLive while it is on
	// air, archive.ErrNotFound when nothing is.
	Recording(sessionID string) (*archive.Recording, error)
	// Delete removes it. Its errors are those of Recording.
	Delete(sessionID string) error
}

// recordingObject is a session's recording.
type recordingObject struct {
	SessionID    string `json:"session_id"`
	LivestreamID string `json:"livestream_id"`
	PlaybackURL  string `json:"playback_url"`
	WatchURL     string `json:"watch_url"`
	DurationMs   int64  `json:"duration_ms"`
	Bytes        int64  `json:"bytes"` // on disk
	BeganAt      stamp  `json:"began_at"`
}

func (v view) recording(s livestream.Session, r *archive.Recording) recordingObject {
	return recordingObject{
		SessionID: s.ID, LivestreamID: s.LivestreamID,
		PlaybackURL: v.public + "/vod/" + s.ID + "/index.m3u8", WatchURL: v.public + "/vod/" + s.ID,
		DurationMs: int64(r.Length() / time.Millisecond), Bytes: r.Bytes(), BeganAt: stamp(r.Began),
	}
}

// getRecording is ours.
func getRecording(s *server, w http.ResponseWriter, rq *request) error {
	return s.recording(w, rq, func(string) error { return nil })
}

// deleteRecording is ours: the answer is the recording as it was.
func deleteRecording(s *server, w http.ResponseWriter, rq *request) error {
	return s.recording(w, rq, s.Recordings.Delete)
}

// recording answers the recording that the path names, after do.
func (s *server) recording(w http.ResponseWriter, rq *request, do func(sessionID string) error) error {
	one, err := s.session(rq)
	if err != nil {
		return err
	}
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	rec, err := s.Recordings.Recording(one.ID)
	if err == nil {
		err = do(one.ID)
	}
	switch {
	case errors.Is(err, archive.ErrLive):
		return tell(livestream.ErrOpen, "The session is on air: there is a recording when it is over, if its livestream has keep")
	case errors.Is(err, archive.ErrNotFound):
		return tell(livestream.ErrNotFound, "NOT_FOUND: there is no recording of session %s: its livestream had no keep when it began, or it was deleted", one.ID)
	case err != nil:
		return err
	}
	return s.reply(w, http.StatusOK, v.recording(one, rec), nil)
}

// noRecordings is what a server without segments at rest has.
type noRecordings struct{}

func (noRecordings) Recording(string) (*archive.Recording, error) { return nil, archive.ErrNotFound }
func (noRecordings) Delete(string) error                          { return archive.ErrNotFound }
