package cmaf

import (
	"errors"
	"fmt"
	"slices"

	"tally/internal/media"
)

// InitSegment returns the initialization section of a presentation with these
// tracks, in this order: ftyp and moov. Errors: no track, a codec that is not
// written here, a picture of no size, a configuration too long for its box.
func InitSegment(tracks []media.Track) ([]byte, error) {
	if len(tracks) == 0 {
		return nil, errors.New("init segment without tracks")
	}
	for i := range tracks {
		if err := writable(&tracks[i]); err != nil {
			return nil, fmt.Errorf("init segment: track %d: %w", tracks[i].ID, err)
		}
	}
	var w writer
	w.box("ftyp", func() { // section 4.3
		w.b = append(w.b, "iso6"...)
		w.u32(0)
		w.b = append(w.b, "iso6cmfcmp41"...)
		if tracks[0].Codec == media.AV1 { // AV1 ISOBMFF binding section 2.1
			w.b = append(w.b, "av01"...)
		}
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

// writable says what keeps a track from being written.
func writable(t *media.Track) error {
	entry := entries[t.Codec]
	switch n := len(t.Config); {
	case entry.kind == "":
		return fmt.Errorf("codec %v: %w", t.Codec, media.ErrUnsupported)
	case n < entry.least || n > maxConfig:
		return fmt.Errorf("configuration of %d bytes, want %d to %d", n, entry.least, maxConfig)
	case t.Codec.Video() && (t.Width <= 0 || t.Height <= 0 || t.Width > 0xffff || t.Height > 0xffff):
		return fmt.Errorf("picture of %d x %d", t.Width, t.Height)
	}
	return nil
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
			w.u32(shownWidth(t))
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
				w.visual(t)
			} else {
				w.sound(t)
			}
		})
		w.full("stts", 0, 0, func() { w.u32(0) })
		w.full("stsc", 0, 0, func() { w.u32(0) })
		w.full("stsz", 0, 0, func() { w.zeros(8) })
		w.full("stco", 0, 0, func() { w.u32(0) })
	})
}
