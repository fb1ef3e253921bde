package hls

import "time"

// Bytes is what a snapshot holds of media.
func (s *Snapshot) Bytes() (n int) {
	for _, p := range s.parts {
		n += p.Size()
	}
	return n
}

// LastPartFor is how long ENDLIST waits behind the last part.
func (p *Packager) LastPartFor() time.Duration {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.lastPartFor()
}
