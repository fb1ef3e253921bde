package viewer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"time"
)

// GrantedLength is that of a viewer id with a grant, in characters. It is 36
// bytes:
//
//	 0..3   the promise of beacons, as in an id without, and 31 bits of a hash of
//	        the token: all ids for which it was shown begin alike
//	 4..7   random bits
//	 8..11  issue time, as in an id without
//	12..15  until when the viewer may play, seconds since 1970 UTC, big endian
//	16..23  hash of the viewer's name; 0: it has none
//	24..35  HMAC-SHA-256 over bytes 0..23 and the playback id, truncated to 96 bits
//
// The MAC has a key of its own, so that no id of one form is good as the other.
//
// That the first eight bytes, which name a viewer in records, name its token too
// is why a viewer can be kept out of which nothing but its record is known. 31 bits:
// with ten of a hundred thousand tokens revoked, one in two thousand times another
// is refused by chance. 32 random bits: of ten thousand viewers with one token two
// count as one, one in a hundred times.
const GrantedLength = 48

const (
	grantedSize       = 36
	grantedSignedSize = 24

	tokenSize = 4         // of a granted id's random bits, those that are the token's
	tokenMask = 1<<31 - 1 // of the first four bytes: the promise is none of it
)

// A Grant is what a viewer id says of the playback token for which it was
// minted. With it a request is allowed without a look-up of anything.
type Grant struct {
	Until uint32 // seconds since 1970 UTC; the viewer may play before that
	Name  uint64 // what NameHash gives for the token's viewer name; 0: it had none
	Token uint32 // what TokenHash gives for the token
}

// grantScratch is what one mint or check of a granted id works in.
type grantScratch struct {
	mac hash.Hash
	in  [GrantedLength]byte
	id  [grantedSize]byte
	msg [grantedSignedSize + MaxPlaybackID]byte
	sum [sha256.Size]byte
}

// AppendMintGranted is AppendMint of an id with a grant. issued is the time that
// it gives for its issue, in whole seconds.
func (s *Signer) AppendMintGranted(b []byte, playbackID string, promised bool, issued time.Time, g Grant) []byte {
	sc := s.grants.Get().(*grantScratch)
	defer s.grants.Put(sc)
	binary.BigEndian.PutUint32(sc.id[:], g.Token&tokenMask)
	rand.Read(sc.id[tokenSize:randomSize]) // never fails (crypto/rand since Go 1.24)
	if promised {
		sc.id[0] |= promisedBit
	}
	binary.BigEndian.PutUint32(sc.id[8:], uint32(issued.Unix()))
	binary.BigEndian.PutUint32(sc.id[12:], g.Until)
	binary.BigEndian.PutUint64(sc.id[16:], g.Name)
	sc.sign(playbackID)
	copy(sc.id[grantedSignedSize:], sc.sum[:])
	return base64.RawURLEncoding.AppendEncode(b, sc.id[:])
}

// VerifyGrant is Verify of an id with a grant, which it returns too. It is false
// for an id without one.
func (s *Signer) VerifyGrant(playbackID, id string) (ID, Grant, bool) {
	if len(id) != GrantedLength || len(playbackID) > MaxPlaybackID {
		return ID{}, Grant{}, false
	}
	sc := s.grants.Get().(*grantScratch)
	defer s.grants.Put(sc)
	copy(sc.in[:], id)
	if n, err := base64.RawURLEncoding.Decode(sc.id[:], sc.in[:]); err != nil || n != grantedSize {
		return ID{}, Grant{}, false
	}
	sc.sign(playbackID)
	if !hmac.Equal(sc.id[grantedSignedSize:], sc.sum[:grantedSize-grantedSignedSize]) {
		return ID{}, Grant{}, false
	}
	var v ID
	copy(v[:signedSize], sc.id[:])
	copy(v[signedSize:], sc.id[grantedSignedSize:])
	return v, Grant{
		Until: binary.BigEndian.Uint32(sc.id[12:]), Name: binary.BigEndian.Uint64(sc.id[16:]), Token: TokenOf(v.Random()),
	}, true
}

func (sc *grantScratch) sign(playbackID string) {
	n := copy(sc.msg[:], sc.id[:grantedSignedSize])
	n += copy(sc.msg[n:], playbackID)
	sc.mac.Reset()
	sc.mac.Write(sc.msg[:n])
	sc.mac.Sum(sc.sum[:0])
}

// NameHash is what a grant holds of a viewer's name, and what a revocation of
// that name is compared with: never 0. It is keyed, so that nobody can try names
// on an id that was seen, and so that names cannot be chosen to collide.
func (s *Signer) NameHash(playbackID, name string) uint64 {
	mac := hmac.New(sha256.New, s.names[:])
	mac.Write([]byte(playbackID))
	mac.Write([]byte{0}) // no playback id holds it
	mac.Write([]byte(name))
	return max(1, binary.BigEndian.Uint64(mac.Sum(nil)))
}

// TokenHash is what a grant holds of the token that was shown for it: of its signed
// part, because a signature can have several spellings. It is keyed, as a name's is.
func (s *Signer) TokenHash(playbackID string, signed []byte) uint32 {
	mac := hmac.New(sha256.New, s.tokens[:])
	mac.Write([]byte(playbackID))
	mac.Write([]byte{0})
	mac.Write(signed)
	return binary.BigEndian.Uint32(mac.Sum(nil)) & tokenMask
}

// TokenOf is the hash of the token for which an id with a grant was minted, of the
// id's [ID.Random].
func TokenOf(random uint64) uint32 { return uint32(random>>32) & tokenMask }

// ParseRandom reads what [ID.RandomHex] gives, as [ID.Random] has it.
func ParseRandom(text string) (uint64, bool) {
	if len(text) != 2*randomSize || strings.ToLower(text) != text {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 16, 64)
	return n, err == nil
}

// ReadRandom returns what [ID.RandomHex] gives for a viewer id in any form: as it
// stands in URLs, or as those digits. Nothing is verified.
func ReadRandom(text string) (string, bool) {
	if _, ok := ParseRandom(text); ok {
		return text, true
	}
	if !Valid(text) {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	return hex.EncodeToString(raw[:randomSize]), true
}

// derive makes a key for one use of a secret.
func derive(secret []byte, use string) (key [sha256.Size]byte) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(use))
	mac.Sum(key[:0])
	return key
}
