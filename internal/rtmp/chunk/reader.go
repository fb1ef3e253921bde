package chunk

import (
	"bufio"
	"encoding/binary"
	"io"
)

const (
	readBuffer = 16 << 10 // one system call for several audio messages; larger payloads bypass it
	firstRead  = 256      // a body's first buffer while the peer has no credit
	creditMax  = 64 << 10 // longest body that is allocated at once on credit
	creditFree = 8 << 10  // credit of a peer that has sent nothing
)

// A Reader puts messages together. It is not safe for concurrent use.
type Reader struct {
	br       *bufio.Reader
	limits   Limits
	size     uint32 // of the peer's chunks
	streams  map[uint32]*stream
	received uint64 // bytes consumed
	spent    uint64 // bytes allocated for bodies
	omits    bool   // the peer leaves the extended timestamp out of type 3 chunks
	small    [16]byte
}

// A stream is what the reader remembers of one chunk stream (section 5.3.1.2).
type stream struct {
	length   uint32
	kind     uint8
	id       uint32 // message stream
	time     uint32 // absolute, of the message begun last
	delta    uint32 // what a type 3 chunk adds when it begins a message
	ext      bool   // the last full header had an extended timestamp
	extValue uint32
	begun    bool   // a message is under way
	got      int    // bytes of it received
	body     []byte // its buffer; len is what is allocated
}

// NewReader returns a Reader with the limits that hold before a publish.
func NewReader(r io.Reader) *Reader {
	return &Reader{
		br: bufio.NewReaderSize(r, readBuffer), limits: BeforePublish,
		size: DefaultSize, streams: make(map[uint32]*stream),
	}
}

// SetLimits replaces the limits. What is already open stays.
func (r *Reader) SetLimits(l Limits) { r.limits = l }

// Received is how many bytes have been consumed: what acknowledgements count.
func (r *Reader) Received() uint64 { return r.received }

// Next returns the next message that is not empty. Set Chunk Size and Abort
// take effect and are not returned. Errors are the connection's, io.EOF only
// between chunks, or wrap ErrProtocol; none can be recovered from.
func (r *Reader) Next() (Message, error) {
	for {
		m, whole, err := r.chunk()
		if err != nil {
			return Message{}, err
		}
		if !whole || len(m.Body) == 0 {
			continue
		}
		switch m.Type {
		case TypeSetChunkSize:
			err = r.setSize(m.Body)
		case TypeAbort:
			err = r.abort(m.Body)
		default:
			return m, nil
		}
		if err != nil {
			return Message{}, err
		}
	}
}

func (r *Reader) setSize(b []byte) error {
	if len(b) < 4 {
		return violation("set chunk size of %d bytes", len(b))
	}
	n := binary.BigEndian.Uint32(b)
	if n < MinSize || n > 1<<31-1 {
		return violation("chunk size %d, at least %d is required", n, MinSize)
	}
	r.size = min(n, MaxSize)
	return nil
}

// abort drops the message under way on one chunk stream (section 5.4.2).
func (r *Reader) abort(b []byte) error {
	if len(b) < 4 {
		return violation("abort of %d bytes", len(b))
	}
	if s := r.streams[binary.BigEndian.Uint32(b)]; s != nil {
		s.drop()
	}
	return nil
}

func (s *stream) drop() { s.begun, s.got, s.body = false, 0, nil }

// chunk reads one chunk. It reports whether that made a message whole.
func (r *Reader) chunk() (Message, bool, error) {
	format, id, err := r.basicHeader()
	if err != nil {
		return Message{}, false, err
	}
	s, err := r.stream(id, format)
	if err != nil {
		return Message{}, false, err
	}
	if err := r.messageHeader(s, format); err != nil {
		return Message{}, false, inside(err)
	}
	if err := r.payload(s); err != nil {
		return Message{}, false, inside(err)
	}
	if s.got < int(s.length) {
		return Message{}, false, nil
	}
	m := Message{ChunkStream: id, Type: s.kind, StreamID: s.id, Time: s.time, Body: s.body}
	s.drop()
	return m, true, nil
}

// basicHeader reads format and chunk stream id (section 5.3.1.1).
func (r *Reader) basicHeader() (format uint8, id uint32, err error) {
	c, err := r.br.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	r.received++
	format, id = c>>6, uint32(c&0x3F)
	if id >= 2 {
		return format, id, nil
	}
	b := r.small[:id+1]
	if err := r.read(b); err != nil {
		return 0, 0, inside(err)
	}
	if id == 0 {
		return format, uint32(b[0]) + 64, nil
	}
	return format, uint32(b[1])<<8 + uint32(b[0]) + 64, nil
}

// stream finds or opens a chunk stream. The first header on it should be type
// 0; type 1 is taken too, with times from 0, because some encoders begin so
// (rockcarry/LiveDesk#7). Types 2 and 3 tell no length and cannot be.
func (r *Reader) stream(id uint32, format uint8) (*stream, error) {
	if s := r.streams[id]; s != nil {
		return s, nil
	}
	if format >= 2 {
		return nil, violation("chunk stream %d begins with a type %d header", id, format)
	}
	if len(r.streams) >= r.limits.Streams {
		return nil, violation("more than %d chunk streams", r.limits.Streams)
	}
	s := &stream{}
	r.streams[id] = s
	return s, nil
}

var headerSizes = [3]int{11, 7, 3}

// messageHeader reads what follows the basic header, and begins a message
// where there is none under way. A full header amid a message drops what came
// of it: the sender has given it up.
func (r *Reader) messageHeader(s *stream, format uint8) error {
	if format == 3 {
		return r.continuation(s)
	}
	h := r.small[:headerSizes[format]]
	if err := r.read(h); err != nil {
		return err
	}
	s.drop()
	t := uint32(h[0])<<16 | uint32(h[1])<<8 | uint32(h[2])
	if format <= 1 {
		s.length = uint32(h[3])<<16 | uint32(h[4])<<8 | uint32(h[5])
		s.kind = h[6]
	}
	if format == 0 {
		s.id = binary.LittleEndian.Uint32(h[7:])
	}
	if s.ext = t == extended; s.ext {
		e := r.small[:4]
		if err := r.read(e); err != nil {
			return err
		}
		t = binary.BigEndian.Uint32(e)
		s.extValue = t
	}
	if format == 0 {
		s.time = t
	} else {
		s.time += t
	}
	s.delta = t // section 5.3.1.2.4: after a type 0 chunk a type 3 adds that chunk's timestamp
	return r.begin(s)
}

// continuation handles a type 3 header, which goes on with a message or
// begins one like the last.
func (r *Reader) continuation(s *stream) error {
	if !s.begun {
		s.time += s.delta
		if err := r.begin(s); err != nil {
			return err
		}
	}
	if !s.ext {
		return nil
	}
	// Section 5.3.1.3 repeats the extended timestamp here; older librtmp and
	// others leave it out. Both are understood: the next four bytes are it if
	// they say the time again. Where the chunk's payload is shorter than four
	// bytes, looking ahead could wait for bytes that never come, so there the
	// peer's habit decides.
	if r.left(s) < 4 && r.omits {
		return nil
	}
	b, err := r.br.Peek(4)
	if err != nil {
		if r.left(s) < 4 && err == io.EOF {
			return nil // the stream's very last bytes, in the spelling without
		}
		return err
	}
	v := binary.BigEndian.Uint32(b)
	if r.omits = v != s.extValue && v != s.time; r.omits {
		return nil
	}
	return r.read(r.small[:4])
}

func (r *Reader) begin(s *stream) error {
	limit := r.limits.Message
	if s.kind == TypeVideo {
		limit = r.limits.Video
	}
	if int(s.length) > limit {
		return violation("message of type %d with %d bytes, at most %d are taken", s.kind, s.length, limit)
	}
	s.begun = true
	return nil
}

// left is how much payload this chunk has.
func (r *Reader) left(s *stream) int { return min(int(r.size), int(s.length)-s.got) }

// payload reads this chunk's share of the message.
func (r *Reader) payload(s *stream) error {
	for end := s.got + r.left(s); s.got < end; {
		if s.got == len(s.body) {
			r.grow(s)
		}
		to := min(end, len(s.body))
		if err := r.read(s.body[s.got:to]); err != nil {
			return err
		}
		s.got = to
	}
	return nil
}

// grow makes room for more of a message. A peer that has sent enough gets an
// ordinary message's whole buffer at once; otherwise it doubles with what came.
func (r *Reader) grow(s *stream) {
	n, first := int(s.length), min(int(s.length), creditMax)
	switch {
	case s.got > 0:
		n = min(n, 2*len(s.body))
	case r.spent+uint64(first) <= 2*r.received+creditFree:
		n = first
	default:
		n = min(n, firstRead)
	}
	b := make([]byte, n)
	copy(b, s.body[:s.got])
	s.body = b
	r.spent += uint64(n)
}

// read fills b and counts it.
func (r *Reader) read(b []byte) error {
	n, err := io.ReadFull(r.br, b)
	r.received += uint64(n)
	return err
}

// inside turns an end of input within a chunk into io.ErrUnexpectedEOF.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
