// Package health watches what one encoder sends, and says what it is and what
// the person at the encoder should change.
//
// A [Watcher] is told of each track and frame of one publication, with the time
// at which it arrived. It keeps sums per second of arrival and looks at them when
// a second is over, so that a frame costs some additions. It starts no
// goroutine and reads no clock. Seven things are looked at, each in a file of its own:
//
//	keyframes.go  distance of keyframes       KEYFRAME_INTERVAL
//	bitrate.go    swings of the bitrate       BITRATE
//	pictures.go   frame rate, missing frames  FRAMES_DROPPED
//	stamps.go     broken timestamps           TIMESTAMPS
//	drift.go      media time against arrival  CLOCK_DRIFT
//	sound.go      audio that does not come    NO_AUDIO
//	reorder.go    latency of B-frames         B_FRAMES
//
// A warning begins when its limit is passed and is over when all was well for a
// while, longer each time it comes back (alarm.go): a publication makes at most
// some 140 lines in its timeline in the first hour and 14 in each that follows.
//
// What is wrong with a timestamp, rtmp/clock has repaired before: the frames
// say so in media.Frame.Stamp and Discontinuity.
package health

import (
	"slices"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

// window is over how many seconds of arrival most is measured.
const window = 30

// A Watcher watches one publication. Its zero value is ready. Its methods are
// called by one goroutine.
type Watcher struct {
	video, audio track
	announced    struct{ video, audio bool } // by onMetaData
	part         time.Duration               // the run's part target; 0: not known yet

	now   time.Duration // the newest arrival
	begun bool
	from  int64          // the first second of arrival
	sec   int64          // the one that sums go to
	sums  [window]second // by second of arrival modulo window

	keys     keyframes
	pictures pictures
	bitrate  bitrate
	drift    drift

	alarms [codes]alarm
	words  words
	report Report
	news   []News
}

// A track is what the watcher knows of one elementary stream.
type track struct {
	media.Track
	first, last time.Duration // arrival of frames
	seen        bool          // a frame came
}

// A second is what arrived in one second.
type second struct {
	frames  int32 // pictures
	missing int32 // pictures that should be between those that came
	back    int32 // timestamps that went back
	frozen  int32 // that stood still
	early   int32 // PTS before DTS
	far     int32 // PTS too far from DTS
	jumps   [2]int32
	// PTS less DTS of the pictures, ticks; valid when frames > 0.
	least, most int64
}

// A Report is what is known now.
type Report struct {
	Media    string               // as livestream.Session.Media
	Keyframe time.Duration        // as livestream.Session.Keyframe
	Warnings []livestream.Warning // in force; not to be changed
}

// News is a line for the timeline.
type News struct {
	At     time.Duration // arrival, as it was given
	Kind   string        // livestream.FactMedia, FactWarning or FactWarningOver
	Detail string
}

// Expect takes what onMetaData announced.
func (w *Watcher) Expect(ids []media.TrackID) {
	for _, id := range ids {
		w.announced.video, w.announced.audio = w.announced.video || id.Video(), w.announced.audio || !id.Video()
	}
}

// PartTarget says how long a part is, against which latency is measured.
func (w *Watcher) PartTarget(d time.Duration) { w.part = d }

// Track takes a track's configuration, at first or when it changed, and reports
// whether that changed Report.
func (w *Watcher) Track(t media.Track, at time.Duration) bool {
	one := &w.audio
	if t.Codec.Video() {
		one = &w.video
		w.pictures.forget()
	}
	one.Track = t
	w.advance(at)
	return w.describe()
}

// Frame takes the next frame of sizeBytes, which arrived at that time since the
// publication began. It reports whether Report changed or there are News.
func (w *Watcher) Frame(f media.Frame, sizeBytes int, at time.Duration) bool {
	changed := w.advance(at)
	one := &w.audio
	if f.Track == media.VideoTrack {
		one = &w.video
	}
	if !one.seen {
		one.seen, one.first = true, at
	}
	one.last = at
	s := &w.sums[w.sec%window]
	s.stamp(f, one == &w.video)
	if one == &w.video {
		w.picture(s, f, sizeBytes)
	}
	if one == &w.video || !w.video.seen {
		w.drift.frame(f, one.Timescale, at)
	}
	return changed
}

// picture takes a frame of video.
func (w *Watcher) picture(s *second, f media.Frame, sizeBytes int) {
	s.reorder(f)
	s.frames++
	s.missing += w.pictures.frame(f)
	w.keys.frame(f, w.now)
	w.bitrate.frame(f, sizeBytes)
}

// advance goes on to the second of arrival at. When one is over, everything is
// looked at.
func (w *Watcher) advance(at time.Duration) (changed bool) {
	w.now = max(w.now, at)
	sec := int64(w.now / time.Second)
	if !w.begun {
		w.begun, w.from, w.sec = true, sec, sec
		return false
	}
	if sec == w.sec {
		return false
	}
	changed = w.look()
	for s := max(w.sec, sec-window) + 1; s <= sec; s++ {
		w.sums[s%window] = second{}
	}
	w.sec = sec
	return changed
}

// look measures everything.
func (w *Watcher) look() bool {
	sum := w.sum()
	w.pictures.measure(w.video.FrameRate)
	before := len(w.news)
	changed := w.warn(sum)
	changed = w.describe() || changed
	return changed || len(w.news) > before
}

// sums are of the last so many seconds: all of the window, once there are.
func (w *Watcher) span() int64 { return min(window, w.sec-w.from+1) }

// sum adds up the window.
func (w *Watcher) sum() (t second) {
	for i := range w.sums {
		s := &w.sums[i]
		if s.frames > 0 {
			if t.frames == 0 {
				t.least, t.most = s.least, s.most
			}
			t.least, t.most = min(t.least, s.least), max(t.most, s.most)
		}
		t.frames += s.frames
		t.missing += s.missing
		t.back += s.back
		t.frozen += s.frozen
		t.early += s.early
		t.far += s.far
		for k := range t.jumps {
			t.jumps[k] += s.jumps[k]
		}
	}
	return t
}

// The warnings, in the order in which they are shown.
const (
	alarmKeyframes = iota
	alarmSound
	alarmPictures
	alarmStamps
	alarmDrift
	alarmBitrate
	alarmReorder
	codes
)

var codeOf = [codes]livestream.WarningCode{
	livestream.KeyframeInterval, livestream.NoAudio, livestream.FramesDropped, livestream.BadTimestamps,
	livestream.ClockDrift, livestream.BitrateSwings, livestream.BFrames,
}

// warn looks at each limit. It reports whether the warnings changed.
func (w *Watcher) warn(sum second) bool {
	details := [codes]string{
		alarmKeyframes: w.keys.check(w.now),
		alarmSound:     w.checkSound(),
		alarmPictures:  w.checkPictures(sum),
		alarmStamps:    w.checkStamps(sum),
		alarmDrift:     w.drift.check(),
		alarmBitrate:   w.bitrate.check(),
		alarmReorder:   w.checkReorder(sum),
	}
	changed := false
	for i, detail := range details {
		a := &w.alarms[i]
		step := a.step(w.now, detail)
		if step == nothing {
			continue
		}
		changed = true
		switch one := (livestream.Warning{Code: codeOf[i], Detail: detail}); step {
		case begins:
			w.tell(livestream.FactWarning, one.String())
		case over:
			one.Detail = "over after " + span(w.now-a.since)
			w.tell(livestream.FactWarningOver, one.String())
		}
	}
	if changed {
		w.report.Warnings = nil
		for i := range w.alarms {
			if a := &w.alarms[i]; a.on {
				w.report.Warnings = append(w.report.Warnings, livestream.Warning{Code: codeOf[i], Detail: a.detail})
			}
		}
	}
	return changed
}

func (w *Watcher) tell(kind, detail string) {
	w.news = append(w.news, News{w.now, kind, detail})
}

// Report returns what is known now.
func (w *Watcher) Report() Report { return w.report }

// News returns what happened since it was last called, oldest first.
func (w *Watcher) News() []News {
	news := slices.Clone(w.news)
	w.news = w.news[:0]
	return news
}
