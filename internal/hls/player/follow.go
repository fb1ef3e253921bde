package player

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tally/internal/hls/playlist"
)

// mediaAttempts is how often one piece of media is asked for when the server
// says 503 or the connection breaks.
const mediaAttempts = 4

// errAbsent is in the error for listed media that the server does not have. It
// breaks playback unless the next playlist does not list it any more.
var errAbsent = errors.New("not there")

// seek sets next to the start position: the hold-back before the end (section
// 6.3.3), moved back to where decoding can begin.
func (p *Player) seek() {
	m := p.cur
	hold := m.HoldBack
	if hold == 0 {
		hold = 3 * p.target()
	}
	if p.low() {
		hold = m.PartHoldBack
	}
	left := m.Length() - hold // what lies before the start position
	p.next = position{msn: m.FirstMSN()}
	p.got, p.disc = 0, false
	for i := range m.Segments {
		s := &m.Segments[i]
		if left < s.Length() || i == len(m.Segments)-1 {
			p.next = position{m.FirstMSN() + int64(i), p.seekPart(s, left)}
			return
		}
		left -= s.Length()
	}
}

// seekPart returns the last independent part that starts at or before left.
func (p *Player) seekPart(s *playlist.Segment, left time.Duration) int {
	if !p.low() {
		return 0
	}
	best, at := 0, time.Duration(0)
	for i := range s.Parts {
		if at > max(left, 0) {
			break
		}
		if s.Parts[i].Independent {
			best = i
			p.got = at
		}
		at += s.Parts[i].Duration
	}
	return best
}

// consume fetches all that the current playlist lists from next on.
func (p *Player) consume(ctx context.Context) error {
	for {
		i := p.next.msn - p.cur.FirstMSN()
		if i < 0 {
			p.count(func(s *Stats) { s.Jumps++ })
			p.seek()
			continue
		}
		if i >= int64(len(p.cur.Segments)) {
			return nil
		}
		more, err := p.consumeFrom(ctx, &p.cur.Segments[i])
		if errors.Is(err, errAbsent) {
			// A server that lost it, in a restart, has another list by now.
			if err := p.reload(ctx); err != nil {
				return err
			}
			if p.next.msn < p.cur.FirstMSN() {
				continue
			}
		}
		if err != nil || !more {
			return err
		}
	}
}

// consumeFrom does one step within the segment at next. It returns false when
// the segment is still open and all of it that is listed has been fetched.
func (p *Player) consumeFrom(ctx context.Context, s *playlist.Segment) (bool, error) {
	if s.Map != p.curMap && s.Map != "" {
		if err := p.fetchMap(ctx, s.Map); err != nil {
			return false, err
		}
	}
	if p.next.part == 0 && s.Discontinuity && !p.disc {
		p.disc = true
		p.count(func(st *Stats) { st.Discontinuities++ })
	}
	switch {
	case p.low() && p.next.part < len(s.Parts):
		return true, p.fetchPart(ctx, s)
	case s.URI == "":
		return false, nil
	case p.next.part == 0:
		return true, p.fetchSegment(ctx, s)
	}
	// All its parts were fetched; or some left the playlist before that.
	if s.Duration-p.got > playlist.Precision*time.Duration(p.next.part+1) {
		p.count(func(st *Stats) { st.Jumps++ })
	}
	if p.check != nil && !s.Gap {
		if err := p.checkSegment(ctx, s.URI); err != nil {
			return false, err
		}
	}
	p.count(func(st *Stats) { st.Segments++ })
	p.nextSegment(s)
	return true, nil
}

func (p *Player) nextSegment(s *playlist.Segment) {
	p.next = position{msn: p.next.msn + 1}
	p.got, p.disc = 0, false
	if !s.ProgramDateTime.IsZero() {
		p.date = s.ProgramDateTime.Add(s.Duration)
	}
}

// fetchMap fetches an initialization section.
func (p *Player) fetchMap(ctx context.Context, uri string) error {
	m, err := p.fetchMedia(ctx, uri)
	if err != nil {
		return err
	}
	p.curMap, p.curInit = uri, m.body
	if p.check != nil {
		p.check.Init(uri, m.body)
	}
	p.count(func(s *Stats) { s.Inits++; s.MediaBytes += m.size })
	return nil
}

// fetchPart fetches the part at next, or takes it from the preload hint.
func (p *Player) fetchPart(ctx context.Context, s *playlist.Segment) error {
	part := &s.Parts[p.next.part]
	date := s.ProgramDateTime
	if !date.IsZero() {
		date = date.Add(p.got)
	}
	info := PartInfo{
		MSN: p.next.msn, Part: p.next.part, URI: part.URI, Duration: part.Duration,
		ProgramDateTime: date, Independent: part.Independent, Held: p.held(s),
	}
	p.next.part++
	p.got += part.Duration
	if part.Gap {
		p.gap()
		return nil
	}
	m, hinted, err := p.fetchHinted(ctx, part.URI)
	if err != nil {
		return err
	}
	if p.check != nil {
		p.check.Part(part.URI, m.body)
	}
	info.Hinted = hinted
	p.deliver(info, m)
	return nil
}

// held reports whether the segment at next is a held picture. An open one does
// not say so itself: it goes on with what was before it.
func (p *Player) held(s *playlist.Segment) bool {
	i := p.next.msn - p.cur.FirstMSN() - 1
	return s.Held() || s.URI == "" && !s.Discontinuity && i >= 0 && p.cur.Segments[i].Held()
}

// fetchSegment fetches the whole segment at next.
func (p *Player) fetchSegment(ctx context.Context, s *playlist.Segment) error {
	date := s.ProgramDateTime
	if date.IsZero() {
		date = p.date
	}
	info := PartInfo{
		MSN: p.next.msn, Part: -1, URI: s.URI, Duration: s.Duration,
		ProgramDateTime: date, Independent: p.cur.IndependentSegments, Held: s.Held(),
	}
	if s.Gap {
		p.gap()
		p.nextSegment(s)
		return nil
	}
	m, err := p.fetchMedia(ctx, s.URI)
	if err != nil {
		return err
	}
	if p.check != nil {
		p.check.Segment(s.URI, m.body)
	}
	p.deliver(info, m)
	p.nextSegment(s)
	return nil
}

// checkSegment fetches a whole segment beside its parts, for the checker only.
func (p *Player) checkSegment(ctx context.Context, uri string) error {
	m, err := p.fetchMedia(ctx, uri)
	if err == nil {
		p.check.Segment(uri, m.body)
	}
	return err
}

// gap passes over media that the playlist says is missing.
func (p *Player) gap() { p.count(func(s *Stats) { s.Gaps++ }) }

// deliver accounts for fetched media and hands it on.
func (p *Player) deliver(info PartInfo, m media) {
	info.Map, info.Discontinuity, p.disc = p.curMap, p.disc, false
	info.Requested, info.Arrived, info.Size = m.requested, m.arrived, m.size
	if !p.o.Discard {
		info.Body, info.Init = m.body, p.curInit
	}
	end := info.ProgramDateTime
	if !end.IsZero() {
		end = end.Add(info.Duration)
	}
	now := time.Now()
	p.mu.Lock()
	s := &p.stats
	if !p.out.begun {
		s.Startup = now.Sub(s.Started)
	}
	p.out.add(now, info.Duration, end, info.Held)
	if info.Held {
		s.Held += info.Duration
	}
	s.LastMSN, s.LastPart, s.MediaBytes = info.MSN, info.Part, s.MediaBytes+info.Size
	if info.Part >= 0 {
		s.Parts++
	} else {
		s.Segments++
	}
	if info.Hinted {
		s.HintHits++
	}
	if !end.IsZero() && !info.Held {
		s.ArrivalLatency = info.Arrived.Sub(end)
		s.MaxArrivalLatency = max(s.MaxArrivalLatency, s.ArrivalLatency)
	}
	p.mu.Unlock()
	if p.o.OnPart != nil {
		p.o.OnPart(info)
	}
}

// media is a fetched body with its times.
type media struct {
	requested, arrived time.Time
	size               int64
	body               []byte
	status             int
}

// fetchMedia fetches listed media. 503 and broken connections are tried again;
// any other answer breaks playback, since what is listed must be there
// (section 6.2.1).
func (p *Player) fetchMedia(ctx context.Context, uri string) (media, error) {
	url, err := p.base.resolve(uri)
	if err != nil {
		return media{}, fmt.Errorf("%w: %w", ErrMedia, err)
	}
	for attempt := 1; ; attempt++ {
		m, a, err := p.getMedia(ctx, url, 3*p.target())
		if err == nil && a.status == http.StatusOK {
			return m, nil
		}
		if ctx.Err() != nil {
			return media{}, context.Cause(ctx)
		}
		pause := retryPause
		if err == nil {
			err = fmt.Errorf("answered %d", a.status)
			if a.status != http.StatusServiceUnavailable {
				attempt = mediaAttempts
			}
			if a.status == http.StatusNotFound || a.status == http.StatusGone {
				err = fmt.Errorf("%w: %w", errAbsent, err)
			}
			pause = max(pause, a.retryAfter)
		}
		if attempt >= mediaAttempts {
			return media{}, fmt.Errorf("%w: %s: %w", ErrMedia, url, err)
		}
		p.noteError(fmt.Errorf("%s: %w", url, err))
		if err := sleep(ctx, pause); err != nil {
			return media{}, err
		}
	}
}

// getMedia makes one request. It is also the hint goroutine's: it touches
// nothing that Run's goroutine changes.
func (p *Player) getMedia(ctx context.Context, url string, hold time.Duration) (media, answer, error) {
	m := media{requested: time.Now()}
	a, err := p.fetch.get(ctx, url, hold, reading{discard: p.o.Discard, limit: maxMediaBytes})
	m.arrived, m.size, m.body, m.status = time.Now(), a.size, a.body, a.status
	return m, a, err
}

// hintRequest is the request for a part that does not exist yet. Its goroutine
// ends with the request, writes the fields below done and closes it.
type hintRequest struct {
	uri    string
	cancel context.CancelFunc
	done   chan struct{}
	media  media
	err    error
}

// failed reports whether the request is over and brought nothing.
func (h *hintRequest) failed() bool {
	select {
	case <-h.done:
		return h.err != nil || h.media.status != http.StatusOK
	default:
		return false
	}
}

// requestHint asks for the hinted part, so that it is under way as soon as it
// exists (section 6.3.9). One request is in flight at most.
func (p *Player) requestHint(ctx context.Context) {
	uri := p.cur.PreloadHint
	if p.o.NoHint || !p.low() || p.hint != nil && p.hint.uri == uri && !p.hint.failed() {
		return
	}
	p.dropHint()
	if uri == "" {
		return
	}
	url, err := p.base.resolve(uri)
	if err != nil {
		return // the same part, once listed, gives the error
	}
	ctx, cancel := context.WithCancel(ctx)
	h, hold := &hintRequest{uri: uri, cancel: cancel, done: make(chan struct{})}, 3*p.target()
	p.hint = h
	p.hints.Go(func() {
		defer close(h.done)
		defer cancel()
		h.media, _, h.err = p.getMedia(ctx, url, hold)
	})
}

// dropHint gives up a hint that did not come true: a new epoch has other names
// (section 6.2.6 allows it).
func (p *Player) dropHint() {
	if p.hint != nil {
		p.hint.cancel()
		<-p.hint.done
		p.hint = nil
	}
}

// fetchHinted fetches a listed part, or takes it from the hint's request.
func (p *Player) fetchHinted(ctx context.Context, uri string) (media, bool, error) {
	if h := p.hint; h != nil && h.uri == uri {
		<-h.done
		p.hint = nil
		if h.err == nil && h.media.status == http.StatusOK {
			return h.media, true, nil
		}
	}
	m, err := p.fetchMedia(ctx, uri)
	return m, false, err
}
