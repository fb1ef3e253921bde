package blob_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tally/internal/blob"
	"tally/internal/blob/blobtest"
)

func openDisk(t *testing.T, dir string, c blob.DiskConfig) *blob.Disk {
	t.Helper()
	d, err := blob.OpenDisk(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDisk(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		dir := filepath.Join(t.TempDir(), "segments")
		return func() blob.Store { return openDisk(t, dir, blob.DiskConfig{Floor: -1}) }
	})
}

// A disk with less free than its floor takes nothing, and gives and deletes what
// it has.
func TestDiskFloor(t *testing.T) {
	dir := t.TempDir()
	free := openDisk(t, dir, blob.DiskConfig{Floor: -1})
	w, err := free.Create("a/b")
	if err == nil {
		err = w.Append([]byte("before"))
	}
	if err != nil {
		t.Fatal(err)
	}
	room, err := free.Room()
	if err != nil || room == 0 {
		t.Fatalf("room: %d, %v", room, err)
	}
	full := openDisk(t, dir, blob.DiskConfig{Floor: 1 << 62})
	if room, err := full.Room(); room != 0 || err != nil {
		t.Errorf("room below the floor: %d, %v", room, err)
	}
	if _, err := full.Create("a/c"); !errors.Is(err, blob.ErrFull) {
		t.Errorf("create below the floor: %v", err)
	}
	o, err := full.Open("a/b")
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	if err := full.Delete("a/b"); err != nil {
		t.Error(err)
	}
}

// One object must not go through the floor between two looks at the disk.
func TestDiskFloorWithinASecond(t *testing.T) {
	dir := t.TempDir()
	room, err := openDisk(t, dir, blob.DiskConfig{Floor: -1}).Room()
	if err != nil {
		t.Fatal(err)
	}
	d := openDisk(t, dir, blob.DiskConfig{Floor: room - 1<<20})
	w, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	piece := make([]byte, 256<<10)
	for range 2000 {
		if err = w.Append(piece); err != nil {
			break
		}
	}
	if !errors.Is(err, blob.ErrFull) {
		t.Fatalf("500 MB were taken with room for 1 MB: %v", err)
	}
	if again := w.Append(nil); !errors.Is(again, blob.ErrFull) {
		t.Errorf("after an error the object took more: %v", again)
	}
}

// Links below the directory lead nowhere.
func TestDiskStaysInside(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	d := openDisk(t, dir, blob.DiskConfig{Floor: -1})
	if o, err := d.Open("out/secret"); err == nil {
		o.Close()
		t.Error("a link led out of the directory")
	}
	if _, err := d.Create("out/new"); err == nil {
		t.Error("written through a link")
	}
	for name, put := range map[string]func(string) error{
		"a link out":  func(at string) error { return os.Symlink(filepath.Join(outside, "secret"), at) },
		"a pipe":      func(at string) error { return syscall.Mkfifo(at, 0o600) },
		"a directory": func(at string) error { return os.Mkdir(at, 0o700) },
	} {
		if err := put(filepath.Join(dir, "object")); err != nil {
			t.Fatal(err)
		}
		if o, err := d.Open("object"); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s is opened: %v, %v", name, o, err)
		}
		if err := d.Delete("object"); err != nil {
			t.Error(err)
		}
	}
	if err := d.DeleteAll("out"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Errorf("deleted through a link: %v", err)
	}
}

// BenchmarkServe sends 1 MB to a TCP connection: an object without copying it
// through this process (sendfile), and as it would be with; the same from a memfd,
// as the live ring could be kept; and from the heap, as it is.
func BenchmarkServe(b *testing.B) {
	d, err := blob.OpenDisk(b.TempDir(), blob.DiskConfig{Floor: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	media := bytes.Repeat([]byte{7}, 1<<20)
	w, err := d.Create("a")
	if err == nil {
		err = w.Append(media)
	}
	if err != nil {
		b.Fatal(err)
	}
	object := func(out io.Writer, of func(blob.Object) io.Reader) (int64, error) {
		o, err := d.Open("a")
		if err != nil {
			return 0, err
		}
		defer o.Close()
		return io.Copy(out, of(o))
	}
	fd, err := unix.MemfdCreate("media", unix.MFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	mem := os.NewFile(uintptr(fd), "media")
	defer mem.Close()
	if _, err := mem.Write(media); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		send func(out io.Writer) (int64, error)
	}{
		{"sendfile", func(out io.Writer) (int64, error) {
			return object(out, func(o blob.Object) io.Reader { return o })
		}},
		{"copied", func(out io.Writer) (int64, error) {
			return object(out, func(o blob.Object) io.Reader { return struct{ io.Reader }{o} })
		}},
		{"memfd", func(out io.Writer) (int64, error) {
			if _, err := mem.Seek(0, io.SeekStart); err != nil {
				return 0, err
			}
			return io.Copy(out, mem)
		}},
		{"heap", func(out io.Writer) (int64, error) {
			n, err := out.Write(media)
			return int64(n), err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			out := drain(b)
			b.SetBytes(1 << 20)
			for b.Loop() {
				if n, err := c.send(out); n != 1<<20 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// drain returns a connection whose other end reads all.
func drain(b *testing.B) net.Conn {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	in, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1<<20)
		for {
			if _, err := in.Read(buf); err != nil {
				return
			}
		}
	}()
	b.Cleanup(func() { out.Close(); in.Close() })
	return out
}
