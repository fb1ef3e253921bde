package servertest

import (
	"net"
	"sync"
	"testing"
)

// A Relay passes TCP connections on to an address, and plays a cable: while it is
// pulled nothing passes in either direction, and no connection ends.
type Relay struct {
	Addr string // HOST:PORT to dial

	mu     sync.Mutex
	pulled chan struct{} // nil: plugged in; closed by Plug
	over   chan struct{} // closed with the test
	conns  []net.Conn
}

// NewRelay starts a relay to target, which ends with the test. from is the address
// that target sees, such as 127.0.0.2; "": any.
func NewRelay(t testing.TB, target, from string) *Relay {
	t.Helper()
	var dialer net.Dialer
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: ln.Addr().String(), over: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := dialer.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			wg.Go(func() { r.pass(out, in) })
			wg.Go(func() { r.pass(in, out) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		close(r.over)
		r.mu.Lock()
		for _, c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		wg.Wait()
	})
	return r
}

// pass passes bytes on until an end, which it passes on too.
func (r *Relay) pass(to, from net.Conn) {
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if !r.wait() {
			return
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// wait waits while the cable is pulled; false: the test is over.
func (r *Relay) wait() bool {
	r.mu.Lock()
	pulled := r.pulled
	r.mu.Unlock()
	if pulled == nil {
		return true
	}
	select {
	case <-pulled:
		return true
	case <-r.over:
		return false
	}
}

// Pull pulls the cable: bytes, ends and resets wait.
func (r *Relay) Pull() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulled == nil {
		r.pulled = make(chan struct{})
	}
}

// Plug puts it back: what waited passes.
func (r *Relay) Plug() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulled != nil {
		close(r.pulled)
		r.pulled = nil
	}
}
