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
	Serve      serveCmd          `cmd:"" help:"Run the server: RTMP in, HLS and the API out."`
	Demo       demoCmd           `cmd:"" help:"Run a server on a temporary directory with a livestream that is on air."`
	Livestream livestreamCmds    `cmd:"" help:"Create, list, show, change and stop livestreams."`
	Session    sessionCmds       `cmd:"" help:"Show what a broadcast was."`
	Audit      cli.AuditCmd      `cmd:"" help:"Add up a session's seconds from what is stored, viewer by viewer."`
	App        appCmds           `cmd:"" help:"Create, list, show and change apps."`
	Meeting    meetingCmds       `cmd:"" help:"Create, list, show and change meetings; start and stop their livestreams."`
	Playback   playbackCmds      `cmd:"" help:"Keys, tokens and revocations of private livestreams."`
	Token      tokenCmds         `cmd:"" help:"Create, list, show and revoke API tokens."`
	Webhook    webhookCmds       `cmd:"" help:"Create, list, show, change, delete and try webhooks."`
	Events     cli.EventsCmd     `cmd:"" help:"List or follow what happened, as webhooks are told."`
	Analytics  analyticsCmds     `cmd:"" help:"Add up what was received and watched."`
	Import     cli.ImportCmd     `cmd:"" help:"Bring the livestreams of another account here."`
	Mirror     cli.MirrorCmd     `cmd:"" help:"Ask another server and this one the same, and print what differs."`
	Publish    cli.PublishCmd    `cmd:"" help:"Send a clip to an RTMP server, as an encoder does."`
	Watch      cli.WatchCmd      `cmd:"" help:"Play a livestream without a picture and say how it went."`
	Completion cli.CompletionCmd `cmd:"" help:"Print a script that completes commands in bash, zsh or fish."`
	Doctor     doctorCmd         `cmd:"" help:"Look at this machine and say what would go wrong."`
	Version    versionCmd        `cmd:"" help:"Print version and build."`
}

type livestreamCmds struct {
	Create   cli.LivestreamCreateCmd   `cmd:"" help:"Create a livestream, print what the encoder needs, and wait for it."`
	List     cli.LivestreamListCmd     `cmd:"" help:"List livestreams, newest first."`
	Show     cli.LivestreamShowCmd     `cmd:"" help:"Show one livestream and its newest session."`
	OBS      cli.LivestreamObsCmd      `cmd:"" name:"obs" help:"Print what makes OBS send several renditions at once."`
	Watch    cli.LivestreamWatchCmd    `cmd:"" help:"Follow one livestream in the terminal: health, seconds, viewers, warnings, what happens."`
	Set      cli.LivestreamSetCmd      `cmd:"" help:"Change name and settings."`
	Cue      cli.LivestreamCueCmd      `cmd:"" help:"Tell viewers something at this moment of the broadcast."`
	Stop     cli.LivestreamStopCmd     `cmd:"" help:"End what is on air, or acknowledge what failed."`
	Enable   cli.LivestreamEnableCmd   `cmd:"" help:"Let encoders in again."`
	Disable  cli.LivestreamDisableCmd  `cmd:"" help:"Cut the encoder and let none in."`
	ResetKey cli.LivestreamResetKeyCmd `cmd:"" help:"Make a new stream key; the old one stops working at once."`
	Delete   cli.LivestreamDeleteCmd   `cmd:"" help:"Delete a livestream for good; its sessions stay."`
}

type sessionCmds struct {
	List cli.SessionListCmd `cmd:"" help:"List the sessions of a livestream, newest first."`
	Show cli.SessionShowCmd `cmd:"" help:"Show one session."`

	Events cli.SessionEventsCmd `cmd:"" help:"Show what happened to a session, oldest first."`

	Recording cli.SessionRecordingCmd `cmd:"" help:"Show or delete what was kept of a session."`
}

type appCmds struct {
	Create cli.AppCreateCmd `cmd:"" help:"Create an app."`
	List   cli.AppListCmd   `cmd:"" help:"List the account's apps."`
	Show   cli.AppShowCmd   `cmd:"" help:"Show one app."`
	Set    cli.AppSetCmd    `cmd:"" help:"Change name and wire dialect."`
}

type meetingCmds struct {
	Create cli.MeetingCreateCmd `cmd:"" help:"Create a meeting."`
	List   cli.MeetingListCmd   `cmd:"" help:"List meetings."`
	Show   cli.MeetingShowCmd   `cmd:"" help:"Show one meeting."`
	Set    cli.MeetingSetCmd    `cmd:"" help:"Change a meeting."`
	Start  cli.MeetingStartCmd  `cmd:"" help:"Start its livestream and print what the encoder needs."`
	Stop   cli.MeetingStopCmd   `cmd:"" help:"Stop its livestream."`
	Active cli.MeetingActiveCmd `cmd:"" help:"Show the livestream that it has on air."`
}

type tokenCmds struct {
	Create tokenCreateCmd     `cmd:"" help:"Create a token and print it once."`
	List   cli.TokenListCmd   `cmd:"" help:"List the account's tokens."`
	Show   cli.TokenShowCmd   `cmd:"" help:"Show one token, without its text."`
	Revoke cli.TokenRevokeCmd `cmd:"" help:"Refuse a token from now on."`
}

type playbackCmds struct {
	Key     playbackKeyCmds        `cmd:"" help:"Create, list and delete the keys of playback tokens."`
	Sign    cli.PlaybackSignCmd    `cmd:"" help:"Sign a playback token and print the addresses with it."`
	Revoke  cli.PlaybackRevokeCmd  `cmd:"" help:"Take back what viewers were allowed up to now."`
	Revoked cli.PlaybackRevokedCmd `cmd:"" help:"List what is taken back."`
}

type playbackKeyCmds struct {
	Create cli.PlaybackKeyCreateCmd `cmd:"" help:"Make a secret, or add public keys."`
	List   cli.PlaybackKeyListCmd   `cmd:"" help:"List the app's keys, without secrets."`
	Delete cli.PlaybackKeyDeleteCmd `cmd:"" help:"Delete a key; its tokens let nobody in any more."`
}

type webhookCmds struct {
	Create     cli.WebhookCreateCmd     `cmd:"" help:"Create a webhook."`
	List       cli.WebhookListCmd       `cmd:"" help:"List the app's webhooks."`
	Show       cli.WebhookShowCmd       `cmd:"" help:"Show one webhook."`
	Set        cli.WebhookSetCmd        `cmd:"" help:"Change a webhook."`
	Delete     cli.WebhookDeleteCmd     `cmd:"" help:"Delete a webhook."`
	Test       cli.WebhookTestCmd       `cmd:"" help:"Send it a made-up event now and say how it was answered."`
	Deliveries cli.WebhookDeliveriesCmd `cmd:"" help:"List what was sent to it and how it was answered."`
	Replay     cli.WebhookReplayCmd     `cmd:"" help:"Send it again what happened after a number."`
}

type analyticsCmds struct {
	Overall cli.AnalyticsOverallCmd `cmd:"" help:"Livestreams, time received and time watched."`
	Daily   cli.AnalyticsDailyCmd   `cmd:"" help:"The same for each day, with bars."`
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
			fmt.Fprintf(stderr, "tally: %s; see %s\n", choices(oneLine(err)), helpFor(err))
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
		cli.Vars,
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

// choices takes out of a parse error what only says that a flag may be absent,
// and makes room between the values that it may have.
func choices(text string) string {
	before, list, ok := strings.Cut(text, "must be one of ")
	if !ok {
		return text
	}
	return before + "must be one of " + strings.ReplaceAll(strings.TrimPrefix(list, `"",`), `","`, `", "`)
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
