// Package viewer mints and verifies viewer ids: the part of a media playlist's
// URL that tells one player instance from another (design section 4).
//
// An id is 24 bytes in unpadded base64url, always 32 characters:
//
//	 0..7   random bits; the first of them says that the player promised beacons
//	 8..11  issue time, seconds since 1970 UTC, big endian
//	12..23  HMAC-SHA-256 over bytes 0..11 and the playback id, truncated to 96 bits
//
// It is checked without a look-up and holds no state, so minting costs the
// server nothing, and an id is good on any node that knows the secret and after
// a restart. Twenty-four bytes fill 32 characters exactly: an id has one
// spelling only.
//
// An id that was minted for somebody who showed a playback token holds a [Grant]
// too, and has a longer form (grant.go).
package viewer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
	"time"
)

const (
	// Length of a viewer id without a grant, in characters.
	Length = 32
	// MaxPlaybackID is the longest playback id that can be signed for, in bytes.
	MaxPlaybackID = 128

	rawSize    = 24
	randomSize = 8
	signedSize = 12 // random bits and issue time

	promisedBit = 0x80 // of the first byte

	// SecretSize is the size of the signing secret in bytes.
	SecretSize = 32
)

// An ID is a viewer id in binary form: comparable, so that it can key a map.
// The zero ID is no viewer.
type ID [rawSize]byte

// IssuedAt tells when the id was minted, to the second, by the minting node's clock.
func (id ID) IssuedAt() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint32(id[randomSize:])), 0).UTC()
}

// Random returns the id's random bits, or of one with a grant its token's and 32
// random ones: a hash that costs nothing. For sharding take the last bits.
// Ids that did not pass [Signer.Verify] may be chosen to collide.
func (id ID) Random() uint64 { return binary.BigEndian.Uint64(id[:]) }

// Beacons reports whether the player promised beacons when it asked for the id:
// until one came it is to be counted for nothing else, for a while.
func (id ID) Beacons() bool { return id[0]&promisedBit != 0 }

// RandomHex returns the bytes of Random as 16 lower-case hex digits: a name for the
// viewer in records, with which nobody can fetch or count anything.
func (id ID) RandomHex() string { return hex.EncodeToString(id[:randomSize]) }

// String gives the id as it stands in URLs; of one with a grant, which an ID
// does not hold, it gives a text that is no viewer id.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// A Signer mints and verifies ids. All nodes that share a secret accept each
// other's. It may be used concurrently.
type Signer struct {
	pool   sync.Pool // of *scratch: a keyed MAC and its buffers, so that verifying allocates nothing
	grants sync.Pool // of *grantScratch
	names  [sha256.Size]byte
	tokens [sha256.Size]byte
}

// scratch is what one Mint or Verify works in.
type scratch struct {
	mac hash.Hash
	in  [Length]byte
	id  [rawSize]byte
	msg [signedSize + MaxPlaybackID]byte
	sum [sha256.Size]byte
}

// NewSigner returns a signer for a secret of [SecretSize] bytes.
func NewSigner(secret []byte) (*Signer, error) {
	if len(secret) != SecretSize {
		return nil, fmt.Errorf("viewer id secret: %d bytes, want %d", len(secret), SecretSize)
	}
	key := [SecretSize]byte(secret)
	s := &Signer{}
	s.pool.New = func() any { return &scratch{mac: hmac.New(sha256.New, key[:])} }
	granting := derive(key[:], "viewer id with a grant")
	s.grants.New = func() any { return &grantScratch{mac: hmac.New(sha256.New, granting[:])} }
	s.names = derive(key[:], "viewer name")
	s.tokens = derive(key[:], "playback token")
	return s, nil
}

// Mint returns a new id for one viewer of that playback id, without a promise.
func (s *Signer) Mint(playbackID string) string {
	var id ID
	s.mint(&id, playbackID, false, time.Now())
	return id.String()
}

// AppendMint appends a new id to b, for callers that build a URL in place.
// promised: the player says that it will send beacons ([ID.Beacons]).
func (s *Signer) AppendMint(b []byte, playbackID string, promised bool) []byte {
	var id ID
	s.mint(&id, playbackID, promised, time.Now())
	return base64.RawURLEncoding.AppendEncode(b, id[:])
}

func (s *Signer) mint(id *ID, playbackID string, promised bool, now time.Time) {
	sc := s.pool.Get().(*scratch)
	defer s.pool.Put(sc)
	rand.Read(sc.id[:randomSize]) // never fails (crypto/rand since Go 1.24)
	sc.id[0] &^= promisedBit
	if promised {
		sc.id[0] |= promisedBit
	}
	binary.BigEndian.PutUint32(sc.id[randomSize:], uint32(now.Unix()))
	sc.sign(playbackID)
	copy(sc.id[signedSize:], sc.sum[:])
	*id = sc.id
}

// Verify reports whether id was minted for that playback id by a holder of the
// secret, with or without a grant, and returns it in binary. It allocates nothing
// and takes the same time for every wrong MAC.
func (s *Signer) Verify(playbackID, id string) (ID, bool) {
	if len(id) == GrantedLength {
		v, _, ok := s.VerifyGrant(playbackID, id)
		return v, ok
	}
	if len(id) != Length || len(playbackID) > MaxPlaybackID {
		return ID{}, false
	}
	sc := s.pool.Get().(*scratch)
	defer s.pool.Put(sc)
	copy(sc.in[:], id)
	if n, err := base64.RawURLEncoding.Decode(sc.id[:], sc.in[:]); err != nil || n != rawSize {
		return ID{}, false
	}
	sc.sign(playbackID)
	if !hmac.Equal(sc.id[signedSize:], sc.sum[:rawSize-signedSize]) {
		return ID{}, false
	}
	return sc.id, true
}

// sign leaves the MAC of sc.id's signed bytes and the playback id in sc.sum.
// The signed bytes have a fixed length, so no two pairs make the same message.
func (sc *scratch) sign(playbackID string) {
	n := copy(sc.msg[:], sc.id[:signedSize])
	n += copy(sc.msg[n:], playbackID)
	sc.mac.Reset()
	sc.mac.Write(sc.msg[:n])
	sc.mac.Sum(sc.sum[:0])
}

// Valid reports whether id has the shape of a viewer id: its length and
// alphabet. It says nothing of who minted it.
func Valid(id string) bool {
	if len(id) != Length && len(id) != GrantedLength {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
