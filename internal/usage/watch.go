package usage

import (
	"strconv"
	"time"

	"tally/internal/livestream"
	"tally/internal/viewer"
)

// A watch is one viewer of one session. Its shard's mutex guards it. Instants
// are since Counter.start.
type watch struct {
	id      viewer.ID
	stay    int64 // tells records of one viewer and session apart, in rows
	session *session
	sibling *watch // the same viewer in another session

	first    time.Duration // instant of the first evidence
	last     time.Duration // instant of the newest
	presence time.Duration // how long it counts as present after last

	// Media that it was given.
	delivered  time.Duration // instant of the first delivery; -1 before any
	span       time.Duration // the longest playlist it was given media from
	distinct   time.Duration // media time, once whatever the rendition
	bytes      int64
	renditions uint64
	media      fetched // all of one run: a session's media is of no other

	// Playlists that it asked for.
	mark   time.Duration // instant up to which steps go; -1 before any
	held   bool          // the newest playlist ended with a held picture, and no media came since
	steps  time.Duration // sum of the time between requests
	asking bool          // the newest evidence is a request, and the step goes on
	step   time.Duration // how long a step may be

	// Beacons. Once there was one, nothing else is counted.
	beacons bool
	lapsed  bool          // a promised beacon did not come in time
	oldest  int64         // number of the first beacon
	seq     int64         // and of the newest
	played  time.Duration // as that one says
	told    time.Duration // sum over beacons, as far as it can be true
	before  time.Duration // how much the first may tell of the time before this counter
	credit  time.Duration // and how much of that it may have told

	counted [kinds]time.Duration // what went into the session's sums: whole microseconds
	total   time.Duration        // the sum of these

	present bool
	seat    node          // in the shard's present or gone
	row     node          // in the shard's later, due or offered
	queued  *list         // which of these; nil: the store has its row
	rowAt   time.Duration // when its row is due; while in later
}

// deliver takes note of media.
func (w *watch) deliver(d *Delivery, spans []Span, now time.Duration) {
	if w.delivered < 0 {
		w.delivered = now
	}
	w.span = max(w.span, d.Window)
	w.presence = max(minPresence, 3*d.Target)
	fresh := w.media.fetch(spans)
	w.distinct += fresh
	w.held = w.held && fresh == 0
	w.bytes += d.Bytes
	if d.Rendition >= 0 && d.Rendition < 64 {
		w.renditions |= 1 << d.Rendition
	}
	w.asking = false
	if w.mark >= 0 {
		w.mark = now // this time is the media's: no step counts it too
	}
}

// ask takes note of a request for a shared playlist. A step counts if the
// playlists at both of its ends end with media: of one that a hold begins or ends
// in nobody knows how much was a held picture.
func (w *watch) ask(p *Presence, now time.Duration) {
	w.step = 2 * max(0, p.Target)
	w.presence = max(minPresence, 3*p.Target)
	if w.mark >= 0 && !w.held && !p.Held {
		w.steps += min(now-w.mark, w.step)
	}
	w.mark, w.held = now, p.Held
	w.asking = !p.Held
}

// hear takes note of a beacon that tells of fresh played time. The sum is cut to
// what can be true: the wall time since the first other evidence, and the time
// of which there is other evidence, with the step that goes on. What is cut is
// forgotten, so that a mistaken or forged beacon hides no later pause. After a
// restart the first beacon may tell of a while before that evidence.
func (w *watch) hear(b *Beacon, fresh, now time.Duration) {
	if !w.beacons {
		w.beacons, w.oldest = true, b.Seq
	}
	w.seq, w.played = b.Seq, b.Played
	if b.Seq == w.oldest {
		w.credit = min(w.before, b.Played)
	}
	wall, seen := now-w.first+w.credit, w.distinct+w.steps+w.credit
	if w.asking {
		seen += min(now-w.mark, w.step)
	}
	w.told = max(w.told, min(w.told+min(fresh, wall), wall, seen)) // min first: fresh may be any number
	w.count(byBeacon, w.told-w.total)
}

// settle counts what media and playlists speak for by now, of a viewer that
// sends no beacons: the distinct media time within the wall time since its first
// delivery plus the playlist, and the steps; together never more than wall time
// plus the playlist. Who promised beacons is counted nothing for a while.
func (w *watch) settle(now time.Duration) {
	if w.beacons {
		return
	}
	if w.id.Beacons() && !w.lapsed {
		if now-w.first < promiseHolds {
			return
		}
		w.lapsed = true
	}
	limit := now - w.first + w.span
	if w.delivered >= 0 {
		media := min(w.distinct, now-w.delivered+w.span)
		w.count(byMedia, min(media-w.counted[byMedia], limit-w.total))
	}
	w.count(byPlaylist, min(w.steps-w.counted[byPlaylist], limit-w.total))
}

// count adds to what was counted, in whole microseconds: what is less waits.
func (w *watch) count(kind int, more time.Duration) {
	if more = more.Truncate(time.Microsecond); more > 0 {
		w.counted[kind] += more
		w.total += more
		w.session.pending[kind].Add(int64(more))
	}
}

// keep is how long after its last evidence the record of a viewer that left is
// needed.
func (w *watch) keep() time.Duration {
	switch {
	case w.media.high() >= 0 && time.Duration(w.session.edge.Load())-w.media.high() < w.span:
		return maxIdle // what it was given may still be listed
	case w.mark >= 0:
		return minIdleShared
	}
	return minIdle
}

// viewing is the viewer's row as it stands.
func (c *Counter) viewing(w *watch) livestream.Viewing {
	incarnation := c.incarnation
	if w.stay > 0 {
		incarnation += "." + strconv.FormatInt(w.stay, 36)
	}
	return livestream.Viewing{
		SessionID: w.session.id, Viewer: w.id.RandomHex(), Node: c.node, Incarnation: incarnation,
		First: c.start.Add(w.first).UTC().Round(0), Last: c.start.Add(w.last).UTC().Round(0), // no monotonic part
		Beacon: w.counted[byBeacon], Media: w.counted[byMedia], Playlist: w.counted[byPlaylist],
		Bytes: w.bytes, Renditions: w.renditions,
		Left: !w.present || w.session.ended.Load(),
	}
}

// sameFigures reports whether two rows of one record say the same.
func sameFigures(a, b *livestream.Viewing) bool {
	return a.Incarnation == b.Incarnation && a.Last.Equal(b.Last) &&
		a.Beacon == b.Beacon && a.Media == b.Media && a.Playlist == b.Playlist &&
		a.Bytes == b.Bytes && a.Renditions == b.Renditions && a.Left == b.Left
}
