package api

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// upstreamPrefix stands before every route of the real service. Ours are
// served with and without it.
const upstreamPrefix = "/client/v4"

// maxParams is how many parameters a route may have.
const maxParams = 5

// A node of the tree of routes: what may stand in one segment of a path. A word
// of the API beats a parameter for good, so that "sessions" is no livestream
// and "apps" no app (contract section 1), whatever follows.
type node struct {
	words map[string]*node
	any   *node // a parameter
	end   *endpoint
}

// An endpoint is every method of one path.
type endpoint struct {
	path    string
	params  []string // names, in the order of the path
	methods map[string]route
	allow   string // for 405 and OPTIONS
}

// newTree makes the tree of a table of routes. A method that stands twice is a
// fault of the table.
func newTree(table []route) *node {
	root := &node{}
	for _, rt := range table {
		n, params := root, []string(nil)
		for segment := range strings.SplitSeq(rt.path[1:], "/") {
			if segment[0] == '{' {
				params = append(params, segment[1:len(segment)-1])
			}
			n = n.child(segment)
		}
		if n.end == nil {
			n.end = &endpoint{path: rt.path, params: params, methods: map[string]route{}}
		}
		if _, twice := n.end.methods[rt.method]; twice || len(params) > maxParams || n.end.path != rt.path {
			panic(fmt.Sprintf("api: route %s %s beside %s", rt.method, rt.path, n.end.path))
		}
		n.end.methods[rt.method] = rt
		n.end.allow = allowed(n.end.methods)
	}
	return root
}

func (n *node) child(segment string) *node {
	if segment[0] == '{' {
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	if n.words == nil {
		n.words = map[string]*node{}
	}
	if n.words[segment] == nil {
		n.words[segment] = &node{}
	}
	return n.words[segment]
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

// find takes a path apart and returns its endpoint with the values of its
// parameters, or nil. Nothing is cleaned and nothing redirected, because many
// clients turn a redirected POST into a GET: a path with an empty segment (a
// slash at the end, two in a row), with . or .., or with a slash hidden in an
// escape is simply unknown.
func (n *node) find(u *url.URL) (e *endpoint, values [maxParams]string) {
	path, escaped := u.Path, u.RawPath != "" // without RawPath no escape hides anything
	if escaped {
		path = u.EscapedPath()
	}
	if below, ok := strings.CutPrefix(path, upstreamPrefix); ok {
		path = below
	}
	if path == "" || path[0] != '/' {
		return nil, values
	}
	params, more := 0, true
	for path = path[1:]; more; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		if escaped {
			var err error
			if segment, err = url.PathUnescape(segment); err != nil || strings.Contains(segment, "/") {
				return nil, values
			}
		}
		if segment == "" || segment == "." || segment == ".." {
			return nil, values
		}
		if word := n.words[segment]; word != nil {
			n = word
			continue
		}
		if n = n.any; n == nil || params == maxParams {
			return nil, values
		}
		values[params] = segment
		params++
	}
	return n.end, values
}
