package viewer_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/viewer"
)

func TestGrantsAreReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, now := signer(t, 1), time.Now()
		g := viewer.Grant{Until: uint32(now.Unix()) + 60, Name: s.NameHash(playbackID, "alice")}
		for _, promised := range []bool{false, true} {
			text := string(s.AppendMintGranted(nil, playbackID, promised, now, g))
			if len(text) != viewer.GrantedLength || !viewer.Valid(text) {
				t.Fatalf("id %q", text)
			}
			id, got, ok := signer(t, 1).VerifyGrant(playbackID, text)
			if !ok || got != g || id.Beacons() != promised || !id.IssuedAt().Equal(now.Truncate(time.Second)) {
				t.Errorf("read back %v, %v, %v", id, got, ok)
			}
			if same, ok := s.Verify(playbackID, text); !ok || same != id {
				t.Error("Verify sees another viewer")
			}
		}
	})
}

func TestForgedGrantsAreRefused(t *testing.T) {
	s, now := signer(t, 1), time.Now()
	text := string(s.AppendMintGranted(nil, playbackID, false, now, viewer.Grant{Until: 1 << 31}))
	plain := s.Mint(playbackID)
	if _, _, ok := s.VerifyGrant(playbackID, plain); ok {
		t.Error("an id without a grant has one")
	}
	if _, _, ok := s.VerifyGrant("another", text); ok {
		t.Error("a grant for one playback id is good for another")
	}
	if _, _, ok := signer(t, 2).VerifyGrant(playbackID, text); ok {
		t.Error("a grant of another secret is good")
	}
	for i := range text {
		for _, c := range []byte("AB_-z") {
			if forged := text[:i] + string(c) + text[i+1:]; forged != text {
				if _, _, ok := s.VerifyGrant(playbackID, forged); ok {
					t.Errorf("character %d changed to %c, still good", i, c)
				}
			}
		}
	}
	for _, bad := range []string{"", text[:47], text + "A", plain + plain[:16], strings.Repeat("\x00", 48), text[:46] + "\r\n"} {
		if _, _, ok := s.VerifyGrant(playbackID, bad); ok {
			t.Errorf("%q is good", bad)
		}
		if _, ok := s.Verify(playbackID, bad); ok {
			t.Errorf("%q is an id", bad)
		}
	}
}

func TestNameHashes(t *testing.T) {
	s := signer(t, 1)
	a := s.NameHash(playbackID, "alice")
	switch {
	case a == 0, a != signer(t, 1).NameHash(playbackID, "alice"):
		t.Error("a name's hash changes, or is none")
	case a == s.NameHash(playbackID, "Alice"), a == s.NameHash("another", "alice"), a == signer(t, 2).NameHash(playbackID, "alice"):
		t.Error("two names have one hash")
	}
}

func TestCheckingAGrantAllocatesNothing(t *testing.T) {
	s := signer(t, 1)
	text := string(s.AppendMintGranted(nil, playbackID, false, time.Now(), viewer.Grant{}))
	if n := testing.AllocsPerRun(200, func() { s.VerifyGrant(playbackID, text) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

// TestTokenHashes: ids for one token begin alike, and by what a record shows of one
// the token is known; ids of one token differ.
func TestTokenHashes(t *testing.T) {
	s, now := signer(t, 1), time.Now()
	a := s.TokenHash(playbackID, []byte("head.payload"))
	switch {
	case a != signer(t, 1).TokenHash(playbackID, []byte("head.payload")):
		t.Error("a token's hash changes")
	case a == s.TokenHash(playbackID, []byte("head.payloae")), a == s.TokenHash("another", []byte("head.payload")), a == signer(t, 2).TokenHash(playbackID, []byte("head.payload")):
		t.Error("two tokens have one hash")
	}
	seen := map[uint64]bool{}
	for i := range 100 {
		id, grant, ok := s.VerifyGrant(playbackID, string(s.AppendMintGranted(nil, playbackID, i%2 == 0, now, viewer.Grant{Token: a})))
		random, _ := viewer.ParseRandom(id.RandomHex())
		if !ok || grant.Token != a || viewer.TokenOf(random) != a || id.Beacons() != (i%2 == 0) {
			t.Fatalf("%v: of token %x, want %x", id, viewer.TokenOf(random), a)
		}
		seen[random] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 viewers of a token have %d names", len(seen))
	}
}
