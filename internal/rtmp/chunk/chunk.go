// Package chunk reads and writes RTMP chunk streams (Adobe RTMP specification
// 1.0, section 5): messages cut into chunks and put together again.
//
// A [Reader] trusts no length: a message's buffer grows with the bytes that
// arrive, and what a peer can make it allocate in all is bounded by
// 4 x bytes received + 64 KB. The finished buffer is handed to the caller, who
// owns it.
package chunk

import (
	"errors"
	"fmt"
)

// Message type ids (sections 5.4 and 7.1).
const (
	TypeSetChunkSize     = 1
	TypeAbort            = 2
	TypeAck              = 3
	TypeUserControl      = 4
	TypeWindowAckSize    = 5
	TypeSetPeerBandwidth = 6
	TypeAudio            = 8
	TypeVideo            = 9
	TypeDataAMF3         = 15
	TypeCommandAMF3      = 17
	TypeDataAMF0         = 18
	TypeCommandAMF0      = 20
	TypeAggregate        = 22
)

const (
	// DefaultSize is the chunk size both sides start with (section 5.4.1).
	DefaultSize = 128
	// MinSize is the smallest chunk size a peer may set. The specification
	// allows 1 and advises at least 128; a stream of 1-byte chunks costs the
	// reader far more than the sender, so 128 is our floor.
	MinSize = 128
	// MaxSize is the largest that makes a difference: a message's length has
	// 24 bits. Larger values are taken as this one.
	MaxSize = 1<<24 - 1
	// MaxStreamID is the largest chunk stream id (section 5.3.1.1).
	MaxStreamID = 65599

	extended = 0xFFFFFF // timestamp field that announces an extended timestamp
)

// ErrProtocol is what every violation by the peer wraps.
var ErrProtocol = errors.New("chunk stream broken")

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// A Message is one RTMP message.
type Message struct {
	ChunkStream uint32 // 2 to MaxStreamID
	Type        uint8
	StreamID    uint32 // message stream; 0 for the connection itself
	Time        uint32 // ms, wraps at 2^32
	Body        []byte // from a Reader: owned by whoever got the message
}

// Limits bound what a peer may send. A message beyond them ends the connection.
type Limits struct {
	Video   int // longest video message, bytes
	Message int // longest message of any other type, bytes
	Streams int // chunk streams
}

// The limits of design section 5, by phase.
var (
	// BeforePublish holds until a stream key was accepted.
	BeforePublish = Limits{Video: 64 << 10, Message: 64 << 10, Streams: 8}
	// WhilePublishing leaves room for metadata with a keyframe index and for
	// the largest picture a tag can carry.
	WhilePublishing = Limits{Video: 16 << 20, Message: 1 << 20, Streams: 64}
)
