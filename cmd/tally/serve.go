package main

import (
	"context"
	"io"
	"log/slog"

	"tally/internal/cli"
)

// serveCmd is `tally serve`.
type serveCmd struct {
	serverFlags
}

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return `Runs everything on this machine; needs no other service. The first start prints an
account, an app and a token, and keeps them in DIR/credentials.json.

Examples:

  tally serve
  tally serve --data-dir /var/lib/tally --public-url https://live.example.com
  TALLY_HTTP_ADDR=127.0.0.1:0 tally serve --config tally.yaml`
}

// Run implements the command.
func (c *serveCmd) Run(ctx context.Context, s *cli.Streams) error {
	return serve(ctx, &c.serverFlags, s.Out, slog.New(slog.NewJSONHandler(s.Err, nil)))
}

// serve runs a server until ctx ends. Credentials of a first start go to out.
func serve(ctx context.Context, f *serverFlags, out io.Writer, log *slog.Logger) error {
	srv, err := newServer(ctx, f, out, log)
	if err != nil {
		return err
	}
	return srv.run(ctx)
}
