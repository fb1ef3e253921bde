package hlscheck

import "tally/internal/hls/playlist"

// From so many ranges, or so much of their text, on a server may take away those
// that are still of use: each reload reads all of them.
const (
	manyRanges = 50
	muchText   = 16 << 10
)

// rangeState is what the checker remembers of date ranges.
type rangeState struct {
	listed map[string][]playlist.DateRange // the tags of each ID, as listed last
	bytes  int                             // of their text
	gone   map[string]bool                 // IDs that have left
}

func newRangeState() rangeState {
	return rangeState{listed: map[string][]playlist.DateRange{}, gone: map[string]bool{}}
}

// checkRanges holds the date ranges of a playlist against each other and against
// those before, and takes note of them.
func (c *Checker) checkRanges(m *playlist.Media) {
	now := map[string][]playlist.DateRange{}
	for _, r := range m.DateRanges {
		for _, other := range now[r.ID] {
			if !agree(&r, &other) {
				c.report("daterange-same", -1, "%s is told to be %+v, and %+v", r.ID, other, r)
			}
		}
		now[r.ID] = append(now[r.ID], r)
		if c.ranges.gone[r.ID] {
			c.report("daterange-stable", -1, "%s had left", r.ID)
		}
	}
	size := 0
	for i := range m.DateRanges {
		size += len(m.DateRanges[i].AppendText(nil))
	}
	crowded := max(len(now), len(c.ranges.listed)) >= manyRanges || max(size, c.ranges.bytes) >= muchText
	for id, old := range c.ranges.listed {
		tags := now[id]
		if len(tags) == 0 {
			c.ranges.gone[id] = true
			if !crowded {
				c.checkLeft(m, id, old)
			}
			continue
		}
		if len(tags) < len(old) {
			c.report("daterange-stable", -1, "%s had %d tags, has %d", id, len(old), len(tags))
			continue
		}
		for i := range old {
			if old[i] != tags[i] {
				c.report("daterange-stable", -1, "%s was %+v, is %+v", id, old[i], tags[i])
			}
		}
	}
	if len(c.ranges.gone) > 10_000 {
		clear(c.ranges.gone)
	}
	c.ranges.listed, c.ranges.bytes = now, size
}

// checkLeft: a range leaves when what it tells of has left.
func (c *Checker) checkLeft(m *playlist.Media, id string, tags []playlist.DateRange) {
	if len(m.Segments) == 0 {
		return
	}
	end := tags[0].End()
	for i := range tags {
		if tags[i].Known {
			end = tags[i].End() // what was only planned counts no more
		}
	}
	if begins := m.Segments[0].ProgramDateTime; !end.Before(begins) {
		c.report("daterange-stays", -1, "%s ends at %v, the playlist begins at %v", id, end, begins)
	}
}

// agree reports whether two tags of one range say the same where both say
// something.
func agree(a, b *playlist.DateRange) bool {
	same := func(x, y string) bool { return x == "" || y == "" || x == y }
	return a.Start.Equal(b.Start) && same(a.Class, b.Class) && same(a.Data, b.Data) && same(a.Command, b.Command) &&
		same(a.Out, b.Out) && same(a.In, b.In) && (!a.Known || !b.Known || a.Duration == b.Duration) &&
		(a.Planned == 0 || b.Planned == 0 || a.Planned == b.Planned)
}
