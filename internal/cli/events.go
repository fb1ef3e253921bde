package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// EventsCmd is `tally events`.
type EventsCmd struct {
	Common
	After  int64 `default:"0" placeholder:"N" help:"Begin behind this number (${default}: with the oldest that is kept)."`
	Follow bool  `short:"f" help:"Go on with what happens, until Ctrl-C."`
}

// Help implements kong.HelpProvider.
func (EventsCmd) Help() string {
	return `Every event of the app, whether a webhook asked for it or not: nothing depends on a
delivery. With --json each event is one line of JSON.

Example:

  tally events --after 41 --follow`
}

// An event is what happened, as webhooks are told (contract 5.6).
type event struct {
	Seq        int64      `json:"seq"`
	At         *time.Time `json:"at"`
	Event      string     `json:"event"`
	StreamID   string     `json:"streamId"`
	Status     string     `json:"status"`
	Health     string     `json:"health"`
	ErrMessage string     `json:"errMessage"`
}

const (
	eventsPage  = 100
	eventsEvery = time.Second // how often --follow asks
)

// Run implements the command.
func (c *EventsCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	told := ""
	for after := c.After; ; {
		n, last, err := c.page(ctx, s, api, after)
		var refused *StatusError
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how it ends
		case err != nil && (!c.Follow || errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests):
			return err
		case err != nil:
			if text := oneLine(err); text != told { // the server may come back
				fmt.Fprintln(s.Err, text)
				told = text
			}
		case n > 0:
			after, told = last, ""
			continue
		case !c.Follow:
			if after == c.After && !c.JSON {
				s.Printf("none after number %d\n", after)
			}
			return nil
		default:
			told = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(eventsEvery):
		}
	}
}

// page prints the events behind a number and returns how many there were, and
// the last one's number.
func (c *EventsCmd) page(ctx context.Context, s *Streams, api *Client, after int64) (n int, last int64, err error) {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(eventsPage)}}
	var events []json.RawMessage
	if _, err := api.call(ctx, call{http.MethodGet, api.url("events?" + query.Encode()), nil}, &events); err != nil {
		return 0, 0, err
	}
	last = after
	for _, raw := range events {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			return 0, 0, fmt.Errorf("read event: %w", err)
		}
		last = max(last, e.Seq)
		if c.JSON {
			s.Printf("%s\n", raw)
			continue
		}
		text := cmp.Or(e.Health, e.Status)
		if e.ErrMessage != "" {
			text += "  " + e.ErrMessage
		}
		s.Printf("%-6d %s  %-26s  %s  %s\n", e.Seq, when(e.At), printable(e.Event), printable(e.StreamID), printable(text))
	}
	if last == after {
		return 0, last, nil // nothing new, or a server that counts differently: no endless loop
	}
	return len(events), last, nil
}
