package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tally/internal/cli/shape"
)

// MirrorCmd is `tally mirror`.
type MirrorCmd struct {
	APIFlags
	FromFlags
	Read      []string `arg:"" help:"What to read: livestreams, livestream ID, active ID, session ID, meetings, meeting ID, meeting-active ID, meeting-livestream ID, apps, webhooks, analytics, analytics-daily, or a path below the app, with {id} where ids differ."`
	IDThere   string   `name:"id-there" placeholder:"ID" help:"The id at the source, where it differs."`
	IDHere    string   `name:"id-here" placeholder:"ID" help:"The id here, where it differs."`
	ShapeOnly bool     `help:"Leave out values: keys, addresses and times always differ."`
	JSON      bool     `name:"json" help:"Print the differences as JSON."`
}

// Help implements kong.HelpProvider.
func (MirrorCmd) Help() string {
	return `Sends one GET to the source and to this server, and prints where the answers differ in
shape (missing, only here, type) and in value. Exit code 1 when the shapes or statuses differ.

Examples, with the source in TALLY_FROM_BASE, _TOKEN, _ACCOUNT and _APP:

  tally mirror livestreams --shape-only
  tally mirror active --id-there ID --id-here ID
  tally mirror 'meetings/{id}/active-livestream' --id-there ID --id-here ID`
}

// reads are the reads that have a name.
var reads = map[string]string{
	"livestreams":        "livestreams",
	"livestream":         "livestreams/{id}",
	"active":             "livestreams/{id}/active-livestream-session",
	"session":            "livestreams/sessions/{id}",
	"meetings":           "meetings",
	"meeting":            "meetings/{id}",
	"meeting-active":     "meetings/{id}/active-livestream",
	"meeting-livestream": "meetings/{id}/livestream",
	"webhooks":           "webhooks",
	"analytics":          "analytics/livestreams/overall",
	"analytics-daily":    "analytics/livestreams/daywise",
	"apps":               "apps", // beside the app, not below it
}

// A mirrored is what `tally mirror --json` prints.
type mirrored struct {
	Read        string             `json:"read"`
	There       int                `json:"status_there"`
	Here        int                `json:"status_here"`
	SameShape   bool               `json:"same_shape"`
	Differences []shape.Difference `json:"differences"`
}

// Run implements the command.
func (c *MirrorCmd) Run(ctx context.Context, s *Streams) error {
	pattern, there, here, err := c.target()
	if err != nil {
		return err
	}
	from, err := c.source(func(text string) { fmt.Fprintln(s.Err, text) })
	if err != nil {
		return err
	}
	own, err := c.client()
	if err != nil {
		return err
	}
	a, statusA, err := read(ctx, from, pattern, there)
	if err != nil {
		return atSource(err)
	}
	b, statusB, err := read(ctx, own, pattern, here)
	if err != nil {
		return err
	}
	m := mirrored{Read: pattern, There: statusA, Here: statusB, Differences: shape.Shapes(a, b)}
	m.SameShape = len(m.Differences) == 0 && statusA == statusB
	if !c.ShapeOnly {
		m.Differences = append(m.Differences, shape.Values(a, b)...)
		slices.SortStableFunc(m.Differences, func(x, y shape.Difference) int { return strings.Compare(x.Path, y.Path) })
	}
	return m.print(s, c)
}

// target is the path to read, with {id} where an id goes, and the id on each
// side.
func (c *MirrorCmd) target() (pattern, there, here string, err error) {
	pattern, named := reads[c.Read[0]]
	if !named {
		pattern = strings.TrimPrefix(c.Read[0], "/")
	}
	var id string
	switch {
	case len(c.Read) > 2, len(c.Read) == 2 && !(named && strings.Contains(pattern, "{id}")):
		return "", "", "", Usagef("%q takes no id: give one of the named reads, or a path below the app as one word", c.Read[0])
	case len(c.Read) == 2:
		id = c.Read[1]
	}
	there, here = cmp.Or(c.IDThere, id), cmp.Or(c.IDHere, id)
	if strings.Contains(pattern, "{id}") && (there == "" || here == "") {
		return "", "", "", Usagef("%s needs an id: give it behind the name, or --id-there and --id-here", c.Read[0])
	}
	if !named && (strings.Contains(pattern, "://") || slices.Contains(strings.Split(pattern, "/"), "..")) {
		return "", "", "", Usagef("%q must be a path below the app, such as livestreams?status=LIVE", c.Read[0])
	}
	return pattern, there, here, nil
}

// read GETs a path from one side and returns the answer as JSON. Statuses are
// part of what is compared, so none is an error.
func read(ctx context.Context, c *Client, pattern, id string) (any, int, error) {
	address := c.url(strings.ReplaceAll(pattern, "{id}", url.PathEscape(id)))
	if pattern == reads["apps"] {
		address = c.kitURL("apps")
	}
	raw, err := c.send(ctx, call{http.MethodGet, address, nil})
	if err != nil {
		return nil, 0, err
	}
	if raw.status == http.StatusUnauthorized {
		return nil, 0, &StatusError{Status: raw.status}
	}
	v, err := shape.Parse(raw.body)
	if err != nil {
		return nil, 0, &notJSONError{raw.host, raw.status}
	}
	return v, raw.status, nil
}

func (m mirrored) print(s *Streams, c *MirrorCmd) error {
	if c.JSON {
		if m.Differences == nil {
			m.Differences = []shape.Difference{}
		}
		if err := s.JSON(m); err != nil {
			return err
		}
	} else {
		s.Printf("GET %s: %d there, %d here\n", printable(m.Read), m.There, m.Here)
		m.table(s)
	}
	if !m.SameShape {
		return QuietError{}
	}
	return nil
}

// table prints the differences. Paths can be long, so the columns are no wider
// than what is in them.
func (m mirrored) table(s *Streams) {
	if len(m.Differences) == 0 {
		s.Printf("no difference\n")
		return
	}
	var rows [][]string
	ofShape := 0
	for _, d := range m.Differences {
		if d.Kind != shape.Value {
			ofShape++
		}
		rows = append(rows, []string{cmp.Or(d.Path, "(answer)"), string(d.Kind), d.There, d.Here})
	}
	s.table("PATH|DIFFERS IN|THERE|HERE", rows)
	s.Printf("%d of shape, %d of value\n", ofShape, len(rows)-ofShape)
}
