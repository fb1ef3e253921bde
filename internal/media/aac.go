package media

import (
	"errors"
	"fmt"
	"slices"
)

// Audio object types that are packaged (ISO/IEC 14496-3 table 1.17).
const (
	aotMain = 1
	aotLC   = 2
	aotSSR  = 3
	aotLTP  = 4
	aotSBR  = 5
	aotPS   = 29
)

// aacRates is the sampling frequency table (ISO/IEC 14496-3 table 1.18).
var aacRates = [...]uint32{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// aacChannels by channelConfiguration (ISO/IEC 14496-3 table 1.19); 0: defined
// in the configuration itself, or reserved.
var aacChannels = [16]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 14: 8}

// AACTrack reads an AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1), as
// RTMP's AAC sequence header carries it.
//
// The track's Timescale is the core coder's sample rate, in which an access
// unit is FrameSamples ticks long whether or not the decoder doubles the
// rate. HE-AAC is named in CodecString when it is signalled explicitly, in
// either of the two ways; implicit signalling is AAC LC by its configuration,
// and decoders find the rest in the access units.
func AACTrack(asc []byte) (Track, error) {
	c, err := parseASC(asc)
	if err != nil {
		return Track{}, fmt.Errorf("AAC configuration of %d bytes: %w", len(asc), err)
	}
	t := Track{
		ID:           AudioTrack,
		Codec:        AAC,
		Timescale:    c.rate,
		Config:       slices.Clone(asc),
		FrameSamples: 1024,
		Channels:     c.channels,
		CodecString:  fmt.Sprintf("mp4a.40.%d", c.named), // RFC 6381 section 3.3
	}
	if c.short {
		t.FrameSamples = 960
	}
	return t, nil
}

// ascInfo is what an AudioSpecificConfig says.
type ascInfo struct {
	core     uint32 // audio object type of the core coder
	named    uint32 // the object type that RFC 6381 names: core, SBR or PS
	rate     uint32 // of the core coder, in Hz
	channels int    // as heard
	layout   uint32 // channelConfiguration; 0: defined in the configuration itself
	short    bool   // 960 samples to an access unit
}

func parseASC(b []byte) (ascInfo, error) {
	if len(b) < 2 {
		return ascInfo{}, errors.New("too short")
	}
	r := &bitReader{data: b}
	var c ascInfo
	c.core = objectType(r)
	c.named = c.core
	var err error
	if c.rate, err = sampleRate(r); err != nil {
		return ascInfo{}, err
	}
	c.layout = r.bits(4)
	if c.core == aotSBR || c.core == aotPS { // hierarchical explicit signalling
		if _, err = sampleRate(r); err != nil {
			return ascInfo{}, err
		}
		c.core = objectType(r)
	}
	if c.core < aotMain || c.core > aotLTP {
		return ascInfo{}, fmt.Errorf("audio object type %d is not AAC LC or HE-AAC: %w", c.core, ErrUnsupported)
	}
	c.short = r.flag() // frameLengthFlag: section 4.4.1
	if r.flag() {      // dependsOnCoreCoder
		r.skip(14)
	}
	r.skip(1) // extensionFlag: nothing follows for these object types
	c.channels = aacChannels[c.layout]
	if c.layout == 0 {
		c.channels = programChannels(r)
	}
	if r.over {
		return ascInfo{}, errors.New("cut short")
	}
	if c.channels == 0 {
		return ascInfo{}, fmt.Errorf("channel configuration %d names no channels", c.layout)
	}
	compatibleExtension(r, &c)
	if c.named == aotPS && c.channels == 1 {
		c.channels = 2
	}
	return c, nil
}

func objectType(r *bitReader) uint32 {
	if t := r.bits(5); t != 31 {
		return t
	}
	return 32 + r.bits(6)
}

func sampleRate(r *bitReader) (uint32, error) {
	i := r.bits(4)
	if i == 15 {
		rate := r.bits(24)
		if r.over {
			return 0, errors.New("cut short")
		}
		if rate < 7350 || rate > 96000 {
			return 0, fmt.Errorf("sample rate of %d Hz: %w", rate, ErrUnsupported)
		}
		return rate, nil
	}
	if int(i) >= len(aacRates) {
		return 0, fmt.Errorf("reserved sample rate index %d", i)
	}
	return aacRates[i], nil
}

// compatibleExtension looks for backward compatible explicit signalling behind
// the core configuration (ISO/IEC 14496-3 section 1.6.5.3). What does not parse
// signals nothing.
func compatibleExtension(r *bitReader, c *ascInfo) {
	if c.named != c.core || r.left() < 16 || r.bits(11) != 0x2b7 {
		return
	}
	if objectType(r) != aotSBR || !r.flag() {
		return
	}
	if _, err := sampleRate(r); err != nil || r.over {
		return
	}
	c.named = aotSBR
	if r.left() >= 12 && r.bits(11) == 0x548 && r.flag() {
		c.named = aotPS
	}
}

// programChannels counts the channels of a program_config_element
// (ISO/IEC 14496-3 section 4.4.1.1) and skips to its end.
func programChannels(r *bitReader) int {
	r.skip(4 + 2 + 4) // element_instance_tag, object_type, sampling_frequency_index
	front, side, back, lfe := r.bits(4), r.bits(4), r.bits(4), r.bits(2)
	assoc, coupling := r.bits(3), r.bits(4)
	for _, width := range [...]int{4, 4} { // mono and stereo mixdown
		if r.flag() {
			r.skip(width)
		}
	}
	if r.flag() { // matrix mixdown
		r.skip(3)
	}
	channels := int(lfe)
	for range front + side + back {
		channels++
		if r.flag() { // element is a channel pair
			channels++
		}
		r.skip(4)
	}
	r.skip(int(4*lfe + 4*assoc + 5*coupling))
	r.skip((8 - r.pos&7) & 7) // byte_alignment
	r.skip(8 * int(r.bits(8)))
	return channels
}
