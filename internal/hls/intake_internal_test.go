package hls

import (
	"testing"
	"time"

	"tally/internal/media"
)

// TestQueueOfTinyFrames: what waits for a domain is bounded by what it costs, not
// by its payload alone, and a keyframe is found among it.
func TestQueueOfTinyFrames(t *testing.T) {
	video, sound := media.Track{ID: media.VideoID(0), Codec: media.H264, Timescale: 90000}, media.Track{ID: media.AudioID(0), Codec: media.AAC, Timescale: 48000, FrameSamples: 1024}
	tiny := func(id media.TrackID, key bool) media.Frame {
		return media.Frame{Track: id, Key: key, Payload: []byte{1}}
	}
	now := time.Now()

	awaiting := intake{}
	awaiting.put(video)
	awaiting.put(sound)
	for range 5 * maxBeside {
		awaiting.enqueue(tiny(sound.ID, true), now)
		awaiting.trimAudio(now)
		if awaiting.ready(now, 64<<20) {
			t.Fatal("ready without a keyframe")
		}
	}
	if n := len(awaiting.queue); n > maxBeside || n < maxBeside/2 {
		t.Errorf("%d frames are kept beside a keyframe that does not come, want %d to %d", n, maxBeside/2, maxBeside)
	}
	awaiting.enqueue(tiny(video.ID, true), now)
	awaiting.trimAudio(now)
	if !awaiting.ready(now, 64<<20) {
		t.Error("not ready with a keyframe and both tracks")
	}
	weighed := int64(0)
	for i := range awaiting.queue {
		weighed += weight(&awaiting.queue[i].frame)
	}
	if weighed != awaiting.queueBytes {
		t.Errorf("the queue has %d bytes by its count, %d by its frames", awaiting.queueBytes, weighed)
	}

	full := intake{since: now, announced: []media.TrackID{video.ID, sound.ID, media.AudioID(1)}}
	full.put(video)
	full.put(sound)
	const most = 1 << 20
	for !full.ready(now, most) {
		full.enqueue(tiny(video.ID, true), now)
		if len(full.queue) > most/64 {
			t.Fatalf("%d frames wait for a track, which are more than %d bytes", len(full.queue), most)
		}
	}

	other := media.Track{ID: media.VideoID(1), Codec: media.H264, Timescale: 90000}
	late := intake{}
	late.put(other)
	late.enqueue(tiny(other.ID, true), now)
	if !late.hasKey() {
		t.Error("a keyframe of the only video is none")
	}
	late.put(video)
	if late.hasKey() {
		t.Error("a keyframe of another video is one of the first")
	}
	late.enqueue(tiny(video.ID, true), now)
	if !late.hasKey() {
		t.Error("a keyframe of the first video is none")
	}
}
