package fleet

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// A station is one livestream with what publishes to it and who watches it.
type station struct {
	*server
	name string
	id   string // of the livestream
	pid  string // playback id
	rtmp string // with the key
	clip *flv.Clip
	end  publisher.End // how the first encoder of a session leaves

	// via is HOST:PORT that players ask: the server's, or a cache's in front.
	via    string
	shared bool // delivery
	// neighbour is another livestream of the same server.
	neighbour *station

	// What every playlist of the run says.
	target   time.Duration // EXT-X-TARGETDURATION
	longPart time.Duration // PART-TARGET

	mu       sync.Mutex
	books    []*book
	sessions []airing
	publish  *publish // on air now
	flaws    []error  // what went wrong for players
}

// An airing is one session of the station.
type airing struct {
	id       string
	from, to time.Time // of the dates of its media; zero: no bound
}

// newStation creates a livestream and has its first broadcast behind it, so
// that the next one's target duration is that of its keyframes.
func newStation(s *server, name string, clip *flv.Clip) (*station, error) {
	var l struct {
		ID          string `json:"id"`
		StreamKey   string `json:"stream_key"`
		PlaybackURL string `json:"playback_url"`
	}
	in := map[string]any{"name": name, "tally": map[string]any{"damping_seconds": 0, "endlist_delay_seconds": 0}}
	if err := s.call("POST", "/livestreams", in, &l); err != nil {
		return nil, err
	}
	u, err := url.Parse(l.PlaybackURL)
	if err != nil {
		return nil, fmt.Errorf("playback_url: %w", err)
	}
	return &station{server: s, name: name, id: l.ID, clip: clip, via: s.HTTP,
		pid: strings.Split(u.Path, "/")[2], rtmp: "rtmp://" + s.RTMP + "/live/" + l.StreamKey}, nil
}

// primeTime is long enough for the server to have seen keyframes.
const primeTime = 2500 * time.Millisecond

// prime has one broadcast come and go.
func (st *station) prime(ctx context.Context) error {
	if err := st.air(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, primeTime); err != nil {
		return err
	}
	if err := st.off(); err != nil {
		return err
	}
	st.sessions = nil // nobody watches yet
	delay := map[string]any{"tally": map[string]any{"endlist_delay_seconds": 10}}
	if err := st.call("PATCH", "/livestreams/"+st.id, delay, nil); err != nil {
		return err
	}
	return until(ctx, "the end of the first broadcast", st.idle)
}

// idle reports whether nothing is on air.
func (st *station) idle() (bool, error) {
	var l struct{ Livestream struct{ Status string } }
	if err := st.call("GET", "/livestreams/"+st.id, nil, &l); err != nil {
		return false, err
	}
	if s := l.Livestream.Status; s != "IDLE" {
		return false, fmt.Errorf("it is %q", s)
	}
	return true, nil
}

// A publish is one encoder at work.
type publish struct {
	cancel context.CancelFunc
	onAir  chan struct{}
	ended  chan struct{}
	source *source
	err    error // valid after ended
}

// A source can be told to send nothing more while its connection stands.
type source struct {
	publisher.Source
	frozen atomic.Bool
	done   <-chan struct{}
}

// Next implements publisher.Source.
func (s *source) Next() (flv.Tag, error) {
	if s.frozen.Load() {
		<-s.done
		return flv.Tag{}, io.EOF
	}
	return s.Source.Next()
}

// start begins to publish; end says how the encoder leaves when it is stopped.
func (st *station) start(ctx context.Context, end publisher.End) *publish {
	ctx, cancel := context.WithCancel(ctx)
	p := &publish{cancel: cancel, onAir: make(chan struct{}), ended: make(chan struct{}),
		source: &source{Source: publisher.FromClip(st.clip, true), done: ctx.Done()}}
	go func() {
		defer close(p.ended)
		p.err = publisher.Run(ctx, publisher.Options{
			URL: st.rtmp, Source: p.source, Speed: 1, End: end,
			OnStart: func() { close(p.onAir) },
		})
	}()
	return p
}

func (p *publish) accepted(ctx context.Context) error {
	select {
	case <-p.onAir:
		return nil
	case <-p.ended:
		return fmt.Errorf("publish: %w", p.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *publish) stop() error {
	p.cancel()
	<-p.ended
	return p.err
}

// again publishes once more in the same session.
func (st *station) again(ctx context.Context, end publisher.End) error {
	p := st.start(ctx, end)
	if err := p.accepted(ctx); err != nil {
		return err
	}
	st.publish = p
	return nil
}

// air goes on air with a session of its own.
func (st *station) air(ctx context.Context) error {
	began := time.Now()
	p := st.start(ctx, st.end)
	if err := p.accepted(ctx); err != nil {
		return err
	}
	st.publish = p
	s, err := st.active()
	if err != nil {
		return err
	}
	st.begin(s.ID, began)
	return nil
}

// begin notes that media from a time on is of another session.
func (st *station) begin(id string, at time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := len(st.sessions); n > 0 {
		st.sessions[n-1].to = at
	} else {
		at = time.Time{}
	}
	st.sessions = append(st.sessions, airing{id: id, from: at})
}

// of is the session that media of a date belongs to.
func (st *station) of(date time.Time) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, a := range st.sessions {
		if a.holds(date) {
			return a.id
		}
	}
	return ""
}

// holds reports whether media of a date is the session's.
func (a airing) holds(date time.Time) bool {
	return !date.Before(a.from) && (a.to.IsZero() || date.Before(a.to))
}

// playable waits for the first playlist and reads what stays as it is.
func (st *station) playable(ctx context.Context) error {
	c := &client{ctx: ctx}
	defer c.close()
	var text string
	ask := func(at string) func() (bool, error) {
		return func() (bool, error) {
			r, err := c.do(request{host: st.HTTP, path: at, keep: true, hold: 10 * time.Second})
			text = string(r.body)
			if err == nil && r.status != 200 {
				err = fmt.Errorf("answered %d", r.status)
			}
			return err == nil, err
		}
	}
	if err := until(ctx, st.name+" to be playable", ask(st.multivariant())); err != nil {
		return err
	}
	m, err := playlist.ParseMultivariant(text)
	if err != nil || len(m.Variants) == 0 {
		return fmt.Errorf("%s: multivariant: %w\n%s", st.name, err, text)
	}
	run, id, _ := strings.Cut(path.Dir(m.Variants[0].URI), "/")
	nobody := "/hls/" + st.pid + "/" + run + "/" + other(id, 0) + "/index.m3u8" // this is no viewer
	if err := until(ctx, st.name+" to be playable", ask(nobody)); err != nil {
		return err
	}
	media, err := playlist.ParseMedia(text)
	if err != nil {
		return fmt.Errorf("%s: %w", st.name, err)
	}
	st.target, st.longPart = time.Duration(media.TargetDuration)*time.Second, media.PartTarget
	return nil
}

func (st *station) multivariant() string { return "/hls/" + st.pid + "/index.m3u8" }

// off ends the broadcast as encoders do.
func (st *station) off() error {
	p := st.publish
	st.publish = nil
	if p == nil {
		return nil
	}
	return p.stop()
}

// keep takes a book to the station's truth.
func (st *station) keep(b *book) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.books = append(st.books, b)
}

// flaw notes what went wrong for a player.
func (st *station) flaw(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.flaws = append(st.flaws, err)
}

// presence is how long evidence lasts (design section 4).
func (st *station) presence() time.Duration { return max(3*st.target, 10*time.Second) }

// inflated is the clip with bytes of padding in each picture, so that parts are
// too large for a socket's buffers.
func inflated(clip *flv.Clip, bytes int) *flv.Clip {
	const fillerNAL = 12 // ITU-T H.264 table 7-1: filler data
	nal := make([]byte, 4, 4+bytes)
	nal = append(nal, fillerNAL)
	for range bytes - 2 {
		nal = append(nal, 0xff)
	}
	nal = append(nal, 0x80)
	n := len(nal) - 4
	nal[0], nal[1], nal[2], nal[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	large := &flv.Clip{Duration: clip.Duration}
	for _, t := range clip.Tags {
		if v, err := flv.ParseVideo(t.Body); t.Type == flv.TypeVideo && err == nil && v.Packet == flv.Coded && !v.Info {
			t.Body = append(append(make([]byte, 0, len(t.Body)+len(nal)), t.Body...), nal...)
		}
		large.Tags = append(large.Tags, t)
	}
	return large
}
