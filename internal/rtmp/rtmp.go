// Package rtmp is one connection of RTMP (Adobe RTMP specification 1.0) from
// either side: plain handshake, protocol control, commands and statuses. The
// layers below it are subpackages: chunk, amf0, flv.
//
// [Accept] makes a server's [Conn], [Publish] a publishing [Client]. What the
// messages mean is up to the caller: who may publish is decided elsewhere.
package rtmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/chunk"
)

const (
	// WriteTimeout is how long a peer may leave one message unread.
	WriteTimeout = 10 * time.Second

	defaultWindow = 2_500_000 // bytes between acknowledgements until the peer says; what servers usually ask for
	minWindow     = 16 << 10  // a smaller wish would have us answer every message
)

// Chunk stream ids we send on; 2 is fixed by section 5.3.1.1, the others are
// what encoders use.
const (
	chunkControl = 2
	chunkCommand = 3
	chunkAudio   = 4
	chunkData    = 5
	chunkVideo   = 6
)

// User control events (section 7.1.7).
const (
	eventStreamBegin  = 0
	eventPingRequest  = 6
	eventPingResponse = 7
)

// A Conn sends and receives messages. Next is for one goroutine; sending may
// be done by any.
type Conn struct {
	nc     net.Conn
	r      *chunk.Reader
	window uint64 // acknowledge after so many bytes
	acked  uint64

	mu sync.Mutex // guards w, and the order on the wire
	w  *chunk.Writer
}

func newConn(nc net.Conn) *Conn {
	return &Conn{nc: nc, r: chunk.NewReader(nc), w: chunk.NewWriter(nc), window: defaultWindow}
}

// SetLimits replaces the bounds on what the peer may send.
func (c *Conn) SetLimits(l chunk.Limits) { c.r.SetLimits(l) }

// Received is how many bytes came after the handshake.
func (c *Conn) Received() uint64 { return c.r.Received() }

// Next returns the next message that is not protocol control: those are
// answered here. The body belongs to the caller.
func (c *Conn) Next() (chunk.Message, error) {
	for {
		m, err := c.r.Next()
		if err != nil {
			return m, err
		}
		if n := c.r.Received(); n-c.acked >= c.window {
			c.acked = n
			if err := c.control(chunk.TypeAck, uint32(n)); err != nil {
				return m, err
			}
		}
		switch m.Type {
		case chunk.TypeAck, chunk.TypeSetPeerBandwidth:
			// We send no faster than TCP lets us: nothing to do.
		case chunk.TypeWindowAckSize:
			if len(m.Body) >= 4 {
				c.window = max(minWindow, uint64(binary.BigEndian.Uint32(m.Body)))
			}
		case chunk.TypeUserControl:
			if err := c.pong(m.Body); err != nil {
				return m, err
			}
		default:
			return m, nil
		}
	}
}

// pong answers a ping request; other events are for players.
func (c *Conn) pong(b []byte) error {
	if len(b) < 6 || binary.BigEndian.Uint16(b) != eventPingRequest {
		return nil
	}
	return c.event(eventPingResponse, binary.BigEndian.Uint32(b[2:]))
}

// Send writes one message; the body is not kept.
func (c *Conn) Send(m chunk.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(WriteTimeout))
	return c.w.Write(m)
}

func (c *Conn) control(kind uint8, v uint32, more ...byte) error {
	body := append(binary.BigEndian.AppendUint32(nil, v), more...)
	return c.Send(chunk.Message{ChunkStream: chunkControl, Type: kind, Body: body})
}

func (c *Conn) event(kind uint16, v uint32) error {
	body := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, kind), v)
	return c.Send(chunk.Message{ChunkStream: chunkControl, Type: chunk.TypeUserControl, Body: body})
}

// StreamBegin tells the peer that a message stream is usable.
func (c *Conn) StreamBegin(streamID uint32) error { return c.event(eventStreamBegin, streamID) }

// Announce sends the window and bandwidth that servers send before they answer
// connect, and a chunk size for what follows. ffmpeg takes over that size for
// what it sends itself, which saves us most of its chunk headers.
func (c *Conn) Announce() error {
	if err := c.control(chunk.TypeWindowAckSize, defaultWindow); err != nil {
		return err
	}
	const dynamic = 2 // limit type, section 5.4.5
	if err := c.control(chunk.TypeSetPeerBandwidth, defaultWindow, dynamic); err != nil {
		return err
	}
	return c.SetChunkSize(64 << 10)
}

// SetChunkSize announces and uses a chunk size for what we send.
func (c *Conn) SetChunkSize(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(WriteTimeout))
	return c.w.SetChunkSize(n)
}

// Finish ends the connection so that the peer can read what was sent last:
// it closes our direction, then waits for the peer to close its own, at most
// patience. Closing at once would turn unread input into a reset that
// overtakes our last words.
func (c *Conn) Finish(patience time.Duration) {
	defer c.nc.Close()
	c.nc.SetDeadline(time.Now().Add(patience))
	if w, ok := c.nc.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
		return
	}
	io.Copy(io.Discard, c.nc)
}

// A Command is a decoded command message (section 7.2), or a data message,
// which has a name and arguments only.
type Command struct {
	Name        string
	Transaction float64 // 0: no answer is expected
	Object      any     // amf0.Object, or nil
	Args        []any
}

// ErrCommand: a command or data message that does not begin with a name.
var ErrCommand = errors.New("message without a command name")

// ParseCommand decodes a command message of type 20 or 17, or a data message
// of type 18 or 15. Arguments behind one that cannot be decoded are left out.
func ParseCommand(m chunk.Message) (Command, error) {
	b := m.Body
	if m.Type == chunk.TypeCommandAMF3 || m.Type == chunk.TypeDataAMF3 {
		// One format byte; 0 says that AMF0 follows, which is all that is sent in practice.
		if len(b) == 0 || b[0] != 0 {
			return Command{}, fmt.Errorf("AMF3: %w", ErrCommand)
		}
		b = b[1:]
	}
	vs, err := amf0.Decode(b)
	if len(vs) == 0 {
		return Command{}, errors.Join(ErrCommand, err)
	}
	name, ok := vs[0].(string)
	if !ok {
		return Command{}, ErrCommand
	}
	cmd := Command{Name: name, Args: vs[1:]}
	if m.Type == chunk.TypeDataAMF0 || m.Type == chunk.TypeDataAMF3 {
		return cmd, nil
	}
	if len(cmd.Args) > 0 {
		cmd.Transaction, _ = cmd.Args[0].(float64)
		cmd.Args = cmd.Args[1:]
	}
	if len(cmd.Args) > 0 {
		cmd.Object = cmd.Args[0]
		cmd.Args = cmd.Args[1:]
	}
	return cmd, nil
}

// Arg returns the i-th argument, nil when there are fewer.
func (c Command) Arg(i int) any {
	if i < len(c.Args) {
		return c.Args[i]
	}
	return nil
}

// TextArg returns the i-th argument if it is a string, else "".
func (c Command) TextArg(i int) string {
	s, _ := c.Arg(i).(string)
	return s
}

// SendCommand sends a command as AMF0 on a message stream.
func (c *Conn) SendCommand(streamID uint32, name string, transaction float64, object any, args ...any) error {
	body := amf0.Append(nil, name, transaction, object)
	return c.Send(chunk.Message{
		ChunkStream: chunkCommand, Type: chunk.TypeCommandAMF0, StreamID: streamID,
		Body: amf0.Append(body, args...),
	})
}

// A Status is the information object of onStatus, _result and _error.
type Status struct {
	Level       string // LevelStatus or LevelError
	Code        string // for example NetStream.Publish.Start
	Description string // for the person at the encoder
}

// Levels of a Status.
const (
	LevelStatus = "status"
	LevelError  = "error"
)

// Status codes (ActionScript reference, NetConnection and NetStream).
const (
	ConnectSuccess   = "NetConnection.Connect.Success"
	ConnectRejected  = "NetConnection.Connect.Rejected"
	ReconnectRequest = "NetConnection.Connect.ReconnectRequest" // Enhanced RTMP v2
	CallFailed       = "NetConnection.Call.Failed"
	PublishStart     = "NetStream.Publish.Start"
	PublishDenied    = "NetStream.Publish.Denied"
	PublishBadName   = "NetStream.Publish.BadName"
	UnpublishSuccess = "NetStream.Unpublish.Success"
	StreamFailed     = "NetStream.Failed"
	PlayFailed       = "NetStream.Play.Failed"
)

// Object is s as a value, with more properties behind it.
func (s Status) Object(more ...amf0.Property) amf0.Object {
	return append(amf0.Object{{Name: "level", Value: s.Level}, {Name: "code", Value: s.Code},
		{Name: "description", Value: s.Description}}, more...)
}

// statusOf reads an information object.
func statusOf(v any) Status {
	return Status{Level: amf0.Text(v, "level"), Code: amf0.Text(v, "code"), Description: amf0.Text(v, "description")}
}

// SendStatus sends onStatus on a message stream (section 7.2.2).
func (c *Conn) SendStatus(streamID uint32, s Status) error {
	return c.SendCommand(streamID, "onStatus", 0, nil, s.Object())
}

// A StatusError is a refusal by the server.
type StatusError struct{ Status }

func (e *StatusError) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}
