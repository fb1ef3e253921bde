package usage_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/usage"
	"tally/internal/viewer"
)

// tick is how often a scripted player acts.
const tick = 50 * time.Millisecond

// A player watches as its script says, and keeps its own ledger of it: what it
// was given, how long it was there, how long it played.
type player struct {
	id           viewer.ID
	joins, quits time.Duration // since the scenario began
	shared       func(at time.Duration) bool
	paused       func(at time.Duration) bool
	stalled      func(at time.Duration) bool
	away         func(at time.Duration) bool // asks for nothing at all, as an app in the background
	speaks       func(at time.Duration) bool // a beacon that is due can be sent
	loses        func(seq int64) bool        // the beacon arrives, its answer does not
	keepsOn      bool                        // paused, it goes on asking for playlists, as hls.js does
	greedy       int                         // asks for each thing so many times
	hoards       bool                        // takes the whole playlist at once when it joins

	fetched  map[int64]bool
	next     int64
	buffer   time.Duration
	seq      int64
	unsent   time.Duration // played since the beacon before that was answered
	spoke    time.Duration
	lastAsk  time.Duration
	media    time.Duration // the ledger: distinct media
	presence time.Duration // and: time between playlists, each step at most two targets
	played   time.Duration // and: by its own playhead
}

const beaconEvery = 5 * time.Second

func never(time.Duration) bool  { return false }
func always(time.Duration) bool { return true }

// within is true from a to b.
func within(a, b time.Duration) func(time.Duration) bool {
	return func(at time.Duration) bool { return at >= a && at < b }
}

func newPlayer(r *rand.Rand, promises bool) *player {
	p := &player{
		id: newViewerThat(promises), joins: time.Duration(r.Int64N(int64(20 * time.Second))),
		shared: never, paused: never, stalled: never, away: never, speaks: never,
		loses: func(int64) bool { return false }, greedy: 1, fetched: map[int64]bool{}, lastAsk: -1,
	}
	p.quits = p.joins + 10*time.Minute + time.Duration(r.Int64N(int64(time.Minute)))
	return p
}

// step lets the player act at a moment of the scenario.
func (p *player) step(c *usage.Counter, at time.Duration) {
	if at < p.joins || at > p.quits {
		return
	}
	edge := int64((at + time.Minute) / part) // the broadcast began a minute before
	if p.next == 0 {
		p.next = edge - 3
		if p.hoards {
			p.next = edge - listed
		}
	}
	if p.away(at) {
		p.next, p.buffer = edge-3, 0 // it will go on at the edge
		return
	}
	if !p.paused(at) && !p.stalled(at) && p.buffer >= tick {
		p.buffer -= tick
		p.played += tick
		p.unsent += tick
	}
	if at-p.spoke >= beaconEvery && p.speaks(at) || at+tick > p.quits && p.speaks(at) {
		p.tell(c, at)
	}
	for ; p.next < edge && (p.keepsOn || p.buffer < 10*time.Second); p.next++ {
		p.take(c, at)
	}
}

// take fetches a part, or asks for the playlist that lists it.
func (p *player) take(c *usage.Counter, at time.Duration) {
	if p.buffer < 10*time.Second {
		p.buffer += part
	}
	for range p.greedy {
		if p.shared(at) {
			c.Asked(usage.Presence{SessionID: session, Viewer: p.id, Target: target})
		} else {
			giveOf(c, session, p.id, p.next, 1)
		}
	}
	if p.shared(at) {
		if p.lastAsk >= 0 {
			p.presence += min(at-p.lastAsk, 2*target)
		}
		p.lastAsk = at
	} else if !p.fetched[p.next] {
		p.fetched[p.next] = true
		p.media += part
		p.lastAsk = -1
	}
}

func (p *player) tell(c *usage.Counter, at time.Duration) {
	p.spoke = at
	if p.unsent == 0 && p.seq > 0 {
		return // nothing was played
	}
	if c.Awaits(p.id) {
		return // and says it with the next one
	}
	for range p.greedy {
		c.Told(usage.Beacon{SessionID: session, Viewer: p.id, Seq: p.seq + 1, Played: p.unsent})
	}
	if !p.loses(p.seq + 1) {
		p.seq++
		p.unsent = 0
	}
}

// A scenario's players are one kind; exact is what the tier's definition says of
// one of them.
type scenario struct {
	name     string
	promises bool
	script   func(r *rand.Rand, p *player)
	exact    func(p *player) amounts
	limit    float64 // of the signed sum, in parts of one
}

func byDelivery(p *player) amounts { return amounts{media: p.media, playlist: p.presence} }
func byPlayhead(p *player) amounts { return amounts{beacon: p.played} }

var scenarios = []scenario{
	{"media", false, func(r *rand.Rand, p *player) {}, byDelivery, 0.005},
	{"media, paused for 10 minutes", false, func(r *rand.Rand, p *player) {
		p.quits += 10 * time.Minute
		p.paused = within(p.joins+time.Minute, p.joins+11*time.Minute)
		p.away = within(p.joins+2*time.Minute, p.joins+11*time.Minute)
	}, byDelivery, 0.005},
	{"media, the whole playlist at once", false, func(r *rand.Rand, p *player) { p.hoards = true }, byDelivery, 0.005},
	{"media, each request ten times", false, func(r *rand.Rand, p *player) { p.greedy = 10 }, byDelivery, 0.005},
	{"media, stalls", false, func(r *rand.Rand, p *player) {
		p.stalled = func(at time.Duration) bool { return at%(30*time.Second) < 4*time.Second }
	}, byDelivery, 0.005},
	{"playlist", false, shared, byDelivery, 0.05},
	{"playlist, each request ten times", false, func(r *rand.Rand, p *player) { shared(r, p); p.greedy = 10 }, byDelivery, 0.05},
	{"playlist, paused for 10 minutes, still asking", false, func(r *rand.Rand, p *player) {
		shared(r, p)
		p.quits += 10 * time.Minute
		p.keepsOn, p.paused = true, within(p.joins+time.Minute, p.joins+11*time.Minute)
	}, byDelivery, 0.05},
	{"playlist, away for 10 minutes", false, func(r *rand.Rand, p *player) {
		shared(r, p)
		p.quits += 10 * time.Minute
		p.away = within(p.joins+time.Minute, p.joins+11*time.Minute)
	}, byDelivery, 0.05},
	{"from direct to shared", false, func(r *rand.Rand, p *player) {
		p.shared = within(p.joins+5*time.Minute, time.Hour)
	}, byDelivery, 0.005},
	{"from shared to direct and back", false, func(r *rand.Rand, p *player) {
		p.shared = func(at time.Duration) bool { return (at-p.joins)/(2*time.Minute)%2 == 0 }
	}, byDelivery, 0.005},
	{"beacons", false, speaking, byPlayhead, 0.005},
	{"beacons, promised", true, speaking, byPlayhead, 0.005},
	{"beacons, shared", false, func(r *rand.Rand, p *player) { shared(r, p); speaking(r, p) }, byPlayhead, 0.005},
	{"beacons, promised, shared", true, func(r *rand.Rand, p *player) { shared(r, p); speaking(r, p) }, byPlayhead, 0.005},
	{"beacons, stalls and pauses", true, func(r *rand.Rand, p *player) {
		speaking(r, p)
		p.stalled = func(at time.Duration) bool { return at%(40*time.Second) < 3*time.Second }
		p.paused = func(at time.Duration) bool { return at%(90*time.Second) < 30*time.Second }
	}, byPlayhead, 0.005},
	{"beacons, paused for 10 minutes", true, func(r *rand.Rand, p *player) {
		speaking(r, p)
		p.quits += 10 * time.Minute
		p.paused = within(p.joins+time.Minute, p.joins+11*time.Minute)
		p.away = within(p.joins+2*time.Minute, p.joins+11*time.Minute)
	}, byPlayhead, 0.005},
	{"beacons, paused for 10 minutes, shared, still asking", true, func(r *rand.Rand, p *player) {
		shared(r, p)
		speaking(r, p)
		p.quits += 10 * time.Minute
		p.keepsOn, p.paused = true, within(p.joins+time.Minute, p.joins+11*time.Minute)
	}, byPlayhead, 0.005},
	{"beacons, each ten times", true, func(r *rand.Rand, p *player) { speaking(r, p); p.greedy = 10 }, byPlayhead, 0.005},
	{"beacons, lost and sent again", true, func(r *rand.Rand, p *player) {
		speaking(r, p)
		p.speaks = func(at time.Duration) bool { return at/(10*time.Second)%3 != 0 || at+time.Second > p.quits }
		p.loses = func(seq int64) bool { return r.IntN(3) == 0 }
	}, byPlayhead, 0.005},
	{"beacons, over delivery that changes", true, func(r *rand.Rand, p *player) {
		speaking(r, p)
		p.shared = func(at time.Duration) bool { return (at-p.joins)/(2*time.Minute)%2 == 0 }
	}, byPlayhead, 0.005},
	{"beacons, promised and blocked", true, func(r *rand.Rand, p *player) {}, byDelivery, 0.005},
	{"beacons, promised and blocked, shared", true, shared, byDelivery, 0.05},
	{"beacons, blocked for 40 s", true, func(r *rand.Rand, p *player) {
		p.speaks = func(at time.Duration) bool { return at > p.joins+40*time.Second }
	}, byPlayhead, 0.005},
	{"beacons, who leaves within 4 s without any", true, func(r *rand.Rand, p *player) {
		p.quits = p.joins + 4*time.Second
	}, byDelivery, 0.005},
}

func shared(_ *rand.Rand, p *player)   { p.shared = always }
func speaking(_ *rand.Rand, p *player) { p.speaks = always }

// TestScenarios: scripted players of one kind each, against their own ledgers:
// the signed sum, so that errors do not cancel between scenarios, and each
// viewer.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				players := s.players()
				c, l := usage.New(usage.Config{}), &ledger{}
				play(c, l, players, 0, time.Hour)
				l.everybody(t, c)
				s.judge(t, l, players)
			})
		})
	}
}

// players makes some of the kind, always the same ones.
func (s scenario) players() []*player {
	r := rand.New(rand.NewPCG(20260101, 1))
	players := make([]*player, 8)
	for i := range players {
		players[i] = newPlayer(r, s.promises)
		s.script(r, players[i])
	}
	return players
}

// play runs the players from one moment of the scenario to another, or until all
// have left.
func play(c *usage.Counter, l *ledger, players []*player, from, to time.Duration) {
	last := slices.MaxFunc(players, func(a, b *player) int { return cmp.Compare(a.quits, b.quits) })
	for at := from; at < min(to, last.quits+time.Second); at += tick {
		for _, p := range players {
			p.step(c, at)
		}
		if at%(500*time.Millisecond) == 0 {
			l.checkpoint(c)
		}
		time.Sleep(tick)
	}
}

func (s scenario) judge(t *testing.T, l *ledger, players []*player) {
	t.Helper()
	var counted, exact amounts
	for i, p := range players {
		want, got := s.exact(p), l.byViewer(session, p.id.RandomHex())
		counted, exact = counted.plus(got), exact.plus(want)
		if off := got.sum() - want.sum(); max(off, -off) > part+time.Second {
			t.Errorf("viewer %d is counted %+v, want %+v", i, got, want)
		}
		if got.sum() > p.quits-p.joins+(listed+1)*part {
			t.Errorf("viewer %d is counted %+v in %v", i, got, p.quits-p.joins)
		}
	}
	off := float64(counted.sum()-exact.sum()) / float64(exact.sum())
	t.Logf("%+.4f %% of %v; counted %+v", 100*off, exact.sum(), counted)
	if max(off, -off) > s.limit || exact.sum() == 0 {
		t.Errorf("off by %+.3f %%: counted %+v, want %+v", 100*off, counted, exact)
	}
	if rows, windows := l.byViewer("", ""), l.bySession(""); rows != windows {
		t.Errorf("rows have %+v, windows %+v", rows, windows)
	}
}
