package hls

import (
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/hls/archive"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// A Stream is one run of a playback id. The exported methods may be called
// concurrently and take no lock.
type Stream struct {
	registry   *Registry
	playbackID string
	runID      string
	began      time.Time // with the monotonic reading
	stage      atomic.Uint32
	session    atomic.Pointer[string]
	progress   atomic.Pointer[livestream.Progress]
	access     atomic.Value           // see Access
	main       *Rendition             // the run's first: the muxed one, or the lead's of several
	lineup     atomic.Pointer[lineup] // nil before the first media
	retired    atomic.Bool            // see Over
	lingering  atomic.Int64           // bytes of memory that it holds although its playlist has ended

	// mu serialises the writers: the publisher's goroutine, the session's
	// actor, the timers. Viewers never take it.
	mu         sync.Mutex
	generation int64     // of the session's Packager; older ones are ignored
	epoch      int64     // of the publish that may write; 0 before the first
	gone       bool      // that publisher is gone
	complete   bool      // the session has ended: what comes next, if anything, is another's
	published  time.Time // when the newest playlist was
	closing    alarm     // ENDLIST, then the end of the playlist, then removal
	delay      time.Duration
	all        []*Rendition  // video first, by index; a muxed one before them
	several    bool          // each track has a rendition of its own
	lead       *Rendition    // decides where segments end
	grid       *grid         // of the present domain; nil before there were several renditions
	tracks     []media.Track // of the present domain
	running    bool          // there is a domain of media that comes
	holding    bool          // there is one of a held picture
	intake     intake
	timeline   time.Duration // where the decode times of the next domain begin
	over       time.Time     // the date at which the domain before ended
	domainFrom time.Time     // arrival of the domain's first frame
	dates      dating        // of the domain
	jumper     media.TrackID // whose clock jumped, so that the domain began; 0: none
	fresh      bool          // the present publish has made a part
	gop        gopMeter
	keySeen    bool
	sessionMSN int64         // first number that belongs to the present session
	starving   alarm         // looks whether media comes; paces the parts of held
	arrived    time.Duration // when the newest frame that is in a domain came, since Registry.began
	cues       cues
	captions   captions
	dvr        time.Duration     // media time listed, on disk where memory has it no more; 0: in memory alone
	recorder   *archive.Recorder // nil: nothing is put to rest
	pasts      []archive.Past    // of before a restart, until it is known which renditions go on
	pastMark   int64             // the last number of then
	pastDisc   int64             // the discontinuity sequence behind it; 0: nothing is on disk
	fault      error             // why the publication cannot go on; nil while it can
}

// Stage tells where the stream stands. While it waits, the playlist may list
// media of the session before; once it ended, its ENDLIST may still be due.
func (s *Stream) Stage() livestream.Stage { return livestream.Stage(s.stage.Load()) }

// SessionID is the session that publishes into the run, or the last that did.
func (s *Stream) SessionID() string { return *s.session.Load() }

// RunID names the run in URLs.
func (s *Stream) RunID() string { return s.runID }

// Over reports whether the ended playlist has had its time: it is not served any
// more, and the run's media is only for players that loaded it before.
func (s *Stream) Over() bool { return s.retired.Load() }

// Main is the rendition that Window is of.
func (s *Stream) Main() *Rendition { return s.main }

// Window is the run's media: of the lead where there are several renditions.
func (s *Stream) Window() *Window { return &s.main.window }

// newStream begins a run at the numbers behind those that were ever listed.
func newStream(r *Registry, o OpenOptions) *Stream {
	target := time.Duration(o.Run.TargetDuration) * time.Second
	if target <= 0 {
		target = defaultTarget
	}
	s := &Stream{registry: r, playbackID: o.PlaybackID, runID: o.Run.ID, began: time.Now()}
	s.recall(o, max(r.config.Window, 3*target))
	s.main = newRendition(s, o.Run, target)
	s.all, s.lead = []*Rendition{s.main}, s.main
	return s
}

// now is the time by the run's clock: the wall clock as it was when the run began
// in this process, and what has passed since. A wall clock that is set meanwhile
// moves no date of the playlist.
func (s *Stream) now() time.Time { return s.began.Add(time.Since(s.began)) }

// attach hands the stream to a session. The caller holds mu or is the only one
// to know the stream.
func (s *Stream) attach(o OpenOptions) *Packager {
	s.stop(&s.closing)
	s.lingering.Store(0)
	s.interrupt()
	s.endHold()
	s.stop(&s.starving)
	s.intake.reset()
	s.generation++
	s.session.Store(&o.SessionID)
	s.delay = o.EndlistDelay
	s.gone, s.complete = true, false
	s.gop, s.keySeen, s.fault = gopMeter{}, false, nil
	s.cues.forget()
	s.cues.endSplices()
	s.captions = captions{}
	s.sessionMSN = s.main.ring.nextMSN
	s.record(o)
	s.note()
	s.setStage(livestream.StageWaiting)
	return &Packager{s: s, generation: s.generation}
}

func (s *Stream) setStage(to livestream.Stage) {
	if livestream.Stage(s.stage.Swap(uint32(to))) != to {
		s.registry.notify(s.playbackID)
	}
}

// note publishes Progress.
func (s *Stream) note() {
	snap := s.main.window.Current()
	msn, disc := int64(0), int64(0)
	for _, r := range s.all {
		msn, disc = max(msn, r.ring.nextMSN-1), max(disc, r.ring.disc)
	}
	s.progress.Store(&livestream.Progress{
		Playable:      snap.listed && snap.LastMSN+min(1, int64(snap.OpenParts)) >= s.sessionMSN,
		MSN:           msn,
		Discontinuity: disc,
		PartTarget:    s.main.partTarget,
		LongestGOP:    s.gop.longest(),
		KeyframeSeen:  s.keySeen,
		Trouble:       s.trouble(),
	})
}

// How long the last part is listed without ENDLIST: until a player that is up to
// roundTrip away has asked for it, which it does when it hears of the part before, and
// then lastPartFor.
const (
	roundTrip   = 150 * time.Millisecond
	lastPartFor = 30 * time.Millisecond
)

// end ends the session; the playlist gets its ENDLIST after the linger, and as three
// players need it to reach the end. Shaka must not be told of a part that will not
// come: it stands still there. hls.js (to 1.7) never loads a part that it first hears
// of with ENDLIST, unless it is its segment's first; video.js, which asks without
// waiting, must first hear of the last part with ENDLIST, or does not end. So whoever
// waits for the last part hears of that, and then soon of the end.
func (s *Stream) end(linger time.Duration) {
	s.generation++ // the Packager is done
	s.complete = true
	soon := max(lastPartFor, roundTrip-time.Since(s.published))
	s.flush()
	s.endHold()
	s.stop(&s.starving)
	s.gone = true
	if s.recorder != nil {
		s.recorder.End()
	}
	s.intake.reset()
	s.setStage(livestream.StageEnded)
	if !s.main.window.Current().listed {
		s.finish()
		return
	}
	for _, r := range s.all {
		r.publish(false) // without the hint that was given
	}
	s.set(&s.closing, max(linger, soon), s.finish)
}

// finish gives the playlist its ENDLIST. It can be fetched for one window more,
// and its media for as long again as that playlist is.
func (s *Stream) finish() {
	for _, r := range s.all {
		r.publish(true)
	}
	s.setStage(livestream.StageEnded)
	if !s.main.window.Current().listed {
		s.forget()
		return
	}
	s.lingering.Store(s.inMemory())
	s.set(&s.closing, s.main.ring.listFor, s.endWindow)
}

// An alarm is one timer of a stream, guarded by its mu.
type alarm struct{ t *time.Timer } // nil: not set

// set runs f after d with mu held, unless stop or another set of that alarm
// comes before.
func (s *Stream) set(a *alarm, d time.Duration, f func()) {
	s.stop(a)
	if !s.registry.timers.start() {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		defer s.registry.timers.done()
		s.mu.Lock()
		defer s.mu.Unlock()
		if a.t != t {
			return // stopped when it was running already
		}
		a.t = nil
		f()
	})
	a.t = t
}

func (s *Stream) stop(a *alarm) {
	if a.t != nil && a.t.Stop() {
		s.registry.timers.done()
	}
	a.t = nil
}

// A gopMeter measures the time between keyframes, by media time. Pauses and
// jumps of the clock are not in it.
type gopMeter struct {
	most     time.Duration
	last     int64 // DTS of the last keyframe
	newest   int64
	scale    int64
	counting bool
}

func (g *gopMeter) frame(f *media.Frame, scale uint32) {
	if f.Key {
		if g.counting {
			g.most = max(g.most, g.span(f.DTS))
		}
		g.last, g.scale, g.counting = f.DTS, int64(scale), true
	}
	g.newest = f.DTS
}

func (g *gopMeter) span(to int64) time.Duration {
	return playlist.Span(g.last, max(g.last, to), uint32(g.scale))
}

// interrupt forgets the running group of pictures.
func (g *gopMeter) interrupt() { g.counting = false }

// longest counts the running one once it is the longest: an encoder that never
// sends another keyframe has a long interval too.
func (g *gopMeter) longest() time.Duration {
	if !g.counting {
		return g.most
	}
	return max(g.most, g.span(g.newest))
}
