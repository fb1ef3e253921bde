package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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

// client resolves the flags to a client.
func (f APIFlags) client() (*Client, error) {
	c := Credentials{APIBase: f.APIBase, AccountID: f.AccountID, AppID: f.AppID, APIToken: f.APIToken}
	if c.APIBase == "" || c.AccountID == "" || c.AppID == "" || c.APIToken == "" {
		local, err := ReadCredentials(f.DataDir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no credentials: %s does not exist; give --data-dir of a local server, or --api-base, --account-id, --app-id and --api-token",
				CredentialsFile(f.DataDir))
		}
		if err != nil {
			return nil, err
		}
		c.APIBase = cmpOr(c.APIBase, local.APIBase)
		c.AccountID = cmpOr(c.AccountID, local.AccountID)
		c.AppID = cmpOr(c.AppID, local.AppID)
		c.APIToken = cmpOr(c.APIToken, local.APIToken)
	}
	return NewClient(c)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// A Client reads and writes livestreams over the API. It may be used
// concurrently.
type Client struct {
	creds Credentials
	http  *http.Client
}

// NewClient returns a client for the server that c names.
func NewClient(c Credentials) (*Client, error) {
	u, err := url.Parse(c.APIBase)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, Usagef("--api-base %q must be an address such as http://127.0.0.1:8080/client/v4", c.APIBase)
	}
	c.APIBase = strings.TrimRight(c.APIBase, "/")
	return &Client{creds: c, http: &http.Client{Timeout: 15 * time.Second}}, nil
}

// A Livestream is the livestream object of the API.
type Livestream struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Status       string `json:"status"`
	MeetingID    string `json:"meeting_id"`
	IngestServer string `json:"ingest_server"`
	StreamKey    string `json:"stream_key"`
	PlaybackURL  string `json:"playback_url"`
	CreatedAt    string `json:"created_at"`
}

// WatchURL is the page for people that belongs to the playback address.
func (l Livestream) WatchURL() string {
	base, id, found := strings.Cut(strings.TrimSuffix(l.PlaybackURL, "/index.m3u8"), "/hls/")
	if !found {
		return l.PlaybackURL
	}
	return base + "/watch/" + id
}

// A Session is the session object of the API, in whichever types the endpoint
// declares. A nil time has not happened.
type Session struct {
	ID            string     `json:"id"`
	LivestreamID  string     `json:"livestream_id"`
	ErrMessage    string     `json:"err_message"`
	InvokedTime   *time.Time `json:"invoked_time"`
	StartedTime   *time.Time `json:"started_time"`
	StoppedTime   *time.Time `json:"stopped_time"`
	IngestSeconds Seconds    `json:"ingest_seconds"`
	ViewerSeconds Seconds    `json:"viewer_seconds"`
}

// Seconds decodes from a number or from a number's text.
type Seconds float64

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		*s = 0
		return nil
	}
	v, err := strconv.ParseFloat(text, 64)
	*s = Seconds(v)
	return err
}

// A StatusError is an answer of the API that is not a success.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string {
	switch e.Code {
	case http.StatusUnauthorized:
		return "the server does not know this token: check --api-token and that --api-base is the right server"
	case http.StatusForbidden:
		return "this token may not do that: check --account-id, or use a token with Realtime Admin"
	}
	return fmt.Sprintf("the server answered %d: %s", e.Code, e.Message)
}

// notFound reports whether err is the API's answer 404.
func notFound(err error) bool {
	var s *StatusError
	return errors.As(err, &s) && s.Code == http.StatusNotFound
}

// Active returns the livestream and its open session, or a session that failed
// a moment ago. ok is false when nothing is active.
func (c *Client) Active(ctx context.Context, livestreamID string) (l Livestream, s Session, ok bool, err error) {
	var data struct {
		Livestream Livestream `json:"livestream"`
		Session    Session    `json:"session"`
	}
	_, err = c.do(ctx, http.MethodGet, "livestreams/"+url.PathEscape(livestreamID)+"/active-livestream-session", nil, &data)
	if notFound(err) {
		return Livestream{}, Session{}, false, nil
	}
	return data.Livestream, data.Session, err == nil, err
}

// Livestream returns a livestream and its newest session, nil where it has none.
func (c *Client) Livestream(ctx context.Context, id string) (Livestream, *Session, error) {
	var data struct {
		Livestream Livestream `json:"livestream"`
		Session    *Session   `json:"session"`
	}
	_, err := c.do(ctx, http.MethodGet, "livestreams/"+url.PathEscape(id), nil, &data)
	return data.Livestream, data.Session, err
}

// CreateLivestream makes an independent livestream.
func (c *Client) CreateLivestream(ctx context.Context, name string) (Livestream, error) {
	var l Livestream
	_, err := c.do(ctx, http.MethodPost, "livestreams", map[string]string{"name": name}, &l)
	return l, err
}

// ActiveSessionURL is the address whose answer is the truth about a broadcast.
func (c *Client) ActiveSessionURL(livestreamID string) string {
	return c.url("livestreams/" + url.PathEscape(livestreamID) + "/active-livestream-session")
}

func (c *Client) url(path string) string {
	return fmt.Sprintf("%s/accounts/%s/realtime/kit/%s/%s", c.creds.APIBase,
		url.PathEscape(c.creds.AccountID), url.PathEscape(c.creds.AppID), path)
}

// do sends body as JSON (nil: none) and decodes the answer's data into out
// (nil: not wanted). It returns data as it came.
func (c *Client) do(ctx context.Context, method, path string, body, out any) (json.RawMessage, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url(path), content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.creds.APIToken)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	defer resp.Body.Close()
	return decode(resp, out)
}

// explain turns a failed connection into advice.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("no server at %s (%v): start one with `tally serve`, or give --api-base", c.creds.APIBase, op.Err)
	}
	return err
}

// maxAnswerBytes bounds what is read of an answer; a page of 100 livestreams is
// some 100 KB.
const maxAnswerBytes = 8 << 20

func decode(resp *http.Response, out any) (json.RawMessage, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return nil, fmt.Errorf("%s answered %d and no JSON: is --api-base a Tally server's address ending in /client/v4?",
			resp.Request.URL.Host, resp.StatusCode)
	}
	if resp.StatusCode/100 != 2 {
		e := &StatusError{Code: resp.StatusCode, Message: http.StatusText(resp.StatusCode)}
		if len(envelope.Errors) > 0 {
			e.Message = envelope.Errors[0].Message
		}
		return nil, e
	}
	if out == nil {
		return envelope.Data, nil
	}
	if err := json.Unmarshal(envelope.Data, out); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return envelope.Data, nil
}
