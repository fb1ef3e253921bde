package main

import (
	"net"
	"sync"
	"time"
)

// A link is a TCP proxy that makes of loopback a line as people have it: what
// goes either way arrives later, and all connections share its rate. What waits
// is bounded: a full line holds up whoever sends.
type link struct {
	ln    net.Listener
	to    string
	delay time.Duration // one way
	down  *pipe
	up    *pipe

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// openLink listens on a free port and passes connections on to address to.
// bitsPerSecond is shared by what all of them receive, and again by what they
// send.
func openLink(to string, delay time.Duration, bitsPerSecond int64) (*link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{ln: ln, to: to, delay: delay, down: &pipe{perByte: 8 * time.Second / time.Duration(bitsPerSecond)},
		up: &pipe{perByte: 8 * time.Second / time.Duration(bitsPerSecond)}, conns: map[net.Conn]bool{}}
	go l.accept()
	return l, nil
}

func (l *link) addr() string { return l.ln.Addr().String() }

func (l *link) close() {
	l.ln.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

func (l *link) accept() {
	for {
		near, err := l.ln.Accept()
		if err != nil {
			return
		}
		go func() {
			// The handshake of TCP takes a round trip.
			time.Sleep(2 * l.delay)
			far, err := net.Dial("tcp", l.to)
			if err != nil {
				near.Close()
				return
			}
			l.mu.Lock()
			l.conns[near], l.conns[far] = true, true
			l.mu.Unlock()
			go l.carry(near, far, l.down)
			l.carry(far, near, l.up)
		}()
	}
}

// A pipe is one direction of a link.
type pipe struct {
	perByte time.Duration

	mu   sync.Mutex
	free time.Time // when what was put in is through
}

// put takes n bytes in and returns when the last of them is through.
func (p *pipe) put(n int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(n) * p.perByte)
	return p.free
}

// piece is what arrives at once: small, so that connections share the line.
const piece = 4 << 10

// carry moves bytes from one end to the other until either is closed.
func (l *link) carry(to, from net.Conn, p *pipe) {
	type packet struct {
		data []byte
		due  time.Time
	}
	flight := make(chan packet, 256) // 1 MB: more than delay x rate
	go func() {
		defer close(flight)
		for {
			b := make([]byte, piece)
			n, err := from.Read(b)
			if n > 0 {
				through := p.put(n)
				flight <- packet{b[:n], through.Add(l.delay)}
				time.Sleep(time.Until(through))
			}
			if err != nil {
				return
			}
		}
	}()
	for f := range flight {
		time.Sleep(time.Until(f.due))
		if _, err := to.Write(f.data); err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	for range flight { // until the reader has noticed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, to)
	delete(l.conns, from)
}
