package thumbnail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tally/internal/hls"
	"tally/internal/hls/hlstest"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/thumbnail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// still is the newest keyframe of a broadcast of that codec, as its playlist has it.
func still(t *testing.T, video, audio media.Codec, more ...string) *thumbnail.Source {
	t.Helper()
	r := hls.NewRegistry(hls.Config{})
	t.Cleanup(r.Close)
	p := r.Open(hls.OpenOptions{PlaybackID: "play", SessionID: "s", Run: livestream.Run{ID: "run", TargetDuration: 2}})
	p.Begin(1)
	p.Mark(1<<40, 1<<40)
	p.Expect(1, media.First(video != media.CodecNone, audio != media.CodecNone))
	for _, it := range hlstest.Read(t, hlstest.File(t, hlstest.Args(video, audio, 400*time.Millisecond, more...)...)) {
		var err error
		if it.Track != nil {
			err = p.WriteTrack(1, *it.Track)
		} else {
			err = p.WriteFrame(1, it.Frame)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p.Lost(1)
	init, part := r.Stream("play").Window().Current().Still()
	if part == nil {
		return nil
	}
	return &thumbnail.Source{Name: fmt.Sprint(part.Counter), Pieces: [][]byte{init.Data, part.Data, part.Tail}}
}

func decode(t *testing.T, p *thumbnail.Picture) image.Image {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(p.Data))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// Every codec that is packaged is decoded, with sound beside it and without, and
// wide pixels become square.
func TestEveryCodec(t *testing.T) {
	m := thumbnail.New(thumbnail.Config{})
	defer m.Close()
	for _, c := range []struct {
		video, audio  media.Codec
		more          []string
		width, height int
	}{
		{media.H264, media.AAC, nil, 160, 120},
		{media.HEVC, media.CodecNone, nil, 160, 120},
		{media.VP9, media.Opus, nil, 160, 120},
		{media.AV1, media.CodecNone, nil, 160, 120},
		{media.H264, media.CodecNone, []string{"-vf", "setsar=4/3"}, 212, 120},
		{media.H264, media.CodecNone, []string{"-vf", "scale=96:1920,setsar=1"}, 64, 1280},
	} {
		t.Run(fmt.Sprint(c.video, c.more), func(t *testing.T) {
			pic, err := m.Get(t.Context(), t.Name(), thumbnail.MaxWidth, still(t, c.video, c.audio, c.more...))
			if err != nil {
				t.Fatal(err)
			}
			img := decode(t, pic)
			if b := img.Bounds(); b.Dx() != c.width || b.Dy() != c.height || pic.Width != c.width {
				t.Errorf("%v, want %d x %d", b, c.width, c.height)
			}
			// testsrc begins with bars of several colours from the left to the right.
			colours := map[color.RGBA]bool{}
			for x := range 8 {
				r, g, b, _ := img.At(img.Bounds().Dx()*(2*x+1)/16, img.Bounds().Dy()/3).RGBA()
				colours[color.RGBA{uint8(r >> 14), uint8(g >> 14), uint8(b >> 14), 0}] = true
			}
			if len(colours) < 4 {
				t.Errorf("the picture has %d colours", len(colours))
			}
		})
	}
	if src := still(t, media.CodecNone, media.AAC); src != nil {
		t.Error("sound has a picture")
	}
	if n := m.Stats(); n.Made != 6 || n.Failed != 0 {
		t.Errorf("%+v", n)
	}
}

func TestSizes(t *testing.T) {
	m := thumbnail.New(thumbnail.Config{})
	defer m.Close()
	src := still(t, media.H264, media.CodecNone, "-vf", "scale=640:360,setsar=1")
	tags := map[string]bool{}
	for _, want := range []int{1280, 640, 320, 64, 320} {
		p, err := m.Get(t.Context(), "id", thumbnail.Width(want), src)
		if err != nil {
			t.Fatal(err)
		}
		tags[p.ETag] = true
		want = min(want, 640)
		if b := decode(t, p).Bounds(); b.Dx() != want || b.Dy() != want*9/16 {
			t.Errorf("%v, want a width of %d", b, want)
		}
	}
	if n := m.Stats().Made; n != 1 || len(tags) != 3 {
		t.Errorf("decoded %d times, %d tags for 3 sizes", n, len(tags))
	}
	for want, width := range map[int]int{64: 64, 65: 128, 300: 320, 1280: 1280, 5000: 1280} {
		if got := thumbnail.Width(want); got != width {
			t.Errorf("who asks for %d gets %d, want %d", want, got, width)
		}
	}
}

// program writes a shell script that stands in for ffmpeg. In it $DIR is a
// directory of its own, with a small picture in pic.jpg.
func program(t *testing.T, script string) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 36)), nil); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "ffmpeg")
	for name, text := range map[string]string{"pic.jpg": b.String(), "ffmpeg": "#!/bin/sh\nDIR=" + dir + "\n" + script} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return path, dir
}

const copies = "PATH=/usr/bin:/bin; cat >/dev/null; echo >> $DIR/count; cat $DIR/pic.jpg\n"

func count(t *testing.T, dir string) int {
	b, err := os.ReadFile(filepath.Join(dir, "count"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(b)
}

func source(name string) *thumbnail.Source {
	return &thumbnail.Source{Name: name, Pieces: [][]byte{[]byte("init"), []byte("part")}}
}

// However often it is asked for: one process for a keyframe, none within five
// seconds, and the last picture stays for a while when the broadcast is over.
func TestKept(t *testing.T) {
	path, dir := program(t, copies)
	synctest.Test(t, func(t *testing.T) {
		m := thumbnail.New(thumbnail.Config{FFmpeg: path})
		defer m.Close()
		get := func(src *thumbnail.Source) error {
			t.Helper()
			p, err := m.Get(t.Context(), "id", 640, src)
			if err == nil && len(p.Data) == 0 {
				t.Error("an empty picture")
			}
			return err
		}
		settle := func(want int) {
			t.Helper()
			for range 1000 { // the process runs in real time
				if m.Stats().Made == int64(want) {
					break
				}
				exec.Command("sleep", "0.01").Run()
			}
			if n := count(t, dir); n != want {
				t.Errorf("%d processes, want %d", n, want)
			}
		}
		if err := get(nil); !errors.Is(err, thumbnail.ErrNone) {
			t.Errorf("before the broadcast: %v", err)
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if err := get(source("a")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		settle(1)
		time.Sleep(4 * time.Second)
		get(source("b")) // too soon
		settle(1)
		time.Sleep(2 * time.Second)
		get(source("a")) // no news
		settle(1)
		get(source("b"))
		settle(2)
		time.Sleep(9 * time.Minute)
		if err := get(nil); err != nil {
			t.Errorf("nine minutes after the end: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if err := get(nil); !errors.Is(err, thumbnail.ErrNone) {
			t.Errorf("eleven minutes after the end: %v", err)
		}
	})
}

// One process at a time, a queue of eight behind it, and the rest is refused at
// once; who gives up waits no longer, and Close ends what is left.
func TestBusy(t *testing.T) {
	path, dir := program(t, "PATH=/usr/bin:/bin; mkdir $DIR/alone || echo >> $DIR/count\nwhile [ ! -e $DIR/go ]; do sleep 0.02; done\nrmdir $DIR/alone; cat >/dev/null; cat $DIR/pic.jpg\n")
	m := thumbnail.New(thumbnail.Config{FFmpeg: path, AtOnce: 1, Deadline: time.Minute})
	defer m.Close()
	answers := make(chan error)
	for i := range 15 {
		go func() {
			_, err := m.Get(context.Background(), strconv.Itoa(i), 64, source("a"))
			answers <- err
		}()
	}
	for range 6 {
		if err := <-answers; !errors.Is(err, thumbnail.ErrBusy) {
			t.Errorf("beyond the queue: %v", err)
		}
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	for id := range 15 { // of those that wait and those that were refused
		if _, err := m.Get(ctx, strconv.Itoa(id), 64, source("a")); !errors.Is(err, gone) && !errors.Is(err, thumbnail.ErrBusy) {
			t.Errorf("who has gone: %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := count(t, dir); n != 0 {
		t.Errorf("%d processes ran beside another", n)
	}
}

// A process that hangs ends with all its children, at the deadline and with the
// maker.
func TestProcessEnds(t *testing.T) {
	path, dir := program(t, "PATH=/usr/bin:/bin; sleep 1000 &\necho $! > $DIR/child.new; mv $DIR/child.new $DIR/child\nwait\n")
	alive := func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "child"))
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return syscall.Kill(pid, 0) == nil && (err != nil || !bytes.Contains(status, []byte(") Z ")))
	}
	ends := func() {
		t.Helper()
		for start := time.Now(); alive(); time.Sleep(5 * time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatal("the child lives on")
			}
		}
	}
	m := thumbnail.New(thumbnail.Config{FFmpeg: path, Deadline: 300 * time.Millisecond})
	if _, err := m.Get(t.Context(), "id", 64, source("a")); !errors.Is(err, thumbnail.ErrPicture) {
		t.Errorf("at the deadline: %v", err)
	}
	ends()
	m.Close()

	os.Remove(filepath.Join(dir, "child"))
	m = thumbnail.New(thumbnail.Config{FFmpeg: path, Deadline: time.Minute})
	got := make(chan error)
	go func() {
		_, err := m.Get(context.Background(), "id", 64, source("a"))
		got <- err
	}()
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "child")); err == nil {
			break
		}
	}
	m.Close()
	if err := <-got; err == nil {
		t.Error("a picture of a maker that was closed")
	}
	ends()
}

// Whatever ffmpeg is given or gives.
func TestBadPictures(t *testing.T) {
	good := still(t, media.H264, media.CodecNone)
	cut := &thumbnail.Source{Name: "b", Pieces: [][]byte{good.Pieces[0], good.Pieces[1][:len(good.Pieces[1])/8]}}
	noise := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	real := thumbnail.New(thumbnail.Config{})
	defer real.Close()
	for name, src := range map[string]*thumbnail.Source{"noise": {Name: "a", Pieces: [][]byte{noise}}, "nothing": {Name: "a"}, "cut": cut} {
		if _, err := real.Get(t.Context(), name, 64, src); !errors.Is(err, thumbnail.ErrPicture) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, script := range map[string]string{
		"no end":     "PATH=/usr/bin:/bin; exec yes\n",
		"no picture": "echo hello\n",
		"no exit 0":  "exit 3\n",
	} {
		path, _ := program(t, script)
		m := thumbnail.New(thumbnail.Config{FFmpeg: path})
		if _, err := m.Get(t.Context(), "id", 64, source("a")); !errors.Is(err, thumbnail.ErrPicture) {
			t.Errorf("%s: %v", name, err)
		}
		m.Close()
	}
	t.Setenv("TALLY_API_TOKEN", "secret")
	path, dir := program(t, "export -p > $DIR/env\n")
	m := thumbnail.New(thumbnail.Config{FFmpeg: path})
	defer m.Close()
	m.Get(t.Context(), "id", 64, source("a"))
	if b, err := os.ReadFile(filepath.Join(dir, "env")); err != nil || bytes.Contains(b, []byte("TALLY")) {
		t.Errorf("the process has our environment: %v\n%s", err, b)
	}
}

func TestNoFFmpeg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	m := thumbnail.New(thumbnail.Config{})
	defer m.Close()
	if _, err := m.Get(t.Context(), "id", 64, source("a")); !errors.Is(err, thumbnail.ErrNoDecoder) {
		t.Error(err)
	}
}
