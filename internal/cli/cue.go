package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// LivestreamCueCmd is `tally livestream cue`.
type LivestreamCueCmd struct {
	Common
	ID       string        `arg:"" help:"The livestream's id."`
	Text     string        `arg:"" help:"What players get: a text, or with --json-data JSON."`
	Class    string        `default:"cue" placeholder:"CLASS" help:"How players are to read it (${default})."`
	Duration time.Duration `default:"0s" placeholder:"TIME" help:"How long it lasts (a moment)."`
	JSONData bool          `name:"json-data" help:"The text is JSON and is sent as that."`
}

// Help implements kong.HelpProvider.
func (LivestreamCueCmd) Help() string {
	return `The cue stands beside the newest media of the broadcast, and reaches each player when
it plays that moment, in the playlist's EXT-X-DATERANGE.

Examples:

  tally livestream cue 5c1c2d3e-0000-4000-8000-000000000000 'goal!' --class score
  tally livestream cue 5c1c2d3e-0000-4000-8000-000000000000 '{"home":2,"away":1}' --json-data`
}

// A cue is one as the API answers it.
type cue struct {
	ID        string  `json:"id"`
	Class     string  `json:"class"`
	StartDate Moment  `json:"start_date"`
	Duration  float64 `json:"duration"`
}

// Run implements the command.
func (c *LivestreamCueCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{"class": c.Class, "duration": c.Duration.Seconds(), "data": c.Text}
	if c.JSONData {
		if !json.Valid([]byte(c.Text)) {
			return Usagef("%q is no JSON; leave out --json-data to send it as text", c.Text)
		}
		body["data"] = json.RawMessage(c.Text)
	}
	post := below(http.MethodPost, livestreamPath(c.ID, "cues"), body)
	return answer(ctx, s, c.Common, post, func(q cue, _ Paging) error {
		s.Printf("%s  %s at %s\n", printable(q.ID), printable(q.Class), whenExactly(&q.StartDate.Time))
		return nil
	})
}
