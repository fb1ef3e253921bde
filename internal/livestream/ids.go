package livestream

import (
	"crypto/rand"
	"encoding/hex"

	"tally/internal/secret"
)

// Ids, keys and names are random and say nothing about each other or about
// when they were made. crypto/rand never fails: the program ends if the system
// has no randomness.

// NewUUID returns a random UUID v4 (RFC 9562 section 5.4) in lower case. It
// names livestreams, sessions, meetings and tokens.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40 // version 4
	b[8] = b[8]&0x3f | 0x80 // variant of RFC 9562
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// NewHex32 returns 32 random lower-case hex digits. It names accounts and apps.
func NewHex32() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// NewStreamKey returns a stream key: 32 base62 characters, 190 random bits.
func NewStreamKey() secret.String { return secret.New(RandomText(32)) }

// NewPlaybackID returns a playback id: 20 base62 characters, 119 random bits.
func NewPlaybackID() string { return RandomText(20) }

// NewRunID returns the id of a run: 12 base62 characters, 71 random bits. It is
// no secret; it only has to differ from all other runs of its livestream.
func NewRunID() string { return RandomText(12) }

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// RandomText returns n random base62 characters, log2(62) = 5.95 bits each.
func RandomText(n int) string {
	text := make([]byte, 0, n)
	var b [64]byte
	for {
		rand.Read(b[:])
		for _, x := range b {
			if len(text) == n {
				return string(text)
			}
			if x < 4*62 { // what is above would favour the first characters
				text = append(text, base62[x%62])
			}
		}
	}
}

// IsUUID reports whether s is a UUID of any version as RFC 9562 section 4 writes
// it, in lower case.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case !('0' <= c && c <= '9' || 'a' <= c && c <= 'f'):
			return false
		}
	}
	return true
}
