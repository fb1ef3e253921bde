package chunk

import (
	"encoding/binary"
	"io"
	"net"
)

// copyBelow is up to which size a message is copied into one buffer, so that
// it is one write. What is larger goes out as a vector without a copy on TCP.
const copyBelow = 4 << 10

// A Writer cuts messages into chunks. It writes each message at once and keeps
// no reference to its body. It is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	vector  bool // w writes net.Buffers in one system call
	size    int
	last    map[uint32]header
	buf     []byte // headers, or whole small messages
	pieces  [][]byte
	buffers net.Buffers
	headers []int // end offsets within buf, one per chunk
}

// header is what the peer remembers of a chunk stream.
type header struct {
	time, length, id uint32
	kind             uint8
	ext              bool // a full header was written with an extended timestamp
}

// NewWriter returns a Writer with the default chunk size.
func NewWriter(w io.Writer) *Writer {
	_, vector := w.(*net.TCPConn)
	return &Writer{w: w, vector: vector, size: DefaultSize, last: make(map[uint32]header)}
}

// SetChunkSize tells the peer of a new chunk size (MinSize to MaxSize), which
// holds from the next message.
func (w *Writer) SetChunkSize(n int) error {
	n = max(MinSize, min(n, MaxSize))
	err := w.Write(Message{ChunkStream: 2, Type: TypeSetChunkSize, Body: binary.BigEndian.AppendUint32(nil, uint32(n))})
	w.size = n
	return err
}

// Write sends one message. A body longer than 16 MB or a chunk stream id out
// of range is refused with ErrProtocol and nothing is sent.
func (w *Writer) Write(m Message) error {
	if len(m.Body) > 1<<24-1 || m.ChunkStream < 2 || m.ChunkStream > MaxStreamID {
		return violation("%d bytes on chunk stream %d cannot be sent", len(m.Body), m.ChunkStream)
	}
	w.buf, w.headers = w.buf[:0], w.headers[:0]
	ext := w.firstHeader(m)
	whole := len(m.Body) <= copyBelow || !w.vector
	for at := 0; ; {
		n := min(w.size, len(m.Body)-at)
		if whole {
			w.buf = append(w.buf, m.Body[at:at+n]...)
		} else {
			w.headers = append(w.headers, len(w.buf))
		}
		if at += n; at >= len(m.Body) {
			break
		}
		w.buf = appendBasic(w.buf, 3, m.ChunkStream)
		if ext {
			w.buf = binary.BigEndian.AppendUint32(w.buf, m.Time)
		}
	}
	if whole {
		_, err := w.w.Write(w.buf)
		return err
	}
	return w.writeVector(m.Body)
}

// writeVector sends the headers in buf with the body's pieces between them.
func (w *Writer) writeVector(body []byte) error {
	w.pieces = w.pieces[:0]
	from := 0
	for i, to := range w.headers {
		at := i * w.size
		w.pieces = append(w.pieces, w.buf[from:to], body[at:min(at+w.size, len(body))])
		from = to
	}
	w.buffers = w.pieces
	_, err := w.buffers.WriteTo(w.w)
	clear(w.pieces)
	return err
}

// firstHeader appends the header that begins m: type 0 where the message
// stream differs, time runs back, or the time needs an extended field; else
// type 1, or 2 where length and type repeat. Type 3 is never used to begin a
// message, because peers disagree on what it adds after a type 0 header.
func (w *Writer) firstHeader(m Message) (ext bool) {
	h := header{time: m.Time, length: uint32(len(m.Body)), id: m.StreamID, kind: m.Type, ext: m.Time >= extended}
	p, known := w.last[m.ChunkStream]
	w.last[m.ChunkStream] = h
	delta := m.Time - p.time
	if !known || p.id != h.id || h.ext || p.ext || delta >= extended {
		w.buf = appendBasic(w.buf, 0, m.ChunkStream)
		w.buf = append24(w.buf, min(m.Time, extended))
		w.buf = append(append24(w.buf, h.length), h.kind)
		w.buf = binary.LittleEndian.AppendUint32(w.buf, h.id)
		if h.ext {
			w.buf = binary.BigEndian.AppendUint32(w.buf, m.Time)
		}
		return h.ext
	}
	if p.length == h.length && p.kind == h.kind {
		w.buf = append24(appendBasic(w.buf, 2, m.ChunkStream), delta)
		return false
	}
	w.buf = append24(appendBasic(w.buf, 1, m.ChunkStream), delta)
	w.buf = append(append24(w.buf, h.length), h.kind)
	return false
}

func appendBasic(b []byte, format uint8, id uint32) []byte {
	switch {
	case id < 64:
		return append(b, format<<6|uint8(id))
	case id < 320:
		return append(b, format<<6, uint8(id-64))
	}
	return append(b, format<<6|1, uint8(id-64), uint8((id-64)>>8))
}

func append24(b []byte, v uint32) []byte { return append(b, byte(v>>16), byte(v>>8), byte(v)) }
