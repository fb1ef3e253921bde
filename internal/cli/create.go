package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// LivestreamCreateCmd is `tally livestream create`.
type LivestreamCreateCmd struct {
	APIFlags
	Name      string        `arg:"" help:"A name for people, at most 255 characters."`
	MeetingID string        `placeholder:"ID" help:"The meeting it belongs to; a meeting has one livestream for life."`
	NoWait    bool          `help:"Do not wait for the encoder."`
	Wait      time.Duration `placeholder:"TIME" help:"Wait at most this long, for example 10m (unset: until Ctrl-C)."`
	Settings
	JSON bool `name:"json" help:"Print the livestream as JSON, and what was measured as a second object."`
}

// Help implements kong.HelpProvider.
func (LivestreamCreateCmd) Help() string {
	return `Prints what OBS needs, waits until the encoder is connected, and says what it sends and
which of its settings to change. Ctrl-C ends the waiting; the livestream stays.

Example:

  tally livestream create "Sunday service"`
}

// Run implements the command.
func (c *LivestreamCreateCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	body := map[string]any{"name": c.Name}
	if err := c.Settings.addTo(body); err != nil {
		return err
	}
	if c.MeetingID != "" {
		tallyOf(body)["meeting_id"] = c.MeetingID
	}
	var l Livestream
	raw, err := api.do(ctx, http.MethodPost, "livestreams", body, &l)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.JSON(raw); err != nil {
			return err
		}
	} else {
		s.Printf("livestream %s  %s\n", l.ID, printable(l.Name))
		s.Printf("In OBS: Settings, Stream, Service \"Custom...\":\n")
		printEncoder(s, l)
	}
	if c.NoWait {
		return nil
	}
	return c.wait(ctx, s, api, l)
}

// wait follows the livestream until its encoder is measured.
func (c *LivestreamCreateCmd) wait(ctx context.Context, s *Streams, api *Client, l Livestream) error {
	waitCtx := ctx
	if c.Wait > 0 {
		var cancel context.CancelFunc
		waitCtx, cancel = context.WithTimeout(ctx, c.Wait)
		defer cancel()
	}
	say := func(format string, args ...any) {
		if !c.JSON {
			s.Printf(format, args...)
		}
	}
	say("waiting for the encoder (Ctrl-C leaves, the livestream stays)\n")
	if err := awaitLive(waitCtx, api, l.ID, say); err != nil {
		return c.waited(ctx, waitCtx, err)
	}
	e, err := awaitEncoder(waitCtx, api, l.ID)
	if err != nil {
		return c.waited(ctx, waitCtx, err)
	}
	if c.JSON {
		return s.JSON(e)
	}
	for _, line := range e.lines() {
		s.Printf("%s\n", line)
	}
	return nil
}

// waited turns the end of the waiting into the command's result: Ctrl-C is no
// failure, the livestream was created.
func (c *LivestreamCreateCmd) waited(ctx, waitCtx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil
	case waitCtx.Err() != nil:
		return fmt.Errorf("no encoder within %s: check that it sends to the server and key above", c.Wait)
	}
	return err
}

// pollEvery is how often the API is asked while a person waits.
const pollEvery = 500 * time.Millisecond

// awaitLive returns nil once the livestream is LIVE. On the way it says what
// goes wrong; the API being away for a moment ends nothing. It asks for the
// livestream, which is there, and not for its session, whose absence would be a
// line in the server's log each time.
func awaitLive(ctx context.Context, api *Client, id string, say func(string, ...any)) error {
	var told string
	tell := func(text string) {
		if text != told {
			say("%s\n", text)
			told = text
		}
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		l, session, err := api.Livestream(ctx, id)
		var refused *StatusError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused):
			return err
		case err != nil:
			tell("  " + oneLine(err))
		case l.Status == "LIVE":
			return nil
		case l.Status == "ERRORED" && session != nil:
			tell("  ✗ " + printable(session.ErrMessage))
		case l.Status == "INVOKED":
			tell("  the encoder is connected; waiting for its first picture")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
