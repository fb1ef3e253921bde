package storetest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"tally/internal/livestream"
)

// testAdvanceModel drives random events, checkpoints and windows into a store
// and into a record in memory, and compares the two after each.
func testAdvanceModel(t *testing.T, f *fixture) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLivestream(here, start)
		l.Settings.ReconnectWindow = time.Duration(rapid.IntRange(0, 3).Draw(rt, "window")) * time.Second
		must(rt, f.CreateLivestream(ctx, l))
		m := livestream.Record{Livestream: l}
		var facts []livestream.Fact
		now := start
		for i := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(rt, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
				m = f.modelCheckpoint(rt, m, now, int64(i))
			} else {
				e := drawEvent(rt, m, now)
				next, more, wantErr := m.Apply(e)
				got, err := f.Advance(ctx, l.ID, e)
				if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
					rt.Fatalf("%s: %v, Apply says %v", e.Kind, err, wantErr)
				}
				if err == nil {
					m, facts = next, append(facts, more...)
				}
				same(rt, "returned by Advance", got, m)
			}
			same(rt, "stored", f.byID(rt, l.ID), m)
		}
		if m.Session.ID == "" {
			return
		}
		var mine []livestream.Fact
		for _, x := range facts {
			if x.SessionID == m.Session.ID {
				mine = append(mine, x)
			}
		}
		got, err := f.Timeline(ctx, m.Session.ID)
		must(rt, err)
		same(rt, "timeline", got, mine)
	})
}

func drawEvent(rt *rapid.T, m livestream.Record, now time.Time) livestream.Event {
	e := livestream.Event{
		Kind: livestream.Kind(rapid.IntRange(int(livestream.Publish), int(livestream.ResetKey)).Draw(rt, "kind")),
		At:   now, Epoch: m.Session.Epoch, SessionID: m.Session.ID, Key: m.Livestream.StreamKey,
		NewID: livestream.NewUUID(), NewRun: livestream.NewRunID(), NewKey: livestream.NewStreamKey(),
		Remote: "192.0.2.1:1", Encoder: rapid.SampledFrom([]string{"", "OBS", "Lavf'"}).Draw(rt, "encoder"),
		Ingest: time.Duration(rapid.IntRange(0, 2000).Draw(rt, "ingest")) * time.Millisecond,
	}
	if rapid.Bool().Draw(rt, "media") {
		e.LastMediaAt = now
	}
	if rapid.IntRange(0, 9).Draw(rt, "late") == 0 {
		e.Epoch--
	}
	if e.Kind == livestream.Fail {
		e.Reason = livestream.Keyless(10 * time.Second)
	}
	return e
}

// modelCheckpoint does to the record in memory what a checkpoint and a window
// of one second do to the store.
func (f *fixture) modelCheckpoint(t tb, m livestream.Record, now time.Time, window int64) livestream.Record {
	s := &m.Session
	c := checkpoint(m, now, s.Ingest+time.Millisecond)
	c.MSNMark = m.Livestream.Run.MSNMark + 1
	var ws []livestream.UsageWindow
	if s.ID != "" {
		ws = append(ws, livestream.UsageWindow{SessionID: s.ID, Kind: livestream.ViewerTime, Node: "n", Incarnation: "i", Window: window, Amount: time.Second})
		s.Viewed += time.Second
	}
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, ws))
	if s.Phase.Open() {
		if now.After(s.UpdatedAt) {
			s.UpdatedAt = now
		}
		if now.After(s.LastMediaAt) {
			s.LastMediaAt = now
		}
		s.Ingest += time.Millisecond
		m.Livestream.Run.MSNMark++
	}
	return m
}

func testRefusals(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.onAir(t, l, at(0))
	for name, e := range map[string]livestream.Event{
		"older publish": {Kind: livestream.Lose, At: at(3000), Epoch: r.Session.Epoch - 1},
		"does not fit":  {Kind: livestream.Start, At: at(3000), NewID: livestream.NewUUID()},
		"wrong key":     {Kind: livestream.Publish, At: at(3000), Key: livestream.NewStreamKey()},
	} {
		got, err := f.Advance(ctx, l.ID, e)
		if err == nil {
			t.Fatalf("%s: accepted", name)
		}
		same(t, name+": record returned", got, r)
		same(t, name+": record stored", f.byID(t, l.ID), r)
	}
	facts, err := f.Timeline(ctx, r.Session.ID)
	if must(t, err); len(facts) != 2 {
		t.Errorf("timeline has %d facts, want the publish and the playable", len(facts))
	}
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Stop, At: at(4000)})
	_, err = f.Advance(ctx, l.ID, publish(l, at(5000)))
	want(t, err, livestream.ErrDamped)
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Disable, At: at(40_000)})
	_, err = f.Advance(ctx, l.ID, publish(l, at(50_000)))
	want(t, err, livestream.ErrDisabled)
}

func testResetKey(t *testing.T, f *fixture) {
	l := f.create(t)
	fresh := livestream.NewStreamKey()
	f.byID(t, l.ID)
	_, err := f.RecordByKey(ctx, l.StreamKey)
	must(t, err)
	f.advance(t, l.ID, livestream.Event{Kind: livestream.ResetKey, At: at(1), NewKey: fresh})
	_, err = f.RecordByKey(ctx, l.StreamKey)
	want(t, err, livestream.ErrNotFound)
	r, err := f.RecordByKey(ctx, fresh)
	if must(t, err); r.Livestream.ID != l.ID {
		t.Errorf("new key finds %s, want %s", r.Livestream.ID, l.ID)
	}
	same(t, "key in the record", f.byID(t, l.ID).Livestream.StreamKey, fresh)
}

func testTimeline(t *testing.T, f *fixture) {
	l := f.create(t)
	r := f.advance(t, l.ID, publish(l, at(0)))
	for range 30 { // all in one millisecond
		r = f.advance(t, l.ID, publish(l, at(0)))
	}
	facts, err := f.Timeline(ctx, r.Session.ID)
	must(t, err)
	if len(facts) != 31 {
		t.Fatalf("%d facts, want 31", len(facts))
	}
	for i, x := range facts {
		if x.Epoch != int64(i+1) || x.Kind != "publish" || x.Encoder != "OBS" {
			t.Fatalf("fact %d is of epoch %d, %s, %s", i, x.Epoch, x.Kind, x.Encoder)
		}
	}
	none, err := f.Timeline(ctx, livestream.NewUUID())
	if must(t, err); len(none) != 0 {
		t.Errorf("timeline of an unknown session has %d facts", len(none))
	}
}
