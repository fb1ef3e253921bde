package hlscheck

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"tally/internal/hls/cmaf"
	"tally/internal/media"
)

// Where decoding can start is seen in each codec's own bytes. The frames are
// those of real encoders.
func TestStarts(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../../media/testdata/" + name + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key := read("av1-aom-key")
	for name, c := range map[string]struct {
		entry  string
		sample []byte
		want   bool
	}{
		"H.264 IDR":                       {"avc1", []byte{0, 0, 0, 2, 0x65, 0x88}, true},
		"H.264 other":                     {"avc1", []byte{0, 0, 0, 2, 0x41, 0x88}, false},
		"H.264 length past the end":       {"avc1", []byte{0, 0, 1, 2, 0x65, 0x88}, false},
		"HEVC IDR":                        {"hvc1", read("hevc-idr"), true},
		"HEVC CRA":                        {"hvc1", read("hevc-cra"), true},
		"HEVC other":                      {"hvc1", read("hevc-trail"), false},
		"HEVC parameter sets alone":       {"hvc1", []byte{0, 0, 0, 3, 0x42, 1, 1}, false},
		"AV1 key":                         {"av01", read("av1-svt-key"), true},
		"AV1 key of libaom":               {"av01", key, true},
		"AV1 key without its header":      {"av01", key[12:], false},
		"AV1 key behind a delimiter":      {"av01", append([]byte{0x12, 0}, key...), false},
		"AV1 other":                       {"av01", read("av1-aom-inter"), false},
		"AV1 size past the end":           {"av01", []byte{0x0a, 0x7f, 0}, false},
		"AV1 size without an end":         {"av01", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false},
		"VP9 key":                         {"vp09", read("vp9-key"), true},
		"VP9 key of profile 3":            {"vp09", read("vp9-profile3-key"), true},
		"VP9 other":                       {"vp09", read("vp9-inter"), false},
		"VP9 superframe":                  {"vp09", read("vp9-superframe"), false},
		"VP9 one shown again":             {"vp09", []byte{0x88}, false},
		"VP9 empty":                       {"vp09", nil, false},
		"sound starts anywhere":           {"Opus", []byte{0xfc}, true},
		"an entry that nobody here knows": {"xyz1", nil, true},
	} {
		if got := (&Track{Codec: c.entry, LengthSize: 4}).Starts(c.sample); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Configurations that do not fit their sample entry are found.
func TestRefusesEntries(t *testing.T) {
	opus, err := media.OpusTrack([]byte{1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	info := make([]byte, 34)
	binary.BigEndian.PutUint32(info, 0x04800480)
	binary.BigEndian.PutUint64(info[10:], 48000<<44|1<<41|15<<36)
	flac, err := media.FLACTrack(info)
	if err != nil {
		t.Fatal(err)
	}
	vp9, err := media.VP9Track([]byte{0, 10, 0x82, 2, 2, 2, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	vp9.Width, vp9.Height = 64, 36
	av1, err := media.AV1Track([]byte{0x81, 0, 0x0c, 0})
	if err != nil {
		t.Fatal(err)
	}
	av1.Width, av1.Height = 64, 36
	for name, c := range map[string]struct {
		track    media.Track
		from, to string
		says     string
	}{
		"Opus channels":        {opus, "dOps\x00\x02", "dOps\x00\x03", "3 channels"},
		"Opus without its box": {opus, "dOps", "free", "no dOps"},
		"FLAC rate":            {flac, "\x0b\xb8\x02", "\x0a\xc4\x42", "44100 Hz"},
		"FLAC another block":   {flac, "dfLa\x00\x00\x00\x00\x80", "dfLa\x00\x00\x00\x00\x84", "STREAMINFO"},
		"VP9 level":            {vp9, "vpcC\x01\x00\x00\x00\x00\x0a", "vpcC\x01\x00\x00\x00\x00\x00", "level 0"},
		"VP9 version":          {vp9, "vpcC\x01", "vpcC\x00", "version 0"},
		"AV1 version":          {av1, "av1C\x81", "av1C\x82", "version 1"},
		"AV1 of no size":       {av1, "\x00\x40\x00\x24\x00\x48", "\x00\x00\x00\x00\x00\x48", "picture of 0 x 0"},
	} {
		b, err := cmaf.InitSegment([]media.Track{c.track})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseInit(b); err != nil {
			t.Errorf("%s, as it should be: %v", name, err)
		}
		if _, err := ParseInit(bytes.Replace(b, []byte(c.from), []byte(c.to), 1)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
