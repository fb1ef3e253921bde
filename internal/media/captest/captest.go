// Package captest makes closed captions for tests: pairs of CEA-608 that spell a
// text, packets of CEA-708, the SEI units that carry them, and clips with these.
// Nothing in the product imports it.
package captest

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"tally/internal/rtmp/avcc"
	"tally/internal/rtmp/flv"
)

// A Triplet is one construct of cc_data() (ATSC A/53 Part 4 table 6.8).
type Triplet [3]byte

// odd adds the parity bit.
func odd(b byte) byte {
	if bits.OnesCount8(b)&1 == 0 {
		b |= 0x80
	}
	return b
}

// pair is a pair of field 1 or 2 (0, 1).
func pair(field, a, b byte) Triplet { return Triplet{0xfc | field, odd(a), odd(b)} }

// Padding is a pair of field 1 without meaning, as encoders send where nobody
// speaks.
func Padding() Triplet { return pair(0, 0, 0) }

// RollUp is a text of letters, figures and spaces as pairs, one a picture: two
// lines that roll up (CEA-608-E section 7.1), on CC1 to CC4 (1 to 4).
func RollUp(channel int, text string) []Triplet {
	field, second := byte((channel-1)/2), byte((channel-1)%2)*8
	misc := 0x14 + second // miscellaneous commands; of field 2: 0x15
	if field == 1 {
		misc++
	}
	var out []Triplet
	command := func(a, b byte) { out = append(out, pair(field, a, b), pair(field, a, b)) } // each is sent twice
	command(misc, 0x25)                                                                    // RU2
	command(misc, 0x2d)                                                                    // CR
	command(0x14+second, 0x70)                                                             // row 15, from the left
	if len(text)%2 == 1 {
		text += " "
	}
	for i := 0; i < len(text); i += 2 {
		out = append(out, pair(field, text[i], text[i+1]))
	}
	command(misc, 0x2d)
	return out
}

// Service is a packet of CEA-708 with some text of a service.
func Service(number int, text string) []Triplet {
	b := []byte{0}
	if number < 7 {
		b = append(b, byte(number<<5|len(text)))
	} else {
		b = append(b, byte(7<<5|len(text)), byte(number))
	}
	b = append(b, text...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b[0] = byte(len(b) / 2)
	out := []Triplet{{0xff, b[0], b[1]}}
	for i := 2; i < len(b); i += 2 {
		out = append(out, Triplet{0xfe, b[i], b[i+1]})
	}
	return out
}

// SEI is an SEI unit with its length before it. hevc: for H.265.
func SEI(hevc bool, triplets ...Triplet) []byte {
	data := []byte{0xb5, 0x00, 0x31, 'G', 'A', '9', '4', 0x03, 0x40 | byte(len(triplets)), 0xff}
	for _, t := range triplets {
		data = append(data, t[:]...)
	}
	data = append(data, 0xff)
	unit := []byte{6}
	if hevc {
		unit = []byte{39 << 1, 1}
	}
	body := append([]byte{4, byte(len(data))}, data...)
	zeros := 0
	for _, c := range append(body, 0x80) {
		if zeros >= 2 && c <= 3 {
			unit, zeros = append(unit, 3), 0 // emulation prevention
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		unit = append(unit, c)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(unit))), unit...)
}

// Clip is a copy of an H.264 clip with pairs in its pictures, one in each, over
// and over.
func Clip(c *flv.Clip, pairs []Triplet) *flv.Clip {
	out := *c
	out.Tags = slices.Clone(c.Tags)
	n := 0
	for i, t := range out.Tags {
		if t.Type != flv.TypeVideo || !flv.IsFrame(t) {
			continue
		}
		at, ok := avcc.FirstPicture(t.Body[5:])
		if !ok {
			continue
		}
		out.Tags[i].Body = slices.Concat(t.Body[:5+at], SEI(false, pairs[n%len(pairs)]), t.Body[5+at:])
		n++
	}
	return &out
}
