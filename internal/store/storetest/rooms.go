package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/livestream"
)

func (f *fixture) app(t *testing.T, id, name string, created time.Time) livestream.App {
	t.Helper()
	a := livestream.App{AccountID: here.AccountID, ID: id, Name: name, CreatedAt: created}
	must(t, f.CreateApp(ctx, a))
	return a
}

// testApps lists an account's apps: by age, by name, and those of a token alone.
func testApps(t *testing.T, f *fixture) {
	for i, name := range []string{"Morning", "morning show", "100 % café", "ÉVENING_x", "evening\\y"} {
		f.app(t, fmt.Sprint("id-", i), name, at(1000*(i/2))) // two share each moment
	}
	must(t, f.CreateApp(ctx, livestream.App{AccountID: "account-2", ID: "id-0", Name: "Morning", CreatedAt: start}))
	for _, c := range []struct {
		name  string
		q     livestream.AppQuery
		want  []string
		count int
	}{
		{"all, newest first", livestream.AppQuery{}, []string{"id-4", "id-3", "id-2", "id-1", "id-0"}, 5},
		{"oldest first", livestream.AppQuery{OldestFirst: true}, []string{"id-0", "id-1", "id-2", "id-3", "id-4"}, 5},
		{"second page", livestream.AppQuery{Page: livestream.Page{Number: 2, Size: 2}}, []string{"id-2", "id-1"}, 5},
		{"past the end", livestream.AppQuery{Page: livestream.Page{Number: 4, Size: 2}}, nil, 5},
		{"a name in another case", livestream.AppQuery{Search: "MORNING"}, []string{"id-1", "id-0"}, 2},
		{"letters beyond ASCII", livestream.AppQuery{Search: "évening"}, []string{"id-3"}, 1},
		{"a percent sign is itself", livestream.AppQuery{Search: "%"}, []string{"id-2"}, 1},
		{"an underscore is itself", livestream.AppQuery{Search: "G_"}, []string{"id-3"}, 1},
		{"a backslash is itself", livestream.AppQuery{Search: `\`}, []string{"id-4"}, 1},
		{"part of an id", livestream.AppQuery{Search: "ID-3"}, []string{"id-3"}, 1},
		{"those of a token", livestream.AppQuery{IDs: []string{"id-1", "id-3", "nope"}}, []string{"id-3", "id-1"}, 2},
		{"those of a token, by name", livestream.AppQuery{IDs: []string{"id-1", "id-3"}, Search: "morning"}, []string{"id-1"}, 1},
		{"a token of every app", livestream.AppQuery{IDs: []string{}, Page: livestream.Page{Number: 1, Size: 1}}, []string{"id-4"}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.q.Size == 0 {
				c.q.Page = livestream.Page{Number: 1, Size: 100}
			}
			page, n, err := f.Apps(ctx, here.AccountID, c.q)
			must(t, err)
			var ids []string
			for _, a := range page {
				ids = append(ids, a.ID)
				whole, err := f.App(ctx, livestream.Scope{AccountID: here.AccountID, AppID: a.ID})
				must(t, err)
				same(t, "app by id and in the list", a, whole)
			}
			same(t, "apps", ids, c.want)
			same(t, "count", n, c.count)
		})
	}
}

func testUpdateApp(t *testing.T, f *fixture) {
	a := f.app(t, here.AppID, "first", start)
	f.app(t, "app-2", "second", start)
	must(t, f.CreateApp(ctx, livestream.App{AccountID: "account-2", ID: here.AppID, Name: "third", CreatedAt: start}))
	want(t, f.CreateApp(ctx, livestream.App{AccountID: here.AccountID, ID: "app-3", Name: "second", CreatedAt: start}), livestream.ErrExists)

	update := func(change func(livestream.App) livestream.App) error {
		t.Helper()
		got, err := f.UpdateApp(ctx, here, change)
		if err != nil {
			return err
		}
		read, err := f.App(ctx, here)
		must(t, err)
		same(t, "what was read after the update", read, got)
		a = got
		return nil
	}
	rename := func(to string) func(livestream.App) livestream.App {
		return func(a livestream.App) livestream.App { a.Name = to; return a }
	}
	must(t, update(rename("Third")))
	must(t, update(rename("third"))) // taken in another account alone
	must(t, update(func(a livestream.App) livestream.App { a.Wire = livestream.WireUpstream; return a }))
	must(t, update(func(a livestream.App) livestream.App {
		a.AccountID, a.ID, a.CreatedAt = "account-2", "app-2", at(5) // stay as they are
		return a
	}))
	want(t, update(rename("second")), livestream.ErrExists)
	same(t, "after all", a, livestream.App{AccountID: here.AccountID, ID: here.AppID, Name: "third", CreatedAt: start, Wire: livestream.WireUpstream})
	for _, foreign := range []livestream.Scope{{}, {AccountID: "account-2", AppID: "app-2"}, {AccountID: here.AccountID, AppID: "app-9"}} {
		_, err := f.UpdateApp(ctx, foreign, rename("x"))
		want(t, err, livestream.ErrNotFound)
	}
	f.reopen(t)
	read, err := f.App(ctx, here)
	must(t, err)
	same(t, "after a reopen", read, a)
	found, _, err := f.Apps(ctx, here.AccountID, livestream.AppQuery{Page: livestream.Page{Number: 1, Size: 9}, Search: "first"})
	if must(t, err); len(found) != 0 {
		t.Errorf("the old name is still found: %v", found)
	}
}

// testAppReaders has readers race with updates that only count up: nobody may
// see an older name after a newer one, and nobody an older one than the update
// that was done before the read began.
func testAppReaders(t *testing.T, f *fixture) {
	f.app(t, here.AppID, "0", start)
	var done atomic.Int64
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			var last int64
			for {
				floor := max(last, done.Load())
				a, err := f.App(ctx, here)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := fmt.Sscan(a.Name, &last); err != nil || last < floor {
					t.Errorf("read %q after %d was seen", a.Name, floor)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := int64(1); i <= 200; i++ {
		_, err := f.UpdateApp(ctx, here, func(a livestream.App) livestream.App { a.Name = fmt.Sprint(i); return a })
		must(t, err)
		done.Store(i)
	}
	close(stop)
	readers.Wait()
}

func testMeetings(t *testing.T, f *fixture) {
	var ids [6]string
	for i, title := range []string{"Weekly", "", "WEEKLY planning", "Ärzte", "50%_off", "-"} {
		m := livestream.Meeting{Scope: here, ID: livestream.NewUUID(), Title: title, HasTitle: title != "", Active: i%2 == 0,
			CreatedAt: at(1000 * i), UpdatedAt: at(1000 * i), SessionKeepAliveSecs: 60}
		must(t, f.CreateMeeting(ctx, m))
		ids[i] = m.ID
	}
	for _, foreign := range []livestream.Scope{{AccountID: "account-2", AppID: here.AppID}, {AccountID: here.AccountID, AppID: "app-2"}} {
		must(t, f.CreateMeeting(ctx, livestream.Meeting{Scope: foreign, ID: livestream.NewUUID(), Title: "Weekly", HasTitle: true, CreatedAt: start, UpdatedAt: start}))
		want(t, f.CreateMeeting(ctx, livestream.Meeting{Scope: foreign, ID: ids[0], CreatedAt: start, UpdatedAt: start}), livestream.ErrExists)
	}
	yes, no := true, false
	for _, c := range []struct {
		name string
		q    livestream.MeetingQuery
		want []int
	}{
		{"all", livestream.MeetingQuery{}, []int{0, 1, 2, 3, 4, 5}},
		{"active", livestream.MeetingQuery{Active: &yes}, []int{0, 2, 4}},
		{"inactive", livestream.MeetingQuery{Active: &no}, []int{1, 3, 5}},
		{"from, inclusive", livestream.MeetingQuery{From: at(2000)}, []int{2, 3, 4, 5}},
		{"from just after", livestream.MeetingQuery{From: at(2000).Add(1)}, []int{3, 4, 5}},
		{"to, inclusive", livestream.MeetingQuery{To: at(2000)}, []int{0, 1, 2}},
		{"by title in another case", livestream.MeetingQuery{Search: "weeKLY"}, []int{0, 2}},
		{"by letters beyond ASCII", livestream.MeetingQuery{Search: "äRZ"}, []int{3}},
		{"by signs that mean something in a pattern", livestream.MeetingQuery{Search: "0%_"}, []int{4}},
		{"by id", livestream.MeetingQuery{Search: ids[1]}, []int{1}},
		{"by part of an id", livestream.MeetingQuery{Search: ids[1][3:30]}, []int{1}},
		{"all conditions at once", livestream.MeetingQuery{Search: "weekly", Active: &yes, From: at(1), To: at(9000)}, []int{2}},
		{"nothing", livestream.MeetingQuery{Search: "' OR 1=1 --"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, oldest := range []bool{true, false} {
				c.q.OldestFirst = oldest
				var got, wanted []string
				for number := 1; number <= 4; number++ {
					c.q.Page = livestream.Page{Number: number, Size: 2}
					page, n, err := f.Meetings(ctx, here, c.q)
					must(t, err)
					same(t, "count", n, len(c.want))
					for _, m := range page {
						got = append(got, m.ID)
						single, err := f.Meeting(ctx, here, m.ID)
						must(t, err)
						same(t, "meeting by id and in the list", m, single)
					}
				}
				for _, i := range c.want {
					wanted = append(wanted, ids[i])
				}
				if !oldest {
					slices.Reverse(wanted)
				}
				same(t, "meetings", got, wanted)
			}
		})
	}
}

func testUpdateMeeting(t *testing.T, f *fixture) {
	m := livestream.Meeting{Scope: here, ID: livestream.NewUUID(), Title: "old", HasTitle: true, CreatedAt: start, UpdatedAt: at(10), SessionKeepAliveSecs: 60}
	must(t, f.CreateMeeting(ctx, m))
	all := livestream.Meeting{Scope: here, ID: m.ID, Title: "", HasTitle: true, Active: true, CreatedAt: start, UpdatedAt: at(20),
		RecordOnStart: true, LiveStreamOnStart: true, PersistChat: true, SummarizeOnEnd: true, TranscribeOnEnd: true,
		SessionKeepAliveSecs: 600, RecordingConfig: []byte(`{"max_seconds":60}`), AIConfig: []byte(`{}`)}
	for _, c := range []struct {
		name      string
		change    func(livestream.Meeting) livestream.Meeting
		wantAfter livestream.Meeting
	}{
		{"everything", func(livestream.Meeting) livestream.Meeting { return all }, all},
		{"what stays", func(m livestream.Meeting) livestream.Meeting {
			m.Scope, m.ID, m.CreatedAt = livestream.Scope{}, "x", at(9)
			return m
		}, all},
		{"a clock that was set back", func(m livestream.Meeting) livestream.Meeting { m.UpdatedAt = at(1); return m }, all},
		{"back to nothing", func(livestream.Meeting) livestream.Meeting { return livestream.Meeting{UpdatedAt: at(30)} },
			livestream.Meeting{Scope: here, ID: m.ID, CreatedAt: start, UpdatedAt: at(30)}},
	} {
		got, err := f.UpdateMeeting(ctx, here, m.ID, func(m livestream.Meeting) (livestream.Meeting, error) { return c.change(m), nil })
		must(t, err)
		same(t, c.name, got, c.wantAfter)
		read, err := f.Meeting(ctx, here, m.ID)
		must(t, err)
		same(t, c.name+", read", read, c.wantAfter)
	}
	refused := errors.New("no")
	_, err := f.UpdateMeeting(ctx, here, m.ID, func(m livestream.Meeting) (livestream.Meeting, error) { m.Title = "x"; return m, refused })
	if err != refused {
		t.Errorf("error of change: %v, want it as it is", err)
	}
	for _, c := range []struct {
		sc livestream.Scope
		id string
	}{{here, "x"}, {livestream.Scope{AccountID: here.AccountID, AppID: "app-2"}, m.ID}, {livestream.Scope{AccountID: "account-2", AppID: here.AppID}, m.ID}} {
		_, err := f.UpdateMeeting(ctx, c.sc, c.id, func(m livestream.Meeting) (livestream.Meeting, error) { return m, nil })
		want(t, err, livestream.ErrNotFound)
	}

	// Each of many at once sees what the one before it wrote.
	var all64 sync.WaitGroup
	for range 64 {
		all64.Go(func() {
			if _, err := f.UpdateMeeting(ctx, here, m.ID, func(m livestream.Meeting) (livestream.Meeting, error) {
				m.SessionKeepAliveSecs++
				return m, nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all64.Wait()
	read, err := f.Meeting(ctx, here, m.ID)
	must(t, err)
	same(t, "after 64 updates at once", read.SessionKeepAliveSecs, 64)
}
