package api

import (
	"net/http"

	"tally/internal/auth"
	"tally/internal/livestream"
)

// A handler answers one route, or returns an error for the table in errors.go.
// Token and app are checked by then; it goes on in the contract's order (section
// 2): object, then query and body.
type handler func(s *server, w http.ResponseWriter, rq *request) error

// A route is one line of the API: every one is in docs/openapi.yaml, and the
// tests compare the two.
type route struct {
	method, path string
	need         auth.Permission // of the token; public: none is asked for
	handle       handler
}

// Where accounts and apps hang (contract section 4).
const (
	kitPath = "/accounts/{account_id}/realtime/kit"
	appPath = kitPath + "/{app_id}"
)

// public routes are answered without a token.
const public auth.Permission = 0

// routes is the one table of what is served and of who may ask. A word beats a
// parameter in the same place (router.go).
var routes = []route{
	{"POST", appPath + "/livestreams", auth.Write, createLivestream},                                  // L1
	{"GET", appPath + "/livestreams", auth.Read, listLivestreams},                                     // L2
	{"GET", appPath + "/livestreams/{livestream_id}", auth.Read, getLivestream},                       // L3
	{"PATCH", appPath + "/livestreams/{livestream_id}", auth.Write, changeLivestream},                 // ours
	{"DELETE", appPath + "/livestreams/{livestream_id}", auth.Write, deleteLivestream},                // ours
	{"GET", appPath + "/livestreams/{livestream_id}/active-livestream-session", auth.Read, getActive}, // L4
	{"POST", appPath + "/livestreams/{livestream_id}/stop", auth.Write, stopLivestream},               // ours
	{"POST", appPath + "/livestreams/{livestream_id}/reset-stream-key", auth.Write, resetStreamKey},   // L14
	{"POST", appPath + "/livestreams/{livestream_id}/cues", auth.Write, createCue},                    // ours
	{"PUT", appPath + "/livestreams/{livestream_id}/enable", auth.Write, enableLivestream},            // L15
	{"PUT", appPath + "/livestreams/{livestream_id}/disable", auth.Write, disableLivestream},          // L15
	{"GET", appPath + "/livestreams/sessions/{session_id}", auth.Read, getSession},                    // L5
	{"GET", appPath + "/livestreams/sessions/{session_id}/events", auth.Read, getTimeline},            // ours
	{"GET", appPath + "/livestreams/sessions/{session_id}/audit", auth.Read, getAudit},                // ours
	{"GET", appPath + "/livestreams/sessions/{session_id}/viewers", auth.Read, listViewers},           // ours
	{"GET", appPath + "/livestreams/sessions/{session_id}/recording", auth.Read, getRecording},        // ours
	{"DELETE", appPath + "/livestreams/sessions/{session_id}/recording", auth.Write, deleteRecording}, // ours
	{"GET", appPath + "/sessions/{session_id}/livestream-sessions", auth.Read, listSessionsOfSession}, // L10

	{"GET", appPath + "/analytics/livestreams/overall", auth.Read, getUsage},      // L11
	{"GET", appPath + "/analytics/livestreams/daywise", auth.Read, getUsageByDay}, // L12
	{"GET", appPath + "/analytics/daywise", auth.Read, getOrgUsage},               // L13

	{"GET", kitPath + "/apps", auth.ReadApps, listApps},
	{"POST", kitPath + "/apps", auth.Write, createApp},
	{"GET", appPath, auth.Read, getApp},       // ours
	{"PATCH", appPath, auth.Write, changeApp}, // ours

	{"POST", appPath + "/meetings", auth.Write, createMeeting},
	{"GET", appPath + "/meetings", auth.Read, listMeetings},
	{"GET", appPath + "/meetings/{meeting_id}", auth.Read, getMeeting},
	{"PATCH", appPath + "/meetings/{meeting_id}", auth.Write, changeMeeting},
	{"PUT", appPath + "/meetings/{meeting_id}", auth.Write, replaceMeeting},
	{"POST", appPath + "/meetings/{meeting_id}/livestreams", auth.Write, startMeetingLivestream},         // L6
	{"POST", appPath + "/meetings/{meeting_id}/active-livestream/stop", auth.Write, stopMeeting},         // L7
	{"GET", appPath + "/meetings/{meeting_id}/active-livestream", auth.Read, getMeetingActiveLivestream}, // L8
	{"GET", appPath + "/meetings/{meeting_id}/livestream", auth.Read, getMeetingLivestream},              // L9

	{"POST", appPath + "/webhooks", auth.Write, createWebhook},
	{"GET", appPath + "/webhooks", auth.Read, listWebhooks},
	{"GET", appPath + "/webhooks/all", auth.Read, listWebhooks},
	{"GET", webhookPath, auth.Read, getWebhook},
	{"PUT", webhookPath, auth.Write, replaceWebhook},
	{"PATCH", webhookPath, auth.Write, editWebhook},
	{"DELETE", webhookPath, auth.Write, deleteWebhook},
	{"POST", webhookPath + "/test", auth.Write, testWebhook}, // ours, as all below
	{"GET", webhookPath + "/deliveries", auth.Read, listDeliveries},
	{"POST", webhookPath + "/replay", auth.Write, replayWebhook},
	{"GET", appPath + "/events", auth.Read, listEvents},
	{"GET", "/.well-known/webhooks.json", public, getPublicKey},

	{"POST", playbackKeysPath, auth.Admin, createPlaybackKey}, // ours, as all below
	{"GET", playbackKeysPath, auth.Admin, listPlaybackKeys},
	{"DELETE", playbackKeysPath + "/{key_id}", auth.Admin, deletePlaybackKey},
	{"POST", appPath + "/livestreams/{livestream_id}/playback-tokens", auth.Write, createPlaybackToken},
	{"POST", revocationsPath, auth.Write, revokePlayback},
	{"GET", revocationsPath, auth.Read, listRevocations},

	{"GET", tokensPath, auth.Admin, listTokens}, // ours
	{"POST", tokensPath, auth.Admin, createToken},
	{"GET", tokensPath + "/{token_id}", auth.Admin, getToken},
	{"DELETE", tokensPath + "/{token_id}", auth.Admin, revokeToken},
}

// A request is one call that passed 401 and 403, of an app that exists when its
// route names one.
type request struct {
	*http.Request
	livestream.Scope
	who auth.Principal
	app livestream.App // zero when the route names none

	end    *endpoint
	values [maxParams]string // of end.params
}

// PathValue returns the named parameter of the route, unescaped; "" when the
// route has none of that name.
func (rq *request) PathValue(name string) string {
	for i, param := range rq.end.params {
		if param == name {
			return rq.values[i]
		}
	}
	return ""
}

// serve picks the method, checks the token and the app, and runs the handler.
// net/http drops the body of an answer to HEAD.
func (s *server) serve(w *answer, r *http.Request) error {
	e, values := s.tree.find(r.URL)
	if e == nil {
		return errNoRoute
	}
	r.Pattern = e.path // for logs
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	rt, ok := e.methods[method]
	if !ok {
		w.Header().Set("Allow", e.allow)
		if method != http.MethodOptions {
			return errMethod
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	rq := &request{Request: r, end: e, values: values}
	rq.AccountID, rq.AppID = rq.PathValue("account_id"), rq.PathValue("app_id")
	err := s.authorize(rq, rt.need)
	w.tokenID = rq.who.TokenID
	if err != nil {
		return err
	}
	if err := s.findApp(rq); err != nil {
		return err
	}
	return s.do(w, rq, rt)
}

// authorize checks the token (401), how often it comes (429), and what it may do
// here (403). Account and app are compared, never looked up, so a foreign one
// answers like one that does not exist.
func (s *server) authorize(rq *request, need auth.Permission) error {
	if need == public {
		return nil
	}
	var bearer string
	if h := rq.Header["Authorization"]; len(h) > 0 {
		bearer = auth.Bearer(h[0])
	}
	who, err := s.Auth.Authenticate(rq.Context(), bearer)
	if err != nil {
		return err
	}
	rq.who = who
	if err := s.perToken.take(who.TokenID); err != nil {
		return err
	}
	if !who.Allows(rq.Scope, need) {
		return errForbidden
	}
	return nil
}

// findApp looks up the app that the route names; a 404 when there is none.
func (s *server) findApp(rq *request) (err error) {
	if rq.AppID == "" {
		return nil
	}
	rq.app, err = s.Store.App(rq.Context(), rq.Scope)
	return orMissing(err, "app", rq.AppID)
}
