package playback

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	heartbeat   = 15 * time.Second       // of an event stream: proxies drop what is silent for 30 s or more
	stateMaxAge = 5 * time.Second        // how long a change that only the store knows may go unseen
	stateSettle = 250 * time.Millisecond // first look again while store and registry differ
)

// A board tells event streams of changes: one goroutine and one look into the
// store for all viewers of a playback id, for as long as there are any.
type board struct {
	mu     sync.Mutex // guards topics and each topic's readers
	topics map[string]*topic
}

// A topic is one playback id's news.
type topic struct {
	readers int
	stop    context.CancelFunc

	mu     sync.Mutex // guards what follows
	event  []byte     // the newest state as an event; immutable
	change chan struct{}
}

// read returns the newest event, nil before the first, and what is closed when
// it is replaced.
func (t *topic) read() ([]byte, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.event, t.change
}

// post replaces the newest event.
func (t *topic) post(event []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if string(t.event) == string(event) {
		return
	}
	t.event = event
	close(t.change)
	t.change = make(chan struct{})
}

// subscribe joins a topic, which begins with its first reader.
func (h *Handler) subscribe(playbackID string) *topic {
	b := &h.board
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[playbackID]
	if t == nil {
		ctx, stop := context.WithCancel(h.drain)
		t = &topic{stop: stop, change: make(chan struct{})}
		b.topics[playbackID] = t
		h.boards.Go(func() { h.follow(ctx, playbackID, t) })
	}
	t.readers++
	return t
}

// unsubscribe leaves a topic, which ends with its last reader.
func (h *Handler) unsubscribe(playbackID string, t *topic) {
	b := &h.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.readers--; t.readers == 0 {
		t.stop()
		delete(b.topics, playbackID)
	}
}

// follow posts each change of a playback id's state until ctx ends. The
// registry says when to look; what only the store knows (a window that ran out
// after a restart, a meeting's start) is seen within stateMaxAge.
func (h *Handler) follow(ctx context.Context, playbackID string, t *topic) {
	settle := stateSettle
	for {
		changed := h.registry.Changed(playbackID)
		st, settled, err := h.derive(ctx, playbackID)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			t.post(stateEvent(st))
		case !errors.Is(err, errUnknown):
			h.log.Warn("playback state", "err", err)
		}
		wait := stateMaxAge
		if settled {
			settle = stateSettle
		} else {
			wait = min(settle, stateMaxAge)
			settle = min(2*settle, stateMaxAge)
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// stateEvent is a state as a server-sent event (HTML standard section 9.2).
func stateEvent(st State) []byte {
	body, _ := json.Marshal(st) // strings and times always marshal
	return append(append([]byte("event: state\ndata: "), body...), "\n\n"...)
}

// events streams states: the present one at once, then each change. It ends with
// an event "refused" when the reader may not watch any more.
func (h *Handler) events(w http.ResponseWriter, r *http.Request, p *path) error {
	playbackID := p.playbackID
	if h.drain.Err() != nil {
		return errStopping
	}
	t := h.subscribe(playbackID)
	defer h.unsubscribe(playbackID, t)
	_, change := t.read() // before looking ourselves: what is posted later is newer
	st, _, err := h.derive(r.Context(), playbackID)
	if err != nil {
		return err
	}

	hdr := w.Header()
	hdr["Content-Type"] = typeEvents
	hdr["Cache-Control"] = noStore
	hdr.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if r.Method == http.MethodHead {
		return nil
	}
	out := http.NewResponseController(w)
	send := func(b []byte) error {
		extendDeadline(w)
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
	last := stateEvent(st)
	if send(append([]byte("retry: 2000\n"), last...)) != nil {
		return nil // the viewer is gone
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	watch := p.watch()
	defer func() { watch.stop() }()
	for err == nil {
		select {
		case <-watch.look:
			watch.stop()
			if p.admission, err = h.admission(r, p); err != nil {
				send(refusedEvent(err))
				return nil
			}
			watch = p.watch()
		case <-change:
			var event []byte
			if event, change = t.read(); string(event) != string(last) {
				last, err = event, send(event)
			}
		case <-beat.C:
			err = send([]byte(": still here\n\n"))
		case <-r.Context().Done():
			return nil
		case <-h.drain.Done():
			return nil
		}
	}
	return nil // the viewer is gone
}

// refusedEvent is a refusal as a server-sent event.
func refusedEvent(err error) []byte {
	word := refusalWord(err)
	if word == "" { // the store's: whoever reads comes again and is told
		return []byte(": once more, please\n\n")
	}
	body, _ := json.Marshal(refusal{err.Error(), word}) // strings always marshal
	return append(append([]byte("event: refused\ndata: "), body...), "\n\n"...)
}

// A watch says when it is to be looked again whether somebody may watch.
type watch struct {
	look <-chan struct{} // closed when it changed who may, and when the time is over
	stop func()
}

// watch begins one for an admission.
func (a admission) watch() watch {
	switch {
	case a.access == nil:
		return watch{stop: func() {}}
	case a.grant.Until == 0:
		return watch{a.access.ctx.Done(), func() {}}
	}
	ctx, cancel := context.WithDeadline(a.access.ctx, time.Unix(int64(a.grant.Until), 0))
	return watch{ctx.Done(), cancel}
}
