package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// A Store is what the manager needs of livestream.Store.
type Store interface {
	Advance(ctx context.Context, livestreamID string, e livestream.Event) (livestream.Record, error)
	Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow, vs []livestream.Viewing) error
	OpenRecords(ctx context.Context) ([]livestream.Record, error)
	RecordByKey(ctx context.Context, key secret.String) (livestream.Record, error)
}

// Config wires a Manager. All fields are needed but Usage and Wall.
type Config struct {
	Store Store
	// Open returns the output of a session that begins, or that was open when
	// the server started (then its phase is Reconnecting or Interrupted).
	Open func(livestream.Record) Output
	// Usage is what viewers watched, written with each checkpoint; may be nil.
	Usage Usage
	Log   *slog.Logger
	// Wall tells the time of day, from which labels are made; nil: time.Now.
	Wall func() time.Time
}

// Usage hands over what was counted. Drain returns windows, and rows of viewers,
// again until Ack says that they are stored.
type Usage interface {
	Drain() ([]livestream.UsageWindow, []livestream.Viewing)
	Ack(ws []livestream.UsageWindow, vs []livestream.Viewing)
}

// A Manager decides who may publish. All methods may be called concurrently.
type Manager struct {
	store Store
	open  func(livestream.Record) Output
	usage Usage
	log   *slog.Logger
	wall  func() time.Time
	ctx   context.Context // ends the actors
	stop  context.CancelFunc

	actors sync.WaitGroup
	loops  sync.WaitGroup

	writing chan struct{} // holds one value while a checkpoint is made and written

	mu       sync.Mutex
	sessions map[string]*session // by livestream id
	stopping bool
	rests    []livestream.Checkpoint // what ended publications left to be written
	lost     int                     // of rests, since remaining returned them
	clocks   map[string]keptClock    // by livestream id
}

// New returns a Manager that keeps checkpoints until Shutdown. Call Resume
// before the first Publish.
func New(cfg Config) *Manager {
	m := &Manager{store: cfg.Store, open: cfg.Open, usage: cfg.Usage, log: cfg.Log, sessions: map[string]*session{}, writing: make(chan struct{}, 1),
		clocks: map[string]keptClock{}, wall: cfg.Wall}
	if m.wall == nil {
		m.wall = time.Now
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.loops.Go(m.checkpoints)
	return m
}

// Resume takes over the sessions that were open when the server last stopped:
// each waits for its publisher for the rest of its window.
func (m *Manager) Resume(ctx context.Context) error {
	recs, err := m.store.OpenRecords(ctx)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		clock := startClock(m.wall(), rec.Session.UpdatedAt)
		e := livestream.Event{Kind: livestream.Boot, At: clock.now()}
		rec, err := m.store.Advance(ctx, rec.Livestream.ID, e)
		if err != nil {
			return err
		}
		resumed := make(chan struct{})
		err = m.do(ctx, rec.Livestream.ID, func(s *session) {
			defer close(resumed)
			s.resume(rec, clock)
		})
		if err != nil {
			return err
		}
		<-resumed
	}
	return nil
}

// Publish accepts or refuses a publish. When it returns a Publication, the
// publish is committed. Refusals: livestream.ErrNotFound (unknown key),
// ErrDisabled, ErrDamped, ErrNotStarted, ErrBusy, and livestream.ErrStopping. It returns
// within the hold of a second publisher, 2.5 s, and the store's time.
func (m *Manager) Publish(ctx context.Context, req Request) (*Publication, error) {
	rec, err := m.store.RecordByKey(ctx, req.Key)
	if err != nil {
		return nil, err
	}
	reply := make(chan accepted, 1)
	err = m.do(ctx, rec.Livestream.ID, func(s *session) {
		if !s.rec.Session.Phase.Open() {
			// Read again: the session that rec shows may have ended by now.
			now, err := m.store.RecordByKey(m.ctx, req.Key)
			if err != nil {
				reply <- accepted{err: err}
				return
			}
			s.set(now, s.clock)
		}
		s.accept(req, reply)
	})
	if err != nil {
		return nil, err
	}
	select {
	case a := <-reply: // the actor always answers; a caller that has gone finds out by its connection
		return a.pub, a.err
	case <-m.ctx.Done():
		return nil, livestream.ErrStopping
	}
}

// Start asks for a meeting's livestream: its session awaits an encoder.
// livestream.ErrAlreadyOn: one is open.
func (m *Manager) Start(ctx context.Context, livestreamID string) (livestream.Record, error) {
	e := livestream.Event{Kind: livestream.Start, NewID: livestream.NewUUID(), NewRun: livestream.NewRunID()}
	rec, err := m.command(ctx, livestreamID, e, "")
	if errors.Is(err, livestream.ErrTransition) {
		err = livestream.ErrAlreadyOn
	}
	return rec, err
}

// Stop ends what is on air, or acknowledges what failed.
// livestream.ErrNotActive: neither.
func (m *Manager) Stop(ctx context.Context, livestreamID string) (livestream.Record, error) {
	rec, err := m.command(ctx, livestreamID, livestream.Event{Kind: livestream.Stop}, "the livestream was stopped through the API; the key is refused for a while")
	if errors.Is(err, livestream.ErrTransition) {
		err = livestream.ErrNotActive
	}
	return rec, err
}

// Enable accepts publishes again and acknowledges what failed.
func (m *Manager) Enable(ctx context.Context, livestreamID string) (livestream.Record, error) {
	return m.command(ctx, livestreamID, livestream.Event{Kind: livestream.Enable}, "")
}

// Disable refuses publishes and ends what is on air.
func (m *Manager) Disable(ctx context.Context, livestreamID string) (livestream.Record, error) {
	return m.command(ctx, livestreamID, livestream.Event{Kind: livestream.Disable}, "the livestream was disabled through the API")
}

// ResetKey makes a new stream key and ends what is on air with the old one.
func (m *Manager) ResetKey(ctx context.Context, livestreamID string) (livestream.Record, error) {
	e := livestream.Event{Kind: livestream.ResetKey, NewKey: livestream.NewStreamKey()}
	return m.command(ctx, livestreamID, e, "the stream key was reset through the API; enter the new one")
}

// Configure changes the name or the settings. A publisher stays on air.
func (m *Manager) Configure(ctx context.Context, livestreamID string, c livestream.Change) (livestream.Record, error) {
	return m.command(ctx, livestreamID, livestream.Event{Kind: livestream.Configure, Change: c}, "")
}

// Delete removes a livestream that is not on air; its sessions stay.
// livestream.ErrOpen: it is.
func (m *Manager) Delete(ctx context.Context, livestreamID string) (livestream.Record, error) {
	return m.command(ctx, livestreamID, livestream.Event{Kind: livestream.Delete}, "")
}

func (m *Manager) command(ctx context.Context, livestreamID string, e livestream.Event, sentence string) (livestream.Record, error) {
	type result struct {
		rec livestream.Record
		err error
	}
	reply := make(chan result, 1)
	work := m.ctx // a command is done also when who asked has gone
	if c, ok := livestream.CreationOf(ctx); ok {
		work = livestream.WithCreation(work, c)
	}
	err := m.do(ctx, livestreamID, func(s *session) {
		rec, err := s.command(work, e, sentence)
		reply <- result{rec, err}
	})
	if err != nil {
		return livestream.Record{}, err
	}
	select {
	case r := <-reply:
		return r.rec, r.err
	case <-ctx.Done():
		return livestream.Record{}, ctx.Err()
	case <-m.ctx.Done():
		return livestream.Record{}, livestream.ErrStopping
	}
}

// do runs op in the livestream's actor, which is started if there is none.
func (m *Manager) do(ctx context.Context, livestreamID string, op func(*session)) error {
	s, err := m.hold(livestreamID)
	if err != nil {
		return err
	}
	defer m.release(s)
	select {
	case s.inbox <- func() { op(s) }:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return livestream.ErrStopping // a held actor ends with the manager only
	}
}

// hold returns the livestream's actor, which does not end before release.
func (m *Manager) hold(livestreamID string) (*session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return nil, livestream.ErrStopping
	}
	s := m.sessions[livestreamID]
	if s == nil {
		s = &session{
			m: m, id: livestreamID, inbox: make(chan func(), inboxSize), done: make(chan struct{}),
			log: m.log.With("livestream", livestreamID), clock: m.clockFor(livestreamID),
		}
		m.sessions[livestreamID] = s
		m.actors.Go(func() { s.run(m.ctx) })
	}
	s.holders++
	return s, nil
}

func (m *Manager) release(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.holders--
}

// removeIdle lets an actor end when nobody is asking it anything.
func (m *Manager) removeIdle(s *session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.holders > 0 || len(s.inbox) > 0 {
		return false
	}
	m.keepClock(s)
	delete(m.sessions, s.id)
	close(s.done)
	return true
}

// remove ends an actor with the manager.
func (m *Manager) remove(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, s.id)
	close(s.done)
}

// all returns every actor.
func (m *Manager) all() []*session {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*session, 0, len(m.sessions))
	for _, s := range m.sessions {
		all = append(all, s)
	}
	return all
}

// Shutdown refuses what is new, checkpoints every session as reconnecting, cuts
// the publishers, writes the last figures and ends every goroutine of the
// manager. It gives up waiting for the store when ctx ends.
func (m *Manager) Shutdown(ctx context.Context) {
	m.mu.Lock()
	m.stopping = true
	m.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range m.all() {
		wg.Go(func() { s.shutdown(ctx) })
	}
	wg.Wait()
	m.checkpoint(ctx, nil, m.usage)
	m.stop()
	m.actors.Wait()
	m.loops.Wait()
}
