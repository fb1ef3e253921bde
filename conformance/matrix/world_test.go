package matrix

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck/origin"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/playback"
	"tally/internal/usage"
	"tally/internal/viewer"
)

const playbackID = "matrixmatrixmatrix"

// An end is how a stretch ends.
type end uint8

const (
	goesOn   end = iota // the next begins in the same publish: other tracks, perhaps
	lost                // the connection is gone; the next comes after the gap
	silent              // it stands still; the next takes its place after the gap
	takeover            // the next takes its place as it sends
	restart             // the server is killed and back after half a second, the encoder after the gap
)

// A stretch is one source until it ends.
type stretch struct {
	source
	length time.Duration
	end    end
	gap    time.Duration
}

// A world is what a server is without sockets, in virtual time.
type world struct {
	t        *testing.T
	random   *rand.Rand
	began    time.Time
	registry *hls.Registry
	packager *hls.Packager
	run      livestream.Run
	epoch    int64

	mu      sync.Mutex
	handler *playback.Handler // nil: no process runs
	up      livestream.Phase
}

func newWorld(t *testing.T, target int, random *rand.Rand) *world {
	w := &world{t: t, random: random, began: time.Now()}
	w.run = livestream.Run{ID: "run1AAAAAAAA", TargetDuration: target}
	w.boot(livestream.OnAir)
	return w
}

// boot starts a process.
func (w *world) boot(p livestream.Phase) {
	signer, err := viewer.NewSigner(bytes.Repeat([]byte{3}, viewer.SecretSize))
	if err != nil {
		w.t.Fatal(err)
	}
	w.registry = hls.NewRegistry(hls.Config{})
	h := playback.New(playback.Config{
		Registry: w.registry, Signer: signer, Counter: usage.New(usage.Config{}), Records: w,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler, w.up = h, p
}

// kill ends the process: what it knew is gone, but for what is durable.
func (w *world) kill() {
	w.mu.Lock()
	h := w.handler
	w.handler = nil
	w.mu.Unlock()
	p := w.packager.Progress()
	w.run.MSNMark, w.run.DiscontinuityMark, w.run.PartTarget = p.MSN, p.Discontinuity, p.PartTarget
	h.Close()
	w.registry.Close()
	w.packager = nil
}

func (w *world) close() {
	w.handler.Close()
	w.registry.Close()
}

// RecordByPlaybackID implements playback.Records.
func (w *world) RecordByPlaybackID(ctx context.Context, id string) (livestream.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return livestream.Record{
		Livestream: livestream.Livestream{PlaybackID: id, Run: w.run}, Session: livestream.Session{Phase: w.up},
	}, ctx.Err()
}

// ServeHTTP is the socket: nobody listens while no process runs.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	h := w.handler
	w.mu.Unlock()
	if h == nil {
		rw.Header().Set("Cache-Control", "no-store")
		rw.WriteHeader(http.StatusServiceUnavailable) // refused, as a player sees it
		return
	}
	h.ServeHTTP(rw, r)
}

func (w *world) url() string { return "http://tally.test/hls/" + playbackID + "/index.m3u8" }

// mediaURL is the media playlist of a new viewer.
func (w *world) mediaURL() string {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, w.url(), nil))
	m, err := playlist.ParseMultivariant(rec.Body.String())
	if err != nil || len(m.Variants) == 0 {
		w.t.Fatalf("%d %q: %v", rec.Code, rec.Body, err)
	}
	return "http://tally.test/hls/" + playbackID + "/" + m.Variants[0].URI
}

func (w *world) client() *http.Client {
	return &http.Client{Transport: origin.Transport{Handler: w}}
}

// publish is one publish: what is announced, then the configurations.
func (w *world) publish(s *source) *clockwork {
	w.epoch++
	if w.packager == nil {
		w.packager = w.registry.Open(hls.OpenOptions{PlaybackID: playbackID, SessionID: "session", Run: w.run, EndlistDelay: 30 * time.Second})
		w.packager.Mark(1<<40, 1<<40)
	}
	w.packager.Begin(w.epoch)
	if !s.unknown {
		w.packager.Expect(w.epoch, media.First(!s.noVideo, s.rate > 0))
	}
	list := s.tracks(w.t)
	for i := range list {
		if late := list[i].ID == media.AudioTrack && s.lateAudio > 0 || list[i].ID == media.VideoTrack && s.lateVideo > 0; !late {
			w.write(list[i])
		}
	}
	return newClockwork(list)
}

func (w *world) write(t media.Track) {
	if err := w.packager.WriteTrack(w.epoch, t); err != nil {
		w.t.Errorf("%v: %v", t.Codec, err)
	}
}

// play sends all stretches, each in its own time.
func (w *world) play(all []stretch) {
	var clock *clockwork
	for i := range all {
		s := &all[i]
		switch {
		case clock == nil || i > 0 && all[i-1].end != goesOn:
			clock = w.publish(&s.source)
		default:
			list := s.tracks(w.t) // other configurations, in the same clock
			for j := range list {
				w.write(list[j])
				if c := clock.tracks[list[j].ID]; c != nil {
					c.Retune(list[j].Timescale, list[j].FrameSamples)
				} else {
					clock.tracks[list[j].ID] = clock.clock.Track(list[j].Timescale, list[j].FrameSamples)
				}
			}
		}
		w.send(s, clock)
		switch s.end {
		case lost:
			w.packager.Lost(w.epoch)
			time.Sleep(s.gap)
		case silent:
			time.Sleep(s.gap)
		case restart:
			w.kill()
			time.Sleep(500 * time.Millisecond)
			w.boot(livestream.Reconnecting)
			time.Sleep(s.gap)
		}
	}
	w.packager.End(false)
}

// send sends one stretch.
func (w *world) send(s *stretch, c *clockwork) {
	began := time.Now()
	base := uint32(began.Sub(c.began).Milliseconds()) // where the clock of the publish stands
	late := map[media.TrackID]bool{}
	for p := range s.samples(w.random) {
		if p.at > s.length {
			return
		}
		time.Sleep(p.at - time.Since(began))
		if d := map[media.TrackID]time.Duration{media.VideoTrack: s.lateVideo, media.AudioTrack: s.lateAudio}[p.track]; d > 0 && !late[p.track] {
			late[p.track] = true // its configuration comes with it
			for _, t := range s.tracks(w.t) {
				if t.ID == p.track {
					w.write(t)
				}
			}
		}
		p.ts += base
		if err := w.packager.WriteFrame(w.epoch, c.frame(&p, time.Since(w.began))); err != nil {
			if !errors.Is(err, livestream.ErrStale) {
				w.t.Errorf("frame at %v: %v", p.at, err)
			}
			return
		}
	}
}
