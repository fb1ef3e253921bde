package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// A viewer is one scripted player. It has one goroutine and at most one
// connection, and writes what it does into its book.
type viewer struct {
	*client
	*book // of the viewer id that it holds now
	st    *station
	rand  *rand.Rand
	i     int           // its number in the scenario
	span  time.Duration // how long its script lasts
	ends  time.Time     // when the scenario is over

	// How it plays.
	parts    bool      // parts by blocking reloads; otherwise whole segments by polls
	hints    bool      // takes the hinted part before it is listed
	times    int       // how often it asks for each piece of media; 0: once
	fresh    bool      // a new connection for each request
	query    string    // of the multivariant playlist
	tolerant bool      // answers other than 200 are part of the scenario
	head     *playhead // of players that send beacons

	dir   string // of the media playlist, with its last slash
	list  playlist.Media
	next  position
	saved time.Time     // when list was fetched
	took  time.Duration // distinct media fetched in all, as listed
	late  int           // how often media had left before it was asked for
}

// A position is the next part to fetch; part 0 is the whole segment, too.
type position struct {
	msn  int64
	part int
}

var (
	errOver = errors.New("the playlist has ended")
	errGone = errors.New("it is not there")
	errFar  = errors.New("it asks for what is too far ahead")
)

// join asks for the multivariant playlist, which gives the viewer id, and for
// the media playlist, and puts the player near the live edge.
func (v *viewer) join() error {
	if err := v.meet(); err != nil {
		return err
	}
	return v.enter()
}

// meet asks for the multivariant playlist alone.
func (v *viewer) meet() error {
	r, err := v.get(request{path: v.st.multivariant() + v.query, keep: true, hold: 10 * time.Second})
	if err != nil {
		return err
	}
	m, err := playlist.ParseMultivariant(string(r.body))
	if err != nil || len(m.Variants) == 0 {
		return fmt.Errorf("multivariant playlist: %w\n%s", err, r.body)
	}
	v.dir = path.Dir("/hls/"+v.st.pid+"/"+m.Variants[0].URI) + "/"
	id := path.Base(v.dir)
	if v.book != nil && v.book.id == id {
		return nil // it came back with the id that it had
	}
	v.hold(newBook(id))
	return nil
}

// hold makes b the viewer's book.
func (v *viewer) hold(b *book) {
	if v.book != nil {
		b.tier = v.book.tier
	}
	b.shared, b.presence, b.stepLimit = v.st.shared, v.st.presence(), 2*v.st.target
	if b.shared {
		b.tier = byPlaylist
	}
	v.book = b
	v.st.keep(b)
}

// enter loads the media playlist and goes to the live edge.
func (v *viewer) enter() error {
	if err := v.load(playlist.NoDirectives); err != nil {
		return err
	}
	v.edge()
	return nil
}

// get makes a request of the station. A 503 is asked again while the scenario
// lasts: it is what a server that starts says.
func (v *viewer) get(rq request) (reply, error) {
	rq.host = v.st.via
	if host, rest, ok := strings.Cut(strings.TrimPrefix(rq.path, "http://"), "/"); ok && host != "" && rq.path[0] != '/' {
		rq.host, rq.path = host, "/"+rest
	}
	for {
		if v.fresh {
			v.close()
			rq.header = fmt.Sprintf("X-Forwarded-For: 203.0.113.%d\r\n", v.rand.IntN(255))
		}
		r, err := v.do(rq)
		if err == nil && r.status == http.StatusOK {
			return r, nil
		}
		if v.ctx.Err() != nil {
			return r, context.Cause(v.ctx)
		}
		again := err == nil && r.status == http.StatusServiceUnavailable ||
			v.tolerant && (err != nil || r.status == http.StatusBadGateway) // a cache says that its server is gone
		if !again || time.Now().After(v.ends.Add(slack)) {
			if err == nil {
				err = fmt.Errorf("%s: answered %d", rq.path, r.status)
				switch r.status {
				case http.StatusNotFound:
					err = fmt.Errorf("%w: %w", errGone, err)
				case http.StatusBadRequest:
					err = fmt.Errorf("%w: %w", errFar, err)
				}
			}
			return r, err
		}
		if err := sleep(v.ctx, 300*time.Millisecond); err != nil {
			return r, err
		}
	}
}

// load fetches the media playlist.
func (v *viewer) load(d playlist.Directives) error {
	query := string(d.AppendQuery(nil))
	if query != "" {
		query = "?" + query
	}
	r, err := v.get(request{path: v.dir + "index.m3u8" + query, keep: true, hold: 3 * v.st.target})
	if err != nil {
		return err
	}
	at := time.Now() // who is answered was there for the whole wait
	v.asks(at)
	if v.shared {
		v.seen(v.st.of(at), at)
	}
	if err := v.list.Parse(string(r.body)); err != nil {
		return fmt.Errorf("media playlist: %w\n%s", err, r.body)
	}
	v.saved = time.Now()
	for i := range v.list.Segments {
		s, msn := &v.list.Segments[i], v.list.FirstMSN()+int64(i)
		if c := v.covers[msn]; c != nil && s.Held() {
			c.held = true
		}
		if len(v.hinted) > 0 {
			v.learn(s, msn)
		}
	}
	return nil
}

// edge goes to where a player begins: the hold-back before the end.
func (v *viewer) edge() {
	hold := v.list.HoldBack
	if v.parts {
		hold = v.list.PartHoldBack
	}
	left := v.list.Length() - hold
	v.next = position{msn: v.list.FirstMSN()}
	for i := range v.list.Segments {
		s := &v.list.Segments[i]
		if left < s.Length() || i == len(v.list.Segments)-1 {
			v.next.msn += int64(i)
			return
		}
		left -= s.Length()
	}
}

// back goes to the oldest segment that is listed.
func (v *viewer) back() { v.next = position{msn: v.list.FirstMSN()} }

// play plays until a time, and ends between two pieces of media.
func (v *viewer) play(until time.Time) error {
	if v.book == nil || v.dir == "" {
		if err := v.join(); err != nil {
			return err
		}
	}
	for {
		done, err := v.consume(until)
		if errors.Is(err, errGone) && v.late < 20 { // listed once: this player is behind
			v.late++
			if err := v.enter(); err != nil {
				return err
			}
			continue
		}
		if done || err != nil {
			return err
		}
		if v.list.EndList {
			return errOver
		}
		if v.hints && v.list.PreloadHint != "" {
			if err := v.takeHint(); err != nil {
				return err
			}
		}
		if err := v.reload(until); err != nil {
			return err
		}
	}
}

// playFor plays for a while, or to the end of the scenario.
func (v *viewer) playFor(d time.Duration) error {
	at := time.Now().Add(d)
	if at.After(v.ends) {
		at = v.ends
	}
	return v.play(at)
}

// consume fetches what is listed from next on. It reports whether the time is up.
func (v *viewer) consume(until time.Time) (bool, error) {
	for {
		if !time.Now().Before(until) {
			return true, nil
		}
		i := v.next.msn - v.list.FirstMSN()
		if i < 0 {
			v.edge() // the list has moved on: a pause was long
			continue
		}
		if i >= int64(len(v.list.Segments)) {
			return false, nil
		}
		more, err := v.step(&v.list.Segments[i])
		if !more || err != nil {
			return false, err
		}
	}
}

// step fetches the next piece of a segment, if there is one.
func (v *viewer) step(s *playlist.Segment) (bool, error) {
	switch {
	case v.parts && v.next.part < len(s.Parts):
		return true, v.part(s)
	case s.URI == "":
		return false, nil
	case v.next.part == 0 || !v.parts: // a switch amid a segment takes it again
		return true, v.segment(s)
	}
	v.next = position{msn: v.next.msn + 1}
	return true, nil
}

func (v *viewer) part(s *playlist.Segment) error {
	p := &s.Parts[v.next.part]
	var from time.Duration
	for i := range v.next.part {
		from += s.Parts[i].Duration
	}
	v.next.part++
	if p.Gap {
		return nil
	}
	if v.early[path.Base(p.URI)] {
		delete(v.early, path.Base(p.URI))
		if v.times < 2 {
			v.has(s, from, from+p.Duration)
			return nil
		}
	}
	if err := v.media(p.URI); err != nil {
		return err
	}
	v.has(s, from, from+p.Duration)
	return nil
}

func (v *viewer) segment(s *playlist.Segment) error {
	if !s.Gap {
		if err := v.media(s.URI); err != nil {
			return err
		}
		v.has(s, 0, s.Duration)
	}
	v.next = position{msn: v.next.msn + 1}
	return nil
}

// has notes media of the segment at next, or the one before it.
func (v *viewer) has(s *playlist.Segment, from, to time.Duration) {
	fresh := v.fetched(v.next.msn, s.ProgramDateTime, from, to)
	if s.Held() {
		v.cover(v.next.msn).held, fresh = true, 0
	}
	if v.head != nil {
		v.head.advance()
	}
	v.took += fresh
	if !v.shared {
		v.seen(v.st.of(s.ProgramDateTime), time.Now())
	}
	if v.head != nil {
		v.head.got()
	}
}

// media fetches one piece, and discards it.
func (v *viewer) media(uri string) error {
	for i := range max(1, v.times) {
		got, err := v.get(request{path: v.resolve(uri), hold: 3 * v.st.target})
		if i > 0 && errors.Is(err, errGone) {
			break // it was there the first time
		}
		if err != nil {
			return err
		}
		v.bytes += got.size
	}
	return nil
}

// resolve returns what to ask for: a path, or an absolute address.
func (v *viewer) resolve(uri string) string {
	if strings.HasPrefix(uri, "http://") || uri[0] == '/' {
		return uri
	}
	return path.Join(v.dir, uri)
}

// takeHint asks for the part that is to come.
func (v *viewer) takeHint() error {
	name := path.Base(v.list.PreloadHint)
	if v.hinted[name] {
		return nil
	}
	if err := v.media(v.list.PreloadHint); err != nil {
		if errors.Is(err, errGone) {
			return nil // another epoch has other names
		}
		return err
	}
	v.hinted[name] = true
	return nil
}

// reload fetches a playlist that goes further: held by the server, or polled.
func (v *viewer) reload(until time.Time) error {
	if !v.parts {
		pause := v.saved.Add(v.st.target / 2)
		if pause.After(until) {
			pause = until
		}
		if err := sleep(v.ctx, time.Until(pause)); err != nil {
			return err
		}
		return v.load(playlist.NoDirectives)
	}
	d := playlist.NoDirectives
	d.MSN = v.list.NextMSN()
	d.Part = 0
	if open := v.list.Open(); open != nil {
		d.Part = len(open.Parts)
	}
	d.Skip = v.list.CanSkipUntil > 0 && time.Since(v.saved) < v.list.CanSkipUntil/2
	err := v.load(d)
	if errors.Is(err, errFar) && v.tolerant {
		err = v.enter() // the server has forgotten what it had listed
	}
	return err
}

// learn notes what hinted parts that were taken have turned out to be.
func (v *viewer) learn(s *playlist.Segment, msn int64) {
	var from time.Duration
	for _, p := range s.Parts {
		if name := path.Base(p.URI); v.hinted[name] {
			delete(v.hinted, name)
			v.early[name] = true
			v.took += v.fetched(msn, s.ProgramDateTime, from, from+p.Duration)
		}
		from += p.Duration
	}
}

// settle waits until all hinted parts that were taken are listed, so that the
// book is whole when the player leaves.
func (v *viewer) settle() error {
	for range 4 {
		if v.book == nil || len(v.hinted) == 0 {
			return nil
		}
		if err := v.load(playlist.NoDirectives); err != nil {
			return err
		}
		if err := sleep(v.ctx, v.st.longPart); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d hinted parts had left the playlist before they were seen in it: the machine is too busy for this run to show anything", len(v.hinted))
}
