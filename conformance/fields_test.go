package conformance_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/conformance"
	"tally/internal/livestream"
)

// The scripted broadcasts. No field of livestream or session has the same value
// in all of them, so a constant cannot pass.
var scripts = []struct {
	name string
	play func(t *testing.T) *place
}{
	{"live for the second time", func(t *testing.T) *place {
		p := newPlace(t, "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "https://live.example.org", "rtmps://live.example.org:443/live/")
		id := p.create("Sunday service", "")
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Unpublish})
		p.advance(id, time.Minute, livestream.Event{Kind: livestream.Publish})
		rec := p.advance(id, 345*time.Millisecond, livestream.Event{Kind: livestream.Playable})
		p.count(rec, 60600*time.Millisecond, 12400*time.Millisecond)
		return p
	}},
	{"meeting that failed", func(t *testing.T) *place {
		p := newPlace(t, "acc", "a-longer_app-id-of-64-characters-which-only-the-pages-call-32-xyz", "http://10.1.2.3:8080", "rtmp://10.1.2.3:1935/live/")
		p.create("older", "")
		id := p.create("", p.meeting())
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Start})
		p.advance(id, time.Minute, livestream.Event{Kind: livestream.Publish})
		p.advance(id, 10*time.Second, livestream.Event{Kind: livestream.Fail, Reason: livestream.Silent(10 * time.Second)})
		return p
	}},
	{"meeting that reconnects", func(t *testing.T) *place {
		p := newPlace(t, "acc", "app", "https://tally.example", "rtmp://tally.example:1935/live/")
		id := p.create("Weekly", p.meeting())
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Start})
		p.advance(id, time.Minute, livestream.Event{Kind: livestream.Publish})
		rec := p.advance(id, 500*time.Millisecond, livestream.Event{Kind: livestream.Playable})
		p.count(rec, 3*time.Second, 1501*time.Millisecond)
		p.advance(id, time.Second, livestream.Event{Kind: livestream.Lose, LastMediaAt: p.now})
		p.flip = true
		return p
	}},
}

// Every field of every read, in the type that its endpoint declares, through
// every client.
func TestEveryFieldThroughEveryClient(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			p := s.play(t)
			want := p.expected()
			for _, c := range clients {
				t.Run(c.Name(), func(t *testing.T) {
					got, err := conformance.ReadAll(t.Context(), c, p.target)
					must(t, err)
					compare(t, c.Name(), want, got, []string{"list.livestreams", "list.paging", "by_id.sessions", "by_id.paging", "session.invoked_time",
						"meeting.transcribe_on_end"})
				})
			}
		})
	}
}

// compare holds a reading against what it must be. A field that is beside
// those declared may be there, and is compared where want has it.
func compare(t *testing.T, client string, want map[string]field, got conformance.Reading, beside []string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		w := want[path].by(client)
		if _, has := got[path]; w == undeclared || !has && slices.Contains(beside, path) && strings.HasPrefix(client, "go ") {
			continue
		} else if !has {
			t.Errorf("%s: the server left it out", path)
			continue
		}
		if diff := cmp.Diff(w, got[path]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok && !slices.ContainsFunc(beside, func(b string) bool { return path == b || strings.HasPrefix(path, b+".") }) {
			t.Errorf("%s = %v is declared by the client and compared by nobody", path, got[path])
		}
	}
}

// A field whose value is the same in all scripts could be a constant: the
// comparison above would not notice.
func TestScriptsTellEveryFieldApart(t *testing.T) {
	values := map[string][]string{}
	for _, s := range scripts {
		for path, v := range s.play(t).expected() {
			if text := fmt.Sprint(v.js); !slices.Contains(values[path], text) {
				values[path] = append(values[path], text)
			}
		}
	}
	for path, seen := range values {
		if strings.HasPrefix(path, "active.") && len(seen) < 2 {
			t.Errorf("%s is %s in every script", path, seen)
		}
	}
}

// A field as the clients decode it.
type field struct {
	golang, js any
	v6         any // where cloudflare-go v6 declares it otherwise than v7
}

func (f field) by(client string) any {
	switch {
	case client == "go v6" && f.v6 != nil:
		return f.v6
	case strings.HasPrefix(client, "go "):
		return f.golang
	}
	return f.js
}

// undeclared marks a field that the Go client does not declare.
var undeclared any = new(int)

const layout = "2006-01-02T15:04:05.000Z"

// text is a string that may be null; Go shows null as "".
func text(s string, has bool) field {
	if !has {
		return field{golang: ""}
	}
	return field{golang: s, js: s}
}

func plain[T ~string](s T) field { return text(string(s), true) }

// at is a date-time, and atText a time that the endpoint declares as a string.
func at(t time.Time) field {
	if t.IsZero() {
		return field{golang: time.Time{}}
	}
	t = t.UTC().Truncate(time.Millisecond)
	return field{golang: t, js: t.Format(layout)}
}

func atText(t time.Time) field { return text(t.UTC().Format(layout), !t.IsZero()) }

func whole(n int64) field    { return field{golang: n, js: float64(n)} }
func number(n float64) field { return field{golang: n, js: n} }
func flag(b bool) field      { return field{golang: b, js: b} }

// length is that of an array, which the readings have at "#".
func length(n int) field { return field{golang: n, js: n} }

// object is one that is null.
func object() field { return field{golang: undeclared} }

// expected says what every read must give, from what the store holds: one line
// per field of the contract's table 6.2.
func (p *place) expected() map[string]field {
	p.t.Helper()
	rec, err := shown{p.store, p}.RecordByID(p.t.Context(), p.scope(), p.target.Livestream)
	must(p.t, err)
	all, total, err := p.store.Records(p.t.Context(), p.scope(), livestream.Query{Page: livestream.Page{Number: 1, Size: 25}})
	must(p.t, err)
	_, sessions, err := p.store.Sessions(p.t.Context(), p.scope(), p.target.Livestream, livestream.Page{Number: 1, Size: 25})
	must(p.t, err)
	want := map[string]field{}
	put := func(prefix string, fields map[string]field) {
		for name, f := range fields {
			want[prefix+"."+name] = f
		}
	}
	put("list", p.livestream(all[0], at))
	put("list.paging", paging(len(all), total))
	put("by_id.livestream", p.livestream(rec, atText))
	put("by_id.session", session(rec.Session, func(n int64) field { return number(float64(n)) }))
	put("by_id.paging", paging(sessions, sessions))
	put("active.livestream", p.livestream(rec, at))
	put("active.session", session(rec.Session, func(n int64) field { return plain(fmt.Sprint(n)) }))
	put("session", session(rec.Session, whole))
	want["session.started_time"], want["session.stopped_time"] = atText(rec.Session.StartedAt), atText(rec.Session.StoppedAt)
	want["session.updated_at"] = atText(rec.Session.UpdatedAt)
	want["session.invoked_time"] = field{golang: undeclared, js: at(rec.Session.InvokedAt).js}
	if p.target.Meeting != "" {
		put("meeting_active", p.livestream(all[0], at))
		put("meeting", meeting(p))
	}
	return want
}

func (p *place) livestream(rec livestream.Record, when func(time.Time) field) map[string]field {
	l := rec.Livestream
	return map[string]field{
		"id":            plain(l.ID),
		"created_at":    when(l.CreatedAt),
		"disabled":      plain(fmt.Sprint(l.Disabled)),
		"ingest_server": plain(p.ingest),
		"meeting_id":    text(l.MeetingID, l.MeetingID != ""),
		"name":          text(l.Name, l.HasName),
		"playback_url":  plain(p.public + "/hls/" + l.PlaybackID + "/index.m3u8"),
		"status":        plain(rec.Session.Status()),
		"stream_key":    plain(l.StreamKey.Reveal()),
		"updated_at":    when(l.UpdatedAt),
	}
}

func session(s livestream.Session, seconds func(int64) field) map[string]field {
	rounded := func(d time.Duration) field { return seconds(int64(d.Round(time.Second) / time.Second)) }
	return map[string]field{
		"id":             plain(s.ID),
		"created_at":     at(s.CreatedAt),
		"err_message":    text(s.ErrMessage(), s.ErrMessage() != ""),
		"ingest_seconds": rounded(s.Ingest),
		"invoked_time":   at(s.InvokedAt),
		"livestream_id":  plain(s.LivestreamID),
		"started_time":   at(s.StartedAt),
		"stopped_time":   at(s.StoppedAt),
		"updated_at":     at(s.UpdatedAt),
		"viewer_seconds": rounded(s.Viewed),
	}
}

func paging(shown, total int) map[string]field {
	return map[string]field{"total_count": whole(int64(total)), "start_offset": whole(1), "end_offset": whole(int64(shown))}
}

func meeting(p *place) map[string]field {
	m, err := p.store.Meeting(p.t.Context(), p.scope(), p.target.Meeting)
	must(p.t, err)
	transcribe := flag(false)
	transcribe.v6 = undeclared
	return map[string]field{
		"id": plain(m.ID), "title": plain("room"), "status": plain("ACTIVE"),
		"created_at": at(m.CreatedAt), "updated_at": at(m.UpdatedAt),
		"session_keep_alive_time_in_secs": number(60),
		"record_on_start":                 flag(false), "live_stream_on_start": flag(false), "persist_chat": flag(false),
		"summarize_on_end": flag(false), "transcribe_on_end": transcribe,
		"recording_config": object(), "ai_config": object(),
	}
}
