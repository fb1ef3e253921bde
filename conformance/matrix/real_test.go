package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/hls/hlscheck"
	"tally/internal/hls/player"
	"tally/internal/servertest"
)

// A publish is one run of ffmpeg: its inputs and codecs, what stands before
// "-f flv".
type publish struct {
	args    string // split at spaces; %d is the length in seconds
	seconds int
	kill    bool          // -9 at the end, instead of a clean one
	then    time.Duration // until the next
}

// A reality is a broadcast of real media through the built binary.
type reality struct {
	name    string
	short   bool // in the commit run too
	all     []publish
	restart bool // the server is killed after the first publish, and started again
	why     string
	ignore  []string
}

const (
	x264  = " -pix_fmt yuv420p -c:v libx264 -preset ultrafast -b:v 300k -sc_threshold 0 "
	aac   = " -c:a aac -b:a 64k "
	tone  = " -f lavfi -i sine=frequency=440:sample_rate=%s"
	image = "-f lavfi -i testsrc=size=%s:rate=%s"
)

// clip is picture and sound.
func clip(size, fps string, gop int, rate, more string) string {
	return fmt.Sprintf(image, size, fps) + fmt.Sprintf(tone, rate) + x264 + fmt.Sprintf("-g %d -keyint_min %d ", gop, gop) + aac + more
}

var realities = []reality{
	{name: "B-frames, 44.1 kHz, killed and back with another size", short: true, all: []publish{
		{args: clip("320x180", "25", 50, "44100", "-preset veryfast -bf 3"), seconds: 5, kill: true, then: 3 * time.Second},
		{args: clip("640x360", "30", 30, "48000", ""), seconds: 5}}},
	{name: "23.976 fps, 5.1", short: true, all: []publish{{args: clip("320x180", "24000/1001", 48, "48000", "-ac 6"), seconds: 7}}},
	{name: "killed server", short: true, restart: true, all: []publish{
		{args: clip("320x180", "30", 30, "48000", ""), seconds: 5, kill: true},
		{args: clip("320x180", "30", 30, "48000", ""), seconds: 6}}},
	{name: "10 fps, GOP 4 s", all: []publish{{args: clip("320x180", "10", 40, "44100", ""), seconds: 20}}},
	{name: "15 fps, mono", all: []publish{{args: clip("320x180", "15", 15, "48000", "-ac 1"), seconds: 20}}},
	{name: "24 fps, GOP 0.5 s", all: []publish{{args: clip("320x180", "24", 12, "48000", ""), seconds: 20}}},
	{name: "29.97 fps, GOP 10 s", all: []publish{{args: clip("320x180", "30000/1001", 300, "48000", ""), seconds: 40}}},
	{name: "50 fps", all: []publish{{args: clip("320x180", "50", 100, "48000", ""), seconds: 20}}},
	{name: "60 fps, B-frames that are references", all: []publish{{args: clip("320x180", "60", 120, "48000", "-preset veryfast -bf 4 -b-pyramid normal"), seconds: 20}}},
	{name: "keyframes where they come", all: []publish{{args: clip("320x180", "30", 600, "48000", "-force_key_frames expr:gte(t,n_forced*1.3+mod(n_forced*37,11)/6)"), seconds: 20}}},
	{name: "half of the frames dropped", ignore: []string{"part-85", "media-duration", "tfdt-continuity"}, why: "see TestSources: a rate that varies",
		all: []publish{{args: clip("320x180", "30", 600, "48000", "-vf select=gt(random(0)\\,0.5) -vsync vfr -force_key_frames expr:gte(t,n_forced*2)"), seconds: 20}}},
	{name: "picture alone", all: []publish{{args: fmt.Sprintf(image, "320x180", "30") + x264 + "-g 60 -bf 2 -preset veryfast", seconds: 20}}},
	{name: "sound alone", all: []publish{{args: strings.TrimSpace(fmt.Sprintf(tone, "44100")) + aac, seconds: 20}}},
	{name: "encoder away for 20 s", all: []publish{
		{args: clip("320x180", "30", 60, "48000", ""), seconds: 10, kill: true, then: 20 * time.Second},
		{args: clip("320x180", "30", 60, "48000", ""), seconds: 10, kill: true, then: 500 * time.Millisecond},
		{args: fmt.Sprintf(image, "320x180", "30") + x264 + "-g 30", seconds: 10}}},
}

// Real media: ffmpeg publishes to the built binary, a strict player watches from
// the start to the end, and ffmpeg decodes what it was given without a word.
func TestReal(t *testing.T) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 3) // encoders and decoders share two cores
	for _, r := range realities {
		if !r.short && !*long {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(r.name, func(t *testing.T) { r.play(t) })
		})
	}
	wg.Wait()
}

func (r *reality) play(t *testing.T) {
	b := servertest.Start(t).Create(t, map[string]any{"endlist_delay_seconds": 0})
	watched := make(chan *recording, 1)
	for i, p := range r.all {
		cmd := p.start(t, b)
		if i == 0 {
			b.AwaitState("live", 30*time.Second)
			go func() { watched <- r.watch(t, b.PlaybackURL) }()
		}
		over := time.After(time.Duration(p.seconds) * time.Second)
		if p.kill {
			<-over
			cmd.Process.Kill()
		}
		cmd.Wait() // it ends by itself
		if i == 0 && r.restart {
			b.Kill()
			b.Restart()
		}
		time.Sleep(p.then) // the encoder is away that long
	}
	rec := <-watched
	if rec == nil {
		return
	}
	want := time.Duration(0)
	for _, p := range r.all {
		want += time.Duration(p.seconds) * time.Second
	}
	if want -= 3 * time.Second * time.Duration(len(r.all)); rec.length < want {
		t.Errorf("%v of media, want %v at least", rec.length, want)
	}
	rec.decode(t)
}

func (p *publish) start(t *testing.T, b *servertest.Broadcast) *exec.Cmd {
	t.Helper()
	args := append([]string{"-nostdin", "-v", "error", "-re"}, strings.Fields(strings.Replace(p.args, " -f lavfi -i sine", " -re -f lavfi -i sine", 1))...)
	seconds := p.seconds
	if p.kill {
		seconds = 300
	}
	args = append(args, "-t", fmt.Sprint(seconds), "-f", "flv", b.IngestURL())
	cmd := exec.Command("ffmpeg", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("ffmpeg %v: %s", args, &said)
		}
	})
	return cmd
}

// A recording is what a player was given: a file for each stretch between
// discontinuities.
type recording struct {
	parts  [][]player.PartInfo
	length time.Duration // without held pictures
}

// watch plays to the end; nil: it could not.
func (r *reality) watch(t *testing.T, playbackURL string) *recording {
	rec := &recording{}
	o := player.Options{URL: playbackURL, LowLatency: true, Check: true,
		Rules: hlscheck.Options{SameClock: true, Ignore: r.ignore}}
	o.OnPart = func(p player.PartInfo) {
		if len(rec.parts) == 0 || p.Discontinuity {
			rec.parts = append(rec.parts, nil)
		}
		last := &rec.parts[len(rec.parts)-1]
		*last = append(*last, p)
		if !p.Held {
			rec.length += p.Duration
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	defer stop()
	s, err := player.New(o).Run(ctx)
	if err != nil && !errors.Is(err, player.ErrViolations) || !s.Ended {
		t.Errorf("the player: ended %v: %v", s.Ended, err)
		return nil
	}
	for i, v := range s.Violations {
		if i < 10 {
			t.Error(v)
		}
	}
	t.Logf("%d parts, %v, %d discontinuities, %d stalls of %v", s.Parts, rec.length.Round(time.Millisecond), s.Discontinuities, s.Stalls, s.StallTime.Round(time.Millisecond))
	return rec
}

// decode has ffmpeg decode each stretch.
func (rec *recording) decode(t *testing.T) {
	dir := t.TempDir()
	for i, parts := range rec.parts {
		var b bytes.Buffer
		for j := range parts {
			if j == 0 {
				b.Write(parts[0].Init)
			}
			b.Write(parts[j].Body)
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.mp4", i))
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-i", file, "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("ffmpeg on stretch %d of %d parts: %v\n%.1500s", i, len(parts), err, out)
		}
	}
}
