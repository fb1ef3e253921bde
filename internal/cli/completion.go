package cli

import (
	"github.com/alecthomas/kong"

	"tally/internal/cli/completion"
)

// CompletionCmd is `tally completion`.
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements kong.HelpProvider.
func (CompletionCmd) Help() string {
	return `Prints a script that completes commands, flags, their values and file names.

Examples:

  source <(tally completion bash)            # in ~/.bashrc
  tally completion zsh > ~/.zfunc/_tally     # with fpath+=~/.zfunc before compinit
  tally completion fish > ~/.config/fish/completions/tally.fish`
}

// Run implements the command.
func (c *CompletionCmd) Run(s *Streams, k *kong.Kong) error {
	return completion.Write(s.Out, c.Shell, k.Model)
}
