package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/cloudflare/cloudflare-go/v7"
	"github.com/cloudflare/cloudflare-go/v7/realtime_kit"

	"tally/conformance"
	v7 "tally/conformance/v7"
)

// ask sends a plain request below the app through cloudflare-go v7, which has
// no method for what is only Tally's.
func (s *server) ask(route string, params map[string]any) conformance.Answer {
	s.t.Helper()
	a, err := v7.New().Call(s.t.Context(), s.target, conformance.Call{Method: route, Params: params})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// must is ask that must succeed.
func (s *server) must(route string, params map[string]any) conformance.Reading {
	s.t.Helper()
	a := s.ask(route, params)
	if a.Refusal != nil {
		s.t.Fatalf("%s: %+v", route, *a.Refusal)
	}
	return a.Reading
}

// exits returns a channel on which the encoder's end comes.
func exits(encoder *exec.Cmd) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- encoder.Wait() }()
	return ended
}

// cut fails when the encoder is not gone and the session not closed within a
// second of the call that ends it.
func (b *broadcast) cut(what string, ended <-chan error, call func()) {
	b.T.Helper()
	began := time.Now()
	call()
	answered := time.Since(began)
	if got := b.status(); got != "404" {
		b.T.Errorf("%s: the active session is %q right after the answer, want 404", what, got)
	}
	select {
	case err := <-ended:
		if err == nil {
			b.T.Errorf("%s: ffmpeg ended as if nothing had happened", what)
		}
		b.T.Logf("%s: answered after %v, ffmpeg gone after %v", what, answered.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	case <-time.After(time.Until(began.Add(time.Second))):
		b.T.Errorf("%s: a second later ffmpeg still publishes", what)
	}
}

// refused fails when an encoder with this key gets on air.
func (b *broadcast) refused(what string) {
	b.T.Helper()
	select {
	case err := <-exits(b.FFmpeg(10)):
		if err == nil {
			b.T.Errorf("%s: ffmpeg published to its end", what)
		}
	case <-time.After(8 * time.Second):
		b.T.Errorf("%s: ffmpeg is not refused", what)
	}
	if got := b.status(); got != "404" {
		b.T.Errorf("%s: the active session is %q, want 404", what, got)
	}
}

// TestSwitches: disable and key reset cut who is on air within a second; enable
// and the new key let them on again; what is on air is not deleted.
func TestSwitches(t *testing.T) {
	t.Parallel()
	b := serve(t).create()
	path := "livestreams/" + b.ID

	ended := exits(b.FFmpeg(60))
	b.await("LIVE", 15*time.Second)
	b.cut("disable", ended, func() {
		if got := b.s.must("PUT "+path+"/disable", nil)["disabled"]; got != true && got != "true" {
			t.Errorf("disable answers disabled = %v", got)
		}
	})
	if r := b.read(); r["by_id.livestream.disabled"] != "true" || r["by_id.livestream.status"] != "IDLE" || r["by_id.session.err_message"] != "" {
		t.Errorf("after disable: disabled %v, status %v, err_message %q", r["by_id.livestream.disabled"], r["by_id.livestream.status"], r["by_id.session.err_message"])
	}
	b.refused("while disabled")

	b.s.must("PUT "+path+"/enable", nil)
	ended = exits(b.FFmpeg(60))
	b.await("LIVE", 15*time.Second)
	if a := b.s.ask("DELETE "+path, nil); a.Refusal == nil || a.Refusal.Status != http.StatusBadRequest {
		t.Errorf("deleting what is on air: %+v", a.Refusal)
	}
	if got := b.status(); got != "LIVE" {
		t.Errorf("after the refused deletion: %q", got)
	}

	old := b.Key
	b.cut("reset-stream-key", ended, func() {
		b.Key = b.s.must("POST "+path+"/reset-stream-key", nil)["stream_key"].(string)
	})
	if b.Key == old || b.read()["by_id.livestream.stream_key"] != b.Key {
		t.Error("the key did not change")
	}
	fresh := b.Key
	b.Key = old
	b.refused("with the old key")
	b.Key = fresh
	ended = exits(b.FFmpeg(60))
	b.await("LIVE", 15*time.Second)
	session := b.read()["active.session.id"].(string)
	b.cut("stop", ended, func() { b.s.must("POST "+path+"/stop", nil) })
	b.deleted(path, session)
}

// deleted deletes the livestream: no look-up finds it, but its session stays.
func (b *broadcast) deleted(path, session string) {
	b.T.Helper()
	b.s.must("DELETE "+path, nil)
	_, err := b.s.client.RealtimeKit.Livestreams.GetLivestreamSessionForLivestreamID(b.T.Context(), b.s.target.App, b.ID,
		realtime_kit.LivestreamGetLivestreamSessionForLivestreamIDParams{AccountID: cloudflare.F(b.s.target.Account)})
	if gone, ok := errors.AsType[*cloudflare.Error](err); !ok || gone.StatusCode != http.StatusNotFound {
		b.T.Errorf("the deleted livestream: %v", err)
	}
	kept, err := b.s.client.RealtimeKit.Livestreams.GetLivestreamSessionDetailsForSessionID(b.T.Context(), b.s.target.App, session,
		realtime_kit.LivestreamGetLivestreamSessionDetailsForSessionIDParams{AccountID: cloudflare.F(b.s.target.Account)})
	if err != nil || kept.Data.LivestreamID != b.ID {
		b.T.Errorf("the session of the deleted livestream: %+v, %v", kept, err)
	}
}
