package ingest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

var (
	picture = media.Track{ID: media.VideoTrack, Codec: media.H264, Timescale: media.VideoTimescale, Width: 1280, Height: 720, FrameRate: 30, CodecString: "avc1.64001f"}
	sound   = media.Track{ID: media.AudioTrack, Codec: media.AAC, Timescale: 48000, Channels: 2, CodecString: "mp4a.40.2"}
)

// A camera is an encoder that goes on from where it was.
type camera struct {
	*Publication
	n   int
	gop int // frames
}

// film sends 30 pictures a second, each with sound.
func (c *camera) film(d time.Duration) {
	if c.n == 0 {
		c.Arrived(100)
		c.WriteTrack(picture)
		c.Arrived(100)
		c.WriteTrack(sound)
	}
	for range int(d / (time.Second / 30)) {
		dts := int64(c.n) * 3000
		c.Arrived(1000)
		c.WriteFrame(media.Frame{Track: media.VideoTrack, DTS: dts, PTS: dts, Key: c.n%c.gop == 0, Payload: make([]byte, 1000)})
		c.Arrived(300)
		c.WriteFrame(media.Frame{Track: media.AudioTrack, DTS: int64(c.n) * 1600, PTS: int64(c.n) * 1600, Key: true, Payload: make([]byte, 300)})
		c.n++
		time.Sleep(time.Second / 30)
	}
}

func (h *harness) film(gop int) *camera { return &camera{Publication: h.publish(), gop: gop} }

// timeline is what is stored of a session: "kind" for a transition, "kind
// detail" for the others.
func (h *harness) timeline(id string) []string {
	h.Helper()
	facts, _, err := h.store.Timeline(h.Context(), id, livestream.Page{Number: 1, Size: 100})
	if err != nil {
		h.Fatal(err)
	}
	var lines []string
	for _, f := range facts {
		line := f.Kind
		if f.From == f.To && f.Kind != "publish" {
			code, _, _ := strings.Cut(f.Detail, ":")
			line += " " + code
		}
		lines = append(lines, line)
	}
	return lines
}

const description = "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo"

// TestConditionIsStored: what the encoder sends and should change is with the
// session half a second later, in its timeline at the time it was measured, and
// goes with the publish that it is about.
func TestConditionIsStored(t *testing.T) {
	inBubble(t, func(h *harness) {
		began := time.Now().UTC()
		c := h.film(300)
		c.film(12 * time.Second)
		s := h.expect("10 s GOPs", "LIVE")
		ws := livestream.SplitWarnings(s.Warnings)
		if len(ws) != 1 || ws[0].Code != livestream.KeyframeInterval || s.Media != description || s.Keyframe != 10*time.Second {
			h.Errorf("warnings %q, media %q, keyframes every %v", s.Warnings, s.Media, s.Keyframe)
		}
		if want := int64(200 + 12*30*1300); s.Bytes < want*9/10 || s.Bytes > want {
			h.Errorf("%d bytes, want some %d", s.Bytes, want)
		}
		c.Lose(io.EOF)
		time.Sleep(time.Second)
		c.Arrived(1_000_000) // after its end
		if s := h.record().Session; s.Warnings == "" || s.Media != description {
			h.Errorf("while it reconnects it is known what was wrong: warnings %q, media %q", s.Warnings, s.Media)
		}
		c = h.film(60)
		if s := h.record().Session; s.Warnings != "" {
			h.Errorf("a new publish has to be measured first: %q", s.Warnings)
		}
		c.film(5 * time.Second)
		c.Unpublish()
		time.Sleep(time.Second)
		s = h.expect("ended", "IDLE")
		if s.Warnings != "" || s.Keyframe != 2*time.Second || s.Bytes != 2*200+17*30*1300 {
			h.Errorf("in the end: warnings %q, keyframes every %v, %d bytes", s.Warnings, s.Keyframe, s.Bytes)
		}
		want := []string{"publish", "playable", "media " + description, "warning KEYFRAME_INTERVAL", "lose", "publish", "media " + description, "unpublish"}
		if got := h.timeline(s.ID); !slices.Equal(got, want) {
			h.Errorf("timeline %q\nwant %q", got, want)
		}
		facts, _, err := h.store.Timeline(h.Context(), s.ID, livestream.Page{Number: 1, Size: 100})
		if err != nil {
			h.Fatal(err)
		}
		for i := range facts {
			f := facts[i]
			if i > 0 && (f.Bytes < facts[i-1].Bytes || f.Ingest < facts[i-1].Ingest) {
				h.Errorf("%s: bytes and seconds go back: %+v", f.Kind, f)
			}
			if f.Kind == livestream.FactWarning {
				within(h, "the warning's time", f.At.Sub(began), 10*time.Second, 100*time.Millisecond)
				within(h, "the seconds by then", f.Ingest, 10*time.Second, 100*time.Millisecond)
				if f.Epoch != 1 || f.Media != description || f.Keyframe != 10*time.Second || f.From != "on air" || f.Remote == "" {
					h.Errorf("%+v", f)
				}
			}
			if f.Kind == "lose" && (f.Media != description || f.Keyframe != 10*time.Second || f.Bytes != 200+12*30*1300) {
				h.Errorf("%+v", f)
			}
		}
	})
}

// TestConditionOutlivesEverything: a line that no checkpoint could write is
// written with a later one, also when its publication, its session or both are
// over by then, and once.
func TestConditionOutlivesEverything(t *testing.T) {
	for name, end := range map[string]func(h *harness, c *camera){
		"goes on":     func(*harness, *camera) {},
		"lost":        func(h *harness, c *camera) { c.Lose(io.EOF) },
		"clean end":   func(h *harness, c *camera) { c.Unpublish() },
		"stopped":     func(h *harness, c *camera) { h.m.Stop(h.Context(), h.l.ID) },
		"unparsable":  func(h *harness, c *camera) { c.Fail(livestream.Unparsable("no picture")) },
		"shut down":   func(h *harness, c *camera) { h.m.Shutdown(h.Context()) },
		"taken over":  func(h *harness, c *camera) { time.Sleep(2500 * time.Millisecond); h.publish() },
		"long absent": func(h *harness, c *camera) { c.Lose(io.EOF); time.Sleep(70 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(h *harness) {
				l := newLedger(h.store)
				h.m.store = l
				c := h.film(300)
				c.film(500 * time.Millisecond)
				time.Sleep(500 * time.Millisecond)
				l.setDown(true)
				c.film(11 * time.Second)
				id := h.record().Session.ID
				if name == "shut down" {
					l.setDown(false) // it has no later checkpoint
				}
				end(h, c)
				time.Sleep(time.Second)
				l.setDown(false)
				time.Sleep(time.Second)
				got := h.timeline(id)
				for _, line := range []string{"media " + description, "warning KEYFRAME_INTERVAL"} {
					if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != line })); n != 1 {
						h.Errorf("%q is there %d times in %q", line, n, got)
					}
				}
				s, err := h.store.Session(h.Context(), scope, id)
				if err != nil || s.Media != description || (s.Warnings == "") != (name == "taken over") {
					h.Errorf("media %q, warnings %q, %v", s.Media, s.Warnings, err)
				}
			})
		})
	}
}

// TestUntoldIsBounded: lines that cannot be written are bounded, the newest stay.
func TestUntoldIsBounded(t *testing.T) {
	inBubble(t, func(h *harness) {
		p := h.publish()
		c := &p.condition
		for i := range maxUntold + 10 {
			c.add(untold{received: received{last: int64(i)}})
			if i == maxUntold-1 {
				_, lines := c.take() // goes into a checkpoint
				defer func() {
					c.told(len(lines))
					if _, left := c.take(); len(left) != 10 || left[0].last != maxUntold {
						h.Errorf("%d left", len(left))
					}
				}()
			}
		}
		if len(c.untold) != maxUntold || c.untold[maxUntold-1].last != maxUntold+9 {
			h.Errorf("%d lines wait", len(c.untold))
		}
	})
}

// TestStarvingIsShown: whenever media stops on air, the session says so between 2 and
// 3 s later, and stops saying so within a second of media: once it went from
// INVOKED to LIVE, right after a reconnect, after a takeover and amid a session.
func TestStarvingIsShown(t *testing.T) {
	inBubble(t, func(h *harness) {
		starves := func(when string, ago time.Duration) {
			h.Helper()
			last := time.Now().Add(-ago)
			time.Sleep(500*time.Millisecond - ago) // for the checkpoint that knows of it
			for h.record().Session.Health() == "ok" {
				time.Sleep(10 * time.Millisecond)
				if time.Since(last) > 5*time.Second {
					break
				}
			}
			if d := time.Since(last); d < 1900*time.Millisecond || d > 3*time.Second || h.record().Session.Health() != "starving" {
				h.Errorf("%s: %q %v after the last media, want starving after 2 to 3 s", when, h.record().Session.Health(), d)
			}
		}
		c := h.film(60)
		time.Sleep(7 * time.Second) // INVOKED: the encoder takes its time
		if got := h.record().Session.Health(); got != "starting" {
			h.Errorf("before media: %q", got)
		}
		c.film(time.Second / 30) // one keyframe: LIVE
		h.expect("one keyframe", "LIVE")
		starves("right after LIVE", 0)
		for _, d := range []time.Duration{time.Second / 30, time.Second, 7 * time.Second} {
			c.film(d)
			time.Sleep(500 * time.Millisecond)
			if got := h.record().Session.Health(); got != "ok" {
				h.Errorf("media again for %v: %q", d, got)
			}
			starves(fmt.Sprintf("after %v of media", d), 500*time.Millisecond)
		}
		c.Lose(io.EOF)
		if got := h.record().Session.Health(); got != "reconnecting" {
			h.Errorf("lost: %q", got)
		}
		time.Sleep(20 * time.Second)
		c = h.film(60)
		c.film(time.Second / 30)
		starves("right after a resume", 0)
		c = h.film(60)
		c.film(time.Second / 30)
		starves("right after a takeover", 0)
	})
}

// TestNotStored: that segments cannot be put to rest is a warning of the session
// while it lasts, and stands in its timeline.
func TestNotStored(t *testing.T) {
	inBubble(t, func(h *harness) {
		c := h.film(60)
		c.film(2 * time.Second)
		full := func(text string) {
			out := h.outs[len(h.outs)-1]
			out.mu.Lock()
			defer out.mu.Unlock()
			out.progress.Trouble = text
		}
		full("the server's disk is nearly full")
		c.film(2 * time.Second)
		s := h.record().Session
		if want := "NOT_STORED: the server's disk is nearly full: segments are missing from the DVR window and from the recording, live goes on"; s.Warnings != want {
			t.Errorf("warnings: %q", s.Warnings)
		}
		full("")
		c.film(2 * time.Second)
		if s := h.record().Session; s.Warnings != "" {
			t.Errorf("warnings afterwards: %q", s.Warnings)
		}
		if got := strings.Join(h.timeline(s.ID), "\n"); !strings.Contains(got, "\nwarning NOT_STORED\nwarning-over NOT_STORED") {
			h.Errorf("timeline:\n%s", got)
		}
	})
}
