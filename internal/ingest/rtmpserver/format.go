package rtmpserver

import (
	"tally/internal/media"
	"tally/internal/rtmp/flv"
)

// A format is a codec that can be packaged, and how it comes over RTMP.
type format struct {
	codec media.Codec
	name  string // for people, with what it is
	// read makes a track of what a sequence header holds, all but ID, Language and Name.
	read func(config []byte) (media.Track, error)
	// least is the shortest configuration, in bytes. What is shorter is passed over:
	// some encoders send an empty one first (mediamtx#1074).
	least int
	// instead says what to set where the codec is right and its profile is not.
	instead string
	// lengthSize tells how many bytes the lengths of NAL units have; nil: there are none.
	lengthSize func(config []byte) int
}

var (
	h264 = format{media.H264, "H.264 video", media.H264Track, 7, "set the encoder's profile to High, Main or Baseline", media.H264LengthSize}
	hevc = format{media.HEVC, "HEVC video", media.HEVCTrack, 23, "set the encoder's profile to Main or Main 10", media.HEVCLengthSize}
	av1  = format{media.AV1, "AV1 video", media.AV1Track, 4, "set the encoder's profile to Main", nil}
	vp9  = format{media.VP9, "VP9 video", media.VP9Track, 8, "set the encoder's profile to 0 or 2", nil}
	aac  = format{media.AAC, "AAC audio", media.AACTrack, 2, "set the encoder's audio codec to AAC-LC", nil}
	opus = format{media.Opus, "Opus audio", media.OpusTrack, 11, "set the encoder to mono, stereo, 5.1 or 7.1", nil}
	flac = format{media.FLAC, "FLAC audio", media.FLACTrack, 34, "set the encoder's sample rate to 44.1 or 48 kHz", nil}
)

const (
	useVideo = "set the encoder's video codec to H.264, HEVC, AV1 or VP9"
	useAudio = "set the encoder's audio codec to AAC, Opus or FLAC"
)

// videoCodes and audioCodes are the FourCCs that are taken, in the order in which
// connect's answer names them.
var (
	videoCodes = []code{{"avc1", &h264}, {"hvc1", &hevc}, {"av01", &av1}, {"vp09", &vp9}}
	audioCodes = []code{{"mp4a", &aac}, {"Opus", &opus}, {"fLaC", &flac}}
)

type code struct {
	fourCC string
	format *format
}

func formatOf(codes []code, fourCC [4]byte) *format {
	for i := range codes {
		if codes[i].fourCC == string(fourCC[:]) {
			return codes[i].format
		}
	}
	return nil
}

// videoFormat is the format of v, nil when it cannot be packaged.
func videoFormat(v *flv.Video) *format {
	switch v.CodecID {
	case flv.CodecAVC:
		return &h264
	case flv.CodecHEVC:
		return &hevc
	case 0:
		return formatOf(videoCodes, v.FourCC)
	}
	return nil
}

// audioFormat is the format of a, nil when it cannot be packaged.
func audioFormat(a *flv.Audio) *format {
	switch a.Format {
	case flv.FormatAAC:
		return &aac
	case flv.FormatEnhanced:
		return formatOf(audioCodes, a.FourCC)
	}
	return nil
}
