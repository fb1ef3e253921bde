package publisher

import (
	"bytes"
	"context"
	"time"

	"tally/internal/rtmp"
	"tally/internal/rtmp/flv"
)

const (
	// reconnectEvery is the least time between two connections: a server that asks
	// again each time is not asked for more.
	reconnectEvery = 500 * time.Millisecond

	// maxOpening bounds what is sent first on each connection: metadata, and a
	// configuration for each of 64 tracks of sound and picture.
	maxOpening = 130
)

// comeBack publishes anew, where the server asked for it. The old connection is
// closed without a word: a clean end would end the broadcast.
func (r *run) comeBack(ctx context.Context, why *rtmp.ReconnectError) error {
	r.c.Close()
	r.c = nil
	if r.o.OnReconnect != nil {
		r.o.OnReconnect(why)
	}
	to, err := r.target.Moved(why.TCURL)
	if err != nil {
		return err
	}
	r.target = to
	for deadline := time.Now().Add(r.o.Reconnect); ; {
		select {
		case <-time.After(reconnectEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err = r.connect(ctx); err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
	r.resuming = true
	if err := r.opening.send(r.c); err != nil {
		return r.why(err)
	}
	return nil
}

// missed reports whether t is left out because it was due while nobody took it, or
// cannot be decoded without what was.
func (r *run) missed(t flv.Tag) bool {
	if !r.resuming || !flv.IsFrame(t) {
		return false
	}
	late := r.o.Speed > 0 && r.p.Lag > reconnectEvery/2
	if late || r.opening.pictures && !isKey(t) {
		return true
	}
	r.resuming = false
	return false
}

func isKey(t flv.Tag) bool {
	if t.Type != flv.TypeVideo {
		return false
	}
	v, err := flv.ParseVideo(t.Body)
	return err == nil && v.Key
}

// An opening is what a connection begins with: metadata and configurations, the
// newest of each.
type opening struct {
	tags     []flv.Tag
	begun    bool  // a frame has passed: scripts are of their moment
	pictures bool  // there are any
	at       int64 // time of the newest frame, ms
}

// note keeps t if a connection has to begin with it.
func (o *opening) note(t flv.Tag) {
	switch {
	case flv.IsFrame(t):
		o.begun, o.at = true, t.Time
		o.pictures = o.pictures || t.Type == flv.TypeVideo
	case t.Type == flv.TypeScript && !o.begun, flv.IsSequenceHeader(t):
		for i := range o.tags {
			if old := o.tags[i]; old.Type == t.Type && bytes.Equal(trackOf(old), trackOf(t)) {
				o.tags[i] = t
				return
			}
		}
		if len(o.tags) < maxOpening {
			o.tags = append(o.tags, t)
		}
	}
}

// trackOf is the begin of a body, which says what its configuration is of: two
// bytes where there is one track, seven where Enhanced RTMP numbers them.
func trackOf(t flv.Tag) []byte {
	n := 2
	if len(t.Body) > 0 && (t.Type == flv.TypeVideo && t.Body[0]&0x80 != 0 || t.Type == flv.TypeAudio && t.Body[0]>>4 == flv.FormatEnhanced) {
		n = 7
	}
	return t.Body[:min(n, len(t.Body))]
}

func (o *opening) send(c *rtmp.Client) error {
	for _, t := range o.tags {
		t.Time = o.at
		if err := c.WriteTag(t); err != nil {
			return err
		}
	}
	return nil
}
