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

// parseStat returns utime + stime of a line of /proc/PID/stat.
func parseStat(line string) (time.Duration, error) { return sumStat(line, 14, 15) }

// sumStat adds up fields of a line of /proc/PID/stat that count ticks, numbered
// from 1 as in man 5 proc. The command's name, in parentheses, may itself hold
// blanks and parentheses.
func sumStat(line string, fields ...int) (time.Duration, error) {
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return 0, fmt.Errorf("stat without a command: %q", line)
	}
	f := strings.Fields(line[end+1:]) // f[0] is field 3, the state
	var sum time.Duration
	for _, n := range fields {
		if n-3 >= len(f) {
			return 0, fmt.Errorf("stat with %d fields after the command", len(f))
		}
		v, err := strconv.ParseInt(f[n-3], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat field %d: %w", n, err)
		}
		sum += time.Duration(v) * tick
	}
	return sum, nil
}

// cpuOfMachine is the CPU time that all programs have taken since boot, and what
// a hypervisor took from all.
func cpuOfMachine() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var sum time.Duration
	for _, i := range []int{1, 2, 3, 8} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// cpuOfBench is the CPU time of this process and of the children it has waited
// for.
func cpuOfBench() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	return sumStat(string(stat), 14, 15, 16, 17)
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

// A noise measures what other programs take while one scenario runs.
type noise struct {
	began        time.Time
	machine, own time.Duration
}

func startNoise() (n noise, err error) {
	n.began = time.Now()
	if n.machine, err = cpuOfMachine(); err == nil {
		n.own, err = cpuOfBench()
	}
	return n, err
}

// percent is the other programs' share of all cores, once the scenario's
// children have been waited for.
func (n noise) percent() (float64, error) {
	now, err := startNoise()
	if err != nil {
		return 0, err
	}
	others := (now.machine - n.machine) - (now.own - n.own)
	return max(0, percent(others, now.began.Sub(n.began))/float64(cores())), nil
}
