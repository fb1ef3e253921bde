// Package health watches what one encoder sends, and says what it is and what
// the person at the encoder should change.
//
// A [Watcher] is told of each track and frame of one publication, with the time
// at which it arrived. It keeps sums per second of arrival and looks at them when
// a second is over, so that a frame costs some additions. It starts no
// goroutine and reads no clock. Seven things are looked at, each in a file of its own:
//
//	keyframes.go  distance of keyframes       KEYFRAME_INTERVAL
//	grid.go       keyframes of renditions     KEYFRAME_INTERVAL
//	bitrate.go    swings of the bitrate       BITRATE
//	pictures.go   frame rate, missing frames  FRAMES_DROPPED
//	stamps.go     broken timestamps           TIMESTAMPS
//	drift.go      media time against arrival  CLOCK_DRIFT
//	sound.go      audio that does not come    NO_AUDIO
//	reorder.go    latency of B-frames         B_FRAMES
//
// Each track is measured by itself; a warning names the one that it is about where
// there are several of its kind.
//
// A warning begins when its limit is passed and is over when all was well for a
// while, longer each time it comes back (alarm.go): a publication makes at most
// some 140 lines in its timeline in the first hour and 14 in each that follows.
//
// What is wrong with a timestamp, rtmp/clock has repaired before: the frames
// say so in media.Frame.Stamp and Discontinuity.
package health

import (
	"cmp"
	"fmt"
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
	pictures, sounds []*lane       // tracks of each kind, by rising id
	part             time.Duration // the run's part target; 0: not known yet

	now   time.Duration // the newest arrival
	begun bool
	from  int64 // the first second of arrival
	sec   int64 // the one that sums go to
	drift drift // of the first video track, or of the first audio track where there is none

	alarms [codes]alarm
	words  words
	report Report
	news   []News
}

// A lane is what the watcher knows of one track.
type lane struct {
	media.Track                // Codec 0: announced, and no configuration yet
	announced   bool           // by onMetaData
	seen        bool           // a frame came
	first, last time.Duration  // arrival of frames
	sums        [window]second // by second of arrival modulo window

	keys    keyframes
	spacing spacing
	bitrate bitrate
	fps     float64 // in the description
	differ  int     // seconds that the measured rate is another
}

// A second is what arrived of a track in one second.
type second struct {
	frames  int32
	missing int32 // pictures that should be between those that came
	back    int32 // timestamps that went back
	frozen  int32 // that stood still
	early   int32 // PTS before DTS
	far     int32 // PTS too far from DTS
	jumps   int32
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

// lane returns the track's, a new one where there is none.
func (w *Watcher) lane(id media.TrackID) *lane {
	list := &w.sounds
	if id.Video() {
		list = &w.pictures
	}
	at := 0
	for _, l := range *list {
		if l.ID == id {
			return l
		}
		if l.ID < id {
			at++
		}
	}
	l := &lane{Track: media.Track{ID: id}}
	*list = slices.Insert(*list, at, l)
	return l
}

// primary is the first video track that sends, or the first audio track; nil
// when nothing came.
func (w *Watcher) primary() *lane {
	for _, list := range [][]*lane{w.pictures, w.sounds} {
		for _, l := range list {
			if l.seen {
				return l
			}
		}
	}
	return nil
}

// Expect takes what onMetaData announced.
func (w *Watcher) Expect(ids []media.TrackID) {
	for _, id := range ids {
		w.lane(id).announced = true
	}
}

// PartTarget says how long a part is, against which latency is measured.
func (w *Watcher) PartTarget(d time.Duration) { w.part = d }

// Track takes a track's configuration, at first or when it changed, and reports
// whether that changed Report.
func (w *Watcher) Track(t media.Track, at time.Duration) bool {
	l := w.lane(t.ID)
	if l.Track = t; t.Codec.Video() {
		l.spacing.forget()
	}
	w.advance(at)
	return w.describe()
}

// Frame takes the next frame of sizeBytes, which arrived at that time since the
// publication began. It reports whether Report changed or there are News.
func (w *Watcher) Frame(f media.Frame, sizeBytes int, at time.Duration) bool {
	changed := w.advance(at)
	l := w.lane(f.Track)
	if !l.seen {
		l.seen, l.first = true, at
	}
	l.last = at
	s := &l.sums[w.sec%window]
	s.stamp(f)
	if f.Track.Video() {
		l.picture(s, f, sizeBytes, w.now)
	}
	if l == w.primary() {
		w.drift.frame(f, l.Timescale, at)
	}
	return changed
}

// picture takes a frame of video.
func (l *lane) picture(s *second, f media.Frame, sizeBytes int, at time.Duration) {
	s.reorder(f)
	s.frames++
	s.missing += l.spacing.frame(f)
	l.keys.frame(f, at)
	l.bitrate.frame(f, sizeBytes)
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
	for _, list := range [][]*lane{w.pictures, w.sounds} {
		for _, l := range list {
			for s := max(w.sec, sec-window) + 1; s <= sec; s++ {
				l.sums[s%window] = second{}
			}
		}
	}
	w.sec = sec
	return changed
}

// look measures everything.
func (w *Watcher) look() bool {
	for _, l := range w.pictures {
		l.spacing.measure(l.FrameRate)
	}
	before := len(w.news)
	changed := w.warn()
	changed = w.describe() || changed
	return changed || len(w.news) > before
}

// sums are of the last so many seconds: all of the window, once there are.
func (w *Watcher) span() int64 { return min(window, w.sec-w.from+1) }

// sum adds up the window.
func (l *lane) sum() (t second) {
	for i := range l.sums {
		s := &l.sums[i]
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
		t.jumps += s.jumps
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

// details says what passes a limit now, by warning. Each track is measured; the
// first that is beyond a limit is told of, and how many others are, so that a
// ladder with one fault has one warning.
func (w *Watcher) details() (details [codes]string) {
	var others [codes]int
	note := func(code int, l *lane, among []*lane, detail string) {
		switch {
		case detail == "":
		case details[code] == "":
			details[code] = named(l, among) + detail
		default:
			others[code]++
		}
	}
	for _, l := range w.pictures {
		sum := l.sum()
		note(alarmKeyframes, l, w.pictures, cmp.Or(l.keys.check(w.now), w.checkGrid(l)))
		note(alarmPictures, l, w.pictures, w.checkPictures(l, sum))
		note(alarmStamps, l, w.pictures, w.checkStamps(sum))
		note(alarmBitrate, l, w.pictures, l.bitrate.check())
		note(alarmReorder, l, w.pictures, w.checkReorder(sum))
	}
	for _, l := range w.sounds {
		note(alarmSound, l, w.sounds, w.checkSound(l))
		if details[alarmStamps] == "" { // a jump of the encoder is one of each track
			note(alarmStamps, l, w.sounds, w.checkStamps(l.sum()))
		}
	}
	details[alarmDrift] = w.drift.check()
	for code, n := range others {
		if n > 0 {
			details[code] += fmt.Sprintf(" (so it is on %s more)", tracks(n))
		}
	}
	return details
}

// named is what begins a sentence about a track where there are several of its kind.
func named(l *lane, among []*lane) string {
	switch {
	case len(among) < 2:
		return ""
	case l.ID.Video() && l.Width > 0:
		return fmt.Sprintf("video track %d (%dx%d): ", l.ID.Index(), l.Width, l.Height)
	case l.ID.Video():
		return fmt.Sprintf("video track %d: ", l.ID.Index())
	case l.Language != "":
		return fmt.Sprintf("audio track %d (%s): ", l.ID.Index(), l.Language)
	}
	return fmt.Sprintf("audio track %d: ", l.ID.Index())
}

func tracks(n int) string {
	if n == 1 {
		return "one track"
	}
	return fmt.Sprintf("%d tracks", n)
}

// warn looks at each limit. It reports whether the warnings changed.
func (w *Watcher) warn() bool {
	details := w.details()
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
