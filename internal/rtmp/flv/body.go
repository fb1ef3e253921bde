package flv

import "fmt"

// Video codec ids (annex E.4.3.1); 12 is the unofficial one for HEVC, framed
// like AVC (ossrs/srs#465).
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

// A Packet says what a video or audio body carries, in whichever framing.
type Packet uint8

const (
	SequenceHeader Packet = 0 // the codec's configuration
	Coded          Packet = 1 // a picture, or audio frames
	EndOfSequence  Packet = 2 // no data
	ColorInfo      Packet = 4 // Enhanced video's Metadata: AMF0, the name "colorInfo" and its value
	MPEG2TSHeader  Packet = 5 // Enhanced video: a configuration as MPEG-2 TS carries it
	ChannelConfig  Packet = 8 // Enhanced audio's MultichannelConfig (4 on the wire); see ParseChannels
	// What the wire numbers otherwise is kept as 16 and more: not known.
	unknownPacket Packet = 16
)

// Frame types (annex E.4.3.1).
const (
	frameKey       = 1
	frameInter     = 2
	frameGenerated = 4 // generated keyframe
	frameInfo      = 5 // a seek command for players; no picture
)

// A Video is one track of a parsed video body. With a codec id other than AVC
// and HEVC only CodecID, Key and Info are set.
type Video struct {
	Key         bool    // the encoder says that decoding may start here
	Info        bool    // not a picture: ignore
	CodecID     uint8   // CodecAVC ...; 0 when FourCC is set
	FourCC      [4]byte // Enhanced RTMP; zero otherwise
	Track       uint8   // Enhanced RTMP's videoTrackId; 0 otherwise
	Shared      bool    // Key was said of several tracks at once
	Packet      Packet
	Composition int32  // ms from decoding to presentation, signed 24 bits; Coded only
	Nanos       uint32 // to be added to the presentation time: TimestampOffsetNano, below 1 ms
	Data        []byte // points into the body

	more tracks
}

// Framed reports whether Packet and Data are set: the codec is one that is
// framed as H.264 is, or said by FourCC.
func (v Video) Framed() bool {
	return v.FourCC != [4]byte{} || v.CodecID == CodecAVC || v.CodecID == CodecHEVC
}

// ParseVideo parses a video body, of which it returns the first track; Next
// goes on to further ones. It returns ErrTruncated when fixed fields are missing
// and ErrFraming for what Enhanced RTMP reserves. Codec and packet are not judged.
func ParseVideo(b []byte) (Video, error) {
	if len(b) < 1 {
		return Video{}, fmt.Errorf("video body: %w", ErrTruncated)
	}
	if b[0]&0x80 != 0 {
		return parseExVideo(b)
	}
	ft := b[0] >> 4
	v := Video{Key: ft == frameKey || ft == frameGenerated, Info: ft == frameInfo, CodecID: b[0] & 0x0F}
	if !v.Framed() || v.Info {
		return v, nil
	}
	if len(b) < 5 {
		return Video{}, fmt.Errorf("AVC body: %w", ErrTruncated)
	}
	v.Packet = Packet(b[1])
	if v.Packet > EndOfSequence {
		v.Packet += unknownPacket
	}
	if v.Packet == Coded {
		v.Composition = si24(b[2:])
	}
	v.Data = b[5:]
	return v, nil
}

// An Audio is one track of a parsed audio body. With a format other than AAC
// and FormatEnhanced only Format is set.
type Audio struct {
	Format uint8   // FormatAAC ...
	FourCC [4]byte // with FormatEnhanced
	Track  uint8   // Enhanced RTMP's audioTrackId; 0 otherwise
	Packet Packet
	Nanos  uint32 // as Video.Nanos
	Data   []byte // points into the body

	more tracks
}

// Framed reports whether Packet and Data are set.
func (a Audio) Framed() bool { return a.Format == FormatAAC || a.Format == FormatEnhanced }

// ParseAudio parses an audio body, as ParseVideo does a video body.
func ParseAudio(b []byte) (Audio, error) {
	if len(b) < 1 {
		return Audio{}, fmt.Errorf("audio body: %w", ErrTruncated)
	}
	a := Audio{Format: b[0] >> 4}
	switch a.Format {
	case FormatEnhanced:
		return parseExAudio(b)
	case FormatAAC:
		if len(b) < 2 {
			return Audio{}, fmt.Errorf("AAC body: %w", ErrTruncated)
		}
		a.Packet = Packet(b[1])
		if a.Packet > Coded {
			a.Packet += unknownPacket
		}
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
	"avc1": "H.264", "hvc1": "HEVC", "av01": "AV1", "vp09": "VP9", "vp08": "VP8", "vvc1": "VVC",
	"mp4a": "AAC", "Opus": "Opus", "fLaC": "FLAC", "ac-3": "AC-3", "ec-3": "E-AC-3", ".mp3": "MP3",
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
		return err == nil && v.Framed() && !v.Info && (v.Packet == SequenceHeader || v.Packet == MPEG2TSHeader)
	case TypeAudio:
		a, err := ParseAudio(t.Body)
		return err == nil && a.Framed() && a.Packet == SequenceHeader
	}
	return false
}

// IsFrame reports whether t carries a frame: not a script, a sequence header, or
// an end of sequence.
func IsFrame(t Tag) bool {
	switch t.Type {
	case TypeVideo:
		v, err := ParseVideo(t.Body)
		return err == nil && !v.Info && (!v.Framed() || v.Packet == Coded)
	case TypeAudio:
		a, err := ParseAudio(t.Body)
		return err == nil && (!a.Framed() || a.Packet == Coded)
	}
	return false
}

// VideoHeaderSize is the length of what AppendVideo writes before data.
const VideoHeaderSize = 5

// AppendVideo appends an AVC body. composition is in ms and keeps its low 24 bits.
func AppendVideo(dst []byte, key bool, p Packet, composition int32, data []byte) []byte {
	return Video{CodecID: CodecAVC, Key: key, Packet: p, Composition: composition, Data: data}.Append(dst)
}

// AppendAudio appends an AAC body. The rate, size and channel bits say 44 kHz,
// 16 bit, stereo whatever data is, as annex E.4.2.1 demands for AAC.
func AppendAudio(dst []byte, p Packet, data []byte) []byte {
	return Audio{Format: FormatAAC, Packet: p, Data: data}.Append(dst)
}

// si24 is a signed 24-bit number.
func si24(b []byte) int32 { return int32(be24(b)<<8) >> 8 }
