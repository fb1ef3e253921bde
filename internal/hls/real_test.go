package hls_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/hls/playlist"
)

func readFile(name string) ([]byte, error) { return os.ReadFile(name) }

const (
	lavfi = "lavfi"
	sine  = "sine=frequency=440:sample_rate=%d"
)

func video(size string, fps string, seconds float64, gop int, more ...string) []string {
	return append([]string{"-f", lavfi, "-i", fmt.Sprintf("testsrc=size=%s:rate=%s:duration=%g", size, fps, seconds)},
		append([]string{"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "300k",
			"-g", fmt.Sprint(gop), "-keyint_min", fmt.Sprint(gop), "-sc_threshold", "0"}, more...)...)
}

func both(fps string, seconds float64, gop, rate int, more ...string) []string {
	v := video("320x180", fps, seconds, gop, more...)
	in := []string{v[0], v[1], v[2], v[3], "-f", lavfi, "-i", fmt.Sprintf(sine+":duration=%g", rate, seconds)}
	return append(append(in, v[4:]...), "-c:a", "aac", "-b:a", "64k", "-ac", "2")
}

// What real encoders send, packaged in their own time, is strictly right at
// every moment, and ffmpeg decodes all of it without a word.
func TestRealMedia(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		target int
		ignore []string
	}{
		{"30 fps, 48 kHz", both("30", 12, 60, 48000), 2, nil},
		{"25 fps, 44.1 kHz, B-frames", both("25", 12, 50, 44100, "-preset", "veryfast", "-bf", "3"), 2, nil},
		{"59.94 fps", both("60000/1001", 8, 120, 48000), 4, nil},
		{"24 fps, 1 s GOP", both("24", 8, 24, 48000), 2, nil},
		{"10 fps", both("10", 8, 20, 44100), 2, nil},
		{"11 fps: no whole frames fill 335 ms", both("11", 8, 22, 44100), 4, nil},
		{"keyframe too late", both("30", 12, 240, 48000), 2, nil},
		{"23.976 fps", both("24000/1001", 8, 48, 44100), 2, nil},
		{"15 fps", both("15", 8, 30, 48000), 4, nil},
		{"50 fps, keyframes each half second", both("50", 6, 25, 48000), 4, nil},
		{"60 fps, B-frames that are references", both("60", 6, 120, 48000, "-preset", "veryfast", "-bf", "4", "-b-pyramid", "normal"), 4, nil},
		{"keyframes where they come", both("30", 12, 300, 48000, "-force_key_frames", "expr:gte(t,n_forced*1.3+mod(n_forced*37,11)/6)"), 4, nil},
		// How long a frame lasts is known when the next one comes, and the part
		// is listed by then.
		{"half of the frames dropped", both("30", 12, 600, 48000, "-vf", "select='gt(random(0),0.5)'", "-vsync", "vfr",
			"-force_key_frames", "expr:gte(t,n_forced*2)"), 4, []string{"part-85", "media-duration", "tfdt-continuity"}},
		{"5.1", append(both("30", 6, 60, 48000), "-ac", "6"), 4, nil},
		{"mono, 22.05 kHz", append(both("30", 6, 60, 22050), "-ac", "1"), 4, nil},
		{"all intra", both("30", 5, 1, 48000), 2, nil},
		{"video only", video("320x180", "30", 8, 45, "-bf", "2"), 4, nil},
		{"audio only, 48 kHz", []string{"-f", lavfi, "-i", fmt.Sprintf(sine+":duration=8", 48000), "-c:a", "aac"}, 4, nil},
		{"audio only, 44.1 kHz", []string{"-f", lavfi, "-i", fmt.Sprintf(sine+":duration=8", 44100), "-c:a", "aac"}, 4, nil},
		{"audio only, 8 kHz", []string{"-f", lavfi, "-i", fmt.Sprintf(sine+":duration=8", 8000), "-c:a", "aac"}, 4, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			items := readFLV(t, ffmpegFLV(t, c.args...))
			var v *viewer
			synctest.Test(t, func(t *testing.T) {
				v = watch(t, items, c.target, hlscheck.Options{Ignore: c.ignore})
			})
			if v.media == nil || !v.media.EndList {
				t.Fatal("no playlist with an end")
			}
			decode(t, v)
		})
	}
}

// watch publishes items in their own time and follows the stream to its end.
func watch(t *testing.T, items []item, target int, o hlscheck.Options) *viewer {
	// A long window keeps everything listed for the decoder.
	r := hls.NewRegistry(hls.Config{Window: time.Hour})
	p := r.Open(run(target))
	v := newViewer(t, r.Stream("play").Window(), o)
	p.Begin(1)
	p.Mark(farAhead, farAhead)
	start := time.Now()
	for _, it := range items {
		time.Sleep(it.at - time.Since(start))
		if err := write(p, 1, it); err != nil {
			t.Fatal(err)
		}
		v.look()
	}
	end(p)
	v.look()
	v.done()
	r.Close()
	return v
}

// decode has ffmpeg play everything that was listed, and wants no complaint.
// It reads one initialization section per input, so each stretch between
// discontinuities is a playlist of its own.
func decode(t *testing.T, v *viewer) {
	t.Helper()
	dir := t.TempDir()
	for uri, b := range v.files {
		if err := os.WriteFile(filepath.Join(dir, uri), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from := 0
	for i := range v.media.Segments {
		if i+1 < len(v.media.Segments) && !v.media.Segments[i+1].Discontinuity {
			continue
		}
		m := *v.media
		m.Segments = append([]playlist.Segment(nil), m.Segments[from:i+1]...)
		for j := range m.Segments {
			m.Segments[j].Parts = nil
		}
		m.Segments[0].Discontinuity, from = false, i+1
		decodeStretch(t, filepath.Join(dir, fmt.Sprintf("index-%d.m3u8", i)), &m)
	}
}

func decodeStretch(t *testing.T, file string, m *playlist.Media) {
	t.Helper()
	if err := os.WriteFile(file, m.AppendText(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	// Warnings include timestamps that go backwards.
	out, err := exec.Command("ffmpeg", "-v", "warning", "-nostdin", "-allowed_extensions", "ALL", "-i", file,
		"-enc_time_base", "-1", "-f", "null", "-").CombinedOutput() // in the file's own time base, not in frames
	text := strings.TrimSpace(string(out))
	if err != nil || text != "" {
		t.Errorf("ffmpeg on %d segments: %v\n%.2000s", len(m.Segments), err, text)
	}
}

// An encoder is killed in the middle of a group of pictures, comes back after
// the picture was held with another picture size, and is then taken over by one without sound.
func TestRealReconnects(t *testing.T) {
	publishers := [][]item{
		readFLV(t, ffmpegFLV(t, both("30", 5, 60, 48000, "-bf", "2")...)),
		readFLV(t, ffmpegFLV(t, append(both("25", 5, 50, 44100), "-s", "640x360")...)),
		readFLV(t, ffmpegFLV(t, video("320x180", "30", 5, 45)...)),
	}
	var v *viewer
	synctest.Test(t, func(t *testing.T) {
		r := hls.NewRegistry(hls.Config{Window: time.Hour})
		p := r.Open(run(4))
		v = newViewer(t, r.Stream("play").Window(), hlscheck.Options{})
		p.Mark(farAhead, farAhead)
		for i, items := range publishers {
			epoch := int64(i + 1)
			p.Begin(epoch)
			start := time.Now()
			for _, it := range items {
				if it.at > 4*time.Second {
					break
				}
				time.Sleep(it.at - time.Since(start))
				if err := write(p, epoch, it); err != nil {
					t.Fatal(err)
				}
				v.look()
			}
			if i == 0 {
				p.Lost(epoch)
				for range 100 { // the picture is held meanwhile
					v.look()
					time.Sleep(100 * time.Millisecond)
				}
			}
		}
		end(p)
		v.look()
		v.done()
		r.Close()
	})
	if n := count(v.texts[len(v.texts)-1], "EXT-X-DISCONTINUITY\n"); n != 3 {
		t.Errorf("%d discontinuities, want 3: the held picture, the second and the third publisher", n)
	}
	decode(t, v)
}

// A recording of a broadcast that was interrupted plays from end to end: ffmpeg
// decodes media, held picture and media as one playlist, without a word.
func TestRealHeldPicture(t *testing.T) {
	for name, items := range map[string][]item{
		"B-frames":   readFLV(t, ffmpegFLV(t, both("30", 4, 60, 48000, "-preset", "veryfast", "-bf", "2")...)),
		"5.1":        readFLV(t, ffmpegFLV(t, append(both("25", 4, 50, 44100), "-ac", "6")...)),
		"mono":       readFLV(t, ffmpegFLV(t, append(both("25", 4, 25, 22050), "-ac", "1")...)),
		"video only": readFLV(t, ffmpegFLV(t, video("320x180", "30", 4, 30)...)),
		"audio only": readFLV(t, ffmpegFLV(t, "-f", lavfi, "-i", fmt.Sprintf(sine+":duration=4", 44100), "-c:a", "aac")),
	} {
		t.Run(name, func(t *testing.T) {
			var v *viewer
			onStage(t, hls.Config{Window: time.Hour}, run(2), func(s *stage) {
				for epoch := int64(1); epoch < 3; epoch++ {
					s.begin(epoch)
					s.send(epoch, items)
					s.p.Lost(epoch)
					s.wait(10 * time.Second)
				}
				end(s.p)
				s.v.look()
				v = s.v
			})
			dir := t.TempDir()
			for uri, b := range v.files {
				if err := os.WriteFile(filepath.Join(dir, uri), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m := *v.media
			for i := range m.Segments {
				m.Segments[i].Parts = nil
			}
			decodeStretch(t, filepath.Join(dir, "index.m3u8"), &m)
			out, err := exec.Command("ffprobe", "-v", "error", "-allowed_extensions", "ALL", "-show_entries", "format=duration",
				"-of", "csv=p=0", filepath.Join(dir, "index.m3u8")).CombinedOutput()
			if got, perr := time.ParseDuration(strings.TrimSpace(string(out)) + "s"); err != nil || perr != nil || !near(got, 28*time.Second, 500*time.Millisecond) {
				t.Errorf("ffprobe: %s, want 28 s: %v, %v", out, err, perr)
			}
		})
	}
}
