package sqlite

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// This file is the one place that knows how a field stands in a column.

// Words for phases and losses as stored. They are part of the schema: the
// partial indexes name them.
var (
	phaseTexts = [...]string{"", "awaiting", "starting", "interrupted", "on-air", "reconnecting", "ended", "failed"}
	lossTexts  = [...]string{"", "encoder", "crash", "shutdown"}
)

// openPhases must stay word for word what the index sessions_open says, so that
// SQLite recognises that the index applies.
const openPhases = `phase IN ('awaiting', 'starting', 'interrupted', 'on-air', 'reconnecting')`

const sessionColumns = `s.id, s.livestream_id, s.phase, s.epoch, s.created_at, s.updated_at, s.invoked_at,
	s.started_at, s.stopped_at, s.last_media_at, s.deadline, s.lost_by, s.reason_code, s.reason_detail,
	s.acknowledged, s.remote, s.encoder, s.ingest_ms, s.viewed_us, s.viewers, s.peak_viewers,
	s.viewed_beacon_us, s.viewed_playlist_us, s.bytes, s.media, s.keyframe_ns, s.warnings`

const recordColumns = `l.account_id, l.app_id, l.id, l.name, l.meeting_id, l.stream_key, l.playback_id,
	l.disabled, l.created_at, l.updated_at, l.reconnect_window_ms, l.damping_ms, l.await_encoder_ms,
	l.endlist_delay_ms, l.dvr_window_ms, l.keep, l.epoch, l.refuse_until, l.longest_gop_ns, l.run_id, l.run_target_secs,
	l.run_part_target_ns, l.run_msn_mark, l.run_discontinuity_mark, l.run_ends_at, l.deleted_at,
	l.publisher_policy, l.defend_until, l.takeover_last, l.takeover_before, l.failure_last, l.failure_before,
	l.playback_policy, l.allowed_origins, ` + sessionColumns

// selectRecord goes before a WHERE about l, which should leave out what was deleted.
const selectRecord = `SELECT ` + recordColumns + `
	FROM livestreams l LEFT JOIN sessions s ON s.id = l.newest_session_id `

func scanRecord(row scanner) (livestream.Record, error) {
	var r livestream.Record
	l, set, run := &r.Livestream, &r.Livestream.Settings, &r.Livestream.Run
	name := optional{&l.Name, &l.HasName}
	err := row.Scan(append([]any{
		&l.AccountID, &l.AppID, &l.ID, &name, text{&l.MeetingID}, key{&l.StreamKey}, &l.PlaybackID,
		&l.Disabled, moment{&l.CreatedAt}, moment{&l.UpdatedAt}, millis{&set.ReconnectWindow}, millis{&set.Damping},
		millis{&set.AwaitEncoder}, millis{&set.EndlistDelay}, millis{&set.DVRWindow}, flag{&set.Keep}, &l.Epoch, moment{&l.RefuseUntil}, &l.LongestGOP, &run.ID,
		&run.TargetDuration, &run.PartTarget, &run.MSNMark, &run.DiscontinuityMark, moment{&run.EndsAt}, moment{&l.DeletedAt},
		(*string)(&set.Publisher), moment{&l.DefendUntil}, moment{&l.Takeovers.Last}, moment{&l.Takeovers.Before},
		moment{&l.Failures.Last}, moment{&l.Failures.Before}, (*string)(&set.Playback), &set.AllowedOrigins,
	}, sessionFields(&r.Session)...)...)
	return r, err
}

func scanSession(row scanner) (livestream.Session, error) {
	var s livestream.Session
	err := row.Scan(sessionFields(&s)...)
	return s, err
}

// sessionFields are destinations for sessionColumns. NULLs, as a livestream
// that was never on air has them, leave the zero Session.
func sessionFields(s *livestream.Session) []any {
	return []any{
		text{&s.ID}, text{&s.LivestreamID}, phase{&s.Phase}, number{&s.Epoch}, moment{&s.CreatedAt}, moment{&s.UpdatedAt},
		moment{&s.InvokedAt}, moment{&s.StartedAt}, moment{&s.StoppedAt}, moment{&s.LastMediaAt}, moment{&s.Deadline},
		loss{&s.LostBy}, text{(*string)(&s.Reason.Code)}, text{&s.Reason.Detail}, flag{&s.Acknowledged},
		text{&s.Remote}, text{&s.Encoder}, millis{&s.Ingest}, micros{&s.Viewed}, count{&s.Viewers}, count{&s.PeakViewers},
		micros{&s.ViewedByBeacon}, micros{&s.ViewedByPlaylist}, number{&s.Bytes}, text{&s.Media}, nanos{&s.Keyframe}, text{&s.Warnings},
	}
}

// Destinations for Scan. NULL is the zero value in each.

// moment: ms, UTC.
type moment struct{ *time.Time }

func (m moment) Scan(v any) error {
	x, err := integer(v)
	*m.Time = time.Time{}
	if v != nil && err == nil {
		*m.Time = time.UnixMilli(x).UTC()
	}
	return err
}

type millis struct{ *time.Duration }

func (d millis) Scan(v any) error { return scanDuration(d.Duration, v, time.Millisecond) }

type micros struct{ *time.Duration }

func (d micros) Scan(v any) error { return scanDuration(d.Duration, v, time.Microsecond) }

type nanos struct{ *time.Duration }

func (d nanos) Scan(v any) error { return scanDuration(d.Duration, v, time.Nanosecond) }

// scanDuration stops at the longest Duration, 292 years: a sum over viewers can
// be more than that.
func scanDuration(d *time.Duration, v any, unit time.Duration) error {
	x, err := integer(v)
	if x > math.MaxInt64/int64(unit) {
		*d = math.MaxInt64
		return err
	}
	*d = time.Duration(x) * unit
	return err
}

type number struct{ *int64 }

func (n number) Scan(v any) (err error) {
	*n.int64, err = integer(v)
	return err
}

type count struct{ *int }

func (c count) Scan(v any) error {
	x, err := integer(v)
	*c.int = int(x)
	return err
}

func integer(v any) (int64, error) {
	switch x := v.(type) {
	case nil:
		return 0, nil
	case int64:
		return x, nil
	}
	return 0, fmt.Errorf("column holds %T, want an integer", v)
}

type text struct{ *string }

func (t text) Scan(v any) (err error) {
	*t.string, err = characters(v)
	return err
}

type key struct{ *secret.String }

func (k key) Scan(v any) error {
	s, err := characters(v)
	*k.String = secret.New(s)
	return err
}

// digest: SHA-256 in lower-case hex.
type digest struct{ to *[32]byte }

func (d digest) Scan(v any) error {
	s, err := characters(v)
	if err != nil {
		return err
	}
	if len(s) != 2*len(d.to) {
		return fmt.Errorf("a hash of %d characters is damaged", len(s))
	}
	_, err = hex.Decode(d.to[:], []byte(s))
	return err
}

// optional keeps the wire's null apart from an empty text.
type optional struct {
	text *string
	has  *bool
}

func (o *optional) Scan(v any) (err error) {
	*o.has = v != nil
	*o.text, err = characters(v)
	return err
}

func characters(v any) (string, error) {
	switch x := v.(type) {
	case nil:
		return "", nil
	case string:
		return x, nil
	}
	return "", fmt.Errorf("column holds %T, want text", v)
}

type flag struct{ *bool }

func (f flag) Scan(v any) error {
	switch x := v.(type) {
	case nil:
		*f.bool = false
	case bool:
		*f.bool = x
	case int64: // as SQLite keeps it
		*f.bool = x != 0
	default:
		return fmt.Errorf("column holds %T, want a boolean", v)
	}
	return nil
}

type phase struct{ *livestream.Phase }

func (p phase) Scan(v any) error {
	i, err := indexOf(phaseTexts[:], v)
	*p.Phase = livestream.Phase(i)
	return err
}

type loss struct{ *livestream.Loss }

func (l loss) Scan(v any) error {
	i, err := indexOf(lossTexts[:], v)
	*l.Loss = livestream.Loss(i)
	return err
}

func indexOf(words []string, v any) (int, error) {
	s, err := characters(v)
	if err != nil {
		return 0, err
	}
	for i, w := range words {
		if w == s {
			return i, nil
		}
	}
	return 0, fmt.Errorf("column holds the unknown word %q", s)
}

// list is a JSON array of texts.
type list struct{ to *[]string }

func (l list) Scan(v any) error {
	s, err := characters(v)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(s), l.to)
}

// object is a JSON object as given, or nil.
type object struct{ to *[]byte }

func (o object) Scan(v any) error {
	s, err := characters(v)
	*o.to = nil
	if v != nil {
		*o.to = []byte(s)
	}
	return err
}

// Values for statements.

// ms is a time as stored; the zero time is NULL.
func ms(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// orNull is a text as stored where NULL stands for none.
func orNull(s string, has bool) any {
	if !has {
		return nil
	}
	return s
}

// blob is a JSON object as stored; nil is NULL.
func blob(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}

// texts is a list as stored.
func texts(list []string) string {
	if list == nil {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(b)
}

// keyHash is what a stream key is looked up by: the index holds no key, and how
// long the comparison takes says nothing about one.
func keyHash(k secret.String) string {
	sum := sha256.Sum256([]byte(k.Reveal()))
	return hex.EncodeToString(sum[:])
}

// folded is what a search in a text compares: engines differ about the case of
// letters beyond ASCII.
func folded(s string) string { return strings.ToLower(s) }

// containing is the pattern of LIKE, with ESCAPE '\', for texts that hold s in
// any case.
func containing(s string) string {
	return `%` + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(folded(s)) + `%`
}
