package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Token is the token object of the API. Its text is in the answer of create
// alone.
type Token struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	AppIDs     []string   `json:"app_ids"` // empty: every app of the account
	CreatedAt  *time.Time `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	Text       string     `json:"token"`
}

// state is "in force", "expired" or "revoked", with the time.
func (t Token) state(now time.Time) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked"
	case t.ExpiresAt != nil && !t.ExpiresAt.After(now):
		return "expired"
	}
	return "in force"
}

// tokenURL is an address below the account's tokens.
func (c *Client) tokenURL(rest string) string { return c.accountURL("tally/tokens" + rest) }

// TokenCreateCmd is `tally token create`.
type TokenCreateCmd struct {
	Common
	Name    string   `arg:"" optional:"" default:"made with tally token create" help:"A name for people: who has it, for what."`
	Scope   []string `enum:"admin,realtime,read" default:"realtime" placeholder:"SCOPE" help:"What it may do; read: GET only, stream keys masked; realtime: all in the account's apps; admin: tokens too (${default})."`
	App     []string `placeholder:"ID" help:"Only in this app; may be repeated (unset: every app of the account)."`
	Expires string   `placeholder:"TIME" help:"Until when it is good: 30d, a date, or RFC 3339 (unset: until revoked)."`
}

// Help implements kong.HelpProvider.
func (TokenCreateCmd) Help() string {
	return `Prints the token once: the server keeps only its hash. It needs a token with the scope
admin, such as the one of the first start.

Examples:

  tally token create "Wall display" --scope read --expires 30d
  tally token create "Parish website" --app 0123456789abcdef0123456789abcdef`
}

// scopeNames are the API's names of the scopes.
var scopeNames = map[string]string{"admin": "Realtime Admin", "realtime": "Realtime", "read": "Realtime Read"}

// ScopeNames are the scopes under the API's names.
func (c *TokenCreateCmd) ScopeNames() []string {
	var names []string
	for _, s := range c.Scope {
		names = append(names, scopeNames[s])
	}
	return names
}

// ExpiresAt is when the token ends; zero: never.
func (c *TokenCreateCmd) ExpiresAt(now time.Time) (time.Time, error) {
	if c.Expires == "" {
		return time.Time{}, nil
	}
	return future("--expires", c.Expires, now)
}

// Run implements the command.
func (c *TokenCreateCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.accountClient()
	if err != nil {
		return err
	}
	body := map[string]any{"name": c.Name, "scopes": c.ScopeNames()}
	if len(c.App) > 0 {
		body["app_ids"] = c.App
	}
	expires, err := c.ExpiresAt(time.Now())
	if err != nil {
		return err
	}
	if !expires.IsZero() {
		body["expires_at"] = expires.UTC().Format(time.RFC3339)
	}
	post := call{http.MethodPost, api.tokenURL(""), body}
	return answerFrom(ctx, s, api, c.JSON, post, func(t Token, _ Paging) error {
		PrintNewToken(s, t)
		return nil
	})
}

// PrintNewToken prints a token whose text is known now and never again. The
// text stands on a line of its own, so that it can be copied whole.
func PrintNewToken(s *Streams, t Token) {
	printToken(s, t)
	s.Printf("\n%s\n\n", t.Text)
	s.Printf("This is the token. It is shown once: the server keeps only its hash.\n")
}

// TokenListCmd is `tally token list`.
type TokenListCmd struct {
	Common
	Page int `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
}

// Help implements kong.HelpProvider.
func (TokenListCmd) Help() string { return "Example:\n\n  tally token list" }

// Run implements the command.
func (c *TokenListCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.accountClient()
	if err != nil {
		return err
	}
	query := url.Values{"per_page": {"100"}, "page_no": {strconv.Itoa(c.Page)}}
	get := call{http.MethodGet, api.tokenURL("?" + query.Encode()), nil}
	return answerFrom(ctx, s, api, c.JSON, get, func(tokens []Token, p Paging) error {
		var rows [][]string
		for _, t := range tokens {
			rows = append(rows, []string{t.ID, t.Name, t.state(time.Now()), strings.Join(t.Scopes, ", "), t.apps(),
				when(t.LastUsedAt), when(t.ExpiresAt)})
		}
		return s.list("ID|NAME|STATE|SCOPES|APPS|LAST USED|EXPIRES", rows, p, "none")
	})
}

func (t Token) apps() string { return cmp.Or(strings.Join(t.AppIDs, ", "), "all") }

// TokenShowCmd is `tally token show`.
type TokenShowCmd struct {
	Common
	ID string `arg:"" help:"The token's id, not its text."`
}

// Help implements kong.HelpProvider.
func (TokenShowCmd) Help() string {
	return "Example:\n\n  tally token show 7e3e4f50-0000-4000-8000-000000000000"
}

// Run implements the command.
func (c *TokenShowCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.accountClient()
	if err != nil {
		return err
	}
	get := call{http.MethodGet, api.tokenURL("/" + url.PathEscape(c.ID)), nil}
	return answerFrom(ctx, s, api, c.JSON, get, func(t Token, _ Paging) error {
		printToken(s, t)
		return nil
	})
}

// TokenRevokeCmd is `tally token revoke`.
type TokenRevokeCmd struct {
	Common
	Sure
	ID string `arg:"" help:"The token's id, not its text."`
}

// Help implements kong.HelpProvider.
func (TokenRevokeCmd) Help() string {
	return `Whoever uses the token is refused from the next second on. It cannot be taken back.

Example:

  tally token revoke 7e3e4f50-0000-4000-8000-000000000000 --yes`
}

// Run implements the command.
func (c *TokenRevokeCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.accountClient()
	if err != nil {
		return err
	}
	err = c.confirm(s, fmt.Sprintf("Whoever uses token %s is refused from now on.", printable(c.ID)))
	if err != nil {
		return err
	}
	del := call{http.MethodDelete, api.tokenURL("/" + url.PathEscape(c.ID)), nil}
	return answerFrom(ctx, s, api, c.JSON, del, func(t Token, _ Paging) error {
		s.Printf("revoked %s  %s\n", t.ID, printable(t.Name))
		return nil
	})
}

func printToken(s *Streams, t Token) {
	s.Printf("%s\n", printable(t.Name))
	s.field("id", t.ID)
	s.field("state", t.state(time.Now()))
	s.field("scopes", strings.Join(t.Scopes, ", "))
	s.field("apps", t.apps())
	s.field("created", whenExactly(t.CreatedAt))
	s.field("last used", whenExactly(t.LastUsedAt))
	if t.ExpiresAt == nil {
		s.field("expires", "never")
	} else {
		s.field("expires", whenExactly(t.ExpiresAt))
	}
}
