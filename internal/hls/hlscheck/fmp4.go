package hlscheck

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// This is a reader of the fMP4 that HLS carries (ISO/IEC 14496-12, the CMAF
// subset of ISO/IEC 23000-19), independent of the writer it judges. Memory is
// bounded by the bytes given.

// Track is one track of an init section.
type Track struct {
	ID         uint32
	Timescale  uint32
	Handler    string // vide, soun
	Codec      string // of the sample entry: avc1, hvc1, av01, vp09, mp4a, Opus, fLaC
	LengthSize int    // bytes of a NAL unit's length; 0 where there are none

	Width, Height uint16 // of a picture, as the sample entry says
	Channels      uint16 // of sound, as the sample entry says
	Config        []byte // of the decoder, the content of avcC, hvcC, av1C, vpcC, esds, dOps or dfLa

	defaultDuration, defaultSize, defaultFlags uint32 // trex
	extends                                    bool   // it has a trex
}

// Init is an initialization section.
type Init struct{ Tracks []Track }

// Fragment is what one moof holds of one track.
type Fragment struct {
	Track   *Track
	Time    int64 // tfdt: decode time of the first sample, in ticks
	Samples []Sample
}

// Sample is one coded picture or audio access unit.
type Sample struct {
	Duration uint32 // ticks
	Offset   int32  // composition offset, ticks
	Sync     bool   // decoding may start here
	Data     []byte
}

// Duration returns the sum of the samples' durations, in ticks.
func (f *Fragment) Duration() int64 {
	var d int64
	for i := range f.Samples {
		d += int64(f.Samples[i].Duration)
	}
	return d
}

var errShort = errors.New("box ends too early")

// walk calls fn for each box in b; offset is that of the box within b.
func walk(b []byte, fn func(kind string, body []byte, offset int) error) error {
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < 8 {
			return fmt.Errorf("%d bytes after the last box", len(rest))
		}
		size, head := uint64(binary.BigEndian.Uint32(rest)), uint64(8)
		kind := string(rest[4:8])
		switch size {
		case 1:
			if len(rest) < 16 {
				return fmt.Errorf("%q: %w", kind, errShort)
			}
			size, head = binary.BigEndian.Uint64(rest[8:]), 16
		case 0:
			size = uint64(len(rest)) // to the end
		}
		if size < head || size > uint64(len(rest)) {
			return fmt.Errorf("%q says it has %d bytes, %d are there", kind, size, len(rest))
		}
		if err := fn(kind, rest[head:size], at); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		at += int(size)
	}
	return nil
}

// fields reads big-endian fields; past the end it gives zeros and remembers.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if len(f.b) < n {
		f.short, f.b = true, nil
		return make([]byte, n) // n is a field's size, never the wire's
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) u32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) u64() uint64 { return binary.BigEndian.Uint64(f.take(8)) }
func (f *fields) err() error {
	if f.short {
		return errShort
	}
	return nil
}

// fullBox reads version and flags.
func (f *fields) fullBox() (version uint8, flags uint32) {
	v := f.u32()
	return uint8(v >> 24), v & 0xffffff
}

// ParseInit reads an init section.
func ParseInit(b []byte) (*Init, error) {
	in := new(Init)
	var ftyp, moov bool
	err := walk(b, func(kind string, body []byte, _ int) error {
		switch kind {
		case "ftyp":
			ftyp = !moov
		case "moov":
			moov = true
			return in.moov(body)
		case "moof", "mdat":
			return errors.New("media in an init section")
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !ftyp || !moov:
		return nil, errors.New("want ftyp and then moov")
	case len(in.Tracks) == 0:
		return nil, errors.New("moov has no track")
	}
	for i := range in.Tracks {
		t := &in.Tracks[i]
		if t.ID == 0 || t.Timescale == 0 || t.Codec == "" || !t.extends {
			return nil, fmt.Errorf("track %d: timescale %d, sample entry %q, trex %v", t.ID, t.Timescale, t.Codec, t.extends)
		}
	}
	return in, nil
}

func (in *Init) moov(b []byte) error {
	var trexes [][]byte
	err := walk(b, func(kind string, body []byte, _ int) error {
		switch kind {
		case "trak":
			t := Track{}
			if err := t.trak(body); err != nil {
				return err
			}
			if in.Track(t.ID) != nil {
				return fmt.Errorf("track id %d twice", t.ID)
			}
			in.Tracks = append(in.Tracks, t)
		case "mvex":
			return walk(body, func(kind string, body []byte, _ int) error {
				if kind == "trex" {
					trexes = append(trexes, body)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range trexes {
		f := fields{b: b}
		f.fullBox()
		t := in.Track(f.u32())
		if t == nil {
			return errors.New("trex for a track that moov does not have")
		}
		f.u32() // sample description index
		t.defaultDuration, t.defaultSize, t.defaultFlags, t.extends = f.u32(), f.u32(), f.u32(), true
		if err := f.err(); err != nil {
			return fmt.Errorf("trex: %w", err)
		}
	}
	return nil
}

// Track returns the track with an id, or nil.
func (in *Init) Track(id uint32) *Track {
	for i := range in.Tracks {
		if in.Tracks[i].ID == id {
			return &in.Tracks[i]
		}
	}
	return nil
}

// containers on the way from trak to the sample entry.
var containers = map[string]bool{"mdia": true, "minf": true, "stbl": true}

func (t *Track) trak(b []byte) error {
	return walk(b, func(kind string, body []byte, _ int) error {
		f := fields{b: body}
		switch {
		case containers[kind]:
			return t.trak(body)
		case kind == "tkhd":
			if version, _ := f.fullBox(); version == 1 {
				f.take(16)
			} else {
				f.take(8)
			}
			t.ID = f.u32()
		case kind == "mdhd":
			if version, _ := f.fullBox(); version == 1 {
				f.take(16)
			} else {
				f.take(8)
			}
			t.Timescale = f.u32()
		case kind == "hdlr":
			f.u32()
			f.u32()
			t.Handler = string(f.take(4))
		case kind == "stsd":
			f.u32()
			f.u32() // one entry is what CMAF has; the first is read
			if f.err() == nil {
				return t.sampleEntry(f.b)
			}
		}
		return f.err()
	})
}

// ParseMedia reads a part or a segment: one or more moof, each with its mdat.
func (in *Init) ParseMedia(b []byte) ([]Fragment, error) {
	var all []Fragment
	var open []run // of the last moof, whose mdat is awaited
	err := walk(b, func(kind string, body []byte, offset int) error {
		switch kind {
		case "moof":
			if open != nil {
				return errors.New("the moof before has no mdat")
			}
			frags, runs, err := in.moof(body)
			if err != nil {
				return err
			}
			for i := range runs {
				runs[i].start += int64(offset) // data offsets count from the moof
				runs[i].fragment += len(all)
			}
			all, open = append(all, frags...), runs
		case "mdat":
			if open == nil {
				return errors.New("no moof before it")
			}
			end := int64(offset + len(body) + 8)
			for _, r := range open {
				if err := r.fill(&all[r.fragment], b, end-int64(len(body)), end); err != nil {
					return err
				}
			}
			open = nil
		case "moov", "ftyp":
			return errors.New("an init section in media")
		}
		return nil
	})
	if err == nil && open != nil {
		err = errors.New("moof without mdat")
	}
	if err == nil && len(all) == 0 {
		err = errors.New("no moof")
	}
	return all, err
}

// run is where a trun's samples lie.
type run struct {
	fragment int
	first    int   // index of its first sample
	start    int64 // first byte, from the moof and later from the file
	sizes    []uint32
}

// fill hands the samples their bytes, which must lie in the mdat from low to high.
func (r *run) fill(f *Fragment, b []byte, low, high int64) error {
	at := r.start
	for i, size := range r.sizes {
		if at < low || at+int64(size) > high {
			return fmt.Errorf("sample %d of track %d lies at %d to %d, mdat from %d to %d", i, f.Track.ID, at, at+int64(size), low, high)
		}
		f.Samples[r.first+i].Data = b[at : at+int64(size)]
		at += int64(size)
	}
	return nil
}

func (in *Init) moof(b []byte) (frags []Fragment, runs []run, err error) {
	header := false
	err = walk(b, func(kind string, body []byte, _ int) error {
		switch kind {
		case "mfhd":
			header = true
		case "traf":
			f, rs, err := in.traf(body)
			if err != nil {
				return err
			}
			for i := range rs {
				rs[i].fragment = len(frags)
			}
			frags, runs = append(frags, *f), append(runs, rs...)
		}
		return nil
	})
	if err == nil && (!header || len(frags) == 0) {
		err = errors.New("want mfhd and at least one traf")
	}
	if err == nil && runs == nil {
		runs = []run{}
	}
	return frags, runs, err
}

// Flags of tfhd and trun (sections 8.8.7.1 and 8.8.8.1), and of a sample.
const (
	tfhdBaseDataOffset    = 0x000001
	tfhdDescription       = 0x000002
	tfhdDuration          = 0x000008
	tfhdSize              = 0x000010
	tfhdFlags             = 0x000020
	tfhdDefaultBaseIsMoof = 0x020000

	trunDataOffset = 0x001
	trunFirstFlags = 0x004
	trunDuration   = 0x100
	trunSize       = 0x200
	trunFlags      = 0x400
	trunComposite  = 0x800

	sampleIsNonSync = 0x00010000
)

func (in *Init) traf(b []byte) (*Fragment, []run, error) {
	var f Fragment
	var runs []run
	var defaults Track
	decodeTime := false
	err := walk(b, func(kind string, body []byte, _ int) error {
		r := fields{b: body}
		switch kind {
		case "tfhd":
			return in.tfhd(&r, &f, &defaults)
		case "tfdt":
			t := int64(0)
			if version, _ := r.fullBox(); version == 1 {
				t = int64(r.u64())
			} else {
				t = int64(r.u32())
			}
			if t < 0 || t > 1<<62 {
				return errors.New("decode time past 2^62")
			}
			f.Time, decodeTime = t, true
			return r.err()
		case "trun":
			if f.Track == nil || !decodeTime {
				return errors.New("before tfhd and tfdt")
			}
			run, err := f.trun(&r, &defaults)
			if err != nil {
				return err
			}
			runs = append(runs, run)
		}
		return nil
	})
	if err == nil && (f.Track == nil || !decodeTime || len(f.Samples) == 0) {
		err = errors.New("want tfhd, tfdt and a trun with samples")
	}
	return &f, runs, err
}

func (in *Init) tfhd(r *fields, f *Fragment, defaults *Track) error {
	_, flags := r.fullBox()
	id := r.u32()
	if f.Track = in.Track(id); f.Track == nil {
		return fmt.Errorf("track %d is not in the init section", id)
	}
	// Media Source players take nothing else (ISO BMFF byte stream format section 4).
	if flags&tfhdBaseDataOffset != 0 || flags&tfhdDefaultBaseIsMoof == 0 {
		return errors.New("data offsets must count from the moof (default-base-is-moof)")
	}
	*defaults = *f.Track
	if flags&tfhdDescription != 0 {
		r.u32()
	}
	if flags&tfhdDuration != 0 {
		defaults.defaultDuration = r.u32()
	}
	if flags&tfhdSize != 0 {
		defaults.defaultSize = r.u32()
	}
	if flags&tfhdFlags != 0 {
		defaults.defaultFlags = r.u32()
	}
	return r.err()
}

func (f *Fragment) trun(r *fields, defaults *Track) (run, error) {
	_, flags := r.fullBox()
	count := int64(r.u32())
	out := run{first: len(f.Samples)}
	if flags&trunDataOffset == 0 {
		return out, errors.New("no data offset")
	}
	out.start = int64(int32(r.u32()))
	firstFlags := defaults.defaultFlags
	if flags&trunFirstFlags != 0 {
		firstFlags = r.u32()
	}
	perSample := int64(0)
	for _, bit := range [...]uint32{trunDuration, trunSize, trunFlags, trunComposite} {
		if flags&bit != 0 {
			perSample += 4
		}
	}
	// Samples without a byte of their own here would let a small box claim
	// millions; none of ours or of the encoders we know is written so.
	if perSample == 0 && count > 1024 || count*perSample > int64(len(r.b)) {
		return out, fmt.Errorf("%d samples do not fit", count)
	}
	for i := range count {
		s := Sample{Duration: defaults.defaultDuration}
		size, sampleFlags := defaults.defaultSize, defaults.defaultFlags
		if i == 0 {
			sampleFlags = firstFlags
		}
		if flags&trunDuration != 0 {
			s.Duration = r.u32()
		}
		if flags&trunSize != 0 {
			size = r.u32()
		}
		if flags&trunFlags != 0 {
			sampleFlags = r.u32()
		}
		if flags&trunComposite != 0 {
			s.Offset = int32(r.u32())
		}
		s.Sync = sampleFlags&sampleIsNonSync == 0
		f.Samples = append(f.Samples, s)
		out.sizes = append(out.sizes, size)
	}
	return out, r.err()
}
