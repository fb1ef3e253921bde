package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
	"tally/internal/store/sqlite"
)

// A memory keeps one livestream as the SQLite store does: Advance cuts to whole
// milliseconds and runs Record.Apply, Checkpoint raises figures of the session
// and epoch that it names and of no other.
type memory struct {
	mu    sync.Mutex
	rec   livestream.Record
	facts map[string]int // how many of each kind the timeline has; nil: nobody asks
}

func (m *memory) Advance(_ context.Context, _ string, e livestream.Event) (livestream.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.At, e.LastMediaAt = e.At.UTC().Truncate(time.Millisecond), e.LastMediaAt.UTC().Truncate(time.Millisecond)
	e.Ingest = e.Ingest.Truncate(time.Millisecond)
	after, facts, err := m.rec.Apply(e)
	if err == nil {
		m.rec = after
	}
	for _, f := range facts {
		if m.facts != nil {
			m.facts[f.Kind]++
		}
	}
	return m.rec, err
}

func (m *memory) Checkpoint(_ context.Context, cs []livestream.Checkpoint, _ []livestream.UsageWindow, _ []livestream.Viewing) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range cs {
		c, s, l := &cs[i], &m.rec.Session, &m.rec.Livestream
		if c.SessionID != s.ID || c.Epoch != s.Epoch || !s.Phase.Open() {
			continue
		}
		s.UpdatedAt = latest(s.UpdatedAt, c.At)
		s.LastMediaAt = latest(s.LastMediaAt, c.LastMediaAt)
		s.Ingest = max(s.Ingest, c.Ingest.Truncate(time.Millisecond))
		if c.RunID == l.Run.ID {
			l.Run.MSNMark = max(l.Run.MSNMark, c.MSNMark)
			l.Run.DiscontinuityMark = max(l.Run.DiscontinuityMark, c.DiscontinuityMark)
			l.Run.PartTarget = max(l.Run.PartTarget, c.PartTarget)
			if c.LongestGOP > 0 {
				l.LongestGOP = c.LongestGOP
			}
		}
	}
	return nil
}

func (m *memory) OpenRecords(context.Context) ([]livestream.Record, error) {
	if r := m.read(); r.Session.Phase.Open() {
		return []livestream.Record{r}, nil
	}
	return nil, nil
}

func (m *memory) RecordByKey(_ context.Context, key secret.String) (livestream.Record, error) {
	r := m.read()
	if r.Livestream.StreamKey != key || !r.Livestream.DeletedAt.IsZero() {
		return livestream.Record{}, livestream.ErrNotFound
	}
	return r, nil
}

func (m *memory) read() livestream.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rec
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// A witness stands before a store, sees every write, and checks the invariants
// of design section 3 at each. It may make the store slow or have it fail.
type witness struct {
	Store
	read func() livestream.Record

	// before is asked before each write; nil: nothing happens. An error is the
	// store's answer instead of writing.
	before func(ctx context.Context, what string) error

	mu       sync.Mutex
	last     livestream.Record
	sessions []string // ids in the order of their beginning
	runs     []string
	closed   map[string]livestream.Session // as they were when they closed
	kept     []livestream.Checkpoint       // some that were written, to be written again too late
	problems []string
}

// newWitness keeps l in memory, or with a path in a new SQLite file there.
func newWitness(t *testing.T, l livestream.Livestream, path string) *witness {
	w := &witness{closed: map[string]livestream.Session{}}
	mem := &memory{rec: livestream.Record{Livestream: l}}
	w.Store, w.read = mem, mem.read
	if path != "" {
		w.Store, w.read = onDisk(t, l, path)
	}
	w.last = w.read()
	return w
}

func onDisk(t *testing.T, l livestream.Livestream, path string) (Store, func() livestream.Record) {
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.CreateLivestream(context.Background(), l); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	deleted := livestream.Record{} // how a record looked that is found no more
	return store, func() livestream.Record {
		mu.Lock()
		defer mu.Unlock()
		r, err := store.RecordByID(context.Background(), l.Scope, l.ID)
		switch {
		case errors.Is(err, livestream.ErrNotFound):
			return deleted
		case err != nil:
			t.Error(err)
		}
		deleted = r
		deleted.Livestream.DeletedAt = time.Now()
		return r
	}
}

func (w *witness) Advance(ctx context.Context, id string, e livestream.Event) (livestream.Record, error) {
	if w.before != nil {
		if err := w.before(ctx, e.Kind.String()); err != nil {
			return livestream.Record{}, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	rec, err := w.Store.Advance(ctx, id, e)
	w.look(e.Kind.String())
	return rec, err
}

func (w *witness) Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow, vs []livestream.Viewing) error {
	if w.before != nil {
		if err := w.before(ctx, "checkpoint"); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(cs) > 0 && len(w.kept) < 64 {
		w.kept = append(w.kept, cs[0])
	}
	err := w.Store.Checkpoint(ctx, cs, ws, vs)
	w.look("checkpoint")
	return err
}

func (w *witness) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// look compares what is stored with what was. The caller holds mu.
func (w *witness) look(what string) {
	old, r := w.last, w.read()
	if r == old {
		return
	}
	w.last = r
	s, was := r.Session, old.Session
	if s.ID != was.ID {
		if was.Phase.Open() {
			w.problem("%s: session %s begins while %s is open", what, s.ID, was.ID)
		}
		if s.Ingest != 0 || s.Bytes != 0 || !s.LastMediaAt.IsZero() {
			w.problem("%s: a session begins with figures: %+v", what, s)
		}
		w.sessions = append(w.sessions, s.ID)
		was = livestream.Session{}
	}
	if n := len(w.runs); r.Livestream.Run.ID != "" && (n == 0 || w.runs[n-1] != r.Livestream.Run.ID) {
		w.runs = append(w.runs, r.Livestream.Run.ID)
	}
	switch span := s.StoppedAt.Sub(s.InvokedAt); {
	case s.InvokedAt.Before(s.CreatedAt), !s.StartedAt.IsZero() && s.StartedAt.Before(s.InvokedAt),
		!s.StoppedAt.IsZero() && (s.StoppedAt.Before(s.StartedAt) || s.StoppedAt.Before(s.InvokedAt)):
		w.problem("%s: created %v, invoked %v, started %v, stopped %v", what, s.CreatedAt, s.InvokedAt, s.StartedAt, s.StoppedAt)
	case !s.StoppedAt.IsZero() && s.Ingest > span, s.StoppedAt.IsZero() && s.Ingest > s.UpdatedAt.Sub(s.InvokedAt)+time.Millisecond:
		w.problem("%s: ingest %v in a span of %v, invoked %v ago", what, s.Ingest, span, s.UpdatedAt.Sub(s.InvokedAt))
	case s.ID != "" && s.Phase.Open() != s.StoppedAt.IsZero():
		w.problem("%s: %s, stopped %v", what, s.Phase, s.StoppedAt)
	case s.Ingest < was.Ingest, s.LastMediaAt.Before(was.LastMediaAt), s.Epoch < was.Epoch,
		r.Livestream.Epoch < old.Livestream.Epoch, s.UpdatedAt.Before(was.UpdatedAt):
		w.problem("%s: a figure fell from %+v to %+v", what, was, s)
	case r.Livestream.Run.ID == old.Livestream.Run.ID &&
		(r.Livestream.Run.MSNMark < old.Livestream.Run.MSNMark || r.Livestream.Run.DiscontinuityMark < old.Livestream.Run.DiscontinuityMark):
		w.problem("%s: a mark fell from %+v to %+v", what, old.Livestream.Run, r.Livestream.Run)
	case s.Phase.Open() && !s.Phase.Connected() && s.Deadline.IsZero():
		w.problem("%s: %s without a deadline", what, s.Phase)
	}
	if end, ok := w.closed[s.ID]; ok {
		end.Acknowledged = s.Acknowledged || end.Acknowledged
		end.UpdatedAt = s.UpdatedAt // of the acknowledgement
		if s != end {
			w.problem("%s: the closed session changed from %+v to %+v", what, end, s)
		}
	} else if s.ID != "" && !s.Phase.Open() {
		w.closed[s.ID] = s
	}
}

// late writes what an older publish or a session that is over has left behind,
// and reports what that changed, or "".
func (w *witness) late(pick func(n int) int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.read()
	s := before.Session
	ctx := context.Background()
	var old []livestream.Checkpoint
	for _, c := range w.kept {
		if c.Epoch < before.Livestream.Epoch || c.SessionID != s.ID || !s.Phase.Open() {
			old = append(old, c)
		}
	}
	if len(old) > 0 {
		c := old[pick(len(old))]
		c.At, c.Ingest, c.LastMediaAt, c.MSNMark = c.At.Add(time.Hour), c.Ingest+time.Hour, c.At.Add(time.Hour), c.MSNMark+1000
		if err := w.Store.Checkpoint(ctx, []livestream.Checkpoint{c}, nil, nil); err != nil {
			return err.Error()
		}
		if after := w.read(); after != before {
			return fmt.Sprintf("a checkpoint of epoch %d changed %+v to %+v", c.Epoch, before, after)
		}
	}
	kinds := []livestream.Kind{livestream.Playable, livestream.Lose, livestream.Unpublish, livestream.Fail, livestream.Expire}
	e := livestream.Event{Kind: kinds[pick(len(kinds))], Epoch: before.Livestream.Epoch - 1, At: s.UpdatedAt.Add(time.Hour),
		Ingest: time.Hour, LastMediaAt: s.UpdatedAt.Add(time.Hour)}
	switch {
	case e.Kind != livestream.Expire:
	case len(w.sessions) > 1 && pick(2) == 0: // the timer of a session that is over
		e.SessionID = w.sessions[pick(len(w.sessions)-1)]
	default: // the present one's, before its time
		e.SessionID, e.At = s.ID, s.Deadline.Add(-time.Millisecond)
	}
	_, err := w.Store.Advance(ctx, before.Livestream.ID, e)
	if !errors.Is(err, livestream.ErrStale) && !errors.Is(err, livestream.ErrTransition) && !errors.Is(err, livestream.ErrNotFound) {
		return fmt.Sprintf("%s of epoch %d: %v", e.Kind, e.Epoch, err)
	}
	if after := w.read(); after != before {
		return fmt.Sprintf("a late %s changed %+v to %+v", e.Kind, before, after)
	}
	return ""
}
