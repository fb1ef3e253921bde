package cmaf

import (
	"errors"
	"fmt"
	"slices"

	"tally/internal/media"
)

// InitSegment returns the initialization section of a presentation with these
// tracks, in this order: ftyp and moov. Errors: no track, a codec that is not
// written here, a configuration too long for its box.
func InitSegment(tracks []media.Track) ([]byte, error) {
	if len(tracks) == 0 {
		return nil, errors.New("init segment without tracks")
	}
	for i := range tracks {
		if c := tracks[i].Codec; c != media.H264 && c != media.AAC {
			return nil, fmt.Errorf("init segment: track %d: codec %v: %w", tracks[i].ID, c, media.ErrUnsupported)
		}
		if n := len(tracks[i].Config); n == 0 || n > maxConfig {
			return nil, fmt.Errorf("init segment: track %d: configuration of %d bytes, want 1 to %d", tracks[i].ID, n, maxConfig)
		}
	}
	var w writer
	w.box("ftyp", func() { // section 4.3
		w.b = append(w.b, "iso6"...)
		w.u32(0)
		w.b = append(w.b, "iso6cmfcmp41"...)
	})
	w.box("moov", func() {
		w.mvhd(tracks)
		for i := range tracks {
			w.trak(&tracks[i])
		}
		w.box("mvex", func() {
			for i := range tracks {
				w.full("trex", 0, 0, func() { // section 8.8.3
					w.u32(uint32(tracks[i].ID))
					w.u32(1) // default_sample_description_index
					w.zeros(12)
				})
			}
		})
	})
	return slices.Clone(w.b), nil
}

// maxConfig bounds a codec configuration, in bytes: an AVC record of 31 SPS and
// 255 PPS of usual size stays far below.
const maxConfig = 1 << 16

// identity is the unity transformation matrix (section 8.2.2.2).
var identity = [9]uint32{0: 0x10000, 4: 0x10000, 8: 0x40000000}

func (w *writer) matrix() {
	for _, v := range identity {
		w.u32(v)
	}
}

func (w *writer) mvhd(tracks []media.Track) {
	var last media.TrackID
	for i := range tracks {
		last = max(last, tracks[i].ID)
	}
	w.full("mvhd", 0, 0, func() { // section 8.2.2
		w.zeros(8)     // creation and modification time
		w.u32(1000)    // timescale
		w.u32(0)       // duration: unknown
		w.u32(1 << 16) // rate
		w.u16(1 << 8)  // volume
		w.zeros(10)
		w.matrix()
		w.zeros(24)
		w.u32(uint32(last) + 1) // next_track_ID
	})
}

func (w *writer) trak(t *media.Track) {
	w.box("trak", func() {
		w.full("tkhd", 0, 3, func() { // section 8.3.2; enabled, in movie
			w.zeros(8)
			w.u32(uint32(t.ID))
			w.zeros(4 + 4 + 8 + 2 + 2) // duration, layer, alternate_group
			if t.Codec.Video() {
				w.u16(0)
			} else {
				w.u16(1 << 8) // volume
			}
			w.u16(0)
			w.matrix()
			w.u32(uint32(t.Width) << 16)
			w.u32(uint32(t.Height) << 16)
		})
		w.box("mdia", func() {
			w.full("mdhd", 0, 0, func() { // section 8.4.2
				w.zeros(8)
				w.u32(t.Timescale)
				w.u32(0)
				w.u16(0x55c4) // language: und
				w.u16(0)
			})
			w.hdlr(t)
			w.box("minf", func() { w.minf(t) })
		})
	})
}

func (w *writer) hdlr(t *media.Track) {
	kind, name := "soun", "Audio"
	if t.Codec.Video() {
		kind, name = "vide", "Video"
	}
	w.full("hdlr", 0, 0, func() { // section 8.4.3
		w.u32(0)
		w.b = append(w.b, kind...)
		w.zeros(12)
		w.b = append(append(w.b, name...), 0)
	})
}

func (w *writer) minf(t *media.Track) {
	if t.Codec.Video() {
		w.full("vmhd", 0, 1, func() { w.zeros(8) }) // section 12.1.2
	} else {
		w.full("smhd", 0, 0, func() { w.zeros(4) }) // section 12.2.2
	}
	w.box("dinf", func() {
		w.full("dref", 0, 0, func() { // section 8.7.2
			w.u32(1)
			w.full("url ", 0, 1, func() {}) // in this file
		})
	})
	w.box("stbl", func() {
		w.full("stsd", 0, 0, func() { // section 8.5.2
			w.u32(1)
			if t.Codec.Video() {
				w.avc1(t)
			} else {
				w.mp4a(t)
			}
		})
		w.full("stts", 0, 0, func() { w.u32(0) })
		w.full("stsc", 0, 0, func() { w.u32(0) })
		w.full("stsz", 0, 0, func() { w.zeros(8) })
		w.full("stco", 0, 0, func() { w.u32(0) })
	})
}

// avc1 writes a VisualSampleEntry (section 12.1.3) with the AVC configuration
// (ISO/IEC 14496-15 section 5.4.2.1).
func (w *writer) avc1(t *media.Track) {
	w.box("avc1", func() {
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
		w.box("avcC", func() { w.b = append(w.b, t.Config...) })
	})
}

// mp4a writes an AudioSampleEntry (section 12.2.3) with the ES descriptor
// (ISO/IEC 14496-14 section 6.7.2).
func (w *writer) mp4a(t *media.Track) {
	w.box("mp4a", func() {
		w.zeros(6)
		w.u16(1) // data_reference_index
		w.zeros(8)
		w.u16(uint16(t.Channels))
		w.u16(16) // samplesize
		w.zeros(4)
		rate := t.Timescale
		if rate > 0xffff { // does not fit 16.16; the configuration has it
			rate = 0
		}
		w.u32(rate << 16)
		w.full("esds", 0, 0, func() { w.esDescriptor(t.Config) })
	})
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
