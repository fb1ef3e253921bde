// Package player is a headless HLS player. It follows a playlist the way a
// browser does (low-latency with blocking reloads, preload hints and delta
// updates, or plain with polls), fetches the media, models a buffer that
// drains in real time, and says how playback went. It decodes nothing.
//
// It is what `tally watch` shows, what tests watch with, and the load
// generator of the benchmarks: players share nothing, and Options.Lean makes
// one cost a goroutine and a connection.
//
// Sections are those of draft-pantos-hls-rfc8216bis-22.
package player

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"tally/internal/hls/hlscheck"
	"tally/internal/hls/playlist"
)

// Errors that Run returns, wrapped with what was asked and answered.
var (
	// ErrNotFound: the first request was answered 404 or 410. Nothing is on air
	// at that URL, or the URL is wrong.
	ErrNotFound = errors.New("no stream at this URL")
	// ErrUnavailable: the server did not hand out a first playlist within
	// Options.StartTimeout.
	ErrUnavailable = errors.New("the stream did not become available in time")
	// ErrGone: a playlist that was being played is no longer there.
	ErrGone = errors.New("the playlist is gone")
	// ErrPlaylist: a playlist that cannot be read.
	ErrPlaylist = errors.New("the playlist cannot be read")
	// ErrMedia: a listed init section, part or segment was not handed out.
	ErrMedia = errors.New("listed media was not handed out")
	// ErrStale: the playlist did not grow for Options.MaxStale.
	ErrStale = errors.New("the playlist has stopped growing")
	// ErrViolations: Options.Check found violations; playback went on. Run
	// returns it only when nothing worse happened.
	ErrViolations = errors.New("the stream breaks rules")
)

// Options say what to play and how. Only URL is needed.
type Options struct {
	URL string // a multivariant or media playlist

	// Variant is which variant of a multivariant playlist is played, from 0: the
	// server lists the one to begin with first.
	Variant int
	// Audio names the audio rendition that is played with it, by NAME or LANGUAGE;
	// "": the default one.
	Audio string

	// Client makes the requests; nil: a client of the player's own, closed with
	// it. A Client.Timeout must be longer than three target durations.
	Client *http.Client

	// TLS is what a client of the player's own trusts over https; nil: the system's
	// certificates.
	TLS *tls.Config

	// LowLatency plays parts with blocking reloads, hints and delta updates,
	// where the playlist offers them. Without it no directive is sent, whole
	// segments are fetched and the playlist is polled.
	LowLatency bool

	// NoHint leaves preload hints alone, as hls.js does: a part is requested
	// once the playlist lists it.
	NoHint bool

	// Discard reads bodies without keeping them: PartInfo.Body is nil. It has
	// no effect together with Check.
	Discard bool

	// Lean is for load: Discard and NoHint, and a small client of our own in place
	// of Client, one goroutine and one connection per player: HTTP/1.1 over plain
	// HTTP, HTTP/2 over TLS.
	Lean bool

	// Check runs the strict checker over everything seen, fetches each whole
	// segment beside its parts, and follows every rendition that a multivariant
	// playlist lists. See Stats.Violations.
	Check bool
	// Rules are the checker's options.
	Rules hlscheck.Options

	// OnPart is called for each part, or whole segment, from Run's goroutine,
	// in order. It must not block: playback waits for it.
	OnPart func(PartInfo)

	StartTimeout time.Duration // until the first playlist; 0: 30 s
	// MaxStale is how long a playlist may stay as it is before playback counts
	// as broken; 0: 90 s, which is a reconnect window and its answers.
	MaxStale time.Duration

	UserAgent string // "": tally-player
}

// PartInfo describes one part, or one whole segment, that was fetched.
type PartInfo struct {
	MSN             int64
	Part            int // index within the segment; -1: the whole segment
	URI             string
	Map             string // URI of the init section that applies
	Init            []byte // which this is; nil with Options.Discard
	Duration        time.Duration
	ProgramDateTime time.Time // of its first sample; zero when the playlist gives none
	Independent     bool
	Discontinuity   bool // the first after EXT-X-DISCONTINUITY
	Hinted          bool // requested ahead, on a preload hint
	Held            bool // a picture that is held while no media comes from the encoder

	Requested time.Time // when its request was sent
	Arrived   time.Time // when its last byte was read
	Size      int64
	Body      []byte // nil with Options.Discard; the callee may keep it
}

const (
	defaultStartTimeout = 30 * time.Second
	defaultMaxStale     = 90 * time.Second
	// requestSlack is what a request may take beyond the time the server may
	// hold it.
	requestSlack = 10 * time.Second
)

// A Player plays one URL once.
type Player struct {
	o     Options
	fetch fetcher
	set   *hlscheck.Set     // with Options.Check
	check *hlscheck.Checker // of the media playlist; nil: it is not checked, or not known yet

	mu     sync.Mutex
	stats  Stats   // mu
	out    playout // mu
	others beside  // mu guards players

	// What follows is owned by Run's goroutine.
	base     location
	scratch  playlist.Media // Lean parses into it again and again
	text     []byte         // playlists are read into it
	cur      *playlist.Media
	next     position
	curMap   string
	curInit  []byte        // nil with Options.Discard
	got      time.Duration // of the segment at next, in parts
	disc     bool          // the next part follows a discontinuity
	date     time.Time     // of the next part, when its segment gives none
	hint     *hintRequest
	hints    sync.WaitGroup
	fullAt   time.Time // when cur was last known to be complete
	changed  time.Time // when the playlist last grew
	reloadAt time.Time
	asked    time.Time // when the newest playlist was
}

// position is the next part to fetch. Part 0 of a segment is also the whole
// segment, in plain mode.
type position struct {
	msn  int64
	part int
}

// New returns a player that has not begun.
func New(o Options) *Player {
	if o.StartTimeout == 0 {
		o.StartTimeout = defaultStartTimeout
	}
	if o.MaxStale == 0 {
		o.MaxStale = defaultMaxStale
	}
	if o.UserAgent == "" {
		o.UserAgent = "tally-player"
	}
	if o.Lean {
		o.NoHint, o.Discard = true, true
	}
	if o.Check {
		o.Discard = false
	}
	p := &Player{o: o}
	p.stats.LastMSN, p.stats.LastPart = -1, -1
	if o.Check {
		p.set = hlscheck.NewSet(o.Rules)
	}
	return p
}

// Run plays until the stream ends (nil), ctx ends (nil), or playback breaks (an
// error that is one of those above, or the transport's). The statistics are
// valid in each case. Run is called once.
func (p *Player) Run(ctx context.Context) (Stats, error) {
	started := time.Now()
	p.mu.Lock()
	p.stats.Started = started
	p.mu.Unlock()

	p.fetch = newFetcher(p.o)
	defer p.fetch.close()
	asked := ctx
	ctx, stop := context.WithCancelCause(ctx)
	err := p.play(ctx, stop)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // of a rendition beside
	}
	if asked.Err() != nil {
		err = nil // asked to stop
	}
	stop(nil)
	p.hints.Wait()
	p.others.wg.Wait()
	if found := p.violations(); err == nil && len(found) > 0 {
		err = fmt.Errorf("%w: %s", ErrViolations, found[0])
	}
	p.mu.Lock()
	p.stats.finish(&p.out, time.Now(), err)
	p.mu.Unlock()
	return p.Stats(), err
}

// Stats returns the statistics so far. It may be called at any time from any
// goroutine.
func (p *Player) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.read(&p.out, time.Now())
	s.Violations = p.violations()
	s.addBeside(&p.others, time.Now())
	return s
}

func (p *Player) violations() []hlscheck.Violation {
	if p.set == nil {
		return nil
	}
	return p.set.Violations()
}

func (p *Player) play(ctx context.Context, broken func(error)) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	if err := p.follow(ctx, broken); err != nil {
		return err
	}
	p.seek()
	for {
		if err := p.consume(ctx); err != nil {
			return err
		}
		if p.cur.EndList {
			return p.drain(ctx)
		}
		p.requestHint(ctx)
		if err := p.reload(ctx); err != nil {
			return err
		}
	}
}

// drain waits until the buffer has been played out.
func (p *Player) drain(ctx context.Context) error {
	p.mu.Lock()
	left := p.out.buffered(time.Now())
	p.stats.Ended = true
	p.mu.Unlock()
	return sleep(ctx, left)
}

func (p *Player) count(f func(s *Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
