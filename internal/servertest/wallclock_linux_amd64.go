package servertest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// StepWallClock moves the wall clock of the server's process by whole seconds, as
// somebody does who sets the machine's: the monotonic clock goes on, and so does
// every other process. Steps add up until the process ends. The error says why it
// cannot be done here.
//
// A static Go program asks the kernel's vDSO for the time, which no preloaded
// library stands before. So, with the process stopped, the vDSO function in its
// own memory is written over with one that makes the system call and adds.
func (s *Server) StepWallClock(t testing.TB, by time.Duration) error {
	t.Helper()
	pid := s.proc.Process.Pid
	s.stepped[pid] += by
	offset := int32(s.stepped[pid] / time.Second)
	at, size, err := clockGettime(pid)
	if err != nil {
		return err
	}
	code := append([]byte{
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall: clock in edi, *timespec in rsi; both stay
		0x85, 0xc0, // test eax, eax
		0x75, 11, // jnz out
		0x85, 0xff, // test edi, edi
		0x75, 7, // jnz out, unless CLOCK_REALTIME
		0x48, 0x81, 0x06, // add qword [rsi], seconds
	}, binary.LittleEndian.AppendUint32(nil, uint32(offset))...)
	code = append(code, 0xc3) // out: ret
	if uint64(len(code)) > size {
		return fmt.Errorf("clock_gettime has %d bytes, %d are needed", size, len(code))
	}
	for range 100 {
		if done, err := patchStopped(pid, at, code); done || err != nil {
			return err
		}
	}
	return errors.New("the process was asking for the time whenever it was stopped")
}

// clockGettime finds the vDSO's function in the memory of a process.
func clockGettime(pid int) (at, size uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return 0, 0, fmt.Errorf("vDSO: %w", err)
		}
		mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
		if err != nil {
			return 0, 0, err
		}
		defer mem.Close()
		image, err := io.ReadAll(io.NewSectionReader(mem, int64(from), int64(to-from)))
		if err != nil {
			return 0, 0, fmt.Errorf("read the vDSO: %w", err)
		}
		file, err := elf.NewFile(bytes.NewReader(image))
		if err != nil {
			return 0, 0, fmt.Errorf("vDSO: %w", err)
		}
		symbols, err := file.DynamicSymbols()
		if err != nil {
			return 0, 0, fmt.Errorf("vDSO: %w", err)
		}
		for _, sym := range symbols {
			if sym.Name == "__vdso_clock_gettime" {
				return from + sym.Value, sym.Size, nil
			}
		}
	}
	return 0, 0, errors.New("the process has no vDSO with __vdso_clock_gettime")
}

// patchStopped writes code over the function at an address while the process is
// stopped. done is false when a thread was just in that function.
func patchStopped(pid int, at uint64, code []byte) (done bool, err error) {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return false, err
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return false, err
	}
	for _, thread := range threads {
		for stopped := false; !stopped; time.Sleep(time.Millisecond) {
			stat, err := os.ReadFile(thread + "/stat")
			if err != nil {
				return false, nil // it ended before it was stopped
			}
			_, state, _ := bytes.Cut(stat, []byte(") "))
			stopped = len(state) > 0 && state[0] == 'T'
		}
		text, err := os.ReadFile(thread + "/syscall") // its last field is where the thread is
		if err != nil {
			return false, err
		}
		fields := strings.Fields(string(text))
		pc, err := strconv.ParseUint(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
		if err != nil {
			return false, fmt.Errorf("where a thread is: %w", err)
		}
		if pc >= at && pc < at+uint64(len(code)) {
			return false, nil
		}
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		return false, err
	}
	defer mem.Close()
	_, err = mem.WriteAt(code, int64(at))
	return err == nil, err
}
