package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/auth"
)

// running starts Run in a bubble and returns what stops it and waits.
func running(a *auth.Authenticator, log *strings.Builder) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Run(ctx, slog.New(slog.NewTextHandler(log, nil)))
	}()
	return func() { cancel(); <-ended }
}

func TestLastUseIsWrittenOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := &tokens{}, &strings.Builder{}
		a := &auth.Authenticator{Store: s}
		stop := running(a, log)
		busy, once := admin, admin
		busy.ID, once.ID = "busy", "once"
		busyText, onceText := s.add(busy), s.add(once)
		var last time.Time
		for i := range 1500 { // 150 seconds
			for _, text := range []string{busyText, onceText}[:1+(1499-i)/1499] { // the second in the first round only
				if _, err := a.Authenticate(ctx, text); err != nil {
					t.Fatal(err)
				}
			}
			last = time.Now()
			time.Sleep(100 * time.Millisecond)
		}
		stop()
		if len(s.used) != 3 { // after 60 s, 120 s, and at the end
			t.Fatalf("%d writes, want 3: %v", len(s.used), s.used)
		}
		if len(s.used[0]) != 2 || len(s.used[1]) != 1 || len(s.used[2]) != 1 {
			t.Errorf("tokens in each write: %v", s.used)
		}
		if d := last.Sub(s.used[2]["busy"]); d < 0 || d > time.Second {
			t.Errorf("the last use noted is %v before the last use, want at most a second", d)
		}
		if log.Len() > 0 {
			t.Error(log)
		}
	})
}

func TestLastUseIsKeptWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := &tokens{}, &strings.Builder{}
		a := &auth.Authenticator{Store: s}
		stop := running(a, log)
		text := s.add(admin)
		expired, revoked := admin, admin
		expired.ID, expired.ExpiresAt = "expired", time.Now().Add(-time.Second)
		revoked.ID, revoked.RevokedAt = "revoked", time.Now().Add(-time.Second)
		for _, text := range []string{text, s.add(expired), s.add(revoked), "unknown"} {
			a.Authenticate(ctx, text)
		}
		first := time.Now()
		s.mu.Lock()
		s.fails = errors.New("disk full")
		s.mu.Unlock()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "disk full") || len(s.used) != 0 {
			t.Errorf("log: %s", log)
		}
		s.mu.Lock()
		s.fails = nil
		s.mu.Unlock()
		time.Sleep(time.Minute)
		stop()
		if len(s.used) != 1 || len(s.used[0]) != 1 || !s.used[0][admin.ID].Equal(first) {
			t.Errorf("written: %v, want %s at %v", s.used, admin.ID, first)
		}
		if strings.Contains(log.String(), text) {
			t.Error("the log holds a token")
		}
	})
}

// TestLastUseIsBounded uses more tokens than are remembered, also while a write
// is under way that fails.
func TestLastUseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{}
		a := &auth.Authenticator{Store: s}
		use := func(prefix string) {
			for i := range 5000 {
				k := admin
				k.ID = prefix + fmt.Sprint(i)
				if _, err := a.Authenticate(ctx, s.add(k)); err != nil {
					t.Error(err)
				}
			}
		}
		fail := func(err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fails = err
		}
		s.during = func() {
			use("meanwhile")
			fail(errors.New("disk full"))
		}
		stop := running(a, &strings.Builder{})
		use("first")
		time.Sleep(61 * time.Second)
		synctest.Wait()
		fail(nil)
		s.during = nil
		stop()
		if len(s.used) != 1 || len(s.used[0]) != 4096 {
			t.Errorf("%d writes, the first of %d tokens", len(s.used), len(s.used[0]))
		}
	})
}
