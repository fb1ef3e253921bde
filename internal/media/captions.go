package media

import (
	"encoding/binary"
	"math/bits"
	"strconv"
)

// CaptionServices are the closed captions of a video track: which channels of
// CEA-608 and services of CEA-708 have been used.
type CaptionServices struct {
	cc       uint8  // bit 0: CC1 … bit 3: CC4
	services uint64 // bit n: service n, 1 to 63
}

// None reports whether there are no captions.
func (s CaptionServices) None() bool { return s == CaptionServices{} }

// IDs are the services as INSTREAM-ID names them (rfc8216bis-22 section
// 4.4.6.1): CC1 to CC4, then SERVICE1 to SERVICE63.
func (s CaptionServices) IDs() []string {
	var ids []string
	for i := range 4 {
		if s.cc>>i&1 == 1 {
			ids = append(ids, "CC"+strconv.Itoa(i+1))
		}
	}
	for i := 1; i < 64; i++ {
		if s.services>>i&1 == 1 {
			ids = append(ids, "SERVICE"+strconv.Itoa(i))
		}
	}
	return ids
}

// maxCaptionBytes is how much of a frame's SEI units is looked at. Captions of one
// picture have 98 bytes at most.
const maxCaptionBytes = 16 << 10

// See adds what a frame of H264 or HEVC carries as ATSC A/53 Part 4 section 6.2.3
// puts captions into the video: in SEI messages of user data registered by ITU-T
// T.35. It looks at the SEI units before the picture alone, allocates nothing, and
// changes no byte. Frames of other codecs carry none.
func (s *CaptionServices) See(codec Codec, payload []byte) {
	left := maxCaptionBytes
	for len(payload) > 5 && left > 0 {
		n := uint64(binary.BigEndian.Uint32(payload))
		if n > uint64(len(payload)-4) {
			return
		}
		unit := payload[4 : 4+n]
		payload = payload[4+n:]
		if n < 3 {
			continue
		}
		sei, picture, header := false, false, 1
		switch codec {
		case H264:
			kind := unit[0] & 0x1f
			sei, picture = kind == 6, kind >= 1 && kind <= 5
		case HEVC:
			kind := unit[0] >> 1 & 0x3f
			sei, picture, header = kind == 39, kind < 32, 2
		default:
			return
		}
		if picture {
			return
		}
		if sei {
			unit = unit[header:min(len(unit), left)]
			left -= len(unit)
			s.unit(unit)
		}
	}
}

// unit reads the messages of one SEI unit (ITU-T H.264 section 7.3.2.3.1; the
// same in H.265).
func (s *CaptionServices) unit(b []byte) {
	r := escaped{b: b}
	for r.more() {
		kind, size := r.varied(), r.varied()
		const registered = 4 // user_data_registered_itu_t_t35
		if kind == registered && size > 10 {
			end := r.read + size
			s.registered(&r, size)
			size = end - r.read
		}
		for range size {
			if _, ok := r.next(); !ok {
				return
			}
		}
	}
}

// registered reads user data of ATSC: cc_data() of A/53 Part 4 table 6.8.
func (s *CaptionServices) registered(r *escaped, size int) {
	for _, want := range [...]byte{0xb5, 0x00, 0x31, 'G', 'A', '9', '4', 0x03} {
		if c, ok := r.next(); !ok || c != want {
			return
		}
	}
	flags, _ := r.next()
	r.next() // em_data
	if flags&0x40 == 0 {
		return // process_cc_data_flag
	}
	var p dtvcc
	for range min(int(flags&0x1f), (size-10)/3) {
		marker, _ := r.next()
		a, _ := r.next()
		b, ok := r.next()
		if !ok {
			return
		}
		if marker&0x04 == 0 { // cc_valid
			p = dtvcc{}
			continue
		}
		switch kind := marker & 3; kind {
		case 0, 1:
			s.cc |= line21(kind, a, b)
		case 3:
			p.start(a)
			p.data(s, b)
		case 2:
			p.data(s, a)
			p.data(s, b)
		}
	}
}

// line21 returns the bit of the channel that a pair of field 1 or 2 (0, 1)
// commands (CEA-608-E section 8.4), or 0: text between two commands names none,
// and padding is no caption.
func line21(field, a, b byte) uint8 {
	if bits.OnesCount8(a)&1 == 0 || bits.OnesCount8(b)&1 == 0 {
		return 0 // parity is odd
	}
	a, b = a&0x7f, b&0x7f
	if a < 0x10 || a > 0x1f || b < 0x20 {
		return 0
	}
	return 1 << (2*field + a>>3&1)
}

// A dtvcc is a DTVCC packet (CEA-708-E section 5) as far as it lies within one
// frame: frames come in the order of decoding, so it is not followed beyond.
type dtvcc struct {
	left  int // bytes of the packet
	block int // of the service block
	next  bool
}

func (p *dtvcc) start(header byte) {
	size := int(header&0x3f) * 2
	if size == 0 {
		size = 128
	}
	*p = dtvcc{left: size - 1}
}

func (p *dtvcc) data(s *CaptionServices, c byte) {
	if p.left == 0 {
		return
	}
	p.left--
	switch {
	case p.next: // extended_service_number
		p.next = false
		s.services |= 1 << (c & 0x3f) &^ 1
	case p.block > 0:
		p.block--
	default:
		number := c >> 5
		p.block = int(c & 0x1f)
		switch {
		case p.block == 0:
		case number == 7:
			p.next = true
		default:
			s.services |= 1 << number &^ 1
		}
	}
}

// escaped reads a NAL unit without its emulation prevention bytes.
type escaped struct {
	b     []byte
	at    int
	read  int // bytes returned
	zeros int
}

func (r *escaped) next() (byte, bool) {
	if r.at < len(r.b) && r.zeros >= 2 && r.b[r.at] == 3 {
		r.at++
		r.zeros = 0
	}
	if r.at >= len(r.b) {
		return 0, false
	}
	c := r.b[r.at]
	r.at++
	r.read++
	if c == 0 {
		r.zeros++
	} else {
		r.zeros = 0
	}
	return c, true
}

// more reports whether a message follows, rather than the unit's last bits.
func (r *escaped) more() bool { return len(r.b)-r.at > 2 }

// varied reads a number as SEI messages have it: 255 for each 0xff.
func (r *escaped) varied() (n int) {
	for {
		c, ok := r.next()
		n += int(c)
		if !ok || c != 0xff {
			return n
		}
	}
}
