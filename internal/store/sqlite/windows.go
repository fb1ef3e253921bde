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

func (a *amounts) add(b amounts) {
	a.beacon += b.beacon
	a.media += b.media
	a.playlist += b.playlist
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
	if err := t.insertWindows(rowsOf(ws), news); err != nil {
		return nil, err
	}
	return news.viewed, t.raiseSums(news)
}

// A windowRow is what stands in one row: windows of one key but for their kind.
type windowRow struct {
	*livestream.UsageWindow // any of them
	us                      [3]any
}

// kindColumns are the columns of usage_windows by the index in windowRow.us.
var kindColumns = [3]string{"beacon_us", "media_us", "playlist_us"}

func kindIndex(kind livestream.UsageKind) int {
	switch kind {
	case livestream.ByBeacon:
		return 0
	case livestream.ByMedia:
		return 1
	}
	return 2
}

// rowsOf puts windows that follow each other and have one key into one row. Of
// two of one kind the first counts, as with any that is written twice.
func rowsOf(ws []livestream.UsageWindow) []windowRow {
	rows := make([]windowRow, 0, len(ws))
	for i := range ws {
		w := &ws[i]
		if n := len(rows); n == 0 || rows[n-1].Window != w.Window || rows[n-1].SessionID != w.SessionID ||
			rows[n-1].Incarnation != w.Incarnation || rows[n-1].Node != w.Node {
			rows = append(rows, windowRow{UsageWindow: w})
		}
		if us := &rows[len(rows)-1].us[kindIndex(w.Kind)]; *us == nil {
			*us = w.Amount.Microseconds()
		}
	}
	return rows
}

const windowArgs = 8

func insertWindows(n int) string {
	return `INSERT INTO usage_windows (node, incarnation, "window", session_id, beacon_us, media_us, playlist_us, folded_at)
		VALUES ` + tuples(n, windowArgs) + ` ON CONFLICT DO NOTHING`
}

var insertOneWindow, insertWindowChunk = insertWindows(1), insertWindows(chunk)

// setWindow adds one kind to a row that lacks it.
func setWindow(column string) string {
	return `UPDATE usage_windows SET ` + column + ` = ?
		WHERE node = ? AND incarnation = ? AND "window" = ? AND session_id = ? AND ` + column + ` IS NULL`
}

var setWindows = [3]string{setWindow(kindColumns[0]), setWindow(kindColumns[1]), setWindow(kindColumns[2])}

// insertAll inserts rows in chunks. False: some were there already, and it is
// not known which.
func (t *tx) insertAll(rows []windowRow, at time.Time) (bool, error) {
	for len(rows) > 0 {
		n, query := 1, insertOneWindow
		if len(rows) >= chunk {
			n, query = chunk, insertWindowChunk
		}
		args := make([]any, 0, windowArgs*chunk)
		for i := range rows[:n] {
			r := &rows[i]
			args = append(args, r.Node, r.Incarnation, r.Window, r.SessionID, r.us[0], r.us[1], r.us[2], at.UnixMilli())
		}
		if inserted, err := t.exec(query, args...); err != nil || inserted < int64(n) {
			return false, err
		}
		rows = rows[n:]
	}
	return true, nil
}

// insertWindows inserts what is not there yet and notes it. Mostly that is all;
// otherwise it is taken back, and each is inserted by itself, to know which.
func (t *tx) insertWindows(rows []windowRow, news *newWindows) error {
	if err := t.w.run("SAVEPOINT windows"); err != nil {
		return err
	}
	all, err := t.insertAll(rows, news.at)
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
	for i := range rows {
		if !all {
			if err := t.insertWindow(&rows[i], news.at); err != nil {
				return err
			}
		}
		news.add(&rows[i])
	}
	return nil
}

// insertWindow inserts one row, or the kinds that it has and the row in its
// place has not; of r it leaves what was new.
func (t *tx) insertWindow(r *windowRow, at time.Time) error {
	if whole, err := t.insertAll([]windowRow{*r}, at); whole || err != nil {
		return err
	}
	for kind := range r.us {
		if r.us[kind] == nil {
			continue
		}
		n, err := t.exec(setWindows[kind], r.us[kind], r.Node, r.Incarnation, r.Window, r.SessionID)
		if err != nil {
			return err
		}
		if n == 0 {
			r.us[kind] = nil
		}
	}
	return nil
}

// add adds a row to its session and to its sum.
func (news *newWindows) add(r *windowRow) {
	var a amounts
	windows := int64(0)
	for kind, to := range [3]*int64{&a.beacon, &a.media, &a.playlist} {
		if us, ok := r.us[kind].(int64); ok {
			*to = us
			windows++
		}
	}
	if windows == 0 {
		return
	}
	v := news.viewed[r.SessionID]
	v.add(a)
	news.viewed[r.SessionID] = v
	key := sumOf{incarnation{r.Node, r.Incarnation}, r.SessionID}
	sum, known := news.sums[key]
	if !known {
		news.order = append(news.order, key)
	}
	sum.windows += windows
	sum.add(a)
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
