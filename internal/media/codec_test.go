package media

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"
)

// Configurations as ffmpeg 5.1 (libx264, native AAC) writes them.
const (
	avc720p30   = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800"
	avc1080p599 = "0164002affe100196764002aacd940780227e5c04400000fa4000753003c60c65801000668ebe3cb22c0fdf8f800"
	avc1080i25  = "01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c001000668fba3cb22c0fdf8f800"
	avcBaseline = "0142c00bffe100186742c00bd901519e226c0440000003004000000503c50a9201000568cb83cb20"
	avc444      = "01f4000cffe1001b67f4000c919b282a33c7c66022000003000200000300281e28532c01000668ebe3c44844fff8f800"
	avc422x10   = "017a000cffe1001a677a000cb6cd941419f8cc0440000003004000000c03c50a658001000668ebe3cb22c0fefafa00"
	avcScaling  = "0164000cffe1001a6764000cacd941419f9f011000000300100000030300f142996001000768ebe3cb3002c0fdf8f800"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestH264Track(t *testing.T) {
	for _, c := range []struct {
		name, config  string
		width, height int
		rate          float64
		codec         string
	}{
		{"720p30", avc720p30, 1280, 720, 30, "avc1.64001f"},
		{"1080p59.94", avc1080p599, 1920, 1080, 60000.0 / 1001, "avc1.64002a"},
		{"interlaced", avc1080i25, 1920, 1080, 25, "avc1.640028"},
		{"baseline, cropped", avcBaseline, 322, 182, 10, "avc1.42c00b"},
		{"4:4:4, odd height", avc444, 322, 181, 10, "avc1.f4000c"},
		{"4:2:2, 10 bit", avc422x10, 320, 181, 24, "avc1.7a000c"},
		{"scaling lists in the PPS", avcScaling, 320, 180, 24, "avc1.64000c"},
		{"high profile without its extension", avc720p30[:len(avc720p30)-8], 1280, 720, 30, "avc1.64001f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := unhex(t, c.config)
			tr, err := H264Track(config)
			if err != nil {
				t.Fatal(err)
			}
			if tr.Width != c.width || tr.Height != c.height || math.Abs(tr.FrameRate-c.rate) > 1e-9 || tr.CodecString != c.codec {
				t.Errorf("got %dx%d, %g fps, %s; want %dx%d, %g fps, %s", tr.Width, tr.Height, tr.FrameRate, tr.CodecString,
					c.width, c.height, c.rate, c.codec)
			}
			if tr.ID != VideoTrack || tr.Codec != H264 || tr.Timescale != VideoTimescale || !bytes.Equal(tr.Config, config) {
				t.Errorf("track %+v", tr)
			}
		})
	}
}

func TestH264TrackSaysFourByteLengths(t *testing.T) {
	config := unhex(t, avc720p30)
	config[4] = 0xfd // two-byte lengths
	if n := H264LengthSize(config); n != 2 {
		t.Errorf("the encoder's lengths have %d bytes, want 2", n)
	}
	tr, err := H264Track(config)
	if err != nil || H264LengthSize(tr.Config) != 4 || config[4] != 0xfd {
		t.Errorf("err %v, track says %d bytes, want 4 and the input untouched", err, H264LengthSize(tr.Config))
	}
}

func TestH264TrackDropsBrokenExtension(t *testing.T) {
	config := unhex(t, avc720p30)
	whole := len(config)
	config = append(config[:whole-1], 0x01, 0xff) // one SPS extension that is cut short
	tr, err := H264Track(config)
	if err != nil || len(tr.Config) != whole-4 {
		t.Errorf("err %v, config of %d bytes, want %d", err, len(tr.Config), whole-4)
	}
}

func TestH264TrackRefuses(t *testing.T) {
	for name, config := range map[string]string{
		"empty":               "",
		"one byte":            "01",
		"version 0":           "00" + avc720p30[2:],
		"three-byte lengths":  "0164001ffe" + avc720p30[10:],
		"no SPS":              "0164001fffe0" + "01000468ef8fcb",
		"empty SPS":           "0164001fffe1000001000468ef8fcb",
		"SPS longer than all": "0164001fffe1ffff6764001facd940",
		"SPS is a PPS":        "0164001fffe1000468ef8fcb01000468ef8fcb",
		"SPS cut short":       "0164001fffe100056764001fac01000468ef8fcb",
		"no PPS":              avc720p30[:76] + "00",
		"PPS count missing":   avc720p30[:68],
	} {
		t.Run(name, func(t *testing.T) {
			if tr, err := H264Track(unhex(t, config)); err == nil {
				t.Errorf("accepted as %+v", tr)
			}
		})
	}
}

func TestAACTrack(t *testing.T) {
	for _, c := range []struct {
		name, config string
		rate         uint32
		channels     int
		codec        string
		samples      int64
	}{
		{"44.1 kHz mono", "120856e500", 44100, 1, "mp4a.40.2", 1024},
		{"48 kHz stereo", "119056e500", 48000, 2, "mp4a.40.2", 1024},
		{"48 kHz stereo, two bytes", "1190", 48000, 2, "mp4a.40.2", 1024},
		{"5.1", "11b056e500", 48000, 6, "mp4a.40.2", 1024},
		{"7.1", "11b856e500", 48000, 8, "mp4a.40.2", 1024},
		{"quadraphonic, by program config", "118004c4040021100d4c61766335392e33372e31303056e500", 48000, 4, "mp4a.40.2", 1024},
		{"960 samples", "1194", 48000, 2, "mp4a.40.2", 960},
		{"HE-AAC, hierarchical", "2b920800", 22050, 2, "mp4a.40.5", 1024},
		{"HE-AAC, backward compatible", "139056e5a0", 22050, 2, "mp4a.40.5", 1024},
		{"HE-AAC v2, hierarchical", "eb8a0800", 22050, 2, "mp4a.40.29", 1024},
		{"HE-AAC v2, backward compatible", "138856e5a54880", 22050, 2, "mp4a.40.29", 1024},
		{"HE-AAC, implicit", "1390", 22050, 2, "mp4a.40.2", 1024},
		{"explicit rate", "1780567810", 44272, 2, "mp4a.40.2", 1024},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := unhex(t, c.config)
			tr, err := AACTrack(config)
			if err != nil {
				t.Fatal(err)
			}
			if tr.Timescale != c.rate || tr.Channels != c.channels || tr.CodecString != c.codec || tr.FrameSamples != c.samples {
				t.Errorf("got %d Hz, %d channels, %s, %d samples; want %d, %d, %s, %d", tr.Timescale, tr.Channels,
					tr.CodecString, tr.FrameSamples, c.rate, c.channels, c.codec, c.samples)
			}
			if tr.ID != AudioTrack || tr.Codec != AAC || !bytes.Equal(tr.Config, config) {
				t.Errorf("track %+v", tr)
			}
		})
	}
}

func TestAACTrackRefuses(t *testing.T) {
	for _, c := range []struct {
		name, config string
		unsupported  bool
	}{
		{"empty", "", false},
		{"one byte", "12", false},
		{"reserved rate", "1690", false},
		{"no channels", "1182", false},
		{"explicit rate cut short", "1780", false},
		{"xHE-AAC", "f94600", true},
		{"AAC ELD", "f8e85000", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := AACTrack(unhex(t, c.config))
			if err == nil || errors.Is(err, ErrUnsupported) != c.unsupported {
				t.Errorf("got %+v, %v; want an error, unsupported %v", tr, err, c.unsupported)
			}
		})
	}
}

func FuzzH264Track(f *testing.F) {
	for _, s := range []string{avc720p30, avc1080p599, avc1080i25, avcBaseline, avc444, avc422x10, avcScaling, "", "01"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := H264Track(b)
		if err != nil {
			return
		}
		if tr.Width <= 0 || tr.Height <= 0 || tr.Width > maxDimension || tr.Height > maxDimension || len(tr.Config) > len(b) {
			t.Errorf("track %+v", tr)
		}
		if again, err := H264Track(tr.Config); err != nil || !bytes.Equal(again.Config, tr.Config) {
			t.Errorf("the track's own config reads as %+v, %v", again, err)
		}
	})
}

func FuzzAACTrack(f *testing.F) {
	for _, s := range []string{"1190", "120856e500", "2b920800", "eb8a0800", "138856e5a54880", "1780567810",
		"118004c4040021100d4c61766335392e33372e31303056e500", "", "12"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := AACTrack(b)
		if err != nil {
			return
		}
		if tr.Timescale < 7350 || tr.Timescale > 96000 || tr.Channels < 1 {
			t.Errorf("track %+v", tr)
		}
	})
}

// A configuration costs memory in proportion to its own bytes, whatever it claims.
func TestConfigsAllocateBoundedly(t *testing.T) {
	hungry := unhex(t, "0164001fffffffff6764001facd940")
	if n := testing.AllocsPerRun(100, func() { H264Track(hungry) }); n > 20 {
		t.Errorf("%v allocations for a broken record", n)
	}
}
