package player

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// leanH2Fetcher is leanFetcher's twin over TLS: an HTTP/2 client (RFC 9113) of one
// connection and one request at a time. It keeps no table of headers (RFC 7541),
// and reads of an answer's the status alone.
type leanH2Fetcher struct {
	userAgent string
	tls       *tls.Config // nil: the system's certificates

	conn     net.Conn
	stop     func() bool // ends the watch on the context that closes conn
	in       *bufio.Reader
	host     string // that conn goes to
	out      []byte // the frames being built
	stream   uint32 // of the newest request
	received int64  // of DATA, since the connection's window was opened again
	used     bool   // conn has answered before
}

// Frames (RFC 9113 section 6) and their flags.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8

	flagEndStream  = 1 // of DATA and HEADERS
	flagAck        = 1 // of SETTINGS and PING
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 0x20
)

const (
	h2Preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	h2MaxFrame = 1 << 14   // what a server may send unless it is told otherwise
	h2Window   = 1<<31 - 1 // as large as windows get: this client never makes a server wait
	h2Renew    = 1 << 30   // DATA after which the connection's window is opened again
	h2Frames   = 1 << 20   // of one answer, at most
	h2First    = h2Window - 65535
)

var errH2 = errors.New("the answer is not HTTP/2")

func (f *leanH2Fetcher) close() {
	if f.conn != nil {
		f.stop()
		f.conn.Close()
		f.conn = nil
	}
}

func (f *leanH2Fetcher) get(ctx context.Context, rawURL string, hold time.Duration, r reading) (answer, error) {
	host, path, err := splitURL(strings.Replace(rawURL, "https://", "http://", 1))
	if err != nil {
		return answer{}, err
	}
	for {
		if err := f.connect(ctx, host); err != nil {
			return answer{}, err
		}
		reused := f.used
		f.conn.SetDeadline(time.Now().Add(hold + requestSlack))
		a, began, err := f.roundTrip(path, r)
		if err != nil {
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

// connect dials, and opens all windows.
func (f *leanH2Fetcher) connect(ctx context.Context, host string) error {
	if f.conn != nil && f.host == host {
		return nil
	}
	f.close()
	addr := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		addr = net.JoinHostPort(strings.Trim(host, "[]"), "443")
	}
	c := f.tls.Clone()
	if c == nil {
		c = &tls.Config{}
	}
	c.NextProtos = []string{"h2"}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: requestSlack}, Config: c}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	if conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
		conn.Close()
		return errH2
	}
	f.begin(conn, host)
	f.stop = context.AfterFunc(ctx, func() { conn.Close() }) // unblocks a read
	return nil
}

// begin takes a connection over; its first frames go out with the first request.
func (f *leanH2Fetcher) begin(conn net.Conn, host string) {
	f.conn, f.host, f.used, f.stream, f.received = conn, host, false, 0, 0
	if f.in == nil {
		f.in = bufio.NewReaderSize(conn, leanBuffer)
	}
	f.in.Reset(conn)
	f.out = append(f.out[:0], h2Preface...)
	f.out = appendFrame(f.out, frameSettings, 0, 0, 18)
	for _, s := range [...]struct {
		id    uint16
		value uint32
	}{{1, 0}, {2, 0}, {4, h2Window}} { // no table of headers, no pushes, windows of streams
		f.out = binary.BigEndian.AppendUint16(f.out, s.id)
		f.out = binary.BigEndian.AppendUint32(f.out, s.value)
	}
	f.out = appendFrame(f.out, frameWindowUpdate, 0, 0, 4)
	f.out = binary.BigEndian.AppendUint32(f.out, h2First)
}

// appendFrame appends a frame's header.
func appendFrame(b []byte, kind, flags byte, stream uint32, n int) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// appendText appends a string literal that is not compressed (RFC 7541 section 5.2).
func appendText(b []byte, s string) []byte {
	if len(s) < 127 {
		return append(append(b, byte(len(s))), s...)
	}
	b = append(b, 127)
	n := len(s) - 127
	for ; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(append(b, byte(n)), s...)
}

// roundTrip sends one request and reads its answer. began reports whether any of
// it came.
func (f *leanH2Fetcher) roundTrip(path string, r reading) (a answer, began bool, err error) {
	if f.stream == 0 {
		f.stream = 1
	} else {
		f.stream += 2
		f.out = f.out[:0]
	}
	if f.received > h2Renew {
		f.out = appendFrame(f.out, frameWindowUpdate, 0, 0, 4)
		f.out = binary.BigEndian.AppendUint32(f.out, uint32(f.received))
		f.received = 0
	}
	head := len(f.out)
	f.out = appendFrame(f.out, frameHeaders, flagEndStream|flagEndHeaders, f.stream, 0)
	f.out = append(f.out, 0x82, 0x87, 0x01) // GET, https, :authority (RFC 7541 appendix A)
	f.out = appendText(f.out, f.host)
	f.out = appendText(append(f.out, 0x04), path)
	f.out = appendText(append(f.out, 0x0f, 58-15), f.userAgent)
	n := len(f.out) - head - 9
	f.out[head], f.out[head+1], f.out[head+2] = byte(n>>16), byte(n>>8), byte(n)
	if _, err := f.conn.Write(f.out); err != nil {
		return a, false, err
	}
	return f.receive(r)
}

// receive reads frames until the answer is complete.
func (f *leanH2Fetcher) receive(r reading) (a answer, began bool, err error) {
	if !r.discard {
		a.body = r.buf
	}
	for range h2Frames {
		kind, flags, stream, n, err := f.frame()
		if err != nil {
			return answer{}, began, err
		}
		mine := stream == f.stream
		done := false
		switch {
		case kind == frameHeaders && mine:
			began, f.used = true, true
			if a.status, err = f.status(flags, n); a.status != http.StatusOK {
				r, a.body = reading{discard: true, limit: maxPlaylistBytes}, nil
			}
			done = flags&flagEndStream != 0
		case kind == frameData && mine && a.status != 0:
			err = f.data(&a, flags, n, r)
			done = flags&flagEndStream != 0
		case kind == frameSettings && flags&flagAck == 0:
			err = f.reply(frameSettings, n, false)
		case kind == framePing && flags&flagAck == 0 && n == 8:
			err = f.reply(framePing, n, true)
		case kind == frameGoAway, kind == frameReset && mine:
			err = fmt.Errorf("%w: the server ended it", io.ErrUnexpectedEOF)
		default:
			_, err = f.in.Discard(n)
		}
		if err != nil || done {
			return a, began, err
		}
	}
	return answer{}, began, errH2
}

// frame reads a frame's header.
func (f *leanH2Fetcher) frame() (kind, flags byte, stream uint32, n int, err error) {
	b, err := f.in.Peek(9)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	n = int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	kind, flags, stream = b[3], b[4], binary.BigEndian.Uint32(b[5:])&(1<<31-1)
	if n > h2MaxFrame {
		return 0, 0, 0, 0, errH2
	}
	f.in.Discard(9)
	return kind, flags, stream, n, nil
}

// padding takes off what a frame of n bytes has before its content, and returns
// how long the content is and what follows it.
func (f *leanH2Fetcher) padding(flags byte, n int) (content, pad int, err error) {
	if flags&flagPadded != 0 {
		b, err := f.in.ReadByte()
		if err != nil {
			return 0, 0, err
		}
		n, pad = n-1, int(b)
	}
	if n -= pad; n < 0 {
		return 0, 0, errH2
	}
	return n, pad, nil
}

// status reads the status of a header block, which begins with it but for changes
// of the table's size, and skips the rest.
func (f *leanH2Fetcher) status(flags byte, n int) (int, error) {
	n, pad, err := f.padding(flags, n)
	if err != nil {
		return 0, err
	}
	if flags&flagPriority != 0 {
		if n -= 5; n < 0 {
			return 0, errH2
		}
		if _, err := f.in.Discard(5); err != nil {
			return 0, err
		}
	}
	b, err := f.in.Peek(min(n, 16))
	if err != nil {
		return 0, err
	}
	status := readStatus(b)
	if status == 0 {
		return 0, errH2
	}
	_, err = f.in.Discard(n + pad)
	return status, err
}

// readStatus is the status that a header block begins with; 0: none that this
// client reads.
func readStatus(b []byte) int {
	for len(b) > 0 && b[0]&0xe0 == 0x20 { // the table's size
		b = b[1:]
	}
	if len(b) == 0 {
		return 0
	}
	if i := int(b[0]) - 0x88; i >= 0 && i < len(staticStatus) {
		return staticStatus[i]
	}
	kind, name := b[0]&0xf0, b[0]&0x0f // a literal of :status, by any of its entries in the table
	if len(b) < 2 || kind != 0x40 && kind != 0 && kind != 0x10 || name < 8 || name > 14 {
		return 0
	}
	n := int(b[1] & 0x7f)
	if len(b) < 2+n {
		return 0
	}
	digits := b[2 : 2+n]
	if b[1]&0x80 != 0 {
		digits = readDigits(digits)
	}
	status, err := strconv.ParseUint(string(digits), 10, 16)
	if err != nil || len(digits) != 3 || status < 200 {
		return 0
	}
	return int(status)
}

// readDigits reads up to three digits in Huffman's code (RFC 7541 appendix B):
// 00000 to 00010 are 0 to 2, 011001 to 011111 are 3 to 9.
func readDigits(b []byte) []byte {
	var digits []byte
	bits, n := uint32(0), 0
	for _, c := range b[:min(len(b), 3)] {
		bits, n = bits<<8|uint32(c), n+8
	}
	for len(digits) < 3 && n >= 5 {
		if v := bits >> (n - 5) & 0x1f; v < 3 {
			digits, n = append(digits, '0'+byte(v)), n-5
			continue
		}
		if n < 6 {
			break
		}
		v := bits >> (n - 6) & 0x3f
		if v < 0x19 || v > 0x1f {
			break
		}
		digits, n = append(digits, '3'+byte(v-0x19)), n-6
	}
	return digits
}

// staticStatus is what the entries from 8 on of the static table say (RFC 7541
// appendix A).
var staticStatus = [...]int{200, 204, 206, 304, 400, 404, 500}

// data reads a DATA frame into the answer.
func (f *leanH2Fetcher) data(a *answer, flags byte, n int, r reading) error {
	f.received += int64(n)
	n, pad, err := f.padding(flags, n)
	if err != nil {
		return err
	}
	if a.size += int64(n); a.size > r.limit {
		return errTooLarge
	}
	if r.discard {
		_, err = f.in.Discard(n + pad)
		return err
	}
	if a.body, err = readInto(a.body, io.LimitReader(f.in, int64(n)), int64(n)); err != nil {
		return err
	}
	if int64(len(a.body)) != a.size+int64(len(r.buf)) {
		return io.ErrUnexpectedEOF
	}
	_, err = f.in.Discard(pad)
	return err
}

// reply answers a frame of the connection: with its content, or with nothing.
func (f *leanH2Fetcher) reply(kind byte, n int, echo bool) error {
	b, err := f.in.Peek(n)
	if err != nil {
		return err
	}
	if !echo {
		b = nil
	}
	_, err = f.conn.Write(append(appendFrame(nil, kind, flagAck, 0, len(b)), b...))
	f.in.Discard(n)
	return err
}
