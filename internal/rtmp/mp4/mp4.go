// Package mp4 reads the elementary streams of an MP4 file (ISO/IEC 14496-12),
// plain or fragmented, in the form in which Enhanced RTMP carries them. It is for
// files that are published (`tally publish`) and for tests; what the server makes
// is written elsewhere.
//
// [Open] reads the file's tables; samples are read when they are asked for. Files
// are not trusted: no length allocates more than the file has, and a file has at
// most MaxSamples.
package mp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxSamples is how many samples are read of one file: 7 hours of 30 pictures
	// and 47 AAC frames a second. Each costs 32 bytes of memory.
	MaxSamples = 2 << 20
	// maxTables bounds a box of tables, which is read into memory as a whole.
	maxTables = 128 << 20
	// maxTracks is how many tracks are looked at.
	maxTracks = 64
	// maxSample is the largest sample: what fits into an RTMP message with its header.
	maxSample = 1<<24 - 64
)

var (
	// ErrNotMP4: the file does not begin with MP4's boxes.
	ErrNotMP4 = errors.New("not an MP4 file")
	// ErrBroken: a box is cut short or contradicts another.
	ErrBroken = errors.New("broken MP4 file")
	// ErrTooLong: more samples than MaxSamples.
	ErrTooLong = fmt.Errorf("more than %d samples", MaxSamples)
)

// A File is an open MP4 file. Its fields are not to be changed; Read may be
// called concurrently.
type File struct {
	Tracks []Track
	// Skipped names the sample entries of tracks that RTMP here does not carry.
	Skipped []string

	r    io.ReaderAt
	size int64
}

// A Track is one elementary stream.
type Track struct {
	Video         bool
	FourCC        [4]byte // as Enhanced RTMP names the codec
	Config        []byte  // as its sequence start carries it
	Timescale     uint32  // ticks per second
	Width, Height int     // pixels; 0 for audio
	Language      string  // BCP 47; "" when the file does not say
	Name          string  // for people; ""
	Samples       []Sample
}

// A Sample is one picture or one audio frame, in decode order.
type Sample struct {
	DTS      int64 // ticks; below 0 for what lies before the presentation's begin
	Offset   int64 // in the file
	Size     uint32
	Duration uint32 // ticks
	Shift    int32  // PTS less DTS, ticks
	Key      bool   // decoding may start here
}

// Open reads the tables of the file of that size. It returns ErrNotMP4,
// ErrBroken, ErrTooLong, or an error of r.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	m := movie{size: size}
	for at := int64(0); at < size; {
		kind, header, length, err := f.box(at)
		if err != nil {
			return nil, err
		}
		switch {
		case at == 0 && kind != "ftyp" && kind != "styp" && kind != "moov" && kind != "free" && kind != "wide":
			return nil, ErrNotMP4
		case kind == "moov" || kind == "moof":
			b, err := f.bytes(at+header, length-header)
			if err != nil {
				return nil, err
			}
			if kind == "moov" {
				err = m.moov(b)
			} else {
				err = m.moof(b, at)
			}
			if err != nil {
				return nil, fmt.Errorf("%s at %d: %w", kind, at, err)
			}
		}
		at += length
	}
	if m.tracks == nil {
		return nil, fmt.Errorf("no moov: %w", ErrNotMP4)
	}
	return f, f.finish(&m)
}

// box reads a top-level box's header: its kind, and the lengths of the header and
// of the whole.
func (f *File) box(at int64) (kind string, header, length int64, err error) {
	var h [16]byte
	if f.size-at < 8 {
		return "", 0, 0, ErrBroken
	}
	if _, err := f.r.ReadAt(h[:min(16, f.size-at)], at); err != nil && err != io.EOF {
		return "", 0, 0, err
	}
	kind, header, length = string(h[4:8]), 8, int64(binary.BigEndian.Uint32(h[:]))
	switch length {
	case 0: // to the end of the file
		length = f.size - at
	case 1:
		header, length = 16, int64(binary.BigEndian.Uint64(h[8:])&(1<<62-1))
	}
	if length < header || length > f.size-at {
		if at == 0 {
			return "", 0, 0, ErrNotMP4
		}
		return "", 0, 0, fmt.Errorf("box %q of %d bytes, %d are there: %w", kind, length, f.size-at, ErrBroken)
	}
	return kind, header, length, nil
}

// bytes reads n bytes, which lie within the file.
func (f *File) bytes(at, n int64) ([]byte, error) {
	if n > maxTables {
		return nil, fmt.Errorf("tables of %d bytes: %w", n, ErrTooLong)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(f.r, at, n), b); err != nil {
		return nil, err
	}
	return b, nil
}

// finish makes the tracks of what was read, and holds the samples against the file.
func (f *File) finish(m *movie) error {
	for _, t := range m.tracks {
		if t.FourCC == [4]byte{} {
			f.Skipped = append(f.Skipped, t.entry)
			continue
		}
		for i := range t.Samples {
			s := &t.Samples[i]
			if s.Offset < 0 || s.Size == 0 || s.Size > maxSample || s.Offset > f.size-int64(s.Size) {
				return fmt.Errorf("sample %d of track %d, %d bytes at %d, lies outside of the file: %w", i, t.id, s.Size, s.Offset, ErrBroken)
			}
			s.DTS += t.start(m.timescale)
		}
		if len(t.Samples) > 0 {
			f.Tracks = append(f.Tracks, t.Track)
		}
	}
	return nil
}

// Read reads a sample into dst, which grows where it is too short.
func (f *File) Read(dst []byte, s Sample) ([]byte, error) {
	if cap(dst) < int(s.Size) {
		dst = make([]byte, s.Size)
	}
	dst = dst[:s.Size]
	if _, err := f.r.ReadAt(dst, s.Offset); err != nil && err != io.EOF {
		return nil, err
	}
	return dst, nil
}

// Milliseconds is how long n ticks are, rounded down.
func (t *Track) Milliseconds(n int64) int64 {
	scale := int64(t.Timescale)
	ms := n / scale * 1000
	if rest := n % scale * 1000; rest >= 0 {
		return ms + rest/scale
	} else {
		return ms + (rest-scale+1)/scale
	}
}

// End is where the last sample ends, in ticks.
func (t *Track) End() int64 {
	last := t.Samples[len(t.Samples)-1]
	return last.DTS + int64(last.Duration)
}
