package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// headerTimeout is how long a request's header may take, and so does a TLS
	// handshake (design section 7).
	headerTimeout = 5 * time.Second

	// idleTimeout is how long a connection may be without a request.
	idleTimeout = 2 * time.Minute

	// maxHeaderBytes bounds a request's header; more is answered 431.
	maxHeaderBytes = 64 << 10

	// stallTimeout closes an HTTP/2 connection that takes nothing while there is
	// something to be sent. A stream, or a connection of HTTP/1.1, that takes an
	// answer too slowly is cut by the answer's own deadline: 30 s in playback, and
	// else writeTimeout (see [timely]).
	stallTimeout = 30 * time.Second
)

// http2Settings are those of HTTP/2, over TLS and without.
//
// A player holds up to three requests on its connection (playlist, part, state)
// per rendition; a browser has one connection for all its tabs, a proxy one for
// all its viewers. So streams are many. What comes in is small (beacons, API), so
// windows for it are, and with them what a client can make this server keep.
//
// Reset streams go on counting until their handlers have returned: more than 4
// times as many as there may be streams end the connection (CVE-2023-39325).
func http2Settings(st *httpStats) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          1000,
		MaxReadFrameSize:              16 << 10, // the least there is: nobody sends us much
		MaxReceiveBufferPerConnection: 256 << 10,
		MaxReceiveBufferPerStream:     64 << 10,
		SendPingTimeout:               15 * time.Second, // a connection that is silent is asked whether it is there
		PingTimeout:                   10 * time.Second,
		WriteByteTimeout:              stallTimeout,
		CountError:                    func(string) { st.http2Errors.Add(1) },
	}
}

// httpStats are figures of one listener.
type httpStats struct {
	open        atomic.Int64 // connections
	accepted    atomic.Int64 // connections
	http2Errors atomic.Int64 // of clients that break the protocol
	handshakes  atomic.Int64 // TLS handshakes done
	resumed     atomic.Int64 // of these, by a session ticket
	spokeH2     atomic.Int64 // of these, that chose HTTP/2
	failed      atomic.Int64 // TLS handshakes that were not
}

// connState is http.Server.ConnState.
func (st *httpStats) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		st.accepted.Add(1)
		st.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		st.open.Add(-1)
	}
}

// shaken is tls.Config.VerifyConnection: it refuses nothing, and is called at the
// end of each handshake.
func (st *httpStats) shaken(c tls.ConnectionState) error {
	st.handshakes.Add(1)
	if c.DidResume {
		st.resumed.Add(1)
	}
	if c.NegotiatedProtocol == "h2" {
		st.spokeH2.Add(1)
	}
	return nil
}

// An errorLog is what net/http complains to: of clients, so it is for debugging,
// and counted.
type errorLog struct {
	*httpStats
	to   *slog.Logger
	name string
}

var handshakeError = []byte("http: TLS handshake error")

// Write implements io.Writer.
func (l errorLog) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, handshakeError) {
		l.failed.Add(1)
	}
	l.to.Debug(string(bytes.TrimSpace(line)), "listener", l.name)
	return len(line), nil
}

// tlsConfig is for listeners with the certificate. The protocols are the
// caller's; session tickets are the library's, whose keys change daily and live
// as long as the server.
func (s *server) tlsConfig() *tls.Config {
	return &tls.Config{GetCertificate: s.cert.get, MinVersion: tls.VersionTLS12}
}

// serveWeb answers the public listeners: HTTP/1.1 and HTTP/2, which is spoken
// without TLS by proxies that know of it (prior knowledge).
func (s *server) serveWeb(g *errgroup.Group, ctx context.Context) {
	plain := s.httpServer(ctx, "http", s.handler, &s.plain)
	plain.Protocols.SetUnencryptedHTTP2(true)
	s.serveHTTP(g, "http", plain, s.ports.http)
	if s.ports.https == nil {
		return
	}
	secure := s.httpServer(ctx, "https", s.handler, &s.secure)
	secure.Protocols.SetHTTP2(true)
	secure.TLSConfig = s.tlsConfig()
	secure.TLSConfig.VerifyConnection = s.secure.shaken
	s.serveHTTP(g, "https", secure, s.ports.https)
}

// httpServer is a server of HTTP/1.1 with the limits of all of them.
func (s *server) httpServer(ctx context.Context, name string, h http.Handler, st *httpStats) *http.Server {
	srv := &http.Server{
		Handler:           timely(h),
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         st.connState,
		ErrorLog:          log.New(errorLog{st, s.log, name}, "", 0),
		HTTP2:             http2Settings(st),
	}
	srv.Protocols.SetHTTP1(true)
	return srv
}

// onlyTLS has browsers that called the API over TLS never again call it without
// (RFC 6797): a token would travel in the clear.
var onlyTLS = []string{"max-age=31536000"}

// usualPort reports whether host, as a client named it, goes without a port. A
// browser that is told to use TLS alone does so on every port of that host: also
// on that of --http-addr, if this is a server that is reached by its ports.
func usualPort(host string) bool {
	_, port, err := net.SplitHostPort(host)
	return err != nil || port == "443"
}

// serveHTTP answers ln until shutdown: over TLS where srv has a configuration
// for it.
func (s *server) serveHTTP(g *errgroup.Group, name string, srv *http.Server, ln net.Listener) {
	s.web = append(s.web, srv)
	g.Go(func() error {
		serve := srv.Serve
		if srv.TLSConfig != nil {
			serve = func(ln net.Listener) error { return srv.ServeTLS(ln, "", "") }
		}
		if err := serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", name, err)
		}
		return nil
	})
}
