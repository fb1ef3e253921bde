package fleet

import (
	"context"
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
)

// killScenarios are watched while the server is killed and comes back.
func killScenarios() []scenario {
	const lost = time.Second // design section 4
	return []scenario{
		{name: "killed: low latency", few: 4, many: 100, watch: throughGaps, tier: byMedia, loss: lost, twice: playlistSpan},
		{name: "killed: one viewer", few: 1, many: 1, watch: throughGaps, tier: byMedia, loss: lost, twice: playlistSpan},
		// The step that the kill falls into has no begin any more.
		{name: "killed: shared", few: 2, many: 30, watch: throughGaps, tier: byPlaylist, loss: lost + 4*time.Second, caches: 1},
		// What was played since the last beacon is told after the restart, once the
		// server has seen media of the viewer. Lost are beacons of the last second
		// before the kill, each of which tells of two seconds.
		{name: "killed: beacons", few: 2, many: 30, watch: tells(ours, steadily), tier: byBeacon, loss: 2 * lost},
	}
}

// playlistSpan is what a viewer may fetch a second time after a restart.
const playlistSpan = 12 * time.Second

// steadily rides over whatever the server does.
func steadily(p *playhead) error {
	p.v.tolerant, p.every = true, 2*time.Second
	return nil
}

// TestKilled kills the server in the middle (SIGKILL) and starts it again.
func TestKilled(t *testing.T) {
	atOnce(t)
	f := newFleet(t, killScenarios())
	c := newCache(t)
	c.upstream = f.server.HTTP
	f.caches = []*cache{c}
	for i := range f.scenarios {
		f.scenarios[i].end = publisher.Cut
	}
	f.run(f.kill)
}

// kill ends the server a third into the run, starts it again, and has the
// encoders come back.
func (f *fleet) kill(ctx context.Context) {
	if sleep(ctx, f.span/3) != nil {
		return
	}
	f.killed = time.Now()
	f.server.Kill()
	f.server.Restart()
	for _, r := range f.runs {
		r.publish.stop() // its connection broke
	}
	f.neighbour.publish.stop()
	if err := f.each(func(r *run) error { return r.station.again(ctx, publisher.Clean) }); err != nil {
		f.t.Error(err)
	}
	if err := f.neighbour.again(ctx, publisher.Clean); err != nil {
		f.t.Error(err)
	}
}
