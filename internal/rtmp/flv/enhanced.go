package flv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrFraming: an Enhanced RTMP body uses a number that is reserved, or one where
// it must not be.
var ErrFraming = errors.New("reserved Enhanced RTMP framing")

// Packet types on the wire (Enhanced RTMP v2, sections "Enhanced Video" and
// "Enhanced Audio": ExVideoTagHeader, ExAudioTagHeader).
const (
	wireSequenceStart = 0
	wireCodedFrames   = 1
	wireSequenceEnd   = 2
	wireCodedFramesX  = 3 // video: the composition offset is 0 and left out
	wireMetadata      = 4 // video
	wireMPEG2TS       = 5 // video
	wireMultitrack    = 6 // video
	wireModEx         = 7

	wireChannelConfig   = 4 // audio
	wireMultitrackAudio = 5

	modExNanos = 0 // TimestampOffsetNano
)

// How several tracks share a body (AvMultitrackType).
const (
	oneTrack             = 0
	manyTracks           = 1
	manyTracksManyCodecs = 2
)

// maxNanos is the largest TimestampOffsetNano: more would be a millisecond.
const maxNanos = 999_999

// FourCCs of Enhanced RTMP that are more than names to this package.
var (
	fourCCAVC  = [4]byte{'a', 'v', 'c', '1'}
	fourCCHEVC = [4]byte{'h', 'v', 'c', '1'}
	fourCCVVC  = [4]byte{'v', 'v', 'c', '1'}
)

// composes reports whether coded frames of cc have a composition offset.
func composes(cc [4]byte) bool { return cc == fourCCAVC || cc == fourCCHEVC || cc == fourCCVVC }

// tracks is what is left of a body that carries several.
type tracks struct {
	rest   []byte
	many   bool // each track has its length
	codecs bool // each track has its FourCC
	wire   uint8
	seen   [4]uint64 // the ids that the body had, a bit each
}

// modEx skips the ModEx packets at the front of b, whose first byte's low half
// is the packet type. It returns the packet type behind them and what follows.
func modEx(b []byte) (wire uint8, nanos uint32, rest []byte, err error) {
	wire, rest = b[0]&0x0F, b[1:]
	for wire == wireModEx {
		if len(rest) < 1 {
			return 0, 0, nil, ErrTruncated
		}
		n := int(rest[0]) + 1
		rest = rest[1:]
		if n == 256 {
			if len(rest) < 2 {
				return 0, 0, nil, ErrTruncated
			}
			n = int(binary.BigEndian.Uint16(rest)) + 1
			rest = rest[2:]
		}
		if len(rest) < n+1 {
			return 0, 0, nil, ErrTruncated
		}
		if kind := rest[n] >> 4; kind == modExNanos && n >= 3 {
			nanos = min(be24(rest), maxNanos)
		}
		wire, rest = rest[n]&0x0F, rest[n+1:]
	}
	return wire, nanos, rest, nil
}

// header reads what stands before the first track: the multitrack byte where
// there is one, and the FourCC where it is said once.
func header(wire, multitrack uint8, rest []byte) (cc [4]byte, t tracks, multi bool, err error) {
	t = tracks{rest: rest, wire: wire}
	if wire == multitrack {
		if len(rest) < 1 {
			return cc, t, false, ErrTruncated
		}
		kind := rest[0] >> 4
		multi, t.wire, t.rest = true, rest[0]&0x0F, rest[1:]
		t.many, t.codecs = kind != oneTrack, kind == manyTracksManyCodecs
		if kind > manyTracksManyCodecs || t.wire == multitrack || t.wire == wireModEx {
			return cc, t, false, ErrFraming
		}
	}
	if !t.codecs {
		if len(t.rest) < 4 {
			return cc, t, false, ErrTruncated
		}
		cc, t.rest = [4]byte(t.rest), t.rest[4:]
	}
	return cc, t, multi, nil
}

// next splits the next track off what is left: its FourCC if each has its own,
// its id, its bytes. A track that comes twice ends the body: a message holds one
// packet of each, and 16 MB could be millions of empty ones.
func (t *tracks) next(cc *[4]byte) (id uint8, data []byte, err error) {
	b := t.rest
	t.rest = nil // an error ends the body
	if t.codecs {
		if len(b) < 4 {
			return 0, nil, ErrTruncated
		}
		*cc, b = [4]byte(b), b[4:]
	}
	if len(b) < 1 {
		return 0, nil, ErrTruncated
	}
	id, b = b[0], b[1:]
	if !t.many {
		return id, b, nil
	}
	if len(b) < 3 || int(be24(b)) > len(b)-3 {
		return 0, nil, ErrTruncated
	}
	bit := uint64(1) << (id % 64)
	if t.seen[id/64]&bit != 0 {
		return 0, nil, ErrFraming
	}
	t.seen[id/64] |= bit
	n := 3 + int(be24(b))
	t.rest = b[n:]
	return id, b[3:n:n], nil
}

func parseExVideo(b []byte) (Video, error) {
	ft := b[0] >> 4 & 7
	v := Video{Key: ft == frameKey || ft == frameGenerated}
	wire, nanos, rest, err := modEx(b)
	if err != nil {
		return Video{}, fmt.Errorf("enhanced video body: %w", err)
	}
	v.Nanos = nanos
	if ft == frameInfo && wire != wireMetadata {
		v.Info = true // a command byte follows, and no FourCC
		return v, nil
	}
	var multi bool
	if v.FourCC, v.more, multi, err = header(wire, wireMultitrack, rest); err == nil {
		v.Shared = v.more.many
		err = v.take(multi)
	}
	if err != nil {
		return Video{}, fmt.Errorf("enhanced video body: %w", err)
	}
	return v, nil
}

// take reads the next track of the body into v.
func (v *Video) take(multi bool) (err error) {
	data := v.more.rest
	if multi {
		if v.Track, data, err = v.more.next(&v.FourCC); err != nil {
			return err
		}
	} else {
		v.more.rest = nil
	}
	v.Composition = 0
	switch v.more.wire {
	case wireSequenceStart:
		v.Packet = SequenceHeader
	case wireCodedFrames:
		v.Packet = Coded
		if composes(v.FourCC) {
			if len(data) < 3 {
				return ErrTruncated
			}
			v.Composition, data = si24(data), data[3:]
		}
	case wireSequenceEnd:
		v.Packet = EndOfSequence
	case wireCodedFramesX:
		v.Packet = Coded
	case wireMetadata:
		v.Packet = ColorInfo
	case wireMPEG2TS:
		v.Packet = MPEG2TSHeader
	default:
		v.Packet = unknownPacket + Packet(v.more.wire)
	}
	v.Data = data
	return nil
}

// Next goes on to the next track of the body that v came from. It returns false
// when there is none, or with ErrTruncated when its fields are cut short.
func (v *Video) Next() (bool, error) {
	if !v.more.many || len(v.more.rest) == 0 {
		return false, nil
	}
	if err := v.take(true); err != nil {
		return false, fmt.Errorf("enhanced video body: %w", err)
	}
	return true, nil
}

func parseExAudio(b []byte) (Audio, error) {
	a := Audio{Format: FormatEnhanced}
	wire, nanos, rest, err := modEx(b)
	if err == nil {
		var multi bool
		a.Nanos = nanos
		if a.FourCC, a.more, multi, err = header(wire, wireMultitrackAudio, rest); err == nil {
			err = a.take(multi)
		}
	}
	if err != nil {
		return Audio{}, fmt.Errorf("enhanced audio body: %w", err)
	}
	return a, nil
}

// take reads the next track of the body into a.
func (a *Audio) take(multi bool) (err error) {
	a.Data = a.more.rest
	if multi {
		if a.Track, a.Data, err = a.more.next(&a.FourCC); err != nil {
			return err
		}
	} else {
		a.more.rest = nil
	}
	switch a.more.wire {
	case wireSequenceStart:
		a.Packet = SequenceHeader
	case wireCodedFrames:
		a.Packet = Coded
	case wireSequenceEnd:
		a.Packet = EndOfSequence
	case wireChannelConfig:
		a.Packet = ChannelConfig
	default:
		a.Packet = unknownPacket + Packet(a.more.wire)
	}
	return nil
}

// Next goes on to the next track of the body that a came from, as Video.Next.
func (a *Audio) Next() (bool, error) {
	if !a.more.many || len(a.more.rest) == 0 {
		return false, nil
	}
	if err := a.take(true); err != nil {
		return false, fmt.Errorf("enhanced audio body: %w", err)
	}
	return true, nil
}

// Channels is Enhanced audio's MultichannelConfig.
type Channels struct {
	Count uint8
	// Mask has a bit for each speaker (AudioChannelMask); 0 when the order is not
	// the native one.
	Mask uint32
	// Order names the speaker of each channel (AudioChannel); nil but for a custom
	// order. It points into the body.
	Order []byte
}

// ParseChannels parses the data of a ChannelConfig packet.
func ParseChannels(b []byte) (Channels, error) {
	const native, custom = 1, 2
	if len(b) < 2 {
		return Channels{}, fmt.Errorf("channel configuration: %w", ErrTruncated)
	}
	order, c, b := b[0], Channels{Count: b[1]}, b[2:]
	switch {
	case order == native && len(b) >= 4:
		c.Mask = binary.BigEndian.Uint32(b)
	case order == custom && len(b) >= int(c.Count):
		c.Order = b[:c.Count]
	case order == native || order == custom:
		return Channels{}, fmt.Errorf("channel configuration: %w", ErrTruncated)
	case order > custom:
		return Channels{}, fmt.Errorf("channel configuration: %w", ErrFraming)
	}
	return c, nil
}
