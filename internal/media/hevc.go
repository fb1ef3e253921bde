package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// NAL unit types of HEVC (ITU-T H.265 table 7-1).
const (
	hevcIRAPFirst = 16 // BLA_W_LP; decoding may start at 16 to 23
	hevcIRAPLast  = 23
	hevcBLA       = 18 // BLA_N_LP: nothing that leads belongs to it
	hevcCRA       = 21
	hevcVPS       = 32
	hevcSPS       = 33
	hevcPPS       = 34
	hevcSEIPrefix = 39
	hevcSEISuffix = 40
)

// HEVCTrack reads an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 section
// 8.3.2.1), as Enhanced RTMP's sequence start carries it, and the first sequence
// parameter set in it (ITU-T H.265 section 7.3.2.2).
//
// Frames of the track carry 4-byte NAL unit lengths whatever the record says;
// [HEVCLengthSize] tells what the encoder's own frames have. The track's Config
// is a record of the parameter sets, complete as the sample entry hvc1 wants it,
// and of the messages that say how to show the picture, with the profile that
// the sequence parameter set has: encoders fill in the record's own fields less
// carefully.
func HEVCTrack(hvcC []byte) (Track, error) {
	arrays, err := parseHVCC(hvcC)
	if err != nil {
		return Track{}, fmt.Errorf("HEVC configuration of %d bytes: %w", len(hvcC), err)
	}
	sps := arrays.first(hevcSPS)
	info, err := parseHEVCSPS(sps)
	if err != nil {
		return Track{}, fmt.Errorf("HEVC sequence parameter set of %d bytes: %w", len(sps), err)
	}
	if info.frameRate == 0 {
		info.frameRate = vpsFrameRate(arrays.first(hevcVPS))
	}
	return Track{
		ID:          VideoTrack,
		Codec:       HEVC,
		Timescale:   VideoTimescale,
		Config:      arrays.record(hvcC, &info),
		Width:       info.width,
		Height:      info.height,
		FrameRate:   info.frameRate,
		Color:       info.color,
		Aspect:      info.aspect,
		CodecString: hevcString(info.profile),
	}, nil
}

// HEVCLengthSize is how many bytes each NAL unit's length has in the frames
// that belong to hvcC: 1, 2 or 4; 0 when the record is too short or reserves it.
func HEVCLengthSize(hvcC []byte) int {
	if len(hvcC) < 23 || hvcC[21]&3 == 2 {
		return 0
	}
	return int(hvcC[21]&3) + 1
}

// hevcArrays are the NAL units of a record, by kind: VPS, SPS, PPS, messages.
type hevcArrays [5][][]byte

// hevcKinds are the kinds of NAL units that a record may hold, in its order.
var hevcKinds = [5]byte{hevcVPS, hevcSPS, hevcPPS, hevcSEIPrefix, hevcSEISuffix}

func (a *hevcArrays) first(kind byte) []byte {
	for i, k := range hevcKinds {
		if k == kind && len(a[i]) > 0 {
			return a[i][0]
		}
	}
	return nil
}

// maxHEVCUnits bounds the units of one kind: ids of parameter sets end at 63.
const maxHEVCUnits = 64

func parseHVCC(b []byte) (hevcArrays, error) {
	var arrays hevcArrays
	if len(b) < 23 {
		return arrays, errors.New("too short for a record")
	}
	if b[0] > 1 { // 0: written by encoders that followed a draft
		return arrays, fmt.Errorf("version %d, want 1", b[0])
	}
	if HEVCLengthSize(b) == 0 {
		return arrays, errors.New("NAL unit length of 3 bytes is reserved")
	}
	rest := b[23:]
	for range b[22] {
		if len(rest) < 3 {
			return arrays, errors.New("cut short")
		}
		n := int(binary.BigEndian.Uint16(rest[1:]))
		rest = rest[3:]
		for range n {
			var unit []byte
			var err error
			if unit, rest, err = takeUnit(rest); err != nil {
				return arrays, fmt.Errorf("NAL unit: %w", err)
			}
			if err := arrays.add(unit); err != nil {
				return arrays, err
			}
		}
	}
	for i, name := range [...]string{"video", "sequence", "picture"} {
		if len(arrays[i]) == 0 {
			return arrays, fmt.Errorf("no %s parameter set", name)
		}
	}
	return arrays, nil
}

// add sorts a unit in by what it says it is.
func (a *hevcArrays) add(unit []byte) error {
	if len(unit) < 3 {
		return errors.New("NAL unit without content")
	}
	for i, kind := range hevcKinds {
		if hevcType(unit) != kind || kind > hevcPPS && !hevcShown(unit[2]) {
			continue
		}
		if a[i] = append(a[i], unit); len(a[i]) > maxHEVCUnits {
			return fmt.Errorf("more than %d NAL units of type %d", maxHEVCUnits, kind)
		}
	}
	return nil
}

// hevcShown reports whether a message of that payload type says how to show the
// picture (ITU-T H.265 table D.1). x265 tells its settings in another, of two
// kilobytes.
func hevcShown(payload byte) bool {
	switch payload {
	case 137, 144, 147, 148: // mastering display, light level, transfer, ambient
		return true
	}
	return false
}

func hevcType(unit []byte) byte { return unit[0] >> 1 & 0x3f }

// record writes the configuration record of the arrays.
func (a *hevcArrays) record(from []byte, info *hevcInfo) []byte {
	out := append([]byte{1}, info.profile[:]...)
	out = append(out, 0xf0|from[13]&15, from[14]) // min_spatial_segmentation_idc
	out = append(out, 0xfc|from[15]&3, 0xfc|byte(info.chroma), 0xf8|byte(info.lumaDepth-8), 0xf8|byte(info.chromaDepth-8))
	out = append(out, 0, 0) // avgFrameRate: unspecified
	layers := byte(info.subLayers)
	nested := byte(0)
	if info.nested {
		nested = 1
	}
	out = append(out, layers<<3|nested<<2|3, 0) // constantFrameRate unknown; lengthSizeMinusOne
	for i, units := range a {
		if len(units) == 0 {
			continue
		}
		out[22]++
		complete := byte(0)
		if hevcKinds[i] <= hevcPPS {
			complete = 0x80 // as hvc1 demands (ISO/IEC 14496-15 section 8.4.1.1)
		}
		out = append(out, complete|hevcKinds[i])
		out = binary.BigEndian.AppendUint16(out, uint16(len(units)))
		for _, u := range units {
			out = binary.BigEndian.AppendUint16(out, uint16(len(u)))
			out = append(out, u...)
		}
	}
	return out
}

// hevcString is the RFC 6381 name of a profile, tier and level (ISO/IEC
// 14496-15 annex E.3), for the sample entry hvc1, which is the one that Apple's
// players take.
func hevcString(p [12]byte) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if space := p[0] >> 6; space > 0 {
		b.WriteByte('A' + space - 1)
	}
	tier := byte('L')
	if p[0]&0x20 != 0 {
		tier = 'H'
	}
	compatibility := bits.Reverse32(binary.BigEndian.Uint32(p[1:]))
	fmt.Fprintf(&b, "%d.%X.%c%d", p[0]&31, compatibility, tier, p[11])
	constraints := p[5:11]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, c := range constraints {
		fmt.Fprintf(&b, ".%X", c)
	}
	return b.String()
}

// hevcKey reports whether a frame holds a picture that decoding may start at.
func hevcKey(frame []byte) bool {
	for len(frame) > 4 {
		n := int(binary.BigEndian.Uint32(frame))
		if frame = frame[4:]; n <= 0 || n > len(frame) {
			return false
		}
		if kind := hevcType(frame); kind < hevcVPS { // the first slice tells
			return kind >= hevcIRAPFirst && kind <= hevcIRAPLast
		}
		frame = frame[n:]
	}
	return false
}

// joinHEVC makes BLA pictures of the CRA ones in a frame, in place. Their slices
// are written alike.
func joinHEVC(frame []byte) {
	for len(frame) > 4 {
		n := int(binary.BigEndian.Uint32(frame))
		if frame = frame[4:]; n <= 0 || n > len(frame) {
			return
		}
		if hevcType(frame) == hevcCRA {
			frame[0] = frame[0]&^0x7e | hevcBLA<<1
		}
		frame = frame[n:]
	}
}
