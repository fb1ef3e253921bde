package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// SessionRecordingCmd is `tally session recording`.
type SessionRecordingCmd struct {
	Common
	Sure
	ID     string `arg:"" help:"The session's id."`
	Delete bool   `help:"Delete the recording, for good."`
}

// Help implements kong.HelpProvider.
func (SessionRecordingCmd) Help() string {
	return `Says where the recording of a session can be watched, how long it is and how much disk it
takes. There is one when the session is over, if its livestream had --keep when it
began. The session and its seconds stay when it is deleted.

Examples:

  tally livestream set 5c1c2d3e-0000-4000-8000-000000000000 --keep
  tally session recording 8f0e6a52-0000-4000-8000-000000000000
  tally session recording 8f0e6a52-0000-4000-8000-000000000000 --delete --yes`
}

// A recording is what was kept of a session.
type recording struct {
	SessionID   string     `json:"session_id"`
	PlaybackURL string     `json:"playback_url"`
	WatchURL    string     `json:"watch_url"`
	DurationMs  int64      `json:"duration_ms"`
	Bytes       int64      `json:"bytes"`
	BeganAt     *time.Time `json:"began_at"`
}

// Run implements the command.
func (c *SessionRecordingCmd) Run(ctx context.Context, s *Streams) error {
	method := http.MethodGet
	if c.Delete {
		method = http.MethodDelete
		if err := c.confirm(s, fmt.Sprintf("The recording of %s is deleted for good.", printable(c.ID))); err != nil {
			return err
		}
	}
	ask := below(method, "livestreams/sessions/"+url.PathEscape(c.ID)+"/recording", nil)
	return answer(ctx, s, c.Common, ask, func(r recording, _ Paging) error {
		if c.Delete {
			s.Printf("deleted the recording of %s  %s\n", printable(r.SessionID), byteCount(r.Bytes))
			return nil
		}
		s.field("watch", r.WatchURL)
		s.field("playlist", r.PlaybackURL)
		s.field("began", whenExactly(r.BeganAt))
		s.field("length", (time.Duration(r.DurationMs) * time.Millisecond).Round(time.Second).String())
		s.field("on disk", byteCount(r.Bytes))
		return nil
	})
}
