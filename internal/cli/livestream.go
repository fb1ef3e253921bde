package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"
)

// LivestreamListCmd is `tally livestream list`.
type LivestreamListCmd struct {
	APIFlags
	Status string `enum:",LIVE,IDLE,INVOKED,ERRORED" default:"" placeholder:"STATUS" help:"Only LIVE, IDLE, INVOKED or ERRORED."`
	Page   int    `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
	JSON   bool   `name:"json" help:"Print the API's data as it is."`
}

// Help implements kong.HelpProvider.
func (LivestreamListCmd) Help() string {
	return "Example:\n\n  tally livestream list --status LIVE"
}

// Run implements the command.
func (c *LivestreamListCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{"per_page": {"100"}, "page_no": {strconv.Itoa(c.Page)}}
	if c.Status != "" {
		query.Set("status", c.Status)
	}
	var data struct {
		Livestreams []Livestream `json:"livestreams"`
	}
	raw, err := api.do(ctx, http.MethodGet, "livestreams?"+query.Encode(), nil, &data)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(raw)
	}
	if len(data.Livestreams) == 0 {
		s.Printf("none; make one with `tally livestream create NAME`\n")
		return nil
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATUS\tNAME\tWATCH")
	for _, l := range data.Livestreams {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.ID, l.Status, printable(l.Name), l.WatchURL())
	}
	return w.Flush()
}

// LivestreamShowCmd is `tally livestream show`.
type LivestreamShowCmd struct {
	APIFlags
	ID   string `arg:"" help:"The livestream's id."`
	JSON bool   `name:"json" help:"Print the API's data as it is."`
}

// Help implements kong.HelpProvider.
func (LivestreamShowCmd) Help() string {
	return "Example:\n\n  tally livestream show 5c1c2d3e-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *LivestreamShowCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var data struct {
		Livestream Livestream `json:"livestream"`
		Session    *Session   `json:"session"`
	}
	raw, err := api.do(ctx, http.MethodGet, "livestreams/"+url.PathEscape(c.ID), nil, &data)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(raw)
	}
	l := data.Livestream
	s.Printf("%s  %s\n", l.Status, printable(l.Name))
	s.Printf("  id           %s\n", l.ID)
	printEncoder(s, l)
	if data.Session != nil {
		s.Printf("newest session\n")
		printSession(s, *data.Session)
	}
	return nil
}

// SessionShowCmd is `tally session show`.
type SessionShowCmd struct {
	APIFlags
	ID   string `arg:"" help:"The session's id."`
	JSON bool   `name:"json" help:"Print the API's data as it is."`
}

// Help implements kong.HelpProvider.
func (SessionShowCmd) Help() string {
	return "Example:\n\n  tally session show 5c1c2d3e-0000-4000-8000-000000000000 --json"
}

// Run implements the command.
func (c *SessionShowCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var session Session
	raw, err := api.do(ctx, http.MethodGet, "livestreams/sessions/"+url.PathEscape(c.ID), nil, &session)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(raw)
	}
	printSession(s, session)
	return nil
}

// printEncoder prints what an encoder and a viewer need.
func printEncoder(s *Streams, l Livestream) {
	s.Printf("  Server       %s\n", l.IngestServer)
	s.Printf("  Stream Key   %s\n", l.StreamKey)
	s.Printf("  watch        %s\n", l.WatchURL())
	s.Printf("  HLS          %s\n", l.PlaybackURL)
}

func printSession(s *Streams, v Session) {
	s.Printf("  id           %s\n", v.ID)
	s.Printf("  invoked      %s\n", when(v.InvokedTime))
	s.Printf("  started      %s\n", when(v.StartedTime))
	s.Printf("  stopped      %s\n", when(v.StoppedTime))
	s.Printf("  ingest       %.0f s\n", float64(v.IngestSeconds))
	s.Printf("  viewed       %.0f s\n", float64(v.ViewerSeconds))
	if v.ErrMessage != "" {
		s.Printf("  error        %s\n", printable(v.ErrMessage))
	}
}

func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// printable makes other people's text safe for a terminal: what is no plain
// character is shown as its escape.
func printable(text string) string {
	quoted := strconv.Quote(text)
	if quoted == `"`+text+`"` {
		return text
	}
	return quoted
}
