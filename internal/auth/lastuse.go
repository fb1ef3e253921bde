package auth

import (
	"context"
	"log/slog"
	"maps"
	"time"
)

const (
	// noteEvery is how often last use is written, and so how old it may be.
	noteEvery = time.Minute
	// usedSize bounds what waits to be written. Of more tokens than this used
	// between two writes, the surplus is noted at a later use.
	usedSize = 4096
	// lastNote is how long the last write may take when the server stops.
	lastNote = 2 * time.Second
)

// note remembers that a token was used. It is called when the store was asked
// for the token, once a second while a token is busy: the other requests of
// that second need no note. a.mu is held.
func (a *Authenticator) note(tokenID string, now time.Time) {
	if a.used == nil {
		a.used = map[string]time.Time{}
	}
	if _, known := a.used[tokenID]; known || len(a.used) < usedSize {
		a.used[tokenID] = now
	}
}

// Run writes when tokens were last used: each minute, all of them in one write,
// and once more when ctx ends. Without it nothing is written. What cannot be
// written is tried again a minute later.
func (a *Authenticator) Run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.writeUsed(ctx, log)
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastNote)
			defer cancel()
			a.writeUsed(ctx, log)
			return
		}
	}
}

func (a *Authenticator) writeUsed(ctx context.Context, log *slog.Logger) {
	a.mu.Lock()
	used := a.used
	a.used = nil
	a.mu.Unlock()
	if len(used) == 0 {
		return
	}
	err := a.Store.TouchTokens(ctx, used)
	if err == nil || ctx.Err() != nil {
		return
	}
	log.Warn("note tokens' last use", "err", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.Copy(used, a.used) // what was used since is newer
	for id := range used {
		if len(used) <= usedSize {
			break
		}
		delete(used, id)
	}
	a.used = used
}
