// Package thumbnail makes pictures of broadcasts for pages and link previews.
// It decodes the newest keyframe with ffmpeg where that is installed: one short
// process, at low priority, that is given the bytes on its standard input and may
// open nothing else. A picture is kept until there is a newer keyframe and it is
// five seconds old, so what a broadcast costs does not depend on who asks.
package thumbnail

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MinWidth and MaxWidth bound the width of pictures, in pixels.
	MinWidth = 64
	MaxWidth = 1280

	fresh   = 5 * time.Second  // a picture is not made anew before
	lookFor = 10 * time.Second // how often it is looked whether ffmpeg is there
	maxJPEG = 2 << 20          // bytes that ffmpeg may answer; at quality 4 a noisy 1280x1280 has 1 MB

	// A broadcast that is over keeps its last picture that long, if others do not
	// need the room: a picture in all its widths has 0.3 MB or so.
	keepFor  = 10 * time.Minute
	keepMost = 128
)

// widths are those that pictures have: who asks for another gets the next larger.
var widths = [...]int{MinWidth, 128, 192, 256, 320, 480, 640, 960, MaxWidth}

// What a [Maker] answers instead of a picture.
var (
	// ErrNoDecoder: ffmpeg is not installed.
	ErrNoDecoder = errors.New("no thumbnails: ffmpeg is not on the PATH of this server; install it (apt-get install ffmpeg), they come without a restart")
	// ErrBusy: as many pictures are being made as may be.
	ErrBusy = errors.New("too many thumbnails are being made: try again in a second")
	// ErrPicture: ffmpeg cannot decode the picture.
	ErrPicture = errors.New("ffmpeg on this server cannot decode the picture of this broadcast")
	// ErrNone: there is no keyframe, and no picture of an earlier one.
	ErrNone = errors.New("there is no picture")
)

// A Source is a keyframe as it stands in a playlist: an initialization section
// and the part that begins with the keyframe, in pieces. Name tells it from every
// other keyframe of the broadcast.
type Source struct {
	Name   string
	Pieces [][]byte
}

// A Picture is a JPEG. It is immutable.
type Picture struct {
	Data  []byte
	Width int
	ETag  string // strong, with its quotes
}

// Config of a [Maker]. The zero value works.
type Config struct {
	// FFmpeg is the program; "": ffmpeg on the PATH, looked for when it is needed.
	FFmpeg string
	// AtOnce is how many processes there may be; 0: 2. Eight times as many
	// broadcasts may wait for one; more are answered ErrBusy.
	AtOnce int
	// Deadline is how long a process may take; 0: 5 s.
	Deadline time.Duration
}

// A Maker makes and keeps pictures. It may be used concurrently.
type Maker struct {
	program  string
	deadline time.Duration
	places   chan struct{} // holds one for each process
	queue    chan struct{} // and for each that wants to begin one
	ctx      context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup

	made, failed atomic.Int64

	mu     sync.Mutex // guards what follows
	found  string
	looked time.Time
	kept   map[string]*entry
}

// Stats counts since the start.
type Stats struct{ Made, Failed int64 }

// Stats returns the counters.
func (m *Maker) Stats() Stats { return Stats{m.made.Load(), m.failed.Load()} }

// An entry is one broadcast's pictures.
type entry struct {
	mu    sync.Mutex // guards what follows
	name  string     // of the source that they are of, or that err is about
	at    time.Time  // when that was made; zero: not yet
	sizes sizes      // nil: none could be made so far
	err   error      // instead of a picture of that source
	busy  chan struct{}

	used time.Time // when the broadcast was there last; guarded by Maker.mu
}

// New returns a maker.
func New(c Config) *Maker {
	if c.AtOnce <= 0 {
		c.AtOnce = 2
	}
	if c.Deadline <= 0 {
		c.Deadline = 5 * time.Second
	}
	m := &Maker{program: c.FFmpeg, deadline: c.Deadline, places: make(chan struct{}, c.AtOnce), queue: make(chan struct{}, 9*c.AtOnce), kept: map[string]*entry{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// Close ends what is being made and waits for it.
func (m *Maker) Close() {
	m.stop()
	m.running.Wait()
}

// Width is the width that is made for who asks for that one.
func Width(want int) int {
	for _, w := range widths {
		if want <= w {
			return w
		}
	}
	return MaxWidth
}

// Get returns the picture of a broadcast in a width, or as wide as it is where
// that is less. src is its newest keyframe; nil when there is none any more: then
// the last picture is returned while it is kept. Where there is a picture a newer
// one is not waited for; the first is, and is made also when who asked has gone.
// Errors: ErrNoDecoder, ErrBusy, ErrPicture, ErrNone; the cause of ctx.
func (m *Maker) Get(ctx context.Context, id string, width int, src *Source) (*Picture, error) {
	e := m.entry(id, src != nil)
	if e == nil {
		return nil, ErrNone
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if src != nil && e.due(src) {
		if err := m.begin(e, src); err != nil && e.sizes == nil {
			return nil, err
		}
	}
	for busy := e.busy; e.sizes == nil && busy != nil; busy = nil {
		e.mu.Unlock()
		var err error
		select {
		case <-busy:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		e.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	switch {
	case e.sizes != nil:
		return e.sizes.in(width)
	case e.err != nil:
		return nil, e.err
	}
	return nil, ErrNone
}

// due reports whether a picture of src is to be made. The caller holds mu.
func (e *entry) due(src *Source) bool {
	return e.busy == nil && e.name != src.Name && (e.at.IsZero() || time.Since(e.at) >= fresh)
}

// entry returns a broadcast's entry, which is made for one that is there.
func (m *Maker) entry(id string, there bool) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	e := m.kept[id]
	switch {
	case e == nil && !there:
		return nil
	case e == nil:
		m.makeRoom(now)
		e = &entry{}
		m.kept[id] = e
	case !there && now.Sub(e.used) > keepFor:
		delete(m.kept, id)
		return nil
	}
	if there {
		e.used = now
	}
	return e
}

// makeRoom forgets what nobody needs, and what was there longest ago where that
// is not enough. The caller holds mu.
func (m *Maker) makeRoom(now time.Time) {
	oldest := ""
	for id, e := range m.kept {
		if now.Sub(e.used) > keepFor {
			delete(m.kept, id)
		} else if oldest == "" || e.used.Before(m.kept[oldest].used) {
			oldest = id
		}
	}
	if len(m.kept) >= keepMost {
		delete(m.kept, oldest)
	}
}

// begin begins to make a picture. The caller holds e.mu.
func (m *Maker) begin(e *entry, src *Source) error {
	program := m.look()
	if program == "" {
		return ErrNoDecoder
	}
	select {
	case m.queue <- struct{}{}:
	default:
		return ErrBusy
	}
	if m.ctx.Err() != nil {
		<-m.queue
		return ErrBusy
	}
	busy := make(chan struct{})
	e.busy = busy
	m.running.Go(func() {
		defer func() { <-m.queue }()
		s, err := m.decode(program, src.Pieces)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.name, e.at, e.err, e.busy = src.Name, time.Now(), err, nil
		if err == nil {
			e.sizes = s
			m.made.Add(1)
		} else {
			m.failed.Add(1)
		}
		close(busy)
	})
	return nil
}

// decode has a picture decoded when there is a place.
func (m *Maker) decode(program string, pieces [][]byte) (sizes, error) {
	select {
	case m.places <- struct{}{}: // each is held for the deadline at most
		defer func() { <-m.places }()
	case <-m.ctx.Done():
		return nil, ErrBusy
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.deadline)
	defer cancel()
	data, err := run(ctx, program, pieces)
	if err != nil {
		return nil, err
	}
	return newSizes(data)
}

// look returns the program; "" where there is none.
func (m *Maker) look() string {
	if m.program != "" {
		return m.program
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); m.looked.IsZero() || now.Sub(m.looked) > lookFor {
		m.found, _ = exec.LookPath("ffmpeg")
		m.looked = now
	}
	return m.found
}
