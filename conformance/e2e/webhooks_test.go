package e2e

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/cloudflare-go/v7"
	"github.com/cloudflare/cloudflare-go/v7/realtime_kit"
)

// A told is one delivery as it arrived.
type told struct {
	header http.Header
	body   []byte
	event  struct {
		Event, StreamID, Status, PlaybackURL, IngestServer, StreamKey, SessionID string
		ManualIngest                                                             bool
		Seq                                                                      int64
	}
}

// A receiver takes deliveries, except the first of all, which it is too busy for.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	all []told
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, rq *http.Request) {
		body, err := io.ReadAll(rq.Body)
		if err != nil {
			return
		}
		one := told{header: rq.Header, body: body}
		if err := json.Unmarshal(body, &one.event); err != nil {
			t.Errorf("delivery: %v: %q", err, body)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.all = append(r.all, one); len(r.all) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// wait returns the first n deliveries.
func (r *receiver) wait(t *testing.T, n int) []told {
	t.Helper()
	var got []told
	waitFor(t, "deliveries", 20*time.Second, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		got = r.all[:min(n, len(r.all))]
		return len(got) == n
	})
	return got
}

// TestWebhooks: a receiver is told LIVE and OFFLINE, in order, signed, again
// when it was busy, and nothing of a reconnect; the analytics know the sessions
// afterwards.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	in := newReceiver(t)
	s := serve(t, "--webhook-allow", "127.0.0.0/8")
	hook, err := s.client.RealtimeKit.Webhooks.NewWebhook(t.Context(), s.target.App, realtime_kit.WebhookNewWebhookParams{
		AccountID: cloudflare.F(s.target.Account), Name: cloudflare.F("here"), URL: cloudflare.F(in.URL + "/in?x=1"),
		Events: cloudflare.F([]realtime_kit.WebhookNewWebhookParamsEvent{realtime_kit.WebhookNewWebhookParamsEventLivestreamingStatusUpdate}),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := s.create()
	encoder := b.publish(60)
	b.await("LIVE", 15*time.Second)
	session := b.read()["active.session.id"].(string)
	first := in.wait(t, 2) // refused once
	encoder.Process.Signal(syscall.SIGKILL)
	b.await("LIVE RECONNECTING", 5*time.Second)
	b.publish(60)
	b.await("LIVE", 15*time.Second)
	time.Sleep(2 * time.Second) // on air again for a while
	b.must("POST livestreams/"+b.id+"/stop", nil)

	c := s.create() // another broadcast, with a clean end
	c.publish(5)
	c.await("LIVE", 15*time.Second)
	c.await("404", 15*time.Second)
	all := in.wait(t, 5)

	if again := all[1]; again.header.Get("rtk-uuid") != first[0].header.Get("rtk-uuid") || string(again.body) != string(first[0].body) {
		t.Errorf("the second try is not the first: %q, %q", first[0].body, again.body)
	}
	key := s.publicKey()
	for i, want := range []struct {
		b      *broadcast
		status string
	}{{b, "LIVE"}, {b, "OFFLINE"}, {c, "LIVE"}, {c, "OFFLINE"}} {
		got := all[i+1]
		e := got.event
		if e.Event != "livestreaming.statusUpdate" || e.StreamID != want.b.id || e.Status != want.status || e.StreamKey != want.b.key ||
			e.PlaybackURL != want.b.playback || e.IngestServer != "rtmp://"+s.rtmp+"/live/" || !e.ManualIngest {
			t.Errorf("delivery %d is %s, want %s of %s", i+1, got.body, want.status, want.b.id)
		}
		if i < 2 && e.SessionID != session || i > 0 && e.Seq <= all[i].event.Seq {
			t.Errorf("delivery %d is of session %s with number %d", i+1, e.SessionID, e.Seq)
		}
		if got.header.Get("rtk-webhook-id") != hook.Data.ID || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("delivery %d has headers %v", i+1, got.header)
		}
		sig, err := base64.StdEncoding.DecodeString(got.header.Get("rtk-signature"))
		sum := sha256.Sum256(got.body)
		if err != nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) != nil {
			t.Errorf("delivery %d: rtk-signature does not verify (%v)", i+1, err)
		}
	}
	s.checkAnalytics(b, c)
}

// publicKey is fetched as a receiver does.
func (s *server) publicKey() *rsa.PublicKey {
	s.t.Helper()
	var answer struct {
		Data struct{ PublicKey string }
	}
	if err := json.Unmarshal([]byte(get(s.t, "http://"+s.http+"/.well-known/webhooks.json")), &answer); err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(answer.Data.PublicKey))
	if block == nil {
		s.t.Fatalf("no PEM: %q", answer.Data.PublicKey)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

// checkAnalytics adds up the sessions of these livestreams, which are all there
// were, and compares.
func (s *server) checkAnalytics(bs ...*broadcast) {
	s.t.Helper()
	live := s.client.RealtimeKit.Livestreams
	account := cloudflare.F(s.target.Account)
	var ingest int64
	for _, b := range bs {
		one, err := live.GetLivestreamSessionForLivestreamID(s.t.Context(), s.target.App, b.id,
			realtime_kit.LivestreamGetLivestreamSessionForLivestreamIDParams{AccountID: account})
		if err != nil {
			s.t.Fatal(err)
		}
		ingest += int64(one.Data.Session.IngestSeconds)
	}
	from, to := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Minute).Unix()
	sum, err := live.GetLivestreamAnalyticsComplete(s.t.Context(), s.target.App, realtime_kit.LivestreamGetLivestreamAnalyticsCompleteParams{
		AccountID: account, StartTime: cloudflare.F(from), EndTime: cloudflare.F(to)})
	if err != nil {
		s.t.Fatal(err)
	}
	// Each session is rounded by itself, the sum as a whole.
	if off := sum.Data.TotalIngestSeconds - ingest; sum.Data.Count != int64(len(bs)) || off < -1 || off > 1 || ingest < 5 {
		s.t.Errorf("analytics count %d livestreams with %d s, the sessions add up to %d s of %d", sum.Data.Count, sum.Data.TotalIngestSeconds, ingest, len(bs))
	}
	days, err := live.GetLivestreamAnalyticsDaywise(s.t.Context(), s.target.App, realtime_kit.LivestreamGetLivestreamAnalyticsDaywiseParams{
		AccountID: account, StartTime: cloudflare.F(from), EndTime: cloudflare.F(to)})
	if err != nil {
		s.t.Fatal(err)
	}
	var sessions, seconds int64
	var dates []string
	for _, day := range days.Data {
		sessions, seconds, dates = sessions+day.Count, seconds+day.TotalIngestSeconds, append(dates, day.Date)
	}
	if off := seconds - ingest; sessions != int64(len(bs)) || off < -1 || off > 1 || !strings.Contains(strings.Join(dates, " "), time.Now().UTC().Format(time.DateOnly)) {
		s.t.Errorf("by day there are %d sessions with %d s on %v", sessions, seconds, dates)
	}
}
