package hlscheck

import (
	"net/url"
	"sync"
	"time"

	"tally/internal/hls/playlist"
)

// gridTolerance is what segments of one number may begin apart in two
// renditions, by their dates: a frame of sound, and what reordering (B-frames)
// moves decode times by.
const gridTolerance = 250 * time.Millisecond

// A Set follows several media playlists of one programme, the renditions that a
// multivariant playlist leads to. Each has a [Checker]; what they tell of one
// another is checked as they are shown. Its methods may be called from several
// goroutines.
type Set struct {
	o Options

	mu      sync.Mutex // taken with a member's Checker locked, never the other way round
	members []*member
}

// A member is one rendition of a Set.
type member struct {
	url   *url.URL
	check *Checker
	segs  map[int64]placed
	edges []edge        // what it was seen to have, oldest first
	told  told          // the furthest that another told of it
	ended bool          // it has EXT-X-ENDLIST
	span  time.Duration // its target duration
}

// placed is where a segment lies in the programme.
type placed struct {
	at   time.Time
	disc int64
}

// An edge is the newest part of a playlist, and when it was seen.
type edge struct {
	at        time.Time
	msn, part int64
}

// told is what a rendition report says, and when it was read.
type told struct {
	edge
	by string
}

// NewSet returns a set without renditions.
func NewSet(o Options) *Set { return &Set{o: o} }

// Rendition returns the checker of the media playlist at that URL, absolute or
// below a common root, making it at first.
func (s *Set) Rendition(rawURL string) (*Checker, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.find(u); m != nil {
		return m.check, nil
	}
	m := &member{url: u, check: New(s.o), segs: map[int64]placed{}}
	m.check.among = func(o Observation, p *playlist.Media) { s.observe(m, o, p) }
	s.members = append(s.members, m)
	return m.check, nil
}

// Multivariant checks the multivariant playlist at that URL, and what it says of
// each variant against its media playlist.
func (s *Set) Multivariant(at time.Time, rawURL, text string) error {
	base, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	first, err := s.Rendition(rawURL) // what is wrong with itself is told there
	if err != nil {
		return err
	}
	first.Multivariant(at, text)
	m, err := playlist.ParseMultivariant(text)
	if err != nil {
		return nil
	}
	for _, v := range m.Variants {
		u, err := base.Parse(v.URI)
		if err != nil {
			return err
		}
		c, err := s.Rendition(u.String())
		if err != nil {
			return err
		}
		c.leads(v)
	}
	return nil
}

// Violations returns what was found so far in all renditions.
func (s *Set) Violations() []Violation {
	s.mu.Lock()
	members := s.members
	s.mu.Unlock()
	var all []Violation
	for _, m := range members {
		all = append(all, m.check.Violations()...)
	}
	return all
}

// find returns the member at a URL; queries do not count. The caller holds mu.
func (s *Set) find(u *url.URL) *member {
	for _, m := range s.members {
		if m.url.Host == u.Host && m.url.Path == u.Path {
			return m
		}
	}
	return nil
}

// observe compares a playlist of m with what is known of the others. m's Checker
// is locked.
func (s *Set) observe(m *member, o Observation, p *playlist.Media) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.span, m.ended = time.Duration(p.TargetDuration)*time.Second, p.EndList
	m.checkTold(o, p)
	m.note(o.At, p)
	s.checkGrid(m, p)
	if !p.EndList {
		s.checkReports(m, o, p)
	}
}

// checkTold compares a playlist that was asked for after a report of it was read
// with that report.
func (m *member) checkTold(o Observation, p *playlist.Media) {
	asked := o.Asked
	if asked.IsZero() {
		asked = o.At
	}
	if t := m.told; t.by != "" && !asked.Before(t.at) && !has(p, t.msn, int(t.part)) {
		m.check.report("report-ahead", t.msn, "%s told of part %d, the playlist ends at MSN %d with %d parts of the next",
			t.by, t.part, p.NextMSN()-1, openParts(p))
	}
}

// note remembers where the playlist ends and what it lists.
func (m *member) note(at time.Time, p *playlist.Media) {
	e := edge{at: at, msn: p.NextMSN(), part: int64(openParts(p)) - 1}
	if n := len(m.edges); n == 0 || m.edges[n-1].msn != e.msn || m.edges[n-1].part != e.part {
		m.edges = append(m.edges, e)
	}
	for len(m.edges) > 1 && m.edges[1].at.Before(at.Add(-m.span)) {
		m.edges = m.edges[1:]
	}
	disc := p.DiscontinuitySequence
	for i := range p.Segments {
		g := &p.Segments[i]
		if g.Discontinuity {
			disc++
		}
		if g.URI != "" || len(g.Parts) > 0 {
			m.segs[p.FirstMSN()+int64(i)] = placed{g.ProgramDateTime, disc}
		}
	}
	for msn := range m.segs {
		if msn < p.MediaSequence {
			delete(m.segs, msn)
		}
	}
}

// checkGrid compares the segments of m with those of the same numbers of others.
func (s *Set) checkGrid(m *member, p *playlist.Media) {
	for _, other := range s.members {
		if other == m {
			continue
		}
		for msn := p.FirstMSN(); msn <= p.NextMSN(); msn++ {
			a, ok1 := m.segs[msn]
			b, ok2 := other.segs[msn]
			if !ok1 || !ok2 {
				continue
			}
			if a.disc != b.disc {
				m.check.report("rendition-discontinuity", msn, "is in discontinuity %d, in %s in %d", a.disc, other.url, b.disc)
			}
			if apart := a.at.Sub(b.at); !a.at.IsZero() && !b.at.IsZero() && apart.Abs() > gridTolerance {
				m.check.report("rendition-grid", msn, "begins %v after that of %s", apart, other.url)
			}
		}
	}
}

// checkReports checks what a playlist tells of the others.
func (s *Set) checkReports(m *member, o Observation, p *playlist.Media) {
	reported := map[*member]bool{}
	for _, r := range p.RenditionReports {
		u, err := m.url.Parse(r.URI)
		if err != nil {
			m.check.report("report-missing", -1, "a report's URI %q is none", r.URI)
			continue
		}
		other := s.find(u)
		if other == nil {
			continue // nobody follows it
		}
		reported[other] = true
		if t := other.told; t.by == "" || r.LastMSN > t.msn || r.LastMSN == t.msn && r.LastPart > t.part {
			other.told = told{edge{o.At, r.LastMSN, r.LastPart}, m.url.Path}
		}
		if e, ok := other.had(o.At.Add(-m.span)); ok && !other.ended && e.after(r.LastMSN, r.LastPart) {
			m.check.report("report-stale", r.LastMSN, "part %d is told of %s, which had MSN %d with %d parts a target duration ago",
				r.LastPart, other.url.Path, e.msn, e.part+1)
		}
	}
	for _, other := range s.members {
		if _, seen := other.had(o.At.Add(-m.span)); other != m && seen && !other.ended && !reported[other] {
			m.check.report("report-missing", -1, "no report of %s", other.url.Path)
		}
	}
}

// after reports whether the edge lies behind a part that was told of.
func (e edge) after(msn, part int64) bool {
	return msn < e.msn-1 || msn == e.msn-1 && e.part >= 0 || msn == e.msn && part < e.part
}

// had is what the playlist was seen to have at a time.
func (m *member) had(at time.Time) (e edge, ok bool) {
	for _, x := range m.edges {
		if x.at.After(at) {
			break
		}
		e, ok = x, true
	}
	return e, ok
}
