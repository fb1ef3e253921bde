// Package cue reads what encoders tell amid a broadcast: captions as text, cue
// points, splices of SCTE 35, their own data. All come as RTMP data messages, for
// which there is no standard but what products do:
//
//   - onTextData, onCaption: text to show (Wowza, "Configure closed captioning for
//     live streaming")
//   - onCuePoint: Flash's cue points; with the name "scte35" those of AWS Elemental
//     Live and MediaLive (ad marker onCuePoint, ON_CUE_POINT_SCTE35)
//   - onAdCue: splices as Adobe Primetime's "Digital Program Insertion Signaling
//     Specification" has them, in its simple and its SCTE-35 mode (Microsoft,
//     "Signaling Timed Metadata in Live Streaming", sections 2.1.2 to 2.1.5)
//   - onSCTE35: the same with nothing but the section
//   - onUserDataEvent: anything ("Signaling Timed Metadata", section 2.1.1)
//   - onFI: date and time of day of the picture (Wirecast, Flash Media Live Encoder)
//   - onMetaData, when what an encoder adds of its own to it changes
package cue

import (
	"encoding/base64"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"tally/internal/media"
	"tally/internal/rtmp/amf0"
)

// A Message is a data message that is a cue. The cue's At is not set.
type Message struct {
	Cue media.Cue
	// Time is when it happens on the encoder's clock, in seconds, if it says; else
	// it is that of the message.
	Time    float64
	HasTime bool
}

// maxSpan bounds how long a cue may claim to last; a longer one says nothing.
const maxSpan = 24 * time.Hour

// Read reads a data message of that name. It returns false for what is no cue,
// what repeats one for players that join (the playlist does that), and what is
// too long to be listed.
func Read(name string, values []any) (Message, bool) {
	if len(values) == 0 {
		return Message{}, false
	}
	v := values[0]
	m := Message{Cue: media.Cue{Class: name}}
	switch name {
	case "onTextData", "onCaption", "onFI", "onUserDataEvent":
	case "onCuePoint", "onSCTE35", "onAdCue":
		if elapsed, ok := number(v, "elapsed"); ok && elapsed > 0 {
			return Message{}, false
		}
		m.Time, m.HasTime = number(v, "time")
		m.span(v)
		m.splice(v)
	default:
		return Message{}, false
	}
	return m.with(v)
}

// with puts what the message says into it. A splice that says too much says
// nothing but its section.
func (m Message) with(v any) (Message, bool) {
	text, isText := v.(string)
	if !isText {
		text = string(appendJSON(nil, v))
	}
	if len(text) > media.MaxCueData || !utf8.ValidString(text) {
		if isText {
			text = clip(text)
		} else {
			text = ""
		}
	}
	m.Cue.Data = text
	if m.Cue.Section != nil {
		m.Cue.Data = "" // all is in the section
	}
	return m, m.Cue.Data != "" || m.Cue.Section != nil
}

// clip is as much of a text as a cue holds.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= media.MaxCueData {
		return s
	}
	s = s[:media.MaxCueData]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// span reads how long the cue says that it lasts.
func (m *Message) span(v any) {
	for _, in := range [...]any{v, amf0.Lookup(v, "parameters")} {
		for _, name := range [...]string{"duration", "break_duration_sec"} {
			if s, ok := number(in, name); ok && s > 0 && s < maxSpan.Seconds() {
				m.Cue.Duration, m.Cue.Planned = time.Duration(s*1000)*time.Millisecond, true
				return
			}
		}
	}
}

// sections are the properties in which encoders put a section, in base64.
var sections = [...]string{"cue", "data", "scte35", "scte35-bin64", "payload", "message"}

// splice looks for a splice_info_section.
func (m *Message) splice(v any) {
	for _, in := range [...]any{v, amf0.Lookup(v, "parameters")} {
		for _, name := range sections {
			if m.section(amf0.Text(in, name)) {
				return
			}
		}
	}
	if text, ok := v.(string); ok {
		m.section(text)
	}
}

func (m *Message) section(text string) bool {
	if len(text) < 16 || len(text) > 2*media.MaxCueSection {
		return false
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		b, err = base64.RawStdEncoding.DecodeString(strings.TrimSpace(text))
	}
	if err != nil || len(b) > media.MaxCueSection {
		return false
	}
	s, ok := ParseSection(b)
	if !ok {
		return false
	}
	c := &m.Cue
	c.Class, c.Splice, c.Event, c.Section = ClassSCTE35, s.Splice, s.Event, b
	if s.Duration > 0 && s.Duration < maxSpan {
		c.Duration, c.Planned = s.Duration, true
	}
	if s.Splice != media.SpliceOut {
		c.Duration, c.Planned = 0, false
	}
	return true
}

// ClassSCTE35 is the class of cues that carry a splice_info_section: the scheme
// of ANSI/SCTE 214-1.
const ClassSCTE35 = "urn:scte:scte35:2013:bin"

// number reads a finite number.
func number(v any, name string) (float64, bool) {
	n, ok := amf0.Lookup(v, name).(float64)
	if !ok || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, false
	}
	return n, true
}
