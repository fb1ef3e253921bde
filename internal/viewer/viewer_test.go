package viewer_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/viewer"
)

const playbackID = "pPbVBHSlwWUqmyGrCjoT"

func signer(t testing.TB, fill byte) *viewer.Signer {
	t.Helper()
	s, err := viewer.NewSigner(bytes.Repeat([]byte{fill}, viewer.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMintedIDVerifiesOnEveryNodeWithTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(90 * time.Minute)
		id := signer(t, 1).Mint(playbackID)
		if len(id) != viewer.Length || !viewer.Valid(id) {
			t.Fatalf("id %q is not %d URL-safe characters", id, viewer.Length)
		}
		issued := time.Now()
		time.Sleep(30 * 24 * time.Hour)
		got, ok := signer(t, 1).Verify(playbackID, id) // another signer: another node, or after a restart
		if !ok {
			t.Fatal("a minted id is refused")
		}
		if !got.IssuedAt().Equal(issued.Truncate(time.Second)) {
			t.Errorf("issued at %v, want %v", got.IssuedAt(), issued)
		}
		if got.String() != id {
			t.Errorf("binary form reads %q, want %q", got, id)
		}
	})
}

func TestForgedIDsAreRefused(t *testing.T) {
	s := signer(t, 1)
	id := s.Mint(playbackID)
	if _, ok := s.Verify("another", id); ok {
		t.Error("an id of one playback id is accepted for another")
	}
	if _, ok := signer(t, 2).Verify(playbackID, id); ok {
		t.Error("an id of another secret is accepted")
	}
	for i := range id {
		c := byte('A')
		if id[i] == c {
			c = 'B'
		}
		if _, ok := s.Verify(playbackID, id[:i]+string(c)+id[i+1:]); ok {
			t.Errorf("character %d changed, still accepted", i)
		}
	}
	for _, bad := range []string{"", id[:31], id + "A", strings.Repeat("=", 32), strings.Repeat("\x00", 32), id[:30] + "\r\n"} {
		if _, ok := s.Verify(playbackID, bad); ok {
			t.Errorf("%q is accepted", bad)
		}
	}
	if _, ok := s.Verify(strings.Repeat("p", viewer.MaxPlaybackID+1), id); ok {
		t.Error("an over-long playback id is accepted")
	}
}

func TestIDsDiffer(t *testing.T) {
	s := signer(t, 1)
	seen := map[string]bool{}
	for range 10_000 {
		id := s.Mint(playbackID)
		if seen[id] {
			t.Fatalf("%s was minted twice", id)
		}
		seen[id] = true
	}
}

// TestPromise: that a player promised beacons travels in its id, and nobody can
// add or take it away.
func TestPromise(t *testing.T) {
	s := signer(t, 1)
	for range 100 {
		for _, promised := range []bool{true, false} {
			text := string(s.AppendMint([]byte("x"), playbackID, promised))[1:]
			id, ok := s.Verify(playbackID, text)
			if !ok || id.Beacons() != promised {
				t.Fatalf("%s: ok %v, promise %v, want %v", text, ok, id.Beacons(), promised)
			}
			if name := id.RandomHex(); len(name) != 16 || name != fmt.Sprintf("%016x", id.Random()) || strings.Contains(text, name) {
				t.Fatalf("%s is named %s in records", text, name)
			}
			id[0] ^= 0x80
			if _, ok := s.Verify(playbackID, id.String()); ok {
				t.Fatal("a promise that was changed is accepted")
			}
		}
	}
	if id, _ := s.Verify(playbackID, s.Mint(playbackID)); id.Beacons() {
		t.Error("Mint promises beacons")
	}
}

func TestSecretOfTheWrongSize(t *testing.T) {
	if _, err := viewer.NewSigner(make([]byte, 31)); err == nil {
		t.Fatal("a 31-byte secret is accepted")
	}
}

func TestVerifyAllocatesNothing(t *testing.T) {
	s := signer(t, 1)
	good, bad := s.Mint(playbackID), signer(t, 2).Mint(playbackID)
	for name, id := range map[string]string{"good": good, "bad": bad} {
		if n := testing.AllocsPerRun(1000, func() { s.Verify(playbackID, id) }); n != 0 && !raceEnabled {
			t.Errorf("%s MAC: %v allocations", name, n)
		}
	}
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(1000, func() { s.AppendMint(buf, playbackID, true) }); n != 0 && !raceEnabled {
		t.Errorf("AppendMint: %v allocations", n)
	}
}

func FuzzVerify(f *testing.F) {
	s := signer(f, 1)
	f.Add(playbackID, s.Mint(playbackID))
	f.Add("", "")
	f.Add(playbackID, strings.Repeat("A", 32))
	f.Add("other", s.Mint(playbackID))
	f.Add(playbackID, s.Mint(playbackID)[:30]+"\n\n")
	f.Fuzz(func(t *testing.T, playbackID, id string) {
		got, ok := s.Verify(playbackID, id)
		if ok && (got.String() != id || !viewer.Valid(id)) {
			t.Fatalf("%q is accepted, and reads back as %q", id, got)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := signer(b, 1)
	id := s.Mint(playbackID)
	b.ReportAllocs()
	for b.Loop() {
		s.Verify(playbackID, id)
	}
}
