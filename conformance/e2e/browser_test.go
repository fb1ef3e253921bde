package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// A sample is one line of browser/play.mjs.
type sample struct {
	T           int64   // Unix milliseconds
	CurrentTime float64 // seconds
	Latency     float64 // seconds behind the live edge, as hls.js sees it
	Stalls      int
	Fatal       string
	Errors      []string
	Frames      int
}

// A browser is headless Chromium with stock hls.js on a playback URL.
type browser struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	seen []sample
}

// play watches for that long. The screenshot goes where TALLY_SCREENSHOTS says,
// if it is set.
func play(t *testing.T, url string, seconds int) *browser {
	t.Helper()
	args := []string{"browser/play.mjs", url, fmt.Sprint(seconds)}
	if dir := os.Getenv("TALLY_SCREENSHOTS"); dir != "" {
		args = append(args, filepath.Join(dir, t.Name()+".png"))
	}
	p := &browser{t: t, cmd: exec.Command("node", args...), done: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var s sample
			if err := json.Unmarshal(lines.Bytes(), &s); err == nil {
				p.mu.Lock()
				p.seen = append(p.seen, s)
				p.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		p.cmd.Process.Signal(os.Interrupt)
		<-p.done
		p.cmd.Wait()
	})
	return p
}

// wait returns all samples once the player is through.
func (p *browser) wait() []sample {
	p.t.Helper()
	<-p.done
	if len(p.seen) == 0 {
		p.t.Fatal("the browser said nothing")
	}
	return p.seen
}

// last is the newest sample.
func (p *browser) last() (s sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.seen); n > 0 {
		s = p.seen[n-1]
	}
	return s
}

// advanced is how long currentTime moved within the samples.
func advanced(all []sample) (d time.Duration) {
	for i := 1; i < len(all); i++ {
		if step := all[i].CurrentTime - all[i-1].CurrentTime; step > 0 && step < 2 {
			d += time.Duration(step * float64(time.Second))
		}
	}
	return d
}

// latencies are the sorted latencies while it played.
func latencies(all []sample) (ls []float64) {
	for _, s := range all {
		if s.Frames > 60 {
			ls = append(ls, s.Latency)
		}
	}
	slices.Sort(ls)
	return ls
}
