package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

func newPlaybackKey(n int) livestream.PlaybackKey {
	return livestream.PlaybackKey{
		Scope: here, ID: livestream.NewUUID(), KID: fmt.Sprint("kid ", n), Name: fmt.Sprint("key ", n), Algorithm: "HS256",
		Secret: secret.New("secret"), CreatedAt: at(n),
	}
}

func testPlaybackKeys(t *testing.T, f *fixture) {
	var all []livestream.PlaybackKey // newest first
	for i := range livestream.MaxPlaybackKeys - 1 {
		k := newPlaybackKey(i)
		switch i % 3 {
		case 1:
			k.Algorithm, k.Secret, k.KID, k.URL = "RS256", secret.String{}, "", "https://example.org/jwks.json"
		case 2:
			k.Algorithm, k.Secret, k.Public = "RS256", secret.String{}, "-----BEGIN"
		}
		k.Managed = i == 0
		must(t, f.CreatePlaybackKey(ctx, k))
		all = append([]livestream.PlaybackKey{k}, all...)
	}
	foreign := newPlaybackKey(0)
	foreign.AppID = "app-2"
	must(t, f.CreatePlaybackKey(ctx, foreign))
	for _, twin := range []func(*livestream.PlaybackKey){
		func(k *livestream.PlaybackKey) { k.ID = all[3].ID },
		func(k *livestream.PlaybackKey) { k.KID = "kid 0" },
		func(k *livestream.PlaybackKey) { k.Managed = true },
	} {
		k := newPlaybackKey(90)
		twin(&k)
		want(t, f.CreatePlaybackKey(ctx, k), livestream.ErrExists)
	}
	last := newPlaybackKey(91)
	must(t, f.CreatePlaybackKey(ctx, last))
	all = append([]livestream.PlaybackKey{last}, all...)
	want(t, f.CreatePlaybackKey(ctx, newPlaybackKey(92)), livestream.ErrManyPlaybackKeys)
	got, err := f.PlaybackKeys(ctx, here)
	must(t, err)
	same(t, "keys", got, all)

	for _, id := range []string{"", "x", foreign.ID, "' OR 1=1 --"} {
		_, err := f.DeletePlaybackKey(ctx, here, id)
		want(t, err, livestream.ErrNotFound)
	}
	gone, err := f.DeletePlaybackKey(ctx, here, all[0].ID)
	must(t, err)
	same(t, "deleted", gone, all[0])
	f.reopen(t)
	got, err = f.PlaybackKeys(ctx, here)
	must(t, err)
	same(t, "keys after a deletion and a reopen", got, all[1:])
	if got, err = f.PlaybackKeys(ctx, livestream.Scope{AccountID: "account-1", AppID: "app-3"}); err != nil || len(got) != 0 {
		t.Errorf("an app without keys has %v, %v", got, err)
	}
}

func testRevocations(t *testing.T, f *fixture) {
	l, other := f.create(t), f.create(t)
	revoke := func(kind livestream.RevocationKind, subject string, ms int) livestream.Revocation {
		t.Helper()
		r := livestream.Revocation{LivestreamID: l.ID, Kind: kind, Subject: subject, At: at(ms), ExpiresAt: at(ms + 1000)}
		must(t, f.Revoke(ctx, r))
		return r
	}
	stored := func(ms int, wanted ...livestream.Revocation) {
		t.Helper()
		got, err := f.Revocations(ctx, l.ID, at(ms))
		must(t, err)
		same(t, fmt.Sprint("in force at ", ms), got, wanted)
	}
	alice := revoke(livestream.RevokeName, "alice", 10)
	viewer := revoke(livestream.RevokeViewer, "00000000000000aa", 20)
	stored(20, viewer, alice)
	revoke(livestream.RevokeName, "alice", 5) // is less than is known
	stored(20, viewer, alice)
	again := revoke(livestream.RevokeName, "alice", 30)
	stored(30, again, viewer)
	stored(1025, again)
	f.reopen(t)
	stored(30, again, viewer)
	all := revoke(livestream.RevokeAll, "", 40) // stands for those before
	stored(40, all)
	bob := revoke(livestream.RevokeName, "bob", 41)
	stored(41, bob, all)
	if got, err := f.Revocations(ctx, other.ID, at(0)); err != nil || len(got) != 0 {
		t.Errorf("another livestream has %v, %v", got, err)
	}
	want(t, f.Revoke(ctx, livestream.Revocation{LivestreamID: "x", Kind: livestream.RevokeAll, At: at(1), ExpiresAt: at(2)}), livestream.ErrNotFound)
}

// testRevocationRoom: as many as there may be, also by several at once; all of
// the livestream has always room.
func testRevocationRoom(t *testing.T, f *fixture) {
	l := f.create(t)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		refused int
	)
	for n := range 128 {
		wg.Go(func() {
			for i := n; i < livestream.MaxRevocations+16; i += 128 {
				err := f.Revoke(ctx, livestream.Revocation{LivestreamID: l.ID, Kind: livestream.RevokeName, Subject: fmt.Sprint(i),
					At: at(0), ExpiresAt: at(60_000)})
				if errors.Is(err, livestream.ErrManyRevocations) {
					mu.Lock()
					refused++
					mu.Unlock()
				} else {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	got, err := f.Revocations(ctx, l.ID, at(0))
	must(t, err)
	if len(got) != livestream.MaxRevocations || refused != 16 {
		t.Errorf("%d revocations, %d refused", len(got), refused)
	}
	must(t, f.Revoke(ctx, livestream.Revocation{LivestreamID: l.ID, Kind: livestream.RevokeAll, At: at(1), ExpiresAt: at(60_000)}))
	got, err = f.Revocations(ctx, l.ID, at(0))
	must(t, err)
	same(t, "after all", len(got), 1)
}

// testAccessWake: whoever follows who may watch is woken by what changes that.
func testAccessWake(t *testing.T, f *fixture) {
	l := f.create(t)
	signed, origins, name := livestream.PlaybackSigned, "https://example.org", livestream.Change{SetName: true}
	woken := func(what string, change func()) {
		t.Helper()
		change()
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		ids, err := f.AwaitAccess(within)
		if err != nil || len(ids) != 1 || ids[0] != l.PlaybackID {
			t.Fatalf("%s: woken for %v, %v", what, ids, err)
		}
	}
	configure := func(c livestream.Change) func() {
		return func() { f.advance(t, l.ID, livestream.Event{Kind: livestream.Configure, At: at(1), Change: c}) }
	}
	woken("policy", configure(livestream.Change{Playback: &signed}))
	woken("origins", configure(livestream.Change{AllowedOrigins: &origins}))
	got := f.byID(t, l.ID).Livestream.Settings
	if !got.Signed() || len(got.Origins()) != 1 || got.Origins()[0] != origins {
		t.Errorf("settings are %+v", got)
	}
	configure(name)() // says nothing of access
	woken("revocation", func() {
		must(t, f.Revoke(ctx, livestream.Revocation{LivestreamID: l.ID, Kind: livestream.RevokeName, Subject: "a", At: at(1), ExpiresAt: at(9)}))
	})
	woken("deletion", func() { f.advance(t, l.ID, livestream.Event{Kind: livestream.Delete, At: at(2)}) })
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := f.AwaitAccess(cancelled)
	want(t, err, context.Canceled)
}
