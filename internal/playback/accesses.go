package playback

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/viewer"
)

// Access is where the handler learns what was revoked, and that it changed who
// may watch. [livestream.Store] has it.
type Access interface {
	Revocations(ctx context.Context, livestreamID string, now time.Time) ([]livestream.Revocation, error)
	AwaitAccess(ctx context.Context) ([]string, error)
}

// maxAccesses bounds how many playback ids are remembered of which no run is in
// memory: some hundred bytes each, and what was revoked.
const maxAccesses = 4096

// accesses makes each playback id's access and replaces it when it changes. Runs
// in memory carry theirs; those of other ids are remembered here.
//
// One rule keeps them true: whoever reads the store and publishes what it says
// holds mu for both, and after a change somebody reads. So of two, the one that
// read later publishes later.
type accesses struct {
	records  Records
	store    Access // nil: nothing is revoked, and nothing changes
	registry *hls.Registry
	signer   *viewer.Signer
	log      *slog.Logger
	drain    context.Context

	known sync.Map // playback id to *access

	mu   sync.Mutex // serialises reading the store and publishing; guards what follows
	n    int        // in known
	kept int        // of them, when there last was no room
}

// of returns a playback id's access. livestream.ErrNotFound when there is no such
// id; other errors are the store's, and nobody is let in by them.
func (a *accesses) of(ctx context.Context, playbackID string) (*access, error) {
	if acc, ok := a.known.Load(playbackID); ok {
		a.attach(acc.(*access))
		return acc.(*access), nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if acc, ok := a.known.Load(playbackID); ok { // of whoever was here before
		a.attach(acc.(*access))
		return acc.(*access), nil
	}
	acc, err := a.read(ctx, playbackID)
	if err != nil {
		return nil, err
	}
	a.publish(acc)
	return acc, nil
}

// attach gives runs that have none yet an access. It may be old by the time it
// is there: then its replacement has it in its list, and replaces it there too.
func (a *accesses) attach(acc *access) {
	for _, st := range a.registry.Streams(acc.playbackID) {
		if accessOn(st) == nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			if now, ok := a.known.Load(acc.playbackID); ok {
				a.publish(now.(*access))
			}
			return
		}
	}
}

// publish makes acc the access of its playback id; the caller holds mu.
func (a *accesses) publish(acc *access) {
	if _, had := a.known.Swap(acc.playbackID, acc); !had {
		if a.n++; a.n > max(maxAccesses, 2*a.kept) {
			a.forget(acc.playbackID)
		}
	}
	for _, st := range a.registry.Streams(acc.playbackID) {
		st.SetAccess(acc)
	}
}

// forget makes room: of all but one id, and but those of runs in memory. The
// caller holds mu.
func (a *accesses) forget(but string) {
	a.known.Range(func(id, old any) bool {
		if id != but && len(a.registry.Streams(id.(string))) == 0 {
			a.known.Delete(id)
			a.n--
			old.(*access).replace(errChanged) // whoever waits asks again
		}
		return true
	})
	a.kept = a.n
}

// refresh replaces an access after its livestream changed. What nobody asked
// for is not read.
func (a *accesses) refresh(ctx context.Context, playbackID string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.present(playbackID)
	if len(old) == 0 {
		return nil
	}
	acc, err := a.read(ctx, playbackID)
	switch {
	case errors.Is(err, livestream.ErrNotFound): // deleted
		a.drop(playbackID) // its recordings are for nobody
		return nil         // runs in memory end by themselves
	case err != nil:
		// Nobody is let in by what may have been taken back: each request reads for itself.
		a.drop(playbackID)
		for _, st := range a.registry.Streams(playbackID) {
			st.SetAccess((*access)(nil))
		}
	default:
		a.publish(acc)
	}
	for _, o := range old {
		o.replace(errChanged)
	}
	return err
}

// drop forgets a playback id's access; the caller holds mu.
func (a *accesses) drop(playbackID string) {
	if _, had := a.known.LoadAndDelete(playbackID); had {
		a.n--
	}
}

// present returns the accesses by which requests of a playback id are admitted.
func (a *accesses) present(playbackID string) (all []*access) {
	if acc, ok := a.known.Load(playbackID); ok {
		all = append(all, acc.(*access))
	}
	for _, st := range a.registry.Streams(playbackID) {
		if acc := accessOn(st); acc != nil {
			all = append(all, acc)
		}
	}
	return all
}

// accessOn is the access that a run carries; nil while it has none.
func accessOn(st *hls.Stream) *access {
	acc, _ := st.Access().(*access)
	return acc
}

// read makes an access of what the store says; the caller holds mu.
func (a *accesses) read(ctx context.Context, playbackID string) (*access, error) {
	rec, err := a.records.RecordByPlaybackID(ctx, playbackID)
	if err != nil {
		return nil, err
	}
	l := rec.Livestream
	acc := &access{
		scope: l.Scope, livestreamID: l.ID, playbackID: playbackID,
		signed: l.Settings.Signed(), origins: l.Settings.Origins(),
	}
	if acc.signed && a.store != nil {
		all, err := a.store.Revocations(ctx, l.ID, time.Now())
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			acc.revoke(a.signer, r)
		}
	}
	acc.ctx, acc.replace = context.WithCancelCause(a.drain)
	return acc, nil
}

// revoke adds a revocation to an access that nobody has seen yet.
func (acc *access) revoke(signer *viewer.Signer, r livestream.Revocation) {
	switch r.Kind {
	case livestream.RevokeAll:
		acc.all = later(acc.all, r.At)
	case livestream.RevokeName:
		if acc.names == nil {
			acc.names = map[uint64]time.Time{}
		}
		acc.names[signer.NameHash(acc.playbackID, r.Subject)] = r.At
	case livestream.RevokeViewer:
		if random, ok := viewer.ParseRandom(r.Subject); ok {
			if acc.tokens == nil {
				acc.tokens = map[uint32]bool{}
			}
			acc.tokens[viewer.TokenOf(random)] = true
		}
		return
	}
	acc.newest = later(acc.newest, r.At)
}

// follow replaces accesses as their livestreams change, until ctx ends. What
// cannot be read is tried again each second; nobody is let in meanwhile.
func (a *accesses) follow(ctx context.Context) {
	for {
		ids, err := a.store.AwaitAccess(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.log.Error("who may watch is not followed", "err", err)
			pause(ctx, time.Second)
		}
		for _, id := range ids {
			if err := a.refresh(ctx, id); err != nil && ctx.Err() == nil {
				a.log.Error("who may watch cannot be read: nobody is let in until it can", "playback_id", id, "err", err)
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
