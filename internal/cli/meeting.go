package cli

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// meetingPath is a path below a meeting.
func meetingPath(id, more string) string { return "meetings/" + url.PathEscape(id) + more }

// MeetingCreateCmd is `tally meeting create`.
type MeetingCreateCmd struct {
	Common
	Title             string `arg:"" optional:"" help:"A title for people."`
	ID                string `name:"id" placeholder:"UUID" help:"The id it shall have (unset: a new one)."`
	RecordOnStart     bool   `help:"Stored and returned."`
	LiveStreamOnStart bool   `help:"Stored and returned."`
}

// Help implements kong.HelpProvider.
func (MeetingCreateCmd) Help() string { return "Example:\n\n  tally meeting create \"Weekly\"" }

// Run implements the command.
func (c *MeetingCreateCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{"record_on_start": c.RecordOnStart, "live_stream_on_start": c.LiveStreamOnStart}
	if c.Title != "" {
		body["title"] = c.Title
	}
	if c.ID != "" {
		tallyOf(body)["id"] = c.ID
	}
	return answer(ctx, s, c.Common, below(http.MethodPost, "meetings", body), printMeeting(s))
}

// MeetingListCmd is `tally meeting list`.
type MeetingListCmd struct {
	Common
	Status string `enum:",ACTIVE,INACTIVE" default:"" placeholder:"STATUS" help:"Only ACTIVE or INACTIVE."`
	Search string `placeholder:"TEXT" help:"Only meetings whose title or id has this in it."`
	Range
	Page int `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
}

// Help implements kong.HelpProvider.
func (MeetingListCmd) Help() string { return "Example:\n\n  tally meeting list --search weekly" }

// Run implements the command.
func (c *MeetingListCmd) Run(ctx context.Context, s *Streams) error {
	query := url.Values{"per_page": {"100"}, "page_no": {strconv.Itoa(c.Page)}}
	if c.Status != "" {
		query.Set("status", c.Status)
	}
	if c.Search != "" {
		query.Set("search", c.Search)
	}
	if err := c.Range.set(query, time.Now()); err != nil {
		return err
	}
	return answer(ctx, s, c.Common, below(http.MethodGet, "meetings?"+query.Encode(), nil), func(meetings []Meeting, p Paging) error {
		var rows [][]string
		for _, m := range meetings {
			rows = append(rows, []string{m.ID, m.Status, m.Title, when(m.CreatedAt)})
		}
		return s.list("ID|STATUS|TITLE|CREATED", rows, p, "none; make one with `tally meeting create TITLE`")
	})
}

// MeetingShowCmd is `tally meeting show`.
type MeetingShowCmd struct {
	Common
	ID string `arg:"" help:"The meeting's id."`
}

// Help implements kong.HelpProvider.
func (MeetingShowCmd) Help() string {
	return "Example:\n\n  tally meeting show 6d2d3e4f-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *MeetingShowCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodGet, meetingPath(c.ID, ""), nil), printMeeting(s))
}

// MeetingSetCmd is `tally meeting set`.
type MeetingSetCmd struct {
	Common
	ID                string  `arg:"" help:"The meeting's id."`
	Title             *string `placeholder:"TITLE" help:"A new title."`
	Status            string  `enum:",ACTIVE,INACTIVE" default:"" placeholder:"STATUS" help:"ACTIVE or INACTIVE; INACTIVE ends its livestream and refuses the next start."`
	RecordOnStart     *bool   `negatable:"" help:"Stored and returned."`
	LiveStreamOnStart *bool   `negatable:"" help:"Stored and returned."`
}

// Help implements kong.HelpProvider.
func (MeetingSetCmd) Help() string {
	return "Example:\n\n  tally meeting set 6d2d3e4f-0000-4000-8000-000000000000 --status INACTIVE"
}

// Run implements the command.
func (c *MeetingSetCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{}
	if c.Title != nil {
		body["title"] = *c.Title
	}
	if c.Status != "" {
		body["status"] = c.Status
	}
	if c.RecordOnStart != nil {
		body["record_on_start"] = *c.RecordOnStart
	}
	if c.LiveStreamOnStart != nil {
		body["live_stream_on_start"] = *c.LiveStreamOnStart
	}
	if len(body) == 0 {
		return Usagef("nothing to change; see tally meeting set --help")
	}
	return answer(ctx, s, c.Common, below(http.MethodPatch, meetingPath(c.ID, ""), body), printMeeting(s))
}

// MeetingStartCmd is `tally meeting start`.
type MeetingStartCmd struct {
	Common
	ID   string `arg:"" help:"The meeting's id."`
	Name string `placeholder:"NAME" help:"A name for its livestream; acts at the first start."`
}

// Help implements kong.HelpProvider.
func (MeetingStartCmd) Help() string {
	return `Starts the meeting's livestream, which then awaits an encoder with its key, for half an
hour unless set otherwise.

Example:

  tally meeting start 6d2d3e4f-0000-4000-8000-000000000000`
}

// Run implements the command.
func (c *MeetingStartCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{}
	if c.Name != "" {
		body["name"] = c.Name
	}
	return answer(ctx, s, c.Common, below(http.MethodPost, meetingPath(c.ID, "/livestreams"), body), func(l Livestream, _ Paging) error {
		printLivestream(s, l)
		return nil
	})
}

// MeetingStopCmd is `tally meeting stop`.
type MeetingStopCmd struct {
	Common
	ID string `arg:"" help:"The meeting's id."`
}

// Help implements kong.HelpProvider.
func (MeetingStopCmd) Help() string {
	return "Example:\n\n  tally meeting stop 6d2d3e4f-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *MeetingStopCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodPost, meetingPath(c.ID, "/active-livestream/stop"), nil), func(d message, _ Paging) error {
		s.Printf("%s\n", printable(d.Message))
		return nil
	})
}

// MeetingActiveCmd is `tally meeting active`.
type MeetingActiveCmd struct {
	Common
	ID string `arg:"" help:"The meeting's id."`
}

// Help implements kong.HelpProvider.
func (MeetingActiveCmd) Help() string {
	return `Shows the livestream of a meeting that was started: it awaits its encoder, is on air, or
has failed and was not stopped yet. Exit code 1 when there is none.

Example:

  tally meeting active 6d2d3e4f-0000-4000-8000-000000000000`
}

// Run implements the command.
func (c *MeetingActiveCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodGet, meetingPath(c.ID, "/active-livestream")+withTally, nil), func(l Livestream, _ Paging) error {
		printLivestream(s, l)
		if l.Status == "ERRORED" {
			s.Printf("It failed. Why: tally livestream show %s\n", printable(l.ID))
		}
		return nil
	})
}

func printMeeting(s *Streams) func(Meeting, Paging) error {
	return func(m Meeting, _ Paging) error {
		s.Printf("%s  %s\n", m.Status, cmp.Or(printable(m.Title), "(no title)"))
		s.field("id", m.ID)
		s.field("records", yesNo(m.RecordOnStart))
		s.field("goes live", yesNo(m.LiveStreamOnStart))
		s.field("created", whenExactly(m.CreatedAt))
		return nil
	}
}
