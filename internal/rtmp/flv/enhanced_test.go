package flv

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var withoutRest = cmpopts.IgnoreUnexported(Video{}, Audio{})

var (
	hvc1 = [4]byte{'h', 'v', 'c', '1'}
	avc1 = [4]byte{'a', 'v', 'c', '1'}
	av01 = [4]byte{'a', 'v', '0', '1'}
	vp09 = [4]byte{'v', 'p', '0', '9'}
	opus = [4]byte{'O', 'p', 'u', 's'}
	flac = [4]byte{'f', 'L', 'a', 'C'}
	mp4a = [4]byte{'m', 'p', '4', 'a'}
)

// cat joins strings and bytes into a body.
func cat(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case int:
			b = append(b, byte(p))
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

// enhancedVideo are bodies as Enhanced RTMP v2 draws them. Those of OBS are
// written down from its muxer (obs-studio: plugins/obs-outputs/flv-mux.c).
var enhancedVideo = []struct {
	name string
	in   []byte
	want []Video
	err  error
}{
	{"HEVC sequence start", cat(0x90, "hvc1", 1, 2), []Video{{Key: true, FourCC: hvc1, Data: []byte{1, 2}}}, nil},
	{"HEVC coded frames", cat(0xA1, "hvc1", 0xFF, 0xFF, 0xD8, 9), []Video{{FourCC: hvc1, Packet: Coded, Composition: -40, Data: []byte{9}}}, nil},
	{"HEVC coded frames X", cat(0x93, "hvc1", 9), []Video{{Key: true, FourCC: hvc1, Packet: Coded, Data: []byte{9}}}, nil},
	{"AVC coded frames", cat(0x91, "avc1", 0, 0, 40, 9), []Video{{Key: true, FourCC: avc1, Packet: Coded, Composition: 40, Data: []byte{9}}}, nil},
	{"AV1 coded frames have no composition", cat(0x91, "av01", 0x12, 0), []Video{{Key: true, FourCC: av01, Packet: Coded, Data: []byte{0x12, 0}}}, nil},
	{"VP9 coded frames", cat(0xA1, "vp09", 0x86), []Video{{FourCC: vp09, Packet: Coded, Data: []byte{0x86}}}, nil},
	{"sequence end", cat(0x92, "hvc1"), []Video{{Key: true, FourCC: hvc1, Packet: EndOfSequence, Data: []byte{}}}, nil},
	{"OBS' colour information", cat(0x94, "hvc1", 2, 0, 9, "colorInfo", 3, 0, 0, 9), []Video{{Key: true, FourCC: hvc1, Packet: ColorInfo, Data: cat(2, 0, 9, "colorInfo", 3, 0, 0, 9)}}, nil},
	{"colour information in a command frame", cat(0xD4, "hvc1", 2), []Video{{FourCC: hvc1, Packet: ColorInfo, Data: []byte{2}}}, nil},
	{"MPEG-2 TS sequence start", cat(0x95, "av01", 0x80), []Video{{Key: true, FourCC: av01, Packet: MPEG2TSHeader, Data: []byte{0x80}}}, nil},
	{"command frame without a FourCC", cat(0xD1, 0), []Video{{Info: true}}, nil},
	{"reserved packet type", cat(0x9F, "hvc1", 1), []Video{{Key: true, FourCC: hvc1, Packet: unknownPacket + 15, Data: []byte{1}}}, nil},
	{"OBS' second track", cat(0x96, 0x01, "avc1", 1, 0, 0, 40, 9), []Video{{Key: true, FourCC: avc1, Track: 1, Packet: Coded, Composition: 40, Data: []byte{9}}}, nil},
	{"OBS' second track's configuration", cat(0x96, 0x00, "avc1", 1, 7, 8), []Video{{Key: true, FourCC: avc1, Track: 1, Data: []byte{7, 8}}}, nil},
	{"many tracks", cat(0x96, 0x13, "avc1", 0, 0, 0, 1, 7, 1, 0, 0, 2, 8, 9), []Video{
		{Key: true, Shared: true, FourCC: avc1, Packet: Coded, Data: []byte{7}},
		{Key: true, Shared: true, FourCC: avc1, Track: 1, Packet: Coded, Data: []byte{8, 9}}}, nil},
	{"many tracks with composition", cat(0xA6, 0x11, "hvc1", 0, 0, 0, 4, 0, 0, 40, 7, 3, 0, 0, 3, 0xFF, 0xFF, 0xD8), []Video{
		{Shared: true, FourCC: hvc1, Packet: Coded, Composition: 40, Data: []byte{7}},
		{Shared: true, FourCC: hvc1, Track: 3, Packet: Coded, Composition: -40, Data: []byte{}}}, nil},
	{"many tracks, many codecs", cat(0x96, 0x21, "av01", 0, 0, 0, 1, 7, "hvc1", 255, 0, 0, 4, 0, 0, 1, 9), []Video{
		{Key: true, Shared: true, FourCC: av01, Packet: Coded, Data: []byte{7}},
		{Key: true, Shared: true, FourCC: hvc1, Track: 255, Packet: Coded, Composition: 1, Data: []byte{9}}}, nil},
	{"nanoseconds", cat(0x97, 2, 0x0A, 0x2C, 0x2A, 0x01, "hvc1", 0, 0, 0, 9), []Video{{Key: true, FourCC: hvc1, Packet: Coded, Nanos: 666_666, Data: []byte{9}}}, nil},
	{"more than a millisecond of them", cat(0x97, 2, 0xFF, 0xFF, 0xFF, 0x03, "hvc1", 9), []Video{{Key: true, FourCC: hvc1, Packet: Coded, Nanos: 999_999, Data: []byte{9}}}, nil},
	{"two extensions, one not known, then tracks", cat(0x97, 0, 5, 0xF7, 2, 0, 0, 7, 0x06, 0x01, "av01", 4, 9), []Video{{Key: true, FourCC: av01, Track: 4, Packet: Coded, Nanos: 7, Data: []byte{9}}}, nil},
	{"extension of 256 bytes", cat(0x97, 255, 0, 255, bytes.Repeat([]byte{1}, 256), 0x13, "hvc1", 9), []Video{{Key: true, FourCC: hvc1, Packet: Coded, Data: []byte{9}}}, nil},

	{"cut within the FourCC", cat(0x90, "hv"), nil, ErrTruncated},
	{"cut within the composition", cat(0x91, "hvc1", 0, 0), nil, ErrTruncated},
	{"cut before the track id", cat(0x96, 0x01, "avc1"), nil, ErrTruncated},
	{"cut before the multitrack type", cat(0x96), nil, ErrTruncated},
	{"cut within an extension", cat(0x97, 2, 1, 2), nil, ErrTruncated},
	{"cut before an extension", cat(0x97), nil, ErrTruncated},
	{"cut within a long extension's length", cat(0x97, 255, 1), nil, ErrTruncated},
	{"second track cut short", cat(0x96, 0x13, "avc1", 0, 0, 0, 1, 7, 1, 0, 0, 2, 8), []Video{{Key: true, Shared: true, FourCC: avc1, Packet: Coded, Data: []byte{7}}}, ErrTruncated},
	{"track longer than the body", cat(0x96, 0x13, "avc1", 0, 0xFF, 0xFF, 0xFF, 7), nil, ErrTruncated},
	{"a track twice", cat(0x96, 0x13, "avc1", 200, 0, 0, 1, 7, 1, 0, 0, 0, 200, 0, 0, 1, 8), []Video{
		{Key: true, Shared: true, FourCC: avc1, Track: 200, Packet: Coded, Data: []byte{7}},
		{Key: true, Shared: true, FourCC: avc1, Track: 1, Packet: Coded, Data: []byte{}}}, ErrFraming},
	{"tracks within tracks", cat(0x96, 0x16, "avc1", 0, 0, 0, 1, 7), nil, ErrFraming},
	{"extension within tracks", cat(0x96, 0x17, "avc1", 0, 0, 0, 1, 7), nil, ErrFraming},
	{"reserved multitrack type", cat(0x96, 0x31, "avc1", 0, 9), nil, ErrFraming},
}

var enhancedAudio = []struct {
	name string
	in   []byte
	want []Audio
	err  error
}{
	{"Opus sequence start", cat(0x90, "OpusOpusHead", 1), []Audio{{Format: FormatEnhanced, FourCC: opus, Data: cat("OpusHead", 1)}}, nil},
	{"FLAC coded frames", cat(0x91, "fLaC", 0xFF, 0xF8), []Audio{{Format: FormatEnhanced, FourCC: flac, Packet: Coded, Data: []byte{0xFF, 0xF8}}}, nil},
	{"sequence end", cat(0x92, "mp4a"), []Audio{{Format: FormatEnhanced, FourCC: mp4a, Packet: EndOfSequence, Data: []byte{}}}, nil},
	{"channels", cat(0x94, "mp4a", 1, 2, 0, 0, 0, 3), []Audio{{Format: FormatEnhanced, FourCC: mp4a, Packet: ChannelConfig, Data: []byte{1, 2, 0, 0, 0, 3}}}, nil},
	{"OBS' second track", cat(0x95, 0x01, "mp4a", 1, 9), []Audio{{Format: FormatEnhanced, FourCC: mp4a, Track: 1, Packet: Coded, Data: []byte{9}}}, nil},
	{"many tracks, many codecs", cat(0x95, 0x20, "Opus", 0, 0, 0, 1, 7, "mp4a", 9, 0, 0, 0), []Audio{
		{Format: FormatEnhanced, FourCC: opus, Data: []byte{7}}, {Format: FormatEnhanced, FourCC: mp4a, Track: 9, Data: []byte{}}}, nil},
	{"nanoseconds", cat(0x97, 2, 0, 0, 5, 0x01, "Opus", 9), []Audio{{Format: FormatEnhanced, FourCC: opus, Packet: Coded, Nanos: 5, Data: []byte{9}}}, nil},
	{"reserved packet type", cat(0x93, "mp4a"), []Audio{{Format: FormatEnhanced, FourCC: mp4a, Packet: unknownPacket + 3, Data: []byte{}}}, nil},

	{"cut within the FourCC", cat(0x90, "O"), nil, ErrTruncated},
	{"cut within a FourCC of many", cat(0x95, 0x20, "Op"), nil, ErrTruncated},
	{"tracks within tracks", cat(0x95, 0x15, "mp4a", 0), nil, ErrFraming},
}

func videos(b []byte) (vs []Video, err error) {
	v, err := ParseVideo(b)
	for more := err == nil; more; more, err = v.Next() {
		vs = append(vs, v)
	}
	return vs, err
}

func audios(b []byte) (as []Audio, err error) {
	a, err := ParseAudio(b)
	for more := err == nil; more; more, err = a.Next() {
		as = append(as, a)
	}
	return as, err
}

func TestEnhancedVideo(t *testing.T) {
	for _, tt := range enhancedVideo {
		t.Run(tt.name, func(t *testing.T) {
			got, err := videos(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got, withoutRest); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEnhancedAudio(t *testing.T) {
	for _, tt := range enhancedAudio {
		t.Run(tt.name, func(t *testing.T) {
			got, err := audios(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got, withoutRest); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestChannels(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want Channels
		err  error
	}{
		{"count alone", []byte{0, 2}, Channels{Count: 2}, nil},
		{"native order", []byte{1, 6, 0, 0, 0, 0x3F}, Channels{Count: 6, Mask: 0x3F}, nil},
		{"custom order", []byte{2, 2, 1, 0, 9}, Channels{Count: 2, Order: []byte{1, 0}}, nil},
		{"cut short", []byte{1, 6, 0}, Channels{}, ErrTruncated},
		{"cut short custom", []byte{2, 2, 1}, Channels{}, ErrTruncated},
		{"nothing", nil, Channels{}, ErrTruncated},
		{"reserved order", []byte{3, 2}, Channels{}, ErrFraming},
	} {
		got, err := ParseChannels(tt.in)
		if !errors.Is(err, tt.err) || !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

// same compares what a body of its own can say.
func same(a, b Video) bool {
	return a.Key == b.Key && a.FourCC == b.FourCC && a.Track == b.Track && a.Packet == b.Packet &&
		a.Composition == b.Composition && a.Nanos == b.Nanos && bytes.Equal(a.Data, b.Data)
}

func sameAudio(a, b Audio) bool {
	return a.FourCC == b.FourCC && a.Track == b.Track && a.Packet == b.Packet && a.Nanos == b.Nanos && bytes.Equal(a.Data, b.Data)
}

// appendSome puts enhanced tracks that can be written into one body, or returns nil.
func appendSome(vs []Video) []byte {
	for _, v := range vs {
		if v.FourCC == [4]byte{} || v.Info || v.Packet >= unknownPacket {
			return nil
		}
	}
	if len(vs) == 0 {
		return nil
	}
	return AppendVideos(nil, vs)
}

// TestTracksShareTheBody: a body of several tracks is split, not copied, and an
// append to one track's data cannot run into the next.
func TestTracksShareTheBody(t *testing.T) {
	in := []Video{
		{Key: true, FourCC: av01, Packet: Coded, Nanos: 9, Data: []byte{1, 2}},
		{Key: true, FourCC: hvc1, Track: 1, Packet: Coded, Composition: -7, Nanos: 9, Data: []byte{3}},
		{Key: true, FourCC: avc1, Track: 2, Packet: Coded, Nanos: 9, Data: []byte{4, 5, 6}},
	}
	body := AppendVideos(nil, in)
	got, err := videos(body)
	if err != nil || len(got) != len(in) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, v := range got {
		if !same(v, in[i]) || !v.Shared {
			t.Errorf("track %d: %+v, want %+v", i, v, in[i])
		}
		if cap(v.Data) != len(v.Data) {
			t.Errorf("track %d: an append to its data writes into the next track", i)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		v, _ := ParseVideo(body)
		for more := true; more; more, _ = v.Next() {
		}
	}); n != 0 {
		t.Errorf("%v allocations to split a body", n)
	}

	sounds := []Audio{{Format: FormatEnhanced, FourCC: mp4a, Packet: Coded, Data: []byte{1}}, {Format: FormatEnhanced, FourCC: mp4a, Track: 1, Packet: Coded, Data: []byte{2, 3}}}
	back, err := audios(AppendAudios(nil, sounds))
	if err != nil || len(back) != 2 || !sameAudio(back[0], sounds[0]) || !sameAudio(back[1], sounds[1]) {
		t.Errorf("audio %+v, %v", back, err)
	}
}
