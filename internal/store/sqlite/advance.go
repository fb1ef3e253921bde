package sqlite

import (
	"context"
	"time"

	"tally/internal/livestream"
)

// Advance runs Record.Apply on what is stored and stores what it returns.
// Labels and received time are cut to whole milliseconds before Apply sees
// them, so that the record it returns is the record a later read returns.
func (s *Store) Advance(ctx context.Context, livestreamID string, e livestream.Event) (r livestream.Record, err error) {
	e.At = wholeMillis(e.At)
	e.LastMediaAt = wholeMillis(e.LastMediaAt)
	e.Ingest = e.Ingest.Truncate(time.Millisecond)
	err = s.w.do(ctx, durable, func(t *tx) error {
		var before livestream.Record
		if err := t.row(selectRecord+`WHERE l.id = ?`, func(row scanner) (err error) {
			before, err = scanRecord(row)
			return err
		}, livestreamID); err != nil {
			return err
		}
		r = before
		after, facts, err := before.Apply(e)
		if err != nil {
			return refusal{err}
		}
		if err := t.put(before, after); err != nil {
			return err
		}
		s.forgetWords(t, after.Session.ID)
		for _, f := range facts {
			if err := t.addFact(f); err != nil {
				return err
			}
		}
		if err := s.notify(t, before, after); err != nil {
			return err
		}
		s.tellAccess(t, before.Livestream, after.Livestream)
		r = after
		if e.Kind != livestream.Start {
			return nil
		}
		return t.noteCreation(ctx, livestream.CreatesSession, after.Session.ID)
	})
	if refused, ok := err.(refusal); ok {
		return r, refused.error
	}
	if err != nil {
		return livestream.Record{}, s.explain("advance livestream", err)
	}
	return r, nil
}

// forgetWords lets the next checkpoint of a session write its words: a
// transition may have changed them. Now for one in the same transaction, and
// afterwards because one before it in the same transaction is remembered then.
func (s *Store) forgetWords(t *tx, sessionID string) {
	delete(s.told, sessionID)
	t.after = append(t.after, func() { delete(s.told, sessionID) })
}

// A refusal is Apply's answer, on its way past explain.
type refusal struct{ error }

func wholeMillis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// put writes what Apply changed. A session with another id than before is new.
func (t *tx) put(before, after livestream.Record) error {
	t.touch(after.Livestream.ID)
	if after.Session != before.Session {
		write := t.updateSession
		if after.Session.ID != before.Session.ID {
			write = t.insertSession
		}
		if err := write(after.Session); err != nil {
			return err
		}
	}
	if after.Livestream == before.Livestream && after.Session.ID == before.Session.ID {
		return nil
	}
	return t.updateLivestream(after)
}

// updateLivestream writes every field that an event may change.
func (t *tx) updateLivestream(r livestream.Record) error {
	l := r.Livestream
	_, err := t.exec(`UPDATE livestreams SET name = ?, reconnect_window_ms = ?, damping_ms = ?, await_encoder_ms = ?,
		endlist_delay_ms = ?, dvr_window_ms = ?, keep = ?, publisher_policy = ?, defend_until = ?, takeover_last = ?, takeover_before = ?,
		failure_last = ?, failure_before = ?, deleted_at = ?, playback_policy = ?, allowed_origins = ?, stream_key = ?, stream_key_hash = ?, disabled = ?, updated_at = ?, epoch = ?,
		refuse_until = ?, longest_gop_ns = ?, run_id = ?, run_target_secs = ?, run_part_target_ns = ?, run_msn_mark = ?,
		run_discontinuity_mark = ?, run_ends_at = ?, newest_session_id = ? WHERE id = ?`,
		orNull(l.Name, l.HasName), l.Settings.ReconnectWindow.Milliseconds(), l.Settings.Damping.Milliseconds(),
		l.Settings.AwaitEncoder.Milliseconds(), l.Settings.EndlistDelay.Milliseconds(),
		l.Settings.DVRWindow.Milliseconds(), l.Settings.Keep,
		string(l.Settings.Publisher), ms(l.DefendUntil), ms(l.Takeovers.Last), ms(l.Takeovers.Before),
		ms(l.Failures.Last), ms(l.Failures.Before), ms(l.DeletedAt), string(l.Settings.Playback), l.Settings.AllowedOrigins,
		l.StreamKey.Reveal(), keyHash(l.StreamKey), l.Disabled, ms(l.UpdatedAt), l.Epoch,
		ms(l.RefuseUntil), int64(l.LongestGOP), l.Run.ID, l.Run.TargetDuration, int64(l.Run.PartTarget), l.Run.MSNMark,
		l.Run.DiscontinuityMark, ms(l.Run.EndsAt), orNull(r.Session.ID, r.Session.ID != ""), l.ID)
	return err
}

func (t *tx) insertSession(s livestream.Session) error {
	_, err := t.exec(`INSERT INTO sessions (id, livestream_id, phase, epoch, created_at, updated_at, invoked_at, started_at,
		stopped_at, last_media_at, deadline, lost_by, reason_code, reason_detail, acknowledged, remote, encoder,
		ingest_ms, bytes, media, keyframe_ns, warnings, viewed_us, longest_gop_ns, account_id, app_id)
		SELECT ?, ?2, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, account_id, app_id FROM livestreams WHERE id = ?2`,
		s.ID, s.LivestreamID, phaseTexts[s.Phase], s.Epoch, ms(s.CreatedAt), ms(s.UpdatedAt), ms(s.InvokedAt), ms(s.StartedAt),
		ms(s.StoppedAt), ms(s.LastMediaAt), ms(s.Deadline), lossTexts[s.LostBy], string(s.Reason.Code), s.Reason.Detail,
		s.Acknowledged, s.Remote, s.Encoder, s.Ingest.Milliseconds(), s.Bytes, s.Media, int64(s.Keyframe), s.Warnings)
	return err
}

// updateSession writes all but the viewed time and the peak, which only windows change.
func (t *tx) updateSession(s livestream.Session) error {
	_, err := t.exec(`UPDATE sessions SET phase = ?, epoch = ?, updated_at = ?, invoked_at = ?, started_at = ?, stopped_at = ?,
		last_media_at = ?, deadline = ?, lost_by = ?, reason_code = ?, reason_detail = ?, acknowledged = ?, remote = ?,
		encoder = ?, ingest_ms = ?, bytes = ?, media = ?, keyframe_ns = ?, warnings = ?, viewers = ? WHERE id = ?`,
		phaseTexts[s.Phase], s.Epoch, ms(s.UpdatedAt), ms(s.InvokedAt), ms(s.StartedAt), ms(s.StoppedAt),
		ms(s.LastMediaAt), ms(s.Deadline), lossTexts[s.LostBy], string(s.Reason.Code), s.Reason.Detail, s.Acknowledged, s.Remote,
		s.Encoder, s.Ingest.Milliseconds(), s.Bytes, s.Media, int64(s.Keyframe), s.Warnings, s.Viewers, s.ID)
	return err
}

func (t *tx) addFact(f livestream.Fact) error {
	_, err := t.exec(`INSERT INTO timeline (session_id, seq, at, kind, from_phase, to_phase, epoch, remote, encoder, detail,
		bytes, ingest_ms, media, keyframe_ns)
		SELECT ?1, COALESCE(MAX(seq), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 FROM timeline WHERE session_id = ?1`,
		f.SessionID, ms(f.At), f.Kind, f.From, f.To, f.Epoch, f.Remote, f.Encoder, f.Detail,
		f.Bytes, f.Ingest.Milliseconds(), f.Media, int64(f.Keyframe))
	return err
}
