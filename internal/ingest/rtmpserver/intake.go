package rtmpserver

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/rtmp/avcc"
	"tally/internal/rtmp/clock"
	"tally/internal/rtmp/flv"
)

const (
	// maxBroken is how many unusable video messages in a row end a publish: a
	// third of a second. One bad message never does.
	maxBroken = 10
	// maxComposition bounds how far presentation may be from decoding; x264 at
	// its slowest stays under 1 s. What is beyond is taken as 0.
	maxComposition = 10_000 // ms

	useH264 = "set the encoder's video codec to H.264"
	useAAC  = "set the encoder's audio codec to AAC"
)

// An outputError is an error of Publication.WriteTrack or WriteFrame, which
// has ended the publication already.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

// An intake turns the media messages of one publication into tracks and frames.
type intake struct {
	pub   Publication
	stats *Stats
	start time.Time
	clock clock.Clock

	avc struct {
		record     []byte // as the encoder sent it; nil: none yet
		lengthSize int    // of the encoder's frames: 1, 2 or 4
		clock      *clock.Track
		broken     int // unusable messages in a row
	}
	aac struct {
		config []byte
		clock  *clock.Track
	}
	frames  int64
	dropped int64
}

func newIntake(pub Publication, stats *Stats) *intake {
	return &intake{pub: pub, stats: stats, start: time.Now()}
}

// drop counts a message that cannot be used.
func (in *intake) drop() error {
	in.dropped++
	in.stats.FramesDropped.Add(1)
	return nil
}

// video takes one video message and owns its body.
func (in *intake) video(ts uint32, body []byte) error {
	v, err := flv.ParseVideo(body)
	if err != nil {
		return in.drop()
	}
	if v.Info {
		return nil
	}
	if v.CodecID != flv.CodecAVC {
		if len(body) == 1 {
			return in.drop() // a stray byte announces no codec
		}
		return &badMedia{livestream.Unsupported(v.Codec()+" video", useH264)}
	}
	switch v.Packet {
	case flv.SequenceHeader:
		return in.avcHeader(v.Data)
	case flv.Coded:
		return in.picture(ts, v)
	}
	return nil // end of sequence: unpublish or EOF will say the same
}

// avcHeader takes an AVC sequence header. The same one again does nothing:
// some encoders repeat it with every keyframe (ossrs/srs#4695). Some send an
// empty one first (mediamtx#1074).
func (in *intake) avcHeader(record []byte) error {
	if bytes.Equal(record, in.avc.record) {
		return nil
	}
	if len(record) < 7 {
		return in.drop()
	}
	track, err := media.H264Track(record)
	switch {
	case errors.Is(err, media.ErrUnsupported):
		return &badMedia{livestream.Unsupported(fmt.Sprintf("H.264 video of a kind that is not supported (%v)", err), "set the encoder's profile to High, Main or Baseline")}
	case err != nil && in.avc.record != nil:
		return in.drop() // what works goes on
	case err != nil:
		return &badMedia{livestream.Unparsable(fmt.Sprintf("the H.264 sequence header cannot be parsed (%v)", err))}
	}
	if err := in.pub.WriteTrack(track); err != nil {
		return &outputError{err}
	}
	in.avc.record, in.avc.lengthSize = bytes.Clone(record), media.H264LengthSize(record)
	if in.avc.clock == nil {
		in.avc.clock = in.clock.Track(media.VideoTimescale, 0)
	}
	return nil
}

// picture takes one coded picture; its payload is the message's own bytes.
func (in *intake) picture(ts uint32, v flv.Video) error {
	if in.avc.record == nil {
		return in.drop() // nothing can decode it
	}
	payload, info, err := in.units(v.Data)
	if err != nil {
		in.drop()
		if in.avc.broken++; in.avc.broken >= maxBroken {
			return &badMedia{livestream.Unparsable(fmt.Sprintf("%d video frames in a row are broken: %v", maxBroken, err))}
		}
		return nil
	}
	in.avc.broken = 0
	if !info.Pictures {
		return in.drop() // parameter sets or messages without a picture
	}
	dts, jumped := in.avc.clock.Next(ts, time.Since(in.start))
	composition, stamp := int64(v.Composition), stampOf(in.avc.clock, jumped)
	if composition > maxComposition || composition < -maxComposition {
		composition, stamp = 0, media.StampFar
	}
	return in.write(media.Frame{
		Track: media.VideoTrack, DTS: dts, PTS: dts + composition*media.VideoTimescale/1000,
		Key: v.Key || info.IDR, Payload: payload, Discontinuity: jumped, Stamp: stamp,
	})
}

// stampOf is what was wrong with the track's newest timestamp, but for a jump.
func stampOf(c *clock.Track, jumped bool) media.Stamp {
	switch {
	case c.Frozen():
		return media.StampFrozen
	case c.Back() && !jumped:
		return media.StampBack
	}
	return media.StampGood
}

// units makes the NAL units of a frame what media.Frame promises: 4-byte
// lengths that add up, none empty.
func (in *intake) units(b []byte) ([]byte, avcc.Info, error) {
	if in.avc.lengthSize != 4 {
		var err error
		if b, err = avcc.Widen(b, in.avc.lengthSize); err != nil {
			return nil, avcc.Info{}, err
		}
	}
	info, err := avcc.Check(b)
	if err == nil && info.Empty > 0 {
		b = avcc.DropEmpty(b)
	}
	return b, info, err
}

// audio takes one audio message and owns its body.
func (in *intake) audio(ts uint32, body []byte) error {
	a, err := flv.ParseAudio(body)
	if err != nil {
		return in.drop()
	}
	if a.Format != flv.FormatAAC {
		if len(body) <= 2 {
			return in.drop() // silence markers and stray bytes announce no codec
		}
		return &badMedia{livestream.Unsupported(a.Codec()+" audio", useAAC)}
	}
	if a.Packet == flv.SequenceHeader {
		return in.aacHeader(a.Data)
	}
	if a.Packet != flv.Coded || len(a.Data) == 0 || in.aac.config == nil {
		return in.drop()
	}
	dts, jumped := in.aac.clock.Next(ts, time.Since(in.start))
	return in.write(media.Frame{
		Track: media.AudioTrack, DTS: dts, PTS: dts, Key: true, Payload: a.Data,
		Discontinuity: jumped, Stamp: stampOf(in.aac.clock, jumped),
	})
}

// aacHeader takes an AAC sequence header, with the same tolerance as avcHeader.
func (in *intake) aacHeader(config []byte) error {
	if bytes.Equal(config, in.aac.config) {
		return nil
	}
	if len(config) < 2 {
		return in.drop()
	}
	track, err := media.AACTrack(config)
	switch {
	case errors.Is(err, media.ErrUnsupported):
		return &badMedia{livestream.Unsupported(fmt.Sprintf("AAC audio of a kind that is not supported (%v)", err), "set the encoder's audio codec to AAC-LC")}
	case err != nil && in.aac.config != nil:
		return in.drop()
	case err != nil:
		return &badMedia{livestream.Unparsable(fmt.Sprintf("the AAC sequence header cannot be parsed (%v)", err))}
	}
	if err := in.pub.WriteTrack(track); err != nil {
		return &outputError{err}
	}
	in.aac.config = bytes.Clone(config)
	if samples := media.AACFrameSamples(config); in.aac.clock == nil {
		in.aac.clock = in.clock.Track(track.Timescale, samples)
	} else {
		in.aac.clock.Retune(track.Timescale, samples)
	}
	return nil
}

func (in *intake) write(f media.Frame) error {
	in.frames++
	if err := in.pub.WriteFrame(f); err != nil {
		return &outputError{err}
	}
	return nil
}
