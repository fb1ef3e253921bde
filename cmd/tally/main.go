// Command tally is a self-hosted livestream server and the tools that go with
// it. This package is the only place that sees everything: flags, the
// configuration file, the wiring of the packages, and the order in which they
// start and stop. Commands that only talk to a server live in internal/cli.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"tally/internal/cli"
)

// Exit codes, the same for every command.
const (
	exitDone   = 0
	exitFailed = 1 // the command was understood and could not be done
	exitMisuse = 2 // flags, arguments or the configuration file are wrong
)

// commands is the command line. Flags of a command are the fields of its type.
type commands struct {
	Serve      serveCmd       `cmd:"" help:"Run the server: RTMP in, HLS and the API out."`
	Demo       demoCmd        `cmd:"" help:"Run a server on a temporary directory with a livestream that is on air."`
	Livestream livestreamCmds `cmd:"" help:"Create, list, show, change and stop livestreams."`
	Session    sessionCmds    `cmd:"" help:"Show what a broadcast was."`
	Publish    cli.PublishCmd `cmd:"" help:"Send a clip to an RTMP server, as an encoder does."`
	Watch      cli.WatchCmd   `cmd:"" help:"Play a livestream without a picture and say how it went."`
	Doctor     doctorCmd      `cmd:"" help:"Look at this machine and say what would go wrong."`
	Version    versionCmd     `cmd:"" help:"Print version and build."`
}

type livestreamCmds struct {
	Create   cli.LivestreamCreateCmd   `cmd:"" help:"Create a livestream, print what the encoder needs, and wait for it."`
	List     cli.LivestreamListCmd     `cmd:"" help:"List livestreams, newest first."`
	Show     cli.LivestreamShowCmd     `cmd:"" help:"Show one livestream and its newest session."`
	Set      cli.LivestreamSetCmd      `cmd:"" help:"Change name and settings."`
	Stop     cli.LivestreamStopCmd     `cmd:"" help:"End what is on air, or acknowledge what failed."`
	Enable   cli.LivestreamEnableCmd   `cmd:"" help:"Let encoders in again."`
	Disable  cli.LivestreamDisableCmd  `cmd:"" help:"Cut the encoder and let none in."`
	ResetKey cli.LivestreamResetKeyCmd `cmd:"" help:"Make a new stream key; the old one stops working at once."`
	Delete   cli.LivestreamDeleteCmd   `cmd:"" help:"Delete a livestream for good; its sessions stay."`
}

type sessionCmds struct {
	List cli.SessionListCmd `cmd:"" help:"List the sessions of a livestream, newest first."`
	Show cli.SessionShowCmd `cmd:"" help:"Show one session."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// deaf is how long a second signal is taken for the first one's echo: a
// terminal, make and timeout(1) each may send one of their own.
const deaf = 2 * time.Second

// run is main without the process: it parses args, runs the command until it
// is done or a signal asks it to stop, and returns the exit code. A later
// signal ends the process at once.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(deaf, stop) })

	parser := newParser(stdout, stderr)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		var inFile configError
		if errors.As(err, &inFile) {
			fmt.Fprintf(stderr, "tally: %s\n", oneLine(inFile))
		} else {
			fmt.Fprintf(stderr, "tally: %s; see %s\n", oneLine(err), helpFor(err))
		}
		return exitMisuse
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(&cli.Streams{In: os.Stdin, Out: stdout, Err: stderr})
	return exitCode(kctx.Run(), stderr)
}

// newParser builds the command line's parser.
func newParser(stdout, stderr io.Writer) *kong.Kong {
	parser, err := kong.New(&commands{},
		kong.Name("tally"),
		kong.Description("A self-hosted livestream server. Start with `tally demo`."),
		kong.Writers(stdout, stderr),
		kong.Resolvers(&configFile{}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
	)
	if err != nil {
		panic(err) // the types above are wrong, not what the user typed
	}
	return parser
}

// exitCode prints err as one line and says how the process ends.
func exitCode(err error, stderr io.Writer) int {
	var quiet cli.QuietError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return exitFailed // the command has already said why
	case errors.Is(err, cli.ErrUsage):
		fmt.Fprintf(stderr, "tally: %s\n", oneLine(err))
		return exitMisuse
	}
	fmt.Fprintf(stderr, "tally: %s\n", oneLine(err))
	return exitFailed
}

// helpFor names the help text that tells more about a parse error.
func helpFor(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			return "tally " + strings.TrimPrefix(node.Path(), "tally ") + " --help"
		}
	}
	return "tally --help"
}

// oneLine folds an error's text into one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
