//go:build !linux

package walks

import "syscall"

// ownNetwork is nil: there are no network namespaces.
func ownNetwork() *syscall.SysProcAttr { return nil }
