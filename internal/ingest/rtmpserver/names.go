package rtmpserver

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// App is the only RTMP application there is.
const App = "live"

const (
	maxKey     = 256 // bytes of a stream name that is looked up; ours have 27 to 64
	maxEncoder = 128 // bytes kept of what an encoder calls itself
)

// splitApp reads connect's app, or the path of its tcUrl where app is empty.
// It returns false unless that is App, alone or with the stream key behind it.
func splitApp(app, tcURL string) (key string, ok bool) {
	path := trim(app)
	u, err := url.Parse(tcURL)
	if path == "" && err == nil {
		path = trim(u.Path)
	}
	if path == App && err == nil { // the key may stand in tcUrl alone
		if rest, found := strings.CutPrefix(trim(u.Path), App+"/"); found {
			path = App + "/" + rest
		}
	}
	if path == App {
		return "", true
	}
	key, ok = strings.CutPrefix(path, App+"/")
	return key[strings.LastIndexByte(key, '/')+1:], ok
}

// trim cuts s at `?` and takes the slashes off its ends.
func trim(s string) string {
	s, _, _ = strings.Cut(s, "?")
	return strings.Trim(s, "/")
}

// streamKey is the key that publish asks for: its stream name, or the one that
// came with the app where that is empty; "" when there is none.
func streamKey(name, fromApp string) string {
	if key := trim(name); key != "" {
		return key
	}
	return fromApp
}

// plain makes an encoder's own words fit for logs and the timeline.
func plain(s string) string {
	if len(s) > maxEncoder {
		s = s[:maxEncoder]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
