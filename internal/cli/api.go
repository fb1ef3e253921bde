package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Client reads and writes livestreams over the API. It may be used
// concurrently.
type Client struct {
	creds    Credentials
	http     *http.Client
	patience patience
}

// NewClient returns a client for the server that c names.
func NewClient(c Credentials) (*Client, error) {
	u, err := url.Parse(c.APIBase)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, Usagef("--api-base %q must be an address such as http://127.0.0.1:8080/client/v4", c.APIBase)
	}
	c.APIBase = strings.TrimRight(c.APIBase, "/")
	return &Client{creds: c, http: &http.Client{Timeout: answerWithin}}, nil
}

// answerWithin bounds one request: longer than a webhook's test may take (10 s).
const answerWithin = 15 * time.Second

// A StatusError is an answer of the API that is not a success.
type StatusError struct {
	Status  int
	Code    int // the API's own: the status, or 10000 for what concerns the token (contract 3.2)
	Message string
	Pointer string        // which field, as a JSON pointer; "" where none is to blame
	Retry   time.Duration // Retry-After; 0 where it was not sent
}

// noRoute is the API's code for a path that names nothing at all, whatever the
// ids in it.
const noRoute = 7003

func (e *StatusError) Error() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "the server does not know this token: check --api-token and that --api-base is the right server"
	case e.Status == http.StatusForbidden && e.Code != http.StatusForbidden:
		return "this token may not do that: check --account-id and --app-id, or use a token with the scope \"Realtime\" or \"Realtime Admin\""
	case e.Code == noRoute:
		return "the server has no such route: it is an older Tally, or --api-base is not quite its address"
	case e.Status == http.StatusTooManyRequests && e.Retry > 0:
		return fmt.Sprintf("too many requests: try again in %s", e.Retry)
	}
	return fmt.Sprintf("the server answered %d: %s", e.Status, printable(e.Message))
}

// notFound reports whether err is the API's answer 404.
func notFound(err error) bool {
	var s *StatusError
	return errors.As(err, &s) && s.Status == http.StatusNotFound
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

// url is an address below the app.
func (c *Client) url(path string) string {
	return c.kitURL(url.PathEscape(c.creds.AppID) + "/" + path)
}

// kitURL is an address below the account's apps.
func (c *Client) kitURL(path string) string { return c.accountURL("realtime/kit/" + path) }

// accountURL is an address below the account.
func (c *Client) accountURL(path string) string {
	return c.creds.APIBase + "/accounts/" + url.PathEscape(c.creds.AccountID) + "/" + path
}

// do sends body as JSON (nil: none) below the app and decodes the answer's data
// into out (nil: not wanted). It returns data as it came.
func (c *Client) do(ctx context.Context, method, path string, body, out any) (json.RawMessage, error) {
	reply, err := c.call(ctx, call{method, c.url(path), body}, out)
	return reply.Data, err
}

// A reply is the API's envelope of a success.
type reply struct {
	Data   json.RawMessage
	Paging Paging // zero where the answer is no list
}

// call makes one request and decodes the answer's data into out (nil: not
// wanted). An answer that is no success is a *StatusError.
func (c *Client) call(ctx context.Context, k call, out any) (reply, error) {
	raw, err := c.send(ctx, k)
	if err != nil {
		return reply{}, err
	}
	return raw.decode(out)
}

// A rawAnswer is an answer as it came.
type rawAnswer struct {
	host   string
	status int
	header http.Header
	body   []byte
}

// send makes one request; where c is patient it repeats what the server put off.
func (c *Client) send(ctx context.Context, k call) (rawAnswer, error) {
	var content []byte
	if k.body != nil {
		var err error
		if content, err = json.Marshal(k.body); err != nil {
			return rawAnswer{}, fmt.Errorf("encode request: %w", err)
		}
	}
	for try := 0; ; try++ {
		raw, err := c.once(ctx, k, content)
		wait, again := c.patience.next(k.method, try, raw, err)
		if !again || ctx.Err() != nil {
			return raw, err
		}
		c.patience.say(wait, raw, err)
		select {
		case <-ctx.Done():
			return rawAnswer{}, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (c *Client) once(ctx context.Context, k call, content []byte) (rawAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, k.method, k.url, bytes.NewReader(content))
	if err != nil {
		return rawAnswer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.creds.APIToken)
	req.Header.Set("Accept", "application/json")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return rawAnswer{}, c.explain(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return rawAnswer{}, fmt.Errorf("read answer: %w", err)
	}
	return rawAnswer{host: req.URL.Host, status: resp.StatusCode, header: resp.Header, body: text}, nil
}

// explain turns a failed connection into advice.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &op):
		return &unreachableError{c.creds.APIBase, op.Err}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &unreachableError{c.creds.APIBase, fmt.Errorf("no answer within %s", answerWithin)}
	}
	return err
}

// An unreachableError is a server that nobody answers for.
type unreachableError struct {
	base string
	err  error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no server at %s (%v): start one with `tally serve`, or give --api-base", e.base, e.err)
}

func (e *unreachableError) Unwrap() error { return e.err }

// maxAnswerBytes bounds what is read of an answer; a page of 100 livestreams is
// some 100 KB.
const maxAnswerBytes = 8 << 20

// decode reads the envelope.
func (a rawAnswer) decode(out any) (reply, error) {
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Paging Paging          `json:"paging"`
		Errors []struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Source  struct {
				Pointer string `json:"pointer"`
			} `json:"source"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(a.body, &envelope); err != nil {
		return reply{}, &notJSONError{a.host, a.status}
	}
	if a.status/100 != 2 {
		e := &StatusError{Status: a.status, Message: http.StatusText(a.status), Retry: retryAfter(a.header, time.Now())}
		if len(envelope.Errors) > 0 {
			first := envelope.Errors[0]
			e.Code, e.Message, e.Pointer = first.Code, first.Message, first.Source.Pointer
		}
		return reply{}, e
	}
	if out != nil {
		if err := json.Unmarshal(envelope.Data, out); err != nil {
			return reply{}, fmt.Errorf("read answer: %w", err)
		}
	}
	return reply{Data: envelope.Data, Paging: envelope.Paging}, nil
}

// A notJSONError is an answer that no such API gives.
type notJSONError struct {
	host   string
	status int
}

func (e *notJSONError) Error() string {
	return fmt.Sprintf("%s answered %d and no JSON: is --api-base a Tally server's address ending in /client/v4?", e.host, e.status)
}
