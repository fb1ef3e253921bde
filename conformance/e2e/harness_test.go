// Package e2e drives the built binary as its users do: ffmpeg publishes, the
// official clients ask, ffprobe and a real browser watch. Nothing here knows
// the server's insides.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/cloudflare-go/v7"
	"github.com/cloudflare/cloudflare-go/v7/option"
	"github.com/cloudflare/cloudflare-go/v7/realtime_kit"

	"tally/conformance"
	v7 "tally/conformance/v7"
	"tally/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// A server is one that the official client is pointed at.
type server struct {
	*servertest.Server
	t      *testing.T
	target conformance.Target
	client *cloudflare.Client
}

func serve(t *testing.T, flags ...string) *server {
	s := &server{Server: servertest.Start(t, flags...), t: t}
	s.target = conformance.Target{Base: s.API, Account: s.Account, App: s.App, Token: s.Token}
	s.client = cloudflare.NewClient(option.WithBaseURL(s.API), option.WithAPIToken(s.Token))
	return s
}

// A broadcast is one livestream of a server, asked about through the official
// client.
type broadcast struct {
	*servertest.Broadcast
	s *server
}

// create makes a livestream through the official client.
func (s *server) create() *broadcast {
	s.t.Helper()
	made, err := s.client.RealtimeKit.Livestreams.NewIndependentLivestream(s.t.Context(), s.target.App,
		realtime_kit.LivestreamNewIndependentLivestreamParams{AccountID: cloudflare.F(s.target.Account), Name: cloudflare.F("made by a client")})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.broadcast(servertest.Livestream{ID: made.Data.ID, StreamKey: made.Data.StreamKey, PlaybackURL: made.Data.PlaybackURL})
}

func (s *server) broadcast(l servertest.Livestream) *broadcast {
	s.target.Livestream = l.ID
	return &broadcast{s.Broadcast(s.t, l), s}
}

// read asks with cloudflare-go v7.
func (b *broadcast) read() conformance.Reading {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := conformance.ReadAll(ctx, v7.New(), b.s.target)
	if err != nil {
		b.T.Fatal(err)
	}
	return r
}

// status is the active session's status and err_message's code, or "404".
func (b *broadcast) status() string {
	b.T.Helper()
	answer, err := b.s.client.RealtimeKit.Livestreams.GetActiveLivestreamsForLivestreamID(b.T.Context(), b.s.target.App, b.ID,
		realtime_kit.LivestreamGetActiveLivestreamsForLivestreamIDParams{AccountID: cloudflare.F(b.s.target.Account)})
	if refused, ok := errors.AsType[*cloudflare.Error](err); ok {
		return fmt.Sprint(refused.StatusCode)
	}
	if err != nil {
		b.T.Fatal(err)
	}
	code, _, _ := strings.Cut(answer.Data.Session.ErrMessage, ":")
	return strings.TrimSpace(string(answer.Data.Livestream.Status) + " " + code)
}

// await waits until the active session shows want.
func (b *broadcast) await(want string, limit time.Duration) {
	b.T.Helper()
	var got string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got = b.status(); got == want {
			return
		}
	}
	b.T.Fatalf("after %v the active session is %q, want %q", limit, got, want)
}
