package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/chunk"
	"tally/internal/rtmp/flv"
	"tally/internal/secret"
)

// A Target is where a client publishes.
type Target struct {
	TLS  bool
	Host string // host:port
	App  string
	Key  secret.String // stream name
}

// ParseURL reads rtmp://host[:port]/app/key or the same with rtmps. The last
// path element, with the query if there is one, is the key. Errors do not
// repeat the text, because it holds a key.
func ParseURL(s string) (Target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Target{}, errors.New("the RTMP URL cannot be parsed; it looks like rtmp://host:1935/live/KEY")
	}
	t := Target{TLS: u.Scheme == "rtmps", Host: u.Host}
	if u.Scheme != "rtmp" && u.Scheme != "rtmps" || u.Hostname() == "" {
		return Target{}, errors.New("the RTMP URL must begin with rtmp:// or rtmps:// and a host")
	}
	if u.Port() == "" {
		port := "1935"
		if t.TLS {
			port = "443"
		}
		t.Host = net.JoinHostPort(u.Hostname(), port)
	}
	path := strings.Trim(u.Path, "/")
	cut := strings.LastIndexByte(path, '/')
	if cut < 0 {
		return Target{}, errors.New("the RTMP URL must have an app and a key: rtmp://host:1935/live/KEY")
	}
	name := path[cut+1:]
	if u.RawQuery != "" {
		name += "?" + u.RawQuery
	}
	t.App, t.Key = path[:cut], secret.New(name)
	return t, nil
}

// url is tcUrl: the target without the key.
func (t Target) url() string {
	scheme := "rtmp"
	if t.TLS {
		scheme = "rtmps"
	}
	return scheme + "://" + t.Host + "/" + t.App
}

// Moved is the target that a ReconnectRequest names: by a tcUrl, which may be
// relative to the present one, with the same key. "": the same target. Where the
// present one has TLS another without is refused, because the key is in what is
// sent there.
func (t Target) Moved(tcURL string) (Target, error) {
	if tcURL == "" {
		return t, nil
	}
	base, err := url.Parse(t.url())
	if err != nil {
		return Target{}, errMoved
	}
	u, err := base.Parse(tcURL)
	if err != nil || u.User != nil {
		return Target{}, errMoved
	}
	to, err := ParseURL(u.Scheme + "://" + u.Host + "/" + strings.Trim(u.Path, "/") + "/key")
	if err != nil || to.App == "" || t.TLS && !to.TLS {
		return Target{}, errMoved
	}
	to.Key = t.Key
	return to, nil
}

var errMoved = errors.New("the server asks to reconnect to an address that is none, or has no TLS although this one has")

// A ReconnectError says that the server asks to publish anew
// (Enhanced RTMP v2, section "Reconnect Request").
type ReconnectError struct {
	Status
	TCURL string // where, absolute or relative; "": where it was
}

func (e *ReconnectError) Error() string { return (&StatusError{e.Status}).Error() }

// capsReconnect is the flag of connect's capsEx that says so.
const capsReconnect = 1

// A Dial says how to connect. Its zero value is ready.
type Dial struct {
	TLS       *tls.Config // for rtmps; nil: system roots, the host's name
	ChunkSize int         // of what we send; 0: 64 KB
	Encoder   string      // what we call ourselves; "": DefaultEncoder
	Reconnect bool        // say that we come back where a ReconnectError asks for it
}

// DefaultEncoder is the client's flashVer.
const DefaultEncoder = "FMLE/3.0 (compatible; Tally)"

// A Client is one accepted publish. WriteTag, Unpublish and Close are for one
// goroutine; answers of the server are read by another, which ends with Close.
type Client struct {
	*Conn
	key      secret.String
	streamID uint32
	next     float64 // transaction id
	done     chan struct{}
	err      error // why the server's side ended; read after done is closed
}

// Publish connects and asks to publish. A refusal is a *StatusError. ctx
// bounds the whole of it; afterwards it has no meaning.
func Publish(ctx context.Context, t Target, d Dial) (*Client, error) {
	nc, err := d.open(ctx, t)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	c, err := d.publish(nc, t)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	go c.listen()
	return c, nil
}

func (d Dial) open(ctx context.Context, t Target) (net.Conn, error) {
	if t.TLS {
		return (&tls.Dialer{Config: d.TLS}).DialContext(ctx, "tcp", t.Host)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", t.Host)
}

func (d Dial) publish(nc net.Conn, t Target) (*Client, error) {
	if err := connectHandshake(nc); err != nil {
		return nil, err
	}
	c := &Client{Conn: newConn(nc), key: t.Key, done: make(chan struct{})}
	if d.ChunkSize == 0 {
		d.ChunkSize = 64 << 10
	}
	if d.Encoder == "" {
		d.Encoder = DefaultEncoder
	}
	if err := c.SetChunkSize(d.ChunkSize); err != nil {
		return nil, err
	}
	object := amf0.Object{{Name: "app", Value: t.App}, {Name: "type", Value: "nonprivate"},
		{Name: "flashVer", Value: d.Encoder}, {Name: "tcUrl", Value: t.url()}}
	if d.Reconnect {
		object = append(object, amf0.Property{Name: "capsEx", Value: float64(capsReconnect)})
	}
	if _, err := c.call("connect", object); err != nil {
		return nil, err
	}
	return c, c.begin()
}

// begin sends what encoders send between connect and the first frame.
func (c *Client) begin() error {
	for _, name := range []string{"releaseStream", "FCPublish"} {
		c.next++
		if err := c.SendCommand(0, name, c.next, nil, c.key.Reveal()); err != nil {
			return err
		}
	}
	reply, err := c.call("createStream", nil)
	if err != nil {
		return err
	}
	id, ok := reply.Arg(0).(float64)
	if !ok || id < 1 || id > 1<<31 {
		return fmt.Errorf("createStream: %w: no stream id in the answer", chunk.ErrProtocol)
	}
	c.streamID = uint32(id)
	c.next++
	if err := c.SendCommand(c.streamID, "publish", c.next, nil, c.key.Reveal(), "live"); err != nil {
		return err
	}
	for {
		cmd, err := c.command()
		if err != nil {
			return err
		}
		if cmd.Name != "onStatus" && cmd.Name != "_error" {
			continue
		}
		switch s := statusOf(cmd.Arg(0)); {
		case s.Level == LevelError || cmd.Name == "_error" && cmd.Transaction == c.next:
			return &StatusError{s}
		case s.Code == PublishStart:
			return nil
		}
	}
}

// call sends a command on the connection itself and waits for its answer.
func (c *Client) call(name string, object any, args ...any) (Command, error) {
	c.next++
	id := c.next
	if err := c.SendCommand(0, name, id, object, args...); err != nil {
		return Command{}, err
	}
	for {
		cmd, err := c.command()
		if err != nil {
			return Command{}, fmt.Errorf("answer to %s: %w", name, err)
		}
		if cmd.Transaction != id {
			continue
		}
		switch cmd.Name {
		case "_result":
			return cmd, nil
		case "_error":
			return Command{}, &StatusError{statusOf(cmd.Arg(0))}
		}
	}
}

// command returns the next command from the server.
func (c *Client) command() (Command, error) {
	for {
		m, err := c.Next()
		if err != nil {
			return Command{}, err
		}
		if m.Type != chunk.TypeCommandAMF0 && m.Type != chunk.TypeCommandAMF3 {
			continue
		}
		return ParseCommand(m)
	}
}

// listen reads what the server says while we publish, until the connection
// ends or the server reports an error.
func (c *Client) listen() {
	defer close(c.done)
	for {
		cmd, err := c.command()
		if err != nil {
			c.err = err
			return
		}
		if cmd.Name != "onStatus" {
			continue
		}
		switch s := statusOf(cmd.Arg(0)); {
		case s.Level == LevelError:
			c.err = &StatusError{s}
			return
		case s.Code == ReconnectRequest:
			c.err = &ReconnectError{s, amf0.Text(cmd.Arg(0), "tcUrl")}
			return
		}
	}
}

// Done is closed when the server has ended the publish or the connection.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why Done is closed: a *StatusError when the server told, or a
// *ReconnectError.
func (c *Client) Err() error {
	<-c.done
	return c.err
}

// WriteTag sends one tag as a message. Time keeps its low 32 bits. The body
// may be shared with other clients: it is only read.
func (c *Client) WriteTag(t flv.Tag) error {
	m := chunk.Message{ChunkStream: chunkData, Type: t.Type, StreamID: c.streamID, Time: uint32(t.Time), Body: t.Body}
	switch t.Type {
	case flv.TypeAudio:
		m.ChunkStream = chunkAudio
	case flv.TypeVideo:
		m.ChunkStream = chunkVideo
	}
	return c.Send(m)
}

// WriteMetadata sends onMetaData as encoders do.
func (c *Client) WriteMetadata(v amf0.ECMAArray) error {
	return c.WriteTag(flv.Tag{Type: flv.TypeScript, Body: amf0.Append(nil, "@setDataFrame", "onMetaData", v)})
}

// Unpublish ends the publish cleanly and closes the connection, leaving the
// server a moment to read it.
func (c *Client) Unpublish() error {
	c.next++
	err := c.SendCommand(0, "FCUnpublish", c.next, nil, c.key.Reveal())
	c.next++
	err = errors.Join(err, c.SendCommand(0, "deleteStream", c.next, nil, float64(c.streamID)))
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok && err == nil {
		c.nc.SetReadDeadline(time.Now().Add(2 * time.Second))
		err = w.CloseWrite()
		<-c.done
	}
	c.Close()
	return err
}

// Close ends the connection without a word, as a crashed encoder does: the
// kernel sends FIN.
func (c *Client) Close() {
	c.nc.Close()
	<-c.done
}

// Reset ends the connection with a TCP reset where the transport is TCP.
func (c *Client) Reset() {
	nc := c.nc
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	nc.Close()
	<-c.done
}
