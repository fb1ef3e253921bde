package sqlite

import (
	"fmt"
	"time"

	"tally/internal/livestream"
)

// watched is what windows tell of one session.
type watched struct {
	amounts     // that are new
	viewers any // NULL: no news
	peak    int
}

// amounts are viewer time in µs by the evidence it rests on.
type amounts struct{ beacon, media, playlist int64 }

func (a *amounts) add(kind livestream.UsageKind, us int64) {
	switch kind {
	case livestream.ByBeacon:
		a.beacon += us
	case livestream.ByMedia:
		a.media += us
	case livestream.ByPlaylist:
		a.playlist += us
	}
}

func (a amounts) sum() int64 { return a.beacon + a.media + a.playlist }

// An incarnation is one start of a node.
type incarnation struct{ node, id string }

// sumOf is the key of a row of usage_sums.
type sumOf struct {
	incarnation
	session string
}

// added is what a row of usage_sums is raised by.
type added struct {
	windows int64
	amounts
}

// newWindows is what windows tell that were not there yet.
type newWindows struct {
	at     time.Time
	viewed map[string]watched // by session id
	sums   map[sumOf]added
	order  []sumOf // the keys of sums, each once, as they came
}

// addWindows inserts what is not there yet and returns what that is per
// session. The caller adds it to the sessions in the same transaction, so that
// a window counts once however often it is written.
func (t *tx) addWindows(ws []livestream.UsageWindow, now time.Time) (viewed map[string]watched, err error) {
	news := &newWindows{at: now, viewed: make(map[string]watched, len(ws)), sums: make(map[sumOf]added, len(ws))}
	for i := range ws {
		w := &ws[i]
		switch w.Kind {
		case livestream.ByBeacon, livestream.ByMedia, livestream.ByPlaylist:
		default:
			return nil, fmt.Errorf("usage window of the unknown kind %q", w.Kind)
		}
		v := news.viewed[w.SessionID]
		v.viewers, v.peak = w.Viewers, max(v.peak, w.PeakViewers)
		news.viewed[w.SessionID] = v
	}
	if err := t.insertWindows(ws, news); err != nil {
		return nil, err
	}
	return news.viewed, t.raiseSums(news)
}

const windowArgs = 7

func insertWindows(n int) string {
	return `INSERT INTO usage_windows (node, incarnation, "window", session_id, kind, amount_us, folded_at)
		VALUES ` + tuples(n, windowArgs) + ` ON CONFLICT DO NOTHING`
}

var insertOneWindow, insertWindowChunk = insertWindows(1), insertWindows(chunk)

// insertAll inserts windows in chunks. False: some were there already, and it
// is not known which.
func (t *tx) insertAll(ws []livestream.UsageWindow, at time.Time) (bool, error) {
	for len(ws) > 0 {
		n, query := 1, insertOneWindow
		if len(ws) >= chunk {
			n, query = chunk, insertWindowChunk
		}
		args := make([]any, 0, windowArgs*chunk)
		for i := range ws[:n] {
			w := &ws[i]
			args = append(args, w.Node, w.Incarnation, w.Window, w.SessionID, string(w.Kind), w.Amount.Microseconds(), at.UnixMilli())
		}
		if inserted, err := t.exec(query, args...); err != nil || inserted < int64(n) {
			return false, err
		}
		ws = ws[n:]
	}
	return true, nil
}

// insertWindows inserts what is not there yet and notes it. Mostly that is all;
// otherwise it is taken back, and each is inserted by itself, to know which.
func (t *tx) insertWindows(ws []livestream.UsageWindow, news *newWindows) error {
	if err := t.w.run("SAVEPOINT windows"); err != nil {
		return err
	}
	all, err := t.insertAll(ws, news.at)
	if err != nil {
		return err
	}
	if !all {
		if err := t.w.run("ROLLBACK TO windows"); err != nil {
			return err
		}
	}
	if err := t.w.run("RELEASE windows"); err != nil {
		return err
	}
	for i := range ws {
		if !all {
			if is, err := t.insertAll(ws[i:i+1], news.at); err != nil {
				return err
			} else if !is {
				continue
			}
		}
		news.add(&ws[i])
	}
	return nil
}

// add adds a window to its session and to its sum.
func (news *newWindows) add(w *livestream.UsageWindow) {
	us := w.Amount.Microseconds()
	v := news.viewed[w.SessionID]
	v.add(w.Kind, us)
	news.viewed[w.SessionID] = v
	key := sumOf{incarnation{w.Node, w.Incarnation}, w.SessionID}
	sum, known := news.sums[key]
	if !known {
		news.order = append(news.order, key)
	}
	sum.windows++
	sum.add(w.Kind, us)
	news.sums[key] = sum
}

const sumArgs = 8

// raiseSums raises n sums.
func raiseSums(n int) string {
	return `INSERT INTO usage_sums (session_id, node, incarnation, windows, beacon_us, media_us, playlist_us, since)
		VALUES ` + tuples(n, sumArgs) + ` ON CONFLICT (session_id, node, incarnation) DO UPDATE SET
		windows = usage_sums.windows + excluded.windows, beacon_us = usage_sums.beacon_us + excluded.beacon_us,
		media_us = usage_sums.media_us + excluded.media_us, playlist_us = usage_sums.playlist_us + excluded.playlist_us`
}

var raiseOneSum, raiseSumChunk = raiseSums(1), raiseSums(chunk)

func (t *tx) raiseSums(news *newWindows) error {
	for keys := news.order; len(keys) > 0; {
		n, query := 1, raiseOneSum
		if len(keys) >= chunk {
			n, query = chunk, raiseSumChunk
		}
		args := make([]any, 0, sumArgs*chunk)
		for _, key := range keys[:n] {
			sum := news.sums[key]
			args = append(args, key.session, key.node, key.id, sum.windows, sum.beacon, sum.media, sum.playlist, news.at.UnixMilli())
		}
		if _, err := t.exec(query, args...); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}
