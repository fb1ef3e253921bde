package rtmpserver

import (
	"math"
	"time"

	"tally/internal/media"
	"tally/internal/rtmp"
	"tally/internal/rtmp/chunk"
	"tally/internal/rtmp/clock"
	"tally/internal/rtmp/cue"
)

// What an encoder may tell: each cue is read by every viewer. Beyond that cues
// are lost, and counted. Those with a splice always pass, as far as the burst
// goes they take from the others.
const (
	cuesBurst     = 40
	cuesPerSecond = 10
	timeOfDay     = time.Second // onFI comes with every picture from some encoders
)

// told is what a publication has said by data messages.
type told struct {
	spare    float64   // cues that may come at once
	since    time.Time // when spare was counted
	dayAt    time.Time // of the last onFI that was passed on
	metadata cue.Metadata
}

// cue reads a data message that tells of a moment of the broadcast.
func (c *conn) cue(m chunk.Message) {
	cmd, err := rtmp.ParseCommand(m)
	if err != nil {
		return
	}
	name, values := cmd.Name, cmd.Args
	if name == "@setDataFrame" && len(values) > 0 {
		name, _ = values[0].(string)
		values = values[1:]
	}
	var said cue.Message
	var ok bool
	if name == "onMetaData" {
		said, ok = c.told.metadata.Changed(values)
	} else {
		said, ok = cue.Read(name, values)
	}
	if !ok {
		return
	}
	if !c.told.allow(name, said.Cue.Section != nil, time.Now()) {
		c.s.stats.CuesDropped.Add(1)
		return
	}
	said.Cue.At = c.in.cueTime(m.Time, said)
	if _, err := c.pub.WriteCue(said.Cue); err != nil {
		c.s.stats.CuesDropped.Add(1)
		return
	}
	c.s.stats.Cues.Add(1)
}

// allow reports whether another cue may come now.
func (t *told) allow(name string, splice bool, now time.Time) bool {
	if name == "onFI" {
		if now.Sub(t.dayAt) < timeOfDay {
			return false
		}
		t.dayAt = now
	}
	if t.since.IsZero() {
		t.spare = cuesBurst
	} else {
		t.spare = min(cuesBurst, t.spare+now.Sub(t.since).Seconds()*cuesPerSecond)
	}
	t.since = now
	if t.spare < 1 && (!splice || t.spare < 1-cuesBurst) {
		return false
	}
	t.spare--
	return true
}

// cueTime is when a cue happens, as media.Cue.At: with the media of the message's
// time, or up to MaxGap later where it names a time.
func (in *intake) cueTime(ts uint32, said cue.Message) int64 {
	at := in.clock.At(ts)
	if said.HasTime && said.Time > 0 && said.Time < math.MaxUint32/1000 {
		ahead := int64(said.Time*1000) - int64(ts)
		if ahead > 0 && ahead <= clock.MaxGap {
			at += ahead
		}
	}
	return at * media.VideoTimescale / 1000
}
