package cli

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// An App is the app object of the API.
type App struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	CreatedAt *time.Time `json:"created_at"`
	Tally     struct {
		Wire string `json:"wire"` // "declared" or "upstream"
	} `json:"tally"`
}

// AppListCmd is `tally app list`.
type AppListCmd struct {
	Common
	Search string `placeholder:"TEXT" help:"Only apps whose name or id has this in it."`
	Page   int    `default:"1" placeholder:"N" help:"Which page of 100 (${default})."`
}

// Help implements kong.HelpProvider.
func (AppListCmd) Help() string { return "Example:\n\n  tally app list" }

// Run implements the command.
func (c *AppListCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.accountClient()
	if err != nil {
		return err
	}
	query := url.Values{"per_page": {"100"}, "page_no": {strconv.Itoa(c.Page)}}
	if c.Search != "" {
		query.Set("search", c.Search)
	}
	get := call{http.MethodGet, api.kitURL("apps?" + query.Encode()), nil}
	return answerFrom(ctx, s, api, c.JSON, get, func(apps []App, p Paging) error {
		var rows [][]string
		for _, a := range apps {
			rows = append(rows, []string{a.ID, a.Name, when(a.CreatedAt)})
		}
		return s.list("ID|NAME|CREATED", rows, p, "none; make one with `tally app create NAME`")
	})
}

// AppCreateCmd is `tally app create`.
type AppCreateCmd struct {
	Common
	Name string `arg:"" help:"A name for people."`
}

// Help implements kong.HelpProvider.
func (AppCreateCmd) Help() string {
	return "Example:\n\n  tally app create \"Parish of St Mary\""
}

// Run implements the command.
func (c *AppCreateCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.accountClient()
	if err != nil {
		return err
	}
	post := call{http.MethodPost, api.kitURL("apps"), map[string]any{"name": c.Name}}
	type data struct {
		App App `json:"app"`
	}
	return answerFrom(ctx, s, api, c.JSON, post, func(d data, _ Paging) error {
		s.Printf("app %s  %s\n", d.App.ID, printable(d.App.Name))
		s.Printf("use it with --app-id %s\n", d.App.ID)
		return nil
	})
}

// AppShowCmd is `tally app show`.
type AppShowCmd struct {
	Common
	ID string `arg:"" optional:"" help:"The app's id (unset: --app-id)."`
}

// Help implements kong.HelpProvider.
func (AppShowCmd) Help() string { return "Example:\n\n  tally app show" }

// Run implements the command.
func (c *AppShowCmd) Run(ctx context.Context, s *Streams) error {
	c.AppID = cmp.Or(c.ID, c.AppID)
	return answer(ctx, s, c.Common, theApp(http.MethodGet, nil), printApp(s))
}

// theApp is a call on the app itself.
func theApp(method string, body any) at {
	return func(c *Client) call { return call{method, c.kitURL(url.PathEscape(c.creds.AppID)), body} }
}

// AppSetCmd is `tally app set`.
type AppSetCmd struct {
	Common
	ID   string  `arg:"" optional:"" help:"The app's id (unset: --app-id)."`
	Name *string `placeholder:"NAME" help:"A new name."`
	Wire string  `enum:",declared,upstream" default:"" placeholder:"DIALECT" help:"How answers are written: declared (as the clients' types say) or upstream (as captured from the real service)."`
}

// Help implements kong.HelpProvider.
func (AppSetCmd) Help() string {
	return `With --wire upstream the list of livestreams is an array, and "disabled" and seconds are
bare booleans and numbers, for programs that were written against what the real service sends.

Example:

  tally app set --wire upstream`
}

// Run implements the command.
func (c *AppSetCmd) Run(ctx context.Context, s *Streams) error {
	body := map[string]any{}
	if c.Name != nil {
		body["name"] = *c.Name
	}
	if c.Wire != "" {
		tallyOf(body)["wire"] = c.Wire
	}
	if len(body) == 0 {
		return Usagef("nothing to change: give --name or --wire")
	}
	c.AppID = cmp.Or(c.ID, c.AppID)
	return answer(ctx, s, c.Common, theApp(http.MethodPatch, body), printApp(s))
}

func printApp(s *Streams) func(App, Paging) error {
	return func(a App, _ Paging) error {
		s.Printf("%s\n", printable(a.Name))
		s.field("id", a.ID)
		s.field("wire", a.Tally.Wire)
		s.field("created", whenExactly(a.CreatedAt))
		return nil
	}
}
