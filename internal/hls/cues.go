package hls

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// Bounds of what a playlist tells of cues. It is read again with every part.
const (
	maxCues     = 128      // tags that are listed
	maxCueBytes = 32 << 10 // of their text
	maxWaiting  = 32       // cues that wait for media
	maxCueSpan  = 24 * time.Hour
)

// ErrCue is in the error for a cue that no playlist can hold.
var ErrCue = errors.New("not a cue that can be listed")

// cues are what is told of moments of a run. A cue whose media has not begun
// waits; one that was placed is listed from the next part on, in each rendition,
// so that playlists which end at the same part say the same, and as long as the
// list reaches back to it.
type cues struct {
	waiting []media.Cue // of the present publish
	placed  cueList     // since the newest part
	listed  cueList
	untold  []playlist.DateRange // listed, and not on disk: for the next part that is recorded
	count   int64                // of ranges so far
	serial  int64                // of the newest tag that is listed
	lost    int64                // cues that had to make room, or whose media never came
}

// A cueLine is one tag.
type cueLine struct {
	playlist.DateRange
	until  time.Time // the date up to which it is of use
	serial int64     // rises from tag to tag; parts know how many there were
	size   int       // of its text
	event  uint32
	open   bool // a splice that has not ended
}

// A cueList is some tags, at most maxCues and maxCueBytes.
type cueList struct {
	lines []cueLine
	bytes int // of their text
}

// checkCue reports what in c no playlist can hold.
func checkCue(c *media.Cue) error {
	switch {
	case len(c.Class) > media.MaxCueClass || len(c.Data) > media.MaxCueData || len(c.Section) > media.MaxCueSection,
		c.Duration < 0 || c.Duration > maxCueSpan,
		!utf8.ValidString(c.Data) || !utf8.ValidString(c.Class),
		strings.ContainsFunc(c.Class, func(r rune) bool { return r < ' ' || r == '"' || r == 0x7f }):
		return ErrCue
	}
	return nil
}

// The methods of Stream below are the writers' side: the caller holds mu.

// writeCue places a cue, or lets it wait for the media that it belongs to.
func (s *Stream) writeCue(c media.Cue) (media.Mark, error) {
	if err := checkCue(&c); err != nil {
		return media.Mark{}, err
	}
	switch {
	case c.Now && !s.progress.Load().Playable:
		return media.Mark{}, livestream.ErrNotActive
	case c.Now:
		return s.cues.place(&c, s.newest(), s.epoch), nil
	case !s.running || !s.dates.begun:
		if len(s.cues.waiting) == maxWaiting {
			s.cues.waiting = slices.Delete(s.cues.waiting, 0, 1)
			s.cues.lost++
		}
		s.cues.waiting = append(s.cues.waiting, c)
		return media.Mark{}, nil
	}
	return s.cues.place(&c, s.cueDate(c.At), s.epoch), nil
}

// placeWaiting places what waited for the first part of the domain that has begun:
// only then are its dates known. A cue of what
// was left out before it is told at its begin: an ad break that began then is on.
func (s *Stream) placeWaiting() {
	for i := range s.cues.waiting {
		c := &s.cues.waiting[i]
		s.cues.place(c, s.cueDate(c.At), s.epoch)
	}
	s.cues.waiting = nil
}

// cueDate is the date of a time of the publication's, which is in the present
// domain or taken as its begin.
func (s *Stream) cueDate(at int64) time.Time {
	c := s.clock()
	x := at*c.scale/media.VideoTimescale + c.lead.offset
	return s.date(c.duration(max(x, c.domain) - c.domain))
}

// clock is the cutter by which the present domain's time is told.
func (s *Stream) clock() *cutter {
	if s.lead.cut != nil {
		return s.lead.cut
	}
	for _, r := range s.all { // of several renditions one has media
		if r.cut != nil {
			return r.cut
		}
	}
	return s.main.cut
}

// newest is the date of the newest media.
func (s *Stream) newest() time.Time {
	switch {
	case s.running:
		c := s.clock()
		return s.date(c.duration(max(c.start, c.lead.end) - c.domain))
	case s.holding:
		return s.main.held.date(s.main.held.at)
	}
	return s.over
}

// forget drops what waits for media that will not come: that of a publish which
// is over.
func (q *cues) forget() {
	q.lost += int64(len(q.waiting))
	q.waiting = nil
}

// endSplices ends what an earlier session left open.
func (q *cues) endSplices() {
	for _, list := range [...]*cueList{&q.listed, &q.placed} {
		for i := range list.lines {
			list.lines[i].open = false
		}
	}
}

// place lists a cue at that date.
func (q *cues) place(c *media.Cue, date time.Time, epoch int64) media.Mark {
	date = date.UTC().Truncate(time.Millisecond) // as it is printed
	line := cueLine{event: c.Event}
	line.Start, line.Class, line.Data = date, c.Class, playlist.EscapeData(c.Data)
	if c.Planned {
		line.Planned = c.Duration
	} else if c.Splice != media.SpliceOut || c.Duration > 0 {
		line.Duration, line.Known = c.Duration, true
	}
	line.until = line.End()
	section := playlist.Hex(c.Section)
	switch out := q.find(c.Event); {
	case c.Splice == media.SpliceOut && out != nil:
		return media.Mark{ID: out.ID, Date: out.Start} // told again, for those who join
	case c.Splice == media.SpliceOut:
		line.ID, line.Out, line.open = q.id("splice", epoch), section, true
	case c.Splice == media.SpliceIn && out != nil:
		q.end(&line, out, date)
		line.In = section
	case c.Splice == media.SpliceIn:
		line.ID, line.In = q.id("splice", epoch), section
	case c.Splice == media.SpliceCommand:
		line.ID, line.Command = q.id("splice", epoch), section
	default:
		line.ID = q.id("cue", epoch)
	}
	line.size = len(line.AppendText(nil))
	q.lost += q.placed.add(line)
	return media.Mark{ID: line.ID, Date: line.Start}
}

// end makes line the tag that ends the splice out: both say the same where both
// say something.
func (q *cues) end(line, out *cueLine, date time.Time) {
	line.ID, line.Class, line.Start = out.ID, out.Class, out.Start
	line.Planned, line.Known, line.Duration = 0, true, max(0, date.Sub(out.Start))
	if out.Known {
		line.Duration = out.Duration
	}
	if out.Data != "" {
		line.Data = ""
	}
	line.until = line.End()
	out.open, out.until = false, line.until
}

// find returns the splice of that event that has not ended, or nil.
func (q *cues) find(event uint32) *cueLine {
	for _, list := range [...]*cueList{&q.listed, &q.placed} {
		for i := range list.lines {
			if l := &list.lines[i]; l.open && l.event == event {
				return l
			}
		}
	}
	return nil
}

// id names a range. Epochs rise with each publish, also over a restart.
func (q *cues) id(kind string, epoch int64) string {
	q.count++
	return kind + "-" + number(epoch) + "-" + number(q.count)
}

// list lists what was placed, with a part that was made, and returns the serial
// of the newest tag.
func (q *cues) list() int64 {
	for _, l := range q.placed.lines {
		q.serial++
		l.serial = q.serial
		q.lost += q.listed.add(l)
		if len(q.untold) < maxCues {
			q.untold = append(q.untold, l.DateRange)
		}
	}
	q.placed = cueList{}
	return q.serial
}

// recall lists what a run that goes on had told before a restart.
func (q *cues) recall(all []playlist.DateRange) {
	for _, r := range all {
		line := cueLine{DateRange: r, until: r.End()}
		line.size = len(line.AppendText(nil))
		q.listed.add(line)
	}
}

// expire forgets what ended before the date at which the playlist begins. A
// splice that tells no end stays until it has one.
func (q *cues) expire(begins time.Time) {
	begins = begins.Truncate(time.Millisecond) // as it is printed
	if len(q.listed.lines) > 0 {
		q.listed.drop(func(l *cueLine) bool { return l.until.Before(begins) && (!l.open || l.Known || l.Planned > 0) })
	}
}

// upTo appends the tags that there were when a part was made.
func (q *cues) upTo(serial int64, dst []playlist.DateRange) []playlist.DateRange {
	for i := range q.listed.lines {
		if l := &q.listed.lines[i]; l.serial <= serial {
			dst = append(dst, l.DateRange)
		}
	}
	return dst
}

// add appends a tag. Where there are too many the oldest range makes room, with
// all its tags; it returns how many did.
func (list *cueList) add(line cueLine) (lost int64) {
	list.lines = append(list.lines, line)
	list.bytes += line.size
	for len(list.lines) > maxCues || list.bytes > maxCueBytes {
		lost++
		oldest := list.lines[0].ID
		list.drop(func(l *cueLine) bool { return l.ID == oldest })
	}
	return lost
}

func (list *cueList) drop(gone func(*cueLine) bool) {
	list.lines = slices.DeleteFunc(list.lines, func(l cueLine) bool {
		if !gone(&l) {
			return false
		}
		list.bytes -= l.size
		return true
	})
}
