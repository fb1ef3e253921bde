package media

// bitReader reads big-endian bits. Past the end it yields zeros and remembers
// that it did, so that a parser checks once, at its end.
type bitReader struct {
	data []byte
	pos  int  // in bits
	over bool // something past the end was asked for
}

func (r *bitReader) bit() uint32 {
	if r.pos >= 8*len(r.data) {
		r.over = true
		return 0
	}
	b := r.data[r.pos>>3] >> (7 - r.pos&7) & 1
	r.pos++
	return uint32(b)
}

func (r *bitReader) flag() bool { return r.bit() == 1 }

// bits reads n <= 32 bits.
func (r *bitReader) bits(n int) uint32 {
	var v uint32
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

func (r *bitReader) skip(n int) {
	if n > 8*len(r.data)-r.pos {
		r.over = true
		r.pos = 8 * len(r.data)
		return
	}
	r.pos += n
}

func (r *bitReader) left() int { return 8*len(r.data) - r.pos }

// ue reads an unsigned Exp-Golomb code (ITU-T H.264 section 9.1). Codes longer
// than 32 bits do not exist in what is parsed here and count as an overrun.
func (r *bitReader) ue() uint32 {
	zeros := 0
	for r.bit() == 0 {
		zeros++
		if zeros > 31 || r.over {
			r.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// se reads a signed Exp-Golomb code (ITU-T H.264 section 9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2) + 1
	}
	return -int32(v / 2)
}
