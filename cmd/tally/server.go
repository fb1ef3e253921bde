package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tally/docs"
	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/blob"
	"tally/internal/cli"
	"tally/internal/hls"
	"tally/internal/hls/archive"
	"tally/internal/ingest"
	"tally/internal/ingest/rtmpserver"
	"tally/internal/livestream"
	"tally/internal/netguard"
	"tally/internal/obs"
	"tally/internal/playback"
	"tally/internal/store/sqlite"
	"tally/internal/usage"
	"tally/internal/viewer"
	"tally/internal/web"
	"tally/internal/webhook"
)

// stopWithin bounds a clean stop (design section 3: exit within 10 s of SIGTERM).
const stopWithin = 8 * time.Second

// A server is one running Tally. newServer opens what can fail, in the order of
// the imports: data directory, ports, store, engines, edges. run starts and
// stops them.
type server struct {
	flags *serverFlags
	log   *slog.Logger
	creds cli.Credentials // of the first start; APIBase is always set

	ports    *listeners
	store    *sqlite.Store
	auth     *auth.Authenticator
	segments *blob.Disk
	archive  *archive.Library
	registry *hls.Registry
	counter  *usage.Counter
	manager  *ingest.Manager
	rtmp     *rtmpserver.Server
	playback *playback.Handler
	tokens   playbackKeys
	webhooks *webhook.Engine
	handler  http.Handler
	health   *health
	cert     *certificate   // nil without TLS
	web      []*http.Server // of each listener
	plain    httpStats      // of the public listener without TLS
	secure   httpStats      // and of the one with
	inside   httpStats      // and of admin's
}

// newServer opens the data directory, the ports and the store, and wires the
// packages. Nothing is answered until run; an error leaves nothing open.
func newServer(ctx context.Context, f *serverFlags, out io.Writer, log *slog.Logger) (_ *server, err error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := checkDataDir(f.DataDir); err != nil {
		return nil, err
	}
	s := &server{flags: f, log: log}
	if f.TLSCert != "" {
		s.cert = &certificate{certFile: f.TLSCert, keyFile: f.TLSKey, log: log}
		if err := s.cert.load(); err != nil {
			return nil, err
		}
	}
	if s.ports, err = openListeners(f); err != nil {
		return nil, err
	}
	if s.store, err = sqlite.OpenKeeping(ctx, filepath.Join(f.DataDir, "tally.db"), f.retention()); err != nil {
		s.ports.close()
		return nil, err
	}
	if err := s.wire(ctx, out); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// wire makes the engines and edges over the open store.
func (s *server) wire(ctx context.Context, out io.Writer) error {
	var err error
	if s.creds, err = firstStart(ctx, s.store, s.flags, localBase(s.ports.http.Addr())+"/client/v4", out, s.log); err != nil {
		return err
	}
	key, err := s.store.Secret(ctx, "viewer")
	if err != nil {
		return fmt.Errorf("read viewer secret: %w", err)
	}
	signer, err := viewer.NewSigner(key)
	if err != nil {
		return err
	}
	s.auth = &auth.Authenticator{Store: s.store}
	if err := s.openArchive(); err != nil {
		return err
	}
	s.registry = hls.NewRegistry(hls.Config{PartTarget: s.flags.PartTarget, MediaBase: s.flags.mediaBase(), Archive: s.archive, Log: s.log})
	s.counter = usage.New(usage.Config{})
	s.manager = ingest.New(ingest.Config{Store: s.store, Open: s.openOutput, Usage: s.counter, Log: s.log})
	s.rtmp = rtmpserver.New(rtmpserver.Config{Publish: rtmpserver.By(s.manager.Publish), Log: s.log})
	if s.tokens, err = s.newPlaybackKeys(); err != nil {
		return err
	}
	s.playback = playback.New(playback.Config{
		Registry: s.registry, Signer: signer, Counter: s.counter, Records: s.store,
		Access: s.store, Tokens: s.tokens.Keyring, PublicURL: s.flags.PublicURL,
		Delivery: s.flags.delivery(), Archive: s.archive, Log: s.log,
		MaxViewers: s.flags.MaxViewers, MaxEgressBps: int64(s.flags.MaxEgress),
	})
	allow, err := s.flags.webhookAllow()
	if err != nil {
		return err
	}
	s.webhooks = webhook.New(webhook.Config{
		Store: s.store, Guard: netguard.Guard{Allow: allow, Flag: "--webhook-allow"},
		PublicURL: s.flags.PublicURL, IngestURL: api.IngestBase(s.flags.IngestURL), Log: s.log,
	})
	s.health = &health{dataDir: s.flags.DataDir, ping: s.store.Ping}
	s.handler, err = s.routes()
	return err
}

// openOutput is the manager's way to the packager.
func (s *server) openOutput(r livestream.Record) ingest.Output {
	packager := s.registry.Open(hls.OpenOptions{
		PlaybackID:   r.Livestream.PlaybackID,
		SessionID:    r.Session.ID,
		Run:          r.Livestream.Run,
		EndlistDelay: r.Livestream.Settings.EndlistDelay,
		LivestreamID: r.Livestream.ID,
		DVRWindow:    r.Livestream.Settings.DVRWindow,
		Keep:         r.Livestream.Settings.Keep,
	})
	return output{packager, func() { s.counter.End(r.Session.ID) }}
}

// An output is a packager whose end the viewer counter hears of: nobody watches
// a session that is over.
type output struct {
	*hls.Packager
	ended func()
}

// End implements ingest.Output.
func (o output) End(linger bool) {
	o.Packager.End(linger)
	o.ended()
}

// routes is the public handler: health, API, playback, pages.
func (s *server) routes() (http.Handler, error) {
	proxies, err := s.flags.proxies()
	if err != nil {
		return nil, err
	}
	config := api.Config{
		Store: s.store, Auth: s.auth, Control: s.manager, Webhooks: s.webhooks, PlaybackKeys: s.tokens,
		PublicURL: s.flags.PublicURL, IngestURL: s.flags.IngestURL,
		RTMPPort:       port(s.ports.rtmp),
		TrustedProxies: proxies,
		RateLimit:      s.flags.APIRateLimit, AddressRateLimit: s.flags.APIAddressRateLimit,
		AccessLog: s.flags.AccessLog, Recordings: s.archive,
		Logger: s.log,
	}
	if s.ports.rtmps != nil {
		config.RTMPSPort = port(s.ports.rtmps)
	}
	mux := http.NewServeMux()
	s.health.routes(mux)
	rest := api.New(config)
	public, ingest := config.Origins()
	pages, err := web.New(web.Config{Records: s.store, Recordings: s.archive, Contract: docs.OpenAPI, Log: s.log,
		MediaOrigin: s.flags.mediaOrigin(), Public: public})
	if err != nil {
		return nil, err
	}
	mux.Handle("/", pages)
	mux.Handle(obs.Path, s.obsHandler(ingest))
	return &front{playback: s.playback, api: rest, rest: mux}, nil
}

// A front sends media and API requests past the mux: they are nearly all there
// are, and both take their paths apart themselves, where a mux would redirect.
type front struct {
	playback http.Handler // everything below /hls/ and /vod/{session_id}/
	api      http.Handler // everything below /client/v4 and /accounts, and webhookKeyPath
	rest     http.Handler
}

const mediaPrefix = "/hls/"

// webhookKeyPath is where receivers find the key of deliveries: the API's, and
// outside of its prefixes.
const webhookKeyPath = "/.well-known/webhooks.json"

// bodyTimeout is how long a request's body may take, also one that nobody
// reads: net/http drains it before the answer goes out.
const bodyTimeout = 15 * time.Second

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // HTTP/2 has a body for each
		// An error means that the connection is gone, or has no deadlines.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	switch path := r.URL.Path; {
	case len(path) > len(mediaPrefix) && path[:len(mediaPrefix)] == mediaPrefix, isVOD(path):
		f.playback.ServeHTTP(w, r)
	case below(path, "/client/v4"), below(path, "/accounts"), path == webhookKeyPath:
		if r.TLS != nil && usualPort(r.Host) {
			w.Header()["Strict-Transport-Security"] = onlyTLS
		}
		f.api.ServeHTTP(w, r)
	default:
		f.rest.ServeHTTP(w, r)
	}
}

// below reports whether path is prefix or lies below it.
func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

func port(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

// run serves until ctx ends, then stops in order: readiness, publications with
// their last state, waiting viewers, requests, listeners, store. It returns nil
// after a clean stop.
func (s *server) run(ctx context.Context) error {
	defer s.close()
	if err := s.manager.Resume(ctx); err != nil {
		return fmt.Errorf("resume sessions: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	// What serves outlives ctx until shutdown has said goodbye to publishers.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	telling, stopTelling := context.WithCancel(serving)
	s.serveWeb(g, serving)
	if s.ports.admin != nil {
		s.serveHTTP(g, "admin", s.httpServer(serving, "admin", s.adminRoutes(), &s.inside), s.ports.admin)
	}
	g.Go(func() error { return s.rtmp.Serve(serving, s.ports.rtmp) })
	if s.ports.rtmps != nil {
		secure := tls.NewListener(s.ports.rtmps, s.tlsConfig())
		g.Go(func() error { return s.rtmp.Serve(serving, secure) })
	}
	if s.cert != nil {
		g.Go(func() error { s.cert.watch(serving); return nil })
	}
	g.Go(func() error { tuneGC(serving); return nil })
	g.Go(func() error { s.auth.Run(serving, s.log); return nil })
	g.Go(func() error { return s.webhooks.Run(telling) })
	g.Go(func() error { s.sweepArchive(serving); return nil })
	s.ports.log(s.log)
	s.log.Info("webhooks are signed; their receivers find the key here", "url", s.webhookKeyURL())
	if warning := plainOnPublic(s.flags.PublicURL, s.ports.http.Addr(), s.ports.https != nil); warning != "" {
		s.log.Warn(warning)
	}
	if warning := mixedContent(s.flags.PublicURL, s.flags.MediaBaseURL); warning != "" {
		s.log.Warn(warning)
	}
	g.Go(func() error {
		<-ctx.Done()
		s.shutdown(stopTelling, stopServing)
		return nil
	})
	return g.Wait()
}

// shutdown ends what run started, in order.
func (s *server) shutdown(stopTelling, stopServing context.CancelFunc) {
	s.health.stopping.Store(true)
	s.log.Info("stopping")
	deadline := time.Now().Add(stopWithin)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	s.manager.Shutdown(ctx)
	stopTelling() // what is under way has two seconds, while requests end
	s.playback.Close()
	for _, h := range s.web {
		if err := h.Shutdown(ctx); err != nil {
			h.Close()
		}
	}
	s.writeUsage(deadline)
	stopServing()
}

// lastWords is how long viewers' figures may take at least when a clean stop has
// taken all of its time.
const lastWords = 1500 * time.Millisecond

// writeUsage writes the row of every viewer, and what was delivered after the
// manager wrote its last figures. Rows go in pieces, so that one transaction
// takes no longer than a checkpoint.
func (s *server) writeUsage(deadline time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), max(time.Until(deadline), lastWords))
	defer cancel()
	ws, vs := s.counter.DrainAll()
	for {
		n := min(len(vs), 2000)
		if err := s.store.Checkpoint(ctx, nil, ws, vs[:n]); err != nil {
			s.log.Error("the last viewer seconds could not be written", "viewers", len(vs), "err", err)
			return
		}
		if ws, vs = nil, vs[n:]; len(vs) == 0 {
			return
		}
	}
}

// webhookKeyURL is where receivers of webhooks find the public key.
func (s *server) webhookKeyURL() string {
	base := strings.TrimRight(s.flags.PublicURL, "/")
	if base == "" {
		base = localBase(s.ports.http.Addr())
	}
	return base + webhookKeyPath
}

// close lets go of what newServer opened.
func (s *server) close() {
	s.ports.close()
	if s.registry != nil {
		s.registry.Close()
	}
	s.closeArchive()
	if err := s.store.Close(); err != nil {
		s.log.Error("close store", "err", err)
	}
	s.log.Info("stopped")
}

// writeTimeout ends a request whose answer nobody reads. The longest of the API
// waits for its turn to try a webhook.
const writeTimeout = 2 * time.Minute

// timely gives each answer its writeTimeout, but those below /hls/: playback
// gives its own when it begins to write, and one more per request shows there.
func timely(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, mediaPrefix) {
			// An error means that the connection is gone, or has no deadlines.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		h.ServeHTTP(w, r)
	})
}
