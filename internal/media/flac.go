package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// flacInfoBytes is the length of a STREAMINFO block (RFC 9639 section 8.2).
const flacInfoBytes = 34

// flacMagic begins a FLAC stream; in a sequence start it may be left out.
var flacMagic = []byte("fLaC")

// FLACTrack reads a STREAMINFO block (RFC 9639 section 8.2): its 34 bytes, with
// the metadata block's header before them or not, with the signature before
// that or not. Enhanced RTMP's sequence start has all three.
//
// The track's Config says neither how long the stream is, nor how large its
// frames are, nor what their sum is: nobody knows of a live one.
func FLACTrack(streaminfo []byte) (Track, error) {
	b := bytes.TrimPrefix(streaminfo, flacMagic)
	if len(b) >= 4+flacInfoBytes && b[0]&0x7f == 0 && b[1] == 0 && b[2] == 0 && b[3] == flacInfoBytes {
		b = b[4:] // METADATA_BLOCK_HEADER; a block size of 0 is none
	}
	if len(b) < flacInfoBytes {
		return Track{}, fmt.Errorf("FLAC configuration of %d bytes: too short for STREAMINFO", len(streaminfo))
	}
	config := bytes.Clone(b[:flacInfoBytes])
	info, err := parseFLACInfo(config)
	if err != nil {
		return Track{}, fmt.Errorf("FLAC configuration of %d bytes: %w", len(streaminfo), err)
	}
	clear(config[4:10]) // frame sizes
	config[13] &^= 0x0f // total samples
	clear(config[14:])  // and MD5
	t := Track{
		ID:          AudioTrack,
		Codec:       FLAC,
		Timescale:   info.rate,
		Config:      config,
		Channels:    info.channels,
		CodecString: "fLaC",
	}
	if info.least == info.most {
		t.FrameSamples = info.most
	}
	return t, nil
}

// flacInfo is what STREAMINFO says.
type flacInfo struct {
	least, most int64 // samples of a frame; the last may have fewer
	rate        uint32
	channels    int
	depth       int // bits per sample
}

func parseFLACInfo(b []byte) (flacInfo, error) {
	r := &bitReader{data: b}
	info := flacInfo{least: int64(r.bits(16)), most: int64(r.bits(16))}
	r.skip(48)
	info.rate = r.bits(20)
	info.channels, info.depth = int(r.bits(3))+1, int(r.bits(5))+1
	switch {
	case r.over:
		return info, errors.New("cut short")
	case info.least < 16 || info.most < info.least:
		return info, fmt.Errorf("frames of %d to %d samples", info.least, info.most)
	case info.rate == 0:
		return info, errors.New("sample rate of 0 Hz")
	case info.rate < 8000 || info.rate > 192000:
		return info, fmt.Errorf("sample rate of %d Hz: %w", info.rate, ErrUnsupported)
	case info.depth < 4:
		return info, fmt.Errorf("samples of %d bits", info.depth)
	}
	return info, nil
}

// flacSamples is how many samples a frame holds; 0 when its header is broken
// (RFC 9639 section 9.1).
func flacSamples(frame []byte) int64 {
	if len(frame) < 6 || frame[0] != 0xff || frame[1]&0xfe != 0xf8 {
		return 0
	}
	code := frame[2] >> 4
	switch {
	case code == 0:
		return 0
	case code == 1:
		return 192
	case code <= 5:
		return 576 << (code - 2)
	case code >= 8:
		return 256 << (code - 8)
	}
	at := 4 + codedNumberBytes(frame[4])
	if at+2 > len(frame) {
		return 0
	}
	if code == 6 {
		return int64(frame[at]) + 1
	}
	n := int64(binary.BigEndian.Uint16(frame[at:])) + 1
	if n > 65535 { // forbidden, and no STREAMINFO could say it
		return 0
	}
	return n
}

// codedNumberBytes is the length of a coded number by its first byte (RFC 9639
// section 9.1.5).
func codedNumberBytes(first byte) int {
	n := 0
	for ; first&0x80 != 0; first <<= 1 {
		n++
	}
	return max(1, n)
}

// silentFLACSamples is how long silence is where the stream's frames differ:
// half of what encoders choose, as near as it comes to 20 ms at 48 kHz.
const silentFLACSamples = 1024

// flacSilence is a frame that decodes to silence: one constant subframe for
// each channel (RFC 9639 section 9.2.4).
func flacSilence(config []byte) (frame []byte, samples int64) {
	info, err := parseFLACInfo(config)
	if err != nil {
		return nil, 0
	}
	samples = min(max(silentFLACSamples, info.least), info.most)
	var w bitWriter
	w.put(15, 0x7ffc) // sync code
	if info.least == info.most {
		w.put(1, 0) // fixed block size: the number counts frames
	} else {
		w.put(1, 1)
	}
	w.put(4, 7) // block size in 16 bits, below
	w.put(4, 0) // rate as STREAMINFO says
	w.put(4, uint32(info.channels-1))
	w.put(3, 0) // depth as STREAMINFO says
	w.put(1, 0)
	w.put(8, 0) // number 0: players count by the container
	w.put(16, uint32(samples-1))
	w.put(8, uint32(crc8(w.data)))
	for range info.channels {
		w.put(8, 0) // constant, no wasted bits
		w.put(info.depth, 0)
	}
	for w.used%8 != 0 {
		w.put(1, 0)
	}
	w.put(16, uint32(crc16(w.data)))
	return w.data, samples
}

// crc8 and crc16 are the checksums of a frame's header and of a frame (RFC 9639
// sections 9.1.8 and 9.3). They run once for each track.
func crc8(b []byte) byte {
	var crc byte
	for _, c := range b {
		crc ^= c
		for range 8 {
			crc = crc<<1 ^ crc>>7*0x07
		}
	}
	return crc
}

func crc16(b []byte) uint16 {
	var crc uint16
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			crc = crc<<1 ^ crc>>15*0x8005
		}
	}
	return crc
}
