// Package archive keeps the segments of broadcasts at rest, in a [blob.Store]:
// for the DVR window of a run while it is listed, and for good where a session
// is kept.
//
// A [Library] is all of it. A [Recorder] writes what one run packages: one
// goroutine, which whoever packages never waits for. A [Recording] is what there
// is of one session, read back.
//
// # Names
//
// All are ours: ids of sessions and runs, kinds and numbers of renditions.
//
//	{session}/about                              whose it is; JSON, written first
//	{session}/{rendition}/init-{epoch}-{n}.mp4   initialization sections
//	{session}/{rendition}/seg-{epoch}-{msn}.m4s  segments: their parts, one after the other
//	{session}/{rendition}/journal-{n}            what is in them, line by line
//	runs/{run}/{session}                         empty: the run has segments of that session
//
// # What survives
//
// Each part is appended to its segment, and then told of in the journal. So after
// kill -9 everything up to the last part that was written can be played: within
// the time that one write takes, if the disk keeps up. The journal decides what
// there is; bytes that it does not tell of are not served. After a loss of power
// what the operating system had not written back is missing (see package blob):
// a segment that is shorter than its journal says counts up to its last whole
// part, and a line that is damaged ends its journal.
//
// # What is lost
//
// What cannot be written (the queue is full, the disk is full or broken) is lost
// by whole segments, and counted. Live playback does not notice. A segment that
// is not at rest when it leaves memory is lost too: so the queue holds nothing
// that the live window does not hold anyway.
package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/blob"
)

// What a [Library] refuses.
var (
	ErrNotFound = errors.New("no recording")
	// ErrLive: the session's segments are still being written.
	ErrLive = errors.New("the session is still on air")
)

// Config of a [Library]. Blobs is required.
type Config struct {
	Blobs blob.Store
	Log   *slog.Logger // nil: slog.Default
}

// A Library is all segments at rest. It may be used concurrently.
type Library struct {
	blobs blob.Store
	log   *slog.Logger

	mu      sync.Mutex
	writing map[string]int // by session id: recorders that write it
	runs    map[string]int // recorders that are open: what their runs list is at rest here
	cache   cache

	wg      sync.WaitGroup // recorders, and removals
	lost    atomic.Int64
	written atomic.Int64
}

// New returns a library over what the store holds.
func New(c Config) *Library {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Library{blobs: c.Blobs, log: c.Log, writing: map[string]int{}, runs: map[string]int{}, cache: newCache()}
}

// Close waits until all that was handed to recorders is written. Every Recorder
// must have been closed.
func (l *Library) Close() { l.wg.Wait() }

// Lost is how many segments were to be written and could not, and Written how many
// bytes were.
func (l *Library) Lost() int64    { return l.lost.Load() }
func (l *Library) Written() int64 { return l.written.Load() }

// An About says whose recording it is. It is written when the first segment is.
type About struct {
	SessionID    string    `json:"session"`
	PlaybackID   string    `json:"playback"`
	LivestreamID string    `json:"livestream"`
	Run          string    `json:"run"`
	Keep         bool      `json:"keep"`
	Target       int       `json:"target_seconds"` // TARGETDURATION of the run
	Began        time.Time `json:"began"`
}

// about reads what is stored of a session. ErrNotFound when there is nothing.
func (l *Library) about(sessionID string) (About, error) {
	var a About
	o, err := l.blobs.Open(sessionID + "/about")
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrName) {
		return a, ErrNotFound
	}
	if err != nil {
		return a, err
	}
	defer o.Close()
	data, err := io.ReadAll(io.LimitReader(o, 64<<10))
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err != nil || a.SessionID != sessionID {
		return a, fmt.Errorf("recording %s: its description cannot be read: %w", sessionID, errors.Join(err, ErrNotFound))
	}
	return a, nil
}

// writeAbout stores a, unless that was done before.
func (l *Library) writeAbout(a About) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	described := func() bool {
		_, err := l.about(a.SessionID)
		return !errors.Is(err, ErrNotFound)
	}
	if err := l.put(a.SessionID+"/about", data, described); err != nil {
		return err
	}
	return l.put(runDir(a.Run)+"/"+a.SessionID, nil, func() bool { return true })
}

// put stores a small object, unless it is there and whole: a kill, or a disk that
// was full, leaves a part of it.
func (l *Library) put(name string, data []byte, whole func() bool) error {
	w, err := l.blobs.Create(name)
	if errors.Is(err, blob.ErrExists) {
		if whole() {
			return nil
		}
		if err = l.blobs.Delete(name); err == nil {
			w, err = l.blobs.Create(name)
		}
	}
	if err == nil {
		err = errors.Join(w.Append(data), w.Close())
	}
	return err
}

// size is how large an object is; 0 where there is none.
func (l *Library) size(name string) int64 {
	o, err := l.blobs.Open(name)
	if err != nil {
		return 0
	}
	defer o.Close()
	return o.Size()
}

// Muxed is the rendition's name where sound and picture are muxed.
const Muxed = "main"

const runsDir = "runs"

func runDir(run string) string { return runsDir + "/" + run }

// hold and letGo count who writes a session.
func (l *Library) hold(sessionID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing[sessionID]++
	l.cache.drop(sessionID)
}

func (l *Library) letGo(sessionID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cache.drop(sessionID)
	if l.writing[sessionID]--; l.writing[sessionID] <= 0 {
		delete(l.writing, sessionID)
	}
}

func (l *Library) isWriting(sessionID string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writing[sessionID] > 0
}

// lists counts recorders of a run.
func (l *Library) lists(run string, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs[run] += by; l.runs[run] == 0 {
		delete(l.runs, run)
	}
}

func (l *Library) isListed(run string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs[run] > 0
}

// Delete removes what is kept of a session. ErrNotFound when nothing is, ErrLive
// while it is written.
func (l *Library) Delete(sessionID string) error {
	if l.isWriting(sessionID) {
		return ErrLive
	}
	a, err := l.about(sessionID)
	if err != nil {
		return err
	}
	if !a.Keep {
		return ErrNotFound // a run may still list it
	}
	return l.remove(a)
}

// remove deletes a session's segments.
func (l *Library) remove(a About) error {
	err := errors.Join(l.blobs.DeleteAll(a.SessionID), l.blobs.Delete(runDir(a.Run)+"/"+a.SessionID))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cache.drop(a.SessionID) // now, or who asks meanwhile brings it back
	return err
}
