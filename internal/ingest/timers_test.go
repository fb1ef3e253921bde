package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/media"
)

// configure changes settings as the API does.
func (h *harness) configure(c livestream.Change) {
	h.Helper()
	if _, err := h.m.Configure(h.Context(), h.l.ID, c); err != nil {
		h.Fatal(err)
	}
}

// refused asks to publish and must get that error.
func (h *harness) refused(when string, want error) {
	h.Helper()
	if _, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); !errors.Is(err, want) {
		h.Errorf("%s: %v, want %v", when, err, want)
	}
}

// edge lets time go by until a millisecond before at, and then past it, and
// expects what the API says on both sides.
func (h *harness) edge(what string, at time.Time, before, behind string) livestream.Session {
	h.Helper()
	time.Sleep(time.Until(at.Add(-2 * time.Millisecond)))
	h.expect("just before "+what, before)
	time.Sleep(4 * time.Millisecond)
	return h.expect("after "+what, behind)
}

// TestAwaitingEnds: a started meeting waits 30 min, or what was set, from 1 min
// to 24 h.
func TestAwaitingEnds(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute, 24 * time.Hour} {
		t.Run(wait.String(), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				h.l = h.create(livestream.NewUUID())
				want := 30 * time.Minute
				if wait > 0 {
					h.configure(livestream.Change{AwaitEncoder: &wait})
					want = wait
				}
				began := time.Now()
				if _, err := h.m.Start(h.Context(), h.l.ID); err != nil {
					h.Fatal(err)
				}
				h.edge("the wait", began.Add(want), "INVOKED", "ERRORED NO_ENCODER")
				h.refused("when nobody waits any more", livestream.ErrNotStarted)
			})
		})
	}
}

// TestAwaitingOutlivesRestarts: neither a crash nor a stop of the server
// touches a session that awaits its encoder, nor its deadline.
func TestAwaitingOutlivesRestarts(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.l = h.create(livestream.NewUUID())
		began := time.Now()
		if _, err := h.m.Start(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		before := h.expect("started", "INVOKED")
		h.crash(5 * time.Minute)
		h.m.Shutdown(h.Context())
		time.Sleep(5 * time.Minute)
		h.start()
		if after := h.expect("after a crash and a stop", "INVOKED"); after.ID != before.ID || !after.Deadline.Equal(before.Deadline) {
			h.Errorf("went from %+v to %+v", before, after)
		}
		h.edge("the wait", began.Add(30*time.Minute), "INVOKED", "ERRORED NO_ENCODER")
	})
}

// TestClocksStartWithTheEncoder: the 10 s for media count from the publish, not
// from the meeting's start.
func TestClocksStartWithTheEncoder(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.l = h.create(livestream.NewUUID())
		if _, err := h.m.Start(h.Context(), h.l.ID); err != nil {
			h.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		h.publish()
		h.edge("10 s without media", time.Now().Add(10*time.Second), "INVOKED", "ERRORED NO_MEDIA")
	})
}

// TestEndWhileInvoked: what ends a session before anything is playable.
func TestEndWhileInvoked(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p *Publication)
		want string
	}{
		{"clean end", (*Publication).Unpublish, "IDLE"},
		{"connection lost", func(p *Publication) { p.Lose(io.EOF) }, "ERRORED DISCONNECTED"},
		{"unusable codec", func(p *Publication) { p.Fail(livestream.Unsupported("HEVC", "use H.264")) }, "ERRORED UNSUPPORTED_CODEC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				p := h.publish()
				p.Arrived(10)
				time.Sleep(time.Second)
				c.end(p)
				if s := h.expect(c.name, c.want); !s.StartedAt.IsZero() || s.StoppedAt.Sub(s.InvokedAt) != time.Second {
					h.Errorf("started %v, stopped %v after the publish", s.StartedAt, s.StoppedAt.Sub(s.InvokedAt))
				}
			})
		})
	}
}

// TestStarving: after 2 s without media a checkpoint shows so, and nothing else
// changes. (The health "starving" is derived from these two times.)
func TestStarving(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.publish().send(5 * time.Second)
		last := time.Now()
		silence := func() time.Duration {
			s := h.expect("silent", "LIVE")
			return s.UpdatedAt.Sub(s.LastMediaAt)
		}
		time.Sleep(1900 * time.Millisecond)
		if d := silence(); d > 2*time.Second {
			h.Errorf("%v of silence are stored after %v", d, time.Since(last))
		}
		time.Sleep(650 * time.Millisecond) // a checkpoint later
		if d := silence(); d <= 2*time.Second {
			h.Errorf("%v of silence are stored after %v", d, time.Since(last))
		}
	})
}

// TestSilenceIsTenSecondsWhateverTheWindow: a silent connection keeps its 10 s;
// the window counts from the last media.
func TestSilenceIsTenSecondsWhateverTheWindow(t *testing.T) {
	for _, window := range []time.Duration{0, 5 * time.Second, 10 * time.Second, time.Minute, 1800 * time.Second} {
		t.Run(window.String(), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				h.configure(livestream.Change{ReconnectWindow: &window})
				p := h.publish()
				p.send(5 * time.Second)
				last := p.lastArrival()
				behind := "LIVE RECONNECTING"
				if window <= 10*time.Second {
					behind = "IDLE ENCODER_LOST"
				}
				s := h.edge("10 s of silence", last.Add(10*time.Second), "LIVE", behind)
				if p.Context().Err() == nil {
					h.Error("the connection is open")
				}
				if window > 10*time.Second {
					s = h.edge("the window", last.Add(window), "LIVE RECONNECTING", "IDLE ENCODER_LOST")
				}
				if d := last.Sub(s.StoppedAt); d < 0 || d > time.Millisecond {
					h.Errorf("stopped %v before the last media", d)
				}
			})
		})
	}
}

// TestLossEndsWithTheWindow: a connection that is lost leaves what the window
// allows, which may be nothing.
func TestLossEndsWithTheWindow(t *testing.T) {
	for _, window := range []time.Duration{0, 3 * time.Second, 1800 * time.Second} {
		t.Run(window.String(), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				h.configure(livestream.Change{ReconnectWindow: &window})
				p := h.publish()
				p.send(5 * time.Second)
				last := p.lastArrival()
				time.Sleep(time.Second)
				p.Lose(io.EOF)
				time.Sleep(2 * time.Millisecond)
				if window > 0 {
					h.edge("the window", last.Add(window), "LIVE RECONNECTING", "IDLE ENCODER_LOST")
				}
				s := h.expect("over", "IDLE ENCODER_LOST")
				if d := last.Sub(s.StoppedAt); d < 0 || d > time.Millisecond {
					h.Errorf("stopped %v before the last media", d)
				}
			})
		})
	}
}

// TestPlaylistOutlivesACleanEnd: ENDLIST comes after the delay, and a new
// session before that continues the playlist behind one DISCONTINUITY.
func TestPlaylistOutlivesACleanEnd(t *testing.T) {
	for _, delay := range []time.Duration{0, 10 * time.Second, 600 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				h.packaged()
				h.configure(livestream.Change{EndlistDelay: &delay})
				p := h.publish()
				p.sendPictures(h, 6*time.Second)
				p.Unpublish()
				ended := time.Now()
				first := h.expect("clean end", "IDLE")
				run := h.record().Livestream.Run.ID
				if delay > 0 {
					time.Sleep(delay - time.Millisecond)
					if h.playlist(run).Ended {
						h.Error("ENDLIST before the delay")
					}
					p = h.publish()
					p.sendPictures(h, 2*time.Second)
					if s := h.expect("published again", "LIVE"); s.ID == first.ID || h.record().Livestream.Run.ID != run {
						h.Errorf("session %s, run %s; want a new session in the same run", s.ID, h.record().Livestream.Run.ID)
					}
					if n := strings.Count(string(h.playlist(run).Playlist(false, false).Data), "\n#EXT-X-DISCONTINUITY\n"); n != 1 {
						h.Errorf("%d discontinuities in %v, want 1", n, time.Since(ended))
					}
					p.Unpublish()
					h.expect("clean end", "IDLE")
					time.Sleep(delay)
				}
				if delay == 0 {
					time.Sleep(340 * time.Millisecond) // the last part is listed for a part target before
				}
				time.Sleep(5 * time.Millisecond)
				if !h.playlist(run).Ended {
					h.Errorf("no ENDLIST %v after the end", delay)
				}
				h.publish().sendPictures(h, 2*time.Second)
				if h.expect("after ENDLIST", "LIVE"); h.record().Livestream.Run.ID == run {
					h.Error("a playlist goes on behind its ENDLIST")
				}
			})
		})
	}
}

// TestPlaylistHeedsAChangedDelay: a delay that is changed on air is the one that
// the next clean end gets, for the playlist as for the record.
func TestPlaylistHeedsAChangedDelay(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.packaged()
		p := h.publish()
		p.sendPictures(h, 2*time.Second)
		delay := 40 * time.Second
		h.configure(livestream.Change{EndlistDelay: &delay})
		p.Unpublish()
		run := h.record().Livestream.Run.ID
		time.Sleep(delay - time.Millisecond)
		if h.playlist(run).Ended {
			h.Error("ENDLIST before the delay")
		}
		time.Sleep(5 * time.Millisecond)
		if !h.playlist(run).Ended {
			h.Error("no ENDLIST after the delay")
		}
	})
}

// packaged puts the real packager behind the sessions that begin from now on.
func (h *harness) packaged() {
	h.registry = hls.NewRegistry(hls.Config{Window: 30 * time.Second})
	h.Cleanup(func() { h.registry.Close() })
	h.m.open = func(r livestream.Record) Output {
		return h.registry.Open(hls.OpenOptions{PlaybackID: r.Livestream.PlaybackID, SessionID: r.Session.ID,
			Run: r.Livestream.Run, EndlistDelay: r.Livestream.Settings.EndlistDelay})
	}
}

// playlist is what viewers of a run get now.
func (h *harness) playlist(run string) *hls.Snapshot {
	h.Helper()
	s := h.registry.Run(h.l.PlaybackID, run)
	if s == nil {
		h.Fatalf("there is no run %s", run)
	}
	return s.Window().Current()
}

// sendPictures delivers what the packager takes: 10 pictures a second, a
// keyframe each second.
func (p *Publication) sendPictures(h *harness, d time.Duration) {
	h.Helper()
	p.Expect(media.First(true, false))
	track := chaosTrack
	track.FrameRate = 10
	if err := p.WriteTrack(track); err != nil {
		h.Fatal(err)
	}
	for i := range int(d / (100 * time.Millisecond)) {
		p.Arrived(100)
		dts := int64(i) * 9000
		if err := p.WriteFrame(media.Frame{Track: media.VideoTrack, Key: i%10 == 0, DTS: dts, PTS: dts, Payload: marked(0, i%10 == 0)}); err != nil {
			h.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestStopRefusesTheKey: for 30 s, or what was set from 0 to 300 s.
func TestStopRefusesTheKey(t *testing.T) {
	for _, damping := range []time.Duration{0, 5 * time.Second, 30 * time.Second, 300 * time.Second} {
		t.Run(damping.String(), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				h.configure(livestream.Change{Damping: &damping})
				h.publish().send(2 * time.Second)
				stopped := time.Now()
				if _, err := h.m.Stop(h.Context(), h.l.ID); err != nil {
					h.Fatal(err)
				}
				if damping > 0 {
					h.refused("at once", livestream.ErrDamped)
					time.Sleep(time.Until(stopped.Add(damping - 2*time.Millisecond)))
					h.refused("just before the end of it", livestream.ErrDamped)
					time.Sleep(3 * time.Millisecond)
				}
				h.publish()
				h.expect("published again", "INVOKED")
			})
		})
	}
}

// TestThreeTakeovers in 30 s: newcomers are refused for 30 s while the present
// publisher is connected, and he stays.
func TestThreeTakeovers(t *testing.T) {
	inBubble(t, func(h *harness) {
		replace := livestream.Replace
		h.configure(livestream.Change{Publisher: &replace})
		p := h.publish()
		p.send(time.Second)
		for range 3 {
			time.Sleep(2 * time.Second)
			p = h.publish()
			p.send(time.Second)
		}
		third := time.Now().Add(-time.Second)
		for time.Since(third) < 30*time.Second-100*time.Millisecond {
			h.refused(fmt.Sprint(time.Since(third), " after the third takeover"), livestream.ErrDefended)
			p.send(time.Second)
		}
		if s := h.expect("defended", "LIVE"); s.Epoch != 4 || p.Context().Err() != nil {
			h.Errorf("epoch %d, the publisher's context: %v", s.Epoch, p.Context().Err())
		}
		time.Sleep(time.Until(third.Add(30*time.Second + time.Millisecond)))
		h.publish()
	})
}

// TestThreeFailures in 60 s: the key is refused for 30 s.
func TestThreeFailures(t *testing.T) {
	inBubble(t, func(h *harness) {
		for range 3 {
			h.publish().Lose(io.EOF)
			h.expect("failed", "ERRORED DISCONNECTED")
			time.Sleep(10 * time.Second)
		}
		h.refused("10 s after the third failure", livestream.ErrFailing)
		time.Sleep(20*time.Second - 2*time.Millisecond)
		h.refused("30 s after the third failure", livestream.ErrFailing)
		time.Sleep(3 * time.Millisecond)
		h.publish()
	})
}

// TestHold: a newcomer is held, and let in when the present publisher was
// silent for 2 s, while INVOKED and LIVE alike; whoever came first is held.
func TestHold(t *testing.T) {
	for name, media := range map[string]time.Duration{"INVOKED": 0, "LIVE": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				first := h.publish()
				first.send(media)
				heard := first.began
				if media > 0 {
					heard = first.lastArrival()
				}
				time.Sleep(500 * time.Millisecond)
				held := make(chan *Publication)
				go func() { held <- h.publish() }()
				time.Sleep(10 * time.Millisecond)
				h.refused("while another one is held", livestream.ErrBusy)
				h.expect("held", name)
				second := <-held
				if d := second.began.Sub(heard); d < IntervalGap || d > IntervalGap+2*time.Millisecond {
					h.Errorf("let in %v after the last sign of the first", d)
				}
				if s := h.expect("taken over", name); s.Epoch != 2 || first.Context().Err() == nil {
					h.Errorf("epoch %d, the first one's context: %v", s.Epoch, first.Context().Err())
				}
			})
		})
	}
}

// TestHeldUntilThePresentOneGoes: also a clean end or a loss lets him in at once.
func TestHeldUntilThePresentOneGoes(t *testing.T) {
	for name, end := range map[string]func(*Publication){"clean": (*Publication).Unpublish, "lost": func(p *Publication) { p.Lose(io.EOF) }} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				first := h.publish()
				first.send(3 * time.Second)
				before := h.expect("on air", "LIVE")
				held := make(chan *Publication)
				go func() { held <- h.publish() }()
				time.Sleep(500 * time.Millisecond)
				gone := time.Now()
				end(first)
				if second := <-held; second.began.Sub(gone) > time.Millisecond {
					h.Errorf("let in %v after the first had gone", second.began.Sub(gone))
				}
				if s := h.record().Session; (s.ID == before.ID) != (name == "lost") {
					h.Errorf("session %s after %s", s.ID, before.ID)
				}
			})
		})
	}
}

// TestCrashWhileInvoked: 15 s from boot for the encoder, then ERRORED.
func TestCrashWhileInvoked(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.publish()
		time.Sleep(time.Second)
		h.crash(time.Minute)
		h.edge("15 s from boot", time.Now().Add(bootGrace), "INVOKED", "ERRORED SERVER_RESTART")
	})
}

// bootGrace is design section 3's, written down again.
const bootGrace = 15 * time.Second

// TestCrashInTheWindow: the rest of the window goes on, 15 s from boot at
// least, and the outcome is the window's.
func TestCrashInTheWindow(t *testing.T) {
	for _, down := range []time.Duration{5 * time.Second, 50 * time.Second, time.Hour} {
		t.Run(down.String(), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				p := h.publish()
				p.send(5 * time.Second)
				last := p.lastArrival()
				p.Lose(io.EOF)
				h.expect("lost", "LIVE RECONNECTING")
				h.crash(down)
				ends := latest(last.Add(time.Minute), time.Now().Add(bootGrace))
				s := h.edge("the window", ends, "LIVE RECONNECTING", "IDLE ENCODER_LOST")
				if d := last.Sub(s.StoppedAt); d < 0 || d > time.Millisecond {
					h.Errorf("stopped %v before the last media", d)
				}
			})
		})
	}
}

// TestFailureIsSticky: until it is acknowledged by stop, enable or disable, or
// until the next publish; a new key alone acknowledges nothing.
func TestFailureIsSticky(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(ctx context.Context, h *harness) error
		want string
	}{
		{"stop", func(ctx context.Context, h *harness) error { _, err := h.m.Stop(ctx, h.l.ID); return err }, "IDLE NO_MEDIA"},
		{"enable", func(ctx context.Context, h *harness) error { _, err := h.m.Enable(ctx, h.l.ID); return err }, "IDLE NO_MEDIA"},
		{"disable", func(ctx context.Context, h *harness) error { _, err := h.m.Disable(ctx, h.l.ID); return err }, "IDLE NO_MEDIA"},
		{"reset key", func(ctx context.Context, h *harness) error { _, err := h.m.ResetKey(ctx, h.l.ID); return err }, "ERRORED NO_MEDIA"},
		{"publish", func(ctx context.Context, h *harness) error { h.publish(); return nil }, "INVOKED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				h.publish()
				time.Sleep(3 * time.Hour)
				h.expect("hours later", "ERRORED NO_MEDIA")
				h.crash(time.Hour)
				h.expect("after a restart", "ERRORED NO_MEDIA")
				if err := c.do(h.Context(), h); err != nil {
					h.Fatal(err)
				}
				h.expect("after "+c.name, c.want)
			})
		})
	}
}

// TestMeetingKeyIsOfItsSession: accepted between start and close alone.
func TestMeetingKeyIsOfItsSession(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.l = h.create(livestream.NewUUID())
		h.refused("before the start", livestream.ErrNotStarted)
		for range 3 { // the same key at each start
			if _, err := h.m.Start(h.Context(), h.l.ID); err != nil {
				h.Fatal(err)
			}
			p := h.publish()
			p.send(2 * time.Second)
			p.Lose(io.EOF)
			p = h.publish() // a reconnect is inside
			p.send(time.Second)
			p.Unpublish()
			h.expect("ended", "IDLE")
			h.refused("after the end", livestream.ErrNotStarted)
		}
	})
}

// TestLabels: a session's labels are never before those of what came before,
// also when the wall clock was set back while the server was down.
func TestLabels(t *testing.T) {
	inBubble(t, func(h *harness) {
		floor := time.Now().UTC().Add(time.Hour).Truncate(time.Millisecond)
		c := startClock(time.Now(), floor)
		if !c.now().Equal(floor) {
			h.Errorf("the clock begins at %v, want the label of before, %v", c.now(), floor)
		}
		time.Sleep(90 * time.Second)
		if d := c.now().Sub(floor); d != 90*time.Second {
			h.Errorf("%v went by on the clock, want 90 s", d)
		}
		if d := c.until(floor.Add(2 * time.Minute)); d != 30*time.Second {
			h.Errorf("%v until two minutes, want 30 s", d)
		}
		if c.until(time.Time{}) >= 0 {
			h.Error("no label at all must be past")
		}
	})
}
