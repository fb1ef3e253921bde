package rtmpserver

import (
	"bytes"
	"context"
	"io"
	"testing"

	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/rtmp/chunk"
)

// nowhere is a publication that keeps nothing.
type nowhere struct{ frames int }

func (n *nowhere) Context() context.Context               { return context.Background() }
func (n *nowhere) Arrived(int)                            {}
func (n *nowhere) Expect([]media.TrackID)                 {}
func (n *nowhere) WriteTrack(media.Track) error           { return nil }
func (n *nowhere) WriteCue(media.Cue) (media.Mark, error) { return media.Mark{}, nil }
func (n *nowhere) WriteFrame(f media.Frame) error         { n.frames++; return nil }
func (n *nowhere) Unpublish()                             {}
func (n *nowhere) Lose(error)                             {}
func (n *nowhere) Fail(livestream.Reason)                 {}

// BenchmarkMessagePath is one frame from chunks to WriteFrame, 720p30 at
// 2 Mbit/s: pictures of 8 KB in chunks of 4096 bytes, as OBS sends them. One
// allocation per frame is its buffer.
func BenchmarkMessagePath(b *testing.B) {
	clip := clipParts(b)
	picture := append([]byte{0x27, 1, 0, 0, 0, 0, 0, 0x20, 0, 0x41}, make([]byte, 8191)...)
	var wire bytes.Buffer
	w := chunk.NewWriter(&wire)
	w.SetChunkSize(4096)
	start := wire.Len()
	for i := range uint32(1000) {
		w.Write(chunk.Message{ChunkStream: 4, Type: chunk.TypeVideo, StreamID: 1, Time: i * 33, Body: picture})
	}
	pub := &nowhere{}
	c := &conn{pub: pub, in: newIntake(pub, &Stats{})}
	if err := c.in.video(0, clip.avcHeader); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(picture)))
	b.ReportAllocs()
	var r *chunk.Reader
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 { // timestamps jump back here, once in 33 s of media
			r = chunk.NewReader(io.MultiReader(bytes.NewReader(wire.Bytes()[:start]), bytes.NewReader(wire.Bytes()[start:])))
			r.SetLimits(chunk.WhilePublishing)
		}
		m, err := r.Next()
		if err == nil {
			err = c.handle(m)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if pub.frames != b.N {
		b.Errorf("%d frames written for %d messages", pub.frames, b.N)
	}
}
