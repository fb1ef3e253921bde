package player

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits on what a server may make the player hold.
const (
	maxPlaylistBytes = 4 << 20  // a three-hour playlist of 2 s segments is about 700 KB
	maxMediaBytes    = 64 << 20 // one segment; the ring of a whole stream is capped at that
)

var errTooLarge = errors.New("the answer is larger than anything a stream may hold")

// answer is what came back for one GET.
type answer struct {
	status     int
	retryAfter time.Duration // 0: not given
	body       []byte        // nil when discarded
	size       int64
}

// fetcher makes GET requests. get reads the whole body: appended to buf, or
// discarded, which it does with any that is not 200. hold is how long the
// server may keep the request waiting.
type fetcher interface {
	get(ctx context.Context, url string, hold time.Duration, r reading) (answer, error)
	close()
}

// reading says what to do with a body.
type reading struct {
	discard bool
	buf     []byte // appended to, from its start
	limit   int64
}

func newFetcher(o Options) fetcher {
	if o.Lean {
		switch u, err := url.Parse(o.URL); {
		case err == nil && u.Scheme == "http":
			return &leanFetcher{userAgent: o.UserAgent}
		case err == nil && u.Scheme == "https":
			return &leanH2Fetcher{userAgent: o.UserAgent, tls: o.TLS}
		}
	}
	f := &httpFetcher{client: o.Client, userAgent: o.UserAgent}
	if f.client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableCompression = o.Lean
		t.TLSClientConfig = o.TLS.Clone()
		f.client = &http.Client{Transport: t}
		f.own = t
	}
	return f
}

type httpFetcher struct {
	client    *http.Client
	own       *http.Transport // to be closed; nil when the client is the caller's
	userAgent string
}

func (f *httpFetcher) close() {
	if f.own != nil {
		f.own.CloseIdleConnections()
	}
}

func (f *httpFetcher) get(ctx context.Context, url string, hold time.Duration, r reading) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, hold+requestSlack)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", f.userAgent)
	resp, err := f.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	if a.status != http.StatusOK {
		io.Copy(io.Discard, io.LimitReader(resp.Body, maxPlaylistBytes))
		return a, nil
	}
	body := io.LimitReader(resp.Body, r.limit+1)
	if r.discard {
		a.size, err = io.Copy(io.Discard, body)
	} else {
		a.body, err = readInto(r.buf, body, min(resp.ContentLength, r.limit))
		a.size = int64(len(a.body))
	}
	if err == nil && a.size > r.limit {
		err = errTooLarge
	}
	if err != nil {
		return answer{}, fmt.Errorf("reading %s: %w", url, err)
	}
	return a, nil
}

// readInto appends all of r to buf. announced, when positive, is the length the
// server gave; it is believed up to 1 MB, beyond which memory follows the bytes.
func readInto(buf []byte, r io.Reader, announced int64) ([]byte, error) {
	if want := int(min(announced+1, 1<<20)); cap(buf)-len(buf) < want {
		buf = append(make([]byte, 0, len(buf)+want), buf...)
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// retryAfter reads delay-seconds (RFC 9110 section 10.2.3), at most a minute.
// Tally never sends a date.
func retryAfter(s string) time.Duration {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, time.Minute)
}

// location resolves URIs against a playlist's URL. The usual relative forms
// cost one concatenation.
type location struct {
	url    *url.URL
	full   string // without a fragment
	dir    string // up to and with the last slash of the path
	origin string // scheme://host
}

func newLocation(raw string) (location, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return location{}, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return location{}, fmt.Errorf("%q: want an http or https URL", raw)
	}
	u.Fragment = ""
	origin := u.Scheme + "://" + u.Host
	path := u.EscapedPath()
	return location{url: u, full: u.String(), dir: origin + path[:strings.LastIndexByte(path, '/')+1], origin: origin}, nil
}

func (l *location) resolve(uri string) (string, error) {
	if uri != "" && l.dir != l.origin && !strings.ContainsAny(uri, ":?#%") && uri[0] != '/' && uri[0] != '.' &&
		!strings.Contains(uri, "/.") {
		return l.dir + uri, nil
	}
	ref, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	return l.url.ResolveReference(ref).String(), nil
}

// withQuery adds a query to the playlist's own.
func (l *location) withQuery(query []byte) string {
	switch {
	case len(query) == 0:
		return l.full
	case l.url.RawQuery != "":
		return l.full + "&" + string(query)
	}
	return l.full + "?" + string(query)
}
