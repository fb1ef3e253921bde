package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// FromFlags say where livestreams come from: an account of the real service, or
// of another Tally.
type FromFlags struct {
	FromBase    string `required:"" env:"TALLY_FROM_BASE" placeholder:"URL" help:"The API to read from, such as https://api.cloudflare.com/client/v4."`
	FromToken   string `required:"" env:"TALLY_FROM_TOKEN" placeholder:"TOKEN" help:"A token there; reading is enough."`
	FromAccount string `required:"" env:"TALLY_FROM_ACCOUNT" placeholder:"ID" help:"The account there."`
	FromApp     string `required:"" env:"TALLY_FROM_APP" placeholder:"ID" help:"The app there."`
}

// source is a patient client of the other side. say gets its waits.
func (f FromFlags) source(say func(string)) (*Client, error) {
	c, err := NewClient(Credentials{APIBase: f.FromBase, AccountID: f.FromAccount, AppID: f.FromApp, APIToken: f.FromToken})
	if err != nil {
		return nil, Usagef("--from-base %q must be an address such as https://api.cloudflare.com/client/v4", f.FromBase)
	}
	c.bePatient("the source", say)
	return c, nil
}

// sayEvery is how often waits are told at most, unless they are as long: a rate
// limit puts off request after request by a second.
const sayEvery = 5 * time.Second

// bePatient makes the client wait where the server asks for it, and tell say.
func (c *Client) bePatient(who string, say func(string)) {
	var told time.Time
	c.patience = patience{tell: func(wait time.Duration, why string) {
		if now := time.Now(); now.Sub(told) >= sayEvery || wait >= sayEvery {
			told = now
			say(fmt.Sprintf("%s %s; next try in %s", who, why, wait.Round(100*time.Millisecond)))
		}
	}}
}

// atSource tells of an error that it came from the other side, whose flags have
// other names.
func atSource(err error) error {
	var status *StatusError
	var unreachable *unreachableError
	var odd *notJSONError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unreachable):
		return fmt.Errorf("the source does not answer at %s (%w): check --from-base", unreachable.base, unreachable.err)
	case errors.As(err, &odd):
		return fmt.Errorf("the source %s answered %d and no JSON: does --from-base end in /client/v4?", odd.host, odd.status)
	case errors.As(err, &status) && status.Status == http.StatusUnauthorized:
		return errors.New("the source does not know this token: check --from-token and that --from-base is the right server")
	case errors.As(err, &status) && status.Status == http.StatusForbidden:
		return errors.New("the source does not let this token read: check --from-account and --from-app, or use a token with the permission Realtime")
	}
	return fmt.Errorf("at the source: %w", err)
}

const (
	pageSize   = 100     // the most that is answered
	mostToRead = 200_000 // livestreams: a source that never ends is not believed
)

// allLivestreams reads every livestream of the app, oldest first, as the
// official clients do: page by page. Where the answer is the declared object,
// which names one livestream however long the page is, pages of one are asked
// for instead. progress gets how many were read, of how many.
func (c *Client) allLivestreams(ctx context.Context, progress func(n, total int)) ([]Livestream, error) {
	var all []Livestream
	seen := map[string]bool{}
	size, total := pageSize, 0
	for number := 1; ; number++ {
		page, paging, err := c.livestreamPage(ctx, number, size)
		if err != nil {
			return nil, err
		}
		if page.single && size > 1 && paging.TotalCount != 1 {
			size, number = 1, 0
			continue
		}
		before := len(all)
		for _, l := range page.Items {
			if l.ID != "" && !seen[l.ID] {
				seen[l.ID] = true
				all = append(all, l)
			}
		}
		total = max(total, paging.TotalCount)
		progress(len(all), total)
		switch {
		case len(all) > mostToRead:
			return nil, fmt.Errorf("more than %d livestreams", mostToRead)
		case paging.TotalCount > 0 && len(all) >= paging.TotalCount:
			return all, nil
		case len(all) == before || paging.TotalCount == 0 && len(page.Items) < size:
			if len(all) < total {
				return nil, fmt.Errorf("the list says %d livestreams and names %d: did it change meanwhile? Run it again", total, len(all))
			}
			return all, nil
		}
	}
}

func (c *Client) livestreamPage(ctx context.Context, number, size int) (livestreamPage, Paging, error) {
	query := url.Values{"page_no": {strconv.Itoa(number)}, "per_page": {strconv.Itoa(size)}, "sort_order": {"ASC"}}
	var page livestreamPage
	reply, err := c.call(ctx, call{http.MethodGet, c.url("livestreams?" + query.Encode()), nil}, &page)
	if err != nil {
		return livestreamPage{}, Paging{}, err
	}
	paging := page.Paging
	if paging.TotalCount == 0 {
		paging = reply.Paging
	}
	return page, paging, nil
}
