package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"unicode/utf8"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// getActive is L4, what is true at this moment. Clients poll it, so it is the
// hot path (design section 9): one read of the store, no reflection, one
// pooled buffer.
func getActive(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	if !rec.Session.Active(s.Now()) {
		return tell(livestream.ErrNotActive, "No active livestream session found for livestream_id %s", input.Clip(id))
	}
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	b := appendActive(buf.AvailableBuffer(), rec, v)
	buf.Write(b) // keeps what b has grown to, for the next request
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.Write(b)
	buffers.Put(buf)
	return nil
}

// appendActive appends L4's answer: the livestream with disabled as text, the
// session with its seconds as text, or all of them bare in upstream's dialect
// (contract 6.2).
func appendActive(b []byte, rec livestream.Record, v view) []byte {
	l, s := &rec.Livestream, &rec.Session
	b = append(b, `{"success":true,"data":{"livestream":{"id":`...)
	b = appendString(b, l.ID)
	b = append(b, `,"name":`...)
	b = appendOrNull(b, l.Name, l.HasName)
	b = append(b, `,"status":"`...)
	b = append(b, rec.Session.Status()...)
	b = append(b, `","meeting_id":`...)
	b = appendOrNull(b, l.MeetingID, l.MeetingID != "")
	b = append(b, `,"ingest_server":`...)
	b = appendString(b, v.ingest)
	b = append(b, `,"stream_key":`...)
	b = appendString(b, v.key(l))
	b = append(b, `,"playback_url":`...)
	b = appendString(b, v.playbackURL(l.PlaybackID))
	b = append(b, `,"disabled":`...)
	b = appendFlag(b, l.Disabled, v.form(asText))
	b = append(b, `,"created_at":`...)
	b = appendStamp(b, l.CreatedAt)
	b = append(b, `,"updated_at":`...)
	b = appendStamp(b, l.UpdatedAt)
	if v.tally {
		b = appendTally(b, v.livestreamTally(l))
	}

	message := s.ErrMessage()
	b = append(b, `},"session":{"id":`...)
	b = appendString(b, s.ID)
	b = append(b, `,"livestream_id":`...)
	b = appendString(b, s.LivestreamID)
	b = append(b, `,"err_message":`...)
	b = appendOrNull(b, message, message != "")
	b = append(b, `,"invoked_time":`...)
	b = appendStamp(b, s.InvokedAt)
	b = append(b, `,"started_time":`...)
	b = appendStamp(b, s.StartedAt)
	b = append(b, `,"stopped_time":`...)
	b = appendStamp(b, s.StoppedAt)
	b = append(b, `,"created_at":`...)
	b = appendStamp(b, s.CreatedAt)
	b = append(b, `,"updated_at":`...)
	b = appendStamp(b, s.UpdatedAt)
	b = append(b, `,"ingest_seconds":`...)
	b = appendFigure(b, seconds(s.Ingest), v.form(asText))
	b = append(b, `,"viewer_seconds":`...)
	b = appendFigure(b, seconds(s.Viewed), v.form(asText))
	if v.tally {
		b = appendTally(b, v.sessionTally(*s))
	}
	return append(b, "}}}\n"...)
}

// appendTally appends our own fields, which few ask for, by way of encoding/json.
func appendTally(b []byte, fields any) []byte {
	b = append(b, `,"tally":`...)
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(fields); err != nil {
		panic(err) // of plain values, which all can be written
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func appendOrNull(b []byte, s string, has bool) []byte {
	if !has {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259 section 7). What is not
// UTF-8 becomes U+FFFD. The bytes are those of encoding/json without HTML
// escapes, so that every endpoint spells a text the same way.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\b':
				b = append(b, '\\', 'b')
			case '\f':
				b = append(b, '\\', 'f')
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[start:i]...)
			b = append(b, `\ufffd`...)
			start = i + size
		case r == '\u2028', r == '\u2029': // line ends in JavaScript, not in JSON
			b = append(b, s[start:i]...)
			b = append(b, '\\', 'u', '2', '0', '2', hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
