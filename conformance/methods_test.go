package conformance_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/conformance"
	"tally/internal/livestream"
)

// A story is one client that calls everything it has, at a server of its own.
type story struct {
	t      *testing.T
	c      conformance.Client
	p      *place
	called map[string]map[string]bool // parameters by method
}

// Every method of every client, with every parameter that it declares: what is
// answered has every declared field, in its type, with the value it must have.
func TestEveryMethodThroughEveryClient(t *testing.T) {
	for _, c := range clients {
		t.Run(c.Name(), func(t *testing.T) {
			s := &story{t: t, c: c, p: ordinary(t), called: map[string]map[string]bool{}}
			t.Run("apps", s.part((*story).apps))
			t.Run("livestreams", s.part((*story).livestreams))
			t.Run("meetings", s.part((*story).meetings))
			t.Run("meeting's livestream", s.part((*story).meetingLivestream))
			t.Run("webhooks", s.part((*story).webhooks))
			t.Run("analytics", s.part((*story).analytics))
			if !t.Failed() {
				s.whole()
			}
		})
	}
}

func (s *story) part(tell func(*story)) func(*testing.T) {
	return func(t *testing.T) {
		one := *s
		one.t = t
		tell(&one)
	}
}

// whole fails for a method of the family that was not called, and for a
// parameter that was never sent.
func (s *story) whole() {
	methods, err := s.c.Methods()
	must(s.t, err)
	for _, m := range methods {
		if !slices.ContainsFunc(conformance.Family, func(e conformance.Endpoint) bool { return slices.Contains(e.Method, m.Name) }) {
			continue
		}
		sent, called := s.called[m.Name]
		if !called {
			s.t.Errorf("%s was not called", m.Name)
		}
		for _, param := range m.Params {
			if called && !sent[param] {
				s.t.Errorf("%s: %s was never sent", m.Name, param)
			}
		}
	}
}

type params = map[string]any

// call makes a call that must be answered with what it declares.
func (s *story) call(method string, ids []string, p params) conformance.Answer {
	s.t.Helper()
	return s.callAt(s.p.target, method, ids, p)
}

func (s *story) callAt(t conformance.Target, method string, ids []string, p params) conformance.Answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	a, err := do(ctx, s.c, t, conformance.Call{Method: method, IDs: ids, Params: p})
	must(s.t, err)
	if a.Refusal != nil {
		s.t.Fatalf("%s: %+v", method, *a.Refusal)
	}
	if !conformance.Lacks(s.c.Name(), method) {
		s.note(method, "", p, a.Undeclared)
	}
	return a
}

func (s *story) note(method, path string, p params, undeclared []string) {
	if s.called[method] == nil {
		s.called[method] = map[string]bool{}
	}
	for name, value := range p {
		below := strings.TrimPrefix(path+"."+name, ".")
		if inner, ok := value.(params); ok {
			s.note(method, below, inner, undeclared)
		} else if !slices.Contains(undeclared, below) {
			s.called[method][below] = true
		}
	}
}

// want compares an answer's fields with what they must be. beside are fields
// that may be there though the client does not declare them.
func (s *story) want(what string, a conformance.Answer, want map[string]field, beside ...string) {
	s.t.Helper()
	if !a.Plain {
		for _, p := range a.Problems {
			path, why, _ := strings.Cut(p, ": ")
			if _, expected := want[path]; !expected && strings.Contains(path, "storage_config.") && strings.HasSuffix(why, "left it out") {
				continue // of another kind of storage
			}
			s.t.Errorf("%s: %s", what, p)
		}
		for _, extra := range a.Extra {
			if !slices.Contains(beside, extra) {
				s.t.Errorf("%s: %s is there, and nobody declares it", what, extra)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		w := want[path].by(s.c.Name())
		got, has := a.Reading[path]
		switch {
		case a.Plain:
			w = want[path].js
		case w == undeclared, !has && s.c.Go() && slices.Contains(beside, path):
			continue
		}
		if diff := cmp.Diff(w, got); diff != "" || !has {
			s.t.Errorf("%s: %s (-want +got):\n%s", what, path, diff)
		}
	}
	for path, got := range a.Reading {
		_, ok := want[path]
		ours := slices.ContainsFunc(beside, func(b string) bool { return path == b || strings.HasPrefix(path, b+".") })
		if !ok && !ours && got != nil && !a.Plain {
			s.t.Errorf("%s: %s = %v is compared by nobody", what, path, got)
		}
	}
}

func (s *story) apps() {
	began := s.p.now
	appAt := func(t time.Time) field { f := at(t); f.v6 = f.js; return f }
	for _, name := range []string{"second app", "third app"} {
		s.p.now = s.p.now.Add(time.Minute)
		a := s.call("Apps.Post", nil, params{"name": name})
		s.want("new app", a, map[string]field{
			"app.id": plain(a.Reading["app.id"].(string)), "app.name": plain(name), "app.created_at": appAt(s.p.now)})
	}
	row := func(i string, name string, t time.Time, id any) map[string]field {
		return map[string]field{i + ".id": {golang: id, js: id}, i + ".name": plain(name), i + ".created_at": appAt(t)}
	}
	paged := func(total, from, to float64, rows ...map[string]field) map[string]field {
		want := map[string]field{"#": length(len(rows)), "paging.total_count": number(total), "paging.start_offset": number(from), "paging.end_offset": number(to)}
		for name, f := range want {
			if name != "#" {
				f.v6 = undeclared
				want[name] = f
			}
		}
		for _, r := range rows {
			maps.Copy(want, r)
		}
		return want
	}
	a := s.call("Apps.Get", nil, nil)
	ids := func(i string) any { return a.Reading[i+".id"] }
	s.want("apps", a, paged(3, 1, 3, row("0", "third app", began.Add(2*time.Minute), ids("0")), row("1", "second app", began.Add(time.Minute), ids("1")),
		row("2", "first app", began, s.p.target.App)), "paging")
	a = s.call("Apps.Get", nil, params{"page_no": 2, "per_page": 1, "search": "app", "sort_order": "ASC"})
	if len(a.Undeclared) == 0 { // before v7 the list took no query
		s.want("apps, second page", a, paged(3, 2, 2, row("0", "second app", began.Add(time.Minute), a.Reading["0.id"])), "paging")
		a = s.call("Apps.Get", nil, params{"search": "third"})
		s.want("apps found", a, paged(1, 1, 1, row("0", "third app", began.Add(2*time.Minute), a.Reading["0.id"])), "paging")
	}
}

func (s *story) livestreams() {
	p := s.p
	a := s.call("Livestreams.NewIndependentLivestream", nil, params{"name": "made by a client"})
	id := a.Reading["id"].(string)
	rec, err := p.store.RecordByID(s.t.Context(), p.scope(), id)
	must(s.t, err)
	created := p.livestream(rec, at)
	created["status"], created["disabled"] = plain("INVOKED"), flag(false)
	delete(created, "created_at")
	delete(created, "updated_at")
	s.want("created", a, created, "created_at", "updated_at")
	p.now = p.now.Add(time.Second)
	a = s.call("Livestreams.NewIndependentLivestream", nil, params{"name": nil})
	if name := a.Reading["name"]; name != text("", false).by(s.c.Name()) {
		s.t.Errorf("a livestream created with a null name is called %#v", name)
	}

	p.meeting()
	with := p.create("of a meeting", p.target.Meeting)
	p.advance(with, time.Second, livestream.Event{Kind: livestream.Start})
	older := p.now
	newest := p.create("newest", "")
	s.lists(map[string]params{
		newest: {"page_no": 1, "per_page": 2},
		with:   {"page_no": 2, "per_page": 1, "sort_order": "DSC", "exclude_meetings": false},
		id:     {"exclude_meetings": true, "sort_order": "ASC"},
	}, 4, 3)
	s.lists(map[string]params{with: {"status": "INVOKED"}}, 1, 1)
	s.lists(map[string]params{newest: {"start_time": older.Add(time.Second), "end_time": p.now.Add(time.Hour)}}, 1, 1)

	p.target.Livestream = newest
	p.advance(newest, time.Second, livestream.Event{Kind: livestream.Publish})
	p.advance(newest, time.Second, livestream.Event{Kind: livestream.Unpublish})
	first := p.target.Session
	p.advance(newest, time.Minute, livestream.Event{Kind: livestream.Publish})
	p.count(p.advance(newest, time.Second, livestream.Event{Kind: livestream.Playable}), 5*time.Second, 3*time.Second)
	want := below(p.expected(), "by_id")
	want["paging.end_offset"], want["paging.total_count"] = whole(1), whole(2)
	s.want("by id", s.call("Livestreams.GetLivestreamSessionForLivestreamID", []string{newest}, params{"page_no": 1, "per_page": 1}), want, "sessions", "paging")
	s.want("active", s.call("Livestreams.GetActiveLivestreamsForLivestreamID", []string{newest}, nil), below(p.expected(), "active"))
	s.want("session", s.call("Livestreams.GetLivestreamSessionDetailsForSessionID", []string{p.target.Session}, nil), below(p.expected(), "session"), "invoked_time")
	if a := s.call("Livestreams.GetLivestreamSessionForLivestreamID", []string{newest}, params{"page_no": 2, "per_page": 1}); s.c.Go() {
		if got := a.Reading["session.id"]; got != p.target.Session {
			s.t.Errorf("the second page of sessions shows session %v, want the newest whatever the page", got)
		}
	} else if got := a.Reading["sessions.0.id"]; got != first {
		s.t.Errorf("the second page of sessions begins with %v, want %v", got, first)
	}
}

// lists reads the list with each of these queries: the livestream that it
// begins with, and how many there are, with and without those of meetings.
func (s *story) lists(queries map[string]params, total, independent int64) {
	s.t.Helper()
	for first, query := range queries {
		a := s.call("Livestreams.GetAllLivestreams", nil, query)
		rec, err := s.p.store.RecordByID(s.t.Context(), s.p.scope(), first)
		must(s.t, err)
		want := s.p.livestream(rec, at)
		n := total
		if query["exclude_meetings"] == true {
			n = independent
		}
		from, to := int64(1), n
		if size, ok := query["per_page"].(int); ok {
			from = int64(size*(query["page_no"].(int)-1)) + 1
			to = min(n, from+int64(size)-1)
		}
		want["paging.total_count"], want["paging.start_offset"], want["paging.end_offset"] = whole(n), whole(from), whole(to)
		s.want("list", a, want, "livestreams", "paging")
		if !s.c.Go() && a.Reading["livestreams.#"] != int(to-from+1) {
			s.t.Errorf("list: %v livestreams, want %d", a.Reading["livestreams.#"], to-from+1)
		}
	}
}

// below are the fields of one read among several.
func below(all map[string]field, name string) map[string]field {
	fields := map[string]field{}
	for path, f := range all {
		if inner, ok := strings.CutPrefix(path, name+"."); ok {
			fields[inner] = f
		}
	}
	return fields
}

func (s *story) meetingLivestream() {
	p := s.p
	meeting := p.meeting()
	a := s.call("Livestreams.StartLivestreamingAMeeting", []string{meeting}, params{"name": "from a meeting", "video_config": params{"width": 1280, "height": 720}})
	id := a.Reading["id"].(string)
	rec, err := p.store.RecordByID(s.t.Context(), p.scope(), id)
	must(s.t, err)
	all := p.livestream(rec, at)
	want := map[string]field{"id": all["id"], "status": plain("INVOKED"), "ingest_server": all["ingest_server"],
		"stream_key": all["stream_key"], "playback_url": all["playback_url"]}
	beside := []string{"name", "meeting_id", "disabled", "created_at", "updated_at"}
	s.want("started", a, want, beside...)
	if rec.Livestream.MeetingID != meeting || rec.Livestream.Name != "from a meeting" {
		s.t.Errorf("the meeting's livestream is %q of meeting %q", rec.Livestream.Name, rec.Livestream.MeetingID)
	}
	s.want("active of meeting", s.call("Livestreams.GetMeetingActiveLivestreams", []string{meeting}, nil), all)
	again, err := s.c.Call(s.t.Context(), p.target, of("Livestreams.StartLivestreamingAMeeting", meeting))
	must(s.t, err)
	if again.Refusal == nil || again.Refusal.Status != 400 {
		s.t.Errorf("a second start: %+v", again.Refusal)
	}
	s.want("stopped", s.call("Livestreams.StopLivestreamingAMeeting", []string{meeting}, nil), map[string]field{"message": plain("Stopped live stream successfully")})
	for name, message := range map[string]string{
		"Livestreams.StopLivestreamingAMeeting":   "No active livestream found for meeting_id " + meeting,
		"Livestreams.GetMeetingActiveLivestreams": "No active livestream found for meeting_id " + meeting,
	} {
		none, err := s.c.Call(s.t.Context(), p.target, of(name, meeting))
		must(s.t, err)
		if r := none.Refusal; r == nil || r.Status != 404 || r.Message != message {
			s.t.Errorf("%s when nothing is live: %+v", name, r)
		}
	}
	a = s.call("Livestreams.StartLivestreamingAMeeting", []string{meeting}, params{"name": nil})
	if a.Reading["id"] != id || a.Reading["stream_key"] != want["stream_key"].golang {
		s.t.Errorf("started again the meeting has livestream %v, before %v", a.Reading["id"], id)
	}
}
