package fleet

import (
	"net/http"
	"path"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// nothingScenarios ask for much, and are viewers of nothing; but for probes that
// fetch media, which the server cannot tell from a viewer that leaves at once.
func nothingScenarios() []scenario {
	return []scenario{
		{name: "ffprobe for a second: counts what it takes", few: 1, many: 6, watch: ffprobes, tier: byMedia, limit: 0.005},
		{name: "not counted: HEAD, previews, probes", few: 4, many: 30, watch: looksOnly},
		{name: "not counted: wrong ids", few: 4, many: 20, watch: wrongIDs},
	}
}

// looksOnly does what link previews, monitors and probes do: the watch page, the
// multivariant playlist, media playlists, HEADs of everything, byte ranges.
func looksOnly(v *viewer) error {
	for time.Until(v.ends) > 0 {
		if err := v.meet(); err != nil {
			return err
		}
		if err := v.load(playlist.NoDirectives); err != nil {
			return err
		}
		last := &v.list.Segments[len(v.list.Segments)-1]
		if last.URI == "" && len(v.list.Segments) > 1 {
			last = &v.list.Segments[len(v.list.Segments)-2]
		}
		for _, rq := range []request{
			{path: "/watch/" + v.st.pid},
			{path: "/hls/" + v.st.pid + "/state"},
			{path: v.resolve(last.Map)},
			{path: v.resolve(last.URI), method: http.MethodHead},
			{path: v.dir + "index.m3u8", method: http.MethodHead},
			{path: v.st.multivariant(), method: http.MethodHead},
		} {
			if _, err := v.get(rq); err != nil {
				return err
			}
		}
		for _, p := range last.Parts {
			if _, err := v.get(request{path: v.resolve(p.URI), method: http.MethodHead}); err != nil {
				return err
			}
		}
		rq := request{host: v.st.via, path: v.resolve(last.URI), header: "Range: bytes=0-99\r\n"}
		if _, err := v.do(rq); err != nil {
			return err
		}
		if err := sleep(v.ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// wrongIDs plays with viewer ids that nobody has signed for this livestream. That
// works, and counts for nobody.
func wrongIDs(v *viewer) error {
	if err := v.meet(); err != nil {
		return err
	}
	id := path.Base(v.dir)
	wrong := other(id, len(id)-1) // another MAC
	switch v.i % 4 {
	case 0:
		wrong = strings.Repeat("A", len(id))
	case 1:
		wrong = other(id, 0) // other random bits
	case 2:
		there := &viewer{client: v.client, st: v.st.neighbour, rand: v.rand, ends: v.ends}
		if err := there.meet(); err != nil {
			return err
		}
		wrong = there.id // good, for another livestream
	}
	v.dir = strings.Replace(v.dir, id, wrong, 1)
	v.hold(newBook(wrong))
	if err := v.enter(); err != nil {
		return err
	}
	v.parts = true
	return v.play(v.ends)
}

// other is the id with another character at i.
func other(id string, i int) string {
	c := byte('a')
	if id[i] == c {
		c = 'b'
	}
	return id[:i] + string(c) + id[i+1:]
}
