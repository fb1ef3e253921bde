package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

const (
	churners  = 16 // livestreams that are published to in turns, at once
	churnTags = 60 // of each publish: about a second of media, sent at once
	// churnRest lets playlists that outlive their sessions go: 10 s until their
	// ENDLIST, a window until they are gone, and as long again for their media.
	churnRest = 50 * time.Second
)

// churn makes many short publishes, each playable and cleanly ended, and looks
// whether memory grows with their number.
func (b *bench) churn(ctx context.Context) error {
	clip, err := b.loadClip()
	if err != nil {
		return err
	}
	t, err := b.startTally(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	var targets []target
	for i := range churners {
		to, err := t.create(ctx, fmt.Sprintf("bench churn %d", i))
		if err != nil {
			return err
		}
		targets = append(targets, to)
	}
	rest := churnRest
	if b.Short {
		rest = 2 * time.Second
	}
	var after [2]usage // a quarter of the publishes, and all
	var inUse [2]float64
	for i, n := range [2]int{b.Publishes / 4, b.Publishes - b.Publishes/4} {
		began := time.Now()
		if err := churnAll(ctx, targets, clip, n); err != nil {
			return err
		}
		b.say("churn: %d publishes in %v", n, time.Since(began).Round(time.Second))
		if err := pause(ctx, rest); err != nil {
			return err
		}
		if err := t.collect(ctx); err != nil {
			return err
		}
		if after[i], err = t.usage(); err != nil {
			return err
		}
		p, err := t.look(ctx, "heap?debug=1", 10*time.Second)
		if err != nil {
			return err
		}
		if b.Profile != "" {
			if err := os.WriteFile(filepath.Join(b.Profile, fmt.Sprintf("churn-%d-heap.txt", i)), p, 0o644); err != nil {
				return err
			}
		}
		_, text, _ := bytes.Cut(p, []byte("\n# HeapInuse = ")) // the memory statistics stand at its end
		if _, err := fmt.Sscan(string(text), &inUse[i]); err != nil {
			return fmt.Errorf("the server's heap profile: %w", err)
		}
	}
	few, all := inUse[0]/1e6, inUse[1]/1e6
	b.add(row{Scenario: "churn", What: fmt.Sprintf("heap in use after %d short publishes", b.Publishes), Unit: "MB", Ours: all}.
		goal(fmt.Sprintf("<= 1.1x that after %d", b.Publishes/4), all <= 1.1*few).
		noted(fmt.Sprintf("after %d: %s MB", b.Publishes/4, figure(few))))
	mb := func(u usage) float64 { return float64(u.heap) / 1e6 }
	few, all = mb(after[0]), mb(after[1])
	b.add(row{Scenario: "churn", What: fmt.Sprintf("memory resident after %d short publishes", b.Publishes), Unit: "MB", Ours: all}.
		noted(fmt.Sprintf("after %d: %s MB; with what is free and not yet given back", b.Publishes/4, figure(few))))
	return nil
}

// churnAll makes n publishes, each livestream's one after another.
func churnAll(ctx context.Context, targets []target, clip *flv.Clip, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for _, to := range targets {
		wg.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				err := publisher.Run(ctx, publisher.Options{URL: to.rtmpURL, Source: &firstTags{Source: publisher.FromClip(clip, false), left: churnTags}})
				if err != nil {
					cancel(fmt.Errorf("short publish: %w", err))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// firstTags is the beginning of a source.
type firstTags struct {
	publisher.Source
	left int
}

// Next implements publisher.Source.
func (s *firstTags) Next() (flv.Tag, error) {
	if s.left--; s.left < 0 {
		return flv.Tag{}, io.EOF
	}
	return s.Source.Next()
}
