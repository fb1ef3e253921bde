package media

import (
	"errors"
	"fmt"
)

// VP9Track reads a VPCodecConfigurationRecord (VP Codec ISO Media File Format
// Binding section 3), as Enhanced RTMP's sequence start carries it, with the
// version and flags of its full box before it or not.
//
// The record does not tell the picture's size: Width and Height are 0 until
// [Refine] saw a key frame.
func VP9Track(vpcC []byte) (Track, error) {
	b := vpcC
	if len(b) >= 12 && b[0] == 1 && b[1]|b[2]|b[3] == 0 {
		b = b[4:] // version 1, no flags; a record would have samples of 0 bits
	}
	info, err := parseVPCC(b)
	if err != nil {
		return Track{}, fmt.Errorf("VP9 configuration of %d bytes: %w", len(vpcC), err)
	}
	t := Track{ID: VideoTrack, Codec: VP9, Timescale: VideoTimescale}
	t.vp9(info)
	return t, nil
}

// vp9 fills in what info says.
func (t *Track) vp9(info vp9Info) {
	t.Config, t.CodecString, t.Color = info.record(), info.String(), info.color
	t.Width, t.Height = info.width, info.height
}

// vp9Info is what a record or a key frame's header says.
type vp9Info struct {
	profile, level uint32
	depth          uint32
	chroma         uint32 // chromaSubsampling: 0 and 1 are 4:2:0, 2 is 4:2:2, 3 is 4:4:4
	color          Color
	width, height  int // 0: not told
}

// chroma440 is 4:4:0, for which a record has no number.
const chroma440 = 4

// Levels of VP9 and the largest picture of each, in luma samples (VP9 bitstream
// specification annex A).
var vp9Levels = []struct {
	level   uint32
	samples int
}{
	{10, 36864}, {11, 73728}, {20, 122880}, {21, 245760}, {30, 552960}, {31, 983040}, {40, 2228224}, {41, 2228224},
	{50, 8912896}, {51, 8912896}, {52, 8912896}, {60, 35651584}, {61, 35651584}, {62, 35651584},
}

func parseVPCC(b []byte) (vp9Info, error) {
	if len(b) < 8 {
		return vp9Info{}, errors.New("too short for a record")
	}
	info := vp9Info{
		profile: uint32(b[0]), level: uint32(b[1]), depth: uint32(b[2] >> 4), chroma: uint32(b[2] >> 1 & 7),
		color: Color{Primaries: b[3], Transfer: b[4], Matrix: b[5], Full: b[2]&1 == 1},
	}
	switch {
	case info.profile > 3:
		return info, fmt.Errorf("profile %d", info.profile)
	case info.depth != 8 && info.depth != 10 && info.depth != 12:
		return info, fmt.Errorf("samples of %d bits", info.depth)
	case info.chroma > 3:
		return info, fmt.Errorf("chroma subsampling %d is reserved", info.chroma)
	}
	info.levelUp()
	return info, nil
}

// levelUp makes the level one that exists, large enough for the picture.
// Encoders that do not know it write 0.
func (info *vp9Info) levelUp() {
	for _, l := range vp9Levels {
		if l.level >= info.level && l.samples >= info.width*info.height {
			info.level = l.level
			return
		}
	}
	info.level = 62
}

// record writes the record without the full box header and without
// initialization data, which VP9 has none of.
func (info *vp9Info) record() []byte {
	full := byte(0)
	if info.color.Full {
		full = 1
	}
	return []byte{byte(info.profile), byte(info.level), byte(info.depth<<4|info.chroma<<1) | full,
		info.color.Primaries, info.color.Transfer, info.color.Matrix, 0, 0}
}

// String is the name of RFC 6381 (VP Codec ISO Media File Format Binding section
// 2). What follows the depth is told where it is not what players take for
// granted.
func (info *vp9Info) String() string {
	s := fmt.Sprintf("vp09.%02d.%02d.%02d", info.profile, info.level, info.depth)
	if info.chroma <= 1 && (info.color == bt709 || !info.color.Known() && !info.color.Full) {
		return s
	}
	full := 0
	if info.color.Full {
		full = 1
	}
	c := info.color
	return fmt.Sprintf("%s.%02d.%02d.%02d.%02d.%02d", s, info.chroma, c.Primaries, c.Transfer, c.Matrix, full)
}

// vp9Key reports whether a frame, or the first of a superframe, is a key frame.
func vp9Key(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	r := bitReader{data: b}
	if _, existing := vp9Start(&r); existing {
		return false
	}
	return !r.flag() && !r.over // frame_type: KEY_FRAME
}

// vp9Start reads an uncompressed header as far as show_existing_frame (VP9
// bitstream specification section 6.2). What is no VP9 counts as existing.
func vp9Start(r *bitReader) (profile uint32, existing bool) {
	if r.bits(2) != 2 { // frame_marker
		return 0, true
	}
	profile = r.bit() | r.bit()<<1
	if profile == 3 {
		r.skip(1)
	}
	return profile, r.flag()
}

// vp9ColorSpaces are matrix, primaries and transfer as ISO/IEC 23091-2 numbers
// them, by color_space (VP9 bitstream specification section 7.2.2).
var vp9ColorSpaces = [8]Color{
	0: {Primaries: 2, Transfer: 2, Matrix: 2}, // unknown
	1: {Primaries: 6, Transfer: 6, Matrix: 6}, // BT.601
	2: {Primaries: 1, Transfer: 1, Matrix: 1}, // BT.709
	3: {Primaries: 6, Transfer: 6, Matrix: 6}, // SMPTE 170
	4: {Primaries: 7, Transfer: 7, Matrix: 7}, // SMPTE 240
	5: {Primaries: 9, Transfer: 14, Matrix: 9},
	6: {Primaries: 2, Transfer: 2, Matrix: 2},  // reserved
	7: {Primaries: 1, Transfer: 13, Matrix: 0}, // sRGB
}

// parseVP9Key reads the uncompressed header of a key frame (VP9 bitstream
// specification sections 6.2, 6.2.2, 6.2.3).
func parseVP9Key(b []byte) (vp9Info, bool) {
	r := &bitReader{data: b}
	var info vp9Info
	var existing bool
	if info.profile, existing = vp9Start(r); existing || r.flag() {
		return info, false
	}
	r.skip(2) // show_frame, error_resilient_mode
	if r.bits(24) != 0x498342 {
		return info, false
	}
	info.depth = 8
	if info.profile >= 2 {
		info.depth = 10 + 2*r.bit()
	}
	space := r.bits(3)
	info.color = vp9ColorSpaces[space]
	info.chroma = 1
	switch odd := info.profile&1 == 1; {
	case space != 7:
		info.color.Full = r.flag()
		if odd {
			switch x, y := r.bit(), r.bit(); {
			case x == 0 && y == 0:
				info.chroma = 3
			case x == 1 && y == 0:
				info.chroma = 2
			case x == 0:
				info.chroma = chroma440
			}
			r.skip(1)
		}
	case odd:
		info.color.Full, info.chroma = true, 3
		r.skip(1)
	default:
		return info, false // sRGB is 4:4:4, which profiles 0 and 2 do not have
	}
	info.width, info.height = int(r.bits(16))+1, int(r.bits(16))+1
	if r.over || info.width > maxDimension || info.height > maxDimension {
		return info, false
	}
	return info, true
}

// refineVP9 is [Refine] for VP9.
func refineVP9(t *Track, frame []byte) (Track, bool) {
	said, err := parseVPCC(t.Config)
	own, ok := parseVP9Key(frame)
	if err != nil || !ok || own.chroma == chroma440 {
		return *t, false
	}
	if own.width == t.Width && own.height == t.Height && own.profile == said.profile && own.depth == said.depth {
		return *t, false
	}
	own.level = said.level
	own.levelUp()
	if said.color.Known() || said.color.Full == own.color.Full {
		own.color = said.color // it tells transfers that a frame cannot
	}
	if own.profile&1 == 0 && said.chroma <= 1 {
		own.chroma = said.chroma // it tells where the samples lie
	}
	refined := *t
	refined.vp9(own)
	return refined, true
}
