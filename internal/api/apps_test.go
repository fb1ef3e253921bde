package api_test

import (
	"strings"
	"testing"

	"tally/internal/auth"
)

// TestAppChangesActAtOnce: the app is kept in memory, and still no request sees
// an older one than the answer before it.
func TestAppChangesActAtOnce(t *testing.T) {
	w := newWorld(t)
	w.create("show")
	for _, wire := range []string{"upstream", "declared", "upstream"} {
		if rec := w.call("PATCH", base, `{"tally":{"wire":"`+wire+`"}}`); inner(object(t, rec), "tally")["wire"] != wire {
			t.Errorf("PATCH answers %s", rec.Body)
		}
		if rec := w.call("GET", base, ""); inner(object(t, rec), "tally")["wire"] != wire {
			t.Errorf("GET answers %s", rec.Body)
		}
		array := strings.Contains(w.call("GET", base+"/livestreams", "").Body.String(), `"data":[`)
		if array != (wire == "upstream") {
			t.Errorf("with %s the list is an array: %v", wire, array)
		}
	}
}

// TestNewAppIsOneOfItsOwn: it can be used at once, by those whom it concerns.
func TestNewAppIsOneOfItsOwn(t *testing.T) {
	w := newWorld(t)
	id := inner(object(t, w.call("POST", kit+"/apps", `{"name":"Parish"}`)), "app")["id"].(string)
	if rec := w.call("POST", kit+"/"+id+"/livestreams", ""); rec.Code != 201 {
		t.Errorf("create in the new app: %d %s", rec.Code, rec.Body)
	}
	w.limited(auth.Realtime, "app")
	if rec := w.call("GET", kit+"/"+id, ""); rec.Code != 403 {
		t.Errorf("a token of the other app reads it: %d", rec.Code)
	}
	if rec := w.call("PATCH", kit+"/"+id, `{"name":"mine"}`); rec.Code != 403 {
		t.Errorf("a token of the other app renames it: %d", rec.Code)
	}
	w.limited(auth.RealtimeRead)
	if rec := w.call("POST", kit+"/apps", `{"name":"x"}`); rec.Code != 403 {
		t.Errorf("who may only read creates an app: %d", rec.Code)
	}
	if rec := w.call("PATCH", base, `{"name":"x"}`); rec.Code != 403 {
		t.Errorf("who may only read renames an app: %d", rec.Code)
	}
}

func TestAppBodiesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	for body, pointer := range map[string]string{
		`{"name":""}`:         "/name",
		`{"name":7}`:          "/name",
		`{"name":["x"]}`:      "/name",
		`{"name":"a\u0007b"}`: "/name",
		`{"name":"` + strings.Repeat("ä", 256) + `"}`: "/name",
		`{"name":"default"}`:                          "/name",
		`{"name":"x","tally":7}`:                      "/tally",
		`{"name":"x","tally":{"wire":""}}`:            "/tally/wire",
		`{"name":"x","tally":{"wire":null}}`:          "/tally/wire",
		`{"name":"x","tally":{"wire":"Upstream"}}`:    "/tally/wire",
		`{"name":"x","tally":{"wires":"upstream"}}`:   "/tally/wires",
		`{"name":"x","tally":{"id":"apps"}}`:          "/tally/id",
		`{"name":null}`:                               "/name",
		`[]`:                                          "",
		`{"name":"x"}{"name":"y"}`:                    "",
	} {
		for _, to := range []string{"POST " + kit + "/apps", "PATCH " + base} {
			if body == `{"name":"default"}` && strings.HasPrefix(to, "PATCH") {
				continue // it is this app's own name
			}
			method, path, _ := strings.Cut(to, " ")
			rec := w.call(method, path, body)
			if rec.Code != 400 || pointers(t, rec)[0] != pointer {
				t.Errorf("%s %.60s: %d with %q, want 400 with %q", method, body, rec.Code, pointers(t, rec), pointer)
			}
		}
	}
	if rec := w.call("PATCH", base, `{"name":"default"}`); rec.Code != 200 {
		t.Errorf("a name may be given again to the app that has it: %d", rec.Code)
	}
}
