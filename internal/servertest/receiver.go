package servertest

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// AllowReceiver lets webhooks of a server point at a Receiver.
const AllowReceiver = "--webhook-allow=127.0.0.0/8"

// A Told is one delivery as it arrived.
type Told struct {
	Header http.Header
	Body   []byte
	At     time.Time // arrival
	Event  struct {
		Event, StreamID, Status, Health, PlaybackURL, IngestServer, StreamKey, SessionID, ErrMessage string

		ManualIngest   bool
		At             time.Time
		Seq, StreamSeq int64
	}
}

// A Receiver takes deliveries over HTTP.
type Receiver struct {
	URL string
	// Answer says what status to answer the n-th request with, from 0; nil: 200.
	Answer func(n int) int

	t      testing.TB
	mu     sync.Mutex
	all    []Told
	secret string         // of the webhook; "": not checked
	key    *rsa.PublicKey // of the server; nil: nothing is checked
}

// NewReceiver starts a receiver that ends with the test.
func NewReceiver(t testing.TB) *Receiver {
	r := &Receiver{t: t}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.URL = s.URL
	return r
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, rq *http.Request) {
	body, err := io.ReadAll(rq.Body)
	if err != nil {
		return // the server died amid it
	}
	one := Told{Header: rq.Header, Body: body, At: time.Now()}
	if err := json.Unmarshal(body, &one.Event); err != nil {
		r.t.Errorf("delivery: %v: %q", err, body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key != nil {
		if err := r.verify(one); err != nil {
			r.t.Errorf("delivery %s: %v", body, err)
		}
	}
	r.all = append(r.all, one)
	if r.Answer != nil {
		w.WriteHeader(r.Answer(len(r.all) - 1))
	}
}

// verify checks both signatures. (docs/webhooks.md)
func (r *Receiver) verify(one Told) error {
	sig, err := base64.StdEncoding.DecodeString(one.Header.Get("rtk-signature"))
	if err != nil {
		return fmt.Errorf("rtk-signature: %w", err)
	}
	sum := sha256.Sum256(one.Body)
	if err := rsa.VerifyPKCS1v15(r.key, crypto.SHA256, sum[:], sig); err != nil {
		return fmt.Errorf("rtk-signature: %w", err)
	}
	if r.secret == "" {
		return nil
	}
	at, v1, _ := strings.Cut(strings.TrimPrefix(one.Header.Get("tally-signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte(r.secret))
	fmt.Fprintf(mac, "%s.%s", at, one.Body)
	if !hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(v1)) {
		return errors.New("tally-signature does not verify")
	}
	return nil
}

// Subscribe makes a webhook of the server's app that tells r of these events.
// From then on every delivery's signatures are checked. The server needs
// AllowReceiver.
func (r *Receiver) Subscribe(s *Server, events ...string) {
	r.t.Helper()
	var made struct{ Secret string }
	a := s.Call("POST", "/webhooks", map[string]any{"name": "test", "url": r.URL + "/in?x=1", "events": events})
	if a.Status != http.StatusCreated {
		r.t.Fatalf("create webhook: %d %s", a.Status, a.Body)
	}
	a.Into(r.t, &made)
	r.Verify(s, made.Secret)
}

// Verify checks the signatures of every delivery from now on: that of the
// server's key, and that of the webhook's secret unless it is "".
func (r *Receiver) Verify(s *Server, secret string) {
	r.t.Helper()
	key, err := s.PublicKey()
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret, r.key = secret, key
}

// PublicKey fetches what signs deliveries, as a receiver does.
func (s *Server) PublicKey() (*rsa.PublicKey, error) {
	status, text := s.Get("/.well-known/webhooks.json")
	var answer struct{ Data struct{ PublicKey string } }
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("webhook key: %d %q: %w", status, text, err)
	}
	block, _ := pem.Decode([]byte(answer.Data.PublicKey))
	if block == nil {
		return nil, fmt.Errorf("webhook key: no PEM: %q", answer.Data.PublicKey)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("webhook key: %w", err)
	}
	rsaKey, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("webhook key: a %T, want RSA", key)
	}
	return rsaKey, nil
}

// All returns the deliveries of one livestream in the order of arrival; "": of all.
func (r *Receiver) All(livestream string) (all []Told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		if livestream == "" || one.Event.StreamID == livestream {
			all = append(all, one)
		}
	}
	return all
}

// Wait waits until there are n deliveries of a livestream ("": of all), and
// returns the first n.
func (r *Receiver) Wait(livestream string, n int, limit time.Duration) (all []Told) {
	r.t.Helper()
	Eventually(r.t, fmt.Sprintf("%d deliveries", n), limit, func() bool {
		all = r.All(livestream)
		return len(all) >= n
	})
	return all[:n]
}
