package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// A conn is one keep-alive HTTP/1.1 connection that asks one thing at a time.
// It exists because net/http's client costs more than the servers under test,
// and the load generator shares their cores. A conn belongs to one goroutine.
type conn struct {
	addr string
	nc   net.Conn
	br   *bufio.Reader
	req  []byte
	body []byte
}

// An answer is one response. Body is valid until the next request.
type answer struct {
	status  int
	gzip    bool
	body    []byte
	arrived time.Time // of the body's last byte
}

// dialTimeout and answerTimeout bound every wait of the generator. The second
// is above the longest that a blocking reload may be held.
const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 40 * time.Second
)

// newConn returns an unconnected conn; the first request dials.
func newConn(addr string) *conn { return &conn{addr: addr} }

// dial connects now, so that a later request measures no handshake.
func (c *conn) dial() error {
	if c.nc != nil {
		return nil
	}
	nc, err := net.DialTimeout("tcp", c.addr, dialTimeout)
	if err != nil {
		return err
	}
	c.nc = nc
	if c.br == nil {
		c.br = bufio.NewReaderSize(nc, 4<<10)
	} else {
		c.br.Reset(nc)
	}
	return nil
}

func (c *conn) close() {
	if c.nc != nil {
		c.nc.Close()
		c.nc = nil
	}
}

// get asks for path; header is whole header lines, each with its CRLF.
func (c *conn) get(path, header string) (answer, error) {
	if err := c.send(path, header); err != nil {
		return answer{}, err
	}
	return c.receive()
}

// send writes a request.
func (c *conn) send(path, header string) error {
	if err := c.dial(); err != nil {
		return err
	}
	c.req = fmt.Appendf(c.req[:0], "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, c.addr, header)
	return c.write(c.req)
}

// write sends prepared bytes on a connected conn.
func (c *conn) write(req []byte) error {
	c.nc.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := c.nc.Write(req); err != nil {
		c.close()
		return err
	}
	return nil
}

// receive reads the response to what was sent.
func (c *conn) receive() (answer, error) {
	a, keep, err := c.read()
	if err != nil || !keep {
		c.close()
	}
	return a, err
}

// maxBody bounds what the generator keeps of one answer.
const maxBody = 64 << 20

func (c *conn) read() (a answer, keep bool, err error) {
	line, err := c.br.ReadSlice('\n')
	if err != nil {
		return a, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return a, false, fmt.Errorf("not an HTTP/1.1 status line: %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, false, fmt.Errorf("status: %w", err)
	}
	length, chunked, keep := int64(-1), false, true
	for {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return a, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil || length < 0 || length > maxBody {
				return a, false, fmt.Errorf("Content-Length %q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Content-Encoding")):
			a.gzip = string(value) == "gzip"
		case bytes.EqualFold(name, []byte("Connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	if chunked {
		err = c.readChunked()
	} else if length < 0 {
		err = errors.New("answer without a length")
	} else {
		err = c.readLength(int(length))
	}
	a.body, a.arrived = c.body, time.Now()
	return a, keep, err
}

func (c *conn) readLength(n int) error {
	if cap(c.body) < n {
		c.body = make([]byte, n+n/4)
	}
	c.body = c.body[:n]
	_, err := io.ReadFull(c.br, c.body)
	return err
}

func (c *conn) readChunked() error {
	r := httputil.NewChunkedReader(c.br)
	b, err := io.ReadAll(io.LimitReader(r, maxBody))
	if err != nil {
		return err
	}
	c.body = b
	_, err = c.br.ReadSlice('\n') // the blank line after the last chunk
	return err
}
