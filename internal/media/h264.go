package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrUnsupported marks a configuration that is well-formed but of a kind that
// Tally cannot package. Every other error of the parsers means broken bytes.
var ErrUnsupported = errors.New("unsupported")

// H264Track reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section
// 5.3.3.1), as RTMP's AVC sequence header carries it, and the first sequence
// parameter set in it (ITU-T H.264 section 7.3.2.1.1).
//
// Frames of the track carry 4-byte NAL unit lengths whatever the record says,
// and the track's Config is a copy that says so; [H264LengthSize] tells what
// the encoder's own frames have.
func H264Track(avcC []byte) (Track, error) {
	sps, end, err := parseAVCC(avcC)
	if err != nil {
		return Track{}, fmt.Errorf("AVC configuration of %d bytes: %w", len(avcC), err)
	}
	info, err := parseSPS(sps)
	if err != nil {
		return Track{}, fmt.Errorf("AVC sequence parameter set of %d bytes: %w", len(sps), err)
	}
	config := slices.Clone(avcC[:end])
	config[4] |= 3 // lengthSizeMinusOne
	return Track{
		ID:          VideoTrack,
		Codec:       H264,
		Timescale:   VideoTimescale,
		Config:      config,
		Width:       info.width,
		Height:      info.height,
		FrameRate:   info.frameRate,
		Color:       info.color,
		Aspect:      info.aspect,
		CodecString: fmt.Sprintf("avc1.%02x%02x%02x", sps[1], sps[2], sps[3]), // RFC 6381 section 3.3
	}, nil
}

// H264LengthSize is how many bytes each NAL unit's length has in the frames
// that belong to avcC: 1, 2 or 4; 0 when the record is too short or reserves it.
func H264LengthSize(avcC []byte) int {
	if len(avcC) < 5 || avcC[4]&3 == 2 {
		return 0
	}
	return int(avcC[4]&3) + 1
}

// parseAVCC returns the first SPS and where the record ends.
func parseAVCC(b []byte) (sps []byte, end int, err error) {
	if len(b) < 7 {
		return nil, 0, errors.New("too short for a record")
	}
	if b[0] != 1 {
		return nil, 0, fmt.Errorf("version %d, want 1", b[0])
	}
	if H264LengthSize(b) == 0 {
		return nil, 0, errors.New("NAL unit length of 3 bytes is reserved")
	}
	rest := b[6:]
	for i := range int(b[5] & 31) {
		var unit []byte
		if unit, rest, err = takeUnit(rest); err != nil {
			return nil, 0, fmt.Errorf("sequence parameter set %d: %w", i, err)
		}
		if sps == nil {
			sps = unit
		}
	}
	if sps == nil {
		return nil, 0, errors.New("no sequence parameter set")
	}
	if len(rest) == 0 || rest[0] == 0 {
		return nil, 0, errors.New("no picture parameter set")
	}
	n := int(rest[0])
	rest = rest[1:]
	for i := range n {
		if _, rest, err = takeUnit(rest); err != nil {
			return nil, 0, fmt.Errorf("picture parameter set %d: %w", i, err)
		}
	}
	end = len(b) - len(rest)
	if highProfile(sps[1]) {
		end = extensionEnd(b, end)
	}
	return sps, end, nil
}

// extensionEnd returns where the record ends that has the high profiles'
// extension at b[at:]. Encoders leave it out or break it (librtmp-based ones
// do); players never need it, so what does not parse is cut off.
func extensionEnd(b []byte, at int) int {
	rest := b[at:]
	if len(rest) < 4 || rest[0]>>2 != 0x3f || rest[1]>>3 != 0x1f || rest[2]>>3 != 0x1f {
		return at
	}
	n := int(rest[3])
	rest = rest[4:]
	for range n {
		var err error
		if _, rest, err = takeUnit(rest); err != nil {
			return at
		}
	}
	return len(b) - len(rest)
}

// takeUnit splits a 16-bit length and that many bytes off b.
func takeUnit(b []byte) (unit, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errors.New("cut short")
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, fmt.Errorf("says %d bytes, %d are there", n, len(b)-2)
	}
	if n == 0 {
		return nil, nil, errors.New("empty")
	}
	return b[2 : 2+n], b[2+n:], nil
}

// spsInfo is what the packager and the API want from an SPS.
type spsInfo struct {
	width, height int
	frameRate     float64 // 0: not announced
	color         Color
	aspect        Aspect
}

// highProfile tells whether the SPS has the chroma and scaling fields
// (ITU-T H.264 section 7.3.2.1.1).
func highProfile(profile byte) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

// maxDimension bounds what an SPS may claim, in pixels. Level 6.2 ends at
// 16,880 (ITU-T H.264 table A-1).
const maxDimension = 16880

func parseSPS(nal []byte) (spsInfo, error) {
	if len(nal) < 5 || nal[0]&0x1f != 7 {
		return spsInfo{}, errors.New("not a sequence parameter set")
	}
	r := &bitReader{data: unescape(nal[1:])}
	profile := byte(r.bits(8))
	r.skip(16) // constraints, level
	r.ue()     // seq_parameter_set_id
	chroma, separate := uint32(1), false
	if highProfile(profile) {
		if chroma = r.ue(); chroma > 3 {
			return spsInfo{}, fmt.Errorf("chroma_format_idc %d", chroma)
		}
		if chroma == 3 {
			separate = r.flag()
		}
		r.ue()        // bit_depth_luma_minus8
		r.ue()        // bit_depth_chroma_minus8
		r.skip(1)     // qpprime_y_zero_transform_bypass_flag
		if r.flag() { // seq_scaling_matrix_present_flag
			skipScalingLists(r, chroma)
		}
	}
	if err := skipOrderCount(r); err != nil {
		return spsInfo{}, err
	}
	r.ue()    // max_num_ref_frames
	r.skip(1) // gaps_in_frame_num_value_allowed_flag
	widthMBs, heightUnits := int64(r.ue())+1, int64(r.ue())+1
	fieldFactor := int64(2)
	if r.flag() { // frame_mbs_only_flag
		fieldFactor = 1
	} else {
		r.skip(1) // mb_adaptive_frame_field_flag
	}
	r.skip(1) // direct_8x8_inference_flag
	width, height := 16*widthMBs, 16*heightUnits*fieldFactor
	if r.flag() { // frame_cropping_flag
		unitX, unitY := cropUnits(chroma, separate, fieldFactor)
		width -= unitX * (int64(r.ue()) + int64(r.ue()))
		height -= unitY * (int64(r.ue()) + int64(r.ue()))
	}
	hasVUI := r.flag()
	if r.over {
		return spsInfo{}, errors.New("cut short")
	}
	if width <= 0 || height <= 0 || width > maxDimension || height > maxDimension {
		return spsInfo{}, fmt.Errorf("picture of %d x %d", width, height)
	}
	info := spsInfo{width: int(width), height: int(height)}
	if hasVUI {
		info.aspect, info.color = vuiHead(r)
		info.frameRate = vuiRate(r)
	}
	return info, nil
}

// cropUnits are the pixels that one step of the cropping fields stands for
// (ITU-T H.264 equations 7-19 to 7-22).
func cropUnits(chroma uint32, separate bool, fieldFactor int64) (x, y int64) {
	switch {
	case chroma == 0 || separate:
		return 1, fieldFactor
	case chroma == 1:
		return 2, 2 * fieldFactor
	case chroma == 2:
		return 2, fieldFactor
	}
	return 1, fieldFactor
}

func skipScalingLists(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se()) & 0xff
			}
			if next != 0 {
				last = next
			}
		}
	}
}

func skipOrderCount(r *bitReader) error {
	r.ue() // log2_max_frame_num_minus4
	switch kind := r.ue(); kind {
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.skip(1) // delta_pic_order_always_zero_flag
		r.se()    // offset_for_non_ref_pic
		r.se()    // offset_for_top_to_bottom_field
		n := r.ue()
		if n > 255 {
			return fmt.Errorf("num_ref_frames_in_pic_order_cnt_cycle %d", n)
		}
		for range n {
			r.se()
		}
	case 2:
	default:
		return fmt.Errorf("pic_order_cnt_type %d", kind)
	}
	return nil
}

// vuiRate returns the frame rate that is announced behind [vuiHead], or 0.
// What is cut short announces nothing.
func vuiRate(r *bitReader) float64 {
	if !r.flag() { // timing_info_present_flag
		return 0
	}
	units, scale := r.bits(32), r.bits(32)
	if r.over || units == 0 {
		return 0
	}
	rate := float64(scale) / (2 * float64(units))
	if rate < 0.1 || rate > 1000 { // placeholders such as 1/0xffffffff, not rates
		return 0
	}
	return rate
}

// unescape removes the emulation prevention bytes (ITU-T H.264 section 7.4.1).
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}

// h264Key reports whether a frame holds an IDR picture.
func h264Key(frame []byte) bool {
	for len(frame) > 4 {
		n := int(binary.BigEndian.Uint32(frame))
		if frame = frame[4:]; n <= 0 || n > len(frame) {
			return false
		}
		if kind := frame[0] & 31; kind >= 1 && kind <= 5 { // the first slice tells
			return kind == 5
		}
		frame = frame[n:]
	}
	return false
}
