// Package cli holds the commands that talk to a server: over the API, over
// RTMP as an encoder, over HLS as a viewer. They know a server's addresses and
// nothing of its insides, so they work against one far away. Flags are struct
// tags that cmd/tally gives to kong; each command's Run returns nil when it was
// done and an error of one line otherwise.
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mattn/go-isatty"
)

// Streams is where a command reads and writes. Out is for what was asked, Err
// for what goes wrong on the way, and for questions.
type Streams struct {
	In  io.Reader // nil: nobody answers
	Out io.Writer
	Err io.Writer
}

// Printf writes to Out.
func (s *Streams) Printf(format string, args ...any) { fmt.Fprintf(s.Out, format, args...) }

// JSON writes v to Out as indented JSON and a newline.
func (s *Streams) JSON(v any) error {
	e := json.NewEncoder(s.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Terminal reports whether Out is a screen that can be written in place.
func (s *Streams) Terminal() bool {
	f, ok := s.Out.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// ErrUsage marks an error as misuse: exit code 2 instead of 1.
var ErrUsage = errors.New("misuse")

type usageError struct{ text string }

func (e usageError) Error() string        { return e.text }
func (e usageError) Is(target error) bool { return target == ErrUsage }

// Usagef is an error about how the command was called.
func Usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// A QuietError ends the command as failed without another line: its output has
// said why.
type QuietError struct{}

func (QuietError) Error() string { return "failed" }
