package walks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// A cable lies between an encoder and the server.
type cable interface {
	encoder() *sender
	pull()
	plug()
}

// A sender is an encoder at the far end of a cable.
type sender struct {
	gone <-chan struct{} // closed when it has given up
	kill func()
}

// TestPulledCable: somebody trips over the encoder's cable. No FIN and no RST
// arrives, the connection stands and is silent. A cable that is back after four
// seconds changes nothing but the seconds; one that stays away is told as
// starving within 3 s and as RECONNECTING within 12, and a new connection
// continues the session.
//
// Where network namespaces may be made, by root or in a user namespace, the
// encoder is a process in one of its own, behind a veth whose link is taken down.
// Elsewhere a relay between the two falls silent in both directions without
// closing anything. The log says which it was.
func TestPulledCable(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		pulledCable(t, func(w *walk) cable { return newVeth(t, w) }, vethServer)
		return
	}
	t.Parallel()
	if err := mayMakeNamespaces(); err != nil {
		t.Logf("a relay that falls silent stands for the cable, because network namespaces cannot be made here: %v", err)
		pulledCable(t, func(w *walk) cable { return &relayCable{servertest.NewRelay(t, w.RTMP, ""), w} }, "")
		return
	}
	// Everything happens in a namespace with a loopback of its own.
	again := exec.Command(os.Args[0], "-test.run=^TestPulledCable$", "-test.v", "-test.timeout=90s")
	again.Env = append(os.Environ(), inNamespace+"=1", "TALLY_TEST_BINARY="+servertest.Binary(t))
	again.SysProcAttr = ownNetwork()
	out, err := again.CombinedOutput()
	t.Logf("in a network namespace:\n%s", out)
	if err != nil {
		t.Errorf("in a network namespace: %v", err)
	}
}

const (
	inNamespace = "TALLY_WALK_IN_NAMESPACE"
	vethServer  = "10.93.0.1"
	vethEncoder = "10.93.0.2"
)

// mayMakeNamespaces tries it, down to a veth into a second namespace.
func mayMakeNamespaces() error {
	if ownNetwork() == nil {
		return errors.New("this is not Linux")
	}
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	try := exec.Command("sh", "-c", "ip link set lo up && ip link add try0 type veth peer name try1 && nsenter -t $$ -n true")
	try.SysProcAttr = ownNetwork()
	if out, err := try.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// run runs a command that must succeed.
func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// A veth is a cable to a namespace of its own.
type veth struct {
	t      *testing.T
	w      *walk
	inside []string // runs a command at the far end
}

func newVeth(t *testing.T, w *walk) *veth {
	far := exec.Command("sleep", "300") // holds the namespace
	far.SysProcAttr = ownNetwork()
	if err := far.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		far.Process.Kill()
		far.Wait()
	})
	pid := fmt.Sprint(far.Process.Pid)
	v := &veth{t: t, w: w, inside: []string{"nsenter", "-t", pid, "-n"}}
	run(t, "ip", "link", "set", "cable1", "netns", pid)
	run(t, append(v.inside, "ip", "addr", "add", vethEncoder+"/30", "dev", "cable1")...)
	v.plug()
	return v
}

func (v *veth) link(state string) {
	run(v.t, append(v.inside, "ip", "link", "set", "cable1", state)...)
}
func (v *veth) pull() { v.link("down") }
func (v *veth) plug() { v.link("up") }

func (v *veth) encoder() *sender {
	args := append(v.inside, servertest.Binary(v.t), "publish", "--loop", "--url", v.w.IngestURL())
	cmd := exec.Command(args[0], args[1:]...)
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		cmd.Wait()
	}()
	s := &sender{gone: gone, kill: func() {
		cmd.Process.Kill()
		<-gone
	}}
	v.t.Cleanup(s.kill)
	return s
}

// A relayCable is the next best thing.
type relayCable struct {
	r *servertest.Relay
	w *walk
}

func (c *relayCable) pull() { c.r.Pull() }
func (c *relayCable) plug() { c.r.Plug() }

func (c *relayCable) encoder() *sender {
	e := c.w.Publish(publisher.Cut, func(o *publisher.Options) { o.URL = strings.Replace(o.URL, c.w.RTMP, c.r.Addr, 1) })
	return &sender{gone: e.Ended(), kill: func() { e.Leave() }}
}

// pulledCable is the walk. ingest is the address that the server's RTMP listens on.
func pulledCable(t *testing.T, lay func(*walk) cable, ingest string) {
	o := servertest.Options{Flags: []string{servertest.AllowReceiver}}
	if ingest != "" {
		run(t, "ip", "link", "set", "lo", "up")
		run(t, "ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1")
		run(t, "ip", "addr", "add", ingest+"/30", "dev", "cable0")
		run(t, "ip", "link", "set", "cable0", "up")
		o.RTMP = ingest + ":0"
	}
	p := &place{Server: servertest.StartWith(t, o), in: servertest.NewReceiver(t)}
	p.in.Subscribe(p.Server, "livestreaming.statusUpdate", "livestreaming.healthUpdate")
	w := p.walk(t, nil)
	c := lay(w)
	first := c.encoder()
	w.Await("LIVE", 15*time.Second)
	w.shows("live", 5*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(3*time.Second, 15*time.Second)
	_, before, _ := w.Active()

	c.pull()
	pulled := time.Now()
	starving := w.healthy("starving", pulled, 3*time.Second)
	time.Sleep(time.Until(pulled.Add(4 * time.Second)))
	c.plug()
	back := w.healthy("ok", pulled, 10*time.Second)
	t.Logf("pulled for 4 s: starving after %v, ok again after %v", starving, back)
	_, s, _ := w.Active()
	if s.ID != before.ID || s.Tally.Epoch != before.Tally.Epoch {
		t.Errorf("after 4 s without a cable: %+v, before %+v", s, before)
	}
	w.events(s.ID, "publish", "playable")
	v.plays(2*time.Second, 15*time.Second)

	_, s, _ = w.Active()
	c.pull()
	pulled = time.Now()
	starving = w.healthy("starving", pulled, 3*time.Second)
	w.Await("LIVE RECONNECTING", time.Until(pulled.Add(12*time.Second)))
	reconnecting := time.Since(pulled)
	t.Logf("pulled for good: starving after %v, RECONNECTING after %v", starving, reconnecting.Round(time.Millisecond))
	w.shows("reconnecting", time.Second)
	_, lost, _ := w.Active()
	if window := lost.Tally.Deadline.Sub(*lost.Tally.LastMediaAt); window != time.Minute {
		t.Errorf("the window is %v, want the default of a minute from the last media", window)
	}
	if more := lost.Tally.IngestMs - s.Tally.IngestMs; more > 1000 {
		t.Errorf("%d ms of ingest were counted without a cable", more)
	}
	v.until("the held picture", 5*time.Second, func(s player.Stats) bool { return s.Status == player.Reconnecting })
	c.plug()
	select {
	case <-first.gone:
		t.Logf("the encoder noticed %v after the pull", time.Since(pulled).Round(time.Millisecond))
	case <-time.After(20 * time.Second): // it retransmits ever less often
		first.kill()
		t.Log("the encoder had not noticed 20 s after the cable was back, and was restarted")
	}
	c.encoder()
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	v.plays(3*time.Second, 15*time.Second)
	_, s, _ = w.Active()
	if s.ID != before.ID || s.Tally.Epoch != before.Tally.Epoch+1 || s.Health() != "ok" {
		t.Errorf("resumed: %+v, before %+v", s, before)
	}
	w.Do("stop")
	all := w.closed()
	w.events(before.ID, "publish", "playable", "lose", "publish", "stop")
	w.told(all, "LIVE", "reconnecting RECONNECTING", "ok", "OFFLINE")
	v.ended(2 * time.Second)
	// What was sent during the 4 s came at once and dated the media ahead by that
	// much; the held picture of the second pull is dated by the clock again.
	figures := v.leave(v.p.Stats().Discontinuities, "pdt-consistent")
	if figures.Discontinuities < 2 {
		t.Errorf("the viewer met %d discontinuities, want the held picture and the return", figures.Discontinuities)
	}
	t.Logf("the viewer stalled %d times, %v in all, until the picture was held", figures.Stalls, figures.StallTime.Round(time.Millisecond))
}

// healthy waits until the session's health is that, and returns how long after
// since it was seen.
func (w *walk) healthy(want string, since time.Time, limit time.Duration) time.Duration {
	w.t.Helper()
	for {
		_, s, ok := w.Active()
		took := time.Since(since)
		if ok && s.Health() == want {
			return took.Round(time.Millisecond)
		}
		if took > limit {
			w.t.Fatalf("%v after the cable moved the health is %q, want %q", took, s.Health(), want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
