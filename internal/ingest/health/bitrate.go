package health

import (
	"fmt"
	"time"

	"tally/internal/media"
)

const (
	// slot is over how long the bitrate is averaged: several GOPs as they should be.
	slot = 10 * time.Second
	// slots is how many are compared, and slotsLeast how many there must be.
	slots      = 12
	slotsLeast = 6
	// A swing is a slot with more than 1.75 times the mean, and 500 kbit/s above
	// it: between a minute of slides and one of film an encoder at a constant
	// quality (CRF, CQP) goes up and down by 4 to 10 times, while one at CBR
	// keeps within a few percent, because it pads (OBS sets b_filler with
	// x264: obs-x264.c). One step up, when the programme begins, is no swing: two
	// separate ones are.
	swing      = 1.75
	swingLeast = 500_000 // bit/s
	swings     = 2
)

// bitrate sums up the pictures' bytes over media time, so that a network that
// stalls and catches up does not look like the encoder's doing.
type bitrate struct {
	began bool
	from  int64 // DTS at which the open slot begins
	bytes int64
	ring  [slots]float64 // bit/s
	n     int
}

func (b *bitrate) frame(f media.Frame, sizeBytes int) {
	const length = int64(slot/time.Second) * media.VideoTimescale
	switch past := f.DTS - b.from; {
	case !b.began || f.Discontinuity || past >= 2*length:
		b.began, b.from, b.bytes = true, f.DTS, 0
	case past >= length:
		b.ring[b.n%slots] = float64(8*b.bytes) * media.VideoTimescale / float64(past)
		b.n++
		b.from, b.bytes = f.DTS, 0
	}
	b.bytes += int64(sizeBytes)
}

// now is the bitrate of the open slot, or of the one before while that is
// young; 0 when neither tells.
func (b *bitrate) now(dts int64) float64 {
	if past := dts - b.from; past >= 2*media.VideoTimescale {
		return float64(8*b.bytes) * media.VideoTimescale / float64(past)
	}
	if b.n == 0 {
		return 0
	}
	return b.ring[(b.n-1)%slots]
}

// check says how it swings, or "".
func (b *bitrate) check() string {
	n := min(b.n, slots)
	if n < slotsLeast {
		return ""
	}
	mean, peak := 0.0, 0.0
	for _, v := range b.ring[:n] {
		mean += v / float64(n)
		peak = max(peak, v)
	}
	limit := max(swing*mean, mean+swingLeast)
	found, above := 0, false
	for i := range n {
		v := b.ring[(b.n-n+i)%slots]
		if v > limit && !above {
			found++
		}
		above = v > limit || above && v > mean
	}
	if found < swings {
		return ""
	}
	return fmt.Sprintf("the bitrate swings: %s over 10 s, again and again, with a mean of %s (the limit is %.3g times the mean); "+
		"set Rate Control to CBR, with padding where the encoder has that choice", bits(peak), bits(mean), swing)
}
