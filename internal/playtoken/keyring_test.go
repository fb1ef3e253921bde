package playtoken_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tally/internal/livestream"
	"tally/internal/playtoken"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// an app's keys, as a store has them.
type stored struct {
	mu   sync.Mutex
	keys []livestream.PlaybackKey
}

func (s *stored) PlaybackKeys(_ context.Context, sc livestream.Scope) ([]livestream.PlaybackKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var of []livestream.PlaybackKey
	for _, k := range s.keys {
		if k.Scope == sc {
			of = append(of, k)
		}
	}
	return of, nil
}

func (s *stored) set(keys ...livestream.PlaybackKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// A site answers with a JWKS, and counts.
type site struct {
	mu    sync.Mutex
	body  string
	asked int
	code  int
	slow  time.Duration
}

func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked++
	body, code, slow := s.body, s.code, s.slow
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

func (s *site) now(code int, body string, slow time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.body, s.slow = code, body, slow
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

var (
	mine   = livestream.Scope{AccountID: "a", AppID: "app"}
	others = livestream.Scope{AccountID: "a", AppID: "other"}
)

func keyring(s *stored, web *site) *playtoken.Keyring {
	return &playtoken.Keyring{Store: s, Client: &http.Client{Transport: web}, Log: slog.New(slog.DiscardHandler)}
}

// TestKeysOfAnotherApp: a token is good for the app alone whose key signed it,
// and a key that was deleted is none a second later.
func TestKeysOfAnotherApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		ring := keyring(s, nil)
		s.set(livestream.PlaybackKey{Scope: mine, KID: "k", Algorithm: playtoken.HS256, Secret: shown})
		text := token(headHS, claims(""), hs(shown.Reveal()))
		if _, err := ring.Verify(t.Context(), mine, text, now); err != nil {
			t.Error(err)
		}
		if _, err := ring.Verify(t.Context(), others, text, now); !errors.Is(err, playtoken.ErrKey) {
			t.Errorf("another app's: %v", err)
		}
		s.set()
		time.Sleep(time.Second)
		if _, err := ring.Verify(t.Context(), mine, text, now); !errors.Is(err, playtoken.ErrKey) {
			t.Errorf("of a deleted key: %v", err)
		}
		s.set(livestream.PlaybackKey{Scope: mine, KID: "k", Algorithm: playtoken.HS256, Secret: shown})
		ring.Forget(mine)
		if _, err := ring.Verify(t.Context(), mine, text, now); err != nil {
			t.Errorf("of a new key: %v", err)
		}
	})
}

// TestJWKSByAddress: fetched when a token needs it, used for five minutes, asked
// for an unknown kid each half minute at most, and used for a day while it is away.
func TestJWKSByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, web := &stored{}, &site{}
		ring := keyring(s, web)
		s.set(livestream.PlaybackKey{Scope: mine, Algorithm: playtoken.RS256, URL: "https://idp.example/jwks.json"},
			livestream.PlaybackKey{Scope: mine, KID: "k", Algorithm: playtoken.HS256, Secret: shown})
		text, unknown := token(headRS, claims(""), rs(rsaKey())), token(`{"alg":"RS256","kid":"x"}`, claims(""), rs(rsaKey()))
		check := func(what, text string, want error, asked int) {
			t.Helper()
			if _, err := ring.Verify(t.Context(), mine, text, now); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
			if n := web.count(); n != asked {
				t.Errorf("%s: %d fetches, want %d", what, n, asked)
			}
		}
		web.now(500, "", 0)
		check("a secret needs no fetch", token(headHS, claims(""), hs(shown.Reveal())), nil, 0)
		check("it is away", text, playtoken.ErrUnavailable, 1)
		check("it is not asked at once again", text, playtoken.ErrUnavailable, 1)
		time.Sleep(30 * time.Second)
		web.now(200, `{"keys":[`+jwkOf("r", &rsaKey().PublicKey)+`]}`, 4*time.Second)
		var wg sync.WaitGroup
		for range 50 { // who come together wait for one fetch
			wg.Go(func() { check("it is there", text, nil, 2) })
		}
		wg.Wait()
		check("unknown kid", unknown, playtoken.ErrKey, 2)
		time.Sleep(30 * time.Second)
		for range 50 {
			check("unknown kid, later", unknown, playtoken.ErrKey, 3)
		}
		web.now(200, strings.Repeat("x", 1<<20), 0)
		time.Sleep(6 * time.Minute)
		check("a document that is too large changes nothing", text, nil, 4)
		web.now(200, "{}", time.Hour)
		time.Sleep(time.Minute)
		check("a site that does not answer is waited for no longer than 5 s", text, nil, 5)
		time.Sleep(25 * time.Hour)
		check("after a day", text, playtoken.ErrUnavailable, 6)
		web.now(200, `{"keys":[`+jwkOf("new", &rsaKey().PublicKey)+`]}`, 0)
		time.Sleep(time.Minute)
		check("the key was taken out", text, playtoken.ErrKey, 7)

		left, leave := context.WithCancel(t.Context())
		leave()
		time.Sleep(10 * time.Minute)
		if _, err := ring.Verify(left, mine, text, now); err == nil {
			t.Error("good")
		}
	})
}
