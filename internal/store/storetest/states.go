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
		got, _, err := f.Timeline(ctx, m.Session.ID, livestream.Page{Number: 1, Size: 100})
		must(rt, err)
		same(rt, "timeline", got, mine)
	})
}

func drawEvent(rt *rapid.T, m livestream.Record, now time.Time) livestream.Event {
	e := livestream.Event{
		Kind: livestream.Kind(rapid.IntRange(int(livestream.Publish), int(livestream.Configure)).Draw(rt, "kind")),
		At:   now, Epoch: m.Session.Epoch, SessionID: m.Session.ID, Key: m.Livestream.StreamKey,
		NewID: livestream.NewUUID(), NewRun: livestream.NewRunID(), NewKey: livestream.NewStreamKey(),
		Remote: "192.0.2.1:1", Encoder: rapid.SampledFrom([]string{"", "OBS", "Lavf'"}).Draw(rt, "encoder"),
		Ingest: time.Duration(rapid.IntRange(0, 2000).Draw(rt, "ingest")) * time.Millisecond,
	}
	if rapid.Bool().Draw(rt, "media") {
		e.LastMediaAt = now
		e.Bytes = m.Session.Bytes + int64(rapid.IntRange(-100, 5000).Draw(rt, "bytes"))
		e.Media = rapid.SampledFrom([]string{"", "H.264", "HEVC, AAC"}).Draw(rt, "codecs")
		e.Keyframe = time.Duration(rapid.IntRange(0, 3).Draw(rt, "keyframe")) * time.Second
	}
	if rapid.IntRange(0, 9).Draw(rt, "late") == 0 {
		e.Epoch--
	}
	if e.Kind == livestream.Configure {
		window := time.Duration(rapid.IntRange(0, 9).Draw(rt, "new window")) * time.Second
		keep := rapid.Bool().Draw(rt, "keep")
		policy := rapid.SampledFrom(livestream.Policies).Draw(rt, "policy")
		e.Change = livestream.Change{Publisher: &policy, SetName: true, Name: rapid.SampledFrom([]string{"", "new"}).Draw(rt, "name"),
			HasName: rapid.Bool().Draw(rt, "named"), Keep: &keep, DVRWindow: &window, ReconnectWindow: &window, Damping: &window}
		if !e.Change.HasName {
			e.Change.Name = ""
		}
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
	c.Bytes, c.Media, c.Keyframe = s.Bytes+int64(window%3), []string{"", "H.264", "AV1"}[window%3], time.Duration(window%4)*time.Second
	c.Warnings = []string{"", "BITRATE: x"}[window/3%2]
	kind := []livestream.UsageKind{livestream.ByMedia, livestream.ByBeacon, livestream.ByPlaylist}[window%3]
	var ws []livestream.UsageWindow
	if s.ID != "" {
		ws = append(ws, livestream.UsageWindow{SessionID: s.ID, Kind: kind, Node: "n", Incarnation: "i", Window: window, Amount: time.Second,
			Viewers: int(window % 5), PeakViewers: int(window)})
		s.Viewed += time.Second
		switch kind {
		case livestream.ByBeacon:
			s.ViewedByBeacon += time.Second
		case livestream.ByPlaylist:
			s.ViewedByPlaylist += time.Second
		}
		s.PeakViewers = max(s.PeakViewers, int(window))
		if s.Phase.Open() {
			s.Viewers = int(window % 5)
		}
	}
	must(t, f.Checkpoint(ctx, []livestream.Checkpoint{c}, ws, nil))
	if s.Phase.Open() {
		if now.After(s.UpdatedAt) {
			s.UpdatedAt = now
		}
		if now.After(s.LastMediaAt) {
			s.LastMediaAt = now
		}
		s.Ingest += time.Millisecond
		s.Bytes, s.Warnings = c.Bytes, c.Warnings
		if c.Media != "" {
			s.Media = c.Media
		}
		if c.Keyframe != 0 {
			s.Keyframe = c.Keyframe
		}
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
	facts, _, err := f.Timeline(ctx, r.Session.ID, livestream.Page{Number: 1, Size: 100})
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

// testDelete: a deleted livestream is found by nothing, its sessions stay, and
// a meeting may have a new one.
func testDelete(t *testing.T, f *fixture) {
	l := newLivestream(here, start)
	l.MeetingID = livestream.NewUUID()
	must(t, f.CreateLivestream(ctx, l))
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Start, At: at(0), NewID: livestream.NewUUID(), NewRun: livestream.NewRunID()})
	_, err := f.Advance(ctx, l.ID, livestream.Event{Kind: livestream.Delete, At: at(1)})
	want(t, err, livestream.ErrOpen)
	r := f.advance(t, l.ID, livestream.Event{Kind: livestream.Stop, At: at(2)})
	must(t, second(f.RecordByPlaybackID(ctx, l.PlaybackID))) // now it is in memory
	f.advance(t, l.ID, livestream.Event{Kind: livestream.Delete, At: at(3)})
	for range 2 { // from the file after a restart too
		want(t, second(f.RecordByID(ctx, here, l.ID)), livestream.ErrNotFound)
		want(t, second(f.RecordByKey(ctx, l.StreamKey)), livestream.ErrNotFound)
		want(t, second(f.RecordByPlaybackID(ctx, l.PlaybackID)), livestream.ErrNotFound)
		want(t, second(f.RecordByMeeting(ctx, here, l.MeetingID)), livestream.ErrNotFound)
		_, _, err = f.Sessions(ctx, here, l.ID, livestream.Page{Number: 1, Size: 10})
		want(t, err, livestream.ErrNotFound)
		for _, statuses := range [][]livestream.Status{nil, {livestream.StatusIdle}, {livestream.StatusLive}} {
			page, total, err := f.Records(ctx, here, livestream.Query{Statuses: statuses, Page: livestream.Page{Number: 1, Size: 10}})
			if must(t, err); len(page) != 0 || total != 0 {
				t.Errorf("list of %q: %d of %d, want none", statuses, len(page), total)
			}
		}
		s, err := f.Session(ctx, here, r.Session.ID)
		must(t, err)
		same(t, "its session", s, r.Session)
		want(t, second(f.Advance(ctx, l.ID, publish(l, at(60_000)))), livestream.ErrNotFound)
		f.reopen(t)
	}
	again := newLivestream(here, start)
	again.MeetingID = l.MeetingID
	must(t, f.CreateLivestream(ctx, again))
	reused := newLivestream(here, start)
	reused.StreamKey = l.StreamKey
	want(t, f.CreateLivestream(ctx, reused), livestream.ErrExists)
}

func second[T any](_ T, err error) error { return err }

func testTimeline(t *testing.T, f *fixture) {
	l := f.undamped(t)
	r := f.advance(t, l.ID, publish(l, at(0)))
	for range 120 { // all in one millisecond
		r = f.advance(t, l.ID, publish(l, at(0)))
	}
	facts, total, err := f.Timeline(ctx, r.Session.ID, livestream.Page{Number: 1, Size: 100})
	must(t, err)
	rest, _, err := f.Timeline(ctx, r.Session.ID, livestream.Page{Number: 2, Size: 100})
	must(t, err)
	if facts = append(facts, rest...); len(facts) != 121 || total != 121 {
		t.Fatalf("%d facts of %d, want 121", len(facts), total)
	}
	for i, x := range facts {
		if x.Epoch != int64(i+1) || x.Kind != "publish" || x.Encoder != "OBS" {
			t.Fatalf("fact %d is of epoch %d, %s, %s", i, x.Epoch, x.Kind, x.Encoder)
		}
	}
	none, total, err := f.Timeline(ctx, livestream.NewUUID(), livestream.Page{Number: 1, Size: 100})
	if must(t, err); len(none) != 0 || total != 0 {
		t.Errorf("timeline of an unknown session has %d facts", len(none))
	}
}
