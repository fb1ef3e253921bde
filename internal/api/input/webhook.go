package input

import (
	"encoding/json"
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// maxURL is the most bytes a URL may have: what most receivers take.
const maxURL = 2048

// URL reads an absolute http or https URL without userinfo, and returns it as it
// is written too; nil when there is none, or when it is not that.
func (o Object) URL(name string) (u *url.URL, s string) {
	raw, ok := o.get(name)
	if !ok {
		return nil, ""
	}
	if json.Unmarshal(raw, &s) != nil {
		o.Fault(name, "must be a string")
		return nil, ""
	}
	u, err := url.Parse(s)
	switch {
	case len(s) > maxURL:
		o.Fault(name, "has %d bytes, the limit is %d", len(s), maxURL)
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "", !goodPort(u.Port()),
		strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || unicode.IsSpace(c) }):
		o.Fault(name, "must be an address such as https://example.org/hook")
	case u.User != nil:
		o.Fault(name, "must not hold a user name or password; check the signature instead")
	default:
		return u, s
	}
	return nil, ""
}

func goodPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// Cursor reads a number >= 0 that says behind what to begin; absent is 0.
func (o Object) Cursor(name string) int64 {
	raw, ok := o.members[name]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 {
		o.Fault(name, "must be a whole number from 0 to %d", int64(math.MaxInt64))
		return 0
	}
	return n
}

// Cursor reads a number >= 0 that says behind what to begin; absent and empty
// are 0.
func (p *Query) Cursor(name string) int64 {
	text := p.one(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		p.fault("%q must be a whole number of at least 0", name)
		return 0
	}
	return int64(n)
}

// Limit reads how many to answer at most; absent, empty and 0 mean without.
func (p *Query) Limit(without, most int) int { return p.count("limit", without, most) }
