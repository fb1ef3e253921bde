package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/flv"
)

// avcC of x264, 1280x720 and 1920x1080.
var (
	small = unhex("0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800")
	large = unhex("0164002affe100196764002aacd940780227e5c04400000fa4000753003c60c65801000668ebe3cb22c0fdf8f800")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// publish is one accepted publish.
type publish struct {
	ctx context.Context
	c   *rtmp.Client
	ms  int64 // timestamp of the next picture
	n   int   // pictures sent
}

// on reports whether there is more to send.
func (p *publish) on() bool {
	select {
	case <-p.ctx.Done():
		return false
	case <-p.c.Done():
		return false
	default:
		return true
	}
}

// pause waits in real time.
func (p *publish) pause(d time.Duration) {
	select {
	case <-p.ctx.Done():
	case <-p.c.Done():
	case <-time.After(d):
	}
}

func (p *publish) tag(kind uint8, ms int64, body ...byte) {
	sent.Add(1)
	_ = p.c.WriteTag(flv.Tag{Type: kind, Time: ms, Body: body}) // an end shows in on
}

func (p *publish) header(avcC []byte) {
	p.tag(flv.TypeVideo, p.ms, append([]byte{0x17, 0, 0, 0, 0}, avcC...)...)
}

// picture is a picture of that size, as FLV has it.
func picture(key bool, size int) []byte {
	head, nal := byte(0x27), byte(0x41)
	if key {
		head, nal = 0x17, 0x65
	}
	b := binary.BigEndian.AppendUint32([]byte{head, 1, 0, 0, 0}, uint32(size))
	b = append(b, nal)
	return append(b, make([]byte, size-1)...)
}

// picture sends a picture and moves on by one of 30 a second.
func (p *publish) picture(key bool, size int) {
	p.tag(flv.TypeVideo, p.ms, picture(key, size)...)
	p.ms, p.n = p.ms+33, p.n+1
}

// start sends a header and some pictures that anybody could play.
func (p *publish) start() {
	p.header(small)
	for i := range 12 {
		p.picture(i == 0, 300)
	}
}

// keyless never sends a keyframe.
var keyless = kind{name: "no keyframe for ever", ends: []string{"NO_KEYFRAME"}, send: func(p *publish) {
	p.header(small)
	for p.on() {
		p.picture(false, 2000)
		p.pause(33 * time.Millisecond)
	}
}}

var kinds = []kind{
	{"NAL units that lie about their length", func(p *publish) {
		p.start()
		for p.on() {
			b := picture(p.n%30 == 0, 500)
			binary.BigEndian.PutUint32(b[5:], []uint32{1 << 31, 0, 499, 501, 1<<32 - 1}[p.n%5])
			p.tag(flv.TypeVideo, p.ms, b...)
			p.ms, p.n = p.ms+33, p.n+1
			p.pause(3 * time.Millisecond)
		}
	}, []string{"", "BAD_MEDIA", "ENCODER_LOST"}},
	{"AMF that lies about its length", func(p *publish) {
		good := amf0.Append(nil, "@setDataFrame", "onMetaData", amf0.ECMAArray{{Name: "width", Value: 1280.0}})
		for _, lie := range [][]byte{
			append(bytes.Clone(good[:len(good)-20]), 8, 0xff, 0xff, 0xff, 0xff), // an array of four billion
			append(bytes.Clone(good[:16]), 2, 0xff, 0xff, 'x'),                  // a string of 65,535 bytes
			append(bytes.Clone(good[:16]), 12, 0x7f, 0xff, 0xff, 0xff),          // a long string of 2 GB
			append(bytes.Clone(good[:16]), bytes.Repeat([]byte{3, 0, 1, 'a'}, 5000)...),
			append(bytes.Clone(good[:16]), bytes.Repeat([]byte{10, 0, 0, 0, 1}, 5000)...),
		} {
			p.tag(flv.TypeScript, 0, lie...)
		}
		p.start()
		for p.on() {
			p.picture(p.n%30 == 0, 300)
			p.pause(33 * time.Millisecond)
		}
	}, []string{""}},
	{"FLV bodies that end too early", func(p *publish) {
		p.start()
		for p.on() {
			whole := picture(p.n%30 == 0, 300)
			p.tag(flv.TypeVideo, p.ms, whole[:p.n%12]...)
			p.tag(flv.TypeAudio, p.ms, []byte{0xaf, 1}[:p.n%3]...)
			p.picture(p.n%30 == 0, 300)
			p.pause(5 * time.Millisecond)
		}
	}, []string{"", "BAD_MEDIA", "ENCODER_LOST", "UNSUPPORTED_CODEC"}},
	{"corrupt parameter sets", func(p *publish) {
		for n := 0; p.on() && n < 200; n++ {
			b := bytes.Clone(small)
			for range 6 {
				b[6+rand.IntN(len(b)-6)] ^= byte(1 << rand.IntN(8))
			}
			p.header(b)
			p.picture(true, 300)
			p.pause(2 * time.Millisecond)
		}
	}, []string{"", "BAD_MEDIA", "ENCODER_LOST", "DISCONNECTED"}},
	{"frames of 15 MB", func(p *publish) {
		p.start()
		for p.on() {
			p.picture(p.n%30 == 0 || p.n%10 == 0, 15<<20)
		}
	}, []string{"", "BITRATE_TOO_HIGH"}},
	{"50 Mbit/s, GOP 10 s, at four times its speed", func(p *publish) {
		p.header(small)
		for p.on() && p.n < 1500 {
			p.picture(p.n%300 == 0, 50_000_000/8/30)
			if p.n%4 == 0 {
				p.pause(33 * time.Millisecond)
			}
		}
	}, []string{"", "BITRATE_TOO_HIGH"}},
	{"50 Mbit/s as fast as it goes", func(p *publish) {
		p.header(small)
		for p.on() && p.n < 3000 {
			p.picture(p.n%300 == 0, 50_000_000/8/30)
		}
	}, []string{"", "BITRATE_TOO_HIGH"}},
	{"ten times real time", func(p *publish) {
		p.header(small)
		for p.on() {
			p.picture(p.n%30 == 0, 8000)
			p.pause(3300 * time.Microsecond)
		}
	}, []string{""}},
	{"tiny messages", func(p *publish) {
		p.start()
		for n := 0; n%100 > 0 || p.on(); n++ {
			switch n % 4 {
			case 0:
				p.tag(flv.TypeVideo, p.ms, 0x27)
			case 1:
				p.tag(flv.TypeAudio, p.ms, 0xaf)
			case 2:
				p.tag(flv.TypeScript, p.ms, 5)
			default:
				p.tag(flv.TypeVideo, p.ms)
			}
		}
	}, []string{"", "NO_MEDIA", "BAD_MEDIA", "ENCODER_LOST"}},
	{"timestamps that stand still", func(p *publish) {
		p.header(small)
		for p.on() {
			p.picture(p.n%30 == 0, 300)
			p.ms = 0
			p.pause(10 * time.Millisecond)
		}
	}, []string{""}},
	{"timestamps that leap", func(p *publish) {
		p.start()
		for p.on() {
			p.picture(p.n%5 == 0, 300)
			p.ms = int64(rand.Uint32())
			p.pause(2 * time.Millisecond)
		}
	}, []string{""}},
	{"10,000 changes of the parameter sets", func(p *publish) {
		for n := 0; n < 10_000 && p.on(); n++ {
			p.header([][]byte{small, large}[n%2])
			p.picture(true, 300)
		}
		p.pause(100 * time.Millisecond)
	}, []string{""}},
	{"sound of no length", func(p *publish) {
		p.header(small)
		p.tag(flv.TypeAudio, 0, 0xaf, 0, 0x11, 0x90)
		for p.on() {
			p.picture(p.n%30 == 0, 300)
			p.tag(flv.TypeAudio, p.ms, 0xaf, 1)
			p.pause(10 * time.Millisecond)
		}
	}, []string{""}},
	{"codecs that flap", func(p *publish) {
		p.start()
		p.tag(flv.TypeAudio, 0, 0xaf, 0, 0x11, 0x90)
		for n := 0; p.on(); n++ {
			p.header(small)
			p.picture(true, 300)
			p.tag(flv.TypeAudio, p.ms, 0xaf, 0, 0x11, []byte{0x90, 0x88, 0xb0}[n%3])
			p.tag(flv.TypeAudio, p.ms, append([]byte{0xaf, 1}, make([]byte, 40)...)...)
			if n%3 == 2 {
				p.tag(flv.TypeVideo, p.ms, append([]byte{0x1c, 0, 0, 0, 0}, small...)...) // HEVC by its old number, with an H.264 configuration
			}
			p.pause(2 * time.Millisecond)
		}
	}, []string{"", "BAD_MEDIA", "UNSUPPORTED_CODEC", "ENCODER_LOST"}},
}
