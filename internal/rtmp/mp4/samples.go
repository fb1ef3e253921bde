package mp4

import (
	"math"
	"slices"
)

// A table holds the boxes that list a track's samples (sections 8.6, 8.7).
type table struct{ stts, ctts, stsc, stsz, stco, co64, stss []byte }

func (t *table) box(kind string, b []byte) {
	switch kind {
	case "stts":
		t.stts = b
	case "ctts":
		t.ctts = b
	case "stsc":
		t.stsc = b
	case "stsz":
		t.stsz = b
	case "stco":
		t.stco = b
	case "co64":
		t.co64 = b
	case "stss":
		t.stss = b
	}
}

// runs yields a table of (count, value) pairs one value at a time, the last one
// for ever.
type runs struct {
	r     reader
	left  uint32
	value uint32
}

func newRuns(b []byte) runs {
	r := reader{b: b}
	r.full()
	r.u32()
	return runs{r: r}
}

func (r *runs) next() uint32 {
	for r.left == 0 && len(r.r.b) >= 8 {
		r.left, r.value = r.r.u32(), r.r.u32()
	}
	if r.left > 0 {
		r.left--
	}
	return r.value
}

// list makes the samples of a track's tables.
func (m *movie) list(t *track) error {
	sizes := reader{b: t.table.stsz}
	sizes.full()
	same, count := sizes.u32(), sizes.u32()
	if len(t.table.stsz) == 0 || count == 0 {
		return nil
	}
	if same == 0 && uint64(count)*4 > uint64(len(sizes.b)) || uint64(count)*uint64(same) > uint64(m.size) {
		return ErrBroken
	}
	if m.count += int(count); m.count > MaxSamples {
		return ErrTooLong
	}
	places, err := t.table.places()
	if err != nil {
		return err
	}
	durations, shifts := newRuns(t.table.stts), newRuns(t.table.ctts)
	t.Samples = make([]Sample, 0, count)
	dts := int64(0)
	for range count {
		s := Sample{DTS: dts, Size: same, Duration: durations.next(), Shift: int32(shifts.next()), Key: t.table.stss == nil}
		if same == 0 {
			s.Size = sizes.u32()
		}
		if s.Offset, err = places.next(s.Size); err != nil {
			return err
		}
		t.Samples = append(t.Samples, s)
		if dts += int64(s.Duration); dts > math.MaxInt64/4 {
			return ErrBroken
		}
	}
	t.keys()
	t.next = dts
	return nil
}

// keys marks the samples that stss names; without it all are keys.
func (t *track) keys() {
	r := reader{b: t.table.stss}
	r.full()
	r.u32()
	for len(r.b) >= 4 {
		if n := r.u32(); n > 0 && int64(n) <= int64(len(t.Samples)) {
			t.Samples[n-1].Key = true
		}
	}
}

// places yields where in the file each sample begins.
type places struct {
	offsets reader
	wide    bool
	chunks  reader // (first chunk, samples per chunk, description)
	chunk   uint32 // the one that at lies in, from 1
	per     uint32 // samples of each chunk now
	change  uint32 // the chunk from which on per is another
	left    uint32 // of the chunk
	at      int64
}

func (t *table) places() (*places, error) {
	p := &places{offsets: reader{b: t.stco}, chunks: reader{b: t.stsc}}
	if t.co64 != nil {
		p.offsets, p.wide = reader{b: t.co64}, true
	}
	p.offsets.full()
	p.offsets.u32()
	p.chunks.full()
	p.chunks.u32()
	p.change = p.chunks.u32()
	if p.offsets.over || p.chunks.over || p.change != 1 {
		return nil, ErrBroken
	}
	return p, nil
}

func (p *places) next(size uint32) (int64, error) {
	for p.left == 0 {
		p.chunk++
		at := p.offsets.word(p.wide)
		if p.offsets.over || at > math.MaxInt64/4 {
			return 0, ErrBroken
		}
		if p.chunk == p.change {
			p.per = p.chunks.u32()
			p.chunks.skip(4)
			if p.chunks.over || p.per == 0 {
				return 0, ErrBroken
			}
			if p.change = math.MaxUint32; len(p.chunks.b) >= 12 {
				p.change = p.chunks.u32()
			}
		}
		p.left, p.at = p.per, int64(at)
	}
	p.left--
	at := p.at
	p.at += int64(size)
	return at, nil
}

// mvex reads a track's defaults for fragments.
func (m *movie) mvex(kind string, b []byte) error {
	if kind != "trex" {
		return nil
	}
	r := reader{b: b}
	r.full()
	id := r.u32()
	r.u32()
	if t := m.track(id); t != nil {
		t.extends = extends{r.u32(), r.u32(), r.u32()}
	}
	return r.err()
}

func (m *movie) track(id uint32) *track {
	i := slices.IndexFunc(m.tracks, func(t *track) bool { return t.id == id })
	if i < 0 {
		return nil
	}
	return m.tracks[i]
}

// moof reads the samples of a fragment that begins there in the file.
func (m *movie) moof(b []byte, at int64) error {
	return each(b, func(kind string, b []byte) error {
		if kind != "traf" {
			return nil
		}
		return m.traf(b, at)
	})
}

// Flags of tfhd and trun (sections 8.8.7, 8.8.8), and of a sample (8.8.3.1).
const (
	tfhdBase, tfhdDescription, tfhdDuration, tfhdSize, tfhdFlags = 0x1, 0x2, 0x8, 0x10, 0x20

	trunOffset, trunFirstFlags                         = 0x1, 0x4
	trunDuration, trunSize, trunFlags, trunComposition = 0x100, 0x200, 0x400, 0x800

	sampleNonSync = 0x10000
)

// traf reads one track of a fragment.
func (m *movie) traf(b []byte, base int64) error {
	var t *track
	var d extends
	at := base
	return each(b, func(kind string, b []byte) error {
		r := reader{b: b}
		switch {
		case kind == "tfhd":
			_, flags := r.full()
			if t = m.track(r.u32()); t == nil || t.FourCC == [4]byte{} {
				t = nil
				return nil
			}
			if flags&tfhdBase != 0 {
				base = int64(r.u64() & (1<<62 - 1))
			}
			if flags&tfhdDescription != 0 {
				r.u32()
			}
			d = t.extends
			d.take(&r, flags&tfhdDuration != 0, flags&tfhdSize != 0, flags&tfhdFlags != 0)
			at = base
		case t == nil:
		case kind == "tfdt":
			version, _ := r.full()
			t.next = int64(r.word(version == 1) & (1<<61 - 1))
		case kind == "trun":
			var err error
			if at, err = m.trun(t, d, &r, base, at); err != nil {
				return err
			}
		}
		return r.err()
	})
}

// take replaces what is said.
func (d *extends) take(r *reader, duration, size, flags bool) {
	if duration {
		d.duration = r.u32()
	}
	if size {
		d.size = r.u32()
	}
	if flags {
		d.flags = r.u32()
	}
}

// trun adds a run of samples, whose bytes begin at at where the run does not say,
// and returns where they end.
func (m *movie) trun(t *track, d extends, r *reader, base, at int64) (int64, error) {
	_, flags := r.full()
	count := r.u32()
	if m.count += int(count); m.count > MaxSamples || m.count < 0 {
		return 0, ErrTooLong
	}
	if flags&trunOffset != 0 {
		at = base + int64(int32(r.u32()))
	}
	first, hasFirst := uint32(0), flags&trunFirstFlags != 0
	if hasFirst {
		first = r.u32()
	}
	for i := range count {
		one := d
		one.take(r, flags&trunDuration != 0, flags&trunSize != 0, flags&trunFlags != 0)
		if i == 0 && hasFirst {
			one.flags = first
		}
		s := Sample{DTS: t.next, Offset: at, Size: one.size, Duration: one.duration, Key: one.flags&sampleNonSync == 0}
		if flags&trunComposition != 0 {
			s.Shift = int32(r.u32())
		}
		if r.over || one.size == 0 || at > m.size || t.next > math.MaxInt64/4 {
			return 0, ErrBroken // and nothing grows without bytes of the file behind it
		}
		t.Samples = append(t.Samples, s)
		t.next += int64(one.duration)
		at += int64(one.size)
	}
	return at, nil
}
