package origin

import "encoding/binary"

const (
	videoTimescale = 90000
	audioTimescale = 48000
	audioFrame     = 1024 // samples of an AAC access unit
)

// box makes an ISO BMFF box of its parts.
func box(kind string, parts ...[]byte) []byte {
	b := append(make([]byte, 4), kind...)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func u32(vs ...uint32) []byte {
	var b []byte
	for _, v := range vs {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func zeros(n int) []byte { return make([]byte, n) }

// initSegment declares video as track 1 and audio as track 2. Its sample
// entries hold what a reader of the structure looks at and no codec data.
func initSegment() []byte {
	avcC := box("avcC", []byte{1, 0x64, 0, 0x1f, 0xff, 0xe0, 0})
	return append(box("ftyp", []byte("iso6"), u32(0), []byte("cmfc")), box("moov",
		box("mvhd", u32(0), zeros(96)),
		trak(1, videoTimescale, "vide", box("avc1", zeros(24), []byte{640 >> 8, 640 & 0xff, 360 >> 8, 360 & 0xff}, zeros(50), avcC)),
		trak(2, audioTimescale, "soun", box("mp4a", zeros(28), box("esds", u32(0)))),
		box("mvex", box("trex", u32(0, 1, 1, 0, 0, 0)), box("trex", u32(0, 2, 1, audioFrame, 0, 0))),
	)...)
}

func trak(id, timescale uint32, handler string, entry []byte) []byte {
	return box("trak",
		box("tkhd", u32(7, 0, 0, id), zeros(68)),
		box("mdia",
			box("mdhd", u32(0, 0, 0, timescale, 0, 0)),
			box("hdlr", u32(0, 0), []byte(handler), zeros(13)),
			box("minf", box("stbl", box("stsd", u32(0, 1), entry))),
		))
}

// part makes one moof and mdat: frames pictures from tick on, and the audio
// frames that begin within them.
func part(tick int64, frames int, key bool, sequence uint32) []byte {
	const perFrame = videoTimescale / 30
	var video, audio, samples [3][]byte // trun entries of each, and their bytes
	for i := range frames {
		nal, flags := byte(0x41), uint32(0x01010000)
		if key && i == 0 {
			nal, flags = 0x65, 0x02000000
		}
		data := append(u32(20), append([]byte{nal}, make([]byte, 19)...)...)
		video[0] = append(video[0], u32(perFrame, uint32(len(data)), flags)...)
		samples[0] = append(samples[0], data...)
	}
	end := tick + int64(frames)*perFrame
	first := ceilDiv(tick*audioTimescale, videoTimescale*audioFrame)
	last := ceilDiv(end*audioTimescale, videoTimescale*audioFrame)
	for range last - first {
		audio[0] = append(audio[0], u32(8)...)
		samples[1] = append(samples[1], zeros(8)...)
	}
	moof := func(offset uint32) []byte {
		return box("moof", box("mfhd", u32(0, sequence)),
			traf(1, tick, 0x701, uint32(frames), offset, video[0]),
			traf(2, first*audioFrame, 0x201, uint32(last-first), offset+uint32(len(samples[0])), audio[0]))
	}
	size := uint32(len(moof(0)))
	return append(moof(size+8), box("mdat", samples[0], samples[1])...)
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func traf(id uint32, time int64, flags, count, offset uint32, entries []byte) []byte {
	return box("traf",
		box("tfhd", u32(0x020000, id)),
		box("tfdt", u32(1<<24, uint32(time>>32), uint32(time))),
		box("trun", u32(1<<24|flags, count, offset), entries))
}
