package hls_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/hls/hlstest"
	"tally/internal/media"
)

// broadcast is what encoders of those codecs send.
func broadcast(t testing.TB, args []string) []item {
	t.Helper()
	var items []item
	for _, it := range hlstest.Read(t, hlstest.File(t, args...)) {
		items = append(items, item{at: it.At, track: it.Track, frame: it.Frame})
	}
	return items
}

// Every codec is packaged strictly right, and ffmpeg decodes all of it without
// a word. Then the encoder is gone: the picture is held, with silence where the
// codec has some, until another comes, and one playlist of all of it decodes
// from end to end.
func TestCodecs(t *testing.T) {
	const length = 4 * time.Second
	for name, c := range map[string]struct {
		args []string
		more []string
	}{
		"HEVC with B-frames and an open GOP, AAC": {args: hlstest.Args(media.HEVC, media.AAC, length, "-x265-params", "log-level=error:bframes=3:open-gop=1")},
		"AV1 and Opus":         {args: hlstest.Args(media.AV1, media.Opus, length)},
		"VP9 and FLAC":         {args: hlstest.Args(media.VP9, media.FLAC, length)},
		"H.264 and Opus 60 ms": {args: hlstest.Args(media.H264, media.Opus, length, "-frame_duration", "60")},
		"Opus alone":           {args: hlstest.Args(media.CodecNone, media.Opus, length)},
		"Opus of 120 ms alone": {args: hlstest.Args(media.CodecNone, media.Opus, length, "-frame_duration", "120")},
		"FLAC alone":           {args: hlstest.Args(media.CodecNone, media.FLAC, length)},
		"FLAC, 44.1 kHz, mono": {args: hlstest.Args(media.CodecNone, media.FLAC, length, "-ar", "44100", "-ac", "1")},
	} {
		t.Run(name, func(t *testing.T) {
			items := broadcast(t, c.args)
			var v *viewer
			synctest.Test(t, func(t *testing.T) { v = watchTwice(t, items) })
			dir := t.TempDir()
			for uri, b := range v.files {
				if err := os.WriteFile(filepath.Join(dir, uri), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m := *v.media
			for i := range m.Segments {
				if m.Segments[i].Gap {
					t.Errorf("segment %d is a gap: there is no silence", i)
				}
				m.Segments[i].Parts = nil
			}
			file := filepath.Join(dir, "index.m3u8")
			decodeStretch(t, file, &m)
			out, err := exec.Command("ffprobe", "-v", "error", "-allowed_extensions", "ALL", "-show_entries", "format=duration",
				"-of", "csv=p=0", file).CombinedOutput()
			if got, perr := time.ParseDuration(strings.TrimSpace(string(out)) + "s"); err != nil || perr != nil ||
				!near(got, 2*length+6*time.Second, 500*time.Millisecond) {
				t.Errorf("ffprobe: %s, want %v: %v, %v", out, 2*length+6*time.Second, err, perr)
			}
		})
	}
}

// watchTwice publishes items, then nothing for six seconds, then the items again.
func watchTwice(t *testing.T, items []item) *viewer {
	r := hls.NewRegistry(hls.Config{Window: time.Hour})
	p := r.Open(run(2))
	v := newViewer(t, r.Stream("play").Window(), hlscheck.Options{})
	p.Mark(farAhead, farAhead)
	for epoch := int64(1); epoch <= 2; epoch++ {
		p.Begin(epoch)
		start := time.Now()
		for _, it := range items {
			time.Sleep(it.at - time.Since(start))
			if err := write(p, epoch, it); err != nil {
				t.Fatal(err)
			}
			v.look()
		}
		if epoch == 1 {
			p.Lost(epoch)
			for range 60 {
				time.Sleep(100 * time.Millisecond)
				v.look()
			}
		}
	}
	end(p)
	v.look()
	v.done()
	r.Close()
	return v
}

// Packets of different lengths, each of which tells its own, make a continuous
// track in parts that are not too long.
func TestFramesOfSoundThatDiffer(t *testing.T) {
	head := []byte{1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0}
	opus, err := media.OpusTrack(head)
	if err != nil {
		t.Fatal(err)
	}
	// Packets of CELT silence: one, two and three frames of 20 ms, in turn.
	packets := [][]byte{{0xfc, 0xff, 0xfe}, {0xfd, 0xff, 0xfe, 0xff, 0xfe}, {0xff, 3, 0xff, 0xfe, 0xff, 0xfe, 0xff, 0xfe}}
	var items []item
	items = append(items, item{track: &opus})
	dts := int64(0)
	for i := 0; dts < 6*48000; i++ {
		p := packets[i%len(packets)]
		at := time.Duration(dts) * time.Second / 48000
		items = append(items, item{at: at, frame: media.Frame{Track: media.AudioTrack, DTS: dts, PTS: dts, Key: true, Payload: p}})
		dts += media.Samples(&opus, p)
	}
	synctest.Test(t, func(t *testing.T) {
		// 85 % of a part cannot be promised when the next packet's length is not known.
		v := watch(t, items, 2, hlscheck.Options{Ignore: []string{"part-85"}})
		if v.longest > 335*time.Millisecond {
			t.Errorf("a part of %v", v.longest)
		}
	})
}
