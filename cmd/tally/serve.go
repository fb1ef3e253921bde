package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"tally/internal/cli"
)

// stopWithin bounds a clean stop (design: exit within 10 s of SIGTERM).
const stopWithin = 8 * time.Second

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
	log := slog.New(slog.NewJSONHandler(s.Err, nil))
	srv, err := newServer(ctx, &c.serverFlags, log)
	if err != nil {
		return err
	}
	return srv.run(ctx)
}

// A server is one running Tally: its ports and what answers on them.
type server struct {
	flags  *serverFlags
	log    *slog.Logger
	ports  *listeners
	health *health
}

// newServer opens the data directory and the ports. Nothing is answered until
// run; an error leaves nothing open.
func newServer(ctx context.Context, f *serverFlags, log *slog.Logger) (*server, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := checkDataDir(f.DataDir); err != nil {
		return nil, err
	}
	ports, err := openListeners(f)
	if err != nil {
		return nil, err
	}
	return &server{
		flags:  f,
		log:    log,
		ports:  ports,
		health: &health{dataDir: f.DataDir, ping: func(context.Context) error { return nil }},
	}, nil
}

// run serves until ctx ends, then stops in order: readiness off, listeners,
// publications with their last state, store. It returns nil after a clean stop.
func (s *server) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	mux := http.NewServeMux()
	s.health.routes(mux)
	s.serveHTTP(g, ctx, "http", s.ports.http, mux)
	if s.ports.admin != nil {
		s.serveHTTP(g, ctx, "admin", s.ports.admin, adminRoutes(nil, s.health))
	}
	s.ports.log(s.log)
	context.AfterFunc(ctx, func() { s.health.stopping.Store(true) })
	err := g.Wait()
	s.ports.close()
	s.log.Info("stopped")
	return err
}

// serveHTTP answers ln with h until ctx ends. Requests that are held (blocking
// reloads, state streams) end with ctx; others may finish.
func (s *server) serveHTTP(g *errgroup.Group, ctx context.Context, name string, ln net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.log.With("listener", name).Handler(), slog.LevelDebug),
		// A player holds up to three requests (playlist, part, state) per rendition
		// on one connection; a browser with many tabs shares it.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000},
	}
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", name, err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if err := srv.Shutdown(stopCtx); err != nil {
			return srv.Close()
		}
		return nil
	})
}
