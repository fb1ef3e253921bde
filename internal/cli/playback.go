package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// A PlaybackKey is a key of an app's playback tokens. Its secret is in the answer
// of create alone.
type PlaybackKey struct {
	ID        string     `json:"id"`
	KID       *string    `json:"kid"`
	Name      *string    `json:"name"`
	Algorithm string     `json:"algorithm"`
	JWKSURL   *string    `json:"jwks_url"`
	Managed   bool       `json:"managed"`
	CreatedAt *time.Time `json:"created_at"`
	Secret    *string    `json:"secret"`
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// PlaybackKeyCreateCmd is `tally playback key create`.
type PlaybackKeyCreateCmd struct {
	Common
	Name      string `arg:"" optional:"" placeholder:"NAME" help:"A name for people: who signs with it."`
	PublicKey string `xor:"public" placeholder:"FILE" help:"For RS256: a public key as PEM, JWK or JWKS; - reads it from stdin."`
	JWKSURL   string `name:"jwks-url" xor:"public" placeholder:"URL" help:"For RS256: where a JWKS is, by https."`
	KID       string `name:"kid" placeholder:"KID" help:"What tokens name the key by (unset: its id)."`
}

// Help implements kong.HelpProvider.
func (PlaybackKeyCreateCmd) Help() string {
	return `Without a public key it makes an HS256 secret and prints it once. It needs a token with
the scope admin.

Examples:

  tally playback key create website
  tally playback key create "identity provider" --jwks-url https://idp.example.com/.well-known/jwks.json
  tally playback key create backend --public-key backend.pem --kid backend-1`
}

// Run implements the command.
func (c *PlaybackKeyCreateCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{"name": c.Name, "algorithm": "HS256"}
	if c.KID != "" {
		body["kid"] = c.KID
	}
	switch {
	case c.PublicKey == "-":
		text, err := readAll(s.In, maxKeyFile)
		if err != nil {
			return err
		}
		body["algorithm"], body["public_key"] = "RS256", text
	case c.PublicKey != "":
		f, err := os.Open(c.PublicKey)
		if err != nil {
			return err
		}
		defer f.Close()
		text, err := readAll(f, maxKeyFile)
		if err != nil {
			return err
		}
		body["algorithm"], body["public_key"] = "RS256", text
	case c.JWKSURL != "":
		body["algorithm"], body["jwks_url"] = "RS256", c.JWKSURL
	}
	return answer(ctx, s, c.Common, below(http.MethodPost, "playback-keys", body), func(k PlaybackKey, _ Paging) error {
		printPlaybackKey(s, k)
		if k.Secret != nil {
			s.Printf("\n%s\n\n", *k.Secret)
			s.Printf("This is the secret that tokens are signed with. It is shown once. Its text is the key, as it stands.\n")
		}
		return nil
	})
}

func printPlaybackKey(s *Streams, k PlaybackKey) {
	s.Printf("%s\n", cmp.Or(printable(textOf(k.Name)), "(no name)"))
	s.field("id", k.ID)
	s.field("algorithm", k.Algorithm)
	s.field("kid", cmp.Or(textOf(k.KID), "those of the JWKS"))
	if k.JWKSURL != nil {
		s.field("JWKS", *k.JWKSURL)
	}
	s.field("created", whenExactly(k.CreatedAt))
}

// PlaybackKeyListCmd is `tally playback key list`.
type PlaybackKeyListCmd struct{ Common }

// Help implements kong.HelpProvider.
func (PlaybackKeyListCmd) Help() string { return "Example:\n\n  tally playback key list" }

// Run implements the command.
func (c *PlaybackKeyListCmd) Run(ctx context.Context, s *Streams) error {
	return answer(ctx, s, c.Common, below(http.MethodGet, "playback-keys", nil), func(keys []PlaybackKey, p Paging) error {
		var rows [][]string
		for _, k := range keys {
			from := cmp.Or(textOf(k.JWKSURL), "given")
			switch {
			case k.Managed:
				from = "made for `tally playback sign`"
			case k.Algorithm == "HS256":
				from = "made here"
			}
			rows = append(rows, []string{k.ID, textOf(k.Name), k.Algorithm, cmp.Or(textOf(k.KID), "-"), from, when(k.CreatedAt)})
		}
		return s.list("ID|NAME|ALGORITHM|KID|KEY|CREATED", rows, p, "none: `tally playback sign` makes one when it is needed")
	})
}

// PlaybackKeyDeleteCmd is `tally playback key delete`.
type PlaybackKeyDeleteCmd struct {
	Common
	Sure
	ID string `arg:"" help:"The key's id."`
}

// Help implements kong.HelpProvider.
func (PlaybackKeyDeleteCmd) Help() string {
	return `Its tokens let nobody in any more. Who is watching goes on: to end that too, revoke.

Example:

  tally playback key delete 0b6c1e52-0000-4000-8000-000000000000 --yes`
}

// Run implements the command.
func (c *PlaybackKeyDeleteCmd) Run(ctx context.Context, s *Streams) error {
	if err := c.confirm(s, fmt.Sprintf("Tokens that were signed with key %s let nobody in any more.", printable(c.ID))); err != nil {
		return err
	}
	del := below(http.MethodDelete, "playback-keys/"+url.PathEscape(c.ID), nil)
	return answer(ctx, s, c.Common, del, func(k PlaybackKey, _ Paging) error {
		s.Printf("deleted %s  %s\n", k.ID, printable(textOf(k.Name)))
		return nil
	})
}

// PlaybackSignCmd is `tally playback sign`.
type PlaybackSignCmd struct {
	Common
	ID      string `arg:"" help:"The livestream's id."`
	Viewer  string `placeholder:"NAME" help:"Who it is for, at most 128 bytes; by this name it can be revoked."`
	Expires string `default:"1h" placeholder:"TIME" help:"Until when the token lets in, at most 7 days from now: 2h, 7d, a date, or RFC 3339 (${default})."`
	PlayFor string `placeholder:"TIME" help:"How long who was let in may play: 12h, 3d (unset: as long as the token lets in)."`
}

// Help implements kong.HelpProvider.
func (PlaybackSignCmd) Help() string {
	return `Signs a playback token on the server and prints the addresses that hold it: for a
browser, and for a player.

Examples:

  tally playback sign 5c1c2d3e-0000-4000-8000-000000000000 --viewer alice --expires 2h
  tally playback sign 5c1c2d3e-0000-4000-8000-000000000000 --expires 5m --play-for 12h`
}

// A SignedToken is the answer to it.
type SignedToken struct {
	Token       string     `json:"token"`
	PlaybackURL string     `json:"playback_url"`
	WatchURL    string     `json:"watch_url"`
	Viewer      *string    `json:"viewer"`
	ExpiresAt   *time.Time `json:"expires_at"`
	PlayUntil   *time.Time `json:"play_until"`
	Policy      string     `json:"playback_policy"`
}

// Run implements the command.
func (c *PlaybackSignCmd) Run(ctx context.Context, s *Streams) error {
	now := time.Now()
	until, err := future("--expires", c.Expires, now)
	if err != nil {
		return err
	}
	body := map[string]any{"expires_in": wholeSeconds(until.Sub(now))}
	if c.PlayFor != "" {
		span, ok := parseSpan(c.PlayFor)
		if !ok || span == 0 {
			return Usagef("--play-for %q must be a span such as 12h or 3d", c.PlayFor)
		}
		body["play_for"] = wholeSeconds(span)
	}
	if c.Viewer != "" {
		body["viewer"] = c.Viewer
	}
	post := below(http.MethodPost, livestreamPath(c.ID, "playback-tokens"), body)
	return answer(ctx, s, c.Common, post, func(t SignedToken, _ Paging) error {
		s.field("watch", t.WatchURL)
		s.field("player", t.PlaybackURL)
		if t.Viewer != nil {
			s.field("viewer", *t.Viewer)
		}
		s.field("lets in", "until "+whenExactly(t.ExpiresAt))
		s.field("plays", "until "+whenExactly(t.PlayUntil))
		if t.Policy != "signed" {
			fmt.Fprintf(s.Err, "The livestream is public: it plays without a token too. `tally livestream set %s --playback-policy signed` makes it private.\n", c.ID)
		}
		return nil
	})
}

// wholeSeconds is how many seconds d lasts, a begun one included.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// PlaybackRevokeCmd is `tally playback revoke`.
type PlaybackRevokeCmd struct {
	Common
	Sure
	ID       string `arg:"" help:"The livestream's id."`
	Viewer   string `xor:"whom" required:"" placeholder:"NAME" help:"Whoever was let in under that name, and its tokens."`
	ViewerID string `name:"viewer-id" xor:"whom" required:"" placeholder:"ID" help:"One player, as audits show it, its token, and who else came with this token."`
	All      bool   `xor:"whom" required:"" help:"Everybody, and every token that was signed up to now."`
}

// Help implements kong.HelpProvider.
func (PlaybackRevokeCmd) Help() string {
	return `Takes back what was allowed up to now: players stop within a second. Tokens that are
signed later let in again. --viewer-id takes back one token: who has another comes back
with that, so where your site signs a new one for each page, take back the name.

Examples:

  tally playback revoke 5c1c2d3e-0000-4000-8000-000000000000 --viewer alice --yes
  tally playback revoke 5c1c2d3e-0000-4000-8000-000000000000 --all --yes`
}

// Run implements the command.
func (c *PlaybackRevokeCmd) Run(ctx context.Context, s *Streams) error {
	body, whom := map[string]any{"all": true}, "everybody"
	switch {
	case c.Viewer != "":
		body, whom = map[string]any{"viewer": c.Viewer}, "viewer "+c.Viewer
	case c.ViewerID != "":
		body, whom = map[string]any{"viewer_id": c.ViewerID}, "viewer id "+c.ViewerID
	}
	if err := c.confirm(s, fmt.Sprintf("For %s, playback of %s ends now.", printable(whom), printable(c.ID))); err != nil {
		return err
	}
	post := below(http.MethodPost, livestreamPath(c.ID, "playback-revocations"), body)
	return answer(ctx, s, c.Common, post, func(r Revocation, _ Paging) error {
		s.Printf("revoked %s, as of %s\n", printable(whom), whenExactly(r.At))
		return nil
	})
}

// A Revocation is what was taken back, of whom and when.
type Revocation struct {
	Kind      string     `json:"kind"`
	Viewer    *string    `json:"viewer"`
	ViewerID  *string    `json:"viewer_id"`
	At        *time.Time `json:"at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// PlaybackRevokedCmd is `tally playback revoked`.
type PlaybackRevokedCmd struct {
	Common
	ID string `arg:"" help:"The livestream's id."`
}

// Help implements kong.HelpProvider.
func (PlaybackRevokedCmd) Help() string {
	return `What was allowed up to the time shown is taken back. After 7 days nothing of before it
could be good any more, and it leaves the list.

Example:

  tally playback revoked 5c1c2d3e-0000-4000-8000-000000000000`
}

// Run implements the command.
func (c *PlaybackRevokedCmd) Run(ctx context.Context, s *Streams) error {
	get := below(http.MethodGet, livestreamPath(c.ID, "playback-revocations"), nil)
	return answer(ctx, s, c.Common, get, func(all []Revocation, p Paging) error {
		var rows [][]string
		for _, r := range all {
			whom := "everybody"
			switch {
			case r.Viewer != nil:
				whom = "viewer " + *r.Viewer
			case r.ViewerID != nil:
				whom = "viewer id " + *r.ViewerID
			}
			rows = append(rows, []string{whom, whenExactly(r.At), when(r.ExpiresAt)})
		}
		return s.list("WHOM|UP TO|LISTED UNTIL", rows, p, "nothing is revoked")
	})
}

// maxKeyFile is the most that is read of a public key.
const maxKeyFile = 64 << 10

// readAll reads a text; what is longer than most is cut, and refused by whoever
// parses it.
func readAll(r io.Reader, most int64) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, most))
	return string(b), err
}

// Private is who may watch.
type Private struct {
	PlaybackPolicy string   `enum:",public,signed" default:"" placeholder:"POLICY" help:"Who may watch: public (the default), or signed: whoever brings a playback token."`
	AllowedOrigin  []string `sep:"none" placeholder:"ORIGIN" help:"A page that may play it, such as https://example.org; may be repeated. any lifts the restriction."`
}

// addTo puts what is given into a body's "tally".
func (p Private) addTo(body map[string]any) {
	if p.PlaybackPolicy != "" {
		tallyOf(body)["playback_policy"] = p.PlaybackPolicy
	}
	switch {
	case len(p.AllowedOrigin) == 1 && strings.EqualFold(p.AllowedOrigin[0], "any"):
		tallyOf(body)["allowed_origins"] = []string{}
	case len(p.AllowedOrigin) > 0:
		tallyOf(body)["allowed_origins"] = p.AllowedOrigin
	}
}
