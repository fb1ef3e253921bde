package fleet

import (
	"fmt"
	"net/http"
	"time"
)

// abuseScenarios try to be more than one viewer. They may have what one viewer
// can have, and no more.
func abuseScenarios() []scenario {
	return []scenario{
		{name: "abuse: asks ten times for everything", few: 1, many: 1, watch: floods, tier: byMedia, limit: 0.005},
		{name: "abuse: beacons of hours, replayed, overlapping", few: 2, many: 10, watch: forges, tier: byBeacon, limit: 0.005, surprise: true},
		{name: "abuse: beacons and no media", few: 2, many: 10, watch: tellsOnly},
		{name: "abuse: beacons under forged ids", few: 2, many: 10, watch: impersonates, tier: byMedia, limit: 0.005},
	}
}

func floods(v *viewer) error {
	v.parts, v.times = true, 10
	return v.play(v.ends)
}

// forge is what nobody's playhead did, with whether it can be read at all.
func (v *viewer) forge(seq int) (body string, readable bool) {
	switch v.rand.IntN(6) {
	case 0:
		return fmt.Sprintf(`{"seq":%d,"played_ms":86400000}`, seq), true
	case 1:
		return fmt.Sprintf(`{"seq":%d,"played_ms":-5000}`, seq), false
	case 2:
		return fmt.Sprintf(`{"seq":%d,"played_ms":1e300}`, seq), false
	case 3:
		return fmt.Sprintf(`{"seq":%d,"played_ms":60000}{"seq":%d,"played_ms":60000}{"seq":1,"played_ms":60000}`, seq, seq), true
	case 4:
		return fmt.Sprintf("sid=\"x\",sn=%d,sta=p,ts=%d\nsid=\"x\",sn=%d,sta=p,ts=%d\n", seq, seq, seq+1, int64(seq)+86400_000), true
	}
	return `{"seq":9007199254740993,"played_ms":1}{"seq":0,"played_ms":3600000}`, true
}

// send posts a forged beacon and checks how it is answered.
func (v *viewer) send(seq int) error {
	body, readable := v.forge(seq)
	want := http.StatusBadRequest
	if readable {
		want = http.StatusNoContent
	}
	r, err := v.post(body)
	if err == nil && r.status != want {
		err = fmt.Errorf("beacon %s: answered %d, want %d", body, r.status, want)
	}
	return err
}

// forges plays, and lies about it ten times a second. All that it gains is wall
// time since its first media.
func forges(v *viewer) error {
	v.parts = true
	if err := v.join(); err != nil {
		return err
	}
	v.tier = byBeacon
	if err := v.playFor(500 * time.Millisecond); err != nil {
		return err
	}
	first := v.evidence[0].from
	for seq := 1; time.Until(v.ends) > 0; seq++ {
		if err := v.playFor(100 * time.Millisecond); err != nil {
			return err
		}
		if err := v.send(seq); err != nil {
			return err
		}
	}
	// The last word is a lie that is sure to be heard.
	if err := v.postGood(fmt.Sprintf(`{"seq":%d,"played_ms":86400000}`, int64(1)<<60)); err != nil {
		return err
	}
	v.played = min(time.Since(first), v.book.media(airing{}))
	return nil
}

// tellsOnly gets an id and fetches nothing, and lies about it.
func tellsOnly(v *viewer) error {
	if err := v.meet(); err != nil {
		return err
	}
	for seq := 1; time.Until(v.ends) > 0; seq++ {
		if err := v.send(seq); err != nil {
			return err
		}
		if err := sleep(v.ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// impersonates plays honestly without beacons, and sends some for others: ids
// that nobody signed, and one that is good on another livestream.
func impersonates(v *viewer) error {
	v.parts = true
	if err := v.join(); err != nil {
		return err
	}
	own := v.dir
	there := &viewer{client: v.client, st: v.st.neighbour, rand: v.rand, ends: v.ends}
	if err := there.meet(); err != nil {
		return err
	}
	at := own[:len(own)-len(v.id)-1]
	for seq := 1; time.Until(v.ends) > 0; seq++ {
		if err := v.playFor(200 * time.Millisecond); err != nil {
			return err
		}
		v.dir = at + []string{other(v.id, 0), other(v.id, len(v.id)-1), there.id}[seq%3] + "/"
		err := v.send(seq)
		v.dir = own
		if err != nil {
			return err
		}
	}
	return nil
}
