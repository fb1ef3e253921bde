package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
)

// pipes is a listener without sockets, for virtual time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	over  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.over) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestAnswerThatNobodyReads: whoever asks and does not read holds a connection
// for a while, not for ever.
func TestAnswerThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &pipes{conns: make(chan net.Conn), over: make(chan struct{})}
		s := &server{log: slog.New(slog.DiscardHandler)}
		var g errgroup.Group
		gone := make(chan struct{})
		s.serveHTTP(&g, "test", s.httpServer(t.Context(), "test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}), &s.plain), ln)
		client, conn := net.Pipe()
		defer client.Close()
		ln.conns <- conn
		begun := time.Now()
		if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: tally\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
		case <-time.After(time.Hour):
			t.Error("it waits for ever")
			client.Close()
			<-gone
		}
		if took := time.Since(begun); took != writeTimeout {
			t.Errorf("it was held for %v", took)
		}
		if err := s.web[0].Close(); err != nil {
			t.Error(err)
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}
