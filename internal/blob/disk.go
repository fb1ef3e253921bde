package blob

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Disk is a [Store] of files below one directory, which nothing leads out of.
type Disk struct {
	root  *os.Root
	floor func(size int64) int64

	mu    sync.Mutex // guards what follows, and serialises looks at the disk
	at    time.Time  // when free was looked at
	spare int64      // bytes above the floor then, less what was written since
	err   error      // why free space is unknown
}

// DiskConfig of a [Disk]. The zero value works.
type DiskConfig struct {
	// Floor is how many bytes of the file system stay free; what would go below is
	// ErrFull. 0: a twentieth of the file system, at least 256 MB and at most
	// 10 GB. A negative one is none.
	Floor int64
}

const (
	leastFloor = 256 << 20
	mostFloor  = 10 << 30
	lookEvery  = time.Second // at the free space
)

// OpenDisk opens the directory, which it makes where it does not exist. It must
// be closed.
func OpenDisk(dir string, c DiskConfig) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open segments: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open segments: %w", err)
	}
	d := &Disk{root: root}
	d.floor = func(size int64) int64 {
		if c.Floor != 0 {
			return max(c.Floor, 0)
		}
		return min(max(size/20, leastFloor), mostFloor)
	}
	return d, nil
}

// Close lets go of the directory. What is open stays so.
func (d *Disk) Close() error { return d.root.Close() }

// Room returns how many bytes may be written before the store is full; 0: none.
// It looks at the disk at most once a second.
func (d *Disk) Room() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	return max(d.spare, 0), d.err
}

// take reports whether n bytes may be written.
func (d *Disk) take(n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	switch {
	case d.err != nil:
		return d.err
	case d.spare < n:
		return ErrFull
	}
	d.spare -= n
	return nil
}

// look measures the free space anew once it is old. The caller holds mu.
func (d *Disk) look() {
	if !d.at.IsZero() && time.Since(d.at) < lookEvery {
		return
	}
	var s unix.Statfs_t
	d.at, d.err = time.Now(), nil
	dir, err := d.root.Open(".")
	if err == nil {
		err = unix.Fstatfs(int(dir.Fd()), &s)
		dir.Close()
	}
	if err != nil {
		d.spare, d.err = 0, fmt.Errorf("free space of the segments' disk: %w", err)
		return
	}
	unit := int64(s.Bsize)
	d.spare = int64(s.Bavail)*unit - d.floor(int64(s.Blocks)*unit)
}

// Create implements [Store].
func (d *Disk) Create(name string) (Writer, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("create %q: %w", name, ErrName)
	}
	if err := d.take(0); err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	f, err := d.create(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.root.MkdirAll(path.Dir(name), 0o700); err == nil {
			f, err = d.create(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, known(err))
	}
	return &diskWriter{disk: d, file: f, name: name}, nil
}

func (d *Disk) create(name string) (*os.File, error) {
	return d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
}

// known gives an error of the file system our name where it has one.
func known(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return ErrNotFound
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

type diskWriter struct {
	disk *Disk
	file *os.File
	name string
	err  error // of an Append, which all that follow return
}

// Append implements [Writer]. The pieces go to the kernel in order; after a kill
// between two of them the object holds the first.
func (w *diskWriter) Append(pieces ...[]byte) error {
	if w.err != nil {
		return w.err
	}
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	err := w.disk.take(int64(size))
	for _, p := range pieces {
		if err == nil && len(p) > 0 {
			_, err = w.file.Write(p)
		}
	}
	if err != nil {
		w.err = fmt.Errorf("append to %s: %w", w.name, known(err))
	}
	return w.err
}

// Close implements [Writer].
func (w *diskWriter) Close() error {
	if w.err == nil {
		w.err = os.ErrClosed
	}
	return w.file.Close()
}

// A File is an [Object] of a [Disk].
type File struct {
	*os.File
	size int64
}

// Size implements [Object].
func (f *File) Size() int64 { return f.size }

// Open implements [Store]. The Object is a [*File].
func (d *Disk) Open(name string) (Object, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("open %q: %w", name, ErrName)
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		if info, no := d.root.Lstat(name); no == nil && !info.Mode().IsRegular() {
			err = ErrNotFound // a link that leads out, or nowhere
		}
		return nil, fmt.Errorf("open %s: %w", name, known(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotFound
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &File{f, info.Size()}, nil
}

// List implements [Store].
func (d *Disk) List(dir string) ([]Info, error) {
	if dir == "" {
		dir = "."
	} else if !ValidName(dir) {
		return nil, fmt.Errorf("list %q: %w", dir, ErrName)
	}
	var all []Info
	err := fs.WalkDir(d.root.FS(), dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // deleted meanwhile, or never there
		case err != nil || !e.Type().IsRegular() || !ValidName(name):
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			all = append(all, Info{Name: name, Size: info.Size()})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Dirs implements [Store]. A directory whose objects were deleted one by one stays
// until DeleteAll.
func (d *Disk) Dirs(dir string) ([]string, error) {
	if dir == "" {
		dir = "."
	} else if !ValidName(dir) {
		return nil, fmt.Errorf("list %q: %w", dir, ErrName)
	}
	entries, err := fs.ReadDir(d.root.FS(), dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && ValidName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Delete implements [Store].
func (d *Disk) Delete(name string) error {
	if !ValidName(name) {
		return fmt.Errorf("delete %q: %w", name, ErrName)
	}
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// DeleteAll implements [Store]. Directories that become empty go too.
func (d *Disk) DeleteAll(dir string) error {
	if !ValidName(dir) {
		return fmt.Errorf("delete %q: %w", dir, ErrName)
	}
	if err := d.root.RemoveAll(dir); err != nil {
		return fmt.Errorf("delete %s: %w", dir, err)
	}
	for parent := path.Dir(dir); strings.Contains(parent, "/"); parent = path.Dir(parent) {
		if d.root.Remove(parent) != nil {
			break // it holds others
		}
	}
	return nil
}
