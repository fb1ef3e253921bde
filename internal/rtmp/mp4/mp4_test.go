package mp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"tally/internal/media"
)

// The files in ../testdata were written by ffmpeg 5.1: 2 s of testsrc2, 25
// pictures a second with a key frame each second, and tones.
func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(b []byte) (*File, error) { return Open(bytes.NewReader(b), int64(len(b))) }

func TestOpen(t *testing.T) {
	type want struct {
		fourCC   string
		read     func([]byte) (media.Track, error)
		codec    string // RFC 6381
		width    int
		language string
		name     string
		samples  int // at least
		keys     int
	}
	for name, tracks := range map[string][]want{
		"hevc-opus.mp4": {{"hvc1", media.HEVCTrack, "hvc1.1.6.L30.90", 160, "", "", 50, 2}, {"Opus", media.OpusTrack, "opus", 0, "de", "", 100, 100}},
		"av1-aac.mp4":   {{"av01", media.AV1Track, "av01.0.00M.08", 160, "", "", 50, 2}, {"mp4a", media.AACTrack, "mp4a.40.2", 0, "", "", 94, 94}},
		"vp9-flac.mp4":  {{"vp09", media.VP9Track, "vp09.00.10.08", 160, "", "", 50, 2}, {"fLaC", media.FLACTrack, "fLaC", 0, "", "", 21, 21}},
		"ladder.mp4": {{"avc1", media.H264Track, "avc1.64000b", 160, "", "", 50, 2}, {"avc1", media.H264Track, "avc1.640009", 128, "", "", 50, 2},
			{"avc1", media.H264Track, "avc1.640009", 96, "", "", 50, 2}, {"mp4a", media.AACTrack, "mp4a.40.2", 0, "en", "", 94, 94}, {"mp4a", media.AACTrack, "mp4a.40.2", 0, "fr", "Director", 94, 94}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := open(file(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Tracks) != len(tracks) {
				t.Fatalf("%d tracks, want %d", len(f.Tracks), len(tracks))
			}
			for i, w := range tracks {
				got := f.Tracks[i]
				if string(got.FourCC[:]) != w.fourCC || got.Width != w.width || got.Language != w.language || got.Name != w.name {
					t.Errorf("track %d: %s, %d wide, language %q, name %q; want %+v", i, got.FourCC[:], got.Width, got.Language, got.Name, w)
				}
				mt, err := w.read(got.Config)
				if err != nil || mt.CodecString != w.codec {
					t.Errorf("track %d: codec %s, %v; want %s", i, mt.CodecString, err, w.codec)
				}
				keys, last := 0, int64(-1<<40)
				for j, s := range got.Samples {
					if s.Key {
						keys++
					}
					b, err := f.Read(nil, s)
					if err != nil {
						t.Fatal(err)
					}
					if payload := media.Payload(&mt, b); got.Video && s.Key != media.Key(&mt, payload) {
						t.Errorf("track %d, sample %d: key %v, by its bytes %v", i, j, s.Key, !s.Key)
					}
					if s.DTS <= last {
						t.Errorf("track %d, sample %d: %d after %d", i, j, s.DTS, last)
					}
					last = s.DTS
				}
				if len(got.Samples) < w.samples || len(got.Samples) > w.samples+3 || keys < w.keys || keys > w.keys+3 {
					t.Errorf("track %d: %d samples, %d keys; want %+v", i, len(got.Samples), keys, w)
				}
				if begin, end := got.Milliseconds(got.Samples[0].DTS+int64(got.Samples[0].Shift)), got.Milliseconds(got.End()); begin < -100 || begin > 10 || end < 1900 || end > 2100 {
					t.Errorf("track %d shows from %d to %d ms", i, begin, end)
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	whole := file(t, "ladder.mp4")
	for _, tt := range []struct {
		name string
		in   []byte
		err  error
	}{
		{"empty", nil, ErrNotMP4},
		{"an FLV file", file(t, "bframes.flv"), ErrNotMP4},
		{"text", []byte("hello, this is no video at all"), ErrNotMP4},
		{"cut short", whole[:len(whole)/2], ErrBroken},
		{"no tables", whole[:28], ErrNotMP4},
	} {
		if _, err := open(tt.in); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	tr := Track{Timescale: 90000}
	for ticks, want := range map[int64]int64{0: 0, 89: 0, 90: 1, -1: -1, -90: -1, -91: -2, -90000: -1000, 90000 * 3600 * 24 * 365: 3600 * 24 * 365 * 1000} {
		if got := tr.Milliseconds(ticks); got != want {
			t.Errorf("%d ticks: %d ms, want %d", ticks, got, want)
		}
	}
}

// short takes the samples' bytes out of a file: the tables are what is fuzzed,
// and inputs of kilobytes are slow.
func short(b []byte) []byte {
	var out []byte
	for at := 0; at+8 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if kind := string(b[at+4 : at+8]); kind != "mdat" && kind != "mfra" {
			out = append(out, b[at:at+n]...)
		}
		at += n
	}
	return out
}

// FuzzOpen: whatever the bytes, samples lie within the file.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"hevc-opus.mp4", "av1-aac.mp4", "vp9-flac.mp4", "ladder.mp4"} {
		f.Add(short(file(f, name)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := open(b)
		if err != nil {
			return
		}
		var buf []byte
		for _, tr := range m.Tracks {
			for _, s := range tr.Samples[:min(10, len(tr.Samples))] {
				if buf, err = m.Read(buf, s); err != nil || len(buf) != int(s.Size) {
					t.Errorf("sample %+v: %d bytes, %v", s, len(buf), err)
				}
			}
			tr.Milliseconds(tr.End())
		}
	})
}
