package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
)

// Sure is --yes, for what cannot be taken back.
type Sure struct {
	Yes bool `short:"y" help:"Do not ask."`
}

// confirm asks whether to do what cannot be taken back. Where nobody can
// answer, it is refused: a script says --yes.
func (c Sure) confirm(s *Streams, question string) error {
	if c.Yes {
		return nil
	}
	in, ok := s.In.(*os.File)
	if !ok || !isatty.IsTerminal(in.Fd()) {
		return Usagef("%s Give --yes: there is no terminal to ask on", question)
	}
	fmt.Fprintf(s.Err, "%s [y/N] ", question)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		fmt.Fprintln(s.Err) // Ctrl-D leaves the cursor behind the question
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not done")
}
