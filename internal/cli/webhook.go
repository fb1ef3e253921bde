package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Webhook is the webhook object of the API.
type Webhook struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	URL       string     `json:"url"`
	Events    []string   `json:"events"`
	Enabled   bool       `json:"enabled"`
	CreatedAt *time.Time `json:"created_at"`
	Secret    string     `json:"secret"` // in the answer of create alone
}

// webhookPath is a path below a webhook.
func webhookPath(id, more string) string { return "webhooks/" + url.PathEscape(id) + more }

// WebhookCreateCmd is `tally webhook create`.
type WebhookCreateCmd struct {
	Common
	Name     string   `arg:"" help:"A name for people."`
	URL      string   `arg:"" name:"url" help:"Where events are sent."`
	Event    []string `enum:"${events}" default:"livestreaming.statusUpdate" placeholder:"EVENT" help:"Which events; may be repeated (${default})."`
	Disabled bool     `help:"Create it switched off."`
}

// Help implements kong.HelpProvider.
func (WebhookCreateCmd) Help() string {
	return `Each event goes to every webhook that asks for it, signed, at least once, those of one
livestream in order. livestreaming.statusUpdate says LIVE and OFFLINE;
livestreaming.healthUpdate tells of an encoder that went away and came back. The events
of meetings and recordings are taken and kept for later.

Example:

  tally webhook create website https://www.example.org/hooks/tally`
}

// Run implements the command.
func (c *WebhookCreateCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{"name": c.Name, "url": c.URL, "events": c.Event, "enabled": !c.Disabled}
	return answer(ctx, s, c.Common, below(http.MethodPost, "webhooks", body), printWebhook(s))
}

// WebhookListCmd is `tally webhook list`.
type WebhookListCmd struct {
	Common
}

// Help implements kong.HelpProvider.
func (WebhookListCmd) Help() string { return "Example:\n\n  tally webhook list" }

// Run implements the command.
func (c *WebhookListCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodGet, "webhooks", nil), func(hooks []Webhook, p Paging) error {
		var rows [][]string
		for _, h := range hooks {
			rows = append(rows, []string{h.ID, h.Name, yesNo(h.Enabled), h.URL, strings.Join(h.Events, ", ")})
		}
		return s.list("ID|NAME|ENABLED|URL|EVENTS", rows, p, "none; make one with `tally webhook create NAME URL`")
	})
}

// WebhookShowCmd is `tally webhook show`.
type WebhookShowCmd struct {
	Common
	ID string `arg:"" help:"The webhook's id."`
}

// Help implements kong.HelpProvider.
func (WebhookShowCmd) Help() string {
	return "Example:\n\n  tally webhook show 8f4f5061-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *WebhookShowCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodGet, webhookPath(c.ID, ""), nil), printWebhook(s))
}

// WebhookSetCmd is `tally webhook set`.
type WebhookSetCmd struct {
	Common
	ID      string   `arg:"" help:"The webhook's id."`
	Name    *string  `placeholder:"NAME" help:"A new name."`
	URL     *string  `name:"url" placeholder:"URL" help:"A new address."`
	Event   []string `enum:"${events}" placeholder:"EVENT" help:"These events instead; may be repeated."`
	Enabled *bool    `negatable:"" help:"Switch it on or off."`
}

// Help implements kong.HelpProvider.
func (WebhookSetCmd) Help() string {
	return "Example:\n\n  tally webhook set 8f4f5061-0000-4000-8000-000000000000 --no-enabled"
}

// Run implements the command.
func (c *WebhookSetCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{}
	if c.Name != nil {
		body["name"] = *c.Name
	}
	if c.URL != nil {
		body["url"] = *c.URL
	}
	if len(c.Event) > 0 {
		body["events"] = c.Event
	}
	if c.Enabled != nil {
		body["enabled"] = *c.Enabled
	}
	if len(body) == 0 {
		return Usagef("nothing to change; see tally webhook set --help")
	}
	return answer(ctx, s, c.Common, below(http.MethodPatch, webhookPath(c.ID, ""), body), printWebhook(s))
}

// WebhookDeleteCmd is `tally webhook delete`.
type WebhookDeleteCmd struct {
	Common
	Sure
	ID string `arg:"" help:"The webhook's id."`
}

// Help implements kong.HelpProvider.
func (WebhookDeleteCmd) Help() string {
	return "Example:\n\n  tally webhook delete 8f4f5061-0000-4000-8000-000000000000 --yes"
}

// Run implements the command.
func (c *WebhookDeleteCmd) Run(ctx context.Context, s *Streams) error {
	err := c.confirm(s, fmt.Sprintf("Webhook %s is deleted, with what it was still to be sent.", printable(c.ID)))
	if err != nil {
		return err
	}
	return answer(ctx, s, c.Common, below(http.MethodDelete, webhookPath(c.ID, ""), nil), func(h Webhook, _ Paging) error {
		s.Printf("deleted %s  %s\n", h.ID, printable(h.Name))
		return nil
	})
}

func printWebhook(s *Streams) func(Webhook, Paging) error {
	return func(h Webhook, _ Paging) error {
		s.Printf("%s\n", printable(h.Name))
		s.field("id", h.ID)
		s.field("url", h.URL)
		s.field("enabled", yesNo(h.Enabled))
		s.field("events", strings.Join(h.Events, ", "))
		s.field("created", whenExactly(h.CreatedAt))
		if h.Secret != "" {
			s.field("secret", h.Secret)
			s.Printf("The secret keys the HMAC of each delivery. It is shown once.\n")
		}
		return nil
	}
}
