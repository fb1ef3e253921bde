package hls

import (
	"time"

	"tally/internal/hls/cmaf"
	"tally/internal/hls/playlist"
	"tally/internal/media"
)

// minSegment is the shortest segment that a keyframe ends (design section 5).
const minSegment = time.Second

// openingSegment is how long the first segment after a restart of the server is,
// keyframe or not. Players that were there take the mean of what is listed for how
// long segments are, and with one of a single part hls.js 1.7 stood still for up to
// eight seconds. It is a little less than minSegment, so that three parts make it.
const openingSegment = minSegment * fill / 100

// maxPause is the longest time without any frame that a segment bridges; after
// a longer one the media goes on behind a discontinuity (research/media.md 9).
const maxPause = time.Second

// A lane is one track inside a domain: the stretch between two discontinuities
// in which decode times are continuous.
type lane struct {
	track   media.Track
	offset  int64 // added to a frame's DTS: ticks on the run's timeline
	frame   int64 // audio: ticks that the newest frame lasts; 0: unknown yet
	begun   bool
	end     int64 // ticks; where the last sample ends, as far as known
	last    int64 // ticks; decode time given to the newest sample
	lastDTS int64 // ticks; what the encoder said it was
	aligned bool  // a flagged clock jump of this track was taken care of

	// Of sound that pauses while the picture goes on, in ticks.
	quiet    []byte // a frame of silence; nil: not asked for yet, or there is none
	quietFor int64  // how long it lasts
	filled   int64  // up to where silence stands in; 0: it never did
	lateFor  int64  // how much came since that is of a time that was filled

	samples   []cmaf.Sample // of the open part
	sizeBytes int64         // of their payloads
	time      int64         // decode time of samples[0]
}

// length is how long a frame of sound lasts, in ticks. One that does not tell is
// taken for as long as the one before.
func (l *lane) length(f *media.Frame) int64 {
	if n := media.Samples(&l.track, f.Payload); n > 0 {
		l.frame = n
	} else if l.frame == 0 {
		l.frame = int64(l.track.Timescale) / 50
	}
	return l.frame
}

func (l *lane) append(at int64, f *media.Frame, offset int32) {
	if len(l.samples) == 0 {
		l.time = at
	}
	l.samples = append(l.samples, cmaf.Sample{Offset: offset, Key: f.Key, Data: f.Payload})
	l.sizeBytes += int64(len(f.Payload))
	l.last, l.lastDTS, l.begun = at, f.DTS, true
}

// settle gives the newest sample of the open part its end.
func (l *lane) settle(end int64) {
	if n := len(l.samples); n > 0 {
		l.samples[n-1].Duration = uint32(max(1, end-l.last))
	}
	l.end = max(end, l.last+1)
}

// drop lets the samples go.
func (l *lane) drop() {
	clear(l.samples)
	l.samples, l.sizeBytes = l.samples[:0], 0
}

// A cut is one closed part, before it has a name.
type cut struct {
	runs        []cmaf.Run    // valid until the next call of the cutter
	at          time.Duration // of its start, on the run's timeline
	duration    time.Duration
	independent bool
	start       int64 // ticks of the lead track, from the domain's start
	endsSegment bool
	stand       stand // in for media that did not come
	live        bool  // of this rendition alone: others have media
	again       bool  // its picture is counted in memory already
}

// A cutter turns the frames of one domain into parts and segments. The lead
// track, video where there is any, makes the clock by which parts are cut and
// playlists count; audio goes into the part that is open when it arrives, with
// its own decode time. A cutter reads no clock: it knows media time only.
type cutter struct {
	lead, audio *lane // audio is nil without a second track
	pace        pace
	scale       int64 // ticks of the lead per second

	domain   int64 // where the domain starts, ticks of the lead
	start    int64 // where the open part starts
	segStart int64 // where the open segment starts
	target   int64 // how long a part may be at PART-TARGET, in ticks; 0 until that is chosen
	segParts int   // parts of the open segment
	segLimit int64 // TARGETDURATION in ticks
	single   bool  // the open segment gets one part only: the first of a run
	opening  int64 // ticks after which it ends wherever it is: the first after a restart; 0: it does not
	stalled  bool  // audio cut the last part: the lead has sent nothing since
	ahead    int64 // how far audio is ahead of the lead by arrival, lead ticks

	want       time.Duration // PART-TARGET wished for
	partTarget time.Duration // PART-TARGET as it is; 0 until the first part is closed
	seat       *seat         // nil: the rendition is the only one
	emit       func(cut) error
	split      func() // the open segment ended between two parts
	runs       [2]cmaf.Run
}

// ticks converts a duration into the lead's ticks, rounding down, so that what
// fits in ticks fits in time.
func (c *cutter) ticks(d time.Duration) int64 {
	return int64(d/time.Microsecond) * c.scale / 1_000_000
}

func (c *cutter) duration(ticks int64) time.Duration {
	return time.Duration(ticks * 1_000_000 / c.scale * 1000)
}

// partLimit is how long the media of a part may be at that PART-TARGET, in ticks.
func (c *cutter) partLimit(partTarget time.Duration) int64 {
	return c.ticks(max(0, partTarget-listedLonger))
}

// partTicks is how long a part may be at PART-TARGET as it is or would be now.
func (c *cutter) partTicks() int64 {
	if c.target > 0 {
		return c.target
	}
	return c.partLimit(c.choose())
}

// fix makes PART-TARGET what it is from now on.
func (c *cutter) fix() {
	if c.target == 0 {
		c.partTarget = c.choose()
		c.target = c.partLimit(c.partTarget)
	}
}

func (c *cutter) choose() time.Duration {
	return choosePartTarget(c.want, c.duration(c.pace.frame()), c.pace.slack(), c.duration(c.segLimit))
}

// setAudio adds a second track, whose clock is in step with the lead's: leadDTS
// is where the domain starts.
func (c *cutter) setAudio(t media.Track, leadDTS int64) {
	rate := int64(t.Timescale)
	c.audio = &lane{track: t, frame: t.FrameSamples, offset: c.domain*rate/c.scale - leadDTS*rate/c.scale}
}

// lane returns the lane of a track, or nil.
func (c *cutter) lane(id media.TrackID) *lane {
	switch {
	case c.lead.track.ID == id:
		return c.lead
	case c.audio != nil && c.audio.track.ID == id:
		return c.audio
	}
	return nil
}

// mediaEnd is where the media of the domain ends, rounded up.
func (c *cutter) mediaEnd() time.Duration {
	end := max(c.start, c.lead.end)
	if c.audio != nil {
		end = max(end, c.audioEnd()+1)
	}
	return c.duration(end) + time.Millisecond
}

// limit is where the open part ends at the latest.
func (c *cutter) limit() int64 {
	return min(c.start+c.partTicks(), c.segEnd())
}

// segEnd is where the open segment ends at the latest, keyframe or not: half a
// frame beyond the target duration, because an encoder's keyframe interval of
// just that is not always to the tick. Rounded to seconds it is the same.
func (c *cutter) segEnd() int64 {
	if b, ok := c.boundary(); ok {
		return b
	}
	return max(c.gridStart()+c.segLimit+min(c.pace.frame()/2, c.scale/20), min(c.pos(), c.segStart+c.segLimit))
}

// leadFrame takes a frame of the lead track. It returns paused, having taken
// nothing, when so much time is missing before it that it must go behind a
// discontinuity.
func (c *cutter) leadFrame(f *media.Frame) (paused bool, err error) {
	l := c.lead
	x := f.DTS + l.offset
	c.pace.lasts(media.Samples(&l.track, f.Payload))
	if l.begun {
		c.pace.saw(f.DTS - l.lastDTS)
	}
	var at int64
	switch {
	case !l.begun:
		at = x
	case len(l.samples) > 0:
		if at, paused, err = c.follow(x); paused || err != nil {
			return paused, err
		}
	default:
		if at, paused, err = c.begin(x); paused || err != nil {
			return paused, err
		}
	}
	if err := c.keyframe(f, at); err != nil {
		return false, err
	}
	if c.seat != nil && c.segParts == 0 && len(l.samples) == 0 {
		c.begins(f.Key, at)
	}
	l.append(at, f, c.composition(f, at))
	c.stalled = false
	if c.audio != nil {
		c.ahead = min(max(0, c.audioEnd()-x), c.scale)
	}
	// Where the frame ends if it lasts as long as expected. A frame that was
	// moved a little ends where it would have ended, so nothing adds up.
	frame := c.pace.frame()
	end := max(x+frame, at+frame/4, at+1)
	l.end = end
	if frame == 0 || end+frame <= c.limit() {
		return false, nil
	}
	return false, c.close(min(end, max(c.limit(), at+1)))
}

// follow settles the frame before in the open part, and returns the decode time
// of the one at x. Where x does not fit the part any more, that is closed.
func (c *cutter) follow(x int64) (at int64, paused bool, err error) {
	l := c.lead
	at = max(x, l.last+1)
	over := at - c.limit()
	switch {
	case over > c.ticks(maxPause):
		return 0, true, c.close(min(l.last+max(1, c.pace.frame()), c.limit()))
	case over > c.partTicks()/2: // a pause: the frame is shown that long, the list says less
		l.settle(at)
		err = c.closePart(c.limit(), at, false)
		c.jump(at)
		return at, false, err
	case over > 0:
		at = c.limit()
		l.settle(at)
		return at, false, c.close(at)
	}
	l.settle(at)
	if at+c.pace.frame() > c.limit() {
		return at, false, c.close(at)
	}
	return at, false, nil
}

// begin returns the decode time of a frame at x that is the lead's first in the
// open part, in which audio may be already.
func (c *cutter) begin(x int64) (at int64, paused bool, err error) {
	l := c.lead
	switch late := x - c.start; {
	case late > c.partTicks()+c.ticks(maxPause):
		return 0, true, nil
	case c.stalled && late <= c.partTicks():
		at = max(x, l.end)
	case x-l.end <= c.partTicks()/2:
		at = l.end // jitter, or a frame left out: made up for by its duration
	default:
		if c.audio != nil && len(c.audio.samples) > 0 {
			if err = c.close(min(x, c.limit())); err != nil {
				return 0, false, err
			}
		}
		at = max(x, l.end)
		c.jump(at)
	}
	if at > c.start && c.hasSamples() && at+c.pace.frame() > c.limit() {
		err = c.close(min(at, c.limit()))
	}
	return at, false, err
}

// jump moves the start of the empty open part on to at: what lies between is
// on no list.
func (c *cutter) jump(at int64) {
	c.segStart += at - c.start
	c.start = at
}

// keyframe ends the open part or segment before f, which will be at that time,
// if f is a keyframe that asks for it.
func (c *cutter) keyframe(f *media.Frame, at int64) error {
	if !f.Key || !c.lead.track.Codec.Video() || c.single {
		return nil
	}
	if _, decided := c.boundary(); decided || !c.leads() {
		return c.gridKey(at)
	}
	inPart := at - c.start
	switch long := at-c.segStart+c.pace.frame()/2 >= c.ticks(minSegment); {
	case long && inPart < max(1, c.pace.frame()/2) && len(c.lead.samples) == 0:
		// The part before ended just here. Audio that is in already stays.
		c.endSegment()
	case long && !c.hasSamples(): // nothing came since audio cut a part
		c.jump(at)
		c.endSegment()
	case long && inPart >= max(1, c.pace.frame()/2):
		return c.closePart(at, at, true)
	case c.hasSamples() && inPart*100 >= c.partTicks()*fill:
		return c.close(at)
	}
	return nil
}

// endSegment ends the open segment between two parts.
func (c *cutter) endSegment() {
	if c.segParts > 0 {
		c.split()
		c.ended(c.start)
	}
	c.segStart, c.segParts, c.opening = c.start, 0, 0
}

// composition is the offset from the decode time at to the presentation time.
// Where a frame is presented as it is decoded, moving it by jitter moves both,
// and no reordering depends on less than half a frame.
func (c *cutter) composition(f *media.Frame, at int64) int32 {
	if f.PTS <= f.DTS {
		if x := f.DTS + c.lead.offset; at-x <= c.pace.frame() {
			return 0
		}
	}
	offset := f.PTS + c.lead.offset - at
	if offset < 0 && offset > -c.pace.frame()/2 {
		offset = 0
	}
	return int32(min(max(offset, -1<<30), 1<<30))
}

// audioFrame takes a frame of the second track.
func (c *cutter) audioFrame(f *media.Frame) error {
	l := c.audio
	if !l.begun {
		c.align(f)
	}
	x := f.DTS + l.offset
	length := l.length(f)
	if l.begun {
		if c.lateSound(x, length) {
			return nil
		}
		l.silence(x)
	}
	longer := int64(0) // than the frame
	switch {
	case !l.begun:
		if x+length/2 < c.domain*int64(l.track.Timescale)/c.scale {
			return nil // before the picture begins
		}
		x = max(0, x)
	case max(x-l.end, l.end-x) <= length/2:
		x = l.end
	case len(l.samples) == 0 && x > l.end && x-l.end < int64(l.track.Timescale)/minSilence:
		longer, x = x-l.end, l.end // the frame before is in a part that is out
	case len(l.samples) == 0:
		x = max(x, l.end)
	default:
		x = max(x, l.last+1)
	}
	if len(l.samples) > 0 {
		l.settle(x)
	}
	l.append(x, f, 0)
	l.end = x + length + longer
	frame := c.pace.frame()
	if frame == 0 { // one picture so far
		frame = c.scale / 10
	}
	if c.audioEnd()-c.ahead < c.start+c.partTicks()+frame {
		return nil
	}
	c.stalled = true
	return c.close(c.limit())
}

// inStep is how far two tracks of one publication may be apart when the second
// begins, in seconds. Beyond it their clocks have nothing in common.
const inStep = 2

// align puts the audio in step with the lead where the encoder's clocks do not.
func (c *cutter) align(f *media.Frame) {
	l := c.audio
	rate := int64(l.track.Timescale)
	now := c.start
	if c.lead.begun {
		now = c.lead.last
	}
	now = now * rate / c.scale
	if apart := f.DTS + l.offset - now; apart > inStep*rate || apart < -inStep*rate {
		l.offset = now - f.DTS
	}
}

// audioEnd is where the audio ends, in ticks of the lead.
func (c *cutter) audioEnd() int64 {
	if !c.audio.begun {
		return c.start
	}
	return c.audio.end * c.scale / int64(c.audio.track.Timescale)
}

// sizeBytes is the payload of the open part.
func (c *cutter) sizeBytes() int64 {
	n := c.lead.sizeBytes
	if c.audio != nil {
		n += c.audio.sizeBytes
	}
	return n
}

func (c *cutter) hasSamples() bool {
	return len(c.lead.samples) > 0 || c.audio != nil && len(c.audio.samples) > 0
}

// shortTail is how short a segment may not be, because players do not expect it.
const shortTail = 100 * time.Millisecond

// flush closes what is open, as it is, and the segment.
func (c *cutter) flush() error {
	if !c.hasSamples() {
		c.endSegment()
		return nil
	}
	frame := max(1, c.pace.frame())
	end := c.start + frame
	if len(c.lead.samples) > 0 {
		end = max(end, c.lead.last+frame)
	} else if c.audio != nil {
		c.endSegment()
		// Sound behind the last picture is less than a part and is left out: hls.js
		// 1.7 waits for ever at the end of a playlist whose last segment has none.
		length := (c.audio.end - c.audio.time) * c.scale / int64(c.audio.track.Timescale)
		if length < c.partTicks() && !c.stalled {
			c.audio.drop()
			return nil
		}
		end = c.start + max(1, length) // the picture stalls: in a segment of its own the sound has an honest length
	}
	return c.closePart(min(end, c.limit()), c.lead.last+frame, true)
}

// close ends the open part at end, and the segment where that is full.
func (c *cutter) close(end int64) error { return c.closePart(end, end, false) }

// closePart hands the open part on. It is listed up to end; the lead's last
// sample lasts until mediaEnd.
func (c *cutter) closePart(end, mediaEnd int64, endsSegment bool) error {
	l := c.lead
	c.fix()
	end = max(end, c.start+1)
	independent := len(l.samples) > 0 && l.samples[0].Key
	if len(l.samples) > 0 {
		l.settle(mediaEnd)
	}
	c.pausing(end)
	runs := c.runs[:0]
	runs = c.addRun(runs, l)
	if c.audio != nil {
		if n := len(c.audio.samples); n > 0 {
			c.audio.samples[n-1].Duration = uint32(max(1, c.audio.end-c.audio.last))
		}
		runs = c.addRun(runs, c.audio)
	}
	if _, decided := c.boundary(); !decided {
		endsSegment = endsSegment || c.single || c.opening > 0 && end-c.segStart >= c.opening
	}
	endsSegment = endsSegment || c.segmentFull(end)
	err := c.emit(cut{
		runs:        runs,
		at:          playlist.At(c.start, uint32(c.scale)),
		duration:    playlist.Span(c.start, end, uint32(c.scale)),
		independent: independent,
		start:       c.start - c.domain,
		endsSegment: endsSegment,
	})
	l.drop() // the payloads are copied
	if c.audio != nil {
		c.audio.drop()
	}
	c.start = end
	c.segParts++
	if endsSegment {
		c.segStart, c.segParts, c.single, c.opening = end, 0, false, 0
		c.ended(end)
	}
	return err
}

func (c *cutter) addRun(runs []cmaf.Run, l *lane) []cmaf.Run {
	if len(l.samples) == 0 {
		return runs
	}
	return append(runs, cmaf.Run{Track: l.track.ID, Time: l.time, Samples: l.samples})
}

// segmentFull reports whether a segment that ends with a part's end is ended
// there without waiting for what comes next: another frame would not fit, or
// every frame is a keyframe.
func (c *cutter) segmentFull(end int64) bool {
	if b, ok := c.boundary(); ok {
		return end+c.pace.frame()/2 >= b
	}
	if c.leads() && !c.lead.track.Codec.Video() && end-c.segStart >= c.ticks(minSegment) {
		return true
	}
	return end+c.pace.frame() > c.segEnd()
}
