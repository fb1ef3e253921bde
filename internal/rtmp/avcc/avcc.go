// Package avcc walks and repairs length-prefixed NAL units of H.264 and HEVC, as
// ISO/IEC 14496-15 section 5.3.4.2 and the video bodies of FLV carry them.
package avcc

import (
	"encoding/binary"
	"errors"
)

// H.264 NAL unit types (ITU-T H.264 table 7-1) that ingest looks at.
const (
	TypeIDR = 5
	TypeSEI = 6
	TypeSPS = 7
	TypePPS = 8
	TypeAUD = 9
)

var (
	// ErrLengths: the lengths do not add up to the data.
	ErrLengths = errors.New("NAL unit lengths do not add up to the frame")
	// ErrStartCodes: the same, and the data looks like an Annex B byte stream.
	ErrStartCodes = errors.New("NAL units begin with start codes (Annex B) where lengths are expected")
)

// Info is what Check saw in a frame.
type Info struct {
	Key      bool // has a slice of an IDR picture; of HEVC: of any IRAP picture
	Pictures bool // has a slice at all (types 1 to 5; of HEVC: 0 to 31)
	Empty    int  // NAL units of length 0
}

// HEVC NAL unit types (ITU-T H.265 table 7-1): slices lie below the first
// parameter set, those of IRAP pictures between these.
const (
	hevcIRAPFirst = 16
	hevcIRAPLast  = 23
	hevcVPS       = 32
)

// Check walks a frame of H.264 with 4-byte lengths. It allocates nothing and
// returns ErrLengths or ErrStartCodes when the lengths do not add up.
func Check(b []byte) (Info, error) { return walk(b, false) }

// CheckHEVC is Check for a frame of HEVC.
func CheckHEVC(b []byte) (Info, error) { return walk(b, true) }

func walk(b []byte, hevc bool) (Info, error) {
	var in Info
	for rest := b; len(rest) > 0; {
		if len(rest) < 4 {
			return in, broken(b)
		}
		n := uint64(binary.BigEndian.Uint32(rest))
		if n > uint64(len(rest)-4) {
			return in, broken(b)
		}
		switch {
		case n == 0:
			in.Empty++
		case hevc:
			t := rest[4] >> 1 & 0x3F
			in.Key = in.Key || t >= hevcIRAPFirst && t <= hevcIRAPLast
			in.Pictures = in.Pictures || t < hevcVPS
		default:
			t := rest[4] & 0x1F
			in.Key = in.Key || t == TypeIDR
			in.Pictures = in.Pictures || t >= 1 && t <= TypeIDR
		}
		rest = rest[4+n:]
	}
	return in, nil
}

func broken(b []byte) error {
	if len(b) >= 4 && b[0] == 0 && b[1] == 0 && (b[2] == 1 || b[2] == 0 && b[3] == 1) {
		return ErrStartCodes
	}
	return ErrLengths
}

// DropEmpty removes NAL units of length 0 from a frame that Check accepted, in
// place: decoders treat them as an error. It returns the shorter slice.
func DropEmpty(b []byte) []byte {
	out := b[:0]
	for rest := b; len(rest) >= 4; {
		n := 4 + int(binary.BigEndian.Uint32(rest))
		if n > 4 {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return out
}

// Widen copies a frame whose lengths have size bytes (1 to 3) into one with
// 4-byte lengths, or returns ErrLengths. The copy is at most 2.5 times as long,
// plus what empty NAL units add; it is counted before it is allocated.
func Widen(b []byte, size int) ([]byte, error) {
	units := 0
	for rest := b; len(rest) > 0; units++ {
		n, err := prefix(rest, size)
		if err != nil {
			return nil, err
		}
		rest = rest[size+n:]
	}
	out := make([]byte, 0, len(b)+units*(4-size))
	for rest := b; len(rest) > 0; {
		n, _ := prefix(rest, size)
		out = binary.BigEndian.AppendUint32(out, uint32(n))
		out = append(out, rest[size:size+n]...)
		rest = rest[size+n:]
	}
	return out, nil
}

func prefix(b []byte, size int) (int, error) {
	if len(b) < size {
		return 0, ErrLengths
	}
	n := 0
	for _, c := range b[:size] {
		n = n<<8 | int(c)
	}
	if n > len(b)-size {
		return 0, ErrLengths
	}
	return n, nil
}

// FirstPicture returns the offset of the first NAL unit of types 1 to 5 in a
// frame with 4-byte lengths: where an SEI message may be inserted. It returns
// false when there is none, or when the lengths are broken before it.
func FirstPicture(b []byte) (int, bool) {
	for at := 0; at+4 < len(b); {
		n := uint64(binary.BigEndian.Uint32(b[at:]))
		if n > uint64(len(b)-at-4) {
			return 0, false
		}
		if t := b[at+4] & 0x1F; n > 0 && t >= 1 && t <= TypeIDR {
			return at, true
		}
		at += 4 + int(n)
	}
	return 0, false
}
