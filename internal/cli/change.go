package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Settings are a livestream's, each with its default where it is not given.
type Settings struct {
	ReconnectWindow *time.Duration `placeholder:"TIME" help:"How long a session waits for an encoder that went away, 0s to 30m (default 60s)."`
	Damping         *time.Duration `placeholder:"TIME" help:"How long the key is refused after a stop, 0s to 5m (default 30s)."`
	AwaitEncoder    *time.Duration `placeholder:"TIME" help:"How long a started livestream waits for its encoder, 1m to 24h (default 30m)."`
	EndlistDelay    *time.Duration `placeholder:"TIME" help:"How long the playlist outlives a clean end, 0s to 10m (default 10s)."`
	DVRWindow       *time.Duration `name:"dvr-window" placeholder:"TIME" help:"How far back viewers can seek, 0s to 12h (default 0s: the server's own 12 s). From the next session on."`
	Keep            *bool          `negatable:"" help:"Keep segments after a session's end, so that it can be played. From the next session on."`
	PublisherPolicy string         `enum:",replace-if-stale,reject,replace" default:"" placeholder:"POLICY" help:"What a second encoder with the same key does; replace-if-stale (the default), reject or replace."`
	Private
}

// addTo puts what is given into a body's "tally", times in whole seconds.
func (t Settings) addTo(body map[string]any) error {
	t.Private.addTo(body)
	if t.PublisherPolicy != "" {
		tallyOf(body)["publisher_policy"] = t.PublisherPolicy
	}
	if t.Keep != nil {
		tallyOf(body)["keep"] = *t.Keep
	}
	for _, set := range []struct {
		flag, name string
		value      *time.Duration
	}{
		{"--reconnect-window", "reconnect_window_seconds", t.ReconnectWindow},
		{"--damping", "damping_seconds", t.Damping},
		{"--await-encoder", "await_encoder_seconds", t.AwaitEncoder},
		{"--endlist-delay", "endlist_delay_seconds", t.EndlistDelay},
		{"--dvr-window", "dvr_window_seconds", t.DVRWindow},
	} {
		if set.value == nil {
			continue
		}
		if *set.value%time.Second != 0 {
			return Usagef("%s %s must be whole seconds", set.flag, *set.value)
		}
		tallyOf(body)[set.name] = int64(*set.value / time.Second)
	}
	return nil
}

// tallyOf is the object under "tally" of a body, made where there is none.
func tallyOf(body map[string]any) map[string]any {
	t, ok := body["tally"].(map[string]any)
	if !ok {
		t = map[string]any{}
		body["tally"] = t
	}
	return t
}

// LivestreamSetCmd is `tally livestream set`.
type LivestreamSetCmd struct {
	Common
	ID   string  `arg:"" help:"The livestream's id."`
	Name *string `placeholder:"NAME" help:"A new name."`
	Settings
}

// Help implements kong.HelpProvider.
func (LivestreamSetCmd) Help() string {
	return `Changes what is given and leaves the rest. Settings hold from now on, for a session
that is on air too; only --dvr-window and --keep hold from the next session on.

Example:

  tally livestream set 5c1c2d3e-0000-4000-8000-000000000000 --reconnect-window 20s`
}

// Run implements the command.
func (c *LivestreamSetCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{}
	if c.Name != nil {
		body["name"] = *c.Name
	}
	if err := c.Settings.addTo(body); err != nil {
		return err
	}
	if len(body) == 0 {
		return Usagef("nothing to change: give --name or a setting; see tally livestream set --help")
	}
	patch := below(http.MethodPatch, livestreamPath(c.ID)+withTally, body)
	return answer(ctx, s, c.Common, patch, func(l Livestream, _ Paging) error {
		printLivestream(s, l)
		if (c.DVRWindow != nil || c.Keep != nil) && (l.Status == "LIVE" || l.Status == "INVOKED") {
			fmt.Fprintln(s.Err, "The session that is on air goes on as it began: --dvr-window and --keep hold from the next one on.")
		}
		return nil
	})
}

// LivestreamStopCmd is `tally livestream stop`.
type LivestreamStopCmd struct {
	Common
	ID string `arg:"" help:"The livestream's id."`
}

// Help implements kong.HelpProvider.
func (LivestreamStopCmd) Help() string {
	return `Cuts the encoder and ends the session, or acknowledges one that failed. The key is
refused for a while after, so that the encoder does not come straight back.

Example:

  tally livestream stop 5c1c2d3e-0000-4000-8000-000000000000`
}

// Run implements the command.
func (c *LivestreamStopCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodPost, livestreamPath(c.ID, "stop"), nil), func(d message, _ Paging) error {
		s.Printf("%s\n", printable(d.Message))
		return nil
	})
}

// A message is the data of answers that have nothing but words.
type message struct {
	Message string `json:"message"`
}

// LivestreamEnableCmd is `tally livestream enable`.
type LivestreamEnableCmd struct {
	Common
	ID string `arg:"" help:"The livestream's id."`
}

// Help implements kong.HelpProvider.
func (LivestreamEnableCmd) Help() string {
	return "Also ends the while for which the key is refused after a stop.\n\nExample:\n\n  tally livestream enable 5c1c2d3e-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *LivestreamEnableCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodPut, livestreamPath(c.ID, "enable"), nil), func(l Livestream, _ Paging) error {
		s.Printf("enabled %s  %s\n", l.ID, printable(l.Name))
		return nil
	})
}

// LivestreamDisableCmd is `tally livestream disable`.
type LivestreamDisableCmd struct {
	Common
	ID string `arg:"" help:"The livestream's id."`
}

// Help implements kong.HelpProvider.
func (LivestreamDisableCmd) Help() string {
	return `Cuts the encoder, ends the session, and refuses the key until it is enabled again.

Example:

  tally livestream disable 5c1c2d3e-0000-4000-8000-000000000000`
}

// Run implements the command.
func (c *LivestreamDisableCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodPut, livestreamPath(c.ID, "disable"), nil), func(l Livestream, _ Paging) error {
		s.Printf("disabled %s  %s\n", l.ID, printable(l.Name))
		return nil
	})
}

// LivestreamResetKeyCmd is `tally livestream reset-key`.
type LivestreamResetKeyCmd struct {
	Common
	Sure
	ID string `arg:"" help:"The livestream's id."`
}

// Help implements kong.HelpProvider.
func (LivestreamResetKeyCmd) Help() string {
	return `Makes a new stream key, prints it, and cuts an encoder that has the old one.

Example:

  tally livestream reset-key 5c1c2d3e-0000-4000-8000-000000000000 --yes`
}

// Run implements the command.
func (c *LivestreamResetKeyCmd) Run(ctx context.Context, s *Streams) error {
	err := c.confirm(s, fmt.Sprintf("The old stream key of %s stops working at once, and an encoder that has it is cut.", printable(c.ID)))
	if err != nil {
		return err
	}
	return answer(ctx, s, c.Common, below(http.MethodPost, livestreamPath(c.ID, "reset-stream-key"), nil), func(l Livestream, _ Paging) error {
		s.Printf("new key for %s  %s\n", l.ID, printable(l.Name))
		printEncoder(s, l)
		return nil
	})
}

// LivestreamDeleteCmd is `tally livestream delete`.
type LivestreamDeleteCmd struct {
	Common
	Sure
	ID string `arg:"" help:"The livestream's id."`
}

// Help implements kong.HelpProvider.
func (LivestreamDeleteCmd) Help() string {
	return `For good: its key and its playback address are never used again. Its sessions stay, for
bills. One that is on air must be stopped first.

Example:

  tally livestream delete 5c1c2d3e-0000-4000-8000-000000000000 --yes`
}

// Run implements the command.
func (c *LivestreamDeleteCmd) Run(ctx context.Context, s *Streams) error {
	err := c.confirm(s, fmt.Sprintf("Livestream %s is deleted for good, with its key and its playback address.", printable(c.ID)))
	if err != nil {
		return err
	}
	return answer(ctx, s, c.Common, below(http.MethodDelete, livestreamPath(c.ID), nil), func(l Livestream, _ Paging) error {
		s.Printf("deleted %s  %s\n", l.ID, printable(l.Name))
		return nil
	})
}
