package hls_test

import (
	"encoding/binary"
	"encoding/hex"
	"sort"
	"testing"
	"time"

	"tally/internal/media"
)

const (
	avc720p30 = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800"
	avc1080p  = "0164002affe100196764002aacd940780227e5c04400000fa4000753003c60c65801000668ebe3cb22c0fdf8f800"
)

func videoTrack(t testing.TB, config string) media.Track {
	t.Helper()
	b, err := hex.DecodeString(config)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := media.H264Track(b)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func audioTrack(t testing.TB, rate int) media.Track {
	t.Helper()
	config := map[int][]byte{44100: {0x12, 0x10}, 48000: {0x11, 0x90}, 32000: {0x12, 0x90}}[rate]
	tr, err := media.AACTrack(config)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// A synth makes the frames of an encoder out of nothing, interleaved by decode
// time as an RTMP encoder does, with its millisecond timestamps for video.
type synth struct {
	fps       float64
	gop       int // frames
	bframes   bool
	rate      int // audio; 0: none
	noVideo   bool
	announces float64 // the configuration tells the frame rate, times this; 0: it does not
	bytes     int     // of a video frame; 0: 40
	config    string
	start     time.Duration // of the first frame, on the encoder's clock
	length    time.Duration
	audioLag  time.Duration // audio is sent that much later than the video it belongs to
}

func (s synth) tracks(t testing.TB) []media.Track {
	var ts []media.Track
	if !s.noVideo {
		config := s.config
		if config == "" {
			config = avc720p30
		}
		v := videoTrack(t, config)
		v.FrameRate = s.fps * s.announces
		ts = append(ts, v)
	}
	if s.rate > 0 {
		ts = append(ts, audioTrack(t, s.rate))
	}
	return ts
}

// items are configurations and frames in the order they are sent.
func (s synth) items(t testing.TB) []item {
	var items []item
	ts := s.tracks(t)
	for i := range ts {
		items = append(items, item{track: &ts[i]})
	}
	head := len(items)
	if !s.noVideo {
		for n := 0; ; n++ {
			at := time.Duration(float64(n) / s.fps * float64(time.Second))
			if at >= s.length {
				break
			}
			dts := (s.start + at).Milliseconds() * 90
			f := media.Frame{Track: media.VideoTrack, DTS: dts, PTS: dts, Key: n%s.gop == 0}
			if s.bframes { // I P B B P B B: offsets as of one reordered pair
				frame := int64(90000 / s.fps)
				f.PTS += frame
				if n%3 == 1 {
					f.PTS += 2 * frame
				} else if n%s.gop != 0 {
					f.PTS -= frame
				}
			}
			f.Payload = s.picture(f.Key)
			items = append(items, item{at: at, frame: f})
		}
	}
	if s.rate > 0 {
		first := s.start.Milliseconds() * int64(s.rate) / 1000
		for n := int64(0); ; n++ {
			at := time.Duration(n*1024) * time.Second / time.Duration(s.rate)
			if at >= s.length {
				break
			}
			dts := first + n*1024
			items = append(items, item{at: at + s.audioLag, frame: media.Frame{Track: media.AudioTrack, DTS: dts, PTS: dts, Key: true, Payload: []byte("audio")}})
		}
	}
	sort.SliceStable(items[head:], func(i, j int) bool { return items[head+i].at < items[head+j].at })
	return items
}

// picture is a NAL unit of the right type.
func (s synth) picture(key bool) []byte {
	size := s.bytes
	if size == 0 {
		size = 40
	}
	if key {
		size *= 4
	}
	b := make([]byte, 4+size)
	binary.BigEndian.PutUint32(b, uint32(size))
	b[4] = 0x41
	if key {
		b[4] = 0x65
	}
	return b
}

// shift moves items in sending time.
func shift(items []item, by time.Duration) []item {
	out := make([]item, len(items))
	copy(out, items)
	for i := range out {
		out[i].at += by
	}
	return out
}
