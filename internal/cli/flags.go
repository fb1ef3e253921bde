package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
)

// APIFlags say which server to talk to and as whom. What they leave open is
// read from the credentials that a server on this machine wrote.
type APIFlags struct {
	APIBase   string `name:"api-base" env:"TALLY_API_BASE" placeholder:"URL" help:"The API, ending in /client/v4."`
	APIToken  string `name:"api-token" aliases:"token" env:"TALLY_API_TOKEN" placeholder:"TOKEN" help:"API token."`
	AccountID string `env:"TALLY_ACCOUNT_ID" placeholder:"ID" help:"Account id."`
	AppID     string `env:"TALLY_APP_ID" placeholder:"ID" help:"App id."`
	DataDir   string `env:"TALLY_DATA_DIR" default:"./tally-data" placeholder:"DIR" help:"Where a local server keeps credentials.json, for what is not given (${default})."`
}

// Common is what every command over the API can be told.
type Common struct {
	APIFlags
	JSON bool `name:"json" help:"Print the API's data as it is."`
}

// Credentials is the file a first start leaves in the data directory.
type Credentials struct {
	APIBase   string `json:"api_base"` // ends in /client/v4
	AccountID string `json:"account_id"`
	AppID     string `json:"app_id"`
	APIToken  string `json:"api_token"`
}

// CredentialsFile is the path of the credentials below a data directory.
func CredentialsFile(dataDir string) string { return filepath.Join(dataDir, "credentials.json") }

// ReadCredentials reads the credentials of a data directory. The error wraps
// fs.ErrNotExist where there are none.
func ReadCredentials(dataDir string) (Credentials, error) {
	path := CredentialsFile(dataDir)
	text, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, err
	}
	var c Credentials
	if err := json.Unmarshal(text, &c); err != nil {
		return Credentials{}, fmt.Errorf("%s is damaged (%v): restore it, or give --api-base, --account-id, --app-id and --api-token", path, err)
	}
	return c, nil
}

// client resolves the flags to a client of an app.
func (f APIFlags) client() (*Client, error) {
	return f.resolve("--api-base, --account-id, --app-id and --api-token",
		func(c Credentials) bool { return c.AppID != "" })
}

// accountClient resolves the flags to a client for what hangs on the account
// alone: apps and tokens.
func (f APIFlags) accountClient() (*Client, error) {
	return f.resolve("--api-base, --account-id and --api-token", func(Credentials) bool { return true })
}

func (f APIFlags) resolve(needed string, enough func(Credentials) bool) (*Client, error) {
	c := Credentials{APIBase: f.APIBase, AccountID: f.AccountID, AppID: f.AppID, APIToken: f.APIToken}
	if c.APIBase != "" && c.AccountID != "" && c.APIToken != "" && enough(c) {
		return NewClient(c)
	}
	local, err := ReadCredentials(f.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no credentials: %s does not exist; give --data-dir of a local server, or %s", CredentialsFile(f.DataDir), needed)
	}
	if err != nil {
		return nil, err
	}
	if c.APIToken == "" && c.APIBase != "" && !sameServer(c.APIBase, local.APIBase) {
		return nil, fmt.Errorf("--api-base is not the server of %s, whose token is for that one alone: give %s", CredentialsFile(f.DataDir), needed)
	}
	c.APIBase = cmp.Or(c.APIBase, local.APIBase)
	c.AccountID = cmp.Or(c.AccountID, local.AccountID)
	c.AppID = cmp.Or(c.AppID, local.AppID)
	c.APIToken = cmp.Or(c.APIToken, local.APIToken)
	return NewClient(c)
}

// sameServer reports whether two addresses name one host and port; every name
// of this machine's loopback is the same host. A token that was read from a
// file goes nowhere else.
func sameServer(a, b string) bool {
	ua, errA := url.Parse(a)
	ub, errB := url.Parse(b)
	if errA != nil || errB != nil {
		return false
	}
	return ua.Scheme == ub.Scheme && ua.Port() == ub.Port() &&
		(ua.Hostname() == ub.Hostname() || loopback(ua.Hostname()) && loopback(ub.Hostname()))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A call is one request and where it goes.
type call struct {
	method string
	url    string
	body   any // sent as JSON; nil: none
}

// at builds a call from a client: the paths of an app, the kit and the account
// are the client's to know.
type at func(*Client) call

// below is a call below the app.
func below(method, path string, body any) at {
	return func(c *Client) call { return call{method, c.url(path), body} }
}

// answer makes one call as c's flags say and prints what it answered: the data
// as it is with --json, else by print, which gets it decoded.
func answer[T any](ctx context.Context, s *Streams, c Common, where at, print func(T, Paging) error) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	return answerFrom(ctx, s, api, c.JSON, where(api), print)
}

// answerFrom is answer with a client at hand.
func answerFrom[T any](ctx context.Context, s *Streams, api *Client, asJSON bool, k call, print func(T, Paging) error) error {
	var data T
	reply, err := api.call(ctx, k, &data)
	if err != nil {
		return err
	}
	if asJSON {
		return s.JSON(reply.Data)
	}
	return print(data, reply.Paging)
}
