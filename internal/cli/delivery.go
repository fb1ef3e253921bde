package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"tally/internal/livestream"
)

// Vars are what tags of commands refer to: the events that a webhook may ask for.
var Vars = kong.Vars{"events": strings.Join(livestream.EventNames, ",")}

// An attempt is what came of sending an event once.
type attempt struct {
	At     *time.Time `json:"at"`
	TookMs int64      `json:"took_ms"`
	Status int        `json:"status"` // HTTP; 0: no answer
	Error  string     `json:"error"`  // why there was none
	Answer string     `json:"answer"` // the first bytes of its body
}

func (a *attempt) text() string {
	switch {
	case a == nil:
		return "not tried"
	case a.Status == 0:
		return cmp.Or(a.Error, "no answer")
	}
	return fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
}

// WebhookTestCmd is `tally webhook test`.
type WebhookTestCmd struct {
	Common
	ID string `arg:"" help:"The webhook's id."`
}

// Help implements kong.HelpProvider.
func (WebhookTestCmd) Help() string {
	return `Sends a sample event now, signed like a real one and marked "test", and says how it was
answered. Exit code 1 when that was no success. When it is taken, what waits for another
try is sent at once.

Example:

  tally webhook test 8f4f5061-0000-4000-8000-000000000000`
}

// Run implements the command.
func (c *WebhookTestCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var sent struct {
		Delivered bool `json:"delivered"`
		attempt
	}
	reply, err := api.call(ctx, call{http.MethodPost, api.url(webhookPath(c.ID, "/test")), nil}, &sent)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.JSON(reply.Data); err != nil {
			return err
		}
	}
	switch {
	case !sent.Delivered && c.JSON:
		return QuietError{}
	case !sent.Delivered:
		text := "the webhook was not told: " + sent.text()
		if sent.Answer != "" {
			text += ": " + sent.Answer
		}
		return errors.New(printable(text))
	case !c.JSON:
		s.Printf("taken: %s, after %d ms\n", sent.text(), sent.TookMs)
	}
	return nil
}

// A delivery is one event on its way to one webhook.
type delivery struct {
	ID           string     `json:"id"`
	Seq          int64      `json:"seq"`
	Event        string     `json:"event"`
	LivestreamID string     `json:"livestream_id"`
	State        string     `json:"state"`
	Attempts     int        `json:"attempts"`
	NextAt       *time.Time `json:"next_at"`
	Last         *attempt   `json:"last_attempt"`
}

// WebhookDeliveriesCmd is `tally webhook deliveries`.
type WebhookDeliveriesCmd struct {
	Common
	ID   string `arg:"" help:"The webhook's id."`
	Page int    `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
}

// Help implements kong.HelpProvider.
func (WebhookDeliveriesCmd) Help() string {
	return `States: ready (sent at its next try), waiting (behind an earlier event of its livestream),
delivered, failed (refused), given_up (tried for a day).

Example:

  tally webhook deliveries 8f4f5061-0000-4000-8000-000000000000`
}

// Run implements the command.
func (c *WebhookDeliveriesCmd) Run(ctx context.Context, s *Streams) error {
	query := url.Values{"per_page": {"100"}, "page_no": {strconv.Itoa(c.Page)}}
	get := below(http.MethodGet, webhookPath(c.ID, "/deliveries?"+query.Encode()), nil)
	return answer(ctx, s, c.Common, get, func(all []delivery, p Paging) error {
		var rows [][]string
		for _, d := range all {
			var last *time.Time
			if d.Last != nil {
				last = d.Last.At
			}
			rows = append(rows, []string{strconv.FormatInt(d.Seq, 10), d.Event, d.LivestreamID, d.State,
				strconv.Itoa(d.Attempts), when(last), d.Last.text(), when(d.NextAt)})
		}
		return s.list("NUMBER|EVENT|LIVESTREAM|STATE|TRIES|LAST TRY|ANSWER|NEXT TRY", rows, p, "none; nothing was sent yet")
	})
}

// WebhookReplayCmd is `tally webhook replay`.
type WebhookReplayCmd struct {
	Common
	ID    string `arg:"" help:"The webhook's id."`
	After int64  `required:"" placeholder:"N" help:"Send what has a greater number; 0: all that is kept."`
}

// Help implements kong.HelpProvider.
func (WebhookReplayCmd) Help() string {
	return `Queues the events that the webhook asks for once more, in order. "tally events" and
"tally webhook deliveries" show the numbers.

Example:

  tally webhook replay 8f4f5061-0000-4000-8000-000000000000 --after 41`
}

// Run implements the command.
func (c *WebhookReplayCmd) Run(ctx context.Context, s *Streams) error {
	type data struct {
		Queued int   `json:"queued"`
		UpTo   int64 `json:"up_to"`
		More   bool  `json:"more"`
	}
	post := below(http.MethodPost, webhookPath(c.ID, "/replay"), map[string]any{"after": c.After})
	return answer(ctx, s, c.Common, post, func(d data, _ Paging) error {
		s.Printf("queued %d, up to number %d\n", d.Queued, d.UpTo)
		if d.More {
			s.Printf("there is more: go on with --after %d\n", d.UpTo)
		}
		return nil
	})
}
