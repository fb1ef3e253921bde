package api

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"tally/internal/auth"
	"tally/internal/livestream"
)

// A handler answers one route, or returns an error for the table in errors.go.
// It checks in the contract's order (section 2): app, object, query and body.
type handler func(s *server, w http.ResponseWriter, rq *request) error

// A route is one line of the API: every one is in docs/openapi.yaml, and the
// tests compare the two.
type route struct {
	method, path string
	need         auth.Permission
	handle       handler
}

// Where accounts and apps hang (contract section 4).
const (
	kitPath = "/accounts/{account_id}/realtime/kit"
	appPath = kitPath + "/{app_id}"
)

var routes = []route{
	{"POST", appPath + "/livestreams", auth.Write, createLivestream},                                     // L1
	{"GET", appPath + "/livestreams", auth.Read, listLivestreams},                                        // L2
	{"GET", appPath + "/livestreams/{livestream_id}", auth.Read, getLivestream},                          // L3
	{"GET", appPath + "/livestreams/{livestream_id}/active-livestream-session", auth.Read, getActive},    // L4
	{"GET", appPath + "/livestreams/sessions/{session_id}", auth.Read, getSession},                       // L5
	{"POST", appPath + "/livestreams/{livestream_id}/stop", auth.Write, stopLivestream},                  // ours
	{"POST", appPath + "/meetings", auth.Write, createMeeting},                                           //
	{"GET", appPath + "/meetings/{meeting_id}", auth.Read, getMeeting},                                   //
	{"POST", appPath + "/meetings/{meeting_id}/livestreams", auth.Write, startMeetingLivestream},         // L6
	{"POST", appPath + "/meetings/{meeting_id}/active-livestream/stop", auth.Write, stopMeeting},         // L7
	{"GET", appPath + "/meetings/{meeting_id}/active-livestream", auth.Read, getMeetingActiveLivestream}, // L8
}

// An endpoint is every method of one path.
type endpoint struct {
	s       *server
	methods map[string]route
	allow   string // for 405 and OPTIONS
}

// route fills the mux from the table, with and without the upstream prefix.
func (s *server) route() {
	endpoints := map[string]*endpoint{}
	for _, rt := range routes {
		e := endpoints[rt.path]
		if e == nil {
			e = &endpoint{s: s, methods: map[string]route{}}
			endpoints[rt.path] = e
		}
		e.methods[rt.method] = rt
	}
	sub := &below{s: s, verbs: map[string]*endpoint{}}
	for path, e := range endpoints {
		e.allow = allowed(e.methods)
		switch rest, _ := strings.CutPrefix(path, appPath+"/livestreams/"); {
		case rest == "sessions/{session_id}":
			sub.session = e
		case strings.HasPrefix(rest, "{livestream_id}/"):
			sub.verbs[strings.TrimPrefix(rest, "{livestream_id}/")] = e
		default:
			s.handle(path, e)
		}
	}
	s.handle(appPath+"/livestreams/{livestream_id}/{verb}", sub)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errNoRoute) })
}

func (s *server) handle(path string, h http.Handler) {
	s.mux.Handle(path, h)
	s.mux.Handle("/client/v4"+path, h)
}

// below routes what is one step below a livestream. "sessions" is a reserved
// word in the livestream's place (contract section 1), which the mux alone
// cannot say: it refuses .../sessions/{id} beside .../{id}/stop as ambiguous.
type below struct {
	s       *server
	session *endpoint
	verbs   map[string]*endpoint
}

func (b *below) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb := r.PathValue("verb")
	if r.PathValue("livestream_id") == "sessions" {
		r.SetPathValue("session_id", verb)
		b.session.ServeHTTP(w, r)
	} else if e := b.verbs[verb]; e != nil {
		e.ServeHTTP(w, r)
	} else {
		b.s.fail(w, r, errNoRoute)
	}
}

func allowed(methods map[string]route) string {
	names := slices.Collect(maps.Keys(methods))
	if _, ok := methods["GET"]; ok {
		names = append(names, "HEAD")
	}
	names = append(names, "OPTIONS")
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// A request is one call that passed 401 and 403.
type request struct {
	*http.Request
	livestream.Scope
}

// ServeHTTP picks the method, checks the token, and runs the handler. net/http
// drops the body of an answer to HEAD.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	rt, ok := e.methods[method]
	if !ok {
		w.Header().Set("Allow", e.allow)
		if method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		e.s.fail(w, r, errMethod)
		return
	}
	rq := &request{Request: r, Scope: livestream.Scope{AccountID: r.PathValue("account_id"), AppID: r.PathValue("app_id")}}
	err := e.s.authorize(rq, rt.need)
	if err == nil {
		err = rt.handle(e.s, w, rq)
	}
	if err != nil {
		e.s.fail(w, r, err)
	}
}

// authorize checks the token (401) and what it may do here (403). Account and
// app are compared, never looked up, so a foreign one answers like one that
// does not exist.
func (s *server) authorize(rq *request, need auth.Permission) error {
	var bearer string
	if h := rq.Header["Authorization"]; len(h) > 0 {
		bearer = auth.Bearer(h[0])
	}
	who, err := s.Auth.Authenticate(rq.Context(), bearer)
	if err != nil {
		return err
	}
	if !who.Allows(rq.Scope, need) {
		return errForbidden
	}
	return nil
}

// checkApp answers 404 for an app that does not exist.
func (s *server) checkApp(rq *request) error {
	_, err := s.Store.App(rq.Context(), rq.Scope)
	if errors.Is(err, livestream.ErrNotFound) {
		return missing("app", rq.AppID)
	}
	return err
}
