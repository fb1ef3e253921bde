package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"tally/internal/api/input"
	"tally/internal/livestream"
	"tally/internal/media"
)

const (
	maxCueSeconds = 86_400 // how long a cue may last
	maxCueText    = 512    // characters, which are media.MaxCueData at most
)

// cueObject is a cue as it was put into the playlist.
type cueObject struct {
	ID        string  `json:"id"`
	Class     string  `json:"class"`
	StartDate stamp   `json:"start_date"`
	Duration  float64 `json:"duration"` // seconds
}

// createCue is ours: it tells viewers something, beside the newest media.
func createCue(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("livestream_id")
	rec, err := s.Store.RecordByID(rq.Context(), rq.Scope, id)
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	c := cueOf(body)
	if err := body.Err(); err != nil {
		return err
	}
	mark, err := s.Control.Cue(rq.Context(), rec.Livestream.ID, c)
	if errors.Is(err, livestream.ErrNotActive) {
		return tell(err, "No active livestream session found for livestream_id %s that viewers could see: a cue goes beside media", input.Clip(id))
	}
	if err != nil {
		return orMissing(err, "livestream", id)
	}
	return s.reply(w, http.StatusCreated, cueObject{
		ID: mark.ID, Class: c.Class, StartDate: stamp(mark.Date), Duration: c.Duration.Seconds(),
	}, nil)
}

// notInClass reports whether a class may not hold r.
func notInClass(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._:/-", r))
}

// cueOf reads {class, duration, data}.
func cueOf(body input.Object) media.Cue {
	c := media.Cue{Class: "cue", Now: true}
	if class, has := body.Text("class"); has {
		c.Class = class
		if class == "" || len(class) > media.MaxCueClass || strings.ContainsFunc(class, notInClass) {
			body.Fault("class", "must have 1 to %d characters of A-Z a-z 0-9 . _ : / -", media.MaxCueClass)
		}
	}
	if raw := body.Raw("duration"); raw != nil {
		var seconds float64
		if json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > maxCueSeconds {
			body.Fault("duration", "must be a number of seconds from 0 to %d", maxCueSeconds)
		}
		c.Duration = time.Duration(math.Round(seconds*1000)) * time.Millisecond
	}
	raw := body.Raw("data")
	if raw == nil {
		body.Fault("data", "is missing, or null: give a text, or JSON of any other kind")
		return c
	}
	if json.Unmarshal(raw, &c.Data) != nil { // JSON that is no string
		var b bytes.Buffer
		_ = json.Compact(&b, raw) // it was read as JSON before
		c.Data = b.String()
	}
	if len(c.Data) == 0 || utf8.RuneCountInString(c.Data) > maxCueText && raw[0] == '"' {
		body.Fault("data", "must have 1 to %d characters where it is a text", maxCueText)
	} else if len(c.Data) > media.MaxCueData {
		body.Fault("data", "must have at most %d bytes, spaces between values not counted", media.MaxCueData)
	}
	for _, name := range body.Names() {
		if name != "class" && name != "duration" && name != "data" {
			body.Fault(name, "is no member of a cue")
		}
	}
	return c
}
