package cmaf

import (
	"encoding/binary"

	"tally/internal/media"
)

// entries are the sample entry of each codec, the box in it that holds the
// configuration, and the least that is one.
var entries = map[media.Codec]struct {
	kind, config string
	least        int // bytes
}{
	media.H264: {"avc1", "avcC", 7},  // ISO/IEC 14496-15 section 5.4.2.1
	media.HEVC: {"hvc1", "hvcC", 23}, // section 8.4.1.1
	media.AV1:  {"av01", "av1C", 4},  // AV1 ISOBMFF binding sections 2.2, 2.3
	media.VP9:  {"vp09", "vpcC", 8},  // VP Codec ISOBMFF binding sections 3, 4
	media.AAC:  {"mp4a", "esds", 2},  // ISO/IEC 14496-14 section 6.7.2
	media.Opus: {"Opus", "dOps", 11}, // Encapsulation of Opus in ISOBMFF sections 4.3.1, 4.3.2
	media.FLAC: {"fLaC", "dfLa", 34}, // Encapsulation of FLAC in ISOBMFF sections 3.3.1, 3.3.2
}

// visual writes a VisualSampleEntry (section 12.1.3).
func (w *writer) visual(t *media.Track) {
	e := entries[t.Codec]
	w.box(e.kind, func() {
		w.zeros(6)
		w.u16(1) // data_reference_index
		w.zeros(16)
		w.u16(uint16(t.Width))
		w.u16(uint16(t.Height))
		w.u32(72 << 16) // horizresolution, dpi
		w.u32(72 << 16)
		w.u32(0)
		w.u16(1) // frame_count
		w.zeros(32)
		w.u16(24)     // depth
		w.u16(0xffff) // pre_defined -1
		w.box(e.config, func() {
			if t.Codec == media.VP9 { // a full box
				w.u32(1 << 24)
			}
			w.b = append(w.b, t.Config...)
		})
		w.color(t.Color)
		if a := t.Aspect; a.Width > 0 && a.Height > 0 {
			w.box("pasp", func() { // section 12.1.4
				w.u32(a.Width)
				w.u32(a.Height)
			})
		}
	})
}

// color writes a ColourInformationBox (section 12.1.5) where there is something
// to tell.
func (w *writer) color(c media.Color) {
	if !c.Known() {
		return
	}
	w.box("colr", func() {
		w.b = append(w.b, "nclx"...)
		w.u16(uint16(c.Primaries))
		w.u16(uint16(c.Transfer))
		w.u16(uint16(c.Matrix))
		w.u8(byte(count(c.Full)) << 7)
	})
}

// shownWidth is the width that the picture is shown with, 16.16 (section 8.3.2).
func shownWidth(t *media.Track) uint32 {
	width := uint64(t.Width) << 16
	if a := t.Aspect; a.Width > 0 && a.Height > 0 {
		width = min(width*uint64(a.Width)/uint64(a.Height), 0xffff<<16)
	}
	return uint32(width)
}

// sound writes an AudioSampleEntry (section 12.2.3).
func (w *writer) sound(t *media.Track) {
	e := entries[t.Codec]
	rate, bits := t.Timescale, uint16(16)
	switch t.Codec {
	case media.FLAC:
		bits = uint16(t.Config[12]&1<<4|t.Config[13]>>4) + 1
		for rate > 0xffff { // the greatest division that can be said
			rate /= 2
		}
	default:
		if rate > 0xffff { // does not fit 16.16; the configuration has it
			rate = 0
		}
	}
	w.box(e.kind, func() {
		w.zeros(6)
		w.u16(1) // data_reference_index
		w.zeros(8)
		w.u16(uint16(t.Channels))
		w.u16(bits)
		w.zeros(4)
		w.u32(rate << 16)
		switch t.Codec {
		case media.AAC:
			w.full(e.config, 0, 0, func() { w.esDescriptor(t.Config) })
		case media.Opus:
			w.box(e.config, func() { w.opus(t.Config) })
		case media.FLAC:
			w.full(e.config, 0, 0, func() {
				w.u32(0x80<<24 | uint32(len(t.Config))) // the last metadata block: STREAMINFO
				w.b = append(w.b, t.Config...)
			})
		}
	})
}

// opus writes the fields of an identification header as the box has them, which
// is in the other byte order.
//
// No edit list takes the pre-skip off: the timestamps of an encoder that is
// live count it already, and a viewer who joins later has none.
func (w *writer) opus(head []byte) {
	w.u8(0, head[1])
	w.u16(binary.LittleEndian.Uint16(head[2:]))
	w.u32(binary.LittleEndian.Uint32(head[4:]))
	w.u16(binary.LittleEndian.Uint16(head[8:]))
	w.b = append(w.b, head[10:]...)
}

// esDescriptor writes an ES_Descriptor around an AudioSpecificConfig
// (ISO/IEC 14496-1 section 7.2.6.5).
func (w *writer) esDescriptor(config []byte) {
	specific := descriptorSize(len(config))
	decoder := descriptorSize(13 + specific)
	w.descriptor(0x03, 3+decoder+descriptorSize(1))
	w.u16(0) // ES_ID
	w.u8(0)  // flags
	w.descriptor(0x04, 13+specific)
	w.u8(0x40, 0x15) // Audio ISO/IEC 14496-3, audio stream
	w.zeros(11)      // bufferSizeDB, maxBitrate, avgBitrate: unknown
	w.descriptor(0x05, len(config))
	w.b = append(w.b, config...)
	w.descriptor(0x06, 1) // SLConfigDescriptor
	w.u8(2)               // predefined: MP4
}

// descriptorSize is the size of a descriptor with n bytes of content.
func descriptorSize(n int) int { return 5 + n }

// descriptor writes a tag and a length in the four-byte spelling (ISO/IEC
// 14496-1 section 8.3.3), which every reader takes.
func (w *writer) descriptor(tag byte, n int) {
	w.u8(tag, 0x80|byte(n>>21&0x7f), 0x80|byte(n>>14&0x7f), 0x80|byte(n>>7&0x7f), byte(n&0x7f))
}
