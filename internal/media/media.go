// Package media holds the words every part of Tally shares about what an
// encoder sends: tracks, frames, codecs and timescales. It does no I/O and
// reads no clock. The parsers of codec configuration (H.264, AAC) live here
// because both the ingest side and the packager read them.
package media

// A TrackID names one elementary stream inside a publication. Video is 1 and
// audio is 2 while a publication carries one of each.
type TrackID uint8

const (
	VideoTrack TrackID = 1
	AudioTrack TrackID = 2
)

// A Codec is an elementary stream format Tally can package.
type Codec uint8

const (
	CodecNone Codec = iota
	H264            // ITU-T H.264, length-prefixed NAL units (ISO/IEC 14496-15)
	AAC             // ISO/IEC 14496-3 raw access units, no ADTS header
)

// String gives the codec's usual name, for people.
func (c Codec) String() string {
	switch c {
	case H264:
		return "H.264"
	case AAC:
		return "AAC"
	}
	return "none"
}

// Video reports whether c carries pictures.
func (c Codec) Video() bool { return c == H264 }

// VideoTimescale is the timescale of every video track: the 90 kHz clock of
// MPEG systems, in which the usual frame rates are whole ticks.
const VideoTimescale = 90000

// A Track describes one elementary stream. It is immutable once handed on.
type Track struct {
	ID        TrackID
	Codec     Codec
	Timescale uint32 // ticks per second: VideoTimescale, or the audio sample rate
	Config    []byte // H264: AVCDecoderConfigurationRecord; AAC: AudioSpecificConfig

	Width, Height int     // pixels after cropping; 0 for audio
	FrameRate     float64 // frames per second as the stream announces it; 0 when it does not
	Channels      int     // 0 for video
	CodecString   string  // RFC 6381, for example avc1.64001f or mp4a.40.2
}

// A Frame is one coded picture or one audio access unit, in decode order.
//
// After WriteFrame nobody writes to Payload: every output shares the bytes.
type Frame struct {
	Track   TrackID
	DTS     int64  // ticks of Track.Timescale since the publication began
	PTS     int64  // ticks; DTS plus composition offset, equal to DTS for audio
	Key     bool   // decoding may start here; true for every audio frame
	Payload []byte // H264: length-prefixed NAL units (4-byte lengths); AAC: one raw access unit
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
