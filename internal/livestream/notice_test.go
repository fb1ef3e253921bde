package livestream

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What is told of each way through a session: L for LIVE, O for OFFLINE, r and k
// for the health reconnecting and ok; in capitals and small letters, as they
// belong to the two events. A "!" says that there is an errMessage.
func TestNotices(t *testing.T) {
	key := NewStreamKey()
	for name, c := range map[string]struct {
		kinds []Kind
		want  string
	}{
		"published, never playable, ended":   {[]Kind{Publish, Unpublish}, "O"},
		"clean broadcast":                    {[]Kind{Publish, Playable, Unpublish}, "L O"},
		"lost, never playable":               {[]Kind{Publish, Lose}, "O!"},
		"failed on air":                      {[]Kind{Publish, Playable, Fail}, "L O!"},
		"taken over":                         {[]Kind{Publish, Playable, Publish, Unpublish}, "L O"},
		"reconnect":                          {[]Kind{Publish, Playable, Lose, Publish, Unpublish}, "L r! k O"},
		"reconnect in vain":                  {[]Kind{Publish, Playable, Lose, Expire}, "L r! O!"},
		"crash and resume":                   {[]Kind{Publish, Playable, Boot, Publish, Unpublish}, "L r! k O"},
		"crash, crash and resume":            {[]Kind{Publish, Playable, Boot, Boot, Publish, Unpublish}, "L r! k O"},
		"stop of the server and resume":      {[]Kind{Publish, Playable, Shutdown, Boot, Publish, Unpublish}, "L r! k O"},
		"stop of the server, not resumed":    {[]Kind{Publish, Playable, Shutdown, Boot, Expire}, "L r! O!"},
		"crash before playable and resume":   {[]Kind{Publish, Boot, Publish, Playable, Unpublish}, "L O"},
		"crash before playable, not resumed": {[]Kind{Publish, Boot, Expire}, "O!"},
		"stopped on air":                     {[]Kind{Publish, Playable, Stop}, "L O"},
		"disabled on air":                    {[]Kind{Publish, Playable, Disable}, "L O"},
		"key reset on air":                   {[]Kind{Publish, Playable, ResetKey}, "L O"},
		"stopped while reconnecting":         {[]Kind{Publish, Playable, Lose, Stop}, "L r! O"},
		"nothing on air":                     {[]Kind{Disable, Enable, ResetKey}, ""},
		"failure acknowledged":               {[]Kind{Publish, Lose, Stop}, "O!"},
		"twice":                              {[]Kind{Publish, Playable, Unpublish, Publish, Playable, Unpublish}, "L O L O"},
		"meeting":                            {[]Kind{Start, Publish, Playable, Stop}, "L O"},
		"meeting without an encoder":         {[]Kind{Start, Boot, Expire}, "O!"},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			r := Record{Livestream: Livestream{ID: "l", StreamKey: key, PlaybackID: "p", Settings: DefaultSettings, CreatedAt: now}}
			if c.kinds[0] == Start {
				r.Livestream.MeetingID = "m"
			}
			got := ""
			for i, kind := range c.kinds {
				now = now.Add(time.Second)
				if kind == Expire {
					now = r.Session.Deadline
				}
				before := r
				e := Event{Kind: kind, At: now, Epoch: r.Session.Epoch, NewID: string(rune('a' + i)), NewRun: "run",
					Key: r.Livestream.StreamKey, NewKey: NewStreamKey(), SessionID: r.Session.ID, LastMediaAt: now, Reason: Silent(time.Second)}
				if kind != Fail {
					e.Reason = Reason{}
				}
				var err error
				if r, _, err = r.Apply(e); err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				r.Livestream.RefuseUntil = time.Time{}
				for _, n := range Notices(before, r) {
					if n.LivestreamID != "l" || n.SessionID != r.Session.ID || n.PlaybackID != "p" || !n.ManualIngest || !n.At.Equal(r.Session.UpdatedAt) ||
						n.StreamKey != before.Livestream.StreamKey {
						t.Errorf("%s: %+v", kind, n)
					}
					got += " " + letter(n)
				}
			}
			if len(got) > 0 {
				got = got[1:]
			}
			if got != c.want {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

func letter(n Notice) string {
	s := map[string]string{"LIVE": "L", "OFFLINE": "O", HealthReconnecting: "r", HealthOK: "k"}[string(n.Status)]
	if n.Event == HealthUpdate {
		s = map[string]string{HealthReconnecting: "r", HealthOK: "k"}[n.Health]
	}
	if n.ErrMessage != "" {
		s += "!"
	}
	return s
}

// Whatever happens: of one session LIVE is told at most once, OFFLINE exactly
// once and last, and reconnecting and ok take turns in between.
func TestNoticesTakeTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		r := Record{Livestream: Livestream{ID: "l", StreamKey: NewStreamKey(), Settings: DefaultSettings, CreatedAt: now}}
		told := map[string][]string{}
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "later")) * time.Millisecond)
			before := r
			e := drawEvent(t, r, now, i)
			if e.Kind == Publish {
				e.Key = r.Livestream.StreamKey
			}
			r, _, _ = r.Apply(e)
			for _, n := range Notices(before, r) {
				told[n.SessionID] = append(told[n.SessionID], letter(n)[:1])
			}
			if id := before.Session.ID; id != r.Session.ID && id != "" && (len(told[id]) == 0 || told[id][len(told[id])-1] != "O") {
				t.Fatalf("session ended, told %v", told[id])
			}
		}
		for id, list := range told {
			state := ""
			for _, s := range list {
				if !slices.Contains(map[string][]string{"": {"L", "O"}, "L": {"r", "O"}, "r": {"k", "O"}, "k": {"r", "O"}}[state], s) {
					t.Fatalf("session %s: told %v", id, list)
				}
				state = s
			}
		}
	})
}
