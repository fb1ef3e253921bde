//go:build !(linux && amd64)

package servertest

import (
	"errors"
	"testing"
	"time"
)

// StepWallClock moves the wall clock of the server's process, on Linux with an
// amd64 processor.
func (s *Server) StepWallClock(t testing.TB, by time.Duration) error {
	return errors.New("only on Linux and amd64")
}
