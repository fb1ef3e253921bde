package ingest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/store/sqlite"
	"tally/internal/store/sqlite/sqlitetest"
)

// An outcome is a small working output: playable from its first keyframe on.
type outcome struct {
	mu       sync.Mutex
	epoch    int64
	progress livestream.Progress
	frames   int
	cues     []media.Cue
	lost     int
	mark     int64
	ended    bool
	linger   bool
}

func (o *outcome) Begin(epoch int64)                           { o.mu.Lock(); defer o.mu.Unlock(); o.epoch = epoch }
func (o *outcome) Expect(int64, []media.TrackID)               {}
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
func (o *outcome) WriteCue(epoch int64, c media.Cue) (media.Mark, error) {
	if err := o.check(epoch); err != nil && !c.Now {
		return media.Mark{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.Now && !o.progress.Playable {
		return media.Mark{}, livestream.ErrNotActive
	}
	o.cues = append(o.cues, c)
	return media.Mark{ID: "cue", Date: time.Now()}, nil
}
func (o *outcome) Lost(int64)                    { o.mu.Lock(); defer o.mu.Unlock(); o.lost++ }
func (o *outcome) Mark(msn, _ int64)             { o.mu.Lock(); defer o.mu.Unlock(); o.mark = msn }
func (o *outcome) Progress() livestream.Progress { o.mu.Lock(); defer o.mu.Unlock(); return o.progress }
func (o *outcome) Linger(time.Duration)          {}
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

	registry *hls.Registry    // with packaged
	wall     func() time.Time // nil: time.Now
}

var scope = livestream.Scope{AccountID: "account", AppID: "app"}

// inBubble runs f with a fresh harness in virtual time.
func inBubble(t *testing.T, f func(h *harness)) {
	path := sqlitetest.Empty.Path(t)
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
		Store: h.store, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Wall: h.wall,
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
	h.m.kill()
	time.Sleep(down)
	h.start()
}

// kill ends the manager as the end of its process would: nothing more is
// written, and nobody asks it anything.
func (m *Manager) kill() {
	m.mu.Lock()
	m.stopping = true
	m.mu.Unlock()
	m.stop()
	m.actors.Wait()
	m.loops.Wait()
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
