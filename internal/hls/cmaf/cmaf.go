// Package cmaf writes the bytes of fragmented MP4 as HLS and CMAF want them:
// initialization sections and chunks of one moof and one mdat (ISO/IEC
// 14496-12, 23000-19). It only writes, one layout of each box, and reads no
// clock and does no I/O.
//
// Box sections below are those of ISO/IEC 14496-12:2022.
package cmaf

import (
	"encoding/binary"
	"fmt"
	"math"

	"tally/internal/media"
)

// A Sample is one frame inside a [Run].
type Sample struct {
	Duration uint32 // ticks of the track's timescale
	Offset   int32  // ticks from decoding to presentation time; may be negative
	Key      bool   // decoding may start here
	Data     []byte
}

// A Run is the samples of one track in a chunk, in decode order.
type Run struct {
	Track   media.TrackID
	Time    int64 // decode time of the first sample, ticks; >= 0
	Samples []Sample
}

// Sample flags (section 8.8.3.1): sample_depends_on, sample_is_non_sync_sample.
const (
	flagsKey   = 0x02000000
	flagsOther = 0x01010000
)

// Flags of tfhd and trun (sections 8.8.7.1 and 8.8.8.1).
const (
	tfhdDefaultDuration   = 0x000008
	tfhdDefaultFlags      = 0x000020
	tfhdDefaultBaseIsMoof = 0x020000
	trunDataOffset        = 0x000001
	trunDuration          = 0x000100
	trunSize              = 0x000200
	trunFlags             = 0x000400
	trunOffset            = 0x000800
)

// layout says what of a run stands in its tfhd and what in each trun entry.
type layout struct {
	sameDuration, sameFlags, offsets bool
	payload                          int // bytes
}

func layOut(r *Run) layout {
	l := layout{sameDuration: true, sameFlags: true}
	for i := range r.Samples {
		s := &r.Samples[i]
		l.sameDuration = l.sameDuration && s.Duration == r.Samples[0].Duration
		l.sameFlags = l.sameFlags && s.Key == r.Samples[0].Key
		l.offsets = l.offsets || s.Offset != 0
		l.payload += len(s.Data)
	}
	return l
}

func (l layout) tfhdSize() int { return 16 + 4*count(l.sameDuration) + 4*count(l.sameFlags) }

func (l layout) trunSize(samples int) int {
	return 20 + samples*(4+4*count(!l.sameDuration)+4*count(!l.sameFlags)+4*count(l.offsets))
}

func (l layout) trafSize(samples int) int { return 8 + l.tfhdSize() + 20 + l.trunSize(samples) }

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// maxTracks bounds the runs of a chunk, so that layouts live on the stack.
const maxTracks = 8

// Chunk returns one moof and one mdat with the runs in order, as one exactly
// sized slice into which each payload was copied once. Runs without samples
// are left out. sequence is the mfhd's number, from 1.
//
// It panics when there are more than 8 runs or 2 GB, which its callers exclude.
func Chunk(sequence uint32, runs []Run) []byte {
	data, _ := chunk(sequence, runs, false)
	return data
}

// SplitChunk is Chunk for runs of which the first is a single sample, whose
// payload is not copied: the chunk is head and, behind it, tail, which is that
// payload. Chunks that repeat one picture share its bytes that way.
func SplitChunk(sequence uint32, runs []Run) (head, tail []byte) {
	return chunk(sequence, runs, true)
}

// chunk writes a chunk. With split the payload of the first run comes last and
// is returned apart.
func chunk(sequence uint32, runs []Run, split bool) (data, tail []byte) {
	var layouts [maxTracks]layout
	moof, mdat := 8+16, 8
	for i := range runs {
		if len(runs[i].Samples) == 0 {
			continue
		}
		layouts[i] = layOut(&runs[i])
		moof += layouts[i].trafSize(len(runs[i].Samples))
		mdat += layouts[i].payload
	}
	if moof+mdat > math.MaxInt32 { // data_offset is signed 32 bits
		panic(fmt.Sprintf("cmaf: chunk of %d bytes", moof+mdat))
	}

	size, first := moof+mdat, 0
	if split {
		tail, first = runs[0].Samples[0].Data, 1
		size -= len(tail)
	}
	w := writer{b: make([]byte, 0, size)}
	w.header(moof, "moof")
	w.header(16, "mfhd")
	w.u32(0)
	w.u32(sequence)
	at := moof + 8 // where the next run's payload begins, from the start of moof
	if split {
		w.traf(&runs[0], layouts[0], size)
	}
	for i := first; i < len(runs); i++ {
		if r := &runs[i]; len(r.Samples) > 0 {
			w.traf(r, layouts[i], at)
			at += layouts[i].payload
		}
	}
	w.header(mdat, "mdat")
	for i := first; i < len(runs); i++ {
		for j := range runs[i].Samples {
			w.b = append(w.b, runs[i].Samples[j].Data...)
		}
	}
	return w.b, tail
}

// traf writes the Track Fragment Box of one run (section 8.8.6).
func (w *writer) traf(r *Run, l layout, dataOffset int) {
	first := &r.Samples[0]
	w.header(l.trafSize(len(r.Samples)), "traf")

	w.header(l.tfhdSize(), "tfhd")
	w.u32(uint32(tfhdDefaultBaseIsMoof | tfhdDefaultDuration*count(l.sameDuration) | tfhdDefaultFlags*count(l.sameFlags)))
	w.u32(uint32(r.Track))
	if l.sameDuration {
		w.u32(first.Duration)
	}
	if l.sameFlags {
		w.u32(sampleFlags(first.Key))
	}

	w.header(20, "tfdt")
	w.u32(1 << 24) // version 1: 64 bits
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(r.Time))

	w.header(l.trunSize(len(r.Samples)), "trun")
	w.u32(uint32(1<<24 | trunDataOffset | trunSize | // version 1: signed offsets
		trunDuration*count(!l.sameDuration) | trunFlags*count(!l.sameFlags) | trunOffset*count(l.offsets)))
	w.u32(uint32(len(r.Samples)))
	w.u32(uint32(dataOffset))
	for i := range r.Samples {
		s := &r.Samples[i]
		if !l.sameDuration {
			w.u32(s.Duration)
		}
		w.u32(uint32(len(s.Data)))
		if !l.sameFlags {
			w.u32(sampleFlags(s.Key))
		}
		if l.offsets {
			w.u32(uint32(s.Offset))
		}
	}
}

func sampleFlags(key bool) uint32 {
	if key {
		return flagsKey
	}
	return flagsOther
}

// A writer appends boxes.
type writer struct{ b []byte }

func (w *writer) u8(v ...byte) { w.b = append(w.b, v...) }
func (w *writer) u16(v uint16) { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }

func (w *writer) zeros(n int) {
	for range n {
		w.b = append(w.b, 0)
	}
}

// header begins a box whose whole size is known.
func (w *writer) header(size int, kind string) {
	w.u32(uint32(size))
	w.b = append(w.b, kind...)
}

// box writes a box whose size is known once its content is written.
func (w *writer) box(kind string, content func()) {
	at := len(w.b)
	w.header(0, kind)
	content()
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at))
}

// full is box for a FullBox (section 4.2.2).
func (w *writer) full(kind string, version byte, flags uint32, content func()) {
	w.box(kind, func() {
		w.u32(uint32(version)<<24 | flags)
		content()
	})
}
