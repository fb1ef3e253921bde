package rtmpserver

import (
	"bytes"
	"errors"
	"testing"

	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/rtmp/flv"
)

// parts are the bodies of the test clip, to be bent.
type parts struct {
	avcHeader, aacHeader []byte
	pictures, sounds     [][]byte
}

func clipParts(t testing.TB) (p parts) {
	t.Helper()
	for _, tag := range loadClip(t).Tags {
		switch {
		case tag.Type == flv.TypeVideo && flv.IsSequenceHeader(tag):
			p.avcHeader = tag.Body
		case tag.Type == flv.TypeAudio && flv.IsSequenceHeader(tag):
			p.aacHeader = tag.Body
		case tag.Type == flv.TypeVideo && tag.Body[1] == 1:
			p.pictures = append(p.pictures, tag.Body)
		case tag.Type == flv.TypeAudio:
			p.sounds = append(p.sounds, tag.Body)
		}
	}
	return p
}

func newTestIntake() (*intake, *recording) {
	p := &recording{ended: make(chan struct{})}
	return newIntake(p, &Stats{}), p
}

// clone keeps the clip's bodies as they are: the intake owns what it gets.
func clone(b []byte) []byte { return bytes.Clone(b) }

func TestBadMedia(t *testing.T) {
	clip := clipParts(t)
	video := func(b ...byte) []byte { return b }
	tests := []struct {
		name  string
		video [][]byte
		audio [][]byte
		code  livestream.Code // "": goes on
		says  string
	}{
		{"VP8", [][]byte{[]byte("\x90vp08\x08")}, nil, livestream.UnsupportedCodec, "VP8 video, which is not supported; set the encoder's video codec to"},
		{"VVC", [][]byte{[]byte("\x90vvc1\x08")}, nil, livestream.UnsupportedCodec, "VVC"},
		{"codec that nobody knows", [][]byte{[]byte("\x90xxxx\x08")}, nil, livestream.UnsupportedCodec, `FourCC "xxxx"`},
		{"AV1 in MPEG-2 TS framing", [][]byte{[]byte("\x95av01\x80\x04\x81\x00\x00\x00")}, nil, livestream.UnsupportedCodec, "MPEG-2 TS framing"},
		{"HEVC header of noise", [][]byte{append([]byte("\x90hvc1"), bytes.Repeat([]byte{0xAA}, 40)...)}, nil, livestream.BadMedia, "HEVC"},
		{"AV1 header of noise", [][]byte{append([]byte("\x90av01"), bytes.Repeat([]byte{0xAA}, 40)...)}, nil, livestream.BadMedia, "AV1"},
		{"E-AC-3 as a second track", nil, [][]byte{[]byte("\x95\x00ec-3\x01\x08")}, livestream.UnsupportedCodec, "E-AC-3 audio, which is not supported; set the encoder's audio codec to AAC"},
		{"AC-3", nil, [][]byte{[]byte("\x90ac-3\x08")}, livestream.UnsupportedCodec, "AC-3"},
		{"MP3 by FourCC", nil, [][]byte{[]byte("\x91.mp3\xff\xfb")}, livestream.UnsupportedCodec, "MP3"},
		{"Opus of too many channels", nil, [][]byte{[]byte("\x90OpusOpusHead\x01\x09\x00\x00\x80\xbb\x00\x00\x00\x00\xff\x09\x00")}, livestream.UnsupportedCodec, "mono, stereo"},
		{"empty enhanced headers first", [][]byte{[]byte("\x90hvc1"), []byte("\x90av01\x81")}, [][]byte{[]byte("\x90Opus"), []byte("\x90OpusOpusTags rest of a comment")}, "", ""},
		{"frames without a header", [][]byte{[]byte("\x93hvc1abcde"), []byte("\x91av01\x12\x00")}, [][]byte{[]byte("\x91Opusabc"), []byte("\x95\x01mp4a\x02abc")}, "", ""},
		{"reserved, HDR metadata, ends, channels", [][]byte{[]byte("\x9fhvc1a"), []byte("\x94hvc1\x02"), []byte("\x92hvc1"), []byte("\x96\x36hvc1")}, [][]byte{[]byte("\x94mp4a\x00\x02"), []byte("\x92mp4a"), []byte("\x93mp4a")}, "", ""},
		{"VP6", [][]byte{video(0x14, 1, 2)}, nil, livestream.UnsupportedCodec, "VP6"},
		{"MP3", nil, [][]byte{{0x2F, 0xFF, 0xFB, 0x90}}, livestream.UnsupportedCodec, "MP3"},
		{"Speex", nil, [][]byte{{0xB2, 1, 2}}, livestream.UnsupportedCodec, "Speex"},
		{"lengths of 3 bytes", [][]byte{withLengthSize(clip.avcHeader, 3)}, nil, livestream.BadMedia, "3 bytes"},
		{"sequence header of noise", [][]byte{append([]byte{0x17, 0, 0, 0, 0}, bytes.Repeat([]byte{0xAA}, 20)...)}, nil, livestream.BadMedia, "sequence header"},
		{"AAC header of noise", nil, [][]byte{{0xAF, 0, 0xFF, 0xFF, 0xFF, 0xFF}}, livestream.BadMedia, ""},
		{"empty sequence header first", [][]byte{video(0x17, 0, 0, 0, 0), video(0x17, 0, 0, 0, 0, 1), clip.avcHeader, clip.pictures[0]}, [][]byte{{0xAF, 0}, {0xAF, 0, 0x12}}, "", ""},
		{"picture before its header", [][]byte{clip.pictures[0]}, [][]byte{clip.sounds[0]}, "", ""},
		{"one broken picture", [][]byte{clip.avcHeader, video(0x17, 1, 0, 0, 0, 0, 0, 0, 9, 0x65)}, nil, "", ""},
		{"noise after a good header", [][]byte{clip.avcHeader, append([]byte{0x17, 0, 0, 0, 0}, bytes.Repeat([]byte{0xAA}, 20)...), clip.pictures[0]}, nil, "", ""},
		{"cut short", [][]byte{{0x17}, {0x17, 1}, {0x90}, {0x14}}, [][]byte{{0xAF}, {0x2F}, {0x90, 'O'}}, "", ""},
		{"info frames, ends of sequence, unknown packets", [][]byte{{0x57, 0}, {0x17, 2, 0, 0, 0}, {0x17, 9, 0, 0, 0}}, [][]byte{{0xAF, 7, 1}}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, _ := newTestIntake()
			var err error
			for _, b := range tt.video {
				err = errors.Join(err, in.video(0, clone(b)))
			}
			for _, b := range tt.audio {
				err = errors.Join(err, in.audio(0, clone(b)))
			}
			bad, _ := errors.AsType[*badMedia](err)
			switch {
			case tt.code == "" && err != nil:
				t.Errorf("ended with %v", err)
			case tt.code != "" && (bad == nil || bad.reason.Code != tt.code || !bytes.Contains([]byte(bad.reason.Detail), []byte(tt.says))):
				t.Errorf("got %v, want %s with %q", err, tt.code, tt.says)
			}
		})
	}
}

func TestBrokenLengthsInARow(t *testing.T) {
	clip := clipParts(t)
	in, p := newTestIntake()
	broken := append(clone(clip.pictures[0]), 0, 0)
	if err := in.video(0, clone(clip.avcHeader)); err != nil {
		t.Fatal(err)
	}
	for range maxBroken - 1 {
		if err := in.video(0, clone(broken)); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.video(0, clone(clip.pictures[0])); err != nil || len(p.frames) != 1 {
		t.Fatalf("a good frame between: %v, %d frames", err, len(p.frames))
	}
	annexB := append([]byte{0x17, 1, 0, 0, 0}, "\x00\x00\x00\x01\x65abc\x00\x00\x01\x65"...)
	var err error
	for i := 0; i < maxBroken && err == nil; i++ {
		err = in.video(0, clone(annexB))
	}
	if bad, ok := errors.AsType[*badMedia](err); !ok || bad.reason.Code != livestream.BadMedia || !bytes.Contains([]byte(bad.reason.Detail), []byte("start codes")) {
		t.Errorf("got %v, want BAD_MEDIA that names start codes", err)
	}
	if in.dropped != 2*maxBroken-1 || in.stats.FramesDropped.Load() != in.dropped {
		t.Errorf("%d dropped, %d counted", in.dropped, in.stats.FramesDropped.Load())
	}
}

// withLengthSize is an AVC sequence header that announces other lengths.
func withLengthSize(header []byte, size int) []byte {
	b := clone(header)
	b[flv.VideoHeaderSize+4] = b[flv.VideoHeaderSize+4]&^3 | byte(size-1)
	return b
}

// TestShortLengths: NAL unit lengths of 2 bytes come out as 4.
func TestShortLengths(t *testing.T) {
	clip := clipParts(t)
	in, p := newTestIntake()
	if err := in.video(0, withLengthSize(clip.avcHeader, 2)); err != nil {
		t.Fatal(err)
	}
	if p.tracks[0].Config[4]&3 != 3 {
		t.Error("the track's configuration does not announce 4-byte lengths")
	}
	if err := in.video(0, []byte{0x17, 1, 0, 0, 0, 0, 2, 0x65, 7, 0, 0, 0, 1, 0x41}); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0, 0, 0, 2, 0x65, 7, 0, 0, 0, 1, 0x41}; len(p.frames) != 1 || !bytes.Equal(p.frames[0].Payload, want) {
		t.Errorf("frames %+v", p.frames)
	}
}

// TestHeadersAgain: the same header does nothing (ossrs/srs#4695), another one
// is a new track.
func TestHeadersAgain(t *testing.T) {
	clip := clipParts(t)
	in, p := newTestIntake()
	for range 3 {
		if err := errors.Join(in.video(0, clone(clip.avcHeader)), in.audio(0, clone(clip.aacHeader))); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.tracks) != 2 {
		t.Fatalf("%d tracks, want 2", len(p.tracks))
	}
	if err := errors.Join(in.video(0, withLengthSize(clip.avcHeader, 2)), in.audio(0, []byte{0xAF, 0, 0x11, 0x90})); err != nil {
		t.Fatal(err)
	}
	if len(p.tracks) != 4 || p.tracks[3].Timescale != 48000 {
		t.Errorf("tracks %+v", p.tracks)
	}
}

// TestPayloadIsNotCopied: what WriteFrame gets are the message's own bytes.
func TestPayloadIsNotCopied(t *testing.T) {
	clip := clipParts(t)
	in, p := newTestIntake()
	in.video(0, clone(clip.avcHeader))
	in.audio(0, clone(clip.aacHeader))
	v, a := clone(clip.pictures[0]), clone(clip.sounds[0])
	in.video(0, v)
	in.audio(0, a)
	if len(p.frames) != 2 || &p.frames[0].Payload[0] != &v[flv.VideoHeaderSize] || &p.frames[1].Payload[0] != &a[2] {
		t.Error("a payload was copied")
	}
}

// TestLittleOfALargeMessage: a frame that is little of its message (behind
// extensions, beside tracks that are passed over) does not hold all of it.
func TestLittleOfALargeMessage(t *testing.T) {
	in, out := newTestIntake()
	p := clipParts(t)
	if in.video(0, clone(p.avcHeader)) != nil || in.audio(0, clone(p.aacHeader)) != nil {
		t.Fatal("configurations are refused")
	}
	const more = 100_000
	picture, sound := p.pictures[0][flv.VideoHeaderSize:], p.sounds[0][2:]
	video := append([]byte{0x97}, bytes.Repeat([]byte{0, 0, 0x07}, more/3)...)
	video = append(append(video, "\x00\x00\x03avc1"...), picture...)
	audio := append([]byte("\x95\x11mp4a\xff\x01\x86\xa0"), make([]byte, more)...)
	audio = append(append(audio, 0, 0, byte(len(sound)>>8), byte(len(sound))), sound...)
	if in.video(0, video) != nil || in.audio(0, audio) != nil || len(out.frames) != 2 {
		t.Fatalf("%d frames, want 2", len(out.frames))
	}
	for i, want := range [][]byte{picture, sound} {
		got := out.frames[i].Payload
		if !bytes.Equal(got, want) {
			t.Errorf("frame %d has %d bytes, want %d others", i, len(got), len(want))
		}
		clear(video)
		clear(audio)
		if !bytes.Equal(got, want) {
			t.Errorf("frame %d of %d bytes holds a message of %d", i, len(want), more)
		}
	}
}

func TestCompositionAndTime(t *testing.T) {
	clip := clipParts(t)
	in, p := newTestIntake()
	in.video(0, clone(clip.avcHeader))
	at := func(ts uint32, composition int32) {
		if err := in.video(ts, flv.AppendVideo(nil, false, flv.Coded, composition, clip.pictures[0][flv.VideoHeaderSize:])); err != nil {
			t.Fatal(err)
		}
	}
	at(1<<32-20, 40)
	at(20, -20)      // past the wrap
	at(60, 1<<23-1)  // no encoder reorders by two hours
	at(1_000_060, 0) // jump
	at(1_000_100, 0) // and on
	want := []media.Frame{{DTS: 0, PTS: 3600}, {DTS: 3600, PTS: 1800}, {DTS: 7200, PTS: 7200},
		{DTS: 10800, PTS: 10800, Discontinuity: true}, {DTS: 14400, PTS: 14400}}
	for i, w := range want {
		if f := p.frames[i]; f.DTS != w.DTS || f.PTS != w.PTS || f.Discontinuity != w.Discontinuity || !f.Key {
			t.Errorf("frame %d: DTS %d, PTS %d, discontinuity %v, key %v; want %+v", i, f.DTS, f.PTS, f.Discontinuity, f.Key, w)
		}
	}
}

// FuzzIntake: any bodies at any times. Decode times rise, lengths add up.
func FuzzIntake(f *testing.F) {
	clip := clipParts(f)
	f.Add(clip.avcHeader, clip.aacHeader, clip.pictures[0], clip.sounds[0], uint32(0))
	f.Add(withLengthSize(clip.avcHeader, 2), clip.aacHeader, []byte{0x17, 1, 0, 0, 0, 0, 2, 0x65, 7}, clip.sounds[0], uint32(1<<31))
	f.Add([]byte{0x90, 'h', 'v', 'c', '1'}, []byte{0x2F, 1, 2}, []byte{}, []byte{0xAF}, uint32(1))
	for _, name := range []string{"hevc-opus.mp4", "av1-aac.mp4", "vp9-flac.mp4"} {
		m := openFile(f, name)
		v, a := &m.Tracks[0], &m.Tracks[1]
		f.Add(flv.Video{FourCC: v.FourCC, Key: true, Data: v.Config}.Append(nil),
			flv.Audio{Format: flv.FormatEnhanced, FourCC: a.FourCC, Track: 1, Data: a.Config}.Append(nil),
			flv.Video{FourCC: v.FourCC, Packet: flv.Coded, Nanos: 5, Data: samples(f, m, v)[0]}.Append(nil),
			flv.Audio{Format: flv.FormatEnhanced, FourCC: a.FourCC, Track: 1, Packet: flv.Coded, Data: samples(f, m, a)[0]}.Append(nil), uint32(40))
	}
	f.Fuzz(func(t *testing.T, vh, ah, v, a []byte, ts uint32) {
		in, p := newTestIntake()
		for i := range uint32(3) {
			in.video(ts, clone(vh))
			in.audio(ts*i, clone(ah))
			in.video(ts*i, clone(v))
			in.audio(ts-i, clone(a))
		}
		last := map[media.TrackID]int64{}
		for _, fr := range p.frames {
			if before, ok := last[fr.Track]; ok && fr.DTS <= before || fr.DTS < 0 || len(fr.Payload) == 0 {
				t.Errorf("track %d: %d after %d, %d bytes", fr.Track, fr.DTS, before, len(fr.Payload))
			}
			last[fr.Track] = fr.DTS
		}
	})
}
