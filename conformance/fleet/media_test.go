package fleet

import (
	"context"
	"net"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/rtmp/publisher"
)

// mediaScenarios are counted by the distinct media that viewers were given.
func mediaScenarios() []scenario {
	const limit = 0.005
	all := []scenario{
		{name: "real time, low latency", few: 6, many: 110, watch: lowLatency},
		{name: "plain HLS by segments", few: 4, many: 80, watch: plain},
		{name: "late join", few: 4, many: 60, watch: lateJoin},
		{name: "leaves and returns", few: 4, many: 40, watch: returns},
		{name: "pauses 10 to 20 s", few: 4, many: 50, watch: pauses},
		{name: "switches, the same media as parts and whole", few: 3, many: 40, watch: switches},
		{name: "two tabs each", few: 4, many: 40, watch: lowLatency},
		{name: "asks twice, and plays one", few: 3, many: 30, watch: doubles},
		{name: "a new address for each request", few: 2, many: 20, watch: roams},
		{name: "prefetches, and asks for everything twice", few: 3, many: 30, watch: prefetches},
		{name: "hangs up amid answers", few: 2, many: 4, watch: hangsUp, heavy: true},
		{name: "seeks back", few: 3, many: 30, watch: seeksBack},
		{name: "encoder reconnects, picture held", few: 3, many: 30, watch: throughGaps, encoder: reconnects, end: publisher.Cut},
		{name: "encoder is taken over", few: 3, many: 30, watch: throughGaps, encoder: isTakenOver},
		{name: "new session in the same playlist", few: 3, many: 30, watch: throughGaps, encoder: beginsAnew},
	}
	for i := range all {
		all[i].tier, all[i].limit = byMedia, limit
	}
	return all
}

func lowLatency(v *viewer) error {
	v.parts = true
	return v.play(v.ends)
}

func plain(v *viewer) error { return v.play(v.ends) }

// lateJoin comes at any time; every other one begins with the oldest media listed.
func lateJoin(v *viewer) error {
	if err := sleep(v.ctx, time.Duration(v.rand.Float64()*0.8*float64(v.span))); err != nil {
		return err
	}
	v.parts = v.i%3 != 2
	if err := v.join(); err != nil {
		return err
	}
	if v.i%2 == 0 {
		v.back()
	}
	return v.play(v.ends)
}

// away is longer than a viewer counts as present without evidence.
func (v *viewer) away() error {
	v.close()
	return sleep(v.ctx, v.st.presence()+time.Duration(v.rand.Float64()*float64(v.span/10)))
}

// returns leaves for longer than it counts as present, and comes back with the
// same viewer id, or reloads the page and is another viewer.
func returns(v *viewer) error {
	v.parts = true
	for time.Until(v.ends) > 0 {
		if err := v.playFor(v.span / 5); err != nil {
			return err
		}
		if time.Until(v.ends) < v.st.presence() {
			return v.play(v.ends)
		}
		if err := v.away(); err != nil {
			return err
		}
		if v.i%2 == 0 {
			if err := v.enter(); err != nil {
				return err
			}
		} else if err := v.join(); err != nil {
			return err
		}
	}
	return nil
}

func pauses(v *viewer) error {
	v.parts = v.i%2 == 0
	for time.Until(v.ends) > 0 {
		if err := v.playFor(v.span/5 + time.Duration(v.rand.Int64N(int64(v.span)/20))); err != nil {
			return err
		}
		if time.Until(v.ends) < 12*time.Second {
			return v.play(v.ends)
		}
		pause := 10*time.Second + time.Duration(v.rand.Float64()*float64(min(10*time.Second, time.Until(v.ends)-11*time.Second)))
		if err := sleep(v.ctx, pause); err != nil {
			return err
		}
		if err := v.load(playlist.NoDirectives); err != nil { // goes on where it was, if that is listed
			return err
		}
	}
	return nil
}

// switches takes parts for a while, then whole segments, then parts, with each
// switch amid a segment.
func switches(v *viewer) error {
	for time.Until(v.ends) > 0 {
		v.parts = !v.parts
		if err := v.playFor(1500*time.Millisecond + time.Duration(v.rand.IntN(2000))*time.Millisecond); err != nil {
			return err
		}
		v.next.part = 0 // what was begun is taken again
	}
	return nil
}

// doubles asks for the multivariant playlist two times at first, as browsers do
// that look ahead.
func doubles(v *viewer) error {
	if err := v.join(); err != nil {
		return err
	}
	v.parts = true
	unused := v.book
	if v.i%2 == 0 {
		if err := v.join(); err != nil {
			return err
		}
	} else {
		dir := v.dir
		if err := v.meet(); err != nil {
			return err
		}
		v.dir, v.book = dir, unused // the first is played
	}
	return v.play(v.ends)
}

// roams has a connection from another address for each request, and lies about
// where it is.
func roams(v *viewer) error {
	v.parts, v.fresh = true, true
	v.from = func() net.Addr {
		return &net.TCPAddr{IP: net.IPv4(127, 0, byte(v.rand.IntN(255)), byte(2+v.rand.IntN(250)))}
	}
	return v.play(v.ends)
}

func prefetches(v *viewer) error {
	v.parts, v.hints, v.times = true, true, 2
	return v.play(v.ends)
}

// hangsUp reads a third of an answer and breaks the connection, now and then:
// one half of them takes the same media again, the other goes on without it.
func hangsUp(v *viewer) error {
	if err := v.join(); err != nil {
		return err
	}
	for time.Until(v.ends) > 0 {
		if err := v.playFor(2500 * time.Millisecond); err != nil {
			return err
		}
		i := v.next.msn - v.list.FirstMSN()
		if i < 0 || i >= int64(len(v.list.Segments)) || v.list.Segments[i].URI == "" {
			continue
		}
		rq := request{host: v.st.via, path: v.resolve(v.list.Segments[i].URI), leave: 100_000}
		v.close() // the kernel gives a connection that did well a buffer of megabytes
		v.narrow = true
		if _, err := v.do(rq); err != nil {
			return err
		}
		v.reset()
		v.narrow = false
		if v.i%2 == 0 {
			v.next.msn++
		}
	}
	return nil
}

// seeksBack goes to the oldest media that is listed, twice: most of it was taken
// before, the rest is new to it.
func seeksBack(v *viewer) error {
	v.parts = v.i%2 == 0
	if err := v.playFor(v.span / 3); err != nil {
		return err
	}
	v.back()
	if err := v.playFor(v.span / 3); err != nil {
		return err
	}
	v.back()
	return v.play(v.ends)
}

// throughGaps plays whatever happens to the encoder.
func throughGaps(v *viewer) error {
	v.parts = v.i%2 == 0
	v.tolerant = true
	return v.play(v.ends)
}

// reconnects loses its connection twice: for longer than a target duration, so
// that the picture is held, and for less.
func reconnects(ctx context.Context, st *station, span time.Duration) error {
	for _, gap := range []struct {
		time.Duration
		then publisher.End // how the next encoder leaves
	}{{span / 4, publisher.Reset}, {st.target / 2, publisher.Clean}} {
		if err := sleep(ctx, span/4); err != nil {
			return err
		}
		if err := st.publish.stop(); err != nil {
			return err
		}
		if err := sleep(ctx, gap.Duration); err != nil {
			return err
		}
		if err := st.again(ctx, gap.then); err != nil {
			return err
		}
	}
	return nil
}

// isTakenOver freezes with its connection open, and another encoder comes.
func isTakenOver(ctx context.Context, st *station, span time.Duration) error {
	if err := sleep(ctx, span/3); err != nil {
		return err
	}
	first := st.publish
	first.source.frozen.Store(true)
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := st.again(ctx, publisher.Clean); err != nil {
		return err
	}
	if err := sleep(ctx, span/4); err != nil {
		return err
	}
	first.stop() // too late: it has been replaced, and its error says so
	return nil
}

// beginsAnew ends cleanly and begins a session that continues the playlist.
func beginsAnew(ctx context.Context, st *station, span time.Duration) error {
	if err := sleep(ctx, span/2); err != nil {
		return err
	}
	if err := st.off(); err != nil {
		return err
	}
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	return st.air(ctx)
}
