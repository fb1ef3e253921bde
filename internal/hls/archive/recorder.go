package archive

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"tally/internal/hls/playlist"
)

// What waits to be written is bounded in parts (at three a second 80 s of one
// rendition, more than the live window holds of four) and in bytes (12 s of 20
// Mbit/s), most of which the live window holds anyway.
const (
	queueLength = 256
	queueBytes  = 32 << 20
)

// A Head is what is known of a segment when it begins.
type Head struct {
	MSN, Epoch    int64
	At            time.Time
	Disc          int64
	Discontinuity bool
	Stand         Stand
	Init          Init
	InitData      []byte
}

// A Part is one part of a segment. Its bytes are Data, then Tail; nobody writes
// to them.
type Part struct {
	Counter, Epoch int64
	Duration       time.Duration
	Data, Tail     []byte
	Cues           []playlist.DateRange // that are told with it first
}

// An Entry is a segment on its way to rest.
type Entry struct {
	state   atomic.Uint32
	session *session
	head    Head
	counted bool // the writer's: as lost
}

const (
	statePending uint32 = iota
	stateStored
	stateLost
)

// SessionID is whose segment it is.
func (e *Entry) SessionID() string { return e.session.about.SessionID }

// Settle is called when the segment leaves memory: what is not at rest by then is
// lost. It reports whether it is at rest.
func (e *Entry) Settle() bool {
	return !e.state.CompareAndSwap(statePending, stateLost) && e.state.Load() == stateStored
}

func (e *Entry) lost() bool { return e.state.Load() == stateLost }

// A Recorder writes the segments of one run. What is handed to it is written by
// one goroutine, which is there while a session is; none of the methods waits for
// that. All but Trouble are called by one goroutine at a time.
type Recorder struct {
	library *Library
	run     string
	queue   *queue
	lanes   map[string]*Lane
	session *session // whose segments follow; nil: nobody's
	passing []string // sessions of the run that are not kept

	trouble atomic.Pointer[string]
}

// A session whose segments are written.
type session struct {
	about About
	known bool // the writer's: about is written
}

// A task is one thing for the writer to do, in order.
type task struct {
	do   func() // what is rare; nil: media
	lane *Lane
	kind taskKind
	e    *Entry
	part Part
}

type taskKind uint8

const (
	taskBegin taskKind = iota
	taskPart
	taskEnd
)

// Record begins to write a run. The Recorder must be closed.
func (l *Library) Record(run string) *Recorder {
	r := &Recorder{library: l, run: run, lanes: map[string]*Lane{}}
	r.queue = newQueue(func() { l.wg.Go(r.write) })
	l.lists(run, 1)
	return r
}

// Begin says whose the segments are that begin from now on.
func (r *Recorder) Begin(a About) {
	r.End()
	a.Run = r.run
	r.session = &session{about: a}
	r.queue.rest(false)
	r.library.hold(a.SessionID)
	if !a.Keep {
		r.passing = append(r.passing, a.SessionID)
	}
}

// End says that no segment of the session follows. What the run lists may be
// listed for hours yet, which takes no goroutine and no open file.
func (r *Recorder) End() {
	if r.session == nil {
		return
	}
	id := r.session.about.SessionID
	r.session = nil
	lanes := slices.Collect(maps.Values(r.lanes))
	r.queue.offer(task{do: func() {
		for _, lane := range lanes {
			lane.closeFiles()
		}
		r.library.letGo(id)
	}})
	r.queue.rest(true)
}

// Trouble says why segments are lost at present, for people; "" while none are.
func (r *Recorder) Trouble() string {
	if t := r.trouble.Load(); t != nil {
		return *t
	}
	return ""
}

// Lane returns that of a rendition, by its name in file names.
func (r *Recorder) Lane(name string) *Lane {
	l := r.lanes[name]
	if l == nil {
		l = &Lane{r: r, name: name, inits: map[string]bool{}}
		r.lanes[name] = l
	}
	return l
}

// Close ends the recorder; what was handed over is still written, in the
// background. With forget the sessions that are not kept are deleted then.
func (r *Recorder) Close(forget bool) {
	r.End()
	passing := r.passing
	if !forget {
		passing = nil
	}
	r.queue.offer(task{do: func() {
		for _, lane := range r.lanes {
			lane.closeFiles()
		}
		for _, id := range passing {
			if err := r.library.remove(About{SessionID: id, Run: r.run}); err != nil {
				r.library.log.Warn("segments could not be deleted", "session", id, "err", err)
			}
		}
		r.library.lists(r.run, -1)
	}})
	r.queue.close()
}

// write is the recorder's goroutine.
func (r *Recorder) write() {
	for {
		t, ok := r.queue.take()
		switch {
		case !ok:
			return
		case t.do != nil:
			t.do()
			continue
		case t.kind == taskBegin:
			t.lane.writeBegin(t.e)
		case t.kind == taskPart:
			t.lane.writePart(t.e, &t.part)
		default:
			t.lane.writeEnd(t.e)
		}
		t.lane.sweep()
	}
}

// Begin hands over a segment that begins. What Part and End want is returned; nil
// when nothing is recorded.
func (l *Lane) Begin(h Head) *Entry {
	if l.r.session == nil {
		return nil
	}
	e := &Entry{head: h, session: l.r.session}
	l.offer(task{kind: taskBegin, e: e})
	return e
}

// Part hands over a part of the segment. e may be nil.
func (l *Lane) Part(e *Entry, p Part) {
	if e != nil && !e.lost() {
		l.offer(task{kind: taskPart, e: e, part: p})
	}
}

// End says that the segment is whole. e may be nil.
func (l *Lane) End(e *Entry) {
	if e != nil && !e.lost() {
		l.offer(task{kind: taskEnd, e: e})
	}
}

// offer queues media. Where there is no room, its segment is lost.
func (l *Lane) offer(t task) {
	t.lane = l
	if !l.r.queue.offer(t) {
		l.r.note("the disk is too slow: segments wait to be written for longer than the live window")
		t.e.state.CompareAndSwap(statePending, stateLost)
		// The writer has to hear of it once; this one is always taken.
		l.r.queue.offer(task{do: func() { l.writeEnd(t.e) }})
	}
}

// Release says that segments below msn are not listed any more: those that are
// not kept are deleted.
func (l *Lane) Release(msn int64) { l.oldest.Store(msn) }

// note keeps what Trouble says.
func (r *Recorder) note(text string) {
	if text == "" {
		r.trouble.Store(nil)
	} else {
		r.trouble.Store(&text)
	}
}
