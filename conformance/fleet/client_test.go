package fleet

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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A client is HTTP/1.1 over one connection for one goroutine: a thousand
// players and the server they watch share two cores. It follows no redirects.
type client struct {
	ctx    context.Context
	header string // more header lines for each request, each with its CRLF
	// narrow asks the kernel for the smallest receive buffer, so that what is
	// not read stays with the server.
	narrow bool
	from   func() net.Addr // the address to connect from; nil: the kernel's choice

	conn net.Conn
	stop func() bool // ends the watch on ctx that closes conn
	host string      // that conn goes to
	in   *bufio.Reader
	out  []byte
	used bool // conn has answered before

	requests int
}

const (
	readAtOnce = 8 << 10
	maxText    = 1 << 20
	// slack is what an answer may take beyond the time that the server may hold it.
	slack = 20 * time.Second
)

var errAnswer = errors.New("the answer is not HTTP/1.1")

// A request is what is asked for.
type request struct {
	method string // "": GET
	host   string // HOST:PORT
	path   string // with its query
	header string // more lines, each with its CRLF
	body   []byte
	hold   time.Duration // how long the server may keep the request waiting
	keep   bool          // the body is wanted
	leave  int64         // > 0: hang up when so much of the body was read
}

// A reply is what came back. Its body is valid until the next request.
type reply struct {
	status int
	size   int64  // of the body, as far as it was read
	whole  bool   // all of it was
	body   []byte // nil unless asked for
	etag   string
	cached bool // a cache on the way had it
}

// close hangs up.
func (c *client) close() {
	if c.conn != nil {
		c.stop()
		c.conn.Close()
		c.conn = nil
	}
}

// reset hangs up with a TCP reset, so that what is under way is lost.
func (c *client) reset() {
	if c.conn == nil {
		return
	}
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.close()
}

// do makes one request. A connection that the server has closed since its last
// answer is opened again.
func (c *client) do(rq request) (reply, error) {
	for {
		if err := c.connect(rq.host); err != nil {
			return reply{}, err
		}
		reused := c.used
		r, began, keep, err := c.roundTrip(rq)
		if err != nil || !keep {
			c.close()
		}
		if err != nil && reused && !began && c.ctx.Err() == nil {
			continue
		}
		if err != nil {
			err = fmt.Errorf("%s %s: %w", rq.method, rq.path, err)
		}
		return r, err
	}
}

func (c *client) connect(host string) error {
	if c.conn != nil && c.host == host {
		return nil
	}
	c.close()
	d := net.Dialer{Timeout: slack}
	if c.from != nil {
		d.LocalAddr = c.from()
	}
	if c.narrow {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
			})
		}
	}
	conn, err := d.DialContext(c.ctx, "tcp", host)
	if err != nil {
		return err
	}
	c.conn, c.host, c.used = conn, host, false
	c.stop = context.AfterFunc(c.ctx, func() { conn.Close() }) // unblocks a read
	if c.in == nil {
		c.in = bufio.NewReaderSize(conn, readAtOnce)
	}
	c.in.Reset(conn)
	return nil
}

// roundTrip sends a request and reads its answer. began reports whether any of
// the answer came; keep, whether the connection can carry another.
func (c *client) roundTrip(rq request) (r reply, began, keep bool, err error) {
	c.requests++
	c.conn.SetDeadline(time.Now().Add(rq.hold + slack))
	if rq.method == "" {
		rq.method = http.MethodGet
	}
	c.out = fmt.Appendf(c.out[:0], "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tally-fleet\r\n%s%s", rq.method, rq.path, rq.host, c.header, rq.header)
	if rq.body != nil {
		c.out = fmt.Appendf(c.out, "Content-Length: %d\r\n", len(rq.body))
	}
	c.out = append(append(c.out, "\r\n"...), rq.body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return r, false, false, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return r, false, false, err
	}
	c.used = true
	h, err := c.readHead()
	if err != nil {
		return r, true, false, err
	}
	r = reply{status: h.status, etag: h.etag, cached: h.cached}
	keep = h.keep && (h.chunked || h.length >= 0)
	switch {
	case rq.method == http.MethodHead, h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		r.whole = true
		return r, true, h.keep, nil
	case rq.leave > 0:
		r.size, err = io.CopyN(io.Discard, c.in, rq.leave)
		return r, true, false, err
	case h.chunked:
		err = c.readAll(&r, httputil.NewChunkedReader(c.in), rq.keep)
		if err == nil {
			err = c.trailer()
		}
	case h.length >= 0:
		err = c.readAll(&r, io.LimitReader(c.in, h.length), rq.keep)
		if err == nil && r.size < h.length {
			err = io.ErrUnexpectedEOF
		}
	default:
		err = c.readAll(&r, c.in, rq.keep)
	}
	r.whole = err == nil
	return r, true, keep, err
}

func (c *client) readAll(r *reply, from io.Reader, keep bool) (err error) {
	if !keep {
		r.size, err = io.Copy(io.Discard, from)
		return err
	}
	if r.body, err = io.ReadAll(io.LimitReader(from, maxText)); err != nil {
		return err
	}
	r.size = int64(len(r.body))
	return nil
}

// A head is what matters here of a response head.
type head struct {
	status  int
	length  int64 // -1: not given
	chunked bool
	keep    bool
	etag    string
	cached  bool
}

func (c *client) readHead() (head, error) {
	h := head{length: -1, keep: true}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, errAnswer
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, errAnswer
	}
	for {
		line, err := c.in.ReadSlice('\n') // one longer than readAtOnce is an error
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		if err := h.line(line); err != nil {
			return h, err
		}
	}
}

func (h *head) line(line []byte) (err error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	is := func(s string) bool { return len(name) == len(s) && strings.EqualFold(string(name), s) }
	switch {
	case is("Content-Length"):
		h.length, err = strconv.ParseInt(string(value), 10, 64)
	case is("Transfer-Encoding"):
		h.chunked = strings.EqualFold(string(value), "chunked")
	case is("Connection"):
		h.keep = !strings.EqualFold(string(value), "close")
	case is("Etag"):
		h.etag = string(value)
	case is("X-Cache"):
		h.cached = string(value) == "hit"
	}
	return err
}

// trailer reads what follows the last chunk.
func (c *client) trailer() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil || len(bytes.TrimRight(line, "\r\n")) == 0 {
			return err
		}
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
