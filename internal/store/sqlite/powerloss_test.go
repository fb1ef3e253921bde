//go:build linux && (amd64 || arm64)

package sqlite

import (
	"errors"
	commandline "flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"tally/internal/livestream"
)

var powerLosses = commandline.Int("powerlosses", 30, "how often TestPowerLoss lets the power fail")

// TestPowerLoss proves what docs/store.md says is durable. A layer below SQLite
// notes every write, truncation and sync of the database's files. At random
// moments of that record the power fails: what was synced is there; of what was
// not, each write is there, missing or torn at a sector's border, by chance. The
// store that is opened on the result must know everything that had been
// answered, and be sound.
func TestPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	tape, promises := record(t, rand.New(rand.NewPCG(seed, 1)))
	random := rand.New(rand.NewPCG(seed, 2))
	for range *powerLosses {
		at := random.IntN(len(tape) + 1)
		dir := t.TempDir()
		tape[:at].restore(t, dir, random, true)
		if broken := inspect(t, dir, promises, at); broken != nil {
			t.Fatalf("power lost after %d of %d operations, seed %d: %v", at, len(tape), seed, broken)
		}
	}
}

// TestPowerLossIsNoticed is the control: on a disk that lies about syncs the
// same inspection must find something missing.
func TestPowerLossIsNoticed(t *testing.T) {
	seed := rand.Uint64()
	tape, promises := record(t, rand.New(rand.NewPCG(seed, 1)))
	random := rand.New(rand.NewPCG(seed, 2))
	for range 50 {
		dir := t.TempDir()
		tape.restore(t, dir, random, false)
		if inspect(t, dir, promises, len(tape)) != nil {
			return
		}
	}
	t.Errorf("seed %d: nothing was missing although no sync was honoured", seed)
}

// A promise is something that the store answered as done when the tape had at
// operations.
type promise struct {
	at    int
	after livestream.Record
}

// record runs a workload on a new store and returns what it did to its files.
func record(t *testing.T, random *rand.Rand) (tape, []promise) {
	t.Helper()
	dir := t.TempDir()
	r := watch(t, dir)
	s, err := Open(ctx, filepath.Join(dir, "tally.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var promises []promise
	var known [8]livestream.Record
	now := time.Now().UTC().Truncate(time.Millisecond)
	for step := range 120 {
		i := step % len(known)
		now = now.Add(time.Second)
		if known[i].Livestream.ID == "" {
			l := livestream.Livestream{Scope: here, ID: livestream.NewUUID(), StreamKey: livestream.NewStreamKey(),
				PlaybackID: livestream.NewPlaybackID(), CreatedAt: now, UpdatedAt: now, Settings: livestream.DefaultSettings}
			l.Settings.Damping = 0
			if err := s.CreateLivestream(ctx, l); err != nil {
				t.Fatal(err)
			}
			known[i] = livestream.Record{Livestream: l}
		} else if after, err := s.Advance(ctx, known[i].Livestream.ID, nextEvent(known[i], now, random)); err == nil {
			known[i] = after
		} else if !errors.Is(err, livestream.ErrTransition) {
			t.Fatal(err)
		}
		promises = append(promises, promise{r.length(), known[i]})
		if k := known[random.IntN(i+1)]; k.Session.Phase.Open() {
			if err := s.Checkpoint(ctx, []livestream.Checkpoint{{LivestreamID: k.Livestream.ID, SessionID: k.Session.ID,
				Epoch: k.Session.Epoch, At: now, RunID: k.Livestream.Run.ID, MSNMark: int64(step)}}, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if step == 60 { // the log goes back into the database while all this happens
			if _, err := s.w.conn.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r.tape(), promises
}

func nextEvent(r livestream.Record, now time.Time, random *rand.Rand) livestream.Event {
	kinds := []livestream.Kind{livestream.Publish, livestream.Playable, livestream.Lose, livestream.Unpublish, livestream.Configure, livestream.ResetKey}
	name := fmt.Sprint("name ", random.IntN(1000))
	return livestream.Event{Kind: kinds[random.IntN(len(kinds))], At: now, Epoch: r.Session.Epoch, Key: r.Livestream.StreamKey,
		NewID: livestream.NewUUID(), NewRun: livestream.NewRunID(), NewKey: livestream.NewStreamKey(),
		Change: livestream.Change{SetName: true, Name: name, HasName: true}}
}

// inspect opens what is left in dir and returns what is wrong with it.
func inspect(t *testing.T, dir string, promises []promise, at int) error {
	t.Helper()
	newest := map[string]livestream.Record{}
	for _, p := range promises {
		if p.at <= at {
			newest[p.after.Livestream.ID] = p.after
		}
	}
	s, err := Open(ctx, filepath.Join(dir, "tally.db"))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	var verdict string
	if err := s.reads.QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("integrity check: %s, %w", verdict, err)
	}
	for id, want := range newest {
		got, err := s.RecordByID(ctx, here, id)
		if err != nil {
			return fmt.Errorf("livestream %s was created: %w", id, err)
		}
		l, w := got.Livestream, want.Livestream
		// Later events may have been written without having been answered.
		if l.UpdatedAt.Before(w.UpdatedAt) || l.Epoch < w.Epoch || got.Session.UpdatedAt.Before(want.Session.UpdatedAt) {
			return fmt.Errorf("livestream %s is of %v, epoch %d; answered was %v, epoch %d", id, l.UpdatedAt, l.Epoch, w.UpdatedAt, w.Epoch)
		}
		if l.UpdatedAt.Equal(w.UpdatedAt) && (l.Name != w.Name || l.StreamKey != w.StreamKey || got.Session.Phase != want.Session.Phase || got.Session.ID != want.Session.ID) {
			return fmt.Errorf("livestream %s is %+v, answered was %+v", id, got, want)
		}
	}
	return nil
}

// A tape is what was done to files, in order.
type tape []operation

type operation struct {
	kind   byte // write, truncate, sync, delete
	file   string
	offset int64 // of a write; the size after a truncation
	data   []byte
}

const sector = 512

// restore makes the files as they may be after the tape's operations and a loss
// of power. Without honest, no sync has done anything.
func (tp tape) restore(t *testing.T, dir string, random *rand.Rand, honest bool) {
	t.Helper()
	files := map[string][]byte{}
	pending := map[string]tape{}
	synced := map[string]bool{}
	settle := func(name string) {
		for _, p := range pending[name] {
			p.apply(files)
		}
		delete(pending, name)
	}
	for _, op := range tp {
		pending[op.file] = append(pending[op.file], op)
		if op.kind != 's' || !honest {
			continue
		}
		settle(op.file)
		if !synced[op.file] { // the first sync of a file also writes its directory
			synced[op.file] = true
			for name, ops := range pending {
				if ops[len(ops)-1].kind == 'd' {
					settle(name)
				}
			}
		}
	}
	for _, name := range sorted(pending) {
		for _, p := range pending[name] {
			switch random.IntN(3) {
			case 0: // never reached the disk
			case 1:
				p.apply(files)
			default:
				p.tear(random).apply(files)
			}
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func sorted(m map[string]tape) []string {
	names := make([]string, 0, len(m))
	for name := range maps.Keys(m) {
		names = append(names, name)
	}
	for i := range names { // few: insertion is enough, and the order must not depend on the map
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return names
}

func (op operation) apply(files map[string][]byte) {
	content := files[op.file]
	switch op.kind {
	case 'w':
		if end := op.offset + int64(len(op.data)); end > int64(len(content)) {
			content = append(content, make([]byte, end-int64(len(content)))...)
		}
		copy(content[op.offset:], op.data)
	case 't':
		if op.offset <= int64(len(content)) {
			content = content[:op.offset]
		}
	case 'd':
		delete(files, op.file)
		return
	}
	files[op.file] = content
}

// tear leaves a run of whole sectors of a write.
func (op operation) tear(random *rand.Rand) operation {
	n := len(op.data) / sector
	if op.kind != 'w' || n == 0 {
		return op
	}
	from := random.IntN(n)
	to := from + 1 + random.IntN(n-from)
	op.data = op.data[from*sector : to*sector]
	op.offset += int64(from * sector)
	return op
}

// A recorder notes what SQLite does to files below one directory.
type recorder struct {
	dir string
	mu  sync.Mutex
	ops tape
}

func (r *recorder) note(op operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

func (r *recorder) length() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.ops) }
func (r *recorder) tape() tape  { r.mu.Lock(); defer r.mu.Unlock(); return r.ops }

// Offsets in sqlite3_vfs, sqlite3_io_methods and sqlite3_file on 64-bit systems
// (https://sqlite.org/c3ref/vfs.html, io_methods.html).
const (
	vfsSize, vfsName, vfsOpen, vfsDelete              = 168, 24, 40, 48
	methodsSize, ioWrite, ioTruncate, ioSync, ioClose = 152, 24, 32, 40, 8
)

// The layer below SQLite. Its tables stand in C's memory, where Go's collector
// and pointer checks do not look.
var layer struct {
	sync.Mutex
	vfs      uintptr
	below    uintptr             // the system's VFS
	methods  map[uintptr]uintptr // the system's table of methods -> ours
	recorder *recorder
	files    map[uintptr]noted // by open file
}

// noted is a file that is watched.
type noted struct {
	name   string
	system uintptr // the system's table of methods
}

func word(base uintptr, offset uintptr) *uintptr {
	return (*uintptr)(unsafe.Add(unsafe.Pointer(nil), base+offset))
}

// call makes a func of the function value that stands in a word.
func call[F any](w uintptr) F { return *(*F)(unsafe.Pointer(&w)) }

// hook stores a top-level func where C would have a function pointer.
func hook[F any](to *uintptr, f F) { *to = *(*uintptr)(unsafe.Pointer(&f)) }

// copied is a copy of a C structure, never freed: there are a handful.
func copied(tls *libc.TLS, from, size uintptr) uintptr {
	to := libc.Xmalloc(tls, libc.Tsize_t(size))
	for i := uintptr(0); i < size; i += 8 {
		*word(to, i) = *word(from, i)
	}
	return to
}

// watch puts the layer below every database that is opened from now on, until
// the test ends, and notes what happens in dir.
func watch(t *testing.T, dir string) *recorder {
	t.Helper()
	tls := libc.NewTLS()
	r := &recorder{dir: dir}
	layer.Lock()
	layer.recorder, layer.files, layer.methods = r, map[uintptr]noted{}, map[uintptr]uintptr{}
	if layer.vfs == 0 {
		layer.below = sqlite3.Xsqlite3_vfs_find(tls, 0)
		layer.vfs = copied(tls, layer.below, vfsSize)
		name, err := libc.CString("noting")
		if err != nil {
			t.Fatal(err)
		}
		*word(layer.vfs, vfsName) = name
		hook(word(layer.vfs, vfsOpen), openFile)
		hook(word(layer.vfs, vfsDelete), deleteFile)
	}
	layer.Unlock()
	if rc := sqlite3.Xsqlite3_vfs_register(tls, layer.vfs, 1); rc != sqlite3.SQLITE_OK {
		t.Fatalf("register VFS: %d", rc)
	}
	t.Cleanup(func() {
		sqlite3.Xsqlite3_vfs_unregister(tls, layer.vfs)
		sqlite3.Xsqlite3_vfs_register(tls, layer.below, 1)
		tls.Close()
	})
	return r
}

func (r *recorder) nameOf(path uintptr) (string, bool) {
	if path == 0 {
		return "", false
	}
	name, ok := strings.CutPrefix(libc.GoString(path), r.dir+"/")
	return name, ok && !strings.HasSuffix(name, "-shm") // memory: not there after a restart
}

func openFile(tls *libc.TLS, vfs, path, file uintptr, flags int32, out uintptr) int32 {
	rc := call[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](*word(layer.below, vfsOpen))(tls, layer.below, path, file, flags, out)
	layer.Lock()
	defer layer.Unlock()
	name, ok := layer.recorder.nameOf(path)
	if rc != sqlite3.SQLITE_OK || !ok {
		return rc
	}
	system := *word(file, 0)
	if layer.methods[system] == 0 {
		ours := copied(tls, system, methodsSize)
		hook(word(ours, ioWrite), writeFile)
		hook(word(ours, ioTruncate), truncateFile)
		hook(word(ours, ioSync), syncFile)
		hook(word(ours, ioClose), closeFile)
		layer.methods[system] = ours
	}
	layer.files[file] = noted{name, system}
	*word(file, 0) = layer.methods[system]
	return rc
}

// below is a method of the system's, and the name of the file.
func below[F any](file, method uintptr) (F, string, *recorder) {
	layer.Lock()
	defer layer.Unlock()
	f := layer.files[file]
	return call[F](*word(f.system, method)), f.name, layer.recorder
}

func writeFile(tls *libc.TLS, file, data uintptr, size int32, offset int64) int32 {
	f, name, r := below[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](file, ioWrite)
	rc := f(tls, file, data, size, offset)
	if rc == sqlite3.SQLITE_OK {
		bytes := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), data)), size)
		r.note(operation{'w', name, offset, append([]byte(nil), bytes...)})
	}
	return rc
}

func truncateFile(tls *libc.TLS, file uintptr, size int64) int32 {
	f, name, r := below[func(*libc.TLS, uintptr, int64) int32](file, ioTruncate)
	rc := f(tls, file, size)
	if rc == sqlite3.SQLITE_OK {
		r.note(operation{kind: 't', file: name, offset: size})
	}
	return rc
}

func syncFile(tls *libc.TLS, file uintptr, flags int32) int32 {
	f, name, r := below[func(*libc.TLS, uintptr, int32) int32](file, ioSync)
	rc := f(tls, file, flags)
	if rc == sqlite3.SQLITE_OK {
		r.note(operation{kind: 's', file: name})
	}
	return rc
}

func closeFile(tls *libc.TLS, file uintptr) int32 {
	f, _, _ := below[func(*libc.TLS, uintptr) int32](file, ioClose)
	layer.Lock()
	delete(layer.files, file)
	layer.Unlock()
	return f(tls, file)
}

func deleteFile(tls *libc.TLS, vfs, path uintptr, syncDir int32) int32 {
	rc := call[func(*libc.TLS, uintptr, uintptr, int32) int32](*word(layer.below, vfsDelete))(tls, layer.below, path, syncDir)
	if name, ok := layer.recorder.nameOf(path); ok && rc == sqlite3.SQLITE_OK {
		layer.recorder.note(operation{kind: 'd', file: name})
	}
	return rc
}
