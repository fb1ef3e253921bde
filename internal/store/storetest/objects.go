package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

func testLookups(t *testing.T, f *fixture) {
	meeting := livestream.NewUUID()
	for _, c := range []struct {
		name   string
		change func(*livestream.Livestream)
	}{
		{"independent", func(*livestream.Livestream) {}},
		{"no name", func(l *livestream.Livestream) { l.Name, l.HasName = "", false }},
		{"empty name", func(l *livestream.Livestream) { l.Name, l.HasName = "", true }},
		{"name of all kinds of characters", func(l *livestream.Livestream) { l.Name = "a'\"%_\\ 日本\u202e🎬;--" }},
		{"of a meeting", func(l *livestream.Livestream) { l.MeetingID = meeting }},
		{"own settings", func(l *livestream.Livestream) {
			l.Settings = livestream.Settings{ReconnectWindow: 0, Damping: time.Second, AwaitEncoder: 24 * time.Hour, EndlistDelay: 600 * time.Second, DVRWindow: 12 * time.Hour, Keep: true}
		}},
		{"used before", func(l *livestream.Livestream) {
			l.Disabled, l.Epoch, l.RefuseUntil, l.LongestGOP = true, 7, at(5), 2002*time.Millisecond+1
			l.Run = livestream.Run{ID: "run", TargetDuration: 3, PartTarget: 333_666_667, MSNMark: 1 << 40, DiscontinuityMark: 9, EndsAt: at(6)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLivestream(here, start)
			c.change(&l)
			must(t, f.CreateLivestream(ctx, l))
			whole := livestream.Record{Livestream: l}
			for range 2 { // the second time perhaps from a cache
				same(t, "by id", f.byID(t, l.ID), whole)
				r, err := f.RecordByKey(ctx, l.StreamKey)
				must(t, err)
				same(t, "by key", r, whole)
				r, err = f.RecordByPlaybackID(ctx, l.PlaybackID)
				must(t, err)
				same(t, "by playback id", r, whole)
			}
			if l.MeetingID != "" {
				r, err := f.RecordByMeeting(ctx, here, l.MeetingID)
				must(t, err)
				same(t, "by meeting", r, whole)
			}
		})
	}
}

// testScopes asks for everything under a foreign account, a foreign app and an
// unknown id, before and after the owner asked.
func testScopes(t *testing.T, f *fixture) {
	l := newLivestream(here, start)
	l.MeetingID = livestream.NewUUID()
	must(t, f.CreateMeeting(ctx, livestream.Meeting{Scope: here, ID: l.MeetingID, Active: true, CreatedAt: start, UpdatedAt: start}))
	must(t, f.CreateLivestream(ctx, l))
	must(t, f.CreateApp(ctx, livestream.App{AccountID: here.AccountID, ID: here.AppID, Name: "a", CreatedAt: start}))
	started := f.advance(t, l.ID, livestream.Event{Kind: livestream.Start, At: at(1), NewID: livestream.NewUUID()})

	ask := func(sc livestream.Scope, livestreamID, sessionID, meetingID string) map[string]error {
		errs := map[string]error{}
		_, errs["RecordByID"] = f.RecordByID(ctx, sc, livestreamID)
		_, errs["RecordByMeeting"] = f.RecordByMeeting(ctx, sc, meetingID)
		_, errs["Session"] = f.Session(ctx, sc, sessionID)
		_, _, errs["Sessions"] = f.Sessions(ctx, sc, livestreamID, livestream.Page{Number: 1, Size: 10})
		_, errs["Meeting"] = f.Meeting(ctx, sc, meetingID)
		return errs
	}
	sid := started.Session.ID
	for range 2 {
		for _, foreign := range []livestream.Scope{
			{AccountID: "account-2", AppID: here.AppID}, {AccountID: here.AccountID, AppID: "app-2"}, {},
			{AccountID: here.AppID, AppID: here.AccountID},
		} {
			for name, err := range ask(foreign, l.ID, sid, l.MeetingID) {
				if err != livestream.ErrNotFound { // the very same text as for an unknown id
					t.Errorf("%s in %v: %v, want %v", name, foreign, err, livestream.ErrNotFound)
				}
			}
			_, err := f.App(ctx, foreign)
			want(t, err, livestream.ErrNotFound)
			page, n, err := f.Records(ctx, foreign, livestream.Query{Page: livestream.Page{Number: 1, Size: 10}})
			if must(t, err); n != 0 || len(page) != 0 {
				t.Errorf("list of %v has %d livestreams", foreign, n)
			}
		}
		for _, unknown := range []string{"", "x", livestream.NewUUID(), l.ID + " ", "' OR 1=1 --"} {
			for name, err := range ask(here, unknown, unknown, unknown) {
				if err != livestream.ErrNotFound {
					t.Errorf("%s of %q: %v, want %v", name, unknown, err, livestream.ErrNotFound)
				}
			}
		}
		for name, err := range ask(here, l.ID, sid, l.MeetingID) {
			if err != nil {
				t.Errorf("%s of the owner: %v", name, err)
			}
		}
	}
	_, err := f.RecordByKey(ctx, secret.New("nobody's"))
	want(t, err, livestream.ErrNotFound)
	_, err = f.RecordByPlaybackID(ctx, l.ID)
	want(t, err, livestream.ErrNotFound)
	_, err = f.Advance(ctx, livestream.NewUUID(), livestream.Event{Kind: livestream.Stop, At: at(1)})
	want(t, err, livestream.ErrNotFound)
}

func testDuplicates(t *testing.T, f *fixture) {
	l := newLivestream(here, start)
	l.MeetingID = livestream.NewUUID()
	must(t, f.CreateLivestream(ctx, l))
	for name, take := range map[string]func(*livestream.Livestream){
		"id":          func(d *livestream.Livestream) { d.ID = l.ID },
		"key":         func(d *livestream.Livestream) { d.StreamKey = l.StreamKey },
		"playback id": func(d *livestream.Livestream) { d.PlaybackID = l.PlaybackID },
		"meeting":     func(d *livestream.Livestream) { d.MeetingID = l.MeetingID },
	} {
		d := newLivestream(here, start)
		take(&d)
		if err := f.CreateLivestream(ctx, d); err == nil {
			t.Errorf("second livestream with the same %s was created", name)
		} else {
			want(t, err, livestream.ErrExists)
		}
	}
	a := livestream.App{AccountID: "a", ID: "b", Name: "c", CreatedAt: start}
	must(t, f.CreateApp(ctx, a))
	want(t, f.CreateApp(ctx, a), livestream.ErrExists)
	a.AccountID = "other" // apps are per account
	must(t, f.CreateApp(ctx, a))
	same(t, "livestream after the refused ones", f.byID(t, l.ID).Livestream, l)
}

func testPages(t *testing.T, f *fixture) {
	var newest []string
	for i := range 25 {
		l := newLivestream(here, at(i/2)) // two share each millisecond
		must(t, f.CreateLivestream(ctx, l))
		newest = append([]string{l.ID}, newest...)
	}
	list := func(q livestream.Query) (ids []string) {
		t.Helper()
		page, n, err := f.Records(ctx, here, q)
		if must(t, err); n != 25 {
			t.Fatalf("count %d, want 25", n)
		}
		for _, r := range page {
			ids = append(ids, r.Livestream.ID)
		}
		return ids
	}
	var all []string
	for p := 1; p <= 3; p++ {
		all = append(all, list(livestream.Query{Page: livestream.Page{Number: p, Size: 10}})...)
	}
	if len(all) != 25 {
		t.Fatalf("three pages have %d entries, want 25", len(all))
	}
	place := map[string]int{}
	for i, id := range all {
		place[id] = i
	}
	if len(place) != 25 {
		t.Fatalf("an entry is on two pages")
	}
	for i, id := range newest { // those of one millisecond may stand either way
		if d := place[id] - i; d < -1 || d > 1 {
			t.Errorf("entry %d stands at %d", i, place[id])
		}
	}
	oldest := list(livestream.Query{Page: livestream.Page{Number: 1, Size: 100}, OldestFirst: true})
	for i := range oldest {
		if oldest[i] != all[24-i] {
			t.Fatalf("oldest first is not the reverse of newest first at %d", i)
		}
	}
	if past := list(livestream.Query{Page: livestream.Page{Number: 4, Size: 10}}); len(past) != 0 {
		t.Errorf("page past the end has %d entries", len(past))
	}
	testSessionPages(t, f)
}

func testSessionPages(t *testing.T, f *fixture) {
	l := f.create(t)
	var ids []string
	for i := range 5 {
		r := f.onAir(t, l, at(10_000*i))
		f.advance(t, l.ID, livestream.Event{Kind: livestream.Unpublish, At: at(10_000*i + 5000), Epoch: r.Session.Epoch})
		ids = append([]string{r.Session.ID}, ids...)
	}
	var got []string
	for p := 1; p <= 4; p++ {
		page, n, err := f.Sessions(ctx, here, l.ID, livestream.Page{Number: p, Size: 2})
		if must(t, err); n != 5 {
			t.Fatalf("count %d, want 5", n)
		}
		for _, s := range page {
			single, err := f.Session(ctx, here, s.ID)
			must(t, err)
			same(t, "session by id and in the list", single, s)
			got = append(got, s.ID)
		}
	}
	same(t, "sessions newest first", got, ids)
	same(t, "newest session of the record", f.byID(t, l.ID).Session.ID, ids[0])
}

func testFilters(t *testing.T, f *fixture) {
	var ids [6]string
	for i := range ids {
		l := newLivestream(here, at(1000*i))
		if i%2 == 1 {
			l.MeetingID = livestream.NewUUID()
		}
		must(t, f.CreateLivestream(ctx, l))
		ids[i] = l.ID
	}
	for _, c := range []struct {
		name string
		q    livestream.Query
		want []int
	}{
		{"all", livestream.Query{}, []int{0, 1, 2, 3, 4, 5}},
		{"without meetings", livestream.Query{ExcludeMeetings: true}, []int{0, 2, 4}},
		{"from, inclusive", livestream.Query{From: at(2000)}, []int{2, 3, 4, 5}},
		{"from just after", livestream.Query{From: at(2000).Add(1)}, []int{3, 4, 5}},
		{"to, inclusive", livestream.Query{To: at(2000)}, []int{0, 1, 2}},
		{"to just before", livestream.Query{To: at(2000).Add(-1)}, []int{0, 1}},
		{"a stretch without meetings", livestream.Query{From: at(1000), To: at(4000), ExcludeMeetings: true}, []int{2, 4}},
		{"in another zone", livestream.Query{From: at(4000).In(time.FixedZone("", 3600))}, []int{4, 5}},
		{"nothing", livestream.Query{From: at(9000)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.q.OldestFirst, c.q.Page = true, livestream.Page{Number: 1, Size: 100}
			page, n, err := f.Records(ctx, here, c.q)
			must(t, err)
			if n != len(c.want) || len(page) != n {
				t.Fatalf("%d of %d, want %d", len(page), n, len(c.want))
			}
			for i, w := range c.want {
				same(t, fmt.Sprint("entry ", i), page[i].Livestream.ID, ids[w])
			}
		})
	}
}

// testStatusFilter brings livestreams into every phase that events lead to and
// compares each filter with Status.
func testStatusFilter(t *testing.T, f *fixture) {
	ev := func(k livestream.Kind) livestream.Event { return livestream.Event{Kind: k, At: at(2000)} }
	for name, to := range map[string][]livestream.Event{
		"never on air": {}, "disabled": {ev(livestream.Disable)},
		"starting":     {ev(livestream.Publish)},
		"interrupted":  {ev(livestream.Publish), ev(livestream.Boot)},
		"on air":       {ev(livestream.Publish), ev(livestream.Playable)},
		"reconnecting": {ev(livestream.Publish), ev(livestream.Playable), ev(livestream.Lose)},
		"ended":        {ev(livestream.Publish), ev(livestream.Playable), ev(livestream.Unpublish)},
		"failed":       {ev(livestream.Publish), ev(livestream.Lose)},
		"acknowledged": {ev(livestream.Publish), ev(livestream.Lose), ev(livestream.Stop)},
		"failed, back": {ev(livestream.Publish), ev(livestream.Lose), ev(livestream.Publish), ev(livestream.Playable)},
		"awaiting":     {ev(livestream.Start)},
	} {
		l := newLivestream(here, start)
		l.Name = name
		must(t, f.CreateLivestream(ctx, l))
		var r livestream.Record
		for _, e := range to {
			e.Epoch, e.Key, e.NewID, e.NewRun = r.Session.Epoch, l.StreamKey, livestream.NewUUID(), livestream.NewRunID()
			r = f.advance(t, l.ID, e)
		}
	}
	all, n, err := f.Records(ctx, here, livestream.Query{Page: livestream.Page{Number: 1, Size: 100}})
	must(t, err)
	statuses := []livestream.Status{livestream.StatusLive, livestream.StatusIdle, livestream.StatusErrored, livestream.StatusInvoked}
	sum := 0
	for set := 1; set < 1<<len(statuses); set++ { // each by itself, and any of several
		var some []livestream.Status
		for i, s := range statuses {
			if set&(1<<i) != 0 {
				some = append(some, s)
			}
		}
		page, n, err := f.Records(ctx, here, livestream.Query{Page: livestream.Page{Number: 1, Size: 100}, Statuses: some})
		must(t, err)
		var expected, got []string
		for _, r := range all {
			if slices.Contains(some, r.Session.Status()) {
				expected = append(expected, r.Livestream.Name)
			}
		}
		for _, r := range page {
			got = append(got, r.Livestream.Name)
		}
		same(t, fmt.Sprintf("filter %s", some), got, expected)
		if n != len(expected) || n == 0 {
			t.Errorf("filter %s counts %d, want %d, and not 0", some, n, len(expected))
		}
		if len(some) == 1 {
			sum += n
		}
	}
	if sum != n {
		t.Errorf("the statuses hold %d livestreams together, the list %d", sum, n)
	}
	if _, n, err := f.Records(ctx, here, livestream.Query{Page: livestream.Page{Number: 1, Size: 1}, Statuses: []livestream.Status{"'; DROP"}}); err != nil || n != 0 {
		t.Errorf("unknown status: %d, %v; want none", n, err)
	}
	open, err := f.OpenRecords(ctx)
	must(t, err)
	for _, r := range open {
		if !r.Session.Phase.Open() {
			t.Errorf("OpenRecords has %q, which is %s", r.Livestream.Name, r.Session.Phase)
		}
	}
	if len(open) != 6 {
		t.Errorf("OpenRecords has %d, want 6", len(open))
	}
}

func testOthers(t *testing.T, f *fixture) {
	for _, m := range []livestream.Meeting{
		{Scope: here, ID: livestream.NewUUID(), CreatedAt: start, UpdatedAt: at(1)},
		{Scope: here, ID: livestream.NewUUID(), Title: "", HasTitle: true, Active: true, CreatedAt: start, UpdatedAt: start,
			RecordOnStart: true, LiveStreamOnStart: true, PersistChat: true, SummarizeOnEnd: true, TranscribeOnEnd: true,
			SessionKeepAliveSecs: 600, RecordingConfig: []byte(`{"max_seconds":60}`), AIConfig: []byte(`{}`)},
	} {
		must(t, f.CreateMeeting(ctx, m))
		got, err := f.Meeting(ctx, here, m.ID)
		must(t, err)
		same(t, "meeting", got, m)
		want(t, f.CreateMeeting(ctx, m), livestream.ErrExists)
	}
	a := livestream.App{AccountID: here.AccountID, ID: here.AppID, Name: "app", CreatedAt: start}
	must(t, f.CreateApp(ctx, a))
	for range 2 {
		got, err := f.App(ctx, here)
		must(t, err)
		same(t, "app", got, a)
	}
	if has, err := f.HasTokens(ctx); err != nil || has {
		t.Errorf("HasTokens before any: %v, %v", has, err)
	}
	for i, k := range []livestream.Token{
		{Scopes: []string{"Realtime Admin"}, AppIDs: []string{}},
		{Name: "limited", Scopes: []string{"Realtime"}, AppIDs: []string{"a", "b"}, ExpiresAt: at(1), RevokedAt: at(2)},
	} {
		k.ID, k.AccountID, k.CreatedAt, k.Hash = livestream.NewUUID(), here.AccountID, start, [32]byte{byte(i), 31: 255}
		must(t, f.CreateToken(ctx, k))
		got, err := f.TokenByHash(ctx, k.Hash)
		must(t, err)
		same(t, "token", got, k)
		k.ID = livestream.NewUUID()
		want(t, f.CreateToken(ctx, k), livestream.ErrExists)
	}
	if has, err := f.HasTokens(ctx); err != nil || !has {
		t.Errorf("HasTokens: %v, %v", has, err)
	}
	_, err := f.TokenByHash(ctx, [32]byte{9})
	want(t, err, livestream.ErrNotFound)

	first, err := f.Secret(ctx, "viewer")
	must(t, err)
	again, err := f.Secret(ctx, "viewer")
	must(t, err)
	other, err := f.Secret(ctx, "other")
	must(t, err)
	if len(first) != 32 || !bytes.Equal(first, again) || bytes.Equal(first, other) {
		t.Errorf("secrets: %d bytes, the same again %v, the same by another name %v", len(first), bytes.Equal(first, again), bytes.Equal(first, other))
	}
	must(t, f.Ping(ctx))
}
