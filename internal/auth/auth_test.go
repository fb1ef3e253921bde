package auth_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/store/sqlite"
)

var ctx = context.Background()

// tokens is a store in memory whose tokens can change and which can fail.
type tokens struct {
	mu     sync.Mutex
	byHash map[[32]byte]livestream.Token
	fails  error
	asked  atomic.Int64
	used   []map[string]time.Time // each write of last use
	during func()                 // called in each write of last use; may be nil
}

func (s *tokens) TouchTokens(_ context.Context, used map[string]time.Time) error {
	if s.during != nil {
		s.during()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails == nil {
		s.used = append(s.used, used)
	}
	return s.fails
}

func (s *tokens) TokenByHash(_ context.Context, hash [32]byte) (livestream.Token, error) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return livestream.Token{}, s.fails
	}
	t, ok := s.byHash[hash]
	if !ok {
		return livestream.Token{}, livestream.ErrNotFound
	}
	return t, nil
}

// add stores a token and returns its text.
func (s *tokens) add(t livestream.Token) string {
	text, hash := auth.NewToken()
	t.Hash = hash
	s.set(t)
	return text.Reveal()
}

func (s *tokens) set(t livestream.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byHash == nil {
		s.byHash = map[[32]byte]livestream.Token{}
	}
	s.byHash[t.Hash] = t
}

var admin = livestream.Token{ID: "id", AccountID: "account", Scopes: []string{auth.RealtimeAdmin}}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups []string
		apps   []string
		scope  livestream.Scope
		want   auth.Permission
		yes    bool
	}{
		{"admin writes", []string{auth.RealtimeAdmin}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Write, true},
		{"admin administers", []string{auth.RealtimeAdmin}, nil, livestream.Scope{AccountID: "account"}, auth.Admin, true},
		{"realtime reads", []string{auth.Realtime}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Read, true},
		{"realtime writes", []string{auth.Realtime}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Write, true},
		{"realtime administers", []string{auth.Realtime}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Admin, false},
		{"read reads", []string{auth.RealtimeRead}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Read, true},
		{"read writes", []string{auth.RealtimeRead}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Write, false},
		{"read administers", []string{auth.RealtimeRead}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Admin, false},
		{"read beside realtime", []string{auth.RealtimeRead, auth.Realtime}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Write, true},
		{"both groups", []string{auth.Realtime, auth.RealtimeAdmin}, nil, livestream.Scope{AccountID: "account"}, auth.Admin, true},
		{"no group", nil, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Read, false},
		{"unknown group", []string{"Realtime Reader", "realtime"}, nil, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Read, false},
		{"other account", []string{auth.RealtimeAdmin}, nil, livestream.Scope{AccountID: "other", AppID: "app"}, auth.Read, false},
		{"no account", []string{auth.RealtimeAdmin}, nil, livestream.Scope{AppID: "app"}, auth.Read, false},
		{"own app", []string{auth.Realtime}, []string{"x", "app"}, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Write, true},
		{"other app", []string{auth.Realtime}, []string{"x"}, livestream.Scope{AccountID: "account", AppID: "app"}, auth.Read, false},
		{"list of apps, limited to apps", []string{auth.RealtimeRead}, []string{"app"}, livestream.Scope{AccountID: "account"}, auth.ReadApps, true},
		{"list of apps of another account", []string{auth.RealtimeRead}, []string{"app"}, livestream.Scope{AccountID: "other"}, auth.ReadApps, false},
		{"list of apps, no group", nil, nil, livestream.Scope{AccountID: "account"}, auth.ReadApps, false},
		{"all of the account, limited to apps", []string{auth.RealtimeAdmin}, []string{"app"}, livestream.Scope{AccountID: "account"}, auth.Read, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &tokens{}
			a := auth.Authenticator{Store: s}
			text := s.add(livestream.Token{AccountID: "account", Scopes: c.groups, AppIDs: c.apps})
			p, err := a.Authenticate(ctx, text)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Allows(c.scope, c.want); got != c.yes {
				t.Errorf("allowed is %v, want %v", got, c.yes)
			}
		})
	}
	if (auth.Principal{}).Allows(livestream.Scope{}, auth.Read) || (auth.Principal{}).Allows(livestream.Scope{}, 0) {
		t.Error("nobody may read")
	}
}

func TestStreamKeysAreMaskedForWhoMayOnlyRead(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups []string
		masked bool
	}{
		{"admin", []string{auth.RealtimeAdmin}, false},
		{"realtime", []string{auth.Realtime}, false},
		{"read", []string{auth.RealtimeRead}, true},
		{"read and realtime", []string{auth.RealtimeRead, auth.Realtime}, false},
		{"no group", nil, true},
	} {
		s := &tokens{}
		a := auth.Authenticator{Store: s}
		p, err := a.Authenticate(ctx, s.add(livestream.Token{AccountID: "account", Scopes: c.groups}))
		if err != nil || p.Masked() != c.masked {
			t.Errorf("%s: masked is %v (%v), want %v", c.name, p.Masked(), err, c.masked)
		}
	}
	if !(auth.Principal{}).Masked() {
		t.Error("nobody may see stream keys")
	}
}

func TestRefusals(t *testing.T) {
	s := &tokens{}
	a := auth.Authenticator{Store: s}
	good := s.add(admin)
	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	with := func(change func(*livestream.Token)) string {
		k := admin
		change(&k)
		return s.add(k)
	}
	for _, c := range []struct {
		name, text string
		err        error
	}{
		{"in force", good, nil},
		{"none", "", auth.ErrNoToken},
		{"unknown", good + "x", auth.ErrBadToken},
		{"cut off", good[:len(good)-1], auth.ErrBadToken},
		{"other case", strings.ToUpper(good), auth.ErrBadToken},
		{"endless", strings.Repeat("x", 1<<20), auth.ErrBadToken},
		{"expired", with(func(k *livestream.Token) { k.ExpiresAt = past }), auth.ErrBadToken},
		{"expires later", with(func(k *livestream.Token) { k.ExpiresAt = future }), nil},
		{"revoked", with(func(k *livestream.Token) { k.RevokedAt = past }), auth.ErrBadToken},
		{"to be revoked later", with(func(k *livestream.Token) { k.RevokedAt = future }), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 {
				if _, err := a.Authenticate(ctx, c.text); !errors.Is(err, c.err) {
					t.Errorf("got %v, want %v", err, c.err)
				}
			}
		})
	}
	s.fails = errors.New("disk on fire")
	if _, err := a.Authenticate(ctx, "anything"); !errors.Is(err, s.fails) || errors.Is(err, auth.ErrBadToken) {
		t.Errorf("got %v, want the store's error: it is not the client's fault", err)
	}
}

func TestRevocationTakesASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{}
		a := auth.Authenticator{Store: s}
		text := s.add(admin)
		for range 1000 {
			if _, err := a.Authenticate(ctx, text); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.asked.Load(); n != 1 {
			t.Errorf("asked the store %d times within a second, want once", n)
		}
		k := admin
		k.Hash, k.RevokedAt = auth.HashToken(text), time.Now()
		s.set(k)
		time.Sleep(time.Second)
		if _, err := a.Authenticate(ctx, text); !errors.Is(err, auth.ErrBadToken) {
			t.Errorf("a second after it was revoked: %v", err)
		}

		k.RevokedAt, k.ExpiresAt = time.Time{}, time.Now().Add(300*time.Millisecond)
		s.set(k)
		if _, err := a.Authenticate(ctx, text); err != nil {
			t.Errorf("before it expires: %v", err)
		}
		time.Sleep(300 * time.Millisecond)
		if _, err := a.Authenticate(ctx, text); !errors.Is(err, auth.ErrBadToken) {
			t.Errorf("after it expired: %v", err)
		}
	})
}

func TestManyTokensAtOnce(t *testing.T) {
	s := &tokens{}
	a := auth.Authenticator{Store: s}
	texts := make([]string, 6000) // more than are remembered
	for i := range texts {
		k := admin
		k.ID = fmt.Sprint(i)
		texts[i] = s.add(k)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, text := range texts {
				p, err := a.Authenticate(ctx, text)
				if err != nil || p.TokenID != fmt.Sprint(i) {
					t.Errorf("token %d is %q: %v", i, p.TokenID, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestWithTheStore(t *testing.T) {
	s, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "tally.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a := auth.Authenticator{Store: s}
	text, hash := auth.NewToken()
	if _, err := a.Authenticate(ctx, text.Reveal()); !errors.Is(err, auth.ErrBadToken) {
		t.Fatalf("before it was created: %v", err)
	}
	k := admin
	k.Hash, k.CreatedAt = hash, time.Now()
	if err := s.CreateToken(ctx, k); err != nil {
		t.Fatal(err)
	}
	p, err := a.Authenticate(ctx, text.Reveal()) // works at once
	if err != nil || p.TokenID != admin.ID || p.AccountID != admin.AccountID {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc ": "abc",
		"": "", "Bearer": "", "Bearer ": "", "Basic abc": "", "abc": "", "Bearerabc": "",
	} {
		if got := auth.Bearer(header); got != want {
			t.Errorf("%q holds %q, want %q", header, got, want)
		}
	}
}

func TestNewToken(t *testing.T) {
	text, hash := auth.NewToken()
	other, _ := auth.NewToken()
	if len(text.Reveal()) != len("tally_")+32 || text == other || hash != auth.HashToken(text.Reveal()) {
		t.Errorf("token of %d characters", len(text.Reveal()))
	}
	if fmt.Sprint(text) != "REDACTED" {
		t.Error("a token prints itself")
	}
}

func TestAuthenticateAllocatesNothing(t *testing.T) {
	s := &tokens{}
	a := auth.Authenticator{Store: s}
	text := s.add(admin)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := a.Authenticate(ctx, text); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a known token, want none", n)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	s := &tokens{}
	a := auth.Authenticator{Store: s}
	text := s.add(admin)
	b.ReportAllocs()
	for b.Loop() {
		p, err := a.Authenticate(ctx, text)
		if err != nil || !p.Allows(livestream.Scope{AccountID: "account", AppID: "app"}, auth.Read) {
			b.Fatal(err)
		}
	}
}
