package hls

import (
	"bytes"
	"slices"
	"time"

	"tally/internal/media"
)

// trackWait is how long a publication's first media waits for tracks that were
// announced, or for a second one when nothing was (design section 5).
const trackWait = time.Second

// An intake gathers what a domain needs before it can begin: tracks, and a
// frame that decoding can start at.
type intake struct {
	announced  []media.TrackID
	tracks     []*media.Track // video first, by index
	since      time.Time      // arrival of the first track or frame; zero: none yet
	queue      []queued
	queueBytes int64 // see weight
	keyless    int   // so many at the queue's front are no keyframe to begin with
	waiting    bool  // a running domain is to be replaced at the next keyframe
}

type queued struct {
	frame media.Frame
	at    time.Time
}

// weight is what a waiting frame counts for where those that wait are bounded:
// tiny ones are mostly what is kept of them beside their payload.
func weight(f *media.Frame) int64 { return int64(len(f.Payload)) + 128 }

func (in *intake) reset() { *in = intake{} }

func (in *intake) expect(ids []media.TrackID) { in.announced = slices.Clone(ids) }

// maxTracks bounds the tracks of a publication, and with them the renditions:
// twice what OBS sends at most. Frames of more are left out.
const maxTracks = 16

// track returns the configuration of a track, or nil.
func (in *intake) track(id media.TrackID) *media.Track {
	for _, t := range in.tracks {
		if t != nil && t.ID == id {
			return t
		}
	}
	return nil
}

// put keeps a track's configuration: video first, as init sections have them.
// It reports whether there is room for it.
func (in *intake) put(t media.Track) bool {
	i, known := slices.BinarySearchFunc(in.tracks, t.ID, func(o *media.Track, id media.TrackID) int { return order(o.ID) - order(id) })
	switch {
	case known:
		in.tracks[i] = &t
		return true
	case len(in.tracks) == maxTracks:
		return false
	default:
		in.tracks = slices.Insert(in.tracks, i, &t)
	}
	in.keyless = 0
	return true
}

// order sorts tracks: video first, each kind by index.
func order(id media.TrackID) int {
	if id.Video() {
		return int(id)
	}
	return 1<<16 + int(id)
}

// video is the first video track, or nil.
func (in *intake) video() *media.Track {
	if len(in.tracks) > 0 && in.tracks[0].Codec.Video() {
		return in.tracks[0]
	}
	return nil
}

// list returns the known tracks, video first.
func (in *intake) list() []media.Track {
	ts := make([]media.Track, len(in.tracks))
	for i, t := range in.tracks {
		ts[i] = *t
	}
	return ts
}

// complete reports whether no more tracks are waited for.
func (in *intake) complete(now time.Time) bool {
	switch {
	case now.Sub(in.since) >= trackWait:
		return len(in.tracks) > 0
	case len(in.announced) > 0:
		return !slices.ContainsFunc(in.announced, func(id media.TrackID) bool { return in.track(id) == nil })
	}
	return in.video() != nil && !in.tracks[len(in.tracks)-1].Codec.Video()
}

// enqueue keeps a frame until the domain begins. What lies before the first
// keyframe of the first video track is of no use.
func (in *intake) enqueue(f media.Frame, now time.Time) {
	if v := in.video(); v != nil && !in.hasKey() && f.Track == v.ID {
		if !f.Key {
			return
		}
		// The audio that belongs to it came a little earlier or later.
		in.trimBefore(&f)
	}
	in.queue = append(in.queue, queued{f, now})
	in.queueBytes += weight(&f)
}

// trimBefore drops what is queued for a time before f.
func (in *intake) trimBefore(f *media.Frame) {
	kept := in.queue[:0]
	for _, q := range in.queue {
		t := in.track(q.frame.Track)
		early := int64(0)
		if q.frame.Track.Video() { // reordering may have it decoded earlier
			early = int64(keyWait * media.VideoTimescale / time.Second)
		}
		if t != nil && q.frame.DTS*media.VideoTimescale/int64(t.Timescale)+early >= f.DTS {
			kept = append(kept, q)
		} else {
			in.queueBytes -= weight(&q.frame)
		}
	}
	clear(in.queue[len(kept):])
	in.queue, in.keyless = kept, 0
}

func (in *intake) hasKey() bool {
	id := in.video().ID
	for in.keyless < len(in.queue) {
		if f := &in.queue[in.keyless].frame; f.Key && f.Track == id {
			return true
		}
		in.keyless++
	}
	return false
}

// ready reports whether the domain can begin with what is queued: there is a
// frame to begin with, and no track is waited for, or the queue is full.
func (in *intake) ready(now time.Time, capBytes int64) bool {
	switch {
	case len(in.queue) == 0 || in.video() != nil && !in.hasKey():
		return false
	case in.queueBytes > capBytes:
		return true
	}
	return in.complete(now)
}

// imminent reports whether a domain is about to begin: the frame that it begins
// with is there, and others still come.
func (in *intake) imminent(now time.Time) bool {
	n := len(in.queue)
	return n > 0 && (in.video() == nil || in.hasKey()) && now.Sub(in.queue[n-1].at) < trackWait
}

func (in *intake) dropQueue() { in.queue, in.queueBytes, in.keyless = nil, 0, 0 }

// maxBeside is how many frames are kept beside an awaited keyframe: more than a
// second of as many tracks as there can be. At most half as many are left of more.
const maxBeside = 8192

// trimAudio bounds the queue while a keyframe is awaited: a second of audio is
// more than can lie beside it.
func (in *intake) trimAudio(now time.Time) {
	if in.video() == nil || in.hasKey() {
		return
	}
	n, least := 0, 0
	if len(in.queue) > maxBeside {
		least = len(in.queue) - maxBeside/2
	}
	for n < len(in.queue) && (n < least || now.Sub(in.queue[n].at) > trackWait) {
		in.queueBytes -= weight(&in.queue[n].frame)
		n++
	}
	if n > 0 {
		rest := copy(in.queue, in.queue[n:])
		clear(in.queue[rest:])
		in.queue, in.keyless = in.queue[:rest], max(0, in.keyless-n)
	}
}

func sameTrack(a, b *media.Track) bool {
	return a != nil && b != nil && a.ID == b.ID && a.Codec == b.Codec && a.Timescale == b.Timescale &&
		a.Width == b.Width && a.Height == b.Height && bytes.Equal(a.Config, b.Config)
}

func sameTracks(as, bs []media.Track) bool {
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if !sameTrack(&as[i], &bs[i]) {
			return false
		}
	}
	return true
}
