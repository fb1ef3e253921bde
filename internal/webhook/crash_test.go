package webhook

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tally/internal/livestream"
)

// Variables that tell a child process where its store and its receiver are.
const (
	placeVariable = "TALLY_WEBHOOK_CRASH_PLACE"
	hookVariable  = "TALLY_WEBHOOK_CRASH_HOOK"
)

// A process is killed with SIGKILL after the commit and before the delivery, and
// another while the receiver holds its request. The next one delivers: in order,
// the second time with the same id and bytes.
func TestKillBetweenCommitAndDelivery(t *testing.T) {
	if place := os.Getenv(placeVariable); place != "" {
		crashChild(t, place, os.Getenv(hookVariable))
		return
	}
	r := newReceiver()
	held := make(chan struct{})
	r.answer = func(n int, _ call) (int, http.Header, error) {
		if n == 0 {
			<-held // until the child is dead
			return 0, nil, errHang
		}
		return http.StatusOK, nil, nil
	}
	place := filepath.Join(t.TempDir(), "tally.db")
	url := served(t, r)

	child := start(t, place, "") // no engine: killed before the delivery
	kill(t, child)
	child = start(t, place, url) // killed during the delivery
	r.wait(t, 1)
	kill(t, child)
	close(held)

	w := newWorld(t, place, local())
	w.start()
	calls := r.wait(t, 5)
	equalWords(t, "calls", r.words(), "LIVE", "LIVE", "OFFLINE", "LIVE", "OFFLINE")
	if string(calls[0].Raw) != string(calls[1].Raw) || calls[0].Header.Get("rtk-uuid") != calls[1].Header.Get("rtk-uuid") {
		t.Errorf("sent again with other bytes or another id:\n%s %v\n%s %v", calls[0].Raw, calls[0].Header, calls[1].Raw, calls[1].Header)
	}
	for i, c := range calls[1:] {
		if c.Seq != int64(i+1) {
			t.Errorf("call %d has seq %d", i+1, c.Seq)
		}
	}
	hooks, err := w.store.Webhooks(t.Context(), here)
	must(t, err)
	for _, d := range w.settled(hooks[0]) {
		if d.State != livestream.DeliveryDone {
			t.Errorf("delivery %+v", d)
		}
	}
}

// start runs this test again as a child and returns once it has committed.
func start(t *testing.T, place, url string) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), placeVariable+"="+place, hookVariable+"="+url)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "committed\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	return child
}

func kill(t *testing.T, child *exec.Cmd) {
	t.Helper()
	must(t, child.Process.Kill())
	if err := child.Wait(); child.ProcessState.Exited() {
		t.Fatalf("child ended by itself: %v", err)
	}
}

// crashChild makes one broadcast. Without a receiver's address it makes the
// livestream and a webhook first, and delivers nothing; with one it sets that.
func crashChild(t *testing.T, place, url string) {
	w := newWorld(t, place, local())
	var l livestream.Livestream
	if url == "" {
		l = w.livestream()
		w.hook("http://127.0.0.1:1/")
	} else {
		recs, _, err := w.store.Records(t.Context(), here, livestream.Query{Page: livestream.Page{Number: 1, Size: 1}})
		must(t, err)
		l = recs[0].Livestream
		hooks, err := w.store.Webhooks(t.Context(), here)
		must(t, err)
		_, err = w.store.ChangeWebhook(t.Context(), here, hooks[0].ID, func(h *livestream.Webhook) error { h.URL = url; return nil })
		must(t, err)
		w.start()
	}
	w.onAir(l)
	w.advance(l, livestream.Unpublish)
	fmt.Println("committed")
	select {} // until it is killed
}
