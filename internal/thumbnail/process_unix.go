//go:build unix

package thumbnail

import (
	"os/exec"
	"syscall"
)

// apart puts the process into a group of its own, which ends as a whole.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// lower lets everything else go first: viewers before pictures.
func lower(pid int) {
	_ = syscall.Setpriority(syscall.PRIO_PGRP, pid, 15) // else it is as quick as others
}
