package fleet

import (
	"time"
)

// playlistScenarios fetch media from caches, so that nothing but their requests
// for playlists tells that they are there.
func playlistScenarios() []scenario {
	all := []scenario{
		{name: "shared: plays, one cache", few: 3, many: 40, watch: lowLatency, caches: 1},
		{name: "shared: by segments, one cache", few: 2, many: 20, watch: plain, caches: 1},
		{name: "shared: plays, behind a shield", few: 3, many: 20, watch: lowLatency, caches: 2},
		{name: "shared: leaves", few: 3, many: 20, watch: leaves, caches: 2},
		{name: "shared: pauses 10 s and more", few: 3, many: 20, watch: pauses, caches: 1},
		{name: "shared: media of another address", few: 3, many: 20, watch: lowLatency, based: true},
	}
	for i := range all {
		all[i].tier, all[i].limit = byPlaylist, 0.05
	}
	return append(all, scenario{name: "not counted: a cache that warms up", few: 2, many: 10, watch: warmsUp, caches: 1})
}

// leaves goes at any time, most of them for good.
func leaves(v *viewer) error {
	v.parts = true
	if err := v.playFor(time.Duration((0.2 + 0.5*v.rand.Float64()) * float64(v.span))); err != nil {
		return err
	}
	if v.i%3 == 0 {
		if err := v.away(); err != nil {
			return err
		}
		if err := v.enter(); err != nil {
			return err
		}
		return v.play(v.ends)
	}
	return nil
}

// warmsUp reads playlists under an id that counts for nobody, and fetches all
// media that they list, as a cache does before anybody watches.
func warmsUp(v *viewer) error {
	if err := v.meet(); err != nil {
		return err
	}
	wrong := other(v.id, len(v.id)-1)
	v.dir = v.dir[:len(v.dir)-len(v.id)-1] + wrong + "/"
	v.hold(newBook(wrong))
	if err := v.enter(); err != nil {
		return err
	}
	v.back()
	return v.play(v.ends)
}
