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
	// maxTracks of each kind are taken: OBS sends at most 10 renditions, services ask
	// for 5; each costs a clock here and a playlist and its parts in the packager.
	maxTracks = 8
	// maxBeside is how much of a message may be something else than a frame, besides
	// as much as the frame itself: see keep.
	maxBeside = 4096
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

	pictures, sounds []*stream // at most maxTracks each, in the order of their first configuration
	about            map[media.TrackID]about

	message int // capacity of the buffer that the present message is in
	frames  int64
	dropped int64
}

// A stream is one elementary stream of the publication.
type stream struct {
	id         media.TrackID
	format     *format
	record     []byte      // the configuration as the encoder sent it
	track      media.Track // made of it, refined by key frames
	told       bool        // the output has it
	lengthSize int         // of the encoder's NAL units: 1, 2 or 4; 0: they are none
	clock      *clock.Track
	samples    int64 // ticks of each audio frame, as the clock has them
	broken     int   // unusable messages in a row
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

// find returns the stream of that id in list, or nil.
func find(list []*stream, id media.TrackID) *stream {
	for _, s := range list {
		if s.id == id {
			return s
		}
	}
	return nil
}

// video takes one video message and owns its body.
func (in *intake) video(ts uint32, body []byte) error {
	in.message = cap(body)
	v, err := flv.ParseVideo(body)
	for more := err == nil; more; more, err = v.Next() {
		if err := in.videoTrack(ts, &v, len(body)); err != nil {
			return err
		}
	}
	if err != nil {
		return in.drop()
	}
	return nil
}

// videoTrack takes one track of a video message of that size.
func (in *intake) videoTrack(ts uint32, v *flv.Video, size int) error {
	if v.Info {
		return nil
	}
	f := videoFormat(v)
	if f == nil {
		if size == 1 {
			return in.drop() // a stray byte announces no codec
		}
		return &badMedia{livestream.Unsupported(v.Codec()+" video", useVideo)}
	}
	id := media.VideoID(v.Track)
	switch v.Packet {
	case flv.SequenceHeader:
		return in.configure(&in.pictures, id, f, v.Data)
	case flv.Coded:
		return in.picture(ts, find(in.pictures, id), f, v)
	case flv.MPEG2TSHeader:
		return &badMedia{livestream.Unsupported(v.Codec()+" video in MPEG-2 TS framing", "set the encoder to send a plain sequence start")}
	case flv.EndOfSequence, flv.ColorInfo:
		// Unpublish or EOF will say the one, the pictures themselves the other.
		return nil
	}
	return in.drop()
}

// configure takes a sequence header. The same one again does nothing: some
// encoders repeat it with every keyframe (ossrs/srs#4695).
func (in *intake) configure(list *[]*stream, id media.TrackID, f *format, record []byte) error {
	s := find(*list, id)
	if s != nil && s.format == f && bytes.Equal(record, s.record) {
		return nil
	}
	if len(record) < f.least {
		return in.drop()
	}
	track, err := f.read(record)
	switch {
	case errors.Is(err, media.ErrUnsupported):
		return &badMedia{livestream.Unsupported(fmt.Sprintf("%s of a kind that is not supported (%v)", f.name, err), f.instead)}
	case err != nil && s != nil:
		return in.drop() // what works goes on
	case err != nil:
		return &badMedia{livestream.Unparsable(fmt.Sprintf("the %s sequence header cannot be parsed (%v)", f.name, err))}
	case s == nil && len(*list) == maxTracks:
		kind := "audio"
		if id.Video() {
			kind = "video"
		}
		return &badMedia{livestream.Unsupported(fmt.Sprintf("more than %d %s tracks", maxTracks, kind), "send fewer of them")}
	}
	if s == nil {
		s = &stream{id: id}
		*list = append(*list, s)
	}
	track.ID = id
	track.Language, track.Name = in.about[id].language, in.about[id].name
	s.format, s.record, s.track, s.lengthSize = f, bytes.Clone(record), track, 0
	if f.lengthSize != nil {
		s.lengthSize = f.lengthSize(record)
	}
	if s.tune(&in.clock); id.Video() && track.Width == 0 {
		s.told = false // the first key frame tells
		return nil
	}
	return in.tell(s)
}

// tune gives the stream its clock, or sets it to another configuration's rate.
func (s *stream) tune(c *clock.Clock) {
	s.samples = s.track.FrameSamples
	if s.clock == nil {
		s.clock = c.Track(s.track.Timescale, s.samples)
	} else {
		s.clock.Retune(s.track.Timescale, s.samples)
	}
}

// tell hands the stream's track to the output.
func (in *intake) tell(s *stream) error {
	if err := in.pub.WriteTrack(s.track); err != nil {
		return &outputError{err}
	}
	s.told = true
	return nil
}

// picture takes one coded picture; its payload is the message's own bytes.
func (in *intake) picture(ts uint32, s *stream, f *format, v *flv.Video) error {
	if s == nil || s.format != f {
		return in.drop() // nothing can decode it
	}
	payload, key, err := s.units(v)
	if err != nil {
		in.drop()
		if s.broken++; s.broken >= maxBroken {
			return &badMedia{livestream.Unparsable(fmt.Sprintf("%d video frames in a row are broken: %v", maxBroken, err))}
		}
		return nil
	}
	s.broken = 0
	if len(payload) == 0 {
		return in.drop() // parameter sets, messages or delimiters without a picture
	}
	if err := in.refine(s, key, payload); err != nil {
		return err
	}
	if !s.told {
		return in.drop() // before the first key frame, which nothing can show
	}
	dts, jumped := s.clock.Next(ts, time.Since(in.start))
	composition, stamp := int64(v.Composition), stampOf(s.clock, jumped)
	if composition > maxComposition || composition < -maxComposition {
		composition, stamp = 0, media.StampFar
	}
	pts := dts + composition*media.VideoTimescale/1000 + int64(v.Nanos)*media.VideoTimescale/1_000_000_000
	return in.write(media.Frame{Track: s.id, DTS: dts, PTS: pts, Key: key, Payload: in.keep(payload), Discontinuity: jumped, Stamp: stamp})
}

// refine looks whether a key frame says more of the track than its configuration
// did, and tells the output then.
func (in *intake) refine(s *stream, key bool, payload []byte) error {
	if !key {
		return nil
	}
	track, changed := media.Refine(&s.track, payload)
	if changed {
		s.track = track
	}
	if track.Width > 0 && (changed || !s.told) {
		return in.tell(s)
	}
	return nil
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

// units makes a picture what media.Frame promises, and tells whether decoding
// may start there. Nothing is left of one without a slice.
func (s *stream) units(v *flv.Video) (payload []byte, key bool, err error) {
	if s.lengthSize == 0 {
		payload = media.Payload(&s.track, v.Data)
		return payload, media.Key(&s.track, payload), nil
	}
	b := v.Data
	if s.lengthSize != 4 {
		if b, err = avcc.Widen(b, s.lengthSize); err != nil {
			return nil, false, err
		}
	}
	var info avcc.Info
	if s.format == &hevc {
		info, err = avcc.CheckHEVC(b)
	} else {
		info, err = avcc.Check(b)
	}
	switch {
	case err != nil:
		return nil, false, err
	case !info.Pictures:
		return nil, false, nil
	case info.Empty > 0:
		b = avcc.DropEmpty(b)
	}
	// What the encoder says of one picture counts for H.264, where decoding can
	// start at others than IDR pictures too.
	return b, info.Key || v.Key && !v.Shared && s.format == &h264, nil
}

// audio takes one audio message and owns its body.
func (in *intake) audio(ts uint32, body []byte) error {
	in.message = cap(body)
	a, err := flv.ParseAudio(body)
	for more := err == nil; more; more, err = a.Next() {
		if err := in.audioTrack(ts, &a, len(body)); err != nil {
			return err
		}
	}
	if err != nil {
		return in.drop()
	}
	return nil
}

// audioTrack takes one track of an audio message of that size.
func (in *intake) audioTrack(ts uint32, a *flv.Audio, size int) error {
	f := audioFormat(a)
	if f == nil {
		if size <= 2 {
			return in.drop() // silence markers and stray bytes announce no codec
		}
		return &badMedia{livestream.Unsupported(a.Codec()+" audio", useAudio)}
	}
	id := media.AudioID(a.Track)
	switch a.Packet {
	case flv.SequenceHeader:
		if f == &opus && bytes.HasPrefix(a.Data, []byte("OpusTags")) {
			return nil // the comment header, which may follow the identification header
		}
		return in.configure(&in.sounds, id, f, a.Data)
	case flv.Coded:
		return in.sound(ts, find(in.sounds, id), f, a.Data)
	case flv.EndOfSequence, flv.ChannelConfig:
		return nil // every codec that is taken describes its channels itself
	}
	return in.drop()
}

// sound takes one audio frame.
func (in *intake) sound(ts uint32, s *stream, f *format, data []byte) error {
	if s == nil || s.format != f || len(data) == 0 {
		return in.drop()
	}
	samples := media.Samples(&s.track, data)
	if samples == 0 {
		return in.drop() // the frame's own header is broken
	}
	dts, jumped := s.clock.Next(ts, time.Since(in.start))
	if samples != s.samples { // Opus and FLAC may change it from frame to frame
		s.samples = samples
		s.clock.Retune(s.track.Timescale, samples) // where the frame after this one is expected
	}
	return in.write(media.Frame{
		Track: s.id, DTS: dts, PTS: dts, Key: true, Payload: in.keep(data),
		Discontinuity: jumped, Stamp: stampOf(s.clock, jumped),
	})
}

// keep returns payload, copied where it is the lesser part of its message: as long
// as the frame waits to be packaged, it would hold all of that.
func (in *intake) keep(payload []byte) []byte {
	if in.message > 2*len(payload)+maxBeside {
		return bytes.Clone(payload)
	}
	return payload
}

func (in *intake) write(f media.Frame) error {
	in.frames++
	if err := in.pub.WriteFrame(f); err != nil {
		return &outputError{err}
	}
	return nil
}
