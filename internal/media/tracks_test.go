package media

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Configurations as ffmpeg 5.1 writes them into MP4: libx265 3.5 (its message
// with the settings cut out but in hevcMessage), SVT-AV1 1.4, libaom 3.6, libvpx
// 1.12, libopus 1.3, its own FLAC.
const (
	hevcMain   = "0101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e959009a10001002b42010101600000030090000003000003001ea01420207cb965644a4c2f016808000003000800000300c840a2000100064401c073c189"
	hevcSmall  = "0101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e959009a10001002a42010101600000030090000003000003001ea020831f3e595912930bc05a020000030002000003003210a2000100064401c073c089"
	hevcMain10 = "0102200000009000000000003cf000fcfdfafa00000f03a00001001840010c01ffff02200000030090000003000003003cba0240a10001003142010102200000030090000003000003003ca01620207112365ba4a4c2fff00f400f36a122012080000003008000000c84a2000100064401c073c18927"
	hevc444    = "0104080000009e08000000003cf000fcfff8f800000f03a00001001740010c01ffff0408000003009e0800000300003c959809a1000100274201010408000003009e0800000300003c9002840f2cb2b349265787340400000fa40001d4c020a2000100064401c172860c4624"
	av1SVT     = "81000c000a0a00000003b4ff700be001"
	av1AOM     = "81000c000a0a00000002aff19b5f2008"
	av1PQ      = "81004c000a0d00000002aff19b5f2a12201208"
	vp9Plain   = "01000000000a820202020000"
	vp9Deep    = "01000000020aa20202020000"
	vp9Wide    = "01000000030aa50101010000"
	opusStereo = "4f707573486561640102380180bb0000000000"
	opus51     = "4f707573486561640106380180bb000000000104020004010203" + "05"
	flacStereo = "664c6143" + "80000022" + "120012000002550004ff0bb802f00000bb80ba53abf56ced381f730b6f85c5f5e43d"
	flac24     = "200020000000000000001770037000000000" + "00000000000000000000000000000000"
)

// frame reads a frame that one of the encoders wrote. Those of sound are cut.
func frame(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVideoTracks(t *testing.T) {
	pq := Color{Primaries: 9, Transfer: 16, Matrix: 9}
	for _, c := range []struct {
		name   string
		parse  func([]byte) (Track, error)
		config string
		want   Track
	}{
		{"HEVC Main", HEVCTrack, hevcMain, Track{Width: 160, Height: 120, FrameRate: 25, CodecString: "hvc1.1.6.L30.90"}},
		{"HEVC Main, odd height, limited range", HEVCTrack, hevcSmall, Track{Width: 64, Height: 36, FrameRate: 25, CodecString: "hvc1.1.6.L30.90"}},
		{"HEVC Main 10, PQ, pixels nearly square", HEVCTrack, hevcMain10,
			Track{Width: 162, Height: 122, FrameRate: 25, CodecString: "hvc1.2.4.L60.90", Color: pq, Aspect: Aspect{244, 243}}},
		{"HEVC 4:4:4, B-frames, pixels 4:3", HEVCTrack, hevc444,
			Track{Width: 160, Height: 120, FrameRate: 30000.0 / 1001, CodecString: "hvc1.4.10.L60.9E.8", Aspect: Aspect{4, 3}}},
		{"AV1 of SVT", AV1Track, av1SVT, Track{Width: 160, Height: 120, CodecString: "av01.0.00M.08", Color: Color{2, 2, 2, false}}},
		{"AV1 of libaom", AV1Track, av1AOM, Track{Width: 64, Height: 36, CodecString: "av01.0.00M.08", Color: Color{2, 2, 2, false}}},
		{"AV1, 10 bit, PQ", AV1Track, av1PQ, Track{Width: 64, Height: 36, CodecString: "av01.0.00M.10.0.110.09.16.09.0", Color: pq}},
		{"AV1 without a sequence header", AV1Track, "81044c00", Track{CodecString: "av01.0.04M.10"}},
		{"VP9", VP9Track, vp9Plain, Track{CodecString: "vp09.00.10.08", Color: Color{2, 2, 2, false}}},
		{"VP9 without the full box", VP9Track, vp9Plain[8:], Track{CodecString: "vp09.00.10.08", Color: Color{2, 2, 2, false}}},
		{"VP9, 10 bit", VP9Track, vp9Deep, Track{CodecString: "vp09.02.10.10", Color: Color{2, 2, 2, false}}},
		{"VP9 4:2:2, full range", VP9Track, vp9Wide, Track{CodecString: "vp09.03.10.10.02.01.01.01.01", Color: Color{1, 1, 1, true}}},
		{"VP9 without a level", VP9Track, "0000820202020000", Track{CodecString: "vp09.00.10.08", Color: Color{2, 2, 2, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := unhex(t, c.config)
			got, err := c.parse(config)
			if err != nil {
				t.Fatal(err)
			}
			if got.Width != c.want.Width || got.Height != c.want.Height || math.Abs(got.FrameRate-c.want.FrameRate) > 1e-9 ||
				got.CodecString != c.want.CodecString || got.Color != c.want.Color || got.Aspect != c.want.Aspect {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if got.ID != VideoTrack || got.Timescale != VideoTimescale || !got.Codec.Video() || got.Channels != 0 {
				t.Errorf("track %+v", got)
			}
			if dynamic := got.Color.Range(); dynamic != "" != (got.Color == pq) || dynamic == "HLG" {
				t.Errorf("its dynamic range is %q", dynamic)
			}
			again, err := c.parse(got.Config)
			if err != nil || !bytes.Equal(again.Config, got.Config) || again.CodecString != got.CodecString {
				t.Errorf("the track's own config %x reads as %+v, %v", got.Config, again, err)
			}
		})
	}
}

// A record of hvc1 holds its parameter sets completely, in frames of 4-byte
// lengths, and no message that is not for showing the picture.
func TestHEVCConfig(t *testing.T) {
	config := unhex(t, hevcMain)
	config[22] = 4                                           // one more array
	config = append(config, 0x27, 0, 1, 0, 4, 0x4e, 1, 5, 0) // user data
	config[21] &^= 3                                         // lengths of one byte
	config[1], config[12] = 2, 99                            // a profile and level that it does not have
	if n := HEVCLengthSize(config); n != 1 {
		t.Errorf("the encoder's lengths have %d bytes, want 1", n)
	}
	got, err := HEVCTrack(config)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, hevcMain)
	want[13], want[14] = 0xf0, 0
	for at := 23; at < len(want); { // array_completeness
		want[at] |= 0x80
		at += 5 + int(want[at+4])
	}
	if !bytes.Equal(got.Config, want) {
		t.Errorf("config\n%x, want\n%x", got.Config, want)
	}
}

func TestAudioTracks(t *testing.T) {
	for _, c := range []struct {
		name     string
		parse    func([]byte) (Track, error)
		config   string
		rate     uint32
		channels int
		samples  int64
		codec    string
	}{
		{"Opus", OpusTrack, opusStereo, 48000, 2, 0, "opus"},
		{"Opus without its signature", OpusTrack, opusStereo[16:], 48000, 2, 0, "opus"},
		{"Opus 5.1", OpusTrack, opus51, 48000, 6, 0, "opus"},
		{"FLAC", FLACTrack, flacStereo, 48000, 2, 4608, "fLaC"},
		{"FLAC without the signature", FLACTrack, flacStereo[8:], 48000, 2, 4608, "fLaC"},
		{"FLAC, STREAMINFO alone", FLACTrack, flacStereo[16:], 48000, 2, 4608, "fLaC"},
		{"FLAC, 96 kHz, 24 bit", FLACTrack, flac24, 96000, 2, 8192, "fLaC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.parse(unhex(t, c.config))
			if err != nil {
				t.Fatal(err)
			}
			if got.Timescale != c.rate || got.Channels != c.channels || got.FrameSamples != c.samples || got.CodecString != c.codec ||
				got.ID != AudioTrack || got.Codec.Video() {
				t.Errorf("track %+v", got)
			}
			if again, err := c.parse(got.Config); err != nil || !bytes.Equal(again.Config, got.Config) {
				t.Errorf("the track's own config %x reads as %+v, %v", got.Config, again, err)
			}
		})
	}
	flac, err := FLACTrack(unhex(t, flacStereo))
	if err != nil || bytes.Contains(flac.Config, unhex(t, "ba53abf5")) {
		t.Errorf("a sum that no live stream has: %x, %v", flac.Config, err)
	}
}

func TestTracksRefuse(t *testing.T) {
	parsers := map[string]func([]byte) (Track, error){"HEVC": HEVCTrack, "AV1": AV1Track, "VP9": VP9Track, "Opus": OpusTrack, "FLAC": FLACTrack}
	cut := func(s string, n int) string { return s[:len(s)-2*n] }
	for name, c := range map[string]struct {
		config      string
		unsupported bool
	}{
		"HEVC empty":                      {"", false},
		"HEVC version 2":                  {"02" + hevcMain[2:], false},
		"HEVC three-byte lengths":         {hevcMain[:42] + "0e" + hevcMain[44:], false},
		"HEVC cut short":                  {cut(hevcMain, 1), false},
		"HEVC without PPS":                {hevcMain[:44] + "02" + hevcMain[46:], false},
		"HEVC SPS cut short":              {strings.Replace(hevcMain, "a10001002b42010101600000030090000003000003001ea01420", "a100010003420101", 1), false},
		"AV1 empty":                       {"", false},
		"AV1 version 0":                   {"80" + av1SVT[2:], false},
		"AV1 header cut short":            {cut(av1SVT, 1), false},
		"AV1 header says too little":      {"81000c000a0200" + "00", false},
		"AV1 still picture":               {"81000c000a0618" + "0000000000", true},
		"AV1 forbidden bit":               {"81000c008a0a00000003b4ff700be001", false},
		"VP9 empty":                       {"", false},
		"VP9 profile 4":                   {"040a820202020000", false},
		"VP9 samples of 9 bits":           {"000a920202020000", false},
		"Opus empty":                      {"", false},
		"Opus version 16":                 {"10" + opusStereo[18:], false},
		"Opus no channels":                {"0100" + opusStereo[20:], false},
		"Opus three channels without map": {"0103" + opusStereo[20:], false},
		"Opus map cut short":              {cut(opus51, 1), false},
		"Opus channel of no stream":       {cut(opus51, 1) + "06", false},
		"Opus ambisonics":                 {"0104380180bb0000000002" + "040000010203", true},
		"FLAC empty":                      {"", false},
		"FLAC cut short":                  {cut(flacStereo, 1), false},
		"FLAC frames of 0 samples":        {"00000000" + flac24[8:], false},
		"FLAC 0 Hz":                       {flac24[:20] + "00000370" + flac24[28:], false},
		"FLAC 655,350 Hz":                 {flac24[:20] + "9fff6370" + flac24[28:], true},
	} {
		t.Run(name, func(t *testing.T) {
			codec, _, _ := strings.Cut(name, " ")
			got, err := parsers[codec](unhex(t, c.config))
			if err == nil || errors.Is(err, ErrUnsupported) != c.unsupported {
				t.Errorf("got %+v, %v; want an error, unsupported %v", got, err, c.unsupported)
			}
		})
	}
}

func TestKey(t *testing.T) {
	delimiter := []byte{0x12, 0}
	for name, c := range map[string]struct {
		codec Codec
		frame []byte
		want  bool
	}{
		"H.264 IDR":                   {H264, []byte{0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x65, 0x88}, true},
		"H.264 other":                 {H264, []byte{0, 0, 0, 2, 0x41, 0x9a}, false},
		"H.264 broken":                {H264, []byte{0, 0, 1, 2, 0x65, 0x9a}, false},
		"HEVC IDR":                    {HEVC, frame(t, "hevc-idr"), true},
		"HEVC CRA":                    {HEVC, frame(t, "hevc-cra"), true},
		"HEVC other":                  {HEVC, frame(t, "hevc-trail"), false},
		"HEVC behind a delimiter":     {HEVC, append([]byte{0, 0, 0, 3, 0x46, 1, 0x10}, frame(t, "hevc-idr")...), true},
		"AV1 key":                     {AV1, frame(t, "av1-svt-key"), true},
		"AV1 key of libaom":           {AV1, frame(t, "av1-aom-key"), true},
		"AV1 other":                   {AV1, frame(t, "av1-svt-inter"), false},
		"AV1 other of libaom":         {AV1, frame(t, "av1-aom-inter"), false},
		"AV1 key behind a delimiter":  {AV1, append(bytes.Clone(delimiter), frame(t, "av1-svt-key")...), true},
		"AV1 delimiter alone":         {AV1, delimiter, false},
		"AV1 key that is shown later": {AV1, []byte{obuFrame<<3 | 2, 1, 0x00}, false},
		"VP9 key":                     {VP9, frame(t, "vp9-key"), true},
		"VP9 key of profile 3":        {VP9, frame(t, "vp9-profile3-key"), true},
		"VP9 other":                   {VP9, frame(t, "vp9-inter"), false},
		"VP9 superframe":              {VP9, frame(t, "vp9-superframe"), false},
		"VP9 shown again":             {VP9, []byte{0x88}, false},
		"sound":                       {Opus, []byte{0xfc}, true},
	} {
		if got := Key(&Track{Codec: c.codec}, c.frame); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPayload(t *testing.T) {
	track, err := AV1Track(unhex(t, av1AOM))
	if err != nil {
		t.Fatal(err)
	}
	key, inter := frame(t, "av1-aom-key"), frame(t, "av1-aom-inter")
	_, bare, err := takeOBU(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ sent, want []byte }{
		"as it should be":           {key, key},
		"with a delimiter":          {append([]byte{0x12, 0}, key...), key},
		"a delimiter without size":  {[]byte{0x10}, nil},
		"without a sequence header": {append([]byte{0x12, 0}, bare...), key},
		"another":                   {append([]byte{0x12, 0}, inter...), inter},
		"a delimiter alone":         {[]byte{0x12, 0}, nil},
	} {
		if got := Payload(&track, c.sent); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
	}
	sent := append([]byte{0x12, 0}, key...)
	if n := testing.AllocsPerRun(10, func() { Payload(&track, sent) }); n > 0 {
		t.Errorf("%v allocations for a frame that is as it should be", n)
	}
}

func TestRefine(t *testing.T) {
	plain, err := VP9Track(unhex(t, vp9Plain))
	if err != nil {
		t.Fatal(err)
	}
	small, changed := Refine(&plain, frame(t, "vp9-key"))
	if !changed || small.Width != 64 || small.Height != 36 || small.CodecString != "vp09.00.10.08" || !bytes.Equal(small.Config, plain.Config) {
		t.Errorf("VP9: %v %+v", changed, small)
	}
	if again, changed := Refine(&small, frame(t, "vp9-key")); changed {
		t.Errorf("the same picture changes %+v to %+v", small, again)
	}
	wide, changed := Refine(&small, frame(t, "vp9-profile3-key"))
	if !changed || wide.CodecString != "vp09.03.10.10.02.02.02.02.01" && wide.CodecString != "vp09.03.10.10.02.01.01.01.01" {
		t.Errorf("another profile: %v %+v", changed, wide)
	}
	if _, changed := Refine(&small, frame(t, "vp9-inter")); changed {
		t.Error("a frame that is no key frame changes the track")
	}

	bare, err := AV1Track(unhex(t, "81000c00"))
	if err != nil {
		t.Fatal(err)
	}
	aom, changed := Refine(&bare, frame(t, "av1-aom-key"))
	if want, _ := AV1Track(unhex(t, av1AOM)); !changed || aom.Width != 64 || !bytes.Equal(aom.Config, want.Config) {
		t.Errorf("AV1: %v %+v", changed, aom)
	}
	if _, changed := Refine(&aom, frame(t, "av1-aom-key")); changed {
		t.Error("the same picture changes the track")
	}
	svt, changed := Refine(&aom, frame(t, "av1-svt-key"))
	if !changed || svt.Height != 64 {
		t.Errorf("another size: %v %+v", changed, svt)
	}
	if _, changed := Refine(&aom, frame(t, "av1-aom-inter")); changed {
		t.Error("a frame that is no key frame changes the track")
	}
}

// A keyframe that is shown again and again is each time a beginning, which a CRA
// picture would not be.
func TestStill(t *testing.T) {
	for name, c := range map[string]struct {
		codec Codec
		kind  byte // of the slices; 0: nothing changes
	}{
		"hevc-idr":    {HEVC, 0},
		"hevc-cra":    {HEVC, hevcBLA},
		"av1-svt-key": {AV1, 0},
		"vp9-key":     {VP9, 0},
	} {
		key := frame(t, name)
		sent := bytes.Clone(key)
		still := Still(&Track{Codec: c.codec}, key)
		if &still[0] == &key[0] || !bytes.Equal(key, sent) {
			t.Errorf("%s: not a copy", name)
		}
		if c.kind == 0 {
			if !bytes.Equal(still, key) {
				t.Errorf("%s: changed", name)
			}
			continue
		}
		if hevcType(still[4:]) != c.kind || !Key(&Track{Codec: HEVC}, still) || !bytes.Equal(still[5:], key[5:]) {
			t.Errorf("%s: %x of %x", name, still[:8], key[:8])
		}
	}
}

func TestSamples(t *testing.T) {
	opus, flac := &Track{Codec: Opus}, &Track{Codec: FLAC, FrameSamples: 4608}
	for name, c := range map[string]struct {
		track *Track
		frame []byte
		want  int64
	}{
		"AAC":                      {&Track{Codec: AAC, FrameSamples: 960}, []byte{1}, 960},
		"Opus 2.5 ms":              {opus, frame(t, "opus-2.5"), 120},
		"Opus 20 ms":               {opus, frame(t, "opus-20"), 960},
		"Opus 60 ms":               {opus, frame(t, "opus-60"), 2880},
		"Opus 120 ms":              {opus, frame(t, "opus-120"), 5760},
		"Opus SILK 40 ms":          {opus, []byte{2 << 3}, 1920},
		"Opus two of 10 ms":        {opus, []byte{12<<3 | 1}, 960},
		"Opus longer than allowed": {opus, []byte{3<<3 | 3, 3}, 0},
		"Opus empty":               {opus, nil, 0},
		"Opus count missing":       {opus, []byte{3}, 0},
		"FLAC 4608":                {flac, frame(t, "flac-4608"), 4608},
		"FLAC 1152":                {flac, frame(t, "flac-1152"), 1152},
		"FLAC, the last":           {flac, frame(t, "flac-last"), 1920},
		"FLAC reserved":            {flac, []byte{0xff, 0xf8, 0x0a, 8, 0, 0, 0}, 0},
		"FLAC out of step":         {flac, []byte{0xff, 0xf0, 0x5a, 8, 0, 0, 0}, 0},
		"FLAC cut short":           {flac, []byte{0xff, 0xf8, 0x7a, 8, 0xe2, 0x80}, 0},
		"video":                    {&Track{Codec: VP9}, frame(t, "vp9-key"), 0},
	} {
		if got := Samples(c.track, c.frame); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// fuzzTrack fuzzes a parser of configurations: what it makes reads as itself.
func fuzzTrack(f *testing.F, parse func([]byte) (Track, error), seeds ...string) {
	for _, s := range seeds {
		f.Add(unhex(f, s))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(b)
		if err != nil {
			return
		}
		if got.Width < 0 || got.Width > maxDimension || got.Height < 0 || got.Height > maxDimension ||
			got.Timescale == 0 || len(got.Config) > len(b)+8 || got.CodecString == "" {
			t.Errorf("track %+v of %x", got, b)
		}
		again, err := parse(got.Config)
		if err != nil || !bytes.Equal(again.Config, got.Config) || again.CodecString != got.CodecString || again.Width != got.Width {
			t.Errorf("the track's own config %x reads as %+v, %v", got.Config, again, err)
		}
	})
}

func FuzzHEVCTrack(f *testing.F) { fuzzTrack(f, HEVCTrack, hevcMain, hevcSmall, hevcMain10, hevc444) }
func FuzzAV1Track(f *testing.F)  { fuzzTrack(f, AV1Track, av1SVT, av1AOM, av1PQ, "81044c00") }
func FuzzVP9Track(f *testing.F)  { fuzzTrack(f, VP9Track, vp9Plain, vp9Deep, vp9Wide, vp9Plain[8:]) }
func FuzzOpusTrack(f *testing.F) { fuzzTrack(f, OpusTrack, opusStereo, opusStereo[16:], opus51) }
func FuzzFLACTrack(f *testing.F) { fuzzTrack(f, FLACTrack, flacStereo, flacStereo[8:], flac24) }

// Whatever a frame's bytes are, looking into them ends, changes nothing and
// stays consistent.
func FuzzFrames(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bin")
	if err != nil || len(files) == 0 {
		f.Fatal("no frames", err)
	}
	tracks := []Track{{Codec: H264}}
	for _, c := range []struct {
		parse  func([]byte) (Track, error)
		config string
	}{{HEVCTrack, hevcMain}, {AV1Track, av1AOM}, {VP9Track, vp9Plain}, {OpusTrack, opusStereo}, {FLACTrack, flacStereo}} {
		t, err := c.parse(unhex(f, c.config))
		if err != nil {
			f.Fatal(err)
		}
		tracks = append(tracks, t)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for i := range tracks {
			f.Add(uint8(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		track := &tracks[int(which)%len(tracks)]
		before := bytes.Clone(b)
		p := Payload(track, b)
		if len(p) > len(b)+len(track.Config) || len(Payload(track, p)) != len(p) {
			t.Errorf("payload %x of %x, and of that %x", p, b, Payload(track, p))
		}
		Key(track, p)
		if n := Samples(track, p); n < 0 || n > 65535 {
			t.Errorf("%d samples", n)
		}
		if refined, changed := Refine(track, p); changed {
			if refined.Width <= 0 || refined.Height <= 0 || refined.Width > maxDimension || refined.Height > maxDimension {
				t.Errorf("refined to %+v", refined)
			}
			if again, changed := Refine(&refined, p); changed {
				t.Errorf("refined to %+v and again to %+v", refined, again)
			}
		}
		if !bytes.Equal(b, before) {
			t.Error("the frame was changed")
		}
	})
}
