package hlscheck

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An entry is what is known of one kind of sample entry.
type entry struct {
	video  bool
	config string // the box with the decoder's configuration
	least  int    // bytes of that
	starts func(t *Track, sample []byte) bool
}

// entries are those that HLS carries as fMP4: ISO/IEC 14496-15 (avc1, hvc1), the
// bindings of AV1 and VP9, ISO/IEC 14496-14 (mp4a), those of Opus and FLAC.
var entries = map[string]entry{
	"avc1": {true, "avcC", 7, startsAVC},
	"avc3": {true, "avcC", 7, startsAVC},
	"hvc1": {true, "hvcC", 23, startsHEVC},
	"hev1": {true, "hvcC", 23, startsHEVC},
	"av01": {true, "av1C", 4, startsAV1},
	"vp09": {true, "vpcC", 12, startsVP9},
	"mp4a": {false, "esds", 4, nil},
	"Opus": {false, "dOps", 11, nil},
	"fLaC": {false, "dfLa", 42, nil},
}

// Lengths of VisualSampleEntry and AudioSampleEntry without their boxes
// (sections 12.1.3.2 and 12.2.3.2).
const (
	visualEntry = 78
	soundEntry  = 28
)

func (t *Track) sampleEntry(b []byte) error {
	return walk(b, func(kind string, body []byte, _ int) error {
		if t.Codec != "" {
			return nil
		}
		t.Codec = kind
		e, known := entries[kind]
		if !known {
			return nil
		}
		fixed := soundEntry
		if e.video {
			fixed = visualEntry
		}
		if len(body) < fixed {
			return errShort
		}
		if e.video {
			t.Width, t.Height = binary.BigEndian.Uint16(body[24:]), binary.BigEndian.Uint16(body[26:])
		} else {
			t.Channels = binary.BigEndian.Uint16(body[16:])
		}
		err := walk(body[fixed:], func(kind string, body []byte, _ int) error {
			if kind != e.config {
				return nil
			}
			if len(body) < e.least {
				return errShort
			}
			t.Config = body
			return nil
		})
		if err != nil {
			return err
		}
		return t.configured(e)
	})
}

// configured checks what the decoder needs.
func (t *Track) configured(e entry) error {
	if t.Config == nil {
		return fmt.Errorf("no %s", e.config)
	}
	c := t.Config
	switch e.config {
	case "avcC":
		t.LengthSize = int(c[4]&3) + 1 // ISO/IEC 14496-15 section 5.3.3.1
	case "hvcC":
		t.LengthSize = int(c[21]&3) + 1 // section 8.3.2.1
	case "av1C":
		if c[0] != 0x81 {
			return errors.New("av1C is not of version 1")
		}
	case "vpcC":
		if c[0] != 1 || c[4] > 3 || c[5] < 10 || c[5] > 62 {
			return fmt.Errorf("vpcC of version %d, profile %d, level %d", c[0], c[4], c[5])
		}
	case "dOps":
		if c[0] != 0 || uint16(c[1]) != t.Channels || t.Timescale != 48000 {
			return fmt.Errorf("dOps of version %d with %d channels, in an entry with %d, at %d Hz", c[0], c[1], t.Channels, t.Timescale)
		}
	case "dfLa":
		if c[4]&0x7f != 0 || binary.BigEndian.Uint32(c[4:])&0xffffff != 34 {
			return errors.New("dfLa does not begin with STREAMINFO")
		}
		if rate := binary.BigEndian.Uint32(c[18:]) >> 12; rate != t.Timescale {
			return fmt.Errorf("STREAMINFO of %d Hz, timescale %d", rate, t.Timescale)
		}
	}
	if e.video && (t.Width == 0 || t.Height == 0) {
		return fmt.Errorf("picture of %d x %d", t.Width, t.Height)
	}
	return nil
}

// Starts reports whether decoding can start at a sample, by its own bytes.
func (t *Track) Starts(sample []byte) bool {
	if e := entries[t.Codec]; e.starts != nil {
		return e.starts(t, sample)
	}
	return true
}

// units calls fn with the length-prefixed NAL units of a sample until it
// returns true, and reports whether it did.
func units(b []byte, lengthSize int, fn func(unit []byte) bool) bool {
	for len(b) > lengthSize {
		var full [4]byte
		copy(full[4-lengthSize:], b)
		n := int64(binary.BigEndian.Uint32(full[:]))
		b = b[lengthSize:]
		if n == 0 || n > int64(len(b)) {
			return false
		}
		if fn(b[:n]) {
			return true
		}
		b = b[n:]
	}
	return false
}

// startsAVC looks for a coded slice of an IDR picture (ITU-T H.264 section
// 7.4.1, nal_unit_type 5).
func startsAVC(t *Track, b []byte) bool {
	return units(b, t.LengthSize, func(unit []byte) bool { return unit[0]&0x1f == 5 })
}

// startsHEVC looks for a slice segment of an intra random access point picture
// (ITU-T H.265 table 7-1, types 16 to 23).
func startsHEVC(t *Track, b []byte) bool {
	return units(b, t.LengthSize, func(unit []byte) bool { return unit[0]>>5 == 1 && unit[0]&0x80 == 0 && unit[0]>>1&0x38 == 0x10 })
}

// startsAV1 wants a sequence header, and behind it as the first frame a key
// frame that is shown (AV1 ISOBMFF binding section 2.4: a sync sample).
func startsAV1(_ *Track, b []byte) bool {
	header := false
	for len(b) > 0 {
		kind, n := b[0]>>3&15, 1
		if b[0]&4 != 0 {
			n++
		}
		size := len(b) - n
		if b[0]&2 != 0 {
			var shift, at int
			size, at = 0, n
			for {
				if at >= len(b) || shift > 28 {
					return false
				}
				size |= int(b[at]&0x7f) << shift
				shift += 7
				if at++; b[at-1] < 0x80 {
					break
				}
			}
			n = at
		}
		if size < 0 || size > len(b)-n {
			return false
		}
		switch kind {
		case 1:
			header = true
		case 2: // belongs into no sample
			return false
		case 3, 6:
			return header && size > 0 && b[n]&0xf0 == 0x10
		}
		b = b[n+size:]
	}
	return false
}

// startsVP9 wants a key frame (VP9 bitstream specification section 6.2): the
// bits of frame_marker, two of the profile, in profile 3 a reserved one,
// show_existing_frame, frame_type.
func startsVP9(_ *Track, b []byte) bool {
	if len(b) == 0 || b[0]>>6 != 2 {
		return false
	}
	if b[0]&0x30 == 0x30 {
		return b[0]&0x0e == 0
	}
	return b[0]&0x0c == 0
}
