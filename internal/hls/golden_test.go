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
		s.p.Expect(1, true, true)
		s.send(1, src.items(t))
		golden(t, "first.m3u8", current(false))

		src.start, src.length = 350*time.Millisecond, 27*time.Second
		s.send(1, src.items(t)[2:])
		golden(t, "live.m3u8", current(false))
		golden(t, "live-delta.m3u8", current(true))
		golden(t, "multivariant.m3u8", s.v.window.Current().AppendMultivariant(nil, "run/viewer/index.m3u8"))

		s.p.Lost(1)
		time.Sleep(5 * time.Second)
		s.v.look()
		golden(t, "held.m3u8", current(false))
		src.config, src.start, src.length = avc1080p, 0, 4*time.Second
		s.begin(2)
		s.send(2, src.items(t))
		golden(t, "reconnected.m3u8", current(false))
		s.p.End(false)
		golden(t, "ended.m3u8", current(false))
		golden(t, "ended.m3u8", current(true))
	})
	onStage(t, hls.Config{}, run(4), func(s *stage) {
		src := synth{noVideo: true, rate: 44100, length: 5 * time.Second}
		s.begin(1)
		s.p.Expect(1, false, true)
		s.send(1, src.items(t))
		golden(t, "audio.m3u8", s.v.window.Current().Playlist(false, false).Data)
		golden(t, "audio-multivariant.m3u8", s.v.window.Current().AppendMultivariant(nil, "run/viewer/index.m3u8"))
	})
}

// Every spelling of one playlist says the same, with true headers.
func TestPlaylistBodies(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		snap := s.v.window.Current()
		tags := map[string]bool{}
		for _, zip := range []bool{false, true, true} {
			b := snap.Playlist(false, zip)
			if len(b.Length) != 1 || b.Length[0] != itoa(len(b.Data)) || len(b.ETag) != 1 {
				t.Errorf("headers %v %v for %d bytes", b.Length, b.ETag, len(b.Data))
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
			if !bytes.Equal(text, snap.Playlist(false, false).Data) {
				t.Error("the compressed playlist says something else")
			}
		}
		if len(tags) != 2 {
			t.Errorf("entity tags %v, want one for each spelling", tags)
		}
	})
}
