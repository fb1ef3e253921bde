package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"tally/internal/livestream"
)

func TestCrash(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(10 * time.Second)
		h.crash(3 * time.Second)
		s := h.expect("after the crash", "LIVE RECONNECTING")
		if s.Ingest < 9400*time.Millisecond {
			h.Errorf("ingest = %v after the crash, want 10 s less one checkpoint", s.Ingest)
		}
		if mark := h.record().Livestream.Run.MSNMark; mark < h.outs[0].Progress().MSN || mark < h.outs[0].mark {
			h.Errorf("mark = %d, listed up to %d", mark, h.outs[0].mark)
		}
		time.Sleep(10 * time.Second)
		p = h.publish()
		p.send(2 * time.Second)
		if back := h.expect("resumed", "LIVE"); back.ID != s.ID {
			h.Error("not the same session")
		}
		h.crash(3 * time.Second)
		time.Sleep(time.Minute)
		h.expect("not resumed", "ERRORED SERVER_RESTART")
	})
}

func TestCrashAfterLongDowntimeKeepsTheGrace(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.publish().send(10 * time.Second)
		h.crash(10 * time.Minute)
		time.Sleep(14 * time.Second)
		h.expect("14 s after boot", "LIVE RECONNECTING")
		time.Sleep(2 * time.Second)
		h.expect("16 s after boot", "ERRORED SERVER_RESTART")
	})
}

func TestShutdown(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(10 * time.Second)
		h.m.Shutdown(h.Context())
		if p.Context().Err() == nil {
			h.Error("the publisher was not cut")
		}
		if cause := context.Cause(p.Context()); !errors.Is(cause, livestream.ErrStopping) {
			h.Errorf("the publisher was cut because of %v", cause)
		}
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrStopping) {
			h.Errorf("publish while stopping: %v, want livestream.ErrStopping", err)
		}
		h.expect("after SIGTERM", "LIVE RECONNECTING")
		time.Sleep(5 * time.Second)
		h.start()
		time.Sleep(time.Minute)
		s := h.expect("not resumed", "IDLE SERVER_STOPPED")
		if s.Ingest < 9900*time.Millisecond {
			h.Errorf("ingest = %v, want all 10 s", s.Ingest)
		}
	})
}

// TestShutdownWhileInvoked: what was saved stays as it is until the process
// ends, although the deadline of an interrupted session is over at once.
func TestShutdownWhileInvoked(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.publish()
		time.Sleep(time.Second)
		s := h.m.sessions[h.l.ID]
		s.shutdown(h.Context())
		time.Sleep(5 * time.Second) // other sessions take their time
		h.expect("while stopping", "INVOKED")
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrStopping) {
			h.Errorf("publish behind the last state: %v, want livestream.ErrStopping", err)
		}
		h.crash(time.Second)
		time.Sleep(14 * time.Second)
		h.expect("14 s after boot", "INVOKED")
		time.Sleep(2 * time.Second)
		h.expect("16 s after boot", "IDLE SERVER_STOPPED")
	})
}
