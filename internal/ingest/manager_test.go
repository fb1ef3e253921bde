package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/store/sqlite"
)

// An outcome is a small working output: playable from its first keyframe on.
type outcome struct {
	mu       sync.Mutex
	epoch    int64
	progress livestream.Progress
	frames   int
	lost     int
	mark     int64
	ended    bool
	linger   bool
}

func (o *outcome) Begin(epoch int64)                           { o.mu.Lock(); defer o.mu.Unlock(); o.epoch = epoch }
func (o *outcome) Expect(int64, bool, bool)                    {}
func (o *outcome) WriteTrack(epoch int64, _ media.Track) error { return o.check(epoch) }
func (o *outcome) check(epoch int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if epoch != o.epoch {
		return livestream.ErrStale
	}
	return nil
}
func (o *outcome) WriteFrame(epoch int64, f media.Frame) error {
	if err := o.check(epoch); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames++
	if f.Key {
		o.progress.KeyframeSeen, o.progress.Playable = true, true
		o.progress.MSN++
	}
	return nil
}
func (o *outcome) Lost(int64)                    { o.mu.Lock(); defer o.mu.Unlock(); o.lost++ }
func (o *outcome) Mark(msn, _ int64)             { o.mu.Lock(); defer o.mu.Unlock(); o.mark = msn }
func (o *outcome) Progress() livestream.Progress { o.mu.Lock(); defer o.mu.Unlock(); return o.progress }
func (o *outcome) End(linger bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended, o.linger = true, linger
}

// A harness is a manager over a real store, in virtual time.
type harness struct {
	*testing.T
	store *sqlite.Store
	m     *Manager
	l     livestream.Livestream
	outs  []*outcome
}

var scope = livestream.Scope{AccountID: "account", AppID: "app"}

// inBubble runs f with a fresh harness in virtual time.
func inBubble(t *testing.T, f func(h *harness)) {
	path := filepath.Join(t.TempDir(), "tally.db")
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		h := &harness{T: t, store: store}
		h.l = h.create("")
		h.start()
		defer func() {
			h.m.Shutdown(context.Background())
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(h)
	})
}

func (h *harness) create(meetingID string) livestream.Livestream {
	now := time.Now().UTC().Truncate(time.Millisecond)
	l := livestream.Livestream{
		Scope: scope, ID: livestream.NewUUID(), StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		MeetingID: meetingID, CreatedAt: now, UpdatedAt: now, Settings: livestream.DefaultSettings,
	}
	if err := h.store.CreateLivestream(h.Context(), l); err != nil {
		h.Fatal(err)
	}
	return l
}

func (h *harness) start() {
	h.m = New(Config{
		Store: h.store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Open: func(r livestream.Record) Output {
			o := &outcome{progress: livestream.Progress{MSN: r.Livestream.Run.MSNMark, Discontinuity: r.Livestream.Run.DiscontinuityMark}}
			h.outs = append(h.outs, o)
			return o
		},
	})
	if err := h.m.Resume(h.Context()); err != nil {
		h.Fatal(err)
	}
}

// crash ends the manager without any last word, and starts another.
func (h *harness) crash(down time.Duration) {
	h.m.stop()
	h.m.actors.Wait()
	h.m.loops.Wait()
	time.Sleep(down)
	h.start()
}

func (h *harness) publish() *Publication {
	h.Helper()
	p, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey, Remote: "192.0.2.1:5000", Encoder: "test"})
	if err != nil {
		h.Fatalf("publish: %v", err)
	}
	return p
}

// send delivers 30 frames a second for d, a keyframe each second.
func (p *Publication) send(d time.Duration) {
	for i := range int(d / (time.Second / 30)) {
		p.Arrived(1000)
		p.WriteFrame(media.Frame{Track: media.VideoTrack, Key: i%30 == 0})
		time.Sleep(time.Second / 30)
	}
}

func (h *harness) record() livestream.Record {
	h.Helper()
	synctest.Wait()
	r, err := h.store.RecordByID(h.Context(), scope, h.l.ID)
	if err != nil {
		h.Fatal(err)
	}
	return r
}

// expect compares what the API would say with want: "STATUS CODE".
func (h *harness) expect(when, want string) livestream.Session {
	h.Helper()
	s := h.record().Session
	code, _, _ := strings.Cut(s.ErrMessage(), ":")
	if got := strings.TrimSpace(fmt.Sprint(s.Status(), " ", code)); got != want {
		h.Errorf("%s: %q (%s), want %q", when, got, s.ErrMessage(), want)
	}
	return s
}

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

func TestSecondPublisher(t *testing.T) {
	inBubble(t, func(h *harness) {
		first := h.publish()
		go first.send(20 * time.Second)
		time.Sleep(5 * time.Second)
		asked := time.Now()
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrBusy) {
			h.Errorf("while the first delivers: %v, want ErrBusy", err)
		}
		if d := time.Since(asked); d > 200*time.Millisecond {
			h.Errorf("refused after %v although the first delivered at once", d)
		}
		s := h.expect("defended", "LIVE")
		if s.Epoch != 1 {
			h.Errorf("epoch %d, want 1: the session must not notice", s.Epoch)
		}
		time.Sleep(15*time.Second + 500*time.Millisecond) // the first fell silent half a second ago
		asked = time.Now()
		second := h.publish()
		if d := time.Since(asked); d < 1300*time.Millisecond || d > 1700*time.Millisecond {
			h.Errorf("taken over after %v, want when the first was silent for 2 s", d)
		}
		if first.Context().Err() == nil {
			h.Error("the first connection was not cut by the takeover")
		}
		first.Lose(io.EOF) // its late end touches nothing
		second.send(time.Second)
		if s := h.expect("taken over", "LIVE"); s.Epoch != 2 {
			h.Errorf("epoch %d, want 2", s.Epoch)
		}
	})
}

// TestPublisherPolicies: what becomes of a second publisher while the first
// one is healthy, stale, and gone.
func TestPublisherPolicies(t *testing.T) {
	for _, c := range []struct {
		policy         livestream.Policy
		healthy, stale error // nil: takes over
		within         time.Duration
	}{
		{livestream.ReplaceIfStale, livestream.ErrBusy, nil, holdLimit},
		{livestream.Reject, livestream.ErrBusy, livestream.ErrBusy, 0},
		{livestream.Replace, nil, nil, 0},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				if _, err := h.m.Configure(h.Context(), h.l.ID, livestream.Change{Publisher: &c.policy}); err != nil {
					h.Fatal(err)
				}
				p := h.publish()
				p.send(3 * time.Second)
				newcomer := func(when string, want error) *Publication {
					h.Helper()
					asked := time.Now()
					n, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey, Remote: "198.51.100.1:1"})
					if !errors.Is(err, want) || time.Since(asked) > c.within {
						h.Errorf("%s: %v after %v, want %v within %v", when, err, time.Since(asked), want, c.within)
					}
					return n
				}
				stop := make(chan struct{})
				go func() { // the first goes on until it is told to stop, or cut
					defer close(stop)
					p.send(3 * time.Second)
				}()
				n := newcomer("healthy", c.healthy)
				if cut := p.Context().Err() != nil; cut != (c.healthy == nil) {
					h.Errorf("the first was cut: %v", cut)
				}
				<-stop
				if n != nil {
					p = n
					p.send(time.Second)
				}
				time.Sleep(2500 * time.Millisecond)
				if n = newcomer("stale", c.stale); n != nil {
					p = n
					p.send(time.Second)
				}
				p.Lose(io.EOF)
				h.expect("gone", "LIVE RECONNECTING")
				newcomer("gone", nil)
				if s := h.expect("back", "LIVE"); s.ID != h.record().Session.ID || len(h.outs) != 1 {
					h.Error("all of it must be one session")
				}
			})
		})
	}
}

func TestStop(t *testing.T) {
	inBubble(t, func(h *harness) {
		if _, err := h.m.Stop(h.Context(), h.l.ID); !errors.Is(err, livestream.ErrNotActive) {
			h.Errorf("stop of an idle livestream: %v, want ErrNotActive", err)
		}
		p := h.publish()
		p.send(3 * time.Second)
		if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		h.expect("stopped", "IDLE")
		if p.Context().Err() == nil || !h.outs[0].ended || h.outs[0].linger {
			h.Error("stop must cut the publisher and end the playlist at once")
		}
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrDamped) {
			h.Errorf("publish after the stop: %v, want ErrDamped", err)
		}
		time.Sleep(30 * time.Second)
		h.publish().Unpublish()
		h.expect("30 s later", "IDLE")
	})
}

// TestSwitches: what the API switches cuts the publisher, at once.
func TestSwitches(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(h *harness) (livestream.Record, error)
		after error // of a publish with the old key
	}{
		{"disable", func(h *harness) (livestream.Record, error) { return h.m.Disable(h.Context(), h.l.ID) }, livestream.ErrDisabled},
		{"reset key", func(h *harness) (livestream.Record, error) { return h.m.ResetKey(h.Context(), h.l.ID) }, livestream.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				p := h.publish()
				p.send(3 * time.Second)
				h.expect("before", "LIVE")
				rec, err := c.do(h)
				if err != nil || rec.Session.Phase != livestream.Ended {
					h.Fatalf("%v, session %s", err, rec.Session.Phase)
				}
				var cut *CutError
				if !errors.As(context.Cause(p.Context()), &cut) || !h.outs[0].ended || h.outs[0].linger {
					h.Errorf("the publisher must be cut and the playlist end at once: %v", context.Cause(p.Context()))
				}
				h.expect("after", "IDLE")
				if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, c.after) {
					h.Errorf("publish with the old key: %v, want %v", err, c.after)
				}
				if rec, err = h.m.Enable(h.Context(), h.l.ID); err != nil {
					h.Fatal(err)
				}
				h.l.StreamKey = rec.Livestream.StreamKey
				h.publish().Unpublish()
			})
		})
	}
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

func TestDelete(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(2 * time.Second)
		if _, err := h.m.Delete(h.Context(), h.l.ID); !errors.Is(err, livestream.ErrOpen) {
			h.Errorf("while on air: %v, want ErrOpen", err)
		}
		h.expect("refused", "LIVE")
		p.Unpublish()
		h.expect("ended", "IDLE")
		if _, err := h.m.Delete(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, livestream.ErrNotFound) {
			h.Errorf("publish to a deleted livestream: %v, want ErrNotFound", err)
		}
		if _, err := h.m.Stop(h.Context(), h.l.ID); !errors.Is(err, livestream.ErrNotFound) {
			h.Errorf("stop of a deleted livestream: %v, want ErrNotFound", err)
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

// TestIngestSeconds: arrival counts, media time does not.
func TestIngestSeconds(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		p.send(5 * time.Second)
		time.Sleep(3 * time.Second) // a gap of more than 2 s is no ingest
		p.send(5 * time.Second)
		for range 3000 { // a burst of 100 s of media within no time
			p.Arrived(1000)
		}
		time.Sleep(600 * time.Millisecond)
		if s := h.expect("live", "LIVE"); s.Ingest < 9800*time.Millisecond || s.Ingest > 10*time.Second {
			h.Errorf("ingest = %v, want 10 s", s.Ingest)
		}
		p.Unpublish()
	})
}

// A flaky store fails its writes while down.
type flaky struct {
	Store
	mu   sync.Mutex
	down bool
}

func (f *flaky) set(down bool) { f.mu.Lock(); defer f.mu.Unlock(); f.down = down }
func (f *flaky) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errors.New("disk full")
	}
	return nil
}
func (f *flaky) Advance(ctx context.Context, id string, e livestream.Event) (livestream.Record, error) {
	if err := f.err(); err != nil {
		return livestream.Record{}, err
	}
	return f.Store.Advance(ctx, id, e)
}
func (f *flaky) Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow, vs []livestream.Viewing) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Checkpoint(ctx, cs, ws, vs)
}

// TestStoreAway: what happened while the store could not write is written when it can.
// A contrary store has one event refused as of an older publish.
type contrary struct {
	Store
	refuse livestream.Kind
}

func (c *contrary) Advance(ctx context.Context, id string, e livestream.Event) (livestream.Record, error) {
	if e.Kind == c.refuse {
		c.refuse = 0
		rec, err := c.Store.Advance(ctx, id, livestream.Event{Kind: livestream.Unpublish, At: e.At, Epoch: -1})
		return rec, err // ErrStale, and the record as it stands
	}
	return c.Store.Advance(ctx, id, e)
}

// TestNobodyConnectedNeverStaysLive: whatever the store thinks of an end, a
// session whose publisher is gone gets a deadline.
func TestNobodyConnectedNeverStaysLive(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.m.store = &contrary{Store: h.m.store, refuse: livestream.Unpublish}
		p := h.publish()
		p.send(3 * time.Second)
		p.Unpublish()
		h.expect("the end was refused", "LIVE RECONNECTING")
		time.Sleep(time.Minute + time.Second)
		h.expect("the window is over", "IDLE ENCODER_LOST")
	})
}

func TestStoreAway(t *testing.T) {
	inBubble(t, func(h *harness) {
		f := &flaky{Store: h.store}
		h.m.store = f
		p := h.publish()
		p.send(3 * time.Second)
		f.set(true)
		p.send(5 * time.Second)
		p.Lose(io.EOF)
		time.Sleep(5 * time.Second)
		h.expect("store away", "LIVE")
		f.set(false)
		time.Sleep(time.Second)
		s := h.expect("store back", "LIVE RECONNECTING")
		if s.Ingest < 7900*time.Millisecond {
			h.Errorf("ingest = %v, want 8 s", s.Ingest)
		}
	})
}

// TestRace lets two encoders fight for one key: never two at once, and the
// manager keeps nothing behind.
func TestRace(t *testing.T) {
	inBubble(t, func(h *harness) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		on := 0
		for range 8 {
			wg.Go(func() {
				for range 20 {
					p, err := h.m.Publish(context.Background(), Request{Key: h.l.StreamKey})
					if err != nil {
						continue
					}
					mu.Lock()
					if on++; on > 1 {
						h.Error("two publishers at once")
					}
					mu.Unlock()
					p.send(100 * time.Millisecond)
					mu.Lock()
					on--
					mu.Unlock()
					p.Lose(io.EOF)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
			h.Error(err)
		}
		time.Sleep(time.Second)
		if n := len(h.m.all()); n != 0 {
			h.Errorf("%d actors left, want none", n)
		}
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
