// Package publisher sends a clip to an RTMP server in real time, as an encoder
// would: `tally publish`, the demo, tests and benchmarks use it.
//
// A [flv.Clip] is only read, so that hundreds of publishers can share one; each
// costs two goroutines and, with Stamp, a buffer of one frame.
package publisher

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"tally/internal/rtmp"
	"tally/internal/rtmp/flv"
)

// An End says how Run leaves the server when it is done or told to stop.
type End int

const (
	Clean End = iota // FCUnpublish and deleteStream
	Cut              // the connection is closed without a word: FIN
	Reset            // the same with a TCP reset
)

// Options say what to publish and where.
type Options struct {
	URL    string // rtmp://host[:port]/live/KEY or rtmps://…
	Source Source
	// Speed is how fast the media clock runs: 1 is real time, 4 four times as
	// fast. 0: as fast as the server takes it.
	Speed float64
	// Stamp puts a Stamp into every video frame.
	Stamp bool
	End   End
	// OnStart is called when the server has accepted the publish; may be nil.
	OnStart func()
	// OnProgress is called by Run about once a second and at the end; may be nil.
	OnProgress func(Progress)
	TLS        *tls.Config // for rtmps://; nil: system roots
	Encoder    string      // what we call ourselves; "": rtmp.DefaultEncoder
	ChunkSize  int         // 0: 64 KB
	// Timeout bounds connecting and being accepted; 0: 15 s.
	Timeout time.Duration
	// Reconnect is how long Run tries to come back when the server asks it to
	// reconnect; 0: that ends it. What was due meanwhile is left out, as encoders
	// do.
	Reconnect time.Duration
	// OnReconnect is called with the server's words when it asks; may be nil.
	OnReconnect func(why error)
}

// Progress tells how far a publish is.
type Progress struct {
	Tags    int64         // media messages sent
	Frames  int64         // video frames of them; the next Stamp's number
	Bytes   int64         // payload sent
	Media   time.Duration // on the clip's clock, since its begin
	Elapsed time.Duration // since the publish was accepted
	Lag     time.Duration // how late the newest tag was sent; 0 with Speed 0
}

// A Source yields tags in the order of sending, with times that never step
// back across a loop. It belongs to one Run. Bodies are shared and only read.
type Source interface {
	// Next returns the next tag, or io.EOF at the end.
	Next() (flv.Tag, error)
}

// FromClip plays a clip once, or with loop for ever: then times go on, and
// metadata and sequence headers are sent the first time only.
func FromClip(c *flv.Clip, loop bool) Source { return &player{clip: c, loop: loop} }

// FromReader plays an FLV file once without holding it in memory.
func FromReader(r io.Reader) (Source, error) { return flv.NewReader(r) }

type player struct {
	clip  *flv.Clip
	loop  bool
	at    int
	shift int64 // ms
}

func (p *player) Next() (flv.Tag, error) {
	for {
		if p.at == len(p.clip.Tags) {
			if !p.loop {
				return flv.Tag{}, io.EOF
			}
			p.at, p.shift = 0, p.shift+p.clip.Duration
		}
		t := p.clip.Tags[p.at]
		p.at++
		if p.loop && !flv.IsFrame(t) {
			if again := p.shift > 0; again || t.Type != flv.TypeScript && !flv.IsSequenceHeader(t) {
				continue // an end of sequence is none when more follows
			}
		}
		t.Time += p.shift
		return t, nil
	}
}

// Run publishes until the source ends, ctx ends or the server refuses. It
// returns nil for the first two. A refusal, also one amid the stream, is a
// *rtmp.StatusError.
func Run(ctx context.Context, o Options) error {
	target, err := rtmp.ParseURL(o.URL)
	if err != nil {
		return err
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	r := &run{o: o, target: target}
	if err := r.connect(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	r.began = time.Now()
	err = r.send(ctx)
	for away, ok := errors.AsType[*rtmp.ReconnectError](err); ok && o.Reconnect > 0; away, ok = errors.AsType[*rtmp.ReconnectError](err) {
		if err = r.comeBack(ctx, away); err == nil {
			err = r.send(ctx)
		} else if ctx.Err() != nil {
			r.report()
			return nil
		}
	}
	r.report()
	return errors.Join(err, r.end(err))
}

// connect publishes to the target.
func (r *run) connect(ctx context.Context) (err error) {
	dial, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	r.c, err = rtmp.Publish(dial, r.target, rtmp.Dial{TLS: r.o.TLS, ChunkSize: r.o.ChunkSize, Encoder: r.o.Encoder, Reconnect: r.o.Reconnect > 0})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", r.target.Host, err)
	}
	if r.o.OnStart != nil {
		r.o.OnStart()
	}
	return nil
}

// run is what is published, over one connection or several that follow each other.
type run struct {
	c        *rtmp.Client
	target   rtmp.Target
	o        Options
	opening  opening
	resuming bool // after a reconnect, until the first keyframe that is due
	began    time.Time
	first    int64 // time of the first media tag, ms
	seen     bool
	p        Progress
	reported time.Time
	scratch  []byte
}

// send sends tag after tag, each when its time has come.
func (r *run) send(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t, err := r.o.Source.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read source: %w", err)
		}
		if err := r.wait(ctx, timer, t); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if r.o.Reconnect > 0 {
			if r.opening.note(t); r.missed(t) {
				continue
			}
		}
		if err := r.c.WriteTag(r.stamped(t)); err != nil {
			return r.why(err)
		}
		r.count(t)
	}
}

// wait waits until t is due. It ends early with ctx or the server.
func (r *run) wait(ctx context.Context, timer *time.Timer, t flv.Tag) error {
	wait := time.Duration(0)
	if flv.IsFrame(t) {
		if !r.seen {
			r.seen, r.first = true, t.Time
		}
		r.p.Media = time.Duration(t.Time-r.first) * time.Millisecond
		if r.o.Speed > 0 {
			wait = time.Duration(float64(r.p.Media)/r.o.Speed) - time.Since(r.began)
			r.p.Lag = max(0, -wait)
		}
	}
	if wait <= 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.c.Done():
			return r.c.Err()
		default:
			return nil
		}
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.c.Done():
		return r.c.Err()
	}
}

// why prefers what the server said over the write error that follows it.
func (r *run) why(err error) error {
	select {
	case <-r.c.Done():
		if s, ok := errors.AsType[*rtmp.StatusError](r.c.Err()); ok {
			return s
		}
		if s, ok := errors.AsType[*rtmp.ReconnectError](r.c.Err()); ok {
			return s
		}
	case <-time.After(time.Second): // its last words may still be under way
	}
	return err
}

func (r *run) stamped(t flv.Tag) flv.Tag {
	if !r.o.Stamp || t.Type != flv.TypeVideo {
		return t
	}
	body, ok := appendStamped(r.scratch[:0], t.Body, Stamp{Frame: uint64(r.p.Frames), Sent: time.Now()})
	if !ok {
		return t
	}
	r.scratch, t.Body = body, body
	return t
}

func (r *run) count(t flv.Tag) {
	r.p.Bytes += int64(len(t.Body))
	if t.Type != flv.TypeScript {
		r.p.Tags++
	}
	if t.Type == flv.TypeVideo && flv.IsFrame(t) {
		r.p.Frames++
	}
	if r.o.OnProgress != nil && time.Since(r.reported) >= time.Second {
		r.report()
	}
}

func (r *run) report() {
	r.reported = time.Now()
	r.p.Elapsed = time.Since(r.began)
	if r.o.OnProgress != nil {
		r.o.OnProgress(r.p)
	}
}

// end leaves the server as asked; after an error there is nobody to be polite to.
func (r *run) end(err error) error {
	switch {
	case r.c == nil: // it could not come back
	case err != nil || r.o.End == Cut:
		r.c.Close()
	case r.o.End == Reset:
		r.c.Reset()
	default:
		return r.c.Unpublish()
	}
	return nil
}
