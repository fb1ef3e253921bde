package fleet

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"tally/internal/hls/playlist"
)

// beaconScenarios are counted by what the players tell of their playheads.
func beaconScenarios() []scenario {
	all := []scenario{
		{name: "beacons: plays", few: 3, many: 40, watch: tells(ours, nothing)},
		{name: "beacons: pauses", few: 3, many: 30, watch: tells(ours, pausing)},
		{name: "beacons: stalls", few: 2, many: 20, watch: tells(ours, stalling)},
		{name: "beacons: hidden, and fetches on", few: 2, many: 20, watch: tells(ours, hidden)},
		{name: "beacons: leaves with a last one, a new player on the page", few: 2, many: 20, watch: tells(ours, reloading)},
		{name: "beacons: lost, answers lost, repeated", few: 3, many: 20, watch: tells(unsure, pausing)},
		{name: "beacons of somebody else's player", few: 2, many: 20, watch: unpromised(ours, pausing), surprise: true},
		{name: "beacons in CMCD", few: 3, many: 20, watch: inCMCD(pausing), surprise: true},
		{name: "beacons, segments from a cache", few: 2, many: 20, watch: tells(ours, pausing), caches: 1},
	}
	for i := range all {
		all[i].tier, all[i].limit = byBeacon, 0.005
	}
	return append(all,
		scenario{name: "beacons: dies without a last one", few: 2, many: 20, watch: dies, tier: byBeacon, limit: 0.005, loss: dyingLoss},
		scenario{name: "beacons promised, none comes", few: 3, many: 20, watch: breaksPromise, tier: byMedia, limit: 0.005})
}

// A playhead moves in real time while it runs and there is media before it.
type playhead struct {
	v       *viewer
	tell    func(p *playhead) error
	changes bool // it tells of each change of its state, also of the first
	running bool
	at      time.Time     // up to which played is known
	told    time.Duration // of played, what the server has confirmed
	every   time.Duration // between beacons
	last    time.Time     // beacon
	seq     int
	err     error
}

func (v *viewer) newPlayhead(tell func(p *playhead) error) *playhead {
	p := &playhead{v: v, tell: tell, every: min(max(2*time.Second, v.span/10), 5*time.Second)}
	v.head = p
	return p
}

// advance moves the playhead to now, or to the end of what was fetched.
func (p *playhead) advance() {
	now := time.Now()
	if p.running {
		p.v.played += max(0, min(now.Sub(p.at), p.v.took-p.v.played))
	}
	p.at = now
}

// got is called when media came.
func (p *playhead) got() {
	if p.last.IsZero() {
		p.last, p.running = p.at, true
		if p.changes {
			p.report()
		}
	}
	if p.at.Sub(p.last) >= p.every {
		p.report()
	}
}

func (p *playhead) set(running bool) {
	p.advance()
	p.running = running
}

// report tells what is new, and notes that the player is there.
func (p *playhead) report() {
	p.advance()
	p.last = p.at
	if err := p.tell(p); err != nil && p.err == nil {
		p.err = err
	}
}

// post sends a beacon. It returns once the server has answered.
func (v *viewer) post(body string) (reply, error) {
	return v.do(request{method: http.MethodPost, host: v.st.via, path: v.dir + "beacon",
		header: "Content-Type: text/plain;charset=UTF-8\r\n", body: []byte(body)})
}

// errEarly is the answer of a server that has just restarted and has seen nothing
// of the viewer: the same is to be told again.
var errEarly = errors.New("a beacon is too early")

// postGood is post of a beacon that is well-formed.
func (v *viewer) postGood(body string) error {
	r, err := v.post(body)
	for v.tolerant && err != nil && v.ctx.Err() == nil && time.Now().Before(v.ends) {
		if err := sleep(v.ctx, 200*time.Millisecond); err != nil {
			return err
		}
		r, err = v.post(body)
	}
	switch {
	case err == nil && v.tolerant && r.status == http.StatusServiceUnavailable:
		err = errEarly
	case err == nil && r.status != http.StatusNoContent:
		err = fmt.Errorf("beacon %s: answered %d", body, r.status)
	}
	return err
}

// ours is our own beacon. What is less than a millisecond waits.
func ours(p *playhead) error {
	p.seq++
	fresh := (p.v.played - p.told).Truncate(time.Millisecond)
	switch err := p.v.postGood(fmt.Sprintf(`{"seq":%d,"played_ms":%d}`, p.seq, fresh.Milliseconds())); {
	case errors.Is(err, errEarly):
		p.seq--
		return nil
	case err != nil:
		return err
	}
	p.told += fresh
	if fresh > 0 {
		p.v.seen(p.v.st.of(time.Now()), time.Now())
	}
	return nil
}

// unsure loses a third of the beacons, and the answers of another third: what
// nobody confirmed is told again under the same number, with what is new.
func unsure(p *playhead) error {
	lot := p.v.rand.IntN(3)
	if p.seq == 0 {
		lot = 2 // who is heard of for 15 s too late was counted by media until then
	}
	switch lot {
	case 0:
		return nil // it never arrives
	case 1:
		told, seq := p.told, p.seq
		err := ours(p)
		p.told, p.seq = told, seq // it did, and nobody here knows
		return err
	}
	if err := ours(p); err != nil {
		return err
	}
	if p.v.rand.IntN(2) == 0 { // twice, as after a broken connection
		return p.v.postGood(fmt.Sprintf(`{"seq":%d,"played_ms":0}`, p.seq))
	}
	return nil
}

// cmcd says how the player stands (CTA-5004-A, event mode).
func cmcd(p *playhead) error {
	p.seq++
	state := "a"
	if p.running {
		state = "p"
	}
	p.told = p.v.played
	p.v.seen(p.v.st.of(p.at), p.at)
	return p.v.postGood(fmt.Sprintf("e=t,pt=%d,sid=\"%.16s\",sn=%d,sta=%s,ts=%d,v=2\n",
		p.v.played.Milliseconds(), p.v.key, p.seq, state, p.at.UnixMilli()))
}

// tells promises beacons and sends them; script is what else it does.
func tells(tell func(*playhead) error, script func(*playhead) error) func(*viewer) error {
	return func(v *viewer) error {
		v.query = "?beacon=1"
		return unpromised(tell, script)(v)
	}
}

// unpromised sends beacons without having said so.
func unpromised(tell func(*playhead) error, script func(*playhead) error) func(*viewer) error {
	return func(v *viewer) error {
		v.parts = v.i%3 != 2
		if v.head == nil {
			v.newPlayhead(tell)
		}
		p := v.head
		if err := v.join(); err != nil {
			return err
		}
		v.tier = byBeacon
		if err := v.playFor(time.Second); err != nil {
			return err
		}
		p.report()
		if err := script(p); err != nil {
			return err
		}
		err := v.play(v.ends)
		p.set(false)
		p.tellAll()
		if err != nil {
			return err
		}
		return p.err
	}
}

// inCMCD reports each change of state, as players do that speak it.
func inCMCD(script func(*playhead) error) func(*viewer) error {
	return func(v *viewer) error {
		v.newPlayhead(cmcd).changes = true
		return unpromised(cmcd, script)(v)
	}
}

// tellAll is the last beacon: a player that leaves does not know which were lost.
func (p *playhead) tellAll() {
	for tries := 0; p.v.played-p.told >= time.Millisecond && tries < 20; tries++ {
		p.report()
	}
}

func nothing(*playhead) error { return nil }

// pausing stops playhead and fetching, two times.
func pausing(p *playhead) error {
	for range 2 {
		if err := p.v.playFor(p.v.span / 6); err != nil {
			return err
		}
		p.set(false)
		p.report()
		if err := sleep(p.v.ctx, p.v.span/8+time.Duration(p.v.rand.IntN(2000))*time.Millisecond); err != nil {
			return err
		}
		p.set(true)
		p.report()
		if err := p.v.load(playlist.NoDirectives); err != nil {
			return err
		}
	}
	return nil
}

// stalling has no network for a while: the playhead goes on to the buffer's end.
func stalling(p *playhead) error {
	if err := p.v.playFor(p.v.span / 3); err != nil {
		return err
	}
	if err := sleep(p.v.ctx, p.v.span/4); err != nil {
		return err
	}
	return p.v.load(playlist.NoDirectives)
}

// hidden shows nothing for a while and fetches all the same.
func hidden(p *playhead) error {
	if err := p.v.playFor(p.v.span / 4); err != nil {
		return err
	}
	p.set(false)
	p.report()
	if err := p.v.playFor(p.v.span / 4); err != nil {
		return err
	}
	p.set(true)
	return nil
}

// reloading leaves with a last beacon, and another player of the same page goes
// on under the same viewer id, which it says when it begins.
func reloading(p *playhead) error {
	v := p.v
	if err := v.playFor(v.span / 3); err != nil {
		return err
	}
	p.set(false)
	p.tellAll()
	v.close()
	if err := sleep(v.ctx, time.Second); err != nil {
		return err
	}
	v.query = "?beacon=1&viewer=" + v.id
	before := v.book
	if err := v.join(); err != nil {
		return err
	}
	if v.book != before {
		return fmt.Errorf("asked for a playlist as viewer %s, and was given %s", before.id, v.id)
	}
	p.set(true)
	return nil
}

// dyingLoss is what a tab that dies takes with it: what was played since its last
// beacon, here one with the first part after 0.6 s.
const dyingLoss = 1200 * time.Millisecond

func dies(v *viewer) error {
	v.query, v.parts = "?beacon=1", true
	p := v.newPlayhead(ours)
	p.every = 600 * time.Millisecond
	if err := v.join(); err != nil {
		return err
	}
	v.tier = byBeacon
	err := v.playFor(v.span/3 + time.Duration(v.rand.Int64N(int64(v.span)/2)))
	p.set(false)
	if err != nil {
		return err
	}
	return p.err
}

// breaksPromise is a page whose beacons are blocked. Every other one has left
// before it could be noticed that none comes.
func breaksPromise(v *viewer) error {
	v.query, v.parts = "?beacon=1", true
	if v.i%2 == 0 {
		return v.playFor(v.span / 3)
	}
	return v.play(v.ends)
}
