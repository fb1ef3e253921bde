package hls

import "tally/internal/media"

// minSilence is the shortest hole that is filled, in parts of a second: less is
// jitter, or a frame left out, which the length of a frame makes up for. Filled, it
// would push out the frames behind it, that come as they should.
const minSilence = 10

// maxSilence is how much silence is put before one frame of sound, in seconds.
// What a longer hole would be a jump of the clock, which a domain does not bridge.
const maxSilence = 2 * inStep

// silence fills the sound up to that tick, in whole frames, where its encoder
// pauses and the picture goes on: a player's buffer ends where one of its tracks
// does (Media Source Extensions section 2.4.4), so it would stand still, and then
// have to jump. A codec without a frame of silence is left as it is.
func (l *lane) silence(to int64) {
	if l.quiet == nil {
		if l.quiet, l.quietFor = media.Silence(&l.track); l.quietFor <= 0 {
			l.quiet = nil
		}
	}
	rate := int64(l.track.Timescale)
	if hole := to - l.end; l.quiet == nil || hole < rate/minSilence || hole > maxSilence*rate {
		return
	}
	for to-l.end > l.quietFor/2 {
		if len(l.samples) > 0 {
			l.settle(l.end)
		}
		l.append(l.end, &media.Frame{DTS: l.end - l.offset, Key: true, Payload: l.quiet}, 0)
		l.end += l.quietFor
		l.filled = l.end
	}
}

// pausing fills sound that is missing for so long that nobody can tell when it
// comes, up to inStep seconds before the end of the open part.
func (c *cutter) pausing(end int64) {
	if l := c.audio; l != nil && l.begun {
		rate := int64(l.track.Timescale)
		l.silence(end*rate/c.scale - inStep*rate)
	}
}

// lateSound reports whether a frame of sound is of a time that was filled, and is
// left out. Sound that stays late is put in step with the picture, from the next
// frame on.
func (c *cutter) lateSound(x, length int64) bool {
	l := c.audio
	if l.filled == 0 || x+length/2 >= l.filled {
		l.lateFor = 0
		return false
	}
	rate := int64(l.track.Timescale)
	if l.lateFor += length; l.lateFor >= inStep*rate {
		l.offset += c.lead.last*rate/c.scale - x
		l.lateFor = 0
	}
	return true
}
