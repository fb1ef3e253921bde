package playback_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck/origin"
	hlsplayer "tally/internal/hls/player"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// ladder opens a session of two pictures and sound in two languages, and feeds it
// for that long, in real time: a keyframe each second.
func (w *world) ladder(d time.Duration) {
	w.t.Helper()
	w.open(runID)
	w.packager.Begin(w.epoch + 1)
	w.epoch++
	ids := []media.TrackID{media.VideoID(0), media.VideoID(1), media.AudioID(0), media.AudioID(1)}
	w.packager.Expect(w.epoch, ids)
	for _, id := range ids {
		config, _ := hex.DecodeString(avcC)
		make := media.H264Track
		if !id.Video() {
			config, make = []byte{0x11, 0x90}, media.AACTrack
		}
		track, err := make(config)
		if err != nil {
			w.t.Fatal(err)
		}
		track.ID = id
		if err := w.packager.WriteTrack(w.epoch, track); err != nil {
			w.t.Fatal(err)
		}
	}
	w.play(d)
	w.phase(livestream.OnAir, func(s *livestream.Session) { s.StartedAt = time.Now() })
}

// play goes on with a ladder.
func (w *world) play(d time.Duration) {
	w.t.Helper()
	for n := int64(d / frameTime); n > 0; n-- {
		dts := w.frames * media.VideoTimescale / 30
		for i := range uint8(2) {
			payload := append([]byte{0, 0, 0, 200 - i, 0x41}, make([]byte, 199-i)...)
			if w.frames%30 == 0 {
				payload[4] = 0x65 // IDR
			}
			w.frame(media.Frame{Track: media.VideoID(i), DTS: dts, PTS: dts, Key: w.frames%30 == 0, Payload: payload})
		}
		for k := w.frames * 48000 / 30 / 1024; k < (w.frames+1)*48000/30/1024; k++ {
			for i := range uint8(2) {
				w.frame(media.Frame{Track: media.AudioID(i), DTS: k * 1024, PTS: k * 1024, Key: true, Payload: make([]byte, 30+i)})
			}
		}
		w.frames++
		time.Sleep(frameTime)
	}
}

func (w *world) frame(f media.Frame) {
	w.t.Helper()
	if err := w.packager.WriteFrame(w.epoch, f); err != nil {
		w.t.Fatal(err)
	}
}

var renditions = []string{"v0", "v1", "a0", "a1"}

// joinLadder asks for the multivariant playlist and returns the directory of the
// renditions.
func (w *world) joinLadder() string {
	w.t.Helper()
	text := want(w.t, w.get("/hls/"+id+"/index.m3u8"), 200, "private, no-store")
	dirs := regexp.MustCompile(runID+`/[A-Za-z0-9_-]{32}/[va]\d/index\.m3u8`).FindAllString(text, -1)
	if len(dirs) != 4 || len(slices.Compact(slices.Sorted(maps.Keys(map[string]bool{dirs[0]: true, dirs[1]: true, dirs[2]: true, dirs[3]: true})))) != 4 {
		w.t.Fatalf("want four renditions of one viewer:\n%s", text)
	}
	return "/hls/" + id + "/" + strings.Join(strings.Split(dirs[0], "/")[:2], "/") + "/"
}

func TestLadderIsServed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.ladder(6 * time.Second)
		dir := w.joinLadder()
		want(t, w.get(dir+"index.m3u8"), 404, noStore) // nothing is muxed
		want(t, w.get(dir+"v2/index.m3u8"), 404, noStore)
		want(t, w.get(dir+"v2/seg-1-2.m4s"), 404, noStore)
		bodies := map[string]string{}
		for _, name := range renditions {
			text := want(t, w.get(dir+name+"/index.m3u8"), 200, "no-cache")
			if n := strings.Count(text, "#EXT-X-RENDITION-REPORT"); n != 3 {
				t.Errorf("%s has %d reports", name, n)
			}
			for _, uri := range append(append(uris(text, initSection), uris(text, segments)...), uris(text, listedParts)...) {
				b := want(t, w.get(dir+name+"/"+uri), 200, immutable)
				if other := bodies[b]; other != "" && !strings.HasPrefix(name, other[:1]) {
					t.Errorf("%s is %s of %s too", uri, uri, other)
				}
				bodies[b] = name
				// Without the viewer it is the same, for all.
				if shared := want(t, w.get("/hls/"+id+"/"+runID+"/"+name+"/"+uri), 200, immutable); shared != b {
					t.Errorf("%s of %s differs in shared delivery", uri, name)
				}
			}
			through := want(t, w.get(dir+name+"/index.m3u8", "Via", "1.1 cache"), 200, "private, no-cache")
			if !strings.Contains(through, `URI="../../`+name+`/part-`) || !strings.Contains(through, `REPORT:URI="../`) {
				t.Errorf("%s through a cache:\n%s", name, through)
			}
		}
	})
}

// A reload of each rendition waits for its own, and what a playlist tells of the
// others is there.
func TestLadderReloadsAndReports(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.ladder(4 * time.Second)
		dir := w.joinLadder()
		answers := map[string]<-chan *http.Response{}
		ask := func(name string) {
			m, err := playlist.ParseMedia(body(t, w.get(dir+name+"/index.m3u8")))
			if err != nil {
				t.Fatal(err)
			}
			msn, part := m.NextMSN(), 0
			if open := m.Open(); open != nil {
				part = len(open.Parts)
			}
			answers[name] = w.later(fmt.Sprintf("%s%s/index.m3u8?_HLS_msn=%d&_HLS_part=%d", dir, name, msn, part))
		}
		for _, name := range renditions {
			ask(name)
		}
		got := map[string]int{}
		for range 90 { // 3 s
			w.play(frameTime)
			for _, name := range renditions {
				select {
				case r := <-answers[name]:
					m, err := playlist.ParseMedia(want(t, r, 200, "no-cache"))
					if err != nil {
						t.Fatal(err)
					}
					for _, report := range m.RenditionReports {
						other := strings.Split(report.URI, "/")[1]
						seen := w.registry.Stream(id).Rendition(other).Window().Current()
						if !seen.Has(hls.Position{MSN: report.LastMSN, Part: int(report.LastPart)}) {
							t.Errorf("%s tells of part %d of MSN %d of %s", name, report.LastPart, report.LastMSN, other)
						}
						if report.LastMSN < seen.LastMSN-1 {
							t.Errorf("%s tells of MSN %d of %s, which has %d", name, report.LastMSN, other, seen.LastMSN)
						}
					}
					got[name]++
					ask(name)
				default:
				}
			}
		}
		for _, name := range renditions {
			if got[name] < 8 { // parts of a third of a second
				t.Errorf("%d answers of %s in 3 s", got[name], name)
			}
		}
		w.handler.Close()
		for _, ch := range answers {
			want(t, <-ch, 503, noStore)
		}
	})
}

// Nobody is given a multivariant playlist whose renditions list nothing yet.
func TestLadderIsWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.ladder(0)
		held := w.later("/hls/" + id + "/index.m3u8")
		for len(held) == 0 {
			w.play(frameTime)
		}
		text := want(t, <-held, 200, "private, no-store")
		for _, name := range renditions {
			uri := regexp.MustCompile(runID + `/\S+/` + name + `/index\.m3u8`).FindString(text)
			want(t, w.get("/hls/"+id+"/"+uri), 200, "no-cache")
		}
	})
}

// fetch gets what a rendition lists newly, in parts or whole segments.
func (w *world) fetch(dir, name string, seen map[string]bool, pattern string) {
	w.t.Helper()
	for _, uri := range uris(body(w.t, w.get(dir+name+"/index.m3u8")), pattern) {
		if key := name + "/" + uri; !seen[key] {
			seen[key] = true
			want(w.t, w.get(dir+key), 200, immutable)
		}
	}
}

// What a viewer watches of a ladder counts once: switching, with sound beside, with
// both qualities, in parts and segments, and one viewer is one.
func TestLadderCountsOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		step func(w *world, dir string, n int, seen map[string]bool) // each half second
	}{
		{"one quality", func(w *world, dir string, n int, seen map[string]bool) { w.fetch(dir, "v1", seen, listedParts) }},
		{"sound alone", func(w *world, dir string, n int, seen map[string]bool) { w.fetch(dir, "a1", seen, listedParts) }},
		{"picture and sound", func(w *world, dir string, n int, seen map[string]bool) {
			w.fetch(dir, "v0", seen, listedParts)
			w.fetch(dir, "a0", seen, listedParts)
		}},
		{"up and down", func(w *world, dir string, n int, seen map[string]bool) {
			w.fetch(dir, renditions[n/5%2], seen, listedParts)
			w.fetch(dir, renditions[2+n/7%2], seen, listedParts)
		}},
		{"both qualities and languages", func(w *world, dir string, n int, seen map[string]bool) {
			for _, name := range renditions {
				w.fetch(dir, name, seen, listedParts)
			}
		}},
		{"segments beside parts", func(w *world, dir string, n int, seen map[string]bool) {
			w.fetch(dir, "v0", seen, listedParts)
			w.fetch(dir, "v1", seen, segments)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.ladder(3 * time.Second)
				dir := w.joinLadder()
				seen := map[string]bool{}
				from := time.Duration(-1)
				for n := range 40 {
					c.step(w, dir, n, seen)
					if from < 0 {
						from = w.counted()
					}
					w.play(500 * time.Millisecond)
				}
				// Twenty seconds were watched, but for the newest half second, and the sound
				// may be some parts further than the picture.
				got := w.counted()
				if short, long := 19*time.Second+100*time.Millisecond, 19*time.Second+900*time.Millisecond; got < short || got > long {
					t.Errorf("counted %v in 19.5 s, after %v at once", got, from)
				}
				if now, peak := w.counter.Viewers("session of " + runID); now != 1 || peak != 1 {
					t.Errorf("%d viewers, peak %d", now, peak)
				}
				var rows []livestream.Viewing
				for range 3 {
					time.Sleep(time.Minute)
					ws, vs := w.counter.Drain()
					w.counter.Ack(ws, vs)
					rows = append(rows, vs...)
				}
				wantBits := uint64(0)
				for key := range seen {
					wantBits |= 1 << (int(key[1]-'0') + 32*strings.Count(key[:1], "a"))
				}
				if len(rows) == 0 || rows[len(rows)-1].Renditions != wantBits {
					t.Errorf("rows %+v, want renditions %b", rows, wantBits)
				}
			})
		})
	}
}

// In shared delivery a player that asks for two playlists is there once.
func TestLadderCountsSharedOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.ladder(3 * time.Second)
		dir := w.joinLadder()
		for range 40 {
			body(t, w.get(dir+"v0/index.m3u8"))
			body(t, w.get(dir+"a0/index.m3u8"))
			w.play(500 * time.Millisecond)
		}
		ws, vs := w.counter.Drain()
		w.counter.Ack(ws, vs)
		if len(ws) != 1 || ws[0].Kind != livestream.ByPlaylist || ws[0].Amount < 19*time.Second || ws[0].Amount > 20*time.Second {
			t.Errorf("counted %+v", ws)
		}
	}, options{delivery: "shared"})
}

// The headless player plays a variant with the audio it is told to, follows all
// else with the strict checker, and says which names there are not.
func TestLadderInThePlayer(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      hlsplayer.Options
		plays  string // what is played beside the variant
		beside int
		err    error
	}{
		{"checked, low latency", hlsplayer.Options{LowLatency: true, Check: true}, "a0", 3, nil},
		{"checked, plain", hlsplayer.Options{Check: true}, "a0", 3, nil},
		{"another variant and audio", hlsplayer.Options{LowLatency: true, Variant: 1, Audio: "Audio 2"}, "a1", 1, nil},
		{"a variant that there is not", hlsplayer.Options{Variant: 2}, "", 0, hlsplayer.ErrPlaylist},
		{"audio that there is not", hlsplayer.Options{Audio: "x"}, "", 0, hlsplayer.ErrPlaylist},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.ladder(4 * time.Second)
				c.o.URL = "http://tally.test/hls/" + id + "/index.m3u8"
				c.o.Client = &http.Client{Transport: origin.Transport{Handler: w.handler}}
				type result struct {
					stats hlsplayer.Stats
					err   error
				}
				done := make(chan result, 1)
				go func() {
					stats, err := hlsplayer.New(c.o).Run(t.Context())
					done <- result{stats, err}
				}()
				w.play(20 * time.Second)
				w.packager.End(false)
				r := <-done
				if !errors.Is(r.err, c.err) || c.err == nil && r.err != nil {
					t.Fatalf("%v, want %v", r.err, c.err)
				}
				if c.err != nil {
					return
				}
				if r.stats.Stalls > 0 || r.stats.Errors > 0 || r.stats.Jumps > 0 || r.stats.Status != hlsplayer.Ended || len(r.stats.Beside) != c.beside {
					t.Errorf("%+v", r.stats)
				}
				for _, b := range r.stats.Beside {
					name := strings.Split(b.URL, "/")[7]
					if b.Audio != (name == c.plays) || b.MediaBytes == 0 || b.Stalls > 0 || b.Errors > 0 || b.Status != hlsplayer.Ended {
						t.Errorf("%s: %+v", name, b)
					}
				}
			})
		})
	}
}
