package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// livestreamPath is a path below a livestream.
func livestreamPath(id string, more ...string) string {
	path := "livestreams/" + url.PathEscape(id)
	for _, m := range more {
		path += "/" + m
	}
	return path
}

// withTally asks for what Tally adds to upstream's objects.
const withTally = "?include=tally"

// LivestreamListCmd is `tally livestream list`.
type LivestreamListCmd struct {
	Common
	Status      string `enum:",LIVE,IDLE,INVOKED,ERRORED" default:"" placeholder:"STATUS" help:"Only LIVE, IDLE, INVOKED or ERRORED."`
	Independent bool   `help:"Only livestreams without a meeting."`
	Range
	OldestFirst bool `help:"Oldest first (unset: newest first)."`
	Page        int  `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
}

// Help implements kong.HelpProvider.
func (LivestreamListCmd) Help() string {
	return `--from and --to select by the time of creation.

Example:

  tally livestream list --status LIVE`
}

// Run implements the command.
func (c *LivestreamListCmd) Run(ctx context.Context, s *Streams) error {
	query := url.Values{"per_page": {"100"}, "page_no": {strconv.Itoa(c.Page)}}
	if c.Status != "" {
		query.Set("status", c.Status)
	}
	if c.Independent {
		query.Set("exclude_meetings", "true")
	}
	if c.OldestFirst {
		query.Set("sort_order", "ASC")
	}
	if err := c.Range.set(query, time.Now()); err != nil {
		return err
	}
	get := below(http.MethodGet, "livestreams?"+query.Encode(), nil)
	return answer(ctx, s, c.Common, get, func(page livestreamPage, p Paging) error {
		var rows [][]string
		for _, l := range page.Items {
			status := l.Status
			if l.Disabled {
				status += " disabled"
			}
			rows = append(rows, []string{l.ID, status, l.Name, when(&l.CreatedAt.Time), l.WatchURL()})
		}
		return s.list("ID|STATUS|NAME|CREATED|WATCH", rows, p, "none; make one with `tally livestream create NAME`")
	})
}

// LivestreamShowCmd is `tally livestream show`.
type LivestreamShowCmd struct {
	Common
	ID string `arg:"" help:"The livestream's id."`
}

// Help implements kong.HelpProvider.
func (LivestreamShowCmd) Help() string {
	return "Example:\n\n  tally livestream show 5c1c2d3e-0000-4000-8000-000000000000"
}

// A livestreamDetail is a livestream and its newest session.
type livestreamDetail struct {
	Livestream Livestream `json:"livestream"`
	Session    *Session   `json:"session"` // nil: never on air
}

// Run implements the command.
func (c *LivestreamShowCmd) Run(ctx context.Context, s *Streams) error {
	get := below(http.MethodGet, livestreamPath(c.ID)+withTally, nil)
	return answer(ctx, s, c.Common, get, func(d livestreamDetail, _ Paging) error {
		printLivestream(s, d.Livestream)
		if d.Session != nil {
			s.Printf("newest session\n")
			printSession(s, *d.Session)
		}
		return nil
	})
}

// printLivestream prints one livestream in full.
func printLivestream(s *Streams, l Livestream) {
	s.Printf("%s  %s\n", l.Status, cmp.Or(printable(l.Name), "(no name)"))
	s.field("id", l.ID)
	if l.MeetingID != "" {
		s.field("meeting", l.MeetingID)
	}
	if l.Disabled {
		s.field("disabled", "yes: no encoder is let in until `tally livestream enable`")
	}
	printEncoder(s, l)
	if !l.CreatedAt.IsZero() {
		s.field("created", whenExactly(&l.CreatedAt.Time))
	}
	if l.Tally == nil {
		return
	}
	if len(l.Tally.Settings) > 0 {
		s.field("settings", settingsText(l.Tally.Settings))
	}
	if at := l.Tally.RefuseUntil; at != nil && at.After(time.Now()) {
		s.field("key refused", "until "+whenExactly(at))
	}
}

// printEncoder prints what an encoder and a viewer need.
func printEncoder(s *Streams, l Livestream) {
	s.field("Server", l.IngestServer)
	s.field("Stream Key", l.StreamKey)
	s.field("watch", l.WatchURL())
	s.field("HLS", l.PlaybackURL)
}

// settingsText is "reconnect window 60 s, damping 30 s".
func settingsText(settings map[string]any) string {
	var parts []string
	for name, value := range settings {
		text := fmt.Sprint(value)
		if _, isList := value.([]any); isList { // of allowed origins
			text = cmp.Or(strings.Trim(text, "[]"), "any")
		}
		if label, found := strings.CutSuffix(name, "_seconds"); found {
			name, text = label, text+" s"
		}
		parts = append(parts, strings.ReplaceAll(name, "_", " ")+" "+text)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
