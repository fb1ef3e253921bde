package player

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// leanFetcher is an HTTP/1.1 client of one connection for one goroutine, for
// load only: net/http spends two goroutines and some forty allocations where
// this one spends none and a handful. It follows no redirects.
type leanFetcher struct {
	userAgent string

	conn net.Conn
	stop func() bool // ends the watch on the context that closes conn
	in   *bufio.Reader
	host string // that conn goes to
	out  []byte // the request being built
	used bool   // conn has answered before
}

const leanBuffer = 16 << 10 // read at once; a part is discarded through it

var errReply = errors.New("the answer is not HTTP/1.1")

func (f *leanFetcher) close() {
	if f.conn != nil {
		f.stop()
		f.conn.Close()
		f.conn = nil
	}
}

func (f *leanFetcher) get(ctx context.Context, rawURL string, hold time.Duration, r reading) (answer, error) {
	host, path, err := splitURL(rawURL)
	if err != nil {
		return answer{}, err
	}
	for {
		if err := f.connect(ctx, host); err != nil {
			return answer{}, err
		}
		reused := f.used
		a, began, keep, err := f.roundTrip(host, path, hold, r)
		if err != nil || !keep {
			f.close()
		}
		if err != nil && reused && !began && ctx.Err() == nil {
			continue // an idle connection that the server had closed
		}
		if err != nil {
			err = fmt.Errorf("get %s: %w", rawURL, err)
		}
		return a, err
	}
}

// splitURL cuts http://host/path?query without parsing it.
func splitURL(raw string) (host, path string, err error) {
	rest, ok := strings.CutPrefix(raw, "http://")
	if !ok || strings.ContainsAny(raw, " \r\n") {
		return "", "", &url.Error{Op: "get", URL: raw, Err: errors.New("a lean player speaks plain http only")}
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 && rest[i] == '/' {
		return rest[:i], rest[i:], nil
	}
	return rest, "/", nil
}

func (f *leanFetcher) connect(ctx context.Context, host string) error {
	if f.conn != nil && f.host == host {
		return nil
	}
	f.close()
	addr := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		addr = net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	d := net.Dialer{Timeout: requestSlack}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	f.conn, f.host, f.used = conn, host, false
	f.stop = context.AfterFunc(ctx, func() { conn.Close() }) // unblocks a read
	if f.in == nil {
		f.in = bufio.NewReaderSize(conn, leanBuffer)
	}
	f.in.Reset(conn)
	return nil
}

// roundTrip sends one request and reads its answer. began reports whether any
// of the answer came; keep, whether the connection can carry another.
func (f *leanFetcher) roundTrip(host, path string, hold time.Duration, r reading) (a answer, began, keep bool, err error) {
	f.conn.SetDeadline(time.Now().Add(hold + requestSlack))
	f.out = append(f.out[:0], "GET "...)
	f.out = append(f.out, path...)
	f.out = append(f.out, " HTTP/1.1\r\nHost: "...)
	f.out = append(f.out, host...)
	f.out = append(f.out, "\r\nUser-Agent: "...)
	f.out = append(f.out, f.userAgent...)
	f.out = append(f.out, "\r\n\r\n"...)
	if _, err := f.conn.Write(f.out); err != nil {
		return a, false, false, err
	}
	if _, err := f.in.Peek(1); err != nil {
		return a, false, false, err
	}
	f.used = true
	h, err := f.readHead()
	if err != nil {
		return a, true, false, err
	}
	a = answer{status: h.status, retryAfter: h.retryAfter}
	if a.status != http.StatusOK {
		r = reading{discard: true, limit: maxPlaylistBytes}
	}
	err = f.readBody(&a, h, r)
	return a, true, h.keep && (h.chunked || h.length >= 0), err
}

// leanHead is what a response head says that matters here.
type leanHead struct {
	status     int
	length     int64 // -1: not given
	chunked    bool
	keep       bool
	retryAfter time.Duration
}

func (f *leanFetcher) readHead() (leanHead, error) {
	h := leanHead{length: -1, keep: true}
	line, err := f.in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return h, errReply
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, errReply
	}
	for range 100 { // header lines
		line, err := f.in.ReadSlice('\n') // one longer than leanBuffer is an error
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		if err := h.header(line); err != nil {
			return h, err
		}
	}
	return h, errReply
}

func (h *leanHead) header(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	is := func(s string) bool { return len(name) == len(s) && strings.EqualFold(string(name), s) }
	switch {
	case is("Content-Length"):
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 {
			return errReply
		}
		h.length = n
	case is("Transfer-Encoding"):
		h.chunked = strings.EqualFold(string(value), "chunked")
	case is("Connection"):
		h.keep = !strings.EqualFold(string(value), "close")
	case is("Retry-After"):
		h.retryAfter = retryAfter(string(value))
	}
	return nil
}

func (f *leanFetcher) readBody(a *answer, h leanHead, r reading) error {
	if h.status == http.StatusNoContent || h.status == http.StatusNotModified {
		return nil
	}
	if h.length > r.limit {
		return errTooLarge
	}
	if r.discard && !h.chunked && h.length >= 0 {
		n, err := f.discard(h.length)
		a.size = n
		return err
	}
	var body io.Reader = f.in
	switch {
	case h.chunked:
		body = httputil.NewChunkedReader(f.in)
	case h.length >= 0:
		body = io.LimitReader(f.in, h.length)
	}
	var err error
	if a.body, err = readInto(r.buf, io.LimitReader(body, r.limit+1), h.length); err != nil {
		return err
	}
	a.size = int64(len(a.body))
	if a.size > r.limit {
		return errTooLarge
	}
	if h.length > a.size {
		return io.ErrUnexpectedEOF
	}
	if r.discard {
		a.body = nil
	}
	if h.chunked {
		return f.trailer()
	}
	return nil
}

func (f *leanFetcher) discard(n int64) (int64, error) {
	var done int64
	for done < n {
		k, err := f.in.Discard(int(min(n-done, 1<<30)))
		done += int64(k)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// trailer reads what follows the last chunk: trailer lines, then an empty one.
func (f *leanFetcher) trailer() error {
	for range 100 {
		line, err := f.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return nil
		}
	}
	return errReply
}
