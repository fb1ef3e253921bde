package publisher

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"time"

	"tally/internal/rtmp/avcc"
	"tally/internal/rtmp/flv"
)

// A Stamp travels inside a video frame, as an SEI message of type
// user_data_unregistered (ITU-T H.264 section D.1.7). Packaging keeps it, so
// that lost and repeated frames and latency can be seen in the packaged bytes.
type Stamp struct {
	Frame uint64    // counts from 0 within one Run, in order of sending
	Sent  time.Time // wall clock of the sender, with nanoseconds
}

// StampUUID marks the message. Neither it nor what follows (hexadecimal digits)
// holds a zero byte, so that no emulation prevention ever splits it.
var StampUUID = [16]byte{0x8d, 0x54, 0x61, 0x6c, 0x6c, 0x79, 0x4b, 0x2e, 0x9c, 0x37, 0xd1, 0xa4, 0x5f, 0xe6, 0x71, 0xb3}

const (
	stampText    = 32                           // two 64-bit numbers in hexadecimal
	stampPayload = len(StampUUID) + stampText   // 48
	stampNAL     = 1 + 1 + 1 + stampPayload + 1 // header, type, size, payload, trailing bits
)

// FindStamp returns the first stamp in b, which may be any bytes that hold
// frames (a part, a segment), and the offset behind it. It returns false when
// there is none.
func FindStamp(b []byte) (s Stamp, next int, ok bool) {
	for at := 0; ; {
		i := bytes.Index(b[at:], StampUUID[:])
		if i < 0 {
			return Stamp{}, 0, false
		}
		at += i + len(StampUUID)
		if len(b)-at < stampText {
			return Stamp{}, 0, false
		}
		var raw [16]byte
		if _, err := hex.Decode(raw[:], b[at:at+stampText]); err != nil {
			continue
		}
		nanos := int64(binary.BigEndian.Uint64(raw[8:]))
		return Stamp{Frame: binary.BigEndian.Uint64(raw[:8]), Sent: time.Unix(0, nanos)}, at + stampText, true
	}
}

// Stamps yields every stamp in b, in order.
func Stamps(b []byte) iter.Seq[Stamp] {
	return func(yield func(Stamp) bool) {
		for {
			s, next, ok := FindStamp(b)
			if !ok || !yield(s) {
				return
			}
			b = b[next:]
		}
	}
}

// appendStamped appends a video body with s before its first slice. It returns
// false when body is no AVC picture with 4-byte lengths.
func appendStamped(dst, body []byte, s Stamp) ([]byte, bool) {
	if !isPicture(body) {
		return dst, false
	}
	at, ok := avcc.FirstPicture(body[flv.VideoHeaderSize:])
	if !ok {
		return dst, false
	}
	at += flv.VideoHeaderSize
	dst = append(dst, body[:at]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(stampNAL))
	dst = append(dst, avcc.TypeSEI, 5, byte(stampPayload)) // payload type 5: user_data_unregistered
	dst = append(dst, StampUUID[:]...)
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], s.Frame)
	binary.BigEndian.PutUint64(raw[8:], uint64(s.Sent.UnixNano()))
	dst = hex.AppendEncode(dst, raw[:])
	dst = append(dst, 0x80) // rbsp_trailing_bits
	return append(dst, body[at:]...), true
}

func isPicture(body []byte) bool {
	v, err := flv.ParseVideo(body)
	return err == nil && v.CodecID == flv.CodecAVC && !v.Info && v.Packet == flv.Coded
}
