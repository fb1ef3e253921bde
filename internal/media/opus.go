package media

import (
	"bytes"
	"errors"
	"fmt"
)

// opusRate is the timescale of every Opus track: decoders put out 48 kHz
// whatever the input was (RFC 7845 section 4).
const opusRate = 48000

// opusMagic begins an identification header; it may be left out.
var opusMagic = []byte("OpusHead")

// OpusTrack reads an Opus identification header (RFC 7845 section 5.1), with or
// without its signature, as Enhanced RTMP's sequence start carries it. Mapping
// families 0 (mono, stereo) and 1 (up to 7.1) are supported.
//
// FrameSamples is 0: an encoder may change the duration with each packet;
// [Samples] tells it.
func OpusTrack(head []byte) (Track, error) {
	config, err := parseOpusHead(bytes.TrimPrefix(head, opusMagic))
	if err != nil {
		return Track{}, fmt.Errorf("configuration of Opus, %d bytes: %w", len(head), err)
	}
	return Track{
		ID:          AudioTrack,
		Codec:       Opus,
		Timescale:   opusRate,
		Config:      bytes.Clone(config),
		Channels:    int(config[1]),
		CodecString: "opus",
	}, nil
}

// parseOpusHead returns the header without what follows it.
func parseOpusHead(b []byte) ([]byte, error) {
	if len(b) < 11 {
		return nil, errors.New("too short for an identification header")
	}
	if b[0]>>4 != 0 { // the upper half are incompatible versions
		return nil, fmt.Errorf("version %d, want 1", b[0])
	}
	channels := b[1]
	switch family := b[10]; {
	case channels == 0:
		return nil, errors.New("no channels")
	case family == 0 && channels <= 2:
		return b[:11], nil
	case family == 0:
		return nil, fmt.Errorf("%d channels in mapping family 0", channels)
	case family != 1:
		return nil, fmt.Errorf("channel mapping family %d: %w", family, ErrUnsupported)
	case channels > 8:
		return nil, fmt.Errorf("%d channels in mapping family 1", channels)
	}
	end := 13 + int(channels)
	if len(b) < end {
		return nil, errors.New("channel mapping cut short")
	}
	streams, coupled := b[11], b[12]
	if streams == 0 || coupled > streams || streams > channels {
		return nil, fmt.Errorf("%d streams, %d of them coupled, for %d channels", streams, coupled, channels)
	}
	for _, m := range b[13:end] {
		if m != 255 && int(m) >= int(streams)+int(coupled) {
			return nil, fmt.Errorf("channel mapped to %d of %d", m, int(streams)+int(coupled))
		}
	}
	return b[:end], nil
}

// opusFrameSamples is how long each frame of a packet lasts, at 48 kHz, by the
// configuration in its first byte (RFC 6716 section 3.1).
func opusFrameSamples(toc byte) int64 {
	switch config := toc >> 3; {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		return [4]int64{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		return 480 << (config & 1)
	default: // CELT: 2.5, 5, 10, 20 ms
		return 120 << (config & 3)
	}
}

// maxOpusSamples is the longest packet: 120 ms (RFC 6716 section 3.2.5, R5).
const maxOpusSamples = 5760

// opusSamples is how long a packet lasts; 0 when it is broken.
func opusSamples(packet []byte) int64 {
	if len(packet) == 0 {
		return 0
	}
	frames := int64(1)
	switch packet[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0
		}
		frames = int64(packet[1] & 63)
	}
	if n := frames * opusFrameSamples(packet[0]); n <= maxOpusSamples {
		return n
	}
	return 0
}

// opusSilence is a packet of 20 ms that decodes to silence: in each stream a
// CELT frame of full bandwidth that begins with the silence flag (RFC 6716 table
// 56). All streams but the last delimit themselves (appendix B).
func opusSilence(config []byte) (packet []byte, samples int64) {
	const celt = 31 << 3 // full bandwidth, 20 ms, one frame
	streams, coupled := 1, int(config[1])-1
	if config[10] == 1 {
		streams, coupled = int(config[11]), int(config[12])
	}
	for i := range streams {
		toc := byte(celt)
		if i < coupled {
			toc |= 4 // stereo
		}
		packet = append(packet, toc)
		if i < streams-1 {
			packet = append(packet, 2)
		}
		packet = append(packet, 0xff, 0xfe)
	}
	return packet, opusFrameSamples(celt)
}
