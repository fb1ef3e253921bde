package beacon

import (
	"bytes"
	"strconv"
	"strings"
)

// A Moment is how a player stood when it reported: one line of CMCD. What a key
// says that is absent is in brackets.
type Moment struct {
	At       int64  // ts: milliseconds of the player's clock
	Seq      int64  // sn [-1]
	Session  string // sid [""], at most 64 bytes
	State    State  // sta [StateUnsaid]
	Rate     float64
	Hidden   bool  // bg: no player of the session is visible [false]
	Playhead int64 // pt: milliseconds [-1]
}

// State is what of sta matters: whether media is being rendered.
type State uint8

const (
	StateUnsaid State = iota // as in the report before
	StatePlaying
	StateStopped // starting, seeking, rebuffering, paused, waiting, ended, failed
)

const (
	// maxInteger is the largest that a structured field holds (RFC 9651 section 3.3.1).
	maxInteger = 999_999_999_999_999
	maxSession = 64 // of sid, by its definition
	maxRate    = 16 // what browsers play at most
)

// parseCMCD reads lines of dictionaries.
func parseCMCD(body []byte) ([]Moment, error) {
	var all []Moment
	for n := 1; len(body) > 0; n++ {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte{'\n'})
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(all) == MaxReports {
			return nil, bad("more than %d reports", MaxReports)
		}
		m := Moment{At: -1, Seq: -1, Rate: 1, Playhead: -1}
		d := dictionary{rest: string(line)}
		for d.next() {
			if !m.set(d.key, d.value) {
				return nil, bad("line %d: key %s has a value that CMCD does not allow", n, d.key)
			}
		}
		switch {
		case !d.ok && d.key != "":
			return nil, bad("line %d is no CMCD from key %s on", n, d.key)
		case !d.ok:
			return nil, bad("line %d is neither JSON nor CMCD", n)
		case m.At < 0:
			return nil, bad("line %d: the key ts is missing: each CMCD event report has one", n)
		}
		all = append(all, m)
	}
	return all, nil
}

// set takes one key, and reports whether its value can be. Unknown keys can.
func (m *Moment) set(key, value string) (ok bool) {
	switch key {
	case "ts":
		m.At, ok = integer(value)
	case "sn":
		m.Seq, ok = integer(value)
	case "pt":
		m.Playhead, ok = integer(value)
	case "sid":
		m.Session, ok = quoted(value)
	case "pr":
		m.Rate, ok = decimal(value)
	case "bg":
		m.Hidden = value == "" || value == "?1"
		ok = m.Hidden || value == "?0"
	case "sta":
		m.State = StateStopped
		if value == "p" {
			m.State = StatePlaying
		}
		ok = value != "" && value[0] != '"'
	default:
		ok = true
	}
	return ok
}

func integer(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && n <= maxInteger && s[0] != '+'
}

// decimal reads digits with at most one point among them (RFC 9651 section
// 3.3.2). A rate below 0 is a rewind: nothing of what is shown was not seen.
func decimal(s string) (float64, bool) {
	if strings.Trim(s, "-.0123456789") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return min(max(f, 0), maxRate), err == nil
}

// quoted reads a string (RFC 9651 section 3.3.3). Escapes stay as they are:
// the text is only compared.
func quoted(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' || len(s) > maxSession+2 {
		return "", false
	}
	return s[1 : len(s)-1], true
}

// A dictionary is read member by member (RFC 9651 section 4.2.2). Of a value it
// finds only where it ends; parameters are left out.
type dictionary struct {
	rest       string
	key, value string // value as written, "" for a key alone
	ok         bool   // what was read is right; false before anything was
	read       bool
}

// next reads a member, and reports whether there is one.
func (d *dictionary) next() bool {
	if d.read && !d.ok || d.rest == "" {
		return false
	}
	d.read, d.ok = true, false
	n := 0
	for n < len(d.rest) && keyByte(d.rest[n]) {
		n++
	}
	d.key, d.value, d.rest = d.rest[:n], "", d.rest[n:]
	if n == 0 {
		return false
	}
	if strings.HasPrefix(d.rest, "=") {
		n := valueLength(d.rest[1:])
		if n <= 0 {
			return false
		}
		d.value, d.rest = d.rest[1:1+n], d.rest[1+n:]
	}
	for strings.HasPrefix(d.rest, ";") {
		n := valueLength(d.rest[1:])
		if n <= 0 {
			return false
		}
		d.rest = d.rest[1+n:]
	}
	d.rest = strings.TrimLeft(d.rest, " \t")
	if d.rest == "" {
		d.ok = true
		return true
	}
	after, comma := strings.CutPrefix(d.rest, ",")
	d.rest = strings.TrimLeft(after, " \t")
	d.ok = comma && d.rest != ""
	return d.ok
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' || c == '*'
}

// valueLength is the length of the value that s begins with: up to a comma, a
// semicolon or white space that is in neither a string nor a list. -1: it does
// not end, or holds what no structured field does.
func valueLength(s string) int {
	inString, inList := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' && c != '\t' || c > '~':
			return -1
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '(' || c == ')':
			if inList == (c == '(') {
				return -1
			}
			inList = c == '('
		case !inList && (c == ',' || c == ';' || c == ' ' || c == '\t'):
			return i
		}
	}
	if inString || inList {
		return -1
	}
	return len(s)
}
