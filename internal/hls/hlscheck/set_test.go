package hlscheck

import (
	"slices"
	"testing"
	"time"

	"tally/internal/hls/hlscheck/origin"
	"tally/internal/hls/playlist"
)

// A pair is two renditions of one programme, each with the report of the other.
type pair struct {
	t    *testing.T
	set  *Set
	o    [2]*origin.Origin
	c    [2]*Checker
	now  time.Time
	edit func(i int, m *playlist.Media) // each playlist before it is shown
}

var pairURLs = [2]string{"https://host/run/v0/index.m3u8", "https://host/run/a0/index.m3u8?x=1"}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, set: NewSet(Options{}), now: time.Unix(1_800_000_000, 0)}
	for i := range p.o {
		var err error
		if p.c[i], err = p.set.Rendition(pairURLs[i]); err != nil {
			t.Fatal(err)
		}
		p.o[i] = origin.New(30)
	}
	return p
}

// step publishes a part of both, and shows the one, then the other.
func (p *pair) step() {
	for i := range p.o {
		p.o[i].Publish()
		p.now = p.now.Add(origin.PartTime / 2)
		p.show(i, p.now)
	}
}

func (p *pair) show(i int, asked time.Time) {
	m, other := p.o[i].Current(), p.o[1-i].Current()
	msn, part := other.NextMSN(), int64(openParts(other))-1
	if part < 0 {
		msn--
		part = int64(len(other.Segments[len(other.Segments)-1].Parts)) - 1
	}
	m.RenditionReports = []playlist.RenditionReport{{URI: []string{"../a0/index.m3u8", "../v0/index.m3u8"}[i], LastMSN: msn, LastPart: part}}
	if p.edit != nil {
		p.edit(i, m)
	}
	p.c[i].Playlist(Observation{At: p.now, Asked: asked, Text: string(m.AppendText(nil))})
}

// setFixtures break the rules of a Set.
var setFixtures = []struct {
	rule, name string
	run        func(*pair)
}{
	{"rendition-grid", "a rendition that cuts half a second later", func(p *pair) {
		p.edit = func(i int, m *playlist.Media) {
			for j := range m.Segments {
				m.Segments[j].ProgramDateTime = m.Segments[j].ProgramDateTime.Add(time.Duration(i) * 500 * time.Millisecond)
			}
		}
		p.step()
	}},
	{"rendition-discontinuity", "a rendition that counted one discontinuity more", func(p *pair) {
		p.edit = func(i int, m *playlist.Media) { m.DiscontinuitySequence += int64(i) }
		p.step()
	}},
	{"report-missing", "a rendition that tells of no other", func(p *pair) {
		p.edit = func(i int, m *playlist.Media) { m.RenditionReports = m.RenditionReports[:i] }
		for range 20 {
			p.step()
		}
	}},
	{"report-ahead", "a report of a part that is not there yet", func(p *pair) {
		p.edit = func(i int, m *playlist.Media) { m.RenditionReports[0].LastPart += 2 }
		p.step()
		p.step()
	}},
	{"report-stale", "reports that stand still", func(p *pair) {
		p.edit = func(i int, m *playlist.Media) { m.RenditionReports[0].LastMSN = 1 }
		for range 20 {
			p.step()
		}
	}},
}

func TestSetFixtures(t *testing.T) {
	for _, fx := range setFixtures {
		t.Run(fx.rule+"/"+fx.name, func(t *testing.T) {
			p := newPair(t)
			fx.run(p)
			found := p.set.Violations()
			if len(found) == 0 || slices.ContainsFunc(found, func(v Violation) bool { return v.Rule != fx.rule }) {
				t.Errorf("found %v, want %s", found, fx.rule)
			}
		})
	}
}

// A good pair breaks no rule; nor does a playlist that was asked for before it was
// told of.
func TestGoodPair(t *testing.T) {
	p := newPair(t)
	for range 40 {
		p.step()
	}
	old := p.o[1].Current()
	early := p.now
	p.o[1].Publish()
	p.now = p.now.Add(time.Second)
	p.show(0, p.now)
	p.c[1].Playlist(Observation{At: p.now, Asked: early, Text: string(old.AppendText(nil))})
	for _, v := range p.set.Violations() {
		if v.Rule != "report-missing" { // the old one tells of nothing
			t.Error(v)
		}
	}
}
