// Package storetest is the suite that every livestream.Store must pass.
//
// An engine's test calls [Run], and [Crash] from a test function of its own.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// Open opens the store that lives at place. Two stores opened one after the
// other at the same place hold the same data; places that differ share none.
// The store is closed by the suite, or else by t's cleanup: closing twice is
// harmless.
type Open func(t testing.TB, place string) livestream.Store

// Run runs the whole suite but the crash test.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"livestreams are found by each of their names", testLookups},
		{"what is foreign answers like what is unknown", testScopes},
		{"what must be unique is refused twice", testDuplicates},
		{"lists are paged, sorted and counted", testPages},
		{"lists are filtered", testFilters},
		{"status filter agrees with status", testStatusFilter},
		{"meetings apps tokens and secrets", testOthers},
		{"apps are listed", testApps},
		{"apps are changed", testUpdateApp},
		{"readers never see an app's older name", testAppReaders},
		{"meetings are listed", testMeetings},
		{"meetings are changed", testUpdateMeeting},
		{"sums over sessions", testUsage},
		{"tokens are found and listed", testTokens},
		{"last use only moves on", testTouchTokens},
		{"an account keeps a token that can manage tokens", testRevokeToken},
		{"tokens that revoke each other", testRevokeEachOther},
		{"what a request created is found again", testCreations},
		{"equal requests are told apart", testCreationsApart},
		{"advance is Apply with a memory", testAdvanceModel},
		{"refused events change nothing", testRefusals},
		{"a new key replaces the old one at once", testResetKey},
		{"what is deleted is found by nothing", testDelete},
		{"timeline keeps its order", testTimeline},
		{"checkpoints only raise", testCheckpointRises},
		{"stale checkpoints are skipped", testCheckpointStale},
		{"many checkpoints at once", testManyCheckpoints},
		{"the longest GOP is the newest session's", testLongestGOP},
		{"windows count once", testWindowsOnce},
		{"many windows add up", testManyWindows},
		{"windows of three kinds", testWindowKinds},
		{"what the encoder sends is remembered", testWords},
		{"intervals begin and end", testIntervals},
		{"facts are written once", testFacts},
		{"viewers are rows whose figures rise", testViewings},
		{"an audit reads one moment", testAudit},
		{"webhooks", testWebhooks},
		{"as many webhooks as there may be", testTooManyWebhooks},
		{"events are told as they happen", testNotices},
		{"deliveries are queued in order", testQueue},
		{"replay", testReplay},
		{"whoever delivers is woken", testWake},
		{"old events are dropped", testDropEvents},
		{"keys of any length are kept", testKeep},
		{"playback keys", testPlaybackKeys},
		{"revocations", testRevocations},
		{"as many revocations as there may be", testRevocationRoom},
		{"whoever follows access is woken", testAccessWake},
		{"64 goroutines on one livestream", testOneLivestream},
		{"64 goroutines on many livestreams", testManyLivestreams},
		{"readers never see seconds decrease", testMonotonicReads},
		{"all of it is there after a reopen", testReopen},
		{"a cancelled call", testCancelled},
		{"a closed store", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, newFixture(t, open)) })
	}
}

var (
	ctx   = context.Background()
	start = time.Now().UTC().Truncate(time.Millisecond) // not long ago: old facts are dropped
	here  = livestream.Scope{AccountID: "account-1", AppID: "app-1"}
)

// at is a label so many milliseconds after start.
func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

type fixture struct {
	livestream.Store
	open  Open
	place string
}

func newFixture(t *testing.T, open Open) *fixture {
	f := &fixture{open: open, place: t.TempDir()}
	f.Store = open(t, f.place)
	return f
}

// reopen closes the store and opens it again at the same place.
func (f *fixture) reopen(t *testing.T) {
	t.Helper()
	must(t, f.Close())
	f.Store = f.open(t, f.place)
}

func newLivestream(sc livestream.Scope, created time.Time) livestream.Livestream {
	return livestream.Livestream{
		Scope: sc, ID: livestream.NewUUID(), Name: "morning", HasName: true,
		StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(),
		CreatedAt: created, UpdatedAt: created, Settings: livestream.DefaultSettings,
	}
}

func (f *fixture) create(t *testing.T) livestream.Livestream {
	t.Helper()
	l := newLivestream(here, start)
	must(t, f.CreateLivestream(ctx, l))
	return l
}

// undamped makes a livestream whose key is never refused for a while.
func (f *fixture) undamped(t *testing.T) livestream.Livestream {
	t.Helper()
	l := newLivestream(here, start)
	l.Settings.Damping = 0
	must(t, f.CreateLivestream(ctx, l))
	return l
}

func publish(l livestream.Livestream, when time.Time) livestream.Event {
	return livestream.Event{
		Kind: livestream.Publish, At: when, NewID: livestream.NewUUID(), NewRun: livestream.NewRunID(),
		Key: l.StreamKey, Remote: "192.0.2.1:50000", Encoder: "OBS",
	}
}

func (f *fixture) advance(t tb, id string, e livestream.Event) livestream.Record {
	t.Helper()
	r, err := f.Advance(ctx, id, e)
	must(t, err)
	return r
}

// onAir publishes and makes playable.
func (f *fixture) onAir(t *testing.T, l livestream.Livestream, when time.Time) livestream.Record {
	t.Helper()
	r := f.advance(t, l.ID, publish(l, when))
	return f.advance(t, l.ID, livestream.Event{Kind: livestream.Playable, At: when.Add(time.Second), Epoch: r.Session.Epoch})
}

// checkpoint is a checkpoint of the open session of r.
func checkpoint(r livestream.Record, when time.Time, ingest time.Duration) livestream.Checkpoint {
	return livestream.Checkpoint{
		LivestreamID: r.Livestream.ID, SessionID: r.Session.ID, Epoch: r.Session.Epoch, At: when,
		LastMediaAt: when, Ingest: ingest, RunID: r.Livestream.Run.ID,
	}
}

func (f *fixture) byID(t tb, id string) livestream.Record {
	t.Helper()
	r, err := f.RecordByID(ctx, here, id)
	must(t, err)
	return r
}

// tb is what a *testing.T and a *rapid.T have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t tb, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("got error %v, want %v", err, sentinel)
	}
}

var secrets = cmp.Comparer(func(a, b secret.String) bool { return a == b })

func same[T any](t tb, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got, secrets); d != "" {
		t.Fatalf("%s: -want +got\n%s", what, d)
	}
}
