package flv

import "fmt"

// Video codec ids (annex E.4.3.1); 12 is the unofficial one for HEVC.
const (
	CodecH263   = 2
	CodecScreen = 3
	CodecVP6    = 4
	CodecVP6A   = 5
	CodecAVC    = 7
	CodecHEVC   = 12
)

// Audio formats (annex E.4.2.1).
const (
	FormatMP3      = 2
	FormatEnhanced = 9 // Enhanced RTMP: a FourCC follows
	FormatAAC      = 10
	FormatSpeex    = 11
)

// A Packet says what a video or audio body carries.
type Packet uint8

const (
	SequenceHeader Packet = 0 // AVCDecoderConfigurationRecord or AudioSpecificConfig
	Coded          Packet = 1 // NAL units, or one raw AAC access unit
	EndOfSequence  Packet = 2 // video only; no data
)

// Frame types (annex E.4.3.1).
const (
	frameKey       = 1
	frameGenerated = 4 // generated keyframe
	frameInfo      = 5 // a seek command for players; no picture
)

// A Video is a parsed video body. With a codec other than AVC only CodecID,
// FourCC, Key and Info are set.
type Video struct {
	Key         bool    // the encoder says that decoding may start here
	Info        bool    // not a picture: ignore
	CodecID     uint8   // CodecAVC ...; 0 when FourCC is set
	FourCC      [4]byte // Enhanced RTMP; zero otherwise
	Packet      Packet
	Composition int32  // ms from decoding to presentation, signed 24 bits; Coded only
	Data        []byte // points into the body
}

// ParseVideo parses a video body. It returns ErrTruncated when fixed fields
// are missing. Codec and packet are not judged.
func ParseVideo(b []byte) (Video, error) {
	if len(b) < 1 {
		return Video{}, fmt.Errorf("video body: %w", ErrTruncated)
	}
	if b[0]&0x80 != 0 { // Enhanced RTMP v1, section "Defining Additional Video Codecs"
		v := Video{Key: b[0]>>4&7 == frameKey, Info: b[0]>>4&7 == frameInfo}
		if len(b) < 5 {
			return Video{}, fmt.Errorf("enhanced video body: %w", ErrTruncated)
		}
		copy(v.FourCC[:], b[1:5])
		return v, nil
	}
	ft := b[0] >> 4
	v := Video{Key: ft == frameKey || ft == frameGenerated, Info: ft == frameInfo, CodecID: b[0] & 0x0F}
	if v.CodecID != CodecAVC || v.Info {
		return v, nil
	}
	if len(b) < 5 {
		return Video{}, fmt.Errorf("AVC body: %w", ErrTruncated)
	}
	v.Packet = Packet(b[1])
	if v.Packet == Coded {
		v.Composition = int32(be24(b[2:])<<8) >> 8
	}
	v.Data = b[5:]
	return v, nil
}

// An Audio is a parsed audio body. With a format other than AAC only Format
// and FourCC are set.
type Audio struct {
	Format uint8   // FormatAAC ...
	FourCC [4]byte // with FormatEnhanced
	Packet Packet
	Data   []byte // points into the body
}

// ParseAudio parses an audio body. It returns ErrTruncated when fixed fields
// are missing. Format and packet are not judged.
func ParseAudio(b []byte) (Audio, error) {
	if len(b) < 1 {
		return Audio{}, fmt.Errorf("audio body: %w", ErrTruncated)
	}
	a := Audio{Format: b[0] >> 4}
	switch a.Format {
	case FormatEnhanced:
		if len(b) < 5 {
			return Audio{}, fmt.Errorf("enhanced audio body: %w", ErrTruncated)
		}
		copy(a.FourCC[:], b[1:5])
	case FormatAAC:
		if len(b) < 2 {
			return Audio{}, fmt.Errorf("AAC body: %w", ErrTruncated)
		}
		a.Packet = Packet(b[1])
		a.Data = b[2:]
	}
	return a, nil
}

var videoNames = map[uint8]string{
	1: "JPEG", CodecH263: "Sorenson H.263", CodecScreen: "Screen video", CodecVP6: "VP6",
	CodecVP6A: "VP6 with alpha", 6: "Screen video 2", CodecAVC: "H.264", 8: "H.263", 9: "MPEG-4 part 2",
	CodecHEVC: "HEVC",
}

var fourCCNames = map[string]string{
	"hvc1": "HEVC", "av01": "AV1", "vp09": "VP9", "vp08": "VP8", "avc1": "H.264 in Enhanced RTMP framing",
	"mp4a": "AAC in Enhanced RTMP framing", "Opus": "Opus", "ac-3": "AC-3", "ec-3": "E-AC-3",
	"fLaC": "FLAC", ".mp3": "MP3",
}

var audioNames = map[uint8]string{
	0: "PCM", 1: "ADPCM", FormatMP3: "MP3", 3: "PCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser",
	7: "G.711 A-law", 8: "G.711 mu-law", FormatAAC: "AAC", FormatSpeex: "Speex", 14: "MP3 8 kHz",
}

// Codec names the video codec for people.
func (v Video) Codec() string { return codecName(v.FourCC, videoNames, v.CodecID) }

// Codec names the audio codec for people.
func (a Audio) Codec() string { return codecName(a.FourCC, audioNames, a.Format) }

func codecName(cc [4]byte, names map[uint8]string, id uint8) string {
	if cc != [4]byte{} {
		if n, ok := fourCCNames[string(cc[:])]; ok {
			return n
		}
		return fmt.Sprintf("FourCC %q", cc[:])
	}
	if n, ok := names[id]; ok {
		return n
	}
	return fmt.Sprintf("codec id %d", id)
}

// IsSequenceHeader reports whether t configures a decoder instead of carrying
// a frame.
func IsSequenceHeader(t Tag) bool {
	switch t.Type {
	case TypeVideo:
		v, err := ParseVideo(t.Body)
		return err == nil && v.CodecID == CodecAVC && !v.Info && v.Packet == SequenceHeader
	case TypeAudio:
		a, err := ParseAudio(t.Body)
		return err == nil && a.Format == FormatAAC && a.Packet == SequenceHeader
	}
	return false
}

// IsFrame reports whether t carries a frame: not a script, a sequence header, or
// an end of sequence.
func IsFrame(t Tag) bool {
	switch t.Type {
	case TypeVideo:
		v, err := ParseVideo(t.Body)
		return err == nil && !v.Info && (v.CodecID != CodecAVC || v.Packet == Coded)
	case TypeAudio:
		a, err := ParseAudio(t.Body)
		return err == nil && (a.Format != FormatAAC || a.Packet == Coded)
	}
	return false
}

// VideoHeaderSize is the length of what AppendVideo writes before data.
const VideoHeaderSize = 5

// AppendVideo appends an AVC body. composition is in ms and keeps its low 24 bits.
func AppendVideo(dst []byte, key bool, p Packet, composition int32, data []byte) []byte {
	first := byte(2<<4 | CodecAVC)
	if key {
		first = frameKey<<4 | CodecAVC
	}
	dst = append(dst, first, byte(p), byte(composition>>16), byte(composition>>8), byte(composition))
	return append(dst, data...)
}

// AppendAudio appends an AAC body. The rate, size and channel bits say 44 kHz,
// 16 bit, stereo whatever data is, as annex E.4.2.1 demands for AAC.
func AppendAudio(dst []byte, p Packet, data []byte) []byte {
	dst = append(dst, FormatAAC<<4|3<<2|1<<1|1, byte(p))
	return append(dst, data...)
}
