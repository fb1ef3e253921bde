package conformance

import (
	"slices"
	"strings"
)

// An Endpoint is one of the API's that official clients have a method for
// (contract sections 4.1 and 4.2, core and near).
type Endpoint struct {
	Name   string   // as in the contract
	Route  string   // "GET A/livestreams/ID": K is the account's kit, A the app below it
	Method []string // what calls it, in every client but those in Lack
	Lack   []string // releases without a method; their users send a plain request
}

// Family is every endpoint that some official client calls. A test compares it
// with what each client has and where that goes.
var Family = []Endpoint{
	{"L1", "POST A/livestreams", []string{"Livestreams.NewIndependentLivestream"}, []string{"js 7.3.0"}},
	{"L2", "GET A/livestreams", []string{"Livestreams.GetAllLivestreams"}, nil},
	{"L3", "GET A/livestreams/ID", []string{"Livestreams.GetLivestreamSessionForLivestreamID"}, nil},
	{"L4", "GET A/livestreams/ID/active-livestream-session", []string{"Livestreams.GetActiveLivestreamsForLivestreamID"}, nil},
	{"L5", "GET A/livestreams/sessions/ID", []string{"Livestreams.GetLivestreamSessionDetailsForSessionID"}, nil},
	{"L6", "POST A/meetings/ID/livestreams", []string{"Livestreams.StartLivestreamingAMeeting"}, nil},
	{"L7", "POST A/meetings/ID/active-livestream/stop", []string{"Livestreams.StopLivestreamingAMeeting"}, nil},
	{"L8", "GET A/meetings/ID/active-livestream", []string{"Livestreams.GetMeetingActiveLivestreams"}, nil},
	{"L11", "GET A/analytics/livestreams/overall", []string{"Livestreams.GetLivestreamAnalyticsComplete"}, nil},
	{"L12", "GET A/analytics/livestreams/daywise", []string{"Livestreams.GetLivestreamAnalyticsDaywise"}, []string{"go v6", "js 6.0.0"}},
	{"L13", "GET A/analytics/daywise", []string{"Livestreams.GetOrgAnalytics", "Analytics.GetOrgAnalytics"}, nil},
	{"apps", "GET K/apps", []string{"Apps.Get"}, nil},
	{"new app", "POST K/apps", []string{"Apps.Post"}, nil},
	{"meetings", "GET A/meetings", []string{"Meetings.Get"}, nil},
	{"new meeting", "POST A/meetings", []string{"Meetings.New"}, nil},
	{"meeting", "GET A/meetings/ID", []string{"Meetings.GetMeetingByID"}, nil},
	{"edit meeting", "PATCH A/meetings/ID", []string{"Meetings.UpdateMeetingByID"}, nil},
	{"replace meeting", "PUT A/meetings/ID", []string{"Meetings.ReplaceMeetingByID"}, nil},
	{"webhooks", "GET A/webhooks", []string{"Webhooks.GetWebhooks"}, nil},
	{"new webhook", "POST A/webhooks", []string{"Webhooks.NewWebhook"}, nil},
	{"webhook", "GET A/webhooks/ID", []string{"Webhooks.GetWebhookByID"}, nil},
	{"edit webhook", "PATCH A/webhooks/ID", []string{"Webhooks.EditWebhook"}, nil},
	{"replace webhook", "PUT A/webhooks/ID", []string{"Webhooks.ReplaceWebhook"}, nil},
	{"delete webhook", "DELETE A/webhooks/ID", []string{"Webhooks.DeleteWebhook"}, nil},
}

// far are the parts of RealtimeKit that have nothing to do with livestreams
// (contract section 4.2): rooms' participants, presets, recordings, chat.
var far = []string{
	"A/meetings/ID/participants", "A/meetings/ID/active-session", "A/presets", "A/sessions", "A/recordings",
}

// EndpointOf finds the endpoint behind a route; ok says whether the route is
// known at all, if only as far.
func EndpointOf(route string) (e Endpoint, ok bool) {
	for _, e := range Family {
		if e.Route == route {
			return e, true
		}
	}
	_, path, _ := strings.Cut(route, " ")
	return e, slices.ContainsFunc(far, func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") })
}

// Lacks reports whether a release has no method of that name.
func Lacks(client, method string) bool {
	return slices.ContainsFunc(Family, func(e Endpoint) bool {
		return slices.Contains(e.Method, method) && slices.Contains(e.Lack, client)
	})
}
