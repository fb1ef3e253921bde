package storetest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"tally/internal/livestream"
)

// placeVariable tells a child process of Crash where its store is.
const placeVariable = "TALLY_STORETEST_CRASH_PLACE"

// writers is how many goroutines of the child write at once.
const writers = 8

// done is one line of the child's output: what the store has returned as done.
type done struct {
	ID     string // of the livestream
	Epoch  int64
	Ingest time.Duration
	Viewed time.Duration // and so much is in the row of its one viewer, and in its windows
	Facts  int           // of the newest session
	Closed bool
}

// Crash kills a process with SIGKILL while it writes, ten times in the same
// place, and each time finds everything that was returned as done before. The
// calling test must have no other content: the child runs it again.
func Crash(t *testing.T, open Open) {
	if place := os.Getenv(placeVariable); place != "" {
		write(t, open(t, place))
		return
	}
	place := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2)) // seeded: a round can be repeated
	known := map[string]done{}
	for round := range 10 {
		lines := 50 + random.IntN(500)
		crash(t, place, lines, known)
		s := open(t, place)
		for _, d := range known {
			check(t, s, d)
		}
		must(t, s.Close())
		if len(known) < (round+1)*writers {
			t.Errorf("round %d: %d livestreams are known, want %d", round, len(known), (round+1)*writers)
		}
	}
}

// crash starts a child, reads so many lines from it and kills it. What the
// child had said before is in known afterwards.
func crash(t *testing.T, place string, lines int, known map[string]done) {
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), placeVariable+"="+place)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	in := bufio.NewReader(out)
	for n := 0; ; n++ {
		if n == lines {
			must(t, child.Process.Kill())
		}
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break // a line that was cut off does not count
		}
		must(t, err)
		var d done
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatalf("child says %q", line)
		}
		known[d.ID] = d
	}
	if err := child.Wait(); child.ProcessState.Success() || child.ProcessState.Exited() {
		t.Fatalf("child ended by itself: %v", err)
	}
}

func check(t *testing.T, s livestream.Store, d done) {
	t.Helper()
	r, err := s.RecordByID(ctx, here, d.ID)
	must(t, err)
	created, err := s.Created(ctx, requestFor(d.ID).Request, 1, start)
	must(t, err)
	same(t, "what a request created", created, d.ID)
	facts, _, err := s.Timeline(ctx, r.Session.ID, livestream.Page{Number: 1, Size: 100})
	must(t, err)
	x := r.Session
	if r.Livestream.Epoch < d.Epoch || x.Epoch != r.Livestream.Epoch || x.Ingest < d.Ingest || x.Viewed < d.Viewed ||
		len(facts) < d.Facts || d.Closed && x.Phase.Open() {
		t.Errorf("found epoch %d, session %s of epoch %d, ingest %s, viewed %s, %d facts; done was %+v",
			r.Livestream.Epoch, x.Phase, x.Epoch, x.Ingest, x.Viewed, len(facts), d)
	}
	if x.ID != "" { // what one transaction wrote is there, or none of it
		u := &livestream.Audit{At: time.Now()}
		must(t, s.Audit(ctx, here, x.ID, u))
		if u.Done(); u.Received != x.Ingest || u.Listed.Total() != x.Viewed || u.Windowed.Total() != x.Viewed {
			t.Errorf("ingest %s, in intervals %s; viewed %s, in windows %s, in rows %s", x.Ingest, u.Received, x.Viewed, u.Windowed.Total(), u.Listed.Total())
		}
	}
	if x.Epoch > 0 && (x.InvokedAt.IsZero() || x.LivestreamID != d.ID) {
		t.Errorf("session is torn: %+v", x)
	}
}

// requestFor is a request that creates the object of this id.
func requestFor(id string) livestream.Creation {
	c := livestream.Creation{What: livestream.CreatesLivestream, At: at(1_000_000)}
	copy(c.Request[:], id)
	return c
}

// write is the child: it works until it is killed, and says what is done.
func write(t *testing.T, s livestream.Store) {
	out := make(chan done, writers)
	for w := range writers {
		go func() {
			for i := 0; ; i++ {
				if err := writeSession(s, w, i, out); err != nil {
					fmt.Fprintln(os.Stderr, "child:", err)
					os.Exit(1)
				}
			}
		}()
	}
	lines := json.NewEncoder(os.Stdout)
	for d := range out {
		must(t, lines.Encode(d))
	}
}

// writeSession takes one livestream through a session, checkpoint by checkpoint.
func writeSession(s livestream.Store, w, i int, out chan<- done) error {
	l := newLivestream(here, at(i))
	if err := s.CreateLivestream(livestream.WithCreation(ctx, requestFor(l.ID)), l); err != nil {
		return err
	}
	d := done{ID: l.ID}
	out <- d
	r, err := s.Advance(ctx, l.ID, publish(l, at(i)))
	if err != nil {
		return err
	}
	d.Epoch, d.Facts = 1, 1
	out <- d
	for k := range 20 {
		ingest := time.Duration(k+1) * time.Second
		c := checkpoint(r, at(i).Add(ingest), ingest)
		c.Intervals = []livestream.Interval{{SessionID: r.Session.ID, Epoch: 1, Number: int64(k), From: at(i), To: at(i + 1000), Length: time.Second}}
		viewed := d.Viewed + time.Duration(w+1)*time.Second
		if err := s.Checkpoint(ctx, []livestream.Checkpoint{c}, []livestream.UsageWindow{window(r.Session.ID, int64(k), viewed-d.Viewed)},
			[]livestream.Viewing{viewing(r.Session.ID, 1, viewed)}); err != nil {
			return err
		}
		d.Ingest, d.Viewed = ingest, viewed
		out <- d
	}
	if _, err := s.Advance(ctx, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(i + 30_000), Epoch: 1}); err != nil {
		return err
	}
	d.Facts, d.Closed = 2, true
	out <- d
	return nil
}
