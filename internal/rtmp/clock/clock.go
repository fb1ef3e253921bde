// Package clock turns the 32-bit millisecond timestamps of RTMP into one
// unwrapped, strictly rising decode time per track.
//
// Encoders wrap at 2^32 ms, begin anywhere, jitter by a millisecond, jump when
// their source is changed, and some send zero for ever. What comes out of a
// [Track] rises with every frame, stays in step with the publication's other
// tracks, and says where the encoder's clock jumped.
package clock

import "time"

const (
	// MaxGap is the largest step forward that is taken as a pause of the
	// encoder (design section 5 and failures section 6: clamp beyond 10 s).
	MaxGap = 10_000 // ms
	// MaxBack is the largest step back that is taken as disorder.
	MaxBack = 1_000 // ms

	near         = 1_000                  // ms; two tracks this close run on the same timeline
	freezeAfter  = 500 * time.Millisecond // the same timestamp for longer: the clock stands
	freezeFrames = 3                      // and at least so many frames, so that a pause is no freeze
	defaultFrame = 33                     // ms, until two frames were seen
	longestFrame = 1_000                  // ms
	slack        = 2                      // ms; rounding of two timestamps
)

// A Clock is shared by the tracks of one publication. Its zero value is ready.
// Clock and Tracks belong to one goroutine.
type Clock struct {
	last   int64 // newest timestamp, unwrapped, ms
	seen   bool
	zero   time.Duration // arrival of the first frame
	tracks []*Track
}

// unwrap carries t on past its wrap, from whichever track the last one came.
func (c *Clock) unwrap(t uint32, arrival time.Duration) int64 {
	if !c.seen {
		c.seen, c.last, c.zero = true, int64(t), arrival
	} else {
		c.last += int64(int32(t - uint32(c.last)))
	}
	return c.last
}

// A Track is the decode time of one elementary stream.
type Track struct {
	c      *Clock
	rate   int64 // ticks per second
	frame  int64 // ticks of every frame (audio); 0: as timestamped (video)
	begun  bool
	offset int64 // ms from an unwrapped timestamp to time since the publication began
	raw    int64 // newest timestamp, unwrapped
	dts    int64 // ticks, newest
	step   int64 // ticks between the newest two
	since  time.Duration
	same   int  // frames that repeated raw
	frozen bool // the timestamps stand still: arrival counts
	back   bool // the newest timestamp is earlier than the one before
}

// Track adds a track with rate ticks per second. Where frameTicks is not 0
// every frame has that duration, and small deviations of the timestamps are
// rounding: the sample clock counts.
func (c *Clock) Track(rate uint32, frameTicks int64) *Track {
	t := &Track{c: c, rate: int64(rate), frame: frameTicks}
	c.tracks = append(c.tracks, t)
	return t
}

// Retune changes rate and frame duration between two frames.
func (t *Track) Retune(rate uint32, frameTicks int64) {
	t.dts = t.dts * int64(rate) / t.rate
	t.step = t.step * int64(rate) / t.rate
	t.rate, t.frame = int64(rate), frameTicks
}

// Next returns the decode time, in ticks since the publication's first frame,
// of a frame that carries ts and arrived then (a monotonic reading with any
// origin). It is greater than that of the track's frame before. jumped: the
// encoder's clock stepped by more than MaxGap or MaxBack, and the decode time
// goes on one frame after the last.
func (t *Track) Next(ts uint32, arrival time.Duration) (dts int64, jumped bool) {
	raw := t.c.unwrap(ts, arrival)
	if !t.begun {
		t.begin(raw, arrival)
		return t.dts, false
	}
	t.back = raw < t.raw
	ms := t.thaw(raw, arrival)
	if step := ms - t.now(); !t.frozen && (step > MaxGap || step < -MaxBack) {
		ms, jumped = t.jump(raw, ms)
	}
	dts = t.place(ms)
	t.step, t.dts = dts-t.dts, dts
	return dts, jumped
}

// Back reports whether the timestamp of the newest frame was earlier than that
// of the frame before.
func (t *Track) Back() bool { return t.back }

// Frozen reports whether the encoder's timestamps stand still, so that the
// newest decode time was taken from the arrival.
func (t *Track) Frozen() bool { return t.frozen }

// begin sets the first frame. The publication's first is at 0; a track that
// comes later keeps its distance, unless it counts from elsewhere.
func (t *Track) begin(raw int64, arrival time.Duration) {
	t.begun, t.raw, t.since = true, raw, arrival
	o := t.other()
	if o == nil {
		t.offset = -raw
		return
	}
	t.offset = o.offset
	if d := raw + t.offset - o.now(); d > MaxGap || d < -MaxBack {
		t.offset = o.now() - raw
	}
	t.dts = max(0, raw+t.offset) * t.rate / 1000
}

// other is the other track that is furthest on, or nil when none has begun.
func (t *Track) other() *Track {
	var most *Track
	for _, o := range t.c.tracks {
		if o != t && o.begun && (most == nil || o.now() > most.now()) {
			most = o
		}
	}
	return most
}

// now is the newest frame's decode time in ms.
func (t *Track) now() int64 { return t.dts * 1000 / t.rate }

// thaw returns raw on the track's timeline. An encoder whose timestamps stand
// still gets the arrival time instead, until they move again.
func (t *Track) thaw(raw int64, arrival time.Duration) int64 {
	arrived := max(t.now(), (arrival - t.c.zero).Milliseconds())
	if raw != t.raw {
		if t.frozen {
			t.frozen, t.offset = false, arrived-raw
		}
		t.raw, t.since, t.same = raw, arrival, 0
		return raw + t.offset
	}
	t.same++
	t.frozen = t.frozen || t.same >= freezeFrames && arrival-t.since > freezeAfter
	if t.frozen {
		return arrived
	}
	return raw + t.offset
}

// jump handles a step that is no disorder. A track that only paused while
// another ran on is still on its timeline. Otherwise it continues after its last
// frame, by the offset of one that has jumped the same way before: all tracks keep
// to the first that did.
func (t *Track) jump(raw, ms int64) (int64, bool) {
	for _, o := range t.c.tracks {
		if o != t && o.begun && ms > t.now() && abs(ms-o.now()) <= near {
			return ms, false
		}
	}
	next := t.now() + t.frameMS()
	offset := next - raw
	for _, o := range t.c.tracks {
		if o != t && o.begun && abs(raw+o.offset-next) <= near {
			offset = o.offset
			break
		}
	}
	t.offset = offset
	return raw + t.offset, true
}

func (t *Track) frameMS() int64 {
	switch {
	case t.frame > 0:
		return (t.frame*1000 + t.rate/2) / t.rate
	case t.step > 0 && t.step <= longestFrame*t.rate/1000:
		return max(1, t.step*1000/t.rate)
	}
	return defaultFrame
}

// place turns a time into ticks that follow the last frame's.
func (t *Track) place(ms int64) int64 {
	want := ms * t.rate / 1000
	if t.frame == 0 {
		return max(want, t.dts+t.rate/1000) // 1 ms apart at least: what RTMP can tell apart
	}
	next := t.dts + t.frame
	tolerance := t.frame + slack*t.rate/1000
	if t.frozen {
		tolerance = t.rate / 2 // arrivals come in bursts
	}
	switch drift := want - next; {
	case abs(drift) <= tolerance:
		return next
	case drift > 0:
		return want // a gap
	}
	return max(want, t.dts+t.frame/2) // more frames than time: squeeze, never overlap wholly
}

func abs(v int64) int64 { return max(v, -v) }

// At returns the time, in ms since the publication's first frame, of what is no
// frame and carries ts: data that belongs to the media of that time. It changes
// nothing. A timestamp further than MaxGap from the newest frame's, and any while
// the encoder's clock stands still, is the newest frame's time; before the first
// frame, 0.
func (c *Clock) At(ts uint32) int64 {
	var newest *Track
	for _, t := range c.tracks {
		if t.begun && (newest == nil || t.now() > newest.now()) {
			newest = t
		}
	}
	if newest == nil {
		return 0
	}
	now := newest.now()
	ms := newest.raw + int64(int32(ts-uint32(newest.raw))) + newest.offset
	if newest.frozen || abs(ms-now) > MaxGap {
		return now
	}
	return max(0, ms)
}
