package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The words of the contract beat parameters, and no trick of a path reaches a
// route that its plain reading does not.
func TestPaths(t *testing.T) {
	table := []route{
		{method: "GET", path: "/a/{a}/apps"},
		{method: "GET", path: "/a/{a}/{app}"},
		{method: "PATCH", path: "/a/{a}/{app}"},
		{method: "GET", path: "/a/{a}/{app}/livestreams/{id}"},
		{method: "GET", path: "/a/{a}/{app}/livestreams/{id}/{verb}"},
		{method: "GET", path: "/a/{a}/{app}/livestreams/sessions/{session}"},
	}
	tree := newTree(table)
	for _, c := range []struct{ path, want string }{
		{"/a/x/apps", "/a/{a}/apps a=x"},
		{"/client/v4/a/x/apps", "/a/{a}/apps a=x"},
		{"/a/x/y", "/a/{a}/{app} a=x app=y"},
		{"/a/x/apps/livestreams/1", ""},
		{"/a/x/y/livestreams/1", "/a/{a}/{app}/livestreams/{id} a=x app=y id=1"},
		{"/a/x/y/livestreams/1/stop", "/a/{a}/{app}/livestreams/{id}/{verb} a=x app=y id=1 verb=stop"},
		{"/a/x/y/livestreams/sessions", ""},
		{"/a/x/y/livestreams/sessions/stop", "/a/{a}/{app}/livestreams/sessions/{session} a=x app=y session=stop"},
		{"/a/x/y/livestreams/%73essions/stop", "/a/{a}/{app}/livestreams/sessions/{session} a=x app=y session=stop"},
		{"/a/x/y/livestreams/Sessions", "/a/{a}/{app}/livestreams/{id} a=x app=y id=Sessions"},
		{"/a/x/y/livestreams/1%20%25", "/a/{a}/{app}/livestreams/{id} a=x app=y id=1 %"},
		{"/a/x/y/livestreams/...", "/a/{a}/{app}/livestreams/{id} a=x app=y id=..."},
		{"/a/x/y/livestreams/1%2Fstop", ""},
		{"/a/x/y/livestreams/1%2fstop", ""},
		{"/a%2fx/apps", ""},
		{"/a/x/y/livestreams/..", ""},
		{"/a/x/y/livestreams/.", ""},
		{"/a/x/y/livestreams/%2e%2E", ""},
		{"/a/x/y/livestreams/%2e", ""},
		{"/a/x/y/livestreams/../livestreams/1", ""},
		{"/a/x/y/livestreams/", ""},
		{"/a/x/y/livestreams//stop", ""},
		{"/a//y", ""},
		{"//a/x/apps", ""},
		{"/a/x/apps/", ""},
		{"/client/v4", ""},
		{"/client/v4/", ""},
		{"/client/v4x/a/x/apps", ""},
		{"/client/v4//a/x/apps", ""},
		{"/client/v4/client/v4/a/x/apps", ""},
		{"/client/v4/../v4/a/x/apps", ""},
		{"/", ""},
		{"/a", ""},
	} {
		u, err := url.ParseRequestURI(c.path)
		if err != nil {
			t.Fatal(err)
		}
		e, values := tree.find(u)
		got := ""
		if e != nil {
			got = e.path
			for i, name := range e.params {
				got += " " + name + "=" + values[i]
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.path, got, c.want)
		}
	}
	if e, _ := tree.find(&url.URL{Path: "*"}); e != nil {
		t.Errorf("OPTIONS * reaches %s", e.path)
	}
	if e, _ := tree.find(&url.URL{Path: "/a/x/y"}); e.allow != "GET, HEAD, OPTIONS, PATCH" {
		t.Errorf("Allow is %q", e.allow)
	}
}

// What a path's segments say is what a handler reads, whatever they hold, as
// long as they are no words of the API.
func TestParametersAreReadAsTheyWereWritten(t *testing.T) {
	tree := newTree(routes)
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringN(1, 20, -1).Draw(t, "id")
		if strings.Contains(id, "/") || id == "." || id == ".." || slices.Contains([]string{"sessions", "apps"}, id) {
			return
		}
		u, err := url.ParseRequestURI("/accounts/" + url.PathEscape(id) + "/realtime/kit/" + url.PathEscape(id) + "/livestreams/" + url.PathEscape(id))
		if err != nil {
			t.Fatal(err)
		}
		e, values := tree.find(u)
		if e == nil {
			t.Fatalf("%s is no route", u)
		}
		rq := &request{Request: &http.Request{URL: u}, end: e, values: values}
		for _, name := range []string{"account_id", "app_id", "livestream_id"} {
			if got := rq.PathValue(name); got != id {
				t.Fatalf("%s is %q, want %q", name, got, id)
			}
		}
		if got := rq.PathValue("session_id"); got != "" {
			t.Fatalf("a parameter that is not in the route is %q", got)
		}
	})
}
