package rtmp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
)

const (
	version    = 3
	packetSize = 1536 // of C1, C2, S1, S2 (section 5.2.3)
)

// ErrHandshake: the peer does not speak plain RTMP.
var ErrHandshake = errors.New("not a plain RTMP handshake")

// Accept does the server's handshake (section 5.2) on nc, whose deadlines the
// caller sets. Clients that open with a digest (Flash, FMLE) get the plain
// answer, whose version bytes of zero tell them to go on without.
func Accept(nc net.Conn) (*Conn, error) {
	if err := acceptHandshake(nc); err != nil {
		return nil, err
	}
	return newConn(nc), nil
}

func acceptHandshake(rw io.ReadWriter) error {
	var c [1 + packetSize]byte
	// One byte first: what is no RTMP shall not cost us a wait for 1,536 more.
	if _, err := io.ReadFull(rw, c[:1]); err != nil {
		return fmt.Errorf("C0: %w", err)
	}
	if c[0] != version {
		return fmt.Errorf("%w: %s", ErrHandshake, guess(c[0]))
	}
	if _, err := io.ReadFull(rw, c[1:]); err != nil {
		return fmt.Errorf("C1: %w", err)
	}
	s := make([]byte, 0, 1+2*packetSize)
	s = append(s, version)
	s = append(s, hello()...)
	s = append(s, c[1:]...) // S2 echoes C1; its second time field is not used by anyone
	if _, err := rw.Write(s); err != nil {
		return fmt.Errorf("S0 to S2: %w", err)
	}
	// C2 should echo S1. Encoders send other things; nothing hangs on it.
	if _, err := io.ReadFull(rw, c[:packetSize]); err != nil {
		return fmt.Errorf("C2: %w", err)
	}
	return nil
}

// guess names what the first byte looks like, for the log.
func guess(b byte) string {
	switch {
	case b == 0x16:
		return "TLS on a port without TLS; use rtmp:// here, or the RTMPS port"
	case b == 6 || b == 8:
		return "encrypted RTMP (RTMPE) is not supported; use RTMPS"
	case b >= 'A' && b <= 'Z':
		return "looks like HTTP"
	}
	return fmt.Sprintf("first byte 0x%02x", b)
}

// connectHandshake does the client's side.
func connectHandshake(rw io.ReadWriter) error {
	if _, err := rw.Write(append([]byte{version}, hello()...)); err != nil {
		return fmt.Errorf("C0, C1: %w", err)
	}
	var s [1 + packetSize]byte
	if _, err := io.ReadFull(rw, s[:]); err != nil {
		return fmt.Errorf("S0, S1: %w", err)
	}
	if s[0] != version {
		return fmt.Errorf("S0: %w: version %d", ErrHandshake, s[0])
	}
	if _, err := rw.Write(s[1:]); err != nil {
		return fmt.Errorf("C2: %w", err)
	}
	if _, err := io.ReadFull(rw, s[:packetSize]); err != nil {
		return fmt.Errorf("S2: %w", err)
	}
	return nil
}

// hello is C1 or S1: time 0, version 0 (no digest), random bytes.
func hello() []byte {
	b := make([]byte, packetSize)
	rand.Read(b[8:])
	return b
}
