package archive

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"tally/internal/blob"
)

// journalSegments is after how many segments a new journal begins, so that what
// left the window takes its journal with it.
const journalSegments = 1024

// A Lane is the segments of one rendition. What is below oldest is the writer's.
type Lane struct {
	r      *Recorder
	name   string
	oldest atomic.Int64 // no segment below it is listed

	dir       string // of the session that inits and journal belong to
	keep      bool
	inits     map[string]bool // written to dir
	journal   blob.Writer     // nil: a new one is to be begun
	journaled int             // segments in it
	number    int             // of the next journal
	newest    int64           // MSN that the journal tells of

	open    *Entry      // of which parts are written
	segment blob.Writer // nil: it has no bytes yet
	size    int64
	passing []passing // files to delete once they are not listed, in the order of last
	line    []byte
}

// A passing is a file of a session that is not kept.
type passing struct {
	name string
	last int64 // the newest MSN that needs it
}

// SegmentName and InitName are file names, in URLs too.
func SegmentName(epoch, msn int64) string { return "seg-" + num(epoch) + "-" + num(msn) + ".m4s" }
func InitName(epoch, n int64) string      { return "init-" + num(epoch) + "-" + num(n) + ".mp4" }

func num(n int64) string { return strconv.FormatInt(n, 10) }

func journalName(n int) string { return fmt.Sprintf("journal-%06d", n) }

// writeBegin begins a segment.
func (l *Lane) writeBegin(e *Entry) {
	l.finish() // the one before, should its end have been lost
	if e.lost() {
		return
	}
	l.open, l.size = e, 0
	if err := l.begin(e); err != nil {
		l.fail(err)
	}
}

// begin writes what stands before the first part.
func (l *Lane) begin(e *Entry) error {
	s := e.session
	if !s.known {
		if err := l.r.library.writeAbout(s.about); err != nil {
			return err
		}
		s.known = true
	}
	if dir := s.about.SessionID + "/" + l.name; dir != l.dir {
		l.closeJournal() // that of the session before
		l.dir, l.keep, l.inits = dir, s.about.Keep, map[string]bool{}
		if err := l.countJournals(); err != nil {
			l.dir = ""
			return err
		}
	}
	if l.journaled >= journalSegments {
		l.closeJournal()
	}
	h := &e.head
	if name := l.dir + "/" + InitName(h.Init.Epoch, h.Init.Number); !l.inits[name] {
		library := l.r.library
		whole := func() bool { return library.size(name) == int64(len(h.InitData)) }
		if err := library.put(name, h.InitData, whole); err != nil {
			return err
		}
		l.inits[name] = true
	}
	line := l.line[:0]
	if l.journal == nil {
		j, err := l.r.library.blobs.Create(l.dir + "/" + journalName(l.number))
		if err != nil {
			return err
		}
		l.journal, l.journaled = j, 0
		l.number++
	}
	init := h.Init
	init.Size = int64(len(h.InitData))
	line = init.appendLine(line)
	line = (&Segment{
		MSN: h.MSN, Epoch: h.Epoch, At: h.At, Disc: h.Disc, Discontinuity: h.Discontinuity, Stand: h.Stand,
		Init: h.Init.Number, InitEpoch: h.Init.Epoch,
	}).appendLine(line)
	l.newest = h.MSN
	l.journaled++
	return l.note(line)
}

// countJournals finds the number of the next journal.
func (l *Lane) countJournals() error {
	all, err := l.r.library.blobs.List(l.dir)
	if err != nil {
		return err
	}
	l.number = 0
	for _, i := range all {
		if n, ok := journalNumber(l.dir, i.Name); ok {
			l.number = max(l.number, n+1)
		}
	}
	return nil
}

// note appends lines to the journal. One that failed takes no more, so the next
// segment begins another.
func (l *Lane) note(lines []byte) error {
	l.line = lines[:0]
	if l.journal == nil {
		return errNoJournal
	}
	err := l.journal.Append(lines)
	if err != nil {
		l.closeJournal()
	}
	return err
}

// errNoJournal: it failed within the segment.
var errNoJournal = errors.New("the journal was closed after an error")

// writePart appends a part, and then tells the journal.
func (l *Lane) writePart(e *Entry, p *Part) {
	if l.open != e || e.lost() {
		return
	}
	size := len(p.Data) + len(p.Tail)
	err := error(nil)
	if l.segment == nil && size > 0 {
		l.segment, err = l.r.library.blobs.Create(l.segmentName(e))
	}
	if err == nil && size > 0 {
		err = l.segment.Append(p.Data, p.Tail)
	}
	if err == nil {
		line := p.appendLine(l.line[:0], size)
		for i := range p.Cues {
			line = appendCue(line, &p.Cues[i])
		}
		err = l.note(line)
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.size += int64(size)
	l.r.library.written.Add(int64(size))
}

// writeEnd ends a segment: it is at rest, or lost.
func (l *Lane) writeEnd(e *Entry) {
	switch {
	case l.open == e:
		l.finish()
	case e.lost():
		l.count(e)
	}
}

// finish ends the open segment.
func (l *Lane) finish() {
	e := l.open
	if e == nil {
		return
	}
	l.open = nil
	var err error
	if l.segment != nil {
		err = l.segment.Close()
	}
	if err == nil && !e.lost() {
		err = l.note(appendLine(l.line[:0], "end", e.head.MSN))
	}
	if err != nil {
		l.trouble(err)
		e.state.CompareAndSwap(statePending, stateLost)
	}
	if e.state.CompareAndSwap(statePending, stateStored) {
		l.r.note("")
		if !l.keep && l.segment != nil {
			l.passing = append(l.passing, passing{l.segmentName(e), e.head.MSN})
		}
		l.segment = nil
		return
	}
	l.discard(e)
}

// fail makes the open segment a lost one.
func (l *Lane) fail(err error) {
	e := l.open
	l.open = nil
	l.trouble(err)
	e.state.CompareAndSwap(statePending, stateLost)
	if l.segment != nil {
		l.segment.Close()
	}
	l.discard(e)
}

// discard removes what there is of a lost segment.
func (l *Lane) discard(e *Entry) {
	l.count(e)
	if l.segment != nil {
		if err := l.r.library.blobs.Delete(l.segmentName(e)); err != nil {
			l.trouble(err)
		}
		l.segment = nil
	}
	// Without this line the missing object says it.
	_ = l.note(appendLine(l.line[:0], "lost", e.head.MSN))
}

// count counts a lost segment, once.
func (l *Lane) count(e *Entry) {
	if !e.counted {
		e.counted = true
		l.r.library.lost.Add(1)
	}
}

func (l *Lane) segmentName(e *Entry) string {
	return e.SessionID() + "/" + l.name + "/" + SegmentName(e.head.Epoch, e.head.MSN)
}

// trouble tells of an error, in the log once until all is well again.
func (l *Lane) trouble(err error) {
	text := "the server's disk cannot be written"
	if errors.Is(err, blob.ErrFull) {
		text = "the server's disk is nearly full"
	}
	if l.r.Trouble() != text {
		l.r.library.log.Warn("segments are lost: "+text, "run", l.r.run, "err", err)
	}
	l.r.note(text)
}

// sweep deletes what is not listed any more.
func (l *Lane) sweep() {
	oldest := l.oldest.Load()
	n := 0
	for n < len(l.passing) && l.passing[n].last < oldest {
		if err := l.r.library.blobs.Delete(l.passing[n].name); err != nil {
			l.r.library.log.Warn("segment could not be deleted", "name", l.passing[n].name, "err", err)
		}
		n++
	}
	l.passing = append(l.passing[:0], l.passing[n:]...)
}

func (l *Lane) closeJournal() {
	if l.journal == nil {
		return
	}
	if err := l.journal.Close(); err != nil {
		l.trouble(err)
	}
	l.journal = nil
	if !l.keep {
		l.passing = append(l.passing, passing{l.dir + "/" + journalName(l.number-1), l.newest})
	}
}

// closeFiles ends what is open.
func (l *Lane) closeFiles() {
	l.finish()
	l.closeJournal()
}
