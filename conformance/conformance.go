// Package conformance reads Tally's API with the official Cloudflare clients,
// of which nothing but the base URL is changed: cloudflare-go v6 and v7 in the
// packages below, and npm cloudflare 6.5.0, 7.0.0 and 7.3.0 in js.
//
// Each client makes a [Reading]: every field that it decoded, by path and in
// the type that it declares. The tests here compare readings with what the
// store holds. An end-to-end test points the same code at a running server,
// either by [Target] or from a shell:
//
//	TALLY_BASE=http://127.0.0.1:8080/client/v4 TALLY_TOKEN=... TALLY_ACCOUNT=... TALLY_APP=... \
//	TALLY_LIVESTREAM=... go run ./conformance/cmd/read v7
//
// cloudflare-go compiles slowly (minutes for both majors, many more with the
// race detector), so everything that imports it is below this directory, and
// `make test` runs `go test ./conformance/...` by itself and without -race.
// The JavaScript clients need node and `npm ci` in conformance/js.
package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"time"
)

// A Target is a server and the objects to read there. An empty id leaves its
// endpoints out of the reading.
type Target struct {
	Base       string // ends in /client/v4, or not: both are served
	Token      string
	Account    string
	App        string
	Livestream string // L2 to L4
	Session    string // L5
	Meeting    string // L8, and the meeting itself
}

// env names the variables that carry a Target from one process to another.
func (t *Target) env() map[string]*string {
	return map[string]*string{
		"TALLY_BASE": &t.Base, "TALLY_TOKEN": &t.Token, "TALLY_ACCOUNT": &t.Account, "TALLY_APP": &t.App,
		"TALLY_LIVESTREAM": &t.Livestream, "TALLY_SESSION": &t.Session, "TALLY_MEETING": &t.Meeting,
	}
}

// FromEnv reads a Target from TALLY_BASE, TALLY_TOKEN, TALLY_ACCOUNT, TALLY_APP,
// TALLY_LIVESTREAM, TALLY_SESSION and TALLY_MEETING.
func FromEnv() Target {
	var t Target
	for name, field := range t.env() {
		*field = os.Getenv(name)
	}
	return t
}

// A Reading is what one client decoded: path to value, such as
// "active.session.ingest_seconds" to "12". First parts of the paths:
//
//	list            L2, the typed fields of data
//	by_id           L3
//	active          L4
//	session         L5
//	meeting         the meeting
//	meeting_active  L8
//	create, start, stop, new_meeting   what Write was answered
//	error           the error, where that is what was asked for
//
// Go values are string, bool, int64, float64 and time.Time as the client's
// struct declares them; JavaScript values are those of JSON. When an endpoint
// answers with an error, "NAME.error.status" and its siblings say which.
type Reading map[string]any

// Add puts what other holds below the name prefix.
func (r Reading) Add(prefix string, other Reading) {
	for path, v := range other {
		r[prefix+"."+path] = v
	}
}

// Decoded reads every field that a cloudflare-go struct declares. It fails when
// the server left one out: the client would show a zero value as if it were so.
func Decoded(v any) (Reading, error) {
	r := Reading{}
	return r, decoded(r, "", reflect.ValueOf(v))
}

func decoded(r Reading, path string, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if at, ok := v.Interface().(time.Time); ok {
		r[path] = at.UTC()
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		r[path] = v.String() // enums too
		return nil
	case reflect.Struct:
	default:
		r[path] = v.Interface()
		return nil
	}
	meta := v.FieldByName("JSON")
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		below := strings.TrimPrefix(path+"."+name, ".")
		if m := meta.FieldByName(f.Name); m.IsValid() {
			if field, ok := m.Interface().(interface {
				IsMissing() bool
				IsNull() bool
			}); ok && field.IsMissing() {
				return fmt.Errorf("%s: the server left it out", below)
			} else if ok && field.IsNull() && v.Field(i).Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
				continue // an object that is null has no fields
			}
		}
		if err := decoded(r, below, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

// A Mode is what a client is to do.
type Mode string

const (
	Read   Mode = "read"   // every read of the Target
	Write  Mode = "write"  // create a livestream and a meeting, start and stop it
	Wrong  Mode = "wrong"  // one read per way of being refused
	Create Mode = "create" // create a livestream alone
)

// JS runs one of the JavaScript clients ("6.5.0", "7.0.0", "7.3.0") with node.
// Its error has what node printed.
func JS(ctx context.Context, version string, mode Mode, t Target) (Reading, error) {
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.CommandContext(ctx, "node", filepath.Join(filepath.Dir(here), "js", "read.mjs"), version, string(mode))
	cmd.Env = os.Environ()
	for name, field := range t.env() {
		cmd.Env = append(cmd.Env, name+"="+*field)
	}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("node read.mjs %s %s: %w\n%s", version, mode, err, problems.Bytes())
	}
	var r Reading
	return r, json.Unmarshal(out.Bytes(), &r)
}

// JSVersions are the releases in js/package.json.
var JSVersions = []string{"6.5.0", "7.0.0", "7.3.0"}

// Paths lists a reading's paths below prefix, without it.
func (r Reading) Paths(prefix string) map[string]bool {
	paths := map[string]bool{}
	for path := range maps.Keys(r) {
		if below, ok := strings.CutPrefix(path, prefix+"."); ok {
			paths[below] = true
		}
	}
	return paths
}
