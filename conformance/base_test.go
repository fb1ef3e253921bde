package conformance_test

import (
	"strings"
	"testing"

	"tally/conformance"
)

// A base URL may end in /client/v4 or not, with or without a slash, and come
// from the environment: the same routes answer, with nothing collapsed,
// redirected or doubled.
func TestBaseURLs(t *testing.T) {
	p := ordinary(t)
	p.create("somewhere", "")
	root := strings.TrimSuffix(p.target.Base, "/client/v4")
	for _, base := range []string{root, root + "/", root + "/client/v4", root + "/client/v4/"} {
		path := strings.TrimSuffix(strings.TrimPrefix(base, root), "/") + "/accounts/acc/realtime/kit/app/livestreams"
		for _, c := range clients {
			target := p.target
			target.Base = base
			p.wire.will()
			readsOne(t, p, c, target, path)
		}
	}
}

// CLOUDFLARE_BASE_URL and CLOUDFLARE_API_TOKEN are all that a program needs.
func TestBaseURLFromTheEnvironment(t *testing.T) {
	p := ordinary(t)
	p.create("somewhere", "")
	root := strings.TrimSuffix(p.target.Base, "/client/v4")
	t.Setenv("CLOUDFLARE_API_TOKEN", p.target.Token)
	for i, base := range []string{root + "/client/v4", root + "/client/v4/", root} {
		t.Setenv("CLOUDFLARE_BASE_URL", base)
		path := strings.TrimSuffix(strings.TrimPrefix(base, root), "/") + "/accounts/acc/realtime/kit/app/livestreams"
		for _, c := range clients {
			target := conformance.Target{Account: p.target.Account, App: p.target.App}
			if !c.Go() {
				if i > 0 {
					continue // starts a process each time, and what follows is the same code
				}
				c = conformance.NewJS(strings.TrimPrefix(c.Name(), "js ")) // with this environment
				defer c.Close()
			}
			p.wire.will()
			readsOne(t, p, c, target, path)
		}
	}
}

// readsOne reads the livestream, and sees that one request for path was sent.
func readsOne(t *testing.T, p *place, c conformance.Client, target conformance.Target, path string) {
	t.Helper()
	a, err := c.Call(t.Context(), target, conformance.Call{Method: "Livestreams.GetAllLivestreams"})
	must(t, err)
	if a.Refusal != nil || a.Reading["id"] != p.target.Livestream {
		t.Errorf("%s at %q: %+v %v", c.Name(), path, a.Refusal, a.Reading["id"])
	}
	if seen := p.wire.requests(); len(seen) != 1 || seen[0].path != path {
		t.Errorf("%s: sent %+v, want one request for %s", c.Name(), seen, path)
	}
}

// How each client sends what has no body (contract 3.5): all are understood.
func TestStopAsEachClientSendsIt(t *testing.T) {
	p := ordinary(t)
	for _, c := range clients {
		meeting := p.meeting()
		_, err := c.Call(t.Context(), p.target, of("Livestreams.StartLivestreamingAMeeting", meeting))
		must(t, err)
		p.wire.will()
		a, err := c.Call(t.Context(), p.target, of("Livestreams.StopLivestreamingAMeeting", meeting))
		must(t, err)
		sent := p.wire.requests()[0]
		if a.Refusal != nil || a.Reading["message"] != "Stopped live stream successfully" {
			t.Errorf("%s: %+v %v", c.Name(), a.Refusal, a.Reading)
		}
		if sent.body != "" {
			t.Errorf("%s sent a body: %q", c.Name(), sent.body)
		}
		want := ""
		if strings.HasPrefix(c.Name(), "js 6") {
			want = "application/json"
		}
		if got := sent.header.Get("Content-Type"); got != want {
			t.Errorf("%s sent Content-Type %q, want %q", c.Name(), got, want)
		}
	}
}
