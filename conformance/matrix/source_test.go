package matrix

import (
	"encoding/binary"
	"encoding/hex"
	"iter"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tally/internal/media"
	"tally/internal/rtmp/clock"
)

// avcC of x264, High profile: 1280x720 at 30 fps, and 1920x1080 at 24000/1001.
const (
	avc720p  = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800"
	avc1080p = "0164002affe100196764002aacd940780227e5c04400000fa4000753003c60c65801000668ebe3cb22c0fdf8f800"
)

// hvcC of x265, Main profile; and the identification header of stereo Opus.
const (
	hvcC     = "0101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e959009a10001002b42010101600000030090000003000003001ea01420207cb965644a4c2f016808000003000800000300c840a2000100064401c073c189"
	opusHead = "4f707573486561640102380180bb0000000000"
)

// A source is an encoder made of nothing: what it sends, and when. Its zero
// value sends 30 pictures a second, a keyframe each second, no sound.
type source struct {
	fps      float64                   // 0: 30
	spacing  func(n int) time.Duration // between pictures n and n+1; nil: by fps
	gop      time.Duration             // between keyframes; 0: 1 s
	key      func(n int) bool          // which pictures are; nil: by gop
	bframes  bool
	config   string  // avcC; "": avc720p
	hevc     bool    // H.265 instead, 160x120
	silent   bool    // of its frame rate: the configuration does not tell
	announce float64 // the frame rate that it tells; 0: fps

	rate      int  // of sound; 0: none
	channels  byte // channel configuration; 0: 2
	opus      bool // packets of 20 ms instead of AAC; rate is 48000
	noVideo   bool
	lateVideo time.Duration // nothing of it comes before
	lateAudio time.Duration
	unknown   bool // nothing is announced in onMetaData

	first   uint32          // timestamp of the first frame, ms
	jitter  time.Duration   // frames are sent up to this much later, in order
	rounded int64           // timestamps are off by up to this many ms
	drift   float64         // the clock's error: 0.001 is a second in 1,000
	gaps    []time.Duration // begin and end, in turn, of times without media
	jumps   []time.Duration // when the encoder's clock jumps
	speed   float64         // media is sent that much faster; 0: 1
}

// A sample is one frame as an encoder sends it.
type sample struct {
	at          time.Duration // when it is sent
	track       media.TrackID
	ts          uint32 // ms
	composition int64  // ms
	key         bool
	size        int
	hevc, opus  bool
}

func (s *source) tracks(t testing.TB) (list []media.Track) {
	t.Helper()
	if !s.noVideo {
		config := s.config
		if config == "" {
			config = avc720p
		}
		parse := media.H264Track
		if s.hevc {
			config, parse = hvcC, media.HEVCTrack
		}
		b, err := hex.DecodeString(config)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if v.FrameRate = s.rateOf(); s.announce > 0 {
			v.FrameRate = s.announce
		}
		if s.silent {
			v.FrameRate = 0
		}
		list = append(list, v)
	}
	if s.rate > 0 {
		config, parse := s.asc(), media.AACTrack
		if s.opus {
			config, _ = hex.DecodeString(opusHead)
			parse = media.OpusTrack
		}
		a, err := parse(config)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// asc is the AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1): AAC LC.
func (s *source) asc() []byte {
	index := map[int]uint16{48000: 3, 44100: 4, 32000: 5, 22050: 7, 8000: 11}[s.rate]
	channels := uint16(2)
	if s.channels > 0 {
		channels = uint16(s.channels)
	}
	return binary.BigEndian.AppendUint16(nil, 2<<11|index<<7|channels<<3)
}

func (s *source) rateOf() float64 {
	if s.fps > 0 {
		return s.fps
	}
	return 30
}

// pictures yields the samples of the video track, in its own time.
func (s *source) pictures(random *rand.Rand) iter.Seq[sample] {
	return func(yield func(sample) bool) {
		at, keyAt := time.Duration(0), time.Duration(0)
		gop := s.gop
		if gop == 0 {
			gop = time.Second
		}
		frame := time.Duration(float64(time.Second) / s.rateOf())
		for n := 0; ; n++ {
			key := at+frame/2 >= keyAt
			if s.key != nil {
				key = s.key(n)
			} else if key {
				keyAt += gop
			}
			p := sample{at: at, track: media.VideoTrack, key: key, size: 60, hevc: s.hevc}
			if key {
				p.size = 400
			}
			if s.bframes { // I P B B P B B: offsets as of one reordered pair
				ms := frame.Milliseconds()
				switch {
				case n%3 == 1:
					p.composition = 3 * ms
				case key:
					p.composition = ms
				}
			}
			if !yield(p) {
				return
			}
			if s.spacing != nil {
				at += s.spacing(n)
			} else {
				at = time.Duration(math.Round(float64(n+1) / s.rateOf() * float64(time.Second)))
			}
		}
	}
}

func (s *source) sounds() iter.Seq[sample] {
	return func(yield func(sample) bool) {
		length := int64(1024)
		if s.opus {
			length = 960
		}
		for n := int64(0); ; n++ {
			at := time.Duration(n * length * int64(time.Second) / int64(s.rate))
			if !yield(sample{at: at, track: media.AudioTrack, key: true, size: 20, opus: s.opus}) {
				return
			}
		}
	}
}

// samples yields everything in the order of sending.
func (s *source) samples(random *rand.Rand) iter.Seq[sample] {
	return func(yield func(sample) bool) {
		none := func() (sample, bool) { return sample{}, false }
		next := [2]func() (sample, bool){none, none}
		if !s.noVideo {
			f, stop := iter.Pull(s.pictures(random))
			defer stop()
			next[0] = f
		}
		if s.rate > 0 {
			f, stop := iter.Pull(s.sounds())
			defer stop()
			next[1] = f
		}
		var head [2]sample
		var there [2]bool
		head[0], there[0] = next[0]()
		head[1], there[1] = next[1]()
		sent := time.Duration(0)
		for there[0] || there[1] {
			i := 0
			if !there[0] || there[1] && head[1].at < head[0].at {
				i = 1
			}
			p := head[i]
			head[i], there[i] = next[i]()
			if !s.stamp(&p, random) {
				continue
			}
			sent = max(sent, p.at)
			p.at = sent
			if !yield(p) {
				return
			}
		}
	}
}

// stamp gives a sample its timestamp and the time of sending; false: it is not
// sent.
func (s *source) stamp(p *sample, random *rand.Rand) bool {
	for i := 0; i+1 < len(s.gaps); i += 2 {
		if p.at >= s.gaps[i] && p.at < s.gaps[i+1] {
			return false
		}
	}
	if p.track == media.VideoTrack && p.at < s.lateVideo || p.track == media.AudioTrack && p.at < s.lateAudio {
		return false
	}
	ms := float64(p.at) * (1 + s.drift) / float64(time.Millisecond)
	ts := int64(math.Round(ms))
	if s.rounded > 0 {
		ts += random.Int64N(2*s.rounded+1) - s.rounded
	}
	for i, at := range s.jumps {
		if p.at >= at {
			ts += []int64{1_000_000, -400_000, 3_000_000_000}[i%3]
		}
	}
	p.ts = s.first + uint32(max(ts, 0))
	if s.speed > 0 {
		p.at = time.Duration(float64(p.at) / s.speed)
	}
	if s.jitter > 0 {
		p.at += time.Duration(random.Int64N(int64(s.jitter)))
	}
	return true
}

// payload is bytes of the right form: a NAL unit of the right type, or no AAC.
func (p *sample) payload() []byte {
	b := make([]byte, p.size)
	switch {
	case p.opus:
		b[0] = 0xfc // one frame of 20 ms, CELT
	case p.track == media.AudioTrack:
	default:
		binary.BigEndian.PutUint32(b, uint32(p.size-4))
		slice, idr := byte(0x41), byte(0x65) // H.264: types 1 and 5
		if p.hevc {
			slice, idr, b[5] = 1<<1, 19<<1, 1 // H.265: TRAIL_R is 1, IDR_W_RADL 19
		}
		if b[4] = slice; p.key {
			b[4] = idr
		}
	}
	return b
}

// A clockwork turns samples into frames as the RTMP server does: one for each
// publish.
type clockwork struct {
	began  time.Time
	clock  clock.Clock
	tracks map[media.TrackID]*clock.Track
}

func newClockwork(list []media.Track) *clockwork {
	c := &clockwork{began: time.Now(), tracks: map[media.TrackID]*clock.Track{}}
	for i := range list {
		c.tracks[list[i].ID] = c.clock.Track(list[i].Timescale, list[i].FrameSamples)
	}
	return c
}

func (c *clockwork) frame(p *sample, arrival time.Duration) media.Frame {
	dts, jumped := c.tracks[p.track].Next(p.ts, arrival)
	return media.Frame{
		Track: p.track, DTS: dts, PTS: dts + p.composition*media.VideoTimescale/1000,
		Key: p.key, Payload: p.payload(), Discontinuity: jumped,
	}
}
