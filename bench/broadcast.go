package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// A broadcast is one publisher of the generator: the clip in a loop, in real
// time, until it is stopped.
type broadcast struct {
	began   time.Time     // just before the first byte could be sent
	onAir   chan struct{} // closed when the publish was accepted
	ended   chan struct{}
	cancel  context.CancelFunc
	err     error // valid after ended
	metered *meter
}

// publish starts a broadcast. With stamp each frame carries its number and the
// time at which it was sent.
func publish(ctx context.Context, url string, clip *flv.Clip, stamp bool, end publisher.End) *broadcast {
	return publishSource(ctx, url, publisher.FromClip(clip, true), stamp, end)
}

func publishSource(ctx context.Context, url string, source publisher.Source, stamp bool, end publisher.End) *broadcast {
	ctx, cancel := context.WithCancel(ctx)
	b := &broadcast{
		began: time.Now(), onAir: make(chan struct{}), ended: make(chan struct{}), cancel: cancel,
		metered: &meter{Source: source},
	}
	go func() {
		defer close(b.ended)
		b.err = publisher.Run(ctx, publisher.Options{
			URL: url, Source: b.metered, Speed: 1, Stamp: stamp, End: end,
			OnStart: func() { close(b.onAir) },
		})
	}()
	return b
}

// accepted waits until the server took the publish.
func (b *broadcast) accepted(ctx context.Context) error {
	select {
	case <-b.onAir:
		return nil
	case <-b.ended:
		return fmt.Errorf("publish: %w", b.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the broadcast and waits for that.
func (b *broadcast) stop() error {
	b.cancel()
	<-b.ended
	return b.err
}

// A meter notes when media was sent: the generator's own ledger of what
// ingest_seconds should say. As there, a gap of more than gapLimit ends an
// interval (design section 4).
type meter struct {
	publisher.Source

	mu          sync.Mutex
	sending     int64 // body bytes of the tag handed out last, if it was media
	sent        int64 // bytes of media bodies
	first, last time.Time
	gaps        time.Duration // sum of those that do not count
}

// gapLimit is the longest pause between two media messages that still counts.
const gapLimit = 2 * time.Second

// Next implements publisher.Source. A tag has been sent when the next one is
// asked for.
func (m *meter) Next() (flv.Tag, error) {
	t, err := m.Source.Next()
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sending > 0 {
		m.sent += m.sending
		if m.first.IsZero() {
			m.first = now
		} else if gap := now.Sub(m.last); gap > gapLimit {
			m.gaps += gap
		}
		m.last = now
	}
	m.sending = 0
	if err == nil && t.Type != flv.TypeScript && !flv.IsSequenceHeader(t) {
		m.sending = int64(len(t.Body))
	}
	return t, err
}

// seconds is the time from the first to the last media message sent, less gaps.
func (m *meter) seconds() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (m.last.Sub(m.first) - m.gaps).Seconds()
}

// bytes is how much media was sent.
func (m *meter) bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent
}

// stopAll ends broadcasts at the same time.
func stopAll(airs []*broadcast) (err error) {
	for _, a := range airs {
		a.cancel()
	}
	for i, a := range airs {
		if stopErr := a.stop(); stopErr != nil && err == nil {
			err = fmt.Errorf("publisher %d: %w", i, stopErr)
		}
	}
	return err
}

// sentBy sums what broadcasts have sent.
func sentBy(airs []*broadcast) (sum int64) {
	for _, a := range airs {
		sum += a.metered.bytes()
	}
	return sum
}
