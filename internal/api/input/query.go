package input

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tally/internal/livestream"
)

// Paging (contract 3.1).
const (
	defaultPageSize = 25
	maxPageSize     = 100       // silently
	maxPageNumber   = 1_000_000 // beyond every list; keeps the offset's arithmetic small
)

// A Query reads a query string, collecting what is wrong with it. Names that no
// route knows are ignored, as upstream's.
type Query struct {
	values url.Values
	faults Faults
}

// ParseQuery reads a raw query string.
func ParseQuery(raw string) *Query {
	values, err := url.ParseQuery(raw)
	p := &Query{values: values}
	if err != nil {
		p.fault("the query cannot be read: %s", err)
	}
	return p
}

func (p *Query) fault(format string, args ...any) {
	p.faults = append(p.faults, Fault{Text: fmt.Sprintf(format, args...)})
}

// Err is nil, or every fault found so far.
func (p *Query) Err() error { return p.faults.err() }

// one returns a parameter's value; absent and empty are alike.
func (p *Query) one(name string) string {
	all := p.values[name]
	if len(all) > 1 {
		p.fault("%q is given %d times", name, len(all))
	}
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// count reads a number >= 0; absent, empty and 0 mean without.
func (p *Query) count(name string, without, most int) int {
	text := p.one(name)
	if text == "" {
		return without
	}
	n, err := strconv.ParseUint(text, 10, 63)
	switch {
	case err != nil:
		p.fault("%q must be a whole number of at least 0", name)
		return without
	case n == 0:
		return without
	}
	return int(min(n, uint64(most)))
}

// Page reads page_no and per_page (contract 3.1).
func (p *Query) Page() livestream.Page {
	return livestream.Page{
		Number: p.count("page_no", 1, maxPageNumber),
		Size:   p.count("per_page", defaultPageSize, maxPageSize),
	}
}

// Flag reads true or false; absent and empty are false.
func (p *Query) Flag(name string) bool {
	switch p.one(name) {
	case "true":
		return true
	case "", "false":
		return false
	}
	p.fault("%q must be true or false", name)
	return false
}

// OldestFirst reads sort_order. Livestreams say ASC and DSC, the rest of the
// family ASC and DESC; all are taken, in any case (contract 6.7).
func (p *Query) OldestFirst() bool {
	switch strings.ToUpper(p.one("sort_order")) {
	case "ASC":
		return true
	case "", "DSC", "DESC":
		return false
	}
	p.fault(`"sort_order" must be ASC or DSC`)
	return false
}

// Includes reads include, our own parameter: whether it names what. Repeated
// keys are taken, and nothing else than what may be named.
func (p *Query) Includes(what string) (yes bool) {
	for _, v := range p.values["include"] {
		switch v {
		case what:
			yes = true
		case "":
		default:
			p.fault(`"include" must be %s`, what)
		}
	}
	return yes
}

// Statuses reads the filter status: one, or several by repeated keys; none does
// not filter.
func (p *Query) Statuses() (some []livestream.Status) {
	for _, text := range p.values["status"] {
		switch s := livestream.Status(text); s {
		case "":
		case livestream.StatusLive, livestream.StatusIdle, livestream.StatusErrored, livestream.StatusInvoked:
			some = append(some, s)
		default:
			p.fault(`"status" must be LIVE, IDLE, ERRORED or INVOKED`)
			return nil
		}
	}
	return some
}

// Time reads any RFC 3339 time, or a bare date, which stands for its first
// instant in UTC, or for its last when it ends a range.
func (p *Query) Time(name string, end bool) time.Time {
	text := p.one(name)
	if text == "" {
		return time.Time{}
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			return day.AddDate(0, 0, 1).Add(-time.Millisecond)
		}
		return day
	}
	t, err := parseTime(text)
	if err != nil {
		p.fault("%q must be an RFC 3339 time such as 2026-01-31T12:00:00Z", name)
	}
	return t
}

// parseTime reads RFC 3339 with what section 5.6 leaves free: lower case, a
// blank instead of T, a leap second. A + that the client forgot to escape
// arrives as a blank before the offset.
func parseTime(text string) (time.Time, error) {
	b := []byte(strings.ToUpper(text))
	if len(b) > len("2006-01-02T15:04:05") {
		if b[10] == ' ' {
			b[10] = 'T'
		}
		if i := len(b) - len("+07:00"); b[i] == ' ' && i > 10 {
			b[i] = '+'
		}
		if string(b[16:19]) == ":60" {
			b[17], b[18] = '5', '9'
			t, err := time.Parse(time.RFC3339, string(b))
			return t.Add(time.Second), err
		}
	}
	return time.Parse(time.RFC3339, string(b))
}

// Search reads a text to look for; "" looks for nothing.
func (p *Query) Search(name string) string {
	v := p.one(name)
	switch n := utf8.RuneCountInString(v); {
	case n > maxName:
		p.fault("%q has %d characters, the limit is %d", name, n, maxName)
	case !utf8.ValidString(v), strings.ContainsFunc(v, unicode.IsControl):
		p.fault("%q must be UTF-8 without control characters", name)
	}
	return v
}
