// Package players has programs from Debian play broadcasts of the built binary:
// ffmpeg, mpv, GStreamer and VLC, as plain HLS, for their versions know no
// other. Chromium's players are those of internal/web/e2e.
//
// What they decode is judged frame by frame: the brightness of each picture is
// its number, so that what is missing, repeated or out of order shows whatever a
// program says and however it exits. `make players` plays the other kinds of
// broadcast too.
package players

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/servertest"
)

var long = flag.Bool("long", false, "all kinds of broadcast, and longer ones")

func TestMain(m *testing.M) { servertest.Main(m) }

const (
	fps           = 30
	width, height = 128, 72
	luma          = width * height
	frameBytes    = luma * 3 / 2
	numbers       = 100 // a picture's number is told modulo this
	hue           = 24  // of Cb, from one part of a broadcast to the next
)

// A program plays a URL into a file of raw pictures, I420, and ends when the
// broadcast has ended.
type program struct {
	name string
	args func(url, file string) []string
	// loose: it keeps to a clock, so that on a busy machine it leaves pictures out and
	// shows others twice. Where it has less ahead of it than a target duration, after
	// which it asks for the next playlist, it runs dry, resets its decoder and shows
	// grey until the next keyframe (its log: "ES_OUT_SET_(GROUP_)PCR is called too
	// late", as in github.com/caprica/vlcj/issues/441).
	loose bool
	// tail is how many pictures it may miss at the end: some leave when the playlist
	// has ended, with what they hold.
	tail int
	// reopens: a discontinuity ends it, and somebody opens the URL anew. VLC 3
	// asks for the initialization section once, and has no demuxer behind one.
	reopens bool
	// fault is what a program says that a fault of its own has ended: it is opened
	// anew. GStreamer 1.22 does so now and then behind a playlist's first segment.
	fault string
	// framed: a line stands before each picture.
	framed bool
}

var programs = []program{
	{"ffmpeg", func(url, file string) []string {
		return []string{"ffmpeg", "-nostdin", "-v", "error", "-i", url, "-an", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough", "-y", file}
	}, false, 0, false, "", false},
	{"mpv", func(url, file string) []string {
		return []string{"mpv", "--no-config", "--really-quiet", "--no-audio", "--ovc=rawvideo", "--of=rawvideo", "--vf=format=yuv420p", "--o=" + file, url}
	}, false, 0, false, "", false},
	{"gstreamer", func(url, file string) []string {
		return []string{"gst-launch-1.0", "-q", "playbin3", "uri=" + url, "audio-sink=fakesink",
			"video-sink=videoconvert ! videoscale ! video/x-raw,format=I420 ! filesink location=" + file}
	}, false, 5 * fps, false, "assertion failed: (current_stream_time >= 0)", false},
	{"vlc", func(url, file string) []string {
		args := []string{"cvlc", "-q", "-I", "dummy", "--no-audio", "--no-drop-late-frames", "--no-skip-frames", "--vout", "yuv", "--yuv-file=" + file, "--play-and-exit", url}
		if os.Getuid() == 0 { // which it refuses to run as
			args = append([]string{"setpriv", "--reuid=nobody", "--clear-groups"}, args...)
		}
		return args
	}, true, 0, true, "", true},
}

// A part of a broadcast is one run of the encoder.
type part struct {
	seconds int
	more    string        // of ffmpeg's options
	kill    bool          // -9 at the end
	away    time.Duration // until the next
}

type broadcast struct {
	name  string
	short bool // in the commit run too
	parts []part
	first time.Duration // after the begin, when the first players join
	join  time.Duration // after those, when others join
}

var broadcasts = []broadcast{
	{name: "killed and back", short: true, join: 4 * time.Second,
		parts: []part{{seconds: 6, more: "-g 30", kill: true, away: 2 * time.Second}, {seconds: 7, more: "-g 30"}}},
	{name: "one encoder", short: true, join: 5 * time.Second, parts: []part{{seconds: 11, more: "-g 30"}}},
	{name: "B-frames, GOP 2 s", join: 9 * time.Second, parts: []part{{seconds: 30, more: "-g 60 -preset veryfast -bf 3 -tune psnr"}}},
	// GStreamer that joins where no keyframe is listed but the first shows nothing.
	{name: "GOP 4 s", first: 13 * time.Second, join: 10 * time.Second, parts: []part{{seconds: 40, more: "-g 120"}}},
	{name: "GOP 0.5 s, away for 20 s, twice", join: 10 * time.Second, parts: []part{
		{seconds: 15, more: "-g 15", kill: true, away: 20 * time.Second}, {seconds: 10, more: "-g 15", kill: true, away: 5 * time.Second}, {seconds: 20, more: "-g 15"}}},
	{name: "a minute", join: 30 * time.Second, parts: []part{{seconds: 60, more: "-g 30"}}},
}

// Each program plays from the start to the end, and joins in the middle and
// plays to the end, through a reconnect of the encoder.
func TestPlayers(t *testing.T) {
	var all sync.WaitGroup
	slots := make(chan struct{}, 2)
	for _, b := range broadcasts {
		if b.short || *long {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				t.Run(b.name, func(t *testing.T) { b.play(t) })
			})
		}
	}
	all.Wait()
}

func (b *broadcast) play(t *testing.T) {
	s := servertest.Start(t).Create(t, map[string]any{"endlist_delay_seconds": 0})
	var plays sync.WaitGroup
	watch := func(when string, missed time.Duration) {
		for _, p := range programs {
			plays.Go(func() { p.watch(t, b, when, missed, s) })
		}
	}
	for i, p := range b.parts {
		cmd, at := p.start(t, s, i), time.Now()
		if i == 0 {
			s.AwaitState("live", 30*time.Second)
			began := time.Now()
			at = began // ffmpeg and the first part took their time
			time.Sleep(b.first)
			watch("from the start", b.first)
			time.Sleep(b.first + b.join - time.Since(began))
			watch("in the middle", b.first+b.join)
		}
		if p.kill {
			time.Sleep(time.Duration(p.seconds)*time.Second - time.Since(at)) // that is how long it is on air
			cmd.Process.Kill()
		}
		cmd.Wait()
		time.Sleep(p.away) // that is how long it is away
	}
	plays.Wait()
}

// start has ffmpeg publish pictures whose brightness is their number and whose
// colour tells which part of the broadcast they are of, and a tone.
func (p *part) start(t *testing.T, s *servertest.Broadcast, index int) *exec.Cmd {
	t.Helper()
	seconds := p.seconds
	if p.kill {
		seconds = 300
	}
	args := append([]string{"-nostdin", "-v", "error", "-re",
		"-f", "lavfi", "-i", fmt.Sprintf("nullsrc=s=%dx%d:r=%d,geq=lum='20+2*mod(N,%d)':cb=%d:cr=128", width, height, fps, numbers, 128+hue*(index%4)),
		"-re", "-f", "lavfi", "-i", "sine=440:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-qp", "4", "-pix_fmt", "yuv420p", "-sc_threshold", "0",
		"-c:a", "aac", "-t", fmt.Sprint(seconds)}, strings.Fields(p.more)...)
	cmd := exec.Command("ffmpeg", append(args, "-f", "flv", s.IngestURL())...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && said.Len() > 0 {
			t.Logf("the encoder: %s", &said)
		}
	})
	return cmd
}

// watch plays and judges. missed is how late after the start it joins.
func (p *program) watch(t *testing.T, b *broadcast, when string, missed time.Duration, s *servertest.Broadcast) {
	dir, err := os.MkdirTemp("", "tally-player-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o777) // VLC runs as somebody else
	}
	if err != nil {
		t.Error(err)
		return
	}
	var all, again []stretch // of the first run, and of those behind it
	var said string
	reopened := false
	for run, over := 0, false; !over; run++ {
		file := filepath.Join(dir, fmt.Sprintf("%d.yuv", run))
		began := time.Now()
		said, err = p.run(p.args(s.PlaybackURL, file), b.length()+time.Minute)
		raw, _ := os.ReadFile(file) // none is no picture
		if p.framed {
			raw = unframe(raw)
		}
		got := stretches(raw)
		t.Logf("%s %s: %d pictures in %v (%v): %v", p.name, when, len(raw)/frameBytes, time.Since(began).Round(100*time.Millisecond), err, got)
		if run == 0 {
			all = got
		} else {
			again = append(again, got...)
		}
		over = run == 100 || s.State() == "ended"
		switch {
		case p.reopens && len(b.parts) > 1:
			reopened = true
			time.Sleep(time.Second) // who looks at it takes that long
		case err != nil && strings.Contains(said, p.fault) && p.fault != "":
			reopened = true
		default:
			over = true
		}
	}
	problem := ""
	if reopened {
		problem = b.judgeTwice(append(all, again...), again, missed)
	} else {
		problem = b.judge(all, missed, p.loose, p.tail)
	}
	if problem != "" {
		t.Errorf("%s %s: %s\n%.1500s", p.name, when, problem, said)
	}
}

// run runs a program to its end, and returns what it said.
func (p *program) run(args []string, limit time.Duration) (said string, err error) {
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME=/nonexistent", "XDG_RUNTIME_DIR=/nonexistent")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("it still played after %v", limit)
	}
	return string(out), err
}

// length is how long the broadcast lasts, with what lies between its parts.
func (b *broadcast) length() (d time.Duration) {
	for _, p := range b.parts {
		d += time.Duration(p.seconds)*time.Second + p.away
	}
	return d
}

// A stretch is a run of pictures in the order of their numbers.
type stretch struct {
	first, last int // numbers
	pictures    int // that the numbers make
	irregular   int // of them left out, or shown more than once
	part        int // of the broadcast, modulo 4
}

func (s stretch) String() string {
	return fmt.Sprintf("%d..%d of part %d (%d, %d irregular)", s.first, s.last, s.part, s.pictures, s.irregular)
}

// maxLeap is how many pictures a stretch may leave out at once.
const maxLeap = 20

// unframe takes the lines out that VLC writes: one that tells the format, and
// FRAME before each picture.
func unframe(raw []byte) (pictures []byte) {
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		if raw = rest; string(line) == "FRAME" {
			n := min(frameBytes, len(raw))
			pictures, raw = append(pictures, raw[:n]...), raw[n:]
		}
	}
	return pictures
}

// stretches reads the numbers of raw pictures, and of which part they are.
func stretches(raw []byte) (all []stretch) {
	for at := 0; at+frameBytes <= len(raw); at += frameBytes {
		n := numberOf(raw[at : at+luma])
		part := (int(raw[at+luma+luma/8+width/4]) - 128 + hue/2) / hue
		if len(all) == 0 || all[len(all)-1].part != part {
			all = append(all, stretch{n, n, 1, 0, part})
			continue
		}
		s := &all[len(all)-1]
		switch step := ((n-s.last)%numbers + numbers) % numbers; {
		case step == 0:
			s.irregular++
		case step <= maxLeap:
			s.pictures += step
			s.irregular += step - 1
			s.last = n
		default:
			all = append(all, stretch{n, n, 1, 0, part})
		}
	}
	return all
}

// numberOf reads a picture's brightness in its middle.
func numberOf(y []byte) int {
	sum := 0
	for x := width/2 - 8; x < width/2+8; x++ {
		sum += int(y[height/2*width+x])
	}
	return (sum/16 - 20 + 1) / 2
}

// judgeTwice is judge for who was ended by a reconnect and opened again: it shows
// the first encoder, and then the last.
func (b *broadcast) judgeTwice(first, again []stretch, missed time.Duration) string {
	least := int((time.Duration(b.parts[0].seconds)*time.Second-missed).Seconds()*fps) / 4
	if got := longest(first); got < least {
		return fmt.Sprintf("the first encoder's longest stretch has %d pictures, want %d", got, least)
	}
	if got, least := longest(again), b.parts[len(b.parts)-1].seconds*fps/5; got < least {
		return fmt.Sprintf("opened again, the longest stretch has %d pictures, want %d", got, least)
	}
	return ""
}

// longest is how many pictures the longest stretch has.
func longest(all []stretch) (n int) {
	for _, s := range all {
		n = max(n, s.pictures)
	}
	return n
}

// judge says what is wrong with what was decoded; "": nothing.
func (b *broadcast) judge(all []stretch, missed time.Duration, loose bool, tail int) string {
	last := b.parts[len(b.parts)-1]
	want := last.seconds * fps
	if len(b.parts) == 1 { // who joins takes three target durations and less
		want -= int((missed + 2*time.Second).Seconds() * fps)
	}
	if len(all) == 0 {
		return "no picture"
	}
	end, number := all[len(all)-1], (last.seconds*fps-1)%numbers
	if loose {
		total := 0
		for _, s := range all {
			total += s.pictures
		}
		switch {
		case total < want*3/4:
			return fmt.Sprintf("%d pictures, want %d", total, want)
		case (number-end.last+numbers)%numbers > 3: // what it leaves out may be the last
			return fmt.Sprintf("the last picture is %d, want %d", end.last, number)
		}
		return ""
	}
	if end.last != number && tail == 0 {
		return fmt.Sprintf("the last picture is %d, want %d", end.last, number)
	}
	if end.pictures < want-tail || end.irregular > 0 || end.part != (len(b.parts)-1)%4 {
		return fmt.Sprintf("the last stretch is %v, want %d pictures", end, want)
	}
	if len(b.parts) == 1 || missed > 0 {
		return ""
	}
	if got, least := longest(all[:len(all)-1]), b.parts[0].seconds*fps/3; got < least {
		return fmt.Sprintf("the first encoder's longest stretch has %d pictures, want %d", got, least)
	}
	return ""
}

// VLC's lines are no pictures: read as such they would shift those behind them.
func TestUnframe(t *testing.T) {
	var raw []byte
	for n := range 3 {
		if n == 0 {
			raw = append(raw, "I420 W128 H72 F30:1 Ip A1:1\n"...)
		}
		raw = append(raw, "FRAME\n"...)
		raw = append(raw, bytes.Repeat([]byte{byte(20 + 2*n)}, luma)...)
		raw = append(raw, bytes.Repeat([]byte{128}, frameBytes-luma)...)
	}
	for name, c := range map[string]struct {
		raw  []byte
		want int
	}{"whole": {raw, 3}, "broken off": {raw[:len(raw)-1], 2}, "nothing": {nil, 0}, "no line": {raw[:20], 0}} {
		if all := stretches(unframe(c.raw)); c.want != longest(all) || len(all) > 1 {
			t.Errorf("%s: %v, want %d pictures", name, all, c.want)
		}
	}
}

// The judge sees what is missing.
func TestJudge(t *testing.T) {
	b := &broadcast{parts: []part{{seconds: 10}}}
	film := func(numbers ...int) (raw []byte) {
		for _, n := range numbers {
			raw = append(raw, bytes.Repeat([]byte{byte(20 + 2*n)}, luma)...)
			raw = append(raw, bytes.Repeat([]byte{128}, frameBytes-luma)...)
		}
		return raw
	}
	var whole, hole, early []int
	for n := range 300 {
		whole = append(whole, n%numbers)
		if n < 250 || n > 255 {
			hole = append(hole, n%numbers)
		}
		if n < 290 {
			early = append(early, n%numbers)
		}
	}
	for name, c := range map[string]struct {
		numbers []int
		good    bool
	}{"whole": {whole, true}, "five left out": {hole, false}, "ended early": {early, false}, "nothing": {nil, false}, "twice": {append(whole[:150:150], whole[149:]...), false}} {
		if problem := b.judge(stretches(film(c.numbers...)), 0, false, 0); (problem == "") != c.good {
			t.Errorf("%s: %q", name, problem)
		}
	}
}
