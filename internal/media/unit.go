package media

import "bytes"

// The functions in this file look into frames: what differs from codec to codec
// is known to this package alone. None of them keeps or changes what it reads,
// and all may be called concurrently.
//
// An edge that takes frames from an encoder asks them in this order: Payload,
// then Key, then, for a key frame of video, Refine, whose track it passes on
// before the frame (and at all, while Width is 0); Samples for sound.

// Key reports whether decoding may start at a frame, by its own bytes: an IRAP
// picture of HEVC, a shown key frame of AV1, a key frame of VP9, an IDR picture
// of H.264, any frame of sound. Flags of containers lie at times. H.264 has
// further such frames that only the encoder knows of (recovery points).
func Key(t *Track, payload []byte) bool {
	switch t.Codec {
	case H264:
		return h264Key(payload)
	case HEVC:
		return hevcKey(payload)
	case AV1:
		_, key := scanAV1(payload)
		return key
	case VP9:
		return vp9Key(payload)
	}
	return t.Codec != CodecNone
}

// Payload returns what [Frame] wants as Payload of what an encoder sent: a
// temporal unit of AV1 loses its delimiters, and gets the sequence header if it
// is a key frame without. Everything else is returned as it is. NAL units must
// have 4-byte lengths already. Nil: nothing is left.
func Payload(t *Track, b []byte) []byte {
	if t.Codec == AV1 {
		return av1Unit(t.Config, b)
	}
	return b
}

// Refine returns the track as a key frame's own bytes say it is, and whether
// that differs from t: the size of a VP9 picture, which its configuration does
// not tell, and changes of picture or profile within VP9 and AV1 that no new
// configuration came for. It is to be asked before each key frame is passed on;
// a video track without Width is not complete before.
func Refine(t *Track, frame []byte) (Track, bool) {
	switch t.Codec {
	case AV1:
		return refineAV1(t, frame)
	case VP9:
		return refineVP9(t, frame)
	}
	return *t, false
}

// Samples is how many ticks a frame of sound lasts: as the track says, or as
// the frame's own bytes say. 0: video, or the frame is broken.
func Samples(t *Track, payload []byte) int64 {
	switch {
	case t.FrameSamples > 0 && t.Codec != FLAC:
		return t.FrameSamples
	case t.Codec == Opus:
		return opusSamples(payload)
	case t.Codec == FLAC:
		return flacSamples(payload)
	}
	return 0
}

// Still returns a copy of a key frame that decoders take over and over again,
// each time as a beginning. A CRA picture of HEVC becomes a BLA one, as where
// streams are joined (ITU-T H.265 section 7.4.2.2): it would be the same picture
// twice otherwise.
func Still(t *Track, key []byte) []byte {
	b := bytes.Clone(key)
	if t.Codec == HEVC {
		joinHEVC(b)
	}
	return b
}

// Silence returns a frame that decodes to silence on that track, and how many
// ticks it lasts; nil and 0 where none is known.
func Silence(t *Track) (unit []byte, samples int64) {
	switch t.Codec {
	case AAC:
		if unit = AACSilence(t.Config); unit != nil {
			return unit, t.FrameSamples
		}
	case Opus:
		return opusSilence(t.Config)
	case FLAC:
		return flacSilence(t.Config)
	}
	return nil, 0
}
