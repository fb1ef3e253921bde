package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tally/internal/cli"
	"tally/internal/rtmp/publisher"
)

// demoCmd is `tally demo`.
type demoCmd struct {
	Break    bool          `help:"Pull the built-in encoder for 5 s now and then, to see a reconnect."`
	HTTPAddr string        `name:"http-addr" env:"TALLY_HTTP_ADDR" default:":8080" placeholder:"ADDR" help:"API, playback and pages (${default}; a free port when it is taken)."`
	RTMPAddr string        `name:"rtmp-addr" env:"TALLY_RTMP_ADDR" default:":1935" placeholder:"ADDR" help:"Encoders (${default}; a free port when it is taken)."`
	Duration time.Duration `placeholder:"TIME" help:"End after this long (unset: on Ctrl-C)."`
}

// Help implements kong.HelpProvider.
func (demoCmd) Help() string {
	return `A server on a temporary directory and one livestream that is on air, fed over RTMP from
a clip in this binary: no ffmpeg and no network needed. A second livestream waits for
your own encoder. Ctrl-C removes everything.

Examples:

  tally demo
  tally demo --break`
}

// Run implements the command.
func (c *demoCmd) Run(ctx context.Context, s *cli.Streams) (err error) {
	dir, err := os.MkdirTemp("", "tally-demo-")
	if err != nil {
		return fmt.Errorf("temporary directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	flags := &serverFlags{DataDir: dir, HTTPAddr: c.HTTPAddr, RTMPAddr: c.RTMPAddr, AdminAddr: "127.0.0.1:9180", anyPort: true}
	// The screen is for the demo; what must be acted on still shows.
	log := slog.New(slog.NewTextHandler(s.Err, &slog.HandlerOptions{Level: slog.LevelError}))
	srv, err := newServer(ctx, flags, io.Discard, log)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return srv.run(ctx) })
	g.Go(func() error {
		err := (&demo{cmd: c, s: s, server: srv}).run(ctx)
		if ctx.Err() != nil {
			return nil // asked to stop: what was under way has failed
		}
		return err
	})
	return g.Wait()
}

// A demo is the part of tally demo that is no server: it talks to the server
// by RTMP and API, as anyone would.
type demo struct {
	cmd    *demoCmd
	s      *cli.Streams
	server *server
	api    *cli.Client
	shown  cli.Livestream // the one on air
	yours  cli.Livestream
}

// run creates the livestreams, feeds one, and shows what the API says of it.
func (d *demo) run(ctx context.Context) error {
	var err error
	if d.api, err = cli.NewClient(d.server.creds); err != nil {
		return err
	}
	if d.shown, err = d.api.CreateLivestream(ctx, "Tally demo"); err != nil {
		return err
	}
	if d.yours, err = d.api.CreateLivestream(ctx, "Your encoder"); err != nil {
		return err
	}
	d.screen()
	notes := make(chan string, 8) // from the encoder to the screen; dropped when full
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.encode(ctx, notes) })
	g.Go(func() error { return d.follow(ctx, notes) })
	return g.Wait()
}

// How --break goes about it: long enough on air to see the line run, away for
// less than the reconnect window.
const (
	breakAfter = 15 * time.Second
	breakFor   = 5 * time.Second
	// retryAfter is what encoders wait before they connect again.
	retryAfter = 3 * time.Second
)

// encode publishes the built-in clip until ctx ends. Like an encoder it comes
// back when it is refused or cut.
func (d *demo) encode(ctx context.Context, notes chan<- string) error {
	clip, err := cli.BuiltInClip()
	if err != nil {
		return fmt.Errorf("built-in clip: %w", err)
	}
	note := func(format string, args ...any) {
		select {
		case notes <- fmt.Sprintf(format, args...):
		default:
		}
	}
	pause := func(t time.Duration) {
		timer := time.NewTimer(t)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	for round := 0; ctx.Err() == nil; round++ {
		options := publisher.Options{
			URL: d.shown.IngestServer + d.shown.StreamKey, Source: publisher.FromClip(clip, true), Speed: 1,
			OnStart: func() {
				if round > 0 {
					note("  encoder is back")
				}
			},
		}
		sending, stop := context.WithCancel(ctx)
		if d.cmd.Break {
			sending, stop = context.WithTimeout(ctx, breakAfter)
			options.End = publisher.Reset
		}
		err := publisher.Run(sending, options)
		stop()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			note("  encoder: %v; trying again", err)
			pause(retryAfter)
		default:
			note("  pulled the encoder for %d s: the session stays, its seconds stand still", int(breakFor.Seconds()))
			pause(breakFor)
		}
	}
	return nil
}

// follow keeps the live line up to date from what the API says.
func (d *demo) follow(ctx context.Context, notes <-chan string) error {
	line := cli.NewLiveLine(d.s)
	defer line.End()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-notes:
			line.Print(n)
		case <-tick.C:
			l, session, active, err := d.api.Active(ctx, d.shown.ID)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil: // of one moment; the next second asks again
				line.Update("?", "? "+oneLine(err))
			case !active:
				line.Update("IDLE", "○ IDLE")
			default:
				viewers, _ := d.server.counter.Viewers(session.ID)
				line.Update(l.Status+session.ErrMessage, liveText(l, session, viewers, time.Now()))
			}
		}
	}
}

// liveText is the live line. The number of viewers is the counter's own; the
// wire's session object has no field for it.
func liveText(l cli.Livestream, s cli.Session, viewers int, now time.Time) string {
	if l.Status != "LIVE" || s.StartedTime == nil {
		return strings.TrimSpace("○ " + l.Status + " " + s.ErrMessage)
	}
	mark, note := "●", ""
	if s.ErrMessage != "" {
		mark, note = "◌", " · reconnecting"
	}
	noun := "viewers"
	if viewers == 1 {
		noun = "viewer"
	}
	return fmt.Sprintf("%s LIVE %s · ingest %.0f s · %d %s · viewed %.0f s%s", mark, cli.Clock(now.Sub(*s.StartedTime)),
		float64(s.IngestSeconds), viewers, noun, float64(s.ViewerSeconds), note)
}

// screen prints everything there is to try, ready to be copied.
func (d *demo) screen() {
	c := d.server.creds
	d.s.Printf(`
Tally is on air. Ctrl-C ends it and removes everything.

  Watch        %s

  Your turn    OBS: Settings, Stream, Service "Custom...", and watch %s
  Server       %s
  Stream Key   %s

  What is true now, with curl:
curl -s -H 'Authorization: Bearer %s' %s

  and with cloudflare-go v6 or v7:
client := cloudflare.NewClient(option.WithBaseURL(%q), option.WithAPIToken(%q))
response, err := client.RealtimeKit.Livestreams.GetActiveLivestreamsForLivestreamID(ctx, %q, %q,
	realtime_kit.LivestreamGetActiveLivestreamsForLivestreamIDParams{AccountID: cloudflare.F(%q)})

`, d.shown.WatchURL(), d.yours.WatchURL(), d.yours.IngestServer, d.yours.StreamKey,
		c.APIToken, d.api.ActiveSessionURL(d.shown.ID),
		c.APIBase, c.APIToken, c.AppID, d.shown.ID, c.AccountID)
}
