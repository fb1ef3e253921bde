// Package flv reads and writes the FLV container and the tag bodies that RTMP
// audio and video messages carry (Adobe Flash Video File Format Specification
// 10.1, annex E).
//
// Body parsing copies nothing: what it returns points into the body it was given.
// Nothing here allocates more than the bytes that were really read.
package flv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Tag types (annex E.4.1). They are RTMP's message type ids as well.
const (
	TypeAudio  = 8
	TypeVideo  = 9
	TypeScript = 18
)

// MaxBody is the longest tag body: its length has 24 bits.
const MaxBody = 1<<24 - 1

var (
	// ErrNotFLV: the input does not begin with an FLV file header.
	ErrNotFLV = errors.New("not an FLV file")
	// ErrTruncated: a file, tag or body ends before its fixed fields or its
	// declared length.
	ErrTruncated = errors.New("truncated")
)

// A Tag is one tag of an FLV file, or the payload of one RTMP media message.
type Tag struct {
	Type uint8  // TypeAudio, TypeVideo, TypeScript
	Time int64  // ms, unwrapped to 64 bits
	Body []byte // shared: do not change
}

// A Reader reads the tags of one FLV file. It is not safe for concurrent use.
type Reader struct {
	r    io.Reader
	head [11]byte
	last int64
	seen bool
}

// NewReader reads the file header. It returns ErrNotFLV when there is none.
func NewReader(r io.Reader) (*Reader, error) {
	var h [9]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, fmt.Errorf("file header: %w", notEOF(err, ErrNotFLV))
	}
	if string(h[:3]) != "FLV" {
		return nil, ErrNotFLV
	}
	// DataOffset may be larger than 9 in a later version; what lies between is
	// skipped, then PreviousTagSize0.
	skip := int64(binary.BigEndian.Uint32(h[5:])) - 9
	if skip < 0 || skip > 1024 {
		return nil, ErrNotFLV
	}
	if _, err := io.CopyN(io.Discard, r, skip+4); err != nil {
		return nil, fmt.Errorf("file header: %w", notEOF(err, ErrTruncated))
	}
	return &Reader{r: r}, nil
}

// Next returns the next tag with a body of its own. It returns io.EOF at the
// end of the file and ErrTruncated in the middle of a tag. Tags of other types
// are skipped.
func (r *Reader) Next() (Tag, error) {
	for {
		if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
			if err == io.EOF {
				return Tag{}, io.EOF
			}
			return Tag{}, notEOF(err, ErrTruncated)
		}
		size := int(be24(r.head[1:]))
		body, err := readGrowing(r.r, size)
		if err != nil {
			return Tag{}, err
		}
		// PreviousTagSize; a file that was cut off right before it is whole.
		if _, err := io.CopyN(io.Discard, r.r, 4); err != nil && err != io.EOF {
			return Tag{}, err
		}
		t := Tag{Type: r.head[0] & 0x1F, Time: r.unwrap(be24(r.head[4:]) | uint32(r.head[7])<<24), Body: body}
		switch t.Type {
		case TypeAudio, TypeVideo, TypeScript:
			return t, nil
		}
	}
}

// unwrap carries the 32-bit time on past its wrap at 2^32 ms.
func (r *Reader) unwrap(t uint32) int64 {
	if !r.seen {
		r.seen, r.last = true, int64(t)
	} else {
		r.last += int64(int32(t - uint32(r.last)))
	}
	return r.last
}

// firstRead bounds what a declared length allocates before any byte came.
const firstRead = 64 << 10

// readGrowing reads n bytes into a buffer that never holds more than twice
// what was read, plus firstRead.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, min(n, firstRead))
	got := 0
	for {
		k, err := io.ReadFull(r, b[got:])
		got += k
		if err != nil {
			return nil, notEOF(err, ErrTruncated)
		}
		if got == n {
			return b, nil
		}
		bigger := make([]byte, min(n, 2*len(b)))
		copy(bigger, b)
		b = bigger
	}
}

func notEOF(err, instead error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return instead
	}
	return err
}

func be24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// A Clip is a whole FLV file in memory. It is immutable, so that any number of
// publishers can share it.
type Clip struct {
	Tags []Tag
	// Duration is how far Time moves on when the clip starts over, in ms: the
	// longer track's length, so that neither overlaps itself.
	Duration int64
}

// Load reads all of r, which must be an FLV file with at least one media tag.
func Load(r io.Reader) (*Clip, error) {
	fr, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	var c Clip
	var ends [2]span
	for {
		t, err := fr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("tag %d: %w", len(c.Tags), err)
		}
		c.Tags = append(c.Tags, t)
		switch {
		case !IsFrame(t):
		case t.Type == TypeVideo:
			ends[0].add(t.Time)
		default:
			ends[1].add(t.Time)
		}
	}
	if ends[0].n+ends[1].n == 0 {
		return nil, fmt.Errorf("no audio or video: %w", ErrNotFLV)
	}
	c.Duration = max(ends[0].length(), ends[1].length(), 1)
	return &c, nil
}

// A span is what one track of a clip covers.
type span struct {
	first, last int64
	n           int64
}

func (s *span) add(t int64) {
	if s.n == 0 {
		s.first = t
	}
	s.last = t
	s.n++
}

// length lasts to the end of the last frame, if that is as long as the average
// one.
func (s *span) length() int64 {
	if s.n < 2 {
		return 40 * s.n // a single picture: one frame at 25 per second
	}
	return s.last - s.first + (s.last-s.first+(s.n-1)/2)/(s.n-1)
}

// AppendHeader appends an FLV file header and PreviousTagSize0.
func AppendHeader(dst []byte, audio, video bool) []byte {
	var flags byte
	if audio {
		flags |= 4
	}
	if video {
		flags |= 1
	}
	return append(dst, 'F', 'L', 'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0)
}

// AppendTag appends one tag and its PreviousTagSize. Time keeps its low 32
// bits; a body longer than MaxBody panics, because no wire can carry it.
func AppendTag(dst []byte, t Tag) []byte {
	if len(t.Body) > MaxBody {
		panic("flv: tag body longer than 16 MB")
	}
	n, ms := len(t.Body), uint32(t.Time)
	dst = append(dst, t.Type, byte(n>>16), byte(n>>8), byte(n),
		byte(ms>>16), byte(ms>>8), byte(ms), byte(ms>>24), 0, 0, 0)
	dst = append(dst, t.Body...)
	return binary.BigEndian.AppendUint32(dst, uint32(n+11))
}
