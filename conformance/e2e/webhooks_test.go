package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/cloudflare-go/v7"
	"github.com/cloudflare/cloudflare-go/v7/realtime_kit"

	"tally/internal/servertest"
)

// TestWebhooks: a receiver is told LIVE and OFFLINE, in order, signed, again
// when it was busy, and nothing of a reconnect; the analytics know the sessions
// afterwards.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	in := servertest.NewReceiver(t)
	in.Answer = func(n int) int {
		if n == 0 {
			return http.StatusServiceUnavailable // too busy for the first of all
		}
		return http.StatusOK
	}
	s := serve(t, servertest.AllowReceiver)
	hook, err := s.client.RealtimeKit.Webhooks.NewWebhook(t.Context(), s.target.App, realtime_kit.WebhookNewWebhookParams{
		AccountID: cloudflare.F(s.target.Account), Name: cloudflare.F("here"), URL: cloudflare.F(in.URL + "/in?x=1"),
		Events: cloudflare.F([]realtime_kit.WebhookNewWebhookParamsEvent{realtime_kit.WebhookNewWebhookParamsEventLivestreamingStatusUpdate}),
	})
	if err != nil {
		t.Fatal(err)
	}
	in.Verify(s.Server, "")
	b := s.create()
	encoder := b.FFmpeg(60)
	b.await("LIVE", 15*time.Second)
	session := b.read()["active.session.id"].(string)
	first := in.Wait("", 2, 20*time.Second) // refused once
	encoder.Process.Signal(syscall.SIGKILL)
	b.await("LIVE RECONNECTING", 5*time.Second)
	b.FFmpeg(60)
	b.await("LIVE", 15*time.Second)
	time.Sleep(2 * time.Second) // on air again for a while
	b.s.must("POST livestreams/"+b.ID+"/stop", nil)

	c := s.create() // another broadcast, with a clean end
	c.FFmpeg(5)
	c.await("LIVE", 15*time.Second)
	c.await("404", 15*time.Second)
	all := in.Wait("", 5, 20*time.Second)

	if again := all[1]; again.Header.Get("rtk-uuid") != first[0].Header.Get("rtk-uuid") || string(again.Body) != string(first[0].Body) {
		t.Errorf("the second try is not the first: %q, %q", first[0].Body, again.Body)
	}
	for i, want := range []struct {
		b      *broadcast
		status string
	}{{b, "LIVE"}, {b, "OFFLINE"}, {c, "LIVE"}, {c, "OFFLINE"}} {
		got := all[i+1]
		e := got.Event
		if e.Event != "livestreaming.statusUpdate" || e.StreamID != want.b.ID || e.Status != want.status || e.StreamKey != want.b.Key ||
			e.PlaybackURL != want.b.PlaybackURL || e.IngestServer != "rtmp://"+s.RTMP+"/live/" || !e.ManualIngest {
			t.Errorf("delivery %d is %s, want %s of %s", i+1, got.Body, want.status, want.b.ID)
		}
		if i < 2 && e.SessionID != session || i > 0 && e.Seq <= all[i].Event.Seq {
			t.Errorf("delivery %d is of session %s with number %d", i+1, e.SessionID, e.Seq)
		}
		if got.Header.Get("rtk-webhook-id") != hook.Data.ID || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("delivery %d has headers %v", i+1, got.Header)
		}
	}
	s.checkAnalytics(b, c)
}

// checkAnalytics adds up the sessions of these livestreams, which are all there
// were, and compares.
func (s *server) checkAnalytics(bs ...*broadcast) {
	s.t.Helper()
	live := s.client.RealtimeKit.Livestreams
	account := cloudflare.F(s.target.Account)
	var ingest int64
	for _, b := range bs {
		one, err := live.GetLivestreamSessionForLivestreamID(s.t.Context(), s.target.App, b.ID,
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
