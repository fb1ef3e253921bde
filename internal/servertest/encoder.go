package servertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

var clip = sync.OnceValues(func() (*flv.Clip, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(root, "internal", "cli", "clip.flv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return flv.Load(f)
})

// Clip is the demo's clip: H.264 and AAC, a keyframe each second.
func Clip(t testing.TB) *flv.Clip {
	t.Helper()
	c, err := clip()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An Encoder is one publish by the built-in publisher. Its methods may be called
// from several goroutines.
type Encoder struct {
	t        testing.TB
	leave    context.CancelFunc
	accepted chan struct{} // closed when the server accepted
	at       time.Time     // when; valid once accepted is closed
	ended    chan struct{} // closed when it is over
	err      error         // valid once ended is closed
	gate     *gate
}

// Publish begins to publish the clip in real time, over and over, until Leave,
// which ends it in the way of end. change may alter the options; nil: nothing.
// What has not left by the test's end leaves then.
func (b *Broadcast) Publish(end publisher.End, change func(*publisher.Options)) *Encoder {
	b.T.Helper()
	o := publisher.Options{URL: b.IngestURL(), Source: publisher.FromClip(Clip(b.T), true), Speed: 1, End: end}
	if change != nil {
		change(&o)
	}
	return Encode(b.T, o)
}

// Encode publishes as the options say; their OnStart is not used.
func Encode(t testing.TB, o publisher.Options) *Encoder {
	ctx, leave := context.WithCancel(context.Background())
	e := &Encoder{t: t, leave: leave, accepted: make(chan struct{}), ended: make(chan struct{})}
	e.gate = &gate{Source: o.Source, over: ctx.Done()}
	o.Source = e.gate
	o.OnStart = func() {
		e.at = time.Now()
		close(e.accepted)
	}
	go func() {
		defer close(e.ended)
		e.err = publisher.Run(ctx, o)
	}()
	t.Cleanup(func() { e.Leave() })
	return e
}

// Accepted waits until the server has accepted the publish, and returns when it did.
func (e *Encoder) Accepted(limit time.Duration) time.Time {
	e.t.Helper()
	select {
	case <-e.accepted:
	case <-e.ended:
		select {
		case <-e.accepted:
		default:
			e.t.Fatalf("the publish was refused: %v", e.err)
		}
	case <-time.After(limit):
		e.t.Fatalf("the publish was not accepted within %v", limit)
	}
	return e.at
}

// Refused waits until the server has refused the publish, and returns how. It
// fails the test if the publish was accepted.
func (e *Encoder) Refused(limit time.Duration) error {
	e.t.Helper()
	select {
	case <-e.accepted:
		e.t.Fatal("the publish was accepted")
	case <-e.ended:
	case <-time.After(limit):
		e.t.Fatalf("the publish was not refused within %v", limit)
	}
	return e.err
}

// Ended is closed when the publish is over.
func (e *Encoder) Ended() <-chan struct{} { return e.ended }

// Lost waits until the server has ended the publish, and returns what it said.
func (e *Encoder) Lost(limit time.Duration) error {
	e.t.Helper()
	select {
	case <-e.ended:
	case <-time.After(limit):
		e.t.Fatalf("the encoder still publishes after %v", limit)
	}
	return e.err
}

// Leave ends the publish and returns its error; nil unless the server ended it.
func (e *Encoder) Leave() error {
	e.leave()
	<-e.ended
	return e.err
}

// Freeze stops sending and leaves the connection open; Thaw goes on, at first
// with all that should have been sent meanwhile.
func (e *Encoder) Freeze() { e.gate.set(make(chan struct{})) }

// Thaw ends Freeze.
func (e *Encoder) Thaw() { e.gate.set(nil) }

// A gate is a source that can be held up.
type gate struct {
	publisher.Source
	over <-chan struct{}

	mu     sync.Mutex
	closed chan struct{} // nil: open
}

func (g *gate) set(c chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
	}
	g.closed = c
}

// Next implements publisher.Source.
func (g *gate) Next() (flv.Tag, error) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed != nil {
		select {
		case <-closed:
		case <-g.over:
		}
	}
	return g.Source.Next()
}

// FFmpeg publishes with ffmpeg in real time for that long: 30 frames a second, a
// keyframe every second, a tone. It is killed with the test at the latest. What
// starts it is args in front, such as a change of the network namespace.
func (b *Broadcast) FFmpeg(seconds int, args ...string) *exec.Cmd {
	b.T.Helper()
	return FFmpeg(b.T, b.IngestURL(), seconds, args...)
}

// FFmpeg is [Broadcast.FFmpeg] to any address.
func FFmpeg(t testing.TB, url string, seconds int, args ...string) *exec.Cmd {
	t.Helper()
	args = append(args, "ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
		"-f", "lavfi", "-i", "sine=440:sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
		"-b:v", "800k", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", fmt.Sprint(seconds), "-f", "flv", url)
	cmd := exec.Command(args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // an error if somebody waited before
		if t.Failed() && said.Len() > 0 {
			t.Logf("ffmpeg: %s", &said)
		}
	})
	return cmd
}
