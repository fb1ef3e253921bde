package health

import (
	"fmt"
	"math"
	"time"

	"tally/internal/media"
)

const (
	// The delay of media is measured as the least of driftSlot: what the network
	// adds only makes it longer, and not for all frames of 10 s.
	driftSlot = 10 * time.Second
	// driftSlots cover 60 s between the first and the last.
	driftSlots = 7
	// driftLimit is the share of real time by which media may come slower or
	// faster: a player that holds 2 s runs dry, or that much behind, in 7 minutes.
	// Clocks of sound and video hardware are wrong by 0.01 %.
	driftLimit = 0.005
)

// drift compares media time with arrival, of video if there is any.
type drift struct {
	began bool
	rate  uint32        // timescale of the track that is measured
	from  time.Duration // arrival at which the open slot begins
	least time.Duration // delay, against an arbitrary zero
	most  time.Duration
	ring  [driftSlots]struct{ least, jitter time.Duration }
	n     int
	last  time.Duration
}

func (d *drift) frame(f media.Frame, rate uint32, at time.Duration) {
	if rate == 0 {
		return
	}
	delay := at - mediaTime(f.DTS, rate)
	switch {
	case !d.began || rate != d.rate || f.Discontinuity || f.Stamp == media.StampFrozen || at-d.last > driftSlot:
		*d = drift{began: true, rate: rate, from: at, least: delay, most: delay}
	case at-d.from >= driftSlot:
		one := &d.ring[d.n%driftSlots]
		one.least, one.jitter = d.least, d.most-d.least
		d.n++
		d.from, d.least, d.most = d.from+driftSlot, delay, delay
	}
	d.least, d.most = min(d.least, delay), max(d.most, delay)
	d.last = at
}

// mediaTime is how long ticks are, without overflow in a year of them.
func mediaTime(ticks int64, rate uint32) time.Duration {
	r := int64(rate)
	return time.Duration(ticks/r)*time.Second + time.Duration(ticks%r)*time.Second/time.Duration(r)
}

// check says how media drifts, or "". It must go on over 60 s: each third has its
// share, so that a burst, a pause and a network that recovers are none. And it must
// be more than what comes and goes within 10 s.
func (d *drift) check() string {
	if d.n < driftSlots {
		return ""
	}
	const span = (driftSlots - 1) * driftSlot
	at := func(i int) time.Duration { return d.ring[(d.n+i)%driftSlots].least }
	all, jitter := at(driftSlots-1)-at(0), time.Duration(0)
	for i := range d.ring {
		jitter += d.ring[i].jitter / driftSlots
	}
	if math.Abs(float64(all)) < driftLimit*float64(span) || all.Abs() < jitter {
		return ""
	}
	for i := 0; i+2 < driftSlots; i += 2 {
		if third := at(i+2) - at(i); (third > 0) != (all > 0) || 5*third.Abs() < all.Abs() {
			return ""
		}
	}
	speed := float64(span-all) / float64(span)
	what := fmt.Sprintf("media comes at %.3gx real time (measured over %s, the limit is 0.5 %% off)", speed, seconds(span))
	switch {
	case speed > 1.02:
		return what + "; send it in real time, not as fast as it can be read (ffmpeg: -re)"
	case speed > 1:
		return what + ": the encoder's clock runs fast; restart the encoder, and set its sound devices to the Sample Rate of its settings"
	case speed > 0.98:
		return what + ": the encoder's clock runs slow; restart the encoder, and set its sound devices to the Sample Rate of its settings"
	}
	return what + ", and viewers run dry; lower Bitrate to what the upload carries, or choose a faster CPU Usage Preset if the encoder is overloaded"
}
