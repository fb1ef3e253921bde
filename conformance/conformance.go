// Package conformance calls Tally's API with the official Cloudflare clients,
// unmodified: cloudflare-go v6 and v7 in the packages below, and npm cloudflare
// in js, in the releases of [JSVersions].
//
// A [Client] makes a [Call], which is one method of the client, named as
// cloudflare-go names it, with parameters by their wire names. The call's
// [Answer] is a [Reading]: every field that the client decoded, by path and in
// the type that it declares, or the [Refusal] that it raised. The tests here
// compare readings with what the store holds; [Family] says which methods there
// are to call, and a test compares it with what the clients really have.
//
// cloudflare-go compiles slowly (minutes for both majors, many more with the
// race detector), so everything that imports it is below this directory, and
// `make test` runs `go test ./conformance/...` by itself and without -race.
// The JavaScript clients need node and `npm ci` in conformance/js.
package conformance

import (
	"context"
	"fmt"
	"os"
	"time"
)

// A Target is a server and the objects to read there. An empty id leaves its
// endpoints out of [ReadAll].
type Target struct {
	// Base ends in /client/v4, or not: both are served. Empty: the client takes
	// it from CLOUDFLARE_BASE_URL, and its token from CLOUDFLARE_API_TOKEN.
	Base       string
	Token      string
	Account    string
	App        string
	Livestream string // L2 to L4
	Session    string // L5
	Meeting    string // L8, and the meeting itself
	Retries    bool   // the client's own retries; without, the first answer counts
}

// FromEnv reads a Target from TALLY_BASE, TALLY_TOKEN, TALLY_ACCOUNT, TALLY_APP,
// TALLY_LIVESTREAM, TALLY_SESSION and TALLY_MEETING.
func FromEnv() (t Target) {
	for name, field := range map[string]*string{
		"TALLY_BASE": &t.Base, "TALLY_TOKEN": &t.Token, "TALLY_ACCOUNT": &t.Account, "TALLY_APP": &t.App,
		"TALLY_LIVESTREAM": &t.Livestream, "TALLY_SESSION": &t.Session, "TALLY_MEETING": &t.Meeting,
	} {
		*field = os.Getenv(name)
	}
	return t
}

// A Call is one method of a client.
type Call struct {
	// Method is cloudflare-go's name with its service, "Livestreams.GetOrgAnalytics".
	// JavaScript's is derived from it. Or a plain request, which every client has
	// for what it declares no method for: "PUT livestreams/ID/enable", with a path
	// below the app, or below the API where it begins with a slash.
	Method string
	IDs    []string // what follows the app's: a livestream's, a session's, a meeting's, a webhook's
	// Params by wire name: string, bool, int, float64, []string, map[string]any,
	// nil for an explicit null, and time.Time in whatever form the client wants
	// times there: time.Time, a number of seconds, or text.
	Params map[string]any
	Query  map[string]string // what the client does not declare
}

// An Answer is what came of a Call.
type Answer struct {
	// Reading is the answer's data: path to value, such as
	// "session.ingest_seconds" to "12", and "#" to an array's length. paging
	// beside data is among them, below "paging".
	//
	// Go values are string, bool, int64, float64 and time.Time as the client's
	// struct declares them; JavaScript values are those of JSON.
	Reading Reading
	// Raw is the answer as the client shows it undecoded: JSON.RawJSON in Go, the
	// object itself in JavaScript.
	Raw []byte
	// Extra are fields that the client does not declare.
	Extra []string
	// Nulls are fields that were null though the client declares none; Go's
	// clients show the type's zero value instead.
	Nulls []string
	// Problems are declared fields that are missing, and values that are not of
	// the type or the enum that the client declares.
	Problems []string
	// Undeclared are Params that the client has no field for and did not send.
	Undeclared []string
	// Refusal is the error that the client raised instead.
	Refusal *Refusal
	Took    time.Duration
	// Plain says that the Call had no method: the Reading is plain JSON, and
	// nothing is said of what is declared.
	Plain bool
}

// A Refusal is an error as a client shows it.
type Refusal struct {
	Class   string // JavaScript's, "NotFoundError"; Go has one
	Status  int    // 0: there was no answer
	Code    int64  // errors[0].code
	Message string
	Pointer string // errors[0].source.pointer, "/name"
}

// A Client is one release of an official client. Call may be called from
// several goroutines. Its error is the driver's: the Method does not exist
// ([ErrNoMethod]), or a parameter is of a type that the client cannot send.
type Client interface {
	Name() string
	Go() bool // decodes into Go types
	Call(ctx context.Context, t Target, c Call) (Answer, error)
	// Methods are the methods that the client has below RealtimeKit.
	Methods() ([]Method, error)
	// Probe calls a method with "ID" for whatever its path needs beside account
	// and app, and with nothing else; what it is answered does not matter.
	Probe(ctx context.Context, t Target, method string) error
	Close() error
}

// A Method is one that a client has, and the parameters that it declares for
// query and body, by path ("recording_config.max_seconds").
type Method struct {
	Name   string
	Params []string
}

// ErrNoMethod says that a release lacks the method.
var ErrNoMethod = fmt.Errorf("this release has no such method")

// A Reading is what a client decoded: path to value.
type Reading map[string]any

// Add puts what other holds below the name prefix.
func (r Reading) Add(prefix string, other Reading) {
	for path, v := range other {
		r[prefix+"."+path] = v
	}
}

// reads are the calls of ReadAll by the name under which their fields appear.
func reads(t Target) map[string]Call {
	calls := map[string]Call{}
	if t.Livestream != "" {
		calls["list"] = Call{Method: "Livestreams.GetAllLivestreams"}
		calls["by_id"] = Call{Method: "Livestreams.GetLivestreamSessionForLivestreamID", IDs: []string{t.Livestream}}
		calls["active"] = Call{Method: "Livestreams.GetActiveLivestreamsForLivestreamID", IDs: []string{t.Livestream}}
	}
	if t.Session != "" {
		calls["session"] = Call{Method: "Livestreams.GetLivestreamSessionDetailsForSessionID", IDs: []string{t.Session}}
	}
	if t.Meeting != "" {
		calls["meeting"] = Call{Method: "Meetings.GetMeetingByID", IDs: []string{t.Meeting}}
		calls["meeting_active"] = Call{Method: "Livestreams.GetMeetingActiveLivestreams", IDs: []string{t.Meeting}}
	}
	return calls
}

// ReadAll reads what the target names: list (L2), by_id (L3), active (L4),
// session (L5), meeting and meeting_active (L8), each below its name. When an
// endpoint answers with an error, "NAME.error.status" and its siblings say
// which. It fails where a declared field is missing or of another type.
func ReadAll(ctx context.Context, c Client, t Target) (Reading, error) {
	all := Reading{}
	for name, call := range reads(t) {
		a, err := c.Call(ctx, t, call)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(a.Problems) > 0 {
			return nil, fmt.Errorf("%s: %q", name, a.Problems)
		}
		all.Add(name, a.Reading)
		if r := a.Refusal; r != nil {
			all.Add(name+".error", Reading{"status": r.Status, "class": r.Class, "code": r.Code, "message": r.Message, "pointer": r.Pointer})
		}
	}
	return all, nil
}
