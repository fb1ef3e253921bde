package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc/PID/stat: USER_HZ, which is 100 on
// every Linux architecture that Go supports (man 5 proc).
const tick = 10 * time.Millisecond

// A usage is what one process has taken, as the kernel counts it.
type usage struct {
	cpu  time.Duration // user and system, all threads, since it started
	rss  int64         // bytes resident, shared pages included
	heap int64         // bytes resident that are no file: heap, stacks
}

// readUsage reads /proc/PID.
func readUsage(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	var u usage
	if u.cpu, err = parseStat(string(stat)); err != nil {
		return usage{}, err
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return usage{}, err
	}
	u.rss, u.heap, err = parseRollup(string(rollup))
	return u, err
}

// parseStat returns utime + stime of a line of /proc/PID/stat. The command's
// name, in parentheses, may itself hold blanks and parentheses.
func parseStat(line string) (time.Duration, error) {
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return 0, fmt.Errorf("stat without a command: %q", line)
	}
	f := strings.Fields(line[end+1:]) // f[0] is field 3, the state
	const utime, stime = 14 - 3, 15 - 3
	if len(f) <= stime {
		return 0, fmt.Errorf("stat with %d fields after the command", len(f))
	}
	u, err := strconv.ParseInt(f[utime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat utime: %w", err)
	}
	s, err := strconv.ParseInt(f[stime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat stime: %w", err)
	}
	return time.Duration(u+s) * tick, nil
}

// parseRollup returns the resident bytes, and those that are anonymous, of
// /proc/PID/smaps_rollup.
func parseRollup(text string) (rss, heap int64, err error) {
	seen := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		kb, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("smaps_rollup %s %w", f[0], err)
		}
		switch f[0] {
		case "Rss:":
			rss, seen = kb<<10, true
		case "Anonymous:":
			heap = kb << 10
		}
	}
	if !seen {
		return 0, 0, fmt.Errorf("smaps_rollup without Rss")
	}
	return rss, heap, nil
}

// machine describes where the figures were taken, without naming it.
func machine() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	model := "unknown CPU"
	for line := range strings.Lines(string(cpu)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-")
	return fmt.Sprintf("%d cores, %s, Linux %s", cores(), model, version)
}
