package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// SessionListCmd is `tally session list`.
type SessionListCmd struct {
	Common
	Livestream string `arg:"" help:"The livestream's id."`
	Page       int    `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
}

// Help implements kong.HelpProvider.
func (SessionListCmd) Help() string {
	return "Example:\n\n  tally session list 5c1c2d3e-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *SessionListCmd) Run(ctx context.Context, s *Streams) error {
	get := below(http.MethodGet, fmt.Sprintf("%s%s&per_page=100&page_no=%d", livestreamPath(c.Livestream), withTally, c.Page), nil)
	type data struct {
		Sessions []Session `json:"sessions"`
	}
	return answer(ctx, s, c.Common, get, func(d data, p Paging) error {
		var rows [][]string
		for _, v := range d.Sessions {
			state := "closed"
			if v.StoppedTime == nil {
				state = "open"
			}
			peak := "-"
			if v.Tally != nil {
				state = cmp.Or(v.Tally.Health, state)
				peak = strconv.Itoa(v.Tally.PeakViewers)
			}
			rows = append(rows, []string{v.ID, state, when(v.InvokedTime), when(v.StoppedTime),
				span(v.IngestSeconds), span(v.ViewerSeconds), peak, v.ErrMessage})
		}
		return s.list("ID|STATE|BEGAN|ENDED|INGEST|VIEWED|PEAK|ERROR", rows, p, "none; this livestream was never on air")
	})
}

// SessionShowCmd is `tally session show`.
type SessionShowCmd struct {
	Common
	ID string `arg:"" help:"The session's id."`
}

// Help implements kong.HelpProvider.
func (SessionShowCmd) Help() string {
	return "Example:\n\n  tally session show 5c1c2d3e-0000-4000-8000-000000000000 --json"
}

// Run implements the command.
func (c *SessionShowCmd) Run(ctx context.Context, s *Streams) error {
	get := below(http.MethodGet, "livestreams/sessions/"+url.PathEscape(c.ID)+withTally, nil)
	return answer(ctx, s, c.Common, get, func(v Session, _ Paging) error {
		printSession(s, v)
		return nil
	})
}

// SessionEventsCmd is `tally session events`.
type SessionEventsCmd struct {
	Common
	ID   string `arg:"" help:"The session's id."`
	Page int    `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
}

// Help implements kong.HelpProvider.
func (SessionEventsCmd) Help() string {
	return "Example:\n\n  tally session events 5c1c2d3e-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *SessionEventsCmd) Run(ctx context.Context, s *Streams) error {
	get := below(http.MethodGet, eventsPath(c.ID, c.Page), nil)
	return answer(ctx, s, c.Common, get, s.printTimeline)
}

// eventsPath is a page of 100 of a session's timeline.
func eventsPath(session string, page int) string {
	return fmt.Sprintf("livestreams/sessions/%s/events?per_page=100&page_no=%d", url.PathEscape(session), page)
}

// A transition is one line of a session's timeline.
type transition struct {
	At         *time.Time `json:"at"`
	Event      string     `json:"event"`
	From       string     `json:"from"`
	To         string     `json:"to"` // as From: no transition, but news of the encoder
	Epoch      int64      `json:"epoch"`
	Remote     string     `json:"remote"`
	Encoder    string     `json:"encoder"`
	Detail     string     `json:"detail"`
	Bytes      int64      `json:"bytes"`
	IngestMs   int64      `json:"ingest_ms"`
	KeyframeMs int64      `json:"keyframe_interval_ms"` // 0: not known
}

// keyframes is a keyframe interval for people; "" when it is not known.
func keyframes(ms int64) string {
	if ms == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}

// printSession prints one session in full.
func printSession(s *Streams, v Session) {
	s.field("id", v.ID)
	s.field("invoked", whenExactly(v.InvokedTime))
	s.field("started", whenExactly(v.StartedTime))
	s.field("stopped", whenExactly(v.StoppedTime))
	s.field("ingest", span(v.IngestSeconds))
	s.field("viewed", span(v.ViewerSeconds))
	if t := v.Tally; t != nil {
		if t.Health != "" {
			s.field("health", t.Health)
			s.field("viewers", strconv.Itoa(t.Viewers))
		}
		s.field("peak viewers", strconv.Itoa(t.PeakViewers))
		if t.Encoder != "" || t.Remote != "" {
			s.field("encoder", cmp.Or(t.Encoder, "unnamed")+" at "+cmp.Or(t.Remote, "an unknown address"))
		}
		if t.Media != "" {
			s.field("media", t.Media)
			s.field("received", byteCount(t.Bytes))
		}
		if t.KeyframeMs > 0 {
			s.field("keyframes", "every "+keyframes(t.KeyframeMs))
		}
		for _, w := range t.Warnings {
			s.field("warning", w.Code+": "+w.Message)
		}
		if t.Health == "reconnecting" || t.Health == "awaiting" {
			s.field("ends", whenExactly(t.Deadline)+" unless the encoder comes")
		}
	}
	if v.ErrMessage != "" {
		s.field("error", v.ErrMessage)
	}
}
