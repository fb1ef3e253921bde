package hls_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/hls"
	"tally/internal/media"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestGoldenPlaylists(t *testing.T) {
	onStage(t, hls.Config{Window: 20 * time.Second}, run(2), func(s *stage) {
		current := func(delta bool) []byte {
			return s.v.window.Current().Playlist(delta, false).Data
		}
		src := av
		src.gop, src.length = 60, 350*time.Millisecond
		s.begin(1)
		s.p.Expect(1, media.First(true, true))
		s.send(1, src.items(t))
		golden(t, "first.m3u8", current(false))

		src.start, src.length = 350*time.Millisecond, 27*time.Second
		s.send(1, src.items(t)[2:])
		golden(t, "live.m3u8", current(false))
		golden(t, "live-delta.m3u8", current(true))
		golden(t, "live-shared.m3u8", s.v.window.Current().SharedPlaylist(false, false).Data)
		golden(t, "multivariant.m3u8", s.v.window.Current().AppendMultivariant(nil, "run/viewer/index.m3u8"))

		s.p.Lost(1)
		time.Sleep(5 * time.Second)
		s.v.look()
		golden(t, "held.m3u8", current(false))
		src.config, src.start, src.length = avc1080p, 0, 4*time.Second
		s.begin(2)
		s.send(2, src.items(t))
		golden(t, "reconnected.m3u8", current(false))
		end(s.p)
		golden(t, "ended.m3u8", current(false))
		golden(t, "ended.m3u8", current(true))
	})
	onStage(t, hls.Config{}, run(4), func(s *stage) {
		src := synth{noVideo: true, rate: 44100, length: 5 * time.Second}
		s.begin(1)
		s.p.Expect(1, media.First(false, true))
		s.send(1, src.items(t))
		golden(t, "audio.m3u8", s.v.window.Current().Playlist(false, false).Data)
		golden(t, "audio-multivariant.m3u8", s.v.window.Current().AppendMultivariant(nil, "run/viewer/index.m3u8"))
	})
}

// With a base, the URIs of shared delivery are absolute.
func TestGoldenMediaBase(t *testing.T) {
	onStage(t, hls.Config{Window: 20 * time.Second, MediaBase: "https://cdn.example.com/live"}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.p.Lost(1)
		time.Sleep(3 * time.Second)
		s.v.look()
		golden(t, "shared-base.m3u8", s.v.window.Current().SharedPlaylist(false, false).Data)
	})
}

// In shared delivery a player that takes everything to the letter finds what it
// finds in direct delivery, through a reconnect too.
func TestSharedPlaylistsKeepEveryRule(t *testing.T) {
	for _, base := range []string{"", "https://cdn.example.com"} {
		onStage(t, hls.Config{Window: 20 * time.Second, MediaBase: base}, run(2), func(s *stage) {
			s.v.shared = "../"
			if base != "" {
				s.v.shared = base + "/hls/play/run/"
			}
			src := av
			src.length = 24 * time.Second
			s.begin(1)
			s.p.Expect(1, media.First(true, true))
			s.send(1, src.items(t))
			s.p.Lost(1)
			time.Sleep(5 * time.Second)
			s.v.look()
			src.config, src.length = avc1080p, 4*time.Second
			s.begin(2)
			s.send(2, src.items(t))
			if !s.v.window.Current().Held() && s.v.window.Current().SessionID() == "session" {
				end(s.p)
				s.v.look()
			}
			if last := s.v.texts[len(s.v.texts)-1]; count(last, "EXT-X-ENDLIST") != 1 || len(s.v.files) < 100 {
				t.Errorf("%d files seen; the last playlist:\n%s", len(s.v.files), last)
			}
		})
	}
}

// Every spelling of one playlist says the same, with true headers, and is made
// once.
func TestPlaylistBodies(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		snap := s.v.window.Current()
		tags := map[string]bool{}
		forms := map[string]func(bool, bool) *hls.Body{"direct": snap.Playlist, "shared": snap.SharedPlaylist}
		for name, playlist := range forms {
			checkBodies(t, name, playlist, tags)
		}
		if len(tags) != 4 {
			t.Errorf("entity tags %v, want one for each spelling", tags)
		}
	})
}

func checkBodies(t *testing.T, name string, playlist func(delta, zip bool) *hls.Body, tags map[string]bool) {
	t.Helper()
	for _, zip := range []bool{false, true} {
		b := playlist(false, zip)
		if b != playlist(false, zip) {
			t.Errorf("%s: made twice", name)
		}
		if len(b.Length) != 1 || b.Length[0] != itoa(len(b.Data)) || len(b.ETag) != 1 {
			t.Errorf("%s: headers %v %v for %d bytes", name, b.Length, b.ETag, len(b.Data))
		}
		tags[b.ETag[0]] = true
		text := b.Data
		if zip {
			z, err := gzip.NewReader(bytes.NewReader(b.Data))
			if err != nil {
				t.Fatal(err)
			}
			if text, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(text, playlist(false, false).Data) {
			t.Errorf("%s: the compressed playlist says something else", name)
		}
	}
}
