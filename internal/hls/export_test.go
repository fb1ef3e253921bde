package hls

// Bytes is what a snapshot holds of media.
func (s *Snapshot) Bytes() (n int) {
	for _, p := range s.parts {
		n += p.Size()
	}
	return n
}

// RoundTrip is how long ENDLIST waits behind the last part at most.
const RoundTrip = roundTrip
