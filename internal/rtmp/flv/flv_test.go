package flv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func clipBytes(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/bframes.flv") // written by ffmpeg 5.1: 2 s, x264 with 2 B-frames, AAC
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoad(t *testing.T) {
	c, err := Load(bytes.NewReader(clipBytes(t)))
	if err != nil {
		t.Fatal(err)
	}
	var pictures, keys, reordered, audio, headers int
	for _, tag := range c.Tags {
		switch {
		case IsSequenceHeader(tag):
			headers++
		case tag.Type == TypeVideo:
			v, err := ParseVideo(tag.Body)
			if err != nil {
				t.Fatal(err)
			}
			if v.Packet != Coded {
				continue
			}
			pictures++
			if v.Key {
				keys++
			}
			if v.Composition > 0 {
				reordered++
			}
		case tag.Type == TypeAudio:
			audio++
		}
	}
	if c.Tags[0].Type != TypeScript || headers != 2 || pictures != 50 || keys != 2 || reordered < 10 || audio < 86 {
		t.Errorf("first tag %d, %d headers, %d pictures, %d keyframes, %d reordered, %d audio",
			c.Tags[0].Type, headers, pictures, keys, reordered, audio)
	}
	if c.Duration < 2000 || c.Duration > 2100 {
		t.Errorf("duration %d ms, want about 2000", c.Duration)
	}
}

func TestReaderRefuses(t *testing.T) {
	whole := clipBytes(t)
	tests := []struct {
		name string
		in   []byte
		err  error
	}{
		{"empty", nil, ErrNotFLV},
		{"a text file", []byte("hello, this is no video"), ErrNotFLV},
		{"data offset out of range", []byte("FLV\x01\x05\xff\xff\xff\xff"), ErrNotFLV},
		{"header only", whole[:13], io.EOF},
		{"cut within a tag header", whole[:18], ErrTruncated},
		{"cut within a body", whole[:100], ErrTruncated},
		{"16 MB declared, little sent", append(append([]byte{}, whole[:13]...), 9, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 2), ErrTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := NewReader(bytes.NewReader(tt.in))
			for err == nil {
				_, err = r.Next()
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
		})
	}
	if _, err := Load(bytes.NewReader(whole[:13])); err == nil {
		t.Error("a clip without media was loaded")
	}
}

func TestReaderUnwraps(t *testing.T) {
	b := AppendHeader(nil, true, true)
	for _, ms := range []int64{1<<32 - 20, 1<<32 - 1, 1<<32 + 5, 1<<32 + 2} {
		b = AppendTag(b, Tag{TypeVideo, ms, []byte{0x17, 1, 0, 0, 0}})
	}
	c, err := Load(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{1<<32 - 20, 1<<32 - 1, 1<<32 + 5, 1<<32 + 2} {
		if c.Tags[i].Time != want {
			t.Errorf("tag %d at %d, want %d", i, c.Tags[i].Time, want)
		}
	}
}

func TestParseVideo(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want Video
		err  error
	}{
		{"sequence header", []byte{0x17, 0, 0, 0, 0, 1, 2}, Video{Key: true, CodecID: CodecAVC, Data: []byte{1, 2}}, nil},
		{"picture before its decoding", []byte{0x27, 1, 0xFF, 0xFF, 0xD8, 9}, Video{CodecID: CodecAVC, Packet: Coded, Composition: -40, Data: []byte{9}}, nil},
		{"largest composition", []byte{0x27, 1, 0x7F, 0xFF, 0xFF}, Video{CodecID: CodecAVC, Packet: Coded, Composition: 1<<23 - 1, Data: []byte{}}, nil},
		{"smallest composition", []byte{0x27, 1, 0x80, 0, 0}, Video{CodecID: CodecAVC, Packet: Coded, Composition: -1 << 23, Data: []byte{}}, nil},
		{"end of sequence", []byte{0x17, 2, 0, 0, 0}, Video{Key: true, CodecID: CodecAVC, Packet: EndOfSequence, Data: []byte{}}, nil},
		{"info frame", []byte{0x57, 0}, Video{Info: true, CodecID: CodecAVC}, nil},
		{"HEVC by its unofficial id", []byte{0x1C, 1, 0, 0, 40, 9}, Video{Key: true, CodecID: CodecHEVC, Packet: Coded, Composition: 40, Data: []byte{9}}, nil},
		{"unknown AVC packet", []byte{0x17, 3, 0, 0, 0}, Video{Key: true, CodecID: CodecAVC, Packet: unknownPacket + 3, Data: []byte{}}, nil},
		{"VP6", []byte{0x14, 1}, Video{Key: true, CodecID: CodecVP6}, nil},
		{"nothing", nil, Video{}, ErrTruncated},
		{"AVC cut short", []byte{0x17, 1, 0, 0}, Video{}, ErrTruncated},
		{"enhanced cut short", []byte{0x90, 'h', 'v'}, Video{}, ErrTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseVideo(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got, withoutRest); err == nil && d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseAudio(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want Audio
		err  error
	}{
		{"sequence header", []byte{0xAF, 0, 0x12, 0x10}, Audio{Format: FormatAAC, Data: []byte{0x12, 0x10}}, nil},
		{"raw", []byte{0xAF, 1, 7}, Audio{Format: FormatAAC, Packet: Coded, Data: []byte{7}}, nil},
		{"MP3", []byte{0x2F, 0xFF}, Audio{Format: FormatMP3}, nil},
		{"nothing", nil, Audio{}, ErrTruncated},
		{"AAC cut short", []byte{0xAF}, Audio{}, ErrTruncated},
		{"enhanced cut short", []byte{0x90, 'O'}, Audio{}, ErrTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseAudio(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got, withoutRest); err == nil && d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCodecNames(t *testing.T) {
	for want, got := range map[string]string{
		"HEVC": Video{CodecID: CodecHEVC}.Codec(), "AV1": Video{FourCC: [4]byte{'a', 'v', '0', '1'}}.Codec(),
		`FourCC "\x00\x01zz"`: Video{FourCC: [4]byte{0, 1, 'z', 'z'}}.Codec(), "codec id 15": Video{CodecID: 15}.Codec(),
		"MP3": Audio{Format: FormatMP3}.Codec(), "Opus": Audio{Format: FormatEnhanced, FourCC: [4]byte{'O', 'p', 'u', 's'}}.Codec(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBodiesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		p := rapid.SampledFrom([]Packet{SequenceHeader, Coded}).Draw(t, "packet")
		key := rapid.Bool().Draw(t, "key")
		cts := int32(0)
		if p == Coded {
			cts = rapid.Int32Range(-1<<23, 1<<23-1).Draw(t, "composition")
		}
		v, err := ParseVideo(AppendVideo(nil, key, p, cts, data))
		if err != nil || v.Key != key || v.Packet != p || v.Composition != cts || !bytes.Equal(v.Data, data) {
			t.Errorf("video %+v, %v", v, err)
		}
		a, err := ParseAudio(AppendAudio(nil, p, data))
		if err != nil || a.Format != FormatAAC || a.Packet != p || !bytes.Equal(a.Data, data) {
			t.Errorf("audio %+v, %v", a, err)
		}
	})
}

func FuzzReader(f *testing.F) {
	whole := clipBytes(f)
	f.Add(whole[:2000])
	f.Add(append(append([]byte{}, whole[:13]...), 9, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Load(bytes.NewReader(b))
		if err != nil {
			return
		}
		out := AppendHeader(nil, true, true)
		for _, tag := range c.Tags {
			out = AppendTag(out, tag)
		}
		again, err := Load(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Tags) != len(c.Tags) {
			t.Errorf("%d tags became %d", len(c.Tags), len(again.Tags))
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, b := range [][]byte{{0x17, 0, 0, 0, 0, 1, 2}, {0x27, 1, 0xFF, 0xFF, 0xD8, 9}, {0x57, 0}, {0x90, 'h', 'v', 'c', '1'}, {0xAF, 1, 7}, {0xAF}, {}} {
		f.Add(b)
	}
	for _, c := range enhancedVideo {
		f.Add(c.in)
	}
	for _, c := range enhancedAudio {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		vs, err := videos(b)
		for _, v := range vs {
			v.Codec()
			if v.FourCC != [4]byte{} && !v.Info && v.Packet < unknownPacket {
				// What was read is what is read again, from a body of its own.
				if again, err := videos(v.Append(nil)); err != nil || len(again) != 1 || !same(v, again[0]) {
					t.Errorf("%+v became %+v, %v", v, again, err)
				}
			}
		}
		if again := appendSome(vs); again != nil && err == nil {
			if got, err := videos(again); err != nil || len(got) != len(vs) {
				t.Errorf("%d tracks became %d, %v", len(vs), len(got), err)
			}
		}
		as, _ := audios(b)
		for _, a := range as {
			a.Codec()
			if a.Packet == ChannelConfig {
				ParseChannels(a.Data)
			}
			if a.Format == FormatEnhanced && a.Packet < unknownPacket {
				if again, err := audios(a.Append(nil)); err != nil || len(again) != 1 || !sameAudio(a, again[0]) {
					t.Errorf("%+v became %+v, %v", a, again, err)
				}
			}
		}
		for _, kind := range []uint8{TypeVideo, TypeAudio} {
			IsSequenceHeader(Tag{Type: kind, Body: b})
			IsFrame(Tag{Type: kind, Body: b})
		}
	})
}

func BenchmarkParseVideo(b *testing.B) {
	body := AppendVideo(nil, true, Coded, 40, make([]byte, 8<<10))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseVideo(body); err != nil {
			b.Fatal(err)
		}
	}
}
