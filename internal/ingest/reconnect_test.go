package ingest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

func TestSilenceThenWindowEnds(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(20 * time.Second)
		h.expect("on air", "LIVE")
		lastMedia := time.Now()
		time.Sleep(9 * time.Second)
		h.expect("9 s silent", "LIVE")
		time.Sleep(time.Second)
		h.expect("10 s silent", "LIVE RECONNECTING")
		if p.Context().Err() == nil {
			h.Error("the silent connection was not cut")
		}
		if cause := context.Cause(p.Context()).Error(); !strings.Contains(cause, "no audio or video arrived for 10s") {
			h.Errorf("the encoder is told %q, want the silence", cause)
		}
		time.Sleep(49 * time.Second)
		h.expect("59 s after the last media", "LIVE RECONNECTING")
		time.Sleep(1100 * time.Millisecond)
		s := h.expect("60 s after the last media", "IDLE ENCODER_LOST")
		if d := lastMedia.Sub(s.StoppedAt); d < 0 || d > 40*time.Millisecond {
			h.Errorf("stopped %v before the last frame's time, want its arrival", d)
		}
		if s.Ingest < 19900*time.Millisecond || s.Ingest > 20*time.Second {
			h.Errorf("ingest = %v, want 20 s", s.Ingest)
		}
		if o := h.outs[0]; !o.ended || o.linger || o.lost != 1 {
			h.Errorf("output: ended %v, linger %v, lost %d", o.ended, o.linger, o.lost)
		}
	})
}

func TestReconnectInsideTheWindow(t *testing.T) {
	inBubble(t, func(h *harness) {
		first := h.publish()
		first.send(10 * time.Second)
		first.Lose(io.EOF)
		before := h.expect("connection lost", "LIVE RECONNECTING")
		time.Sleep(30 * time.Second)
		second := h.publish()
		if err := first.WriteFrame(media.Frame{}); !errors.Is(err, livestream.ErrStale) {
			h.Errorf("a frame of the first publisher: %v, want ErrStale", err)
		}
		second.send(5 * time.Second)
		after := h.expect("back", "LIVE")
		if after.ID != before.ID || after.Epoch != before.Epoch+1 || len(h.outs) != 1 {
			h.Errorf("session %s epoch %d, outputs %d; want the same session, one epoch more, one output", after.ID, after.Epoch, len(h.outs))
		}
		second.Unpublish()
		s := h.expect("clean end", "IDLE")
		if s.Ingest < 14900*time.Millisecond || s.Ingest > 15*time.Second {
			h.Errorf("ingest = %v, want 15 s", s.Ingest)
		}
		if !h.outs[0].linger {
			h.Error("a clean end must leave the playlist open for a while")
		}
	})
}

// TestConfigureWhileReconnecting: the running window gets its new length.
func TestConfigureWhileReconnecting(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(3 * time.Second)
		p.Lose(io.EOF)
		h.expect("lost", "LIVE RECONNECTING")
		window := 5 * time.Second
		if _, err := h.m.Configure(h.Context(), h.l.ID, livestream.Change{ReconnectWindow: &window}); err != nil {
			h.Fatal(err)
		}
		time.Sleep(4500 * time.Millisecond)
		h.expect("4.5 s after the last media", "LIVE RECONNECTING")
		time.Sleep(time.Second)
		h.expect("5.5 s after the last media", "IDLE ENCODER_LOST")
	})
}

// A picture that is held while nobody publishes takes up numbers: they are
// reserved ahead as ever, and no figure of the session moves.
func TestHeldPictureReservesNumbers(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(5 * time.Second)
		p.Lose(io.EOF)
		before := h.expect("connection lost", "LIVE RECONNECTING")
		time.Sleep(2 * time.Second)
		if still := h.record(); !still.Session.UpdatedAt.Equal(before.UpdatedAt) {
			h.Error("a checkpoint is written though nothing moves")
		}
		out := h.outs[0]
		for range 40 {
			out.mu.Lock()
			out.progress.MSN++
			msn := out.progress.MSN
			out.mu.Unlock()
			time.Sleep(time.Second)
			if mark := h.record().Livestream.Run.MSNMark; mark != msn+msnHeadroom || out.mark != mark {
				h.Fatalf("segment %d: reserved up to %d, the output knows %d", msn, mark, out.mark)
			}
		}
		after := h.expect("the picture was held", "LIVE RECONNECTING")
		if after.Ingest != before.Ingest || !after.LastMediaAt.Equal(before.LastMediaAt) || after.Epoch != before.Epoch {
			h.Errorf("figures went from %+v to %+v", before, after)
		}
		mark := out.mark
		h.crash(time.Second)
		if got := h.outs[1].Progress().MSN; got != mark {
			h.Errorf("after a crash numbers go on behind %d, want %d", got, mark)
		}
		second := h.publish()
		second.send(time.Second)
		second.Unpublish()
		if s := h.expect("clean end", "IDLE"); s.Ingest > before.Ingest+time.Second {
			h.Errorf("ingest = %v after %v", s.Ingest, before.Ingest)
		}
	})
}
