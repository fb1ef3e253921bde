package conformance_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tally/conformance"
	"tally/internal/auth"
	"tally/internal/livestream"
)

const nobody = "00000000-0000-4000-8000-000000000000"

// refusals are the ways of being refused, and what each client says then.
var refusals = []struct {
	name    string
	call    conformance.Call
	target  func(*place, *conformance.Target)
	fault   fault
	broken  error
	class   string // JavaScript's
	status  int
	code    int64
	message string // LIVESTREAM stands for the id
	pointer string
}{
	{name: "wrong token", call: active, class: "AuthenticationError", status: 401, code: 10000, message: "Authentication error",
		target: func(_ *place, t *conformance.Target) { t.Token = "wrong" }},
	{name: "other account", call: active, class: "PermissionDeniedError", status: 403, code: 10000, message: "Authentication error",
		target: func(_ *place, t *conformance.Target) { t.Account = "0123456789abcdef0123456789abcdef" }},
	{name: "token that may only read", call: conformance.Call{Method: "Meetings.New"}, class: "PermissionDeniedError", status: 403, code: 10000, message: "Authentication error",
		target: func(p *place, t *conformance.Target) { t.Token = p.token(auth.RealtimeRead) }},
	{name: "unknown app", call: active, class: "NotFoundError", status: 404, code: 404, message: `NOT_FOUND: app "nowhere" does not exist`,
		target: func(_ *place, t *conformance.Target) { t.App = "nowhere" }},
	{name: "unknown livestream", call: of("Livestreams.GetLivestreamSessionForLivestreamID", nobody), class: "NotFoundError", status: 404, code: 404,
		message: `NOT_FOUND: livestream "` + nobody + `" does not exist`},
	{name: "unknown session", call: of("Livestreams.GetLivestreamSessionDetailsForSessionID", nobody), class: "NotFoundError", status: 404, code: 404,
		message: `NOT_FOUND: livestream session "` + nobody + `" does not exist`},
	{name: "unknown meeting", call: of("Livestreams.StartLivestreamingAMeeting", nobody), class: "NotFoundError", status: 404, code: 404,
		message: `NOT_FOUND: meeting "` + nobody + `" does not exist`},
	{name: "nothing is live", call: active, class: "NotFoundError", status: 404, code: 404,
		message: "No active livestream session found for livestream_id LIVESTREAM"},
	{name: "no such route", call: conformance.Call{Method: "GET nothing/here"}, class: "NotFoundError", status: 404, code: 7003,
		message: "Could not route to /client/v4/accounts/acc/realtime/kit/app/nothing/here, perhaps your object identifier is invalid?"},
	{name: "wrong method", call: conformance.Call{Method: "DELETE livestreams"}, class: "APIError", status: 405, code: 405,
		message: "METHOD_NOT_ALLOWED: this path takes GET, HEAD, OPTIONS, POST"},
	{name: "bad body", call: conformance.Call{Method: "Meetings.New", Params: map[string]any{"title": "two\nlines"}}, class: "BadRequestError",
		status: 400, code: 400, message: `BAD_REQUEST: "title" must not hold control characters`, pointer: "/title"},
	{name: "bad body deep down", class: "BadRequestError", status: 400, code: 400,
		call: conformance.Call{Method: "Livestreams.StartLivestreamingAMeeting", IDs: []string{"MEETING"},
			Params: map[string]any{"video_config": map[string]any{"width": 5000}}},
		message: `BAD_REQUEST: "width" must be a whole number from 1 to 1920`, pointer: "/video_config/width"},
	{name: "bad query", call: conformance.Call{Method: "Livestreams.GetAllLivestreams", Params: map[string]any{"page_no": -1}},
		class: "BadRequestError", status: 400, code: 400, message: `BAD_REQUEST: "page_no" must be a whole number of at least 0`},
	{name: "too many requests", call: active, fault: busy(429, "1"), class: "RateLimitError", status: 429, code: 0, message: "not now"},
	{name: "broken store", call: active, broken: errors.New("disk gone"), class: "InternalServerError", status: 500, code: 500,
		message: "INTERNAL_SERVER_ERROR: the server's log says more under this answer's X-Request-Id"},
	{name: "server that stops", call: active, broken: livestream.ErrStopping, class: "InternalServerError", status: 503, code: 503,
		message: "SERVICE_UNAVAILABLE: the request was not finished in time or the server is stopping; try again"},
}

var active = of("Livestreams.GetActiveLivestreamsForLivestreamID", "LIVESTREAM")

func of(method, id string) conformance.Call {
	return conformance.Call{Method: method, IDs: []string{id}}
}

// What each refusal looks like, through every client.
func TestErrorsThroughEveryClient(t *testing.T) {
	p := ordinary(t)
	names := strings.NewReplacer("LIVESTREAM", p.create("quiet", ""), "MEETING", p.meeting())
	for _, w := range refusals {
		t.Run(w.name, func(t *testing.T) {
			target := p.target
			if w.target != nil {
				w.target(p, &target)
			}
			p.broken = w.broken
			defer func() { p.broken = nil }()
			call := w.call
			call.IDs = nil
			for _, id := range w.call.IDs {
				call.IDs = append(call.IDs, names.Replace(id))
			}
			for _, c := range clients {
				want := conformance.Refusal{Class: w.class, Status: w.status, Code: w.code, Message: names.Replace(w.message), Pointer: w.pointer}
				if c.Go() {
					want.Class = "Error" // the one it has
				}
				p.wire.will()
				if w.fault != nil {
					p.wire.will(w.fault)
				}
				target.Retries = w.status < 429 // those are not retried
				a, err := c.Call(t.Context(), target, call)
				must(t, err)
				if a.Refusal == nil {
					t.Errorf("%s: no error but %v", c.Name(), a.Reading)
				} else if *a.Refusal != want {
					t.Errorf("%s: %+v, want %+v", c.Name(), *a.Refusal, want)
				}
				if n := len(p.wire.requests()); n != 1 {
					t.Errorf("%s: %d requests", c.Name(), n)
				}
			}
		})
	}
}

// The checks themselves see what is wrong: a server that leaves out a field,
// sends another type, an unknown status or a failure as success.
func TestWrongAnswersAreNoticed(t *testing.T) {
	var answer string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(answer))
	}))
	defer srv.Close()
	const good = `{"success":true,"data":{"id":"1","name":"n","status":"LIVE","meeting_id":null,"ingest_server":"i","stream_key":"k",
		"playback_url":"p","disabled":"false","created_at":"2026-01-02T03:04:05.000Z","updated_at":"2026-01-02T03:04:05.000Z"}}`
	target := conformance.Target{Base: srv.URL, Token: "t", Account: "a", App: "b"}
	for _, w := range []struct{ name, answer, problem, null, extra string }{
		{"as it should be", good, "", "meeting_id", ""},
		{"a field too few", strings.Replace(good, `"name":"n",`, "", 1), "name: the server left it out", "meeting_id", ""},
		{"a field too many", strings.Replace(good, `"name":"n",`, `"name":"n","more":1,`, 1), "", "meeting_id", "more"},
		{"an unknown status", strings.Replace(good, "LIVE", "OFFLINE", 1), `status: the client does not know "OFFLINE"`, "meeting_id", ""},
		{"no success", strings.Replace(good, "true", "false", 1), "success is not true", "meeting_id", ""},
	} {
		answer = w.answer
		for _, c := range clients {
			a, err := c.Call(t.Context(), target, of("Livestreams.GetMeetingActiveLivestreams", "m"))
			must(t, err)
			problem, null, extra := strings.Join(a.Problems, "; "), strings.Join(a.Nulls, "; "), strings.Join(a.Extra, "; ")
			if problem != w.problem || null != w.null || extra != w.extra {
				t.Errorf("%s, %s: problems %q, nulls %q, extra %q", c.Name(), w.name, problem, null, extra)
			}
			if !json.Valid(a.Raw) {
				t.Errorf("%s, %s: raw answer %q", c.Name(), w.name, a.Raw)
			}
		}
	}
	answer = strings.Replace(good, `"false"`, "false", 1)
	for _, c := range clients {
		a, err := c.Call(t.Context(), target, of("Livestreams.GetMeetingActiveLivestreams", "m"))
		must(t, err)
		if c.Go() { // takes either, contract 6.1
			if a.Reading["disabled"] != "false" {
				t.Errorf("%s: a bare boolean became %#v", c.Name(), a.Reading["disabled"])
			}
		} else if len(a.Problems) != 1 || a.Problems[0] != "disabled: a boolean, and the client declares string" {
			t.Errorf("%s: problems %q", c.Name(), a.Problems)
		}
	}
}
