package sqlite

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestUnwritableDirectory opens in a directory of mode 0500. Root may write
// there all the same, so as root the opening thread gives up its rights over
// files (setfsuid) and ends with the test.
func TestUnwritableDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			const nobody = 65534
			if err := syscall.Setfsuid(nobody); err != nil {
				result <- err
				return
			}
		}
		s, err := Open(ctx, filepath.Join(dir, "tally.db"))
		if err == nil {
			s.Close()
		}
		result <- err
	}()
	err := <-result
	if err == nil || !strings.Contains(err.Error(), "not writable by this user") || !strings.Contains(err.Error(), dir) {
		t.Errorf("error is %v, want that %s is not writable", err, dir)
	}
}
