package conformance_test

import (
	"maps"
	"time"

	"tally/conformance"
)

// upstreamEvents are those that the official clients know.
var upstreamEvents = []string{"meeting.started", "meeting.ended", "meeting.participantJoined", "meeting.participantLeft",
	"meeting.chatSynced", "recording.statusUpdate", "livestreaming.statusUpdate", "meeting.transcript", "meeting.summary"}

func (s *story) webhooks() {
	p := s.p
	p.now = p.now.Add(time.Hour)
	made := func(id, name, url string, events []string, enabled bool, created, updated time.Time) map[string]field {
		want := shownOf("", params{"id": id, "name": name, "url": url, "events": events, "enabled": enabled})
		want["created_at"], want["updated_at"] = at(created), at(updated)
		return want
	}
	created := p.now
	a := s.call("Webhooks.NewWebhook", nil, params{"name": "all of them", "url": "https://hooks.example/in?a=b", "events": upstreamEvents, "enabled": false})
	id, _ := a.Reading["id"].(string)
	all := made(id, "all of them", "https://hooks.example/in?a=b", upstreamEvents, false, created, created)
	s.want("created", a, all, "secret")
	one := []string{"livestreaming.statusUpdate"}
	p.now = p.now.Add(time.Second)
	a = s.call("Webhooks.NewWebhook", nil, params{"name": "one", "url": "https://hooks.example/two", "events": one})
	second := made(a.Reading["id"].(string), "one", "https://hooks.example/two", one, true, p.now, p.now)
	s.want("created with defaults", a, second, "secret")
	s.want("read back", s.call("Webhooks.GetWebhookByID", []string{id}, nil), all)
	s.webhookList(s.call("Webhooks.GetWebhooks", nil, nil), all, second)

	p.now = p.now.Add(time.Second)
	a = s.call("Webhooks.EditWebhook", []string{id}, params{"enabled": true})
	s.want("enabled", a, made(id, "all of them", "https://hooks.example/in?a=b", upstreamEvents, true, created, p.now))
	p.now = p.now.Add(time.Second)
	a = s.call("Webhooks.EditWebhook", []string{id}, params{"name": "edited", "url": "http://hooks.example:8080/", "events": one, "enabled": false})
	s.want("edited", a, made(id, "edited", "http://hooks.example:8080/", one, false, created, p.now))
	p.now = p.now.Add(time.Second)
	a = s.call("Webhooks.ReplaceWebhook", []string{id}, params{"name": "replaced", "url": "https://hooks.example/three", "events": upstreamEvents[:2]})
	s.want("replaced", a, made(id, "replaced", "https://hooks.example/three", upstreamEvents[:2], true, created, p.now))
	p.now = p.now.Add(time.Second)
	a = s.call("Webhooks.ReplaceWebhook", []string{id}, params{"name": "off", "url": "https://hooks.example/three", "events": one, "enabled": false})
	last := made(id, "off", "https://hooks.example/three", one, false, created, p.now)
	s.want("replaced with enabled", a, last)

	s.want("deleted", s.call("Webhooks.DeleteWebhook", []string{id}, nil), last)
	s.webhookList(s.call("Webhooks.GetWebhooks", nil, nil), second)
	gone, err := s.c.Call(s.t.Context(), p.target, of("Webhooks.GetWebhookByID", id))
	must(s.t, err)
	if gone.Refusal == nil || gone.Refusal.Status != 404 {
		s.t.Errorf("the deleted webhook is answered %+v", gone.Refusal)
	}
}

// webhookList compares the list with these webhooks, in whatever order.
func (s *story) webhookList(a conformance.Answer, rows ...map[string]field) {
	s.t.Helper()
	want := map[string]field{"#": length(len(rows))}
	for i, row := range rows {
		at := "0."
		if len(rows) > 1 && a.Reading["1.id"] == row["id"].js {
			at = "1."
		} else if i > 0 && a.Reading["0.id"] != row["id"].js {
			s.t.Errorf("the list lacks %v", row["id"].js)
		}
		maps.Copy(want, under(at, row))
	}
	s.want("webhooks", a, want)
}

// under puts fields below a path.
func under(path string, fields map[string]field) map[string]field {
	all := map[string]field{}
	for name, f := range fields {
		all[path+name] = f
	}
	return all
}
