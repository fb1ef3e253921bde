package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/livestream"
)

const adminScope = "Realtime Admin"

// newToken is a token of account-1 with every field set that a new one can have.
func newToken(n int, scopes ...string) livestream.Token {
	k := livestream.Token{
		ID: livestream.NewUUID(), AccountID: here.AccountID, Name: fmt.Sprint("token ", n), Scopes: scopes, AppIDs: []string{},
		CreatedAt: at(n),
	}
	copy(k.Hash[:], k.ID)
	return k
}

func testTokens(t *testing.T, f *fixture) {
	var all []livestream.Token // newest first
	for i := range 7 {
		k := newToken(i, adminScope, "Realtime")
		if i%2 == 1 {
			k.AppIDs, k.ExpiresAt = []string{"a", "b"}, at(10_000)
		}
		must(t, f.CreateToken(ctx, k))
		all = append([]livestream.Token{k}, all...)
	}
	foreign := newToken(9, adminScope)
	foreign.AccountID = "account-2"
	must(t, f.CreateToken(ctx, foreign))
	want(t, f.CreateToken(ctx, all[0]), livestream.ErrExists)

	for _, k := range all {
		got, err := f.Token(ctx, here.AccountID, k.ID)
		must(t, err)
		same(t, "by id", got, k)
		got, err = f.TokenByHash(ctx, k.Hash)
		must(t, err)
		same(t, "by hash", got, k)
	}
	for _, id := range []string{"", "x", foreign.ID, "' OR 1=1 --"} {
		_, err := f.Token(ctx, here.AccountID, id)
		want(t, err, livestream.ErrNotFound)
		_, err = f.RevokeToken(ctx, here.AccountID, id, adminScope, at(1))
		want(t, err, livestream.ErrNotFound)
	}
	var paged []livestream.Token
	for page := 1; page <= 4; page++ {
		part, n, err := f.Tokens(ctx, here.AccountID, livestream.Page{Number: page, Size: 3})
		must(t, err)
		same(t, "count", n, len(all))
		paged = append(paged, part...)
	}
	same(t, "list", paged, all)
	none, n, err := f.Tokens(ctx, "account-3", livestream.Page{Number: 1, Size: 3})
	if must(t, err); n != 0 || len(none) != 0 {
		t.Errorf("list of an account without tokens has %d", n)
	}
}

func testTouchTokens(t *testing.T, f *fixture) {
	a, b := newToken(1, adminScope), newToken(2, adminScope)
	must(t, f.CreateToken(ctx, a))
	must(t, f.CreateToken(ctx, b))
	for _, c := range []struct {
		name   string
		used   map[string]time.Time
		atA, b time.Time
	}{
		{"nothing", nil, time.Time{}, time.Time{}},
		{"one, and one that does not exist", map[string]time.Time{a.ID: at(50), "x": at(60)}, at(50), time.Time{}},
		{"an earlier one", map[string]time.Time{a.ID: at(40), b.ID: at(40)}, at(50), at(40)},
		{"both", map[string]time.Time{a.ID: at(70), b.ID: at(71)}, at(70), at(71)},
	} {
		must(t, f.TouchTokens(ctx, c.used))
		for id, used := range map[string]time.Time{a.ID: c.atA, b.ID: c.b} {
			k, err := f.Token(ctx, here.AccountID, id)
			must(t, err)
			same(t, c.name, k.LastUsedAt, used)
		}
	}
}

// testRevokeToken: an account always keeps a token that can manage tokens.
func testRevokeToken(t *testing.T, f *fixture) {
	admin, second, plain := newToken(1, adminScope), newToken(2, "Realtime", adminScope), newToken(3, "Realtime")
	limited, expired, gone := newToken(4, adminScope), newToken(5, adminScope), newToken(6, adminScope)
	similar := newToken(7, "Not "+adminScope)
	limited.AppIDs, expired.ExpiresAt, gone.RevokedAt = []string{"a"}, at(99), at(98)
	foreign := newToken(8, adminScope)
	foreign.AccountID = "account-2"
	for _, k := range []livestream.Token{admin, second, plain, limited, expired, gone, similar, foreign} {
		must(t, f.CreateToken(ctx, k))
	}
	revoke := func(k livestream.Token, ms int) (livestream.Token, error) {
		return f.RevokeToken(ctx, here.AccountID, k.ID, adminScope, at(ms))
	}
	got, err := revoke(second, 100)
	must(t, err)
	same(t, "revoked at", got.RevokedAt, at(100))
	got, err = revoke(second, 200)
	must(t, err)
	same(t, "revoked twice", got.RevokedAt, at(100))
	for _, ms := range []int{100, 1 << 40} {
		_, err = revoke(admin, ms)
		want(t, err, livestream.ErrLastToken)
	}
	for _, k := range []livestream.Token{plain, limited, expired, similar} { // none of them can manage tokens
		_, err = revoke(k, 100)
		must(t, err)
	}
	k, err := f.TokenByHash(ctx, admin.Hash)
	must(t, err)
	same(t, "last one", k, admin)
	k, err = f.TokenByHash(ctx, plain.Hash)
	must(t, err)
	same(t, "revoked, by hash", k.RevokedAt, at(100))
}

// testRevokeEachOther lets many tokens be revoked at once: one remains.
func testRevokeEachOther(t *testing.T, f *fixture) {
	var ids []string
	for i := range 16 {
		k := newToken(i, adminScope)
		must(t, f.CreateToken(ctx, k))
		ids = append(ids, k.ID)
	}
	var all sync.WaitGroup
	kept := make(chan error, len(ids))
	for _, id := range ids {
		all.Go(func() {
			if _, err := f.RevokeToken(ctx, here.AccountID, id, adminScope, at(100)); err != nil {
				kept <- err
			}
		})
	}
	all.Wait()
	if len(kept) != 1 {
		t.Fatalf("%d are left, want 1", len(kept))
	}
	want(t, <-kept, livestream.ErrLastToken)
}

// testCreations creates on behalf of requests and asks for what they created.
func testCreations(t *testing.T, f *fixture) {
	request := func(name string) (r [32]byte) { copy(r[:], name); return r }
	on := func(what livestream.Creates, name string, ms int) context.Context {
		return livestream.WithCreation(ctx, livestream.Creation{What: what, Request: request(name), At: at(ms)})
	}
	created := func(name string, retry, sinceMS int) string {
		t.Helper()
		id, err := f.Created(ctx, request(name), retry, at(sinceMS))
		if errors.Is(err, livestream.ErrNotFound) {
			return ""
		}
		must(t, err)
		return id
	}
	l := newLivestream(here, start)
	must(t, f.CreateLivestream(on(livestream.CreatesLivestream, "l", 1000), l))
	same(t, "livestream", created("l", 1, 1000), l.ID)
	same(t, "too old", created("l", 1, 1001), "")
	same(t, "another request", created("m", 1, 0), "")

	m := livestream.Meeting{Scope: here, ID: livestream.NewUUID(), CreatedAt: start, UpdatedAt: start}
	must(t, f.CreateMeeting(on(livestream.CreatesMeeting, "m", 1000), m))
	same(t, "meeting", created("m", 1, 0), m.ID)
	must(t, f.CreateApp(on(livestream.CreatesApp, "a", 1000), livestream.App{AccountID: here.AccountID, ID: "new", CreatedAt: start}))
	same(t, "app", created("a", 1, 0), "new")

	// What a request does on its way to what it creates is not that.
	other := newLivestream(here, start)
	must(t, f.CreateLivestream(on(livestream.CreatesSession, "s", 1000), other))
	same(t, "on the way", created("s", 1, 0), "")
	r, err := f.Advance(on(livestream.CreatesSession, "s", 1000), other.ID,
		livestream.Event{Kind: livestream.Start, At: at(1), NewID: livestream.NewUUID()})
	must(t, err)
	same(t, "session", created("s", 1, 0), r.Session.ID)

	// A creation that is refused leaves nothing behind.
	if err := f.CreateLivestream(on(livestream.CreatesLivestream, "twice", 1000), l); err == nil {
		t.Fatal("the same livestream was created twice")
	}
	same(t, "refused", created("twice", 1, 0), "")

	f.reopen(t)
	same(t, "after a reopen", created("l", 1, 1000), l.ID)
	must(t, f.CreateLivestream(on(livestream.CreatesLivestream, "late", 1000+int(2*time.Minute/time.Millisecond)+1), newLivestream(here, start)))
	same(t, "dropped", created("l", 1, 0), "")
}

// testCreationsApart: clients that lost the answers to equal requests get an
// object each.
func testCreationsApart(t *testing.T, f *fixture) {
	var ids []string // newest first
	for i := range 3 {
		l := newLivestream(here, start)
		must(t, f.CreateLivestream(livestream.WithCreation(ctx, livestream.Creation{What: livestream.CreatesLivestream, At: at(i)}), l))
		ids = append([]string{l.ID}, ids...)
	}
	// What a retry created has an owner, though it is the newest.
	var made atomic.Bool
	l := newLivestream(here, start)
	must(t, f.CreateLivestream(livestream.WithCreation(ctx,
		livestream.Creation{What: livestream.CreatesLivestream, Retry: 1, At: at(5), Made: &made}), l))
	same(t, "made", made.Load(), true)
	var again atomic.Bool
	if err := f.CreateLivestream(livestream.WithCreation(ctx,
		livestream.Creation{What: livestream.CreatesLivestream, Made: &again}), l); err == nil || again.Load() {
		t.Errorf("the same livestream is created again: %v, made: %t", err, again.Load())
	}
	for i, wanted := range append(ids, l.ID) { // a fourth must share
		id, err := f.Created(ctx, [32]byte{}, 1, at(0))
		must(t, err)
		same(t, fmt.Sprint("retry ", i), id, wanted)
	}
	id, err := f.Created(ctx, [32]byte{}, 2, at(0))
	must(t, err)
	same(t, "second retry", id, l.ID)
}
