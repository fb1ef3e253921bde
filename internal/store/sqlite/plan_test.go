package sqlite

import (
	"strconv"
	"strings"
	"testing"

	"tally/internal/livestream"
)

// TestPlans keeps each look-up and list on an index: a plan that walks a table
// is fast in a test and slow with 100,000 livestreams.
func TestPlans(t *testing.T) {
	s := openTemp(t)
	list := func(q livestream.Query) string {
		where, _ := conditions(here, q)
		return `SELECT COUNT(*) FROM livestreams l WHERE ` + where
	}
	apps := func(q livestream.AppQuery) string {
		where, _ := appConditions(here.AccountID, q)
		return `SELECT ` + appColumns + ` FROM apps WHERE ` + where + byAge(q.OldestFirst) + ` LIMIT ? OFFSET ?`
	}
	meetings := func(q livestream.MeetingQuery) string {
		where, _ := meetingConditions(here, q)
		return `SELECT ` + meetingColumns + ` FROM meetings WHERE ` + where + byAge(q.OldestFirst) + ` LIMIT ? OFFSET ?`
	}
	for _, c := range []struct{ name, query, index string }{
		{"by id", selectRecord + `WHERE l.account_id = ? AND l.app_id = ? AND l.id = ?`, "sqlite_autoindex_livestreams_1 (id=?)"},
		{"by key", selectRecord + `WHERE l.stream_key_hash = ?`, "(stream_key_hash=?)"},
		{"by playback id", selectRecord + `WHERE l.playback_id = ?`, "(playback_id=?)"},
		{"by meeting", selectRecord + `WHERE l.account_id = ? AND l.app_id = ? AND l.meeting_id = ?` + existing, "livestreams_by_meeting"},
		{"list", list(livestream.Query{}), "livestreams_by_age"},
		{"list of live ones", list(livestream.Query{Statuses: []livestream.Status{livestream.StatusLive}}), "livestreams_by_newest_session"},
		{"sessions of live ones", list(livestream.Query{Statuses: []livestream.Status{livestream.StatusLive}}), "sessions_open"},
		{"sessions of failed ones", list(livestream.Query{Statuses: []livestream.Status{livestream.StatusErrored}}), "sessions_errored"},
		{"sessions of idle ones", list(livestream.Query{Statuses: []livestream.Status{livestream.StatusIdle}}), "livestreams_by_age"},
		{"windows of the next start of a node", selectNextStart, "USING PRIMARY KEY (node=? AND incarnation>?)"},
		{"windows of the next node", selectNextNode, "USING PRIMARY KEY (node>?)"},
		{"the oldest window of a start", selectOldestWindow, "USING PRIMARY KEY (node=? AND incarnation=?)"},
		{"old windows", dropWindows, "USING PRIMARY KEY (node=? AND incarnation=? AND window=? AND session_id=?)"},
		{"old intervals", dropIntervals, "ingest_intervals_by_age"},
		{"intervals of a session", selectIntervals, "sqlite_autoindex_ingest_intervals_1 (session_id=?)"},
		{"sums of a session", selectSums, "sqlite_autoindex_usage_sums_1 (session_id=?)"},
		{"viewings of a session", selectViewings, "USING PRIMARY KEY (session_id=?)"},
		{"a page of viewers", selectPage, "USING PRIMARY KEY (session_id=? AND viewer=?)"},
		{"old viewings", dropViewings, "viewings_by_age"},
		{"open sessions", selectOpen, "sessions_open"},
		{"apps", apps(livestream.AppQuery{}), "apps_by_age"},
		{"apps by name", apps(livestream.AppQuery{Search: "x", OldestFirst: true}), "apps_by_age"},
		{"meetings", meetings(livestream.MeetingQuery{}), "meetings_by_age"},
		{"meetings of a stretch", meetings(livestream.MeetingQuery{From: start, To: start, Search: "x"}), "meetings_by_age (account_id=? AND app_id=? AND created_at>? AND created_at<?)"},
		{"usage", selectUsage, "sessions_by_start (account_id=? AND app_id=? AND started_at>? AND started_at<?)"},
		{"usage by day", selectUsageByDay, "sessions_by_start (account_id=? AND app_id=? AND started_at>? AND started_at<?)"},
		{"tokens of an account", selectTokens, "tokens_by_age"},
		{"what a request created", `SELECT object_id FROM creations WHERE request = ? AND created_at >= ? ORDER BY retry >= ?, created_at DESC LIMIT 1`, "(request=?)"},
		{"old creations", `SELECT request, object_id FROM creations WHERE created_at < ? ORDER BY created_at LIMIT 100`, "creations_by_age"},
		{"webhooks of an app", `SELECT ` + webhookColumns + ` FROM webhooks w WHERE w.account_id = ? AND w.app_id = ? AND w.enabled`, "webhooks_by_app"},
		{"ready deliveries", selectReady, "webhook_deliveries_ready (webhook_id=?)"},
		{"webhooks with deliveries", selectPendingWebhooks, "webhook_deliveries_ready (webhook_id=?)"},
		{"open deliveries", countOpenDeliveries, "webhook_deliveries_open"},
		{"oldest open delivery", promoteOldest, "webhook_deliveries_open (webhook_id=? AND livestream_id=?)"},
		{"log of a webhook", selectDeliveries, "sqlite_autoindex_webhook_deliveries_1 (webhook_id=?)"},
		{"events of the log", selectDeliveries, "sqlite_autoindex_events_1 (account_id=? AND app_id=? AND seq=?)"},
		{"later deliveries", hurryDeliveries, "webhook_deliveries_ready (webhook_id=? AND next_at>?)"},
		{"deliveries of an old event", dropDeliveries, "sqlite_autoindex_webhook_deliveries_1 (webhook_id=? AND seq=?)"},
		{"feed", selectNotices, "sqlite_autoindex_events_1 (account_id=? AND app_id=? AND seq>?)"},
		{"old events", selectOldEvents, "events_by_age"},
		{"old timeline", dropTimeline, "timeline_by_age"},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, err := collect(ctx, s.reads, func(row scanner) (string, error) {
				var id, parent, unused int
				var detail string
				err := row.Scan(&id, &parent, &unused, &detail)
				return detail, err
			}, `EXPLAIN QUERY PLAN `+c.query, make([]any, parameters(c.query))...)
			if err != nil {
				t.Fatal(err)
			}
			plan := strings.Join(steps, "\n")
			if !strings.Contains(plan, c.index) || strings.Contains(plan, "SCAN l") || strings.Contains(plan, "SCAN s\n") {
				t.Errorf("plan does not use %s, or walks a table:\n%s", c.index, plan)
			}
		})
	}
}

// parameters counts those of a query, which has either ? or ?1, ?2, …
func parameters(query string) int {
	n := 0
	for strings.Contains(query, "?"+strconv.Itoa(n+1)) {
		n++
	}
	if n == 0 {
		return strings.Count(query, "?")
	}
	return n
}
