package mp4

import (
	"encoding/binary"
	"fmt"
)

// A reader takes fields off a box's content. Past the end it yields zeros and
// remembers that it did.
type reader struct {
	b    []byte
	over bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.over, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) skip(n int) { r.take(n) }

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// word reads 32 bits, or 64 where wide.
func (r *reader) word(wide bool) uint64 {
	if wide {
		return r.u64()
	}
	return uint64(r.u32())
}

// full reads the version and flags of a full box.
func (r *reader) full() (version uint8, flags uint32) {
	v := r.u32()
	return uint8(v >> 24), v & 0xFFFFFF
}

func (r *reader) err() error {
	if r.over {
		return ErrBroken
	}
	return nil
}

// each calls use for each box in b, in order, until one returns an error.
func each(b []byte, use func(kind string, content []byte) error) error {
	for len(b) >= 8 {
		n, header := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		switch {
		case n == 0:
			n = uint64(len(b))
		case n == 1 && len(b) >= 16:
			n, header = binary.BigEndian.Uint64(b[8:]), 16
		}
		kind := string(b[4:8])
		if n < header || n > uint64(len(b)) {
			return fmt.Errorf("box %q: %w", kind, ErrBroken)
		}
		if err := use(kind, b[header:n:n]); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		b = b[n:]
	}
	return nil
}
