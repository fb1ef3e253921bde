package players

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"tally/internal/rtmp/mp4"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// codecs are what Enhanced RTMP carries beside H.264 and AAC, at a quality that
// leaves the pictures' brightness alone.
var codecs = []struct {
	name         string
	video, audio []string
}{
	{name: "HEVC and AAC", video: hevc, audio: []string{"-c:a", "aac"}},
	{name: "HEVC with B-frames and Opus", video: append(slices.Clone(hevc), "-x265-params", "log-level=error:bframes=3:keyint=30:qp=8"), audio: opus},
	{name: "AV1 and Opus", video: []string{"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-crf", "8", "-b:v", "0", "-g", "30"}, audio: opus},
	{name: "VP9 and FLAC", video: []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "8", "-b:v", "0", "-g", "30"},
		audio: []string{"-c:a", "flac", "-strict", "-2"}},
}

var (
	hevc = []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error:bframes=0:keyint=30:qp=8"}
	opus = []string{"-c:a", "libopus"}
)

// keepers are the programs that show every picture whatever the machine does
// beside. What GStreamer and VLC do with these codecs stands in docs/codecs.md.
var keepers = []string{"ffmpeg", "mpv"}

// The keepers play each codec from the start to the end, and from the middle.
func TestCodecs(t *testing.T) {
	for _, c := range codecs {
		if !*long {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			b := &broadcast{name: c.name, join: 6 * time.Second, parts: []part{{seconds: 14}}}
			s := servertest.Start(t).Create(t, map[string]any{"endlist_delay_seconds": 0})
			encoder := s.Publish(publisher.Clean, func(o *publisher.Options) {
				o.Source = numbered(t, b.parts[0].seconds, append(slices.Clone(c.video), c.audio...))
			})
			s.AwaitState("live", 30*time.Second)
			var plays sync.WaitGroup
			for _, join := range []time.Duration{0, b.join} {
				time.Sleep(join) // how late the second one joins
				for _, p := range programs {
					if slices.Contains(keepers, p.name) {
						plays.Go(func() { p.watch(t, b, fmt.Sprintf("after %v", join), join, s) })
					}
				}
			}
			<-encoder.Ended()
			plays.Wait()
		})
	}
}

// numbered is a broadcast of pictures whose brightness is their number, and a tone.
func numbered(t *testing.T, seconds int, codecs []string) publisher.Source {
	t.Helper()
	name := filepath.Join(t.TempDir(), "numbered.mp4")
	args := append([]string{"-nostdin", "-v", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("nullsrc=s=%dx%d:r=%d,geq=lum='20+2*mod(N,%d)':cb=128:cr=128", width, height, fps, numbers),
		"-f", "lavfi", "-i", "sine=440:sample_rate=48000", "-pix_fmt", "yuv420p", "-t", fmt.Sprint(seconds)}, codecs...)
	if out, err := exec.Command("ffmpeg", append(args, name)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := mp4.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	source, err := (publisher.Files{Files: []*mp4.File{file}}).Source()
	if err != nil {
		t.Fatal(err)
	}
	return source
}
