package hls

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Registry holds the runs that this process packages, and those that ended a
// short while ago. All methods may be called concurrently; Stream, Run and
// Changed take no lock that a publisher holds for long.
type Registry struct {
	config Config
	began  time.Time // carries the monotonic reading that arrivals count from
	timers timers

	mu      sync.Mutex                           // serialises changes of streams
	streams atomic.Pointer[map[string][]*Stream] // by playback id, newest first; replaced, never changed

	seed    maphash.Seed
	changed [256]beacon
}

// NewRegistry returns an empty registry.
func NewRegistry(c Config) *Registry {
	r := &Registry{config: c.withDefaults(), began: time.Now(), seed: maphash.MakeSeed()}
	r.streams.Store(&map[string][]*Stream{})
	return r
}

// Open returns the packager of a session. If the run is in memory, the session
// continues it behind a discontinuity; else a playlist begins at Run.MSNMark+1.
// A run that has its ENDLIST is not opened again by a caller that heeds
// Run.EndsAt; if the two cross, the playlist goes on.
func (r *Registry) Open(o OpenOptions) *Packager {
	if s := r.Run(o.PlaybackID, o.Run.ID); s != nil {
		if p := r.reopen(s, o); p != nil {
			return p
		}
	}
	s := newStream(r, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.attach(o)
	r.insert(s)
	s.crowd()
	r.notify(o.PlaybackID)
	return p
}

// reopen lets a session continue s. One that is over is forgotten instead, and nil
// returned: its playlist was told to be gone.
func (r *Registry) reopen(s *Stream, o OpenOptions) *Packager {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired.Load() {
		s.forget()
		return nil
	}
	r.insert(s) // its removal may have been under way
	return s.attach(o)
}

// Stream returns the newest run of a playback id that is not over, or nil when none
// is in memory: never published since the server started, or ended long ago.
func (r *Registry) Stream(playbackID string) *Stream {
	for _, s := range (*r.streams.Load())[playbackID] {
		if !s.Over() {
			return s
		}
	}
	return nil
}

// lingering is the memory that a playback id's runs hold that have ended.
func (r *Registry) lingering(playbackID string) (n int64) {
	for _, s := range r.Streams(playbackID) {
		n += s.lingering.Load()
	}
	return n
}

// Run returns that run of a playback id, which may be an older one that ended
// a short while ago and is over, or nil.
func (r *Registry) Run(playbackID, runID string) *Stream {
	for _, s := range (*r.streams.Load())[playbackID] {
		if s.runID == runID {
			return s
		}
	}
	return nil
}

// insert makes s its playback id's newest stream.
func (r *Registry) insert(s *Stream) {
	r.change(s, func(others []*Stream) []*Stream { return append([]*Stream{s}, others...) })
}

// remove forgets a stream.
func (r *Registry) remove(s *Stream) {
	r.change(s, func(others []*Stream) []*Stream { return others })
	r.notify(s.playbackID)
}

// change replaces the streams of s's playback id. f gets the others in a slice
// of its own.
func (r *Registry) change(s *Stream, f func(others []*Stream) []*Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := maps.Clone(*r.streams.Load())
	others := slices.DeleteFunc(slices.Clone(m[s.playbackID]), func(o *Stream) bool { return o == s })
	if all := f(others); len(all) > 0 {
		m[s.playbackID] = all
	} else {
		delete(m, s.playbackID)
	}
	r.streams.Store(&m)
}

// Changed returns a channel that is closed when that playback id's state
// changes next, or when its stream appears or leaves; now and then also without
// such a change. To miss nothing, ask for the channel before looking at the
// stream. Ids that were never opened cost nothing.
func (r *Registry) Changed(playbackID string) <-chan struct{} {
	return r.beacon(playbackID).watch()
}

func (r *Registry) notify(playbackID string) { r.beacon(playbackID).flash() }

func (r *Registry) beacon(playbackID string) *beacon {
	return &r.changed[maphash.String(r.seed, playbackID)%uint64(len(r.changed))]
}

// Close stops the registry's timers and waits for those that run. Playlists
// stay as they are, without ENDLIST: a run goes on after a restart.
func (r *Registry) Close() {
	r.timers.close()
	for _, all := range *r.streams.Load() {
		for _, s := range all {
			s.mu.Lock()
			s.stop(&s.closing)
			s.stop(&s.starving)
			s.closeRecorder(false)
			s.mu.Unlock()
		}
	}
	r.timers.wait()
}

// A beacon tells of changes to whoever watches. A fixed number of them is
// shared by all playback ids, so that asking after unknown ones leaves nothing
// behind.
type beacon struct {
	mu sync.Mutex
	ch chan struct{} // nil: nobody watches
}

func (b *beacon) watch() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *beacon) flash() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// timers counts the timers that are set, so that Close can wait for them.
type timers struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// start reports whether a timer may be set; done must follow.
func (t *timers) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	return true
}

func (t *timers) done() { t.wg.Done() }
func (t *timers) wait() { t.wg.Wait() }

func (t *timers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}
