package playback

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"tally/internal/hls"
)

// A hold is the wait of one request for media: a timer that other requests used
// before, and no context, for a context that watches another one takes that
// one's lock, which all who wait would share.
type hold struct {
	h       *Handler
	w       http.ResponseWriter
	began   time.Time
	timer   *time.Timer
	expired error // the timer's
	changed context.Context
}

// hold begins a wait of at most d, which ends with expired; with errStopping when
// the server stops; with errChanged when it changes who may watch, whatever that
// means for this viewer; and with errGrantEnded when its time is over.
func (h *Handler) hold(w http.ResponseWriter, p *path, d time.Duration, expired error) hold {
	k := hold{h: h, w: w, began: time.Now(), expired: expired, changed: h.drain}
	if p.access != nil {
		k.changed = p.access.ctx
	}
	if p.grant.Until != 0 {
		if left := time.Unix(int64(p.grant.Until), 0).Sub(k.began); left < d {
			d, k.expired = left, errGrantEnded
		}
	}
	if t, ok := h.timers.Get().(*time.Timer); ok {
		t.Reset(d)
		k.timer = t
	} else {
		k.timer = time.NewTimer(d)
	}
	return k
}

// within is what ends the wait besides the request's context.
func (k *hold) within() hls.Within {
	return hls.Within{Timeout: k.timer.C, Changed: k.changed.Done()}
}

// end ends the wait, tells how long it was, and returns what err means.
func (k *hold) end(err error) error {
	waited(k.w, k.began)
	k.timer.Stop()
	k.h.timers.Put(k.timer)
	switch {
	case errors.Is(err, hls.ErrTimeout):
		return k.expired
	case errors.Is(err, hls.ErrChanged):
		return context.Cause(k.changed)
	}
	return err
}

// waits are the values of Server-Timing, prebuilt for each number of milliseconds
// that a part or a reload is usually held.
var waits = func() (all [1024][]string) {
	var texts [len(all)]string
	for ms := range all {
		texts[ms] = waitText(int64(ms))
		all[ms] = texts[ms : ms+1 : ms+1]
	}
	return all
}()

func waitText(ms int64) string {
	return string(strconv.AppendInt(append(make([]byte, 0, 24), "wait;dur="...), ms, 10))
}

// waited tells that an answer was held, in milliseconds (W3C Server Timing).
// Timing-Allow-Origin lets every page read it.
func waited(w http.ResponseWriter, since time.Time) {
	ms := time.Since(since).Milliseconds()
	if ms < int64(len(waits)) {
		w.Header()["Server-Timing"] = waits[ms]
		return
	}
	w.Header()["Server-Timing"] = []string{waitText(ms)}
}
