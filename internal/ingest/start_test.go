package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

func TestNoMedia(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		h.expect("after the publish", "INVOKED")
		time.Sleep(10*time.Second - time.Millisecond)
		h.expect("just before 10 s", "INVOKED")
		time.Sleep(2 * time.Millisecond)
		h.expect("after 10 s", "ERRORED NO_MEDIA")
		if _, ok := errors.AsType[*CutError](context.Cause(p.Context())); !ok {
			h.Errorf("the publication's context ended with %v, want a *CutError", context.Cause(p.Context()))
		}
	})
}

func TestNoKeyframe(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		time.Sleep(5 * time.Second)
		for p.Context().Err() == nil {
			p.Arrived(10)
			p.WriteFrame(media.Frame{Track: media.VideoTrack})
			time.Sleep(100 * time.Millisecond)
		}
		s := h.expect("without a keyframe", "ERRORED NO_KEYFRAME")
		if got := s.StoppedAt.Sub(s.InvokedAt); got < 15*time.Second || got > 15100*time.Millisecond {
			h.Errorf("failed %v after the publish, want 10 s after the first packet at 5 s", got)
		}
	})
}

func TestNothingUsable(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		for p.Context().Err() == nil {
			p.Arrived(10) // video before its sequence header is dropped by the protocol package
			time.Sleep(100 * time.Millisecond)
		}
		h.expect("without a sequence header", "ERRORED BAD_MEDIA")
	})
}

// Sequence headers are messages with media in their name and none in them. That
// they came and were understood must not be told as their absence.
func TestSequenceHeadersAlone(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.Arrived(48)
		if err := p.WriteTrack(picture); err != nil {
			t.Fatal(err)
		}
		<-p.Context().Done()
		s := h.expect("with a sequence header and nothing behind it", "ERRORED NO_MEDIA")
		if want := livestream.HeadersOnly(10 * time.Second); s.Reason != want {
			h.Errorf("%v, want %v", s.Reason, want)
		}
	})
}

func TestMeeting(t *testing.T) {
	inBubble(t, func(h *harness) {
		meeting := livestream.NewUUID()
		h.l = h.create(meeting)
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrNotStarted) {
			h.Errorf("publish before the start: %v, want ErrNotStarted", err)
		}
		if _, err := h.m.Start(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		if _, err := h.m.Start(h.Context(), h.l.ID); !errors.Is(err, livestream.ErrAlreadyOn) {
			h.Errorf("second start: %v, want ErrAlreadyOn", err)
		}
		started := h.expect("started", "INVOKED")
		time.Sleep(20 * time.Minute)
		p := h.publish()
		p.send(2 * time.Second)
		if s := h.expect("published", "LIVE"); s.ID != started.ID {
			h.Error("the publish must belong to the session that awaited it")
		}
		if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		if _, err := h.m.Start(h.Context(), h.l.ID); err != nil {
			h.Errorf("start after stop: %v", err)
		}
		time.Sleep(30*time.Minute + time.Second)
		h.expect("no encoder came", "ERRORED NO_ENCODER")
		if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
			h.Errorf("stop acknowledges the failure: %v", err)
		}
		h.expect("acknowledged", "IDLE NO_ENCODER")
	})
}
