package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// start measures what an operator meets first: how soon the server answers, and
// what it takes when nothing happens.
func (b *bench) start(ctx context.Context) error {
	stat, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	b.add(row{Scenario: "start", What: "binary", Unit: "MB", Ours: float64(stat.Size()) / 1e6})
	old, err := b.dataDir()
	if err != nil {
		return err
	}
	var first, again, yardstick []float64
	for range max(2, 2*b.Rounds-1) {
		fresh, err := b.dataDir()
		if err != nil {
			return err
		}
		for _, m := range []struct {
			dir  string
			into *[]float64
		}{{fresh, &first}, {old, &again}} {
			d, err := b.coldStart(ctx, m.dir)
			if err != nil {
				return err
			}
			*m.into = append(*m.into, millis(d))
		}
		bare, err := startBare(ctx)
		if err != nil {
			return err
		}
		err = healthy(bare.http)
		yardstick = append(yardstick, millis(time.Since(bare.started)))
		bare.stop()
		if err != nil {
			return err
		}
	}
	b.add(row{Scenario: "start", What: "exec to /healthz 200, empty data directory, median", Unit: "ms",
		Ours: median(first), Bare: median(yardstick)}.atMost(300))
	b.add(row{Scenario: "start", What: "the same, second start on a data directory", Unit: "ms",
		Ours: median(again[1:]), Bare: median(yardstick)}.atMost(300))
	return b.idle(ctx, old)
}

func (b *bench) coldStart(ctx context.Context, dir string) (time.Duration, error) {
	t, err := startTally(ctx, b.binary, dir)
	if err != nil {
		return 0, err
	}
	defer t.stop()
	if err := healthy(t.http); err != nil {
		return 0, err
	}
	return time.Since(t.started), nil
}

// idle measures both servers' memory when nothing happens.
func (b *bench) idle(ctx context.Context, dir string) error {
	t, err := startTally(ctx, b.binary, dir)
	if err != nil {
		return err
	}
	defer t.stop()
	bare, err := startBare(ctx)
	if err != nil {
		return err
	}
	defer bare.stop()
	before, err := t.usage()
	if err != nil {
		return err
	}
	const d = 5 * time.Second
	if err := pause(ctx, d); err != nil {
		return err
	}
	ours, err := t.usage()
	if err != nil {
		return err
	}
	theirs, err := bare.usage()
	if err != nil {
		return err
	}
	b.add(row{Scenario: "start", What: "idle resident memory", Unit: "MB", Ours: megabytes(ours.rss), Bare: megabytes(theirs.rss)}.atMost(40))
	b.add(row{Scenario: "start", What: "of it heap and stacks", Unit: "MB", Ours: megabytes(ours.heap), Bare: megabytes(theirs.heap)})
	b.add(row{Scenario: "start", What: "idle CPU", Unit: "% of a core", Ours: percent(ours.cpu-before.cpu, d)})
	return nil
}

// healthy asks for /healthz once.
func healthy(addr string) error {
	c := newConn(addr)
	defer c.close()
	a, err := c.get("/healthz", "")
	if err != nil {
		return err
	}
	if a.status != 200 {
		return fmt.Errorf("/healthz: %d", a.status)
	}
	return nil
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// percent is CPU time as a share of one core.
func percent(cpu, wall time.Duration) float64 { return 100 * float64(cpu) / float64(wall) }
