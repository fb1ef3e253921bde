package media

import (
	"bytes"
	"errors"
	"fmt"
)

// Types of open bitstream units (AV1 specification section 6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuMetadata          = 5
	obuFrame             = 6
)

// AV1Track reads an AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format
// Binding section 2.3), as Enhanced RTMP's sequence start carries it, and the
// sequence header in it.
//
// The record may lack the sequence header. Width and Height are 0 then, until
// [Refine] saw a key frame. The track's Config is a record of what the sequence
// header says, with that and the metadata in it.
func AV1Track(av1C []byte) (Track, error) {
	t, err := av1Track(av1C)
	if err != nil {
		return Track{}, fmt.Errorf("AV1 configuration of %d bytes: %w", len(av1C), err)
	}
	return t, nil
}

func av1Track(b []byte) (Track, error) {
	if len(b) < 4 {
		return Track{}, errors.New("too short for a record")
	}
	if b[0] != 0x81 {
		return Track{}, fmt.Errorf("marker and version %#02x, want 0x81", b[0])
	}
	t := Track{ID: VideoTrack, Codec: AV1, Timescale: VideoTimescale}
	var header, metadata []byte
	for rest := b[4:]; len(rest) > 0; {
		var u obu
		var err error
		if u, rest, err = takeOBU(rest); err != nil {
			return Track{}, err
		}
		switch {
		case u.kind == obuSequenceHeader && header == nil:
			header = u.sized()
			if err := t.av1(u.content); err != nil {
				return Track{}, err
			}
		case u.kind == obuMetadata:
			metadata = append(metadata, u.sized()...)
		}
	}
	if header == nil {
		info := av1FromRecord(b)
		t.Config, t.CodecString = info.record(), info.String()
		return t, nil
	}
	t.Config = append(append(t.Config, header...), metadata...)
	return t, nil
}

// av1 fills in what a sequence header says; Config is the record without units.
func (t *Track) av1(header []byte) error {
	info, err := parseAV1Header(header)
	if err != nil {
		return fmt.Errorf("sequence header of %d bytes: %w", len(header), err)
	}
	t.Config, t.CodecString = info.record(), info.String()
	t.Width, t.Height, t.FrameRate, t.Color = info.width, info.height, info.frameRate, info.color
	return nil
}

// An obu is one open bitstream unit.
type obu struct {
	kind    byte
	header  []byte // one or two bytes, without the size
	content []byte
}

// takeOBU splits the first unit off b. One without a size extends to the end
// (AV1 specification section 5.3.1).
func takeOBU(b []byte) (u obu, rest []byte, err error) {
	if len(b) == 0 || b[0]&0x80 != 0 {
		return obu{}, nil, errors.New("not an open bitstream unit")
	}
	u.kind = b[0] >> 3 & 15
	n := 1
	if b[0]&4 != 0 { // obu_extension_flag
		n = 2
	}
	if len(b) < n {
		return obu{}, nil, errors.New("open bitstream unit cut short")
	}
	u.header, rest = b[:n], b[n:]
	if b[0]&2 == 0 { // obu_has_size_field
		u.content = rest
		return u, nil, nil
	}
	size, bytes := leb128(rest)
	if bytes == 0 || size > uint64(len(rest)-bytes) {
		return obu{}, nil, fmt.Errorf("open bitstream unit says %d bytes, %d are there", size, len(rest)-bytes)
	}
	u.content = rest[bytes : bytes+int(size)]
	return u, rest[bytes+int(size):], nil
}

// sized is the unit with a size field, as a record wants it.
func (u obu) sized() []byte {
	out := append([]byte{u.header[0] | 2}, u.header[1:]...)
	n := len(u.content)
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, byte(n)), u.content...)
}

// leb128 reads a number of at most 32 bits (AV1 specification section 4.10.5)
// and tells how many bytes it has; 0: it is broken.
func leb128(b []byte) (v uint64, bytes int) {
	for i := 0; i < 8 && i < len(b); i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if v > 1<<32-1 {
				return 0, 0
			}
			return v, i + 1
		}
	}
	return 0, 0
}

// av1Info is what a sequence header says (AV1 specification section 5.5).
type av1Info struct {
	profile, level, tier uint32
	depth                int
	mono                 bool
	subsampleX           uint32
	subsampleY           uint32
	position             uint32 // chroma_sample_position
	described            bool   // color_description_present_flag
	color                Color
	width, height        int
	frameRate            float64
	decoderModel         bool
	delayBits            int // buffer_delay_length
	initialDisplayDelay  bool
}

func parseAV1Header(b []byte) (av1Info, error) {
	r := &bitReader{data: b}
	var info av1Info
	info.profile = r.bits(3)
	r.skip(1)           // still_picture
	reduced := r.flag() // reduced_still_picture_header
	if info.profile > 2 {
		return info, fmt.Errorf("profile %d is reserved", info.profile)
	}
	if reduced {
		return info, fmt.Errorf("a still picture: %w", ErrUnsupported)
	}
	info.timing(r)
	info.operatingPoints(r)
	widthBits, heightBits := int(r.bits(4))+1, int(r.bits(4))+1
	info.width, info.height = int(r.bits(widthBits))+1, int(r.bits(heightBits))+1
	if r.flag() { // frame_id_numbers_present_flag
		r.skip(7)
	}
	skipAV1Tools(r)
	info.colors(r)
	if r.over {
		return info, errors.New("cut short")
	}
	if info.width > maxDimension || info.height > maxDimension {
		return info, fmt.Errorf("picture of %d x %d", info.width, info.height)
	}
	return info, nil
}

// timing reads timing_info and decoder_model_info (AV1 specification sections
// 5.5.3, 5.5.4).
func (info *av1Info) timing(r *bitReader) {
	if !r.flag() {
		return
	}
	units, scale := r.bits(32), r.bits(32)
	if r.flag() && units > 0 { // equal_picture_interval
		rate := float64(scale) / (float64(units) * (float64(r.ue()) + 1))
		if rate >= 0.1 && rate <= 1000 {
			info.frameRate = rate
		}
	}
	if info.decoderModel = r.flag(); info.decoderModel {
		info.delayBits = int(r.bits(5)) + 1
		r.skip(32 + 5 + 5)
	}
}

// operatingPoints reads the levels; the first point's are the stream's.
func (info *av1Info) operatingPoints(r *bitReader) {
	info.initialDisplayDelay = r.flag()
	for i := range r.bits(5) + 1 {
		r.skip(12) // operating_point_idc
		level, tier := r.bits(5), uint32(0)
		if level > 7 {
			tier = r.bit()
		}
		if i == 0 {
			info.level, info.tier = level, tier
		}
		if info.decoderModel && r.flag() {
			r.skip(2*info.delayBits + 1)
		}
		if info.initialDisplayDelay && r.flag() {
			r.skip(4)
		}
	}
}

// skipAV1Tools skips the switches of coding tools.
func skipAV1Tools(r *bitReader) {
	r.skip(3 + 4) // superblocks, intra tools; inter-intra, masked, warped, dual filter
	order := r.flag()
	if order { // enable_order_hint
		r.skip(2)
	}
	screen := uint32(2)
	if !r.flag() { // seq_choose_screen_content_tools
		screen = r.bit()
	}
	if screen > 0 && !r.flag() { // seq_choose_integer_mv
		r.skip(1)
	}
	if order {
		r.skip(3)
	}
	r.skip(3) // superres, cdef, restoration
}

// colors reads color_config (AV1 specification section 5.5.2).
func (info *av1Info) colors(r *bitReader) {
	info.depth = 8
	if r.flag() { // high_bitdepth
		info.depth = 10
		if info.profile == 2 && r.flag() {
			info.depth = 12
		}
	}
	info.mono = info.profile != 1 && r.flag()
	info.color = Color{Primaries: 2, Transfer: 2, Matrix: 2} // unspecified
	if info.described = r.flag(); info.described {
		info.color = Color{Primaries: uint8(r.bits(8)), Transfer: uint8(r.bits(8)), Matrix: uint8(r.bits(8))}
	}
	info.subsampleX, info.subsampleY = 1, 1
	switch {
	case info.mono:
		info.color.Full = r.flag()
		return
	case info.color.Primaries == 1 && info.color.Transfer == 13 && info.color.Matrix == 0: // sRGB
		info.color.Full = true
		info.subsampleX, info.subsampleY = 0, 0
		return
	}
	info.color.Full = r.flag()
	switch {
	case info.profile == 1:
		info.subsampleX, info.subsampleY = 0, 0
	case info.profile == 2 && info.depth == 12:
		if info.subsampleX = r.bit(); info.subsampleX == 1 {
			info.subsampleY = r.bit()
		} else {
			info.subsampleY = 0
		}
	case info.profile == 2:
		info.subsampleY = 0
	}
	if info.subsampleX == 1 && info.subsampleY == 1 {
		info.position = r.bits(2)
	}
}

// record writes the four bytes of the configuration record.
func (info *av1Info) record() []byte {
	high, twelve, mono := uint32(0), uint32(0), uint32(0)
	if info.depth > 8 {
		high = 1
	}
	if info.depth > 10 {
		twelve = 1
	}
	if info.mono {
		mono = 1
	}
	return []byte{
		0x81,
		byte(info.profile<<5 | info.level),
		byte(info.tier<<7 | high<<6 | twelve<<5 | mono<<4 | info.subsampleX<<3 | info.subsampleY<<2 | info.position),
		0, // initial presentation delay: not told
	}
}

// av1FromRecord is what a record says without a sequence header.
func av1FromRecord(b []byte) av1Info {
	info := av1Info{
		profile: uint32(b[1] >> 5), level: uint32(b[1] & 31), tier: uint32(b[2] >> 7), depth: 8,
		mono: b[2]&0x10 != 0, subsampleX: uint32(b[2] >> 3 & 1), subsampleY: uint32(b[2] >> 2 & 1), position: uint32(b[2] & 3),
	}
	if b[2]&0x40 != 0 {
		info.depth = 10
		if b[2]&0x20 != 0 {
			info.depth = 12
		}
	}
	return info
}

// String is the name of RFC 6381 (AV1 Codec ISO Media File Format Binding
// section 5). What follows the depth is told where it is not what players take
// for granted.
func (info *av1Info) String() string {
	tier := 'M'
	if info.tier == 1 {
		tier = 'H'
	}
	s := fmt.Sprintf("av01.%d.%02d%c.%02d", info.profile, info.level, tier, info.depth)
	plain := !info.mono && info.subsampleX == 1 && info.subsampleY == 1
	if plain && (!info.described || info.color == bt709) {
		return s
	}
	mono := 0
	if info.mono {
		mono = 1
	}
	c, full := info.color, 0
	if !info.described {
		c = Color{Primaries: 1, Transfer: 1, Matrix: 1, Full: c.Full}
	}
	if c.Full {
		full = 1
	}
	return fmt.Sprintf("%s.%d.%d%d%d.%02d.%02d.%02d.%d", s, mono, info.subsampleX, info.subsampleY, info.position,
		c.Primaries, c.Transfer, c.Matrix, full)
}

// av1Unit is a temporal unit as media files hold it: without the delimiters
// that encoders put before it. Where a key frame lacks its sequence header, that
// of config is put before it.
func av1Unit(config, b []byte) []byte {
	for len(b) > 0 && b[0]>>3&15 == obuTemporalDelimiter {
		_, rest, err := takeOBU(b)
		if err != nil || rest == nil {
			return nil
		}
		b = rest
	}
	if header, key := scanAV1(b); key && header == nil && len(config) > 4 {
		return append(bytes.Clone(config[4:]), b...)
	}
	return b
}

// scanAV1 looks for the sequence header of a temporal unit, and for whether its
// first frame is a key frame that is shown: decoding starts at those, while key
// frames to be shown later are for the middle of a group.
func scanAV1(b []byte) (header []byte, key bool) {
	for len(b) > 0 {
		u, rest, err := takeOBU(b)
		if err != nil {
			return header, false
		}
		switch u.kind {
		case obuSequenceHeader:
			header = u.content
		case obuFrame, obuFrameHeader:
			// show_existing_frame 0, frame_type KEY_FRAME, show_frame 1 (AV1
			// specification section 5.9.2; reduced still pictures are refused)
			return header, len(u.content) > 0 && u.content[0]>>4 == 1
		}
		b = rest
	}
	return header, false
}

// refineAV1 is [Refine] for AV1.
func refineAV1(t *Track, frame []byte) (Track, bool) {
	header, key := scanAV1(frame)
	if !key || header == nil {
		return *t, false
	}
	if u, _, err := takeOBU(t.Config[4:]); err == nil && bytes.Equal(u.content, header) {
		return *t, false
	}
	own := *t
	if own.av1(header) != nil {
		return *t, false
	}
	own.Config = append(own.Config, obu{header: []byte{obuSequenceHeader << 3}, content: header}.sized()...)
	return own, true
}
