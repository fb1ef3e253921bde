// Package media holds the words every part of Tally shares about what an
// encoder sends: tracks, frames, codecs and timescales. It does no I/O and
// reads no clock. The parsers of codec configuration (H.264, AAC) live here
// because both the ingest side and the packager read them.
package media

// A TrackID names one elementary stream inside a publication: odd ids are video,
// even ones audio. While a publication carries one of each they are 1 and 2;
// [VideoID] and [AudioID] number further ones as Enhanced RTMP does.
type TrackID uint16

const (
	VideoTrack TrackID = 1
	AudioTrack TrackID = 2
)

// VideoID is the track of Enhanced RTMP's videoTrackId n; 0 is VideoTrack.
func VideoID(n uint8) TrackID { return 2*TrackID(n) + VideoTrack }

// AudioID is the track of Enhanced RTMP's audioTrackId n; 0 is AudioTrack.
func AudioID(n uint8) TrackID { return 2*TrackID(n) + AudioTrack }

// Video reports whether the track carries pictures.
func (id TrackID) Video() bool { return id%2 == 1 }

// Index is the number that [VideoID] or [AudioID] was given.
func (id TrackID) Index() uint8 { return uint8((id - 1) / 2) }

// A Codec is an elementary stream format Tally can package.
type Codec uint8

const (
	CodecNone Codec = iota
	H264            // ITU-T H.264, length-prefixed NAL units (ISO/IEC 14496-15)
	AAC             // ISO/IEC 14496-3 raw access units, no ADTS header
	HEVC            // ITU-T H.265, length-prefixed NAL units (ISO/IEC 14496-15)
	AV1             // temporal units of OBUs, without temporal delimiters (AV1 ISOBMFF binding)
	VP9             // superframes (VP9 ISOBMFF binding)
	Opus            // RFC 6716 packets
	FLAC            // RFC 9639 frames
)

// String gives the codec's usual name, for people.
func (c Codec) String() string {
	switch c {
	case H264:
		return "H.264"
	case AAC:
		return "AAC"
	case HEVC:
		return "HEVC"
	case AV1:
		return "AV1"
	case VP9:
		return "VP9"
	case Opus:
		return "Opus"
	case FLAC:
		return "FLAC"
	}
	return "none"
}

// Video reports whether c carries pictures.
func (c Codec) Video() bool { return c == H264 || c == HEVC || c == AV1 || c == VP9 }

// VideoTimescale is the timescale of every video track: the 90 kHz clock of
// MPEG systems, in which the usual frame rates are whole ticks.
const VideoTimescale = 90000

// A Track describes one elementary stream. It is immutable once handed on.
type Track struct {
	ID        TrackID
	Codec     Codec
	Timescale uint32 // ticks per second: VideoTimescale, or the audio sample rate
	// Config is the codec's own configuration. H264: AVCDecoderConfigurationRecord;
	// HEVC: HEVCDecoderConfigurationRecord; AV1: AV1CodecConfigurationRecord; VP9:
	// VPCodecConfigurationRecord without the full box header; AAC:
	// AudioSpecificConfig; Opus: the identification header (RFC 7845 section 5.1)
	// from its version on; FLAC: the STREAMINFO block's 34 bytes.
	Config []byte

	// FrameSamples is how many ticks each audio frame lasts; 0 for video, and
	// where frames differ.
	FrameSamples int64

	Width, Height int     // pixels after cropping; 0 for audio
	FrameRate     float64 // frames per second as the stream announces it; 0 when it does not
	Color         Color   // as the stream announces it
	Aspect        Aspect  // shape of a pixel
	Channels      int     // 0 for video
	CodecString   string  // RFC 6381, for example avc1.64001f or mp4a.40.2

	Language string // BCP 47 as the encoder said it; "" when it did not
	Name     string // for people, as the encoder said it; ""
}

// Color is how samples become colours, in the numbers of ISO/IEC 23091-2. The
// zero value and 2 mean that it is not said.
type Color struct {
	Primaries, Transfer, Matrix uint8
	Full                        bool // samples have the full range
}

// bt709 is what players take for granted.
var bt709 = Color{Primaries: 1, Transfer: 1, Matrix: 1}

// Known reports whether anything but the range is said.
func (c Color) Known() bool {
	said := func(v uint8) bool { return v != 0 && v != 2 }
	return said(c.Primaries) || said(c.Transfer) || said(c.Matrix)
}

// Range is what HLS calls a high dynamic range, PQ or HLG; "" where it is none.
func (c Color) Range() string {
	switch c.Transfer {
	case 16:
		return "PQ"
	case 18:
		return "HLG"
	}
	return ""
}

// Aspect is the width of a pixel by its height; zero: square, or not said.
type Aspect struct{ Width, Height uint32 }

// A Frame is one coded picture or one audio access unit, in decode order.
//
// After WriteFrame nobody writes to Payload: every output shares the bytes.
type Frame struct {
	Track   TrackID
	DTS     int64  // ticks of Track.Timescale since the publication began
	PTS     int64  // ticks; DTS plus composition offset, equal to DTS for audio
	Key     bool   // decoding may start here; true for every audio frame
	Payload []byte // as Codec says; NAL units have 4-byte lengths
	// Discontinuity: the encoder's clock jumped before this frame, so that DTS
	// does not follow from the frame before it.
	Discontinuity bool
	Stamp         Stamp
}

// A Stamp says what was wrong with the encoder's own timestamp of a frame.
// DTS and PTS are repaired.
type Stamp uint8

const (
	StampGood   Stamp = iota
	StampBack         // earlier than that of the track's frame before
	StampFrozen       // the same as before, for so long that arrival counts instead
	StampFar          // PTS too far from DTS to be true; taken as equal
)

// First is the first track of each kind that is meant, video first.
func First(video, audio bool) []TrackID {
	var ids []TrackID
	if video {
		ids = append(ids, VideoTrack)
	}
	if audio {
		ids = append(ids, AudioTrack)
	}
	return ids
}
