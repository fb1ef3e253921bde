package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the disk. The database of a busy server grows by some 100 MB a
// year; what counts is that the ends of sessions can always be written.
const (
	diskFailBytes = 64 << 20 // the floor of /readyz
	diskWarnBytes = 1 << 30
	// Every transition waits for one fsync, and checkpoints come each 500 ms: at
	// 20 ms a start of 50 streams at once takes a second, at 100 ms five.
	fsyncWarn = 20 * time.Millisecond
	fsyncFail = 500 * time.Millisecond
)

// checkDisk measures space and speed where the data directory is or would be.
func checkDisk(dataDir string) []Finding {
	dir, err := existing(dataDir)
	if err != nil {
		return []Finding{found("data directory", Fail, "%s: %v", dataDir, errText(err)).fix("choose another directory with --data-dir")}
	}
	fsync, mbps, err := measureDisk(dir)
	if err != nil {
		return []Finding{found("data directory", Fail, "%s cannot be written: %v", dir, errText(err)).
			fix("make it writable for this user, or choose another with --data-dir")}
	}
	all := []Finding{found("data directory", OK, "%s is writable", dir)}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err == nil {
		free := s.Bavail * uint64(s.Bsize)
		f := found("disk space", OK, "%.1f GB free", float64(free)/1e9)
		switch {
		case free < diskFailBytes:
			f.Verdict = Fail
			f = f.fix("free at least 1 GB, or choose another disk with --data-dir")
		case free < diskWarnBytes:
			f.Verdict = Warn
			f = f.fix("free some space, or choose another disk with --data-dir")
		}
		all = append(all, f)
	}
	f := found("disk speed", OK, "fsync %.1f ms (median), writing %.0f MB/s", float64(fsync)/1e6, mbps)
	switch {
	case fsync > fsyncFail:
		f.Verdict = Fail
	case fsync > fsyncWarn:
		f.Verdict = Warn
	}
	if f.Verdict != OK {
		f = f.fix("use a local SSD for --data-dir; network file systems are unfit for the database")
	}
	return append(all, f)
}

// existing returns dir, or its nearest parent that exists.
func existing(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is a file", dir)
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// measureDisk writes 4 MB in 16 steps, each made durable, to a file that is
// removed again.
func measureDisk(dir string) (fsync time.Duration, mbps float64, err error) {
	f, err := os.CreateTemp(dir, ".tally-doctor-*")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const steps = 16
	block := make([]byte, 256<<10)
	syncs := make([]time.Duration, 0, steps)
	start := time.Now()
	for range steps {
		if _, err := f.Write(block); err != nil {
			return 0, 0, err
		}
		before := time.Now()
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
		syncs = append(syncs, time.Since(before))
	}
	mbps = float64(steps*len(block)) / 1e6 / time.Since(start).Seconds()
	slices.Sort(syncs)
	return syncs[steps/2], mbps, nil
}

// checkClock compares wall and monotonic time for a moment and judges the date.
func checkClock() []Finding {
	start := time.Now()
	time.Sleep(200 * time.Millisecond) // the stretch that is measured
	end := time.Now()
	monotonic := end.Sub(start)
	drift := end.Round(0).Sub(start.Round(0)) - monotonic
	f := found("clock", OK, "%s; wall and monotonic time agree within %s over %s",
		end.UTC().Format(time.RFC3339), drift.Abs().Round(time.Microsecond), monotonic.Round(time.Millisecond))
	// A clock without battery starts at 1970 or at its firmware's date; this
	// program is younger than 2025.
	if end.Year() < 2025 {
		f.Verdict = Fail
		f.Found = "the date is " + end.Format(time.DateOnly)
		f = f.fix("set the clock; use NTP (systemd-timesyncd, chrony)")
	} else if drift.Abs() > 10*time.Millisecond {
		f.Verdict = Warn
		f = f.fix("the wall clock is being moved: let NTP slew it rather than step it")
	}
	zone, _ := end.Zone()
	return []Finding{f, found("time zone", OK, "%s; Tally stores and answers UTC", zone)}
}

// Files: one per connection. A player keeps one or two, so 4096 is enough for
// some 2,000 viewers.
const (
	filesFail = 256
	filesWarn = 4096
)

func checkOpenFiles() Finding {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return found("open files", Note, "limit unknown: %v", err)
	}
	f := found("open files", OK, "limit %d", l.Cur)
	switch {
	case l.Cur < filesFail:
		f.Verdict = Fail
	case l.Cur < filesWarn:
		f.Verdict = Warn
	}
	if f.Verdict != OK {
		f = f.fix("each viewer takes one or two: raise it with `ulimit -n 65536`, or LimitNOFILE=65536 in the systemd unit")
	}
	return f
}

// Memory: 40 MB idle, and at most 85 MB per livestream on air (design limits).
const (
	memoryFail = 64 << 20
	memoryWarn = 512 << 20
)

func checkMemory() Finding {
	available, ok := meminfo("MemAvailable")
	if !ok {
		return found("memory", Note, "unknown on this system")
	}
	where := ""
	if limit, ok := cgroupLimit(); ok && limit < available {
		available, where = limit, " (the container's limit)"
	}
	f := found("memory", OK, "%.1f GB available%s", float64(available)/1e9, where)
	switch {
	case available < memoryFail:
		f.Verdict = Fail
	case available < memoryWarn:
		f.Verdict = Warn
	}
	if f.Verdict != OK {
		f = f.fix("give it more: the server takes some 40 MB and each livestream on air up to 85 MB")
	}
	return f
}

// meminfo reads one value of /proc/meminfo, in bytes.
func meminfo(key string) (uint64, bool) {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == key+":" {
			kb, err := strconv.ParseUint(fields[1], 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}

// cgroupLimit is what a container may use at most, in bytes (cgroup v2).
func cgroupLimit() (uint64, bool) {
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return 0, false
	}
	limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return limit, err == nil // "max": no limit
}

func checkFFmpeg(ctx context.Context) Finding {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return found("ffmpeg", Note, "not installed; thumbnails need it, nothing else does").
			fix("install it for pictures of broadcasts, and to publish files: apt-get install ffmpeg")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-hide_banner", "-version").Output()
	if err != nil {
		return found("ffmpeg", Warn, "%s does not run: %v", path, err).fix("reinstall it; thumbnails need it, nothing else does")
	}
	words := strings.Fields(string(out))
	version := "of unknown version"
	if len(words) > 2 {
		version = words[2]
	}
	return found("ffmpeg", OK, "%s (optional)", version)
}

// errText is the system's word for err, without the path that is printed anyway.
func errText(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
