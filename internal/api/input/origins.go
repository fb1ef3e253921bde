package input

import (
	"net/url"
	"strings"
)

// Origins reads an array of at most most web origins, as browsers spell them
// (RFC 6454 section 6.1): scheme, host in lower case, and the port unless it is
// the scheme's own. The host may begin with "*." for every host below the rest.
// ok is false when there is none, or when it is not that.
func (o Object) Origins(name string, most int) (list []string, ok bool) {
	if !o.Has(name) {
		return nil, false
	}
	if o.Raw(name) == nil {
		o.Fault(name, "must be an array; [] is for any origin")
		return nil, false
	}
	texts, ok := o.Texts(name, most)
	if !ok {
		return nil, false
	}
	for _, text := range texts {
		origin, ok := originOf(text)
		if !ok {
			o.Fault(name, `holds %q, which is no origin: write https://example.org, https://*.example.org or http://localhost:3000, without a path`, Clip(text))
			return nil, false
		}
		list = append(list, origin)
	}
	return list, true
}

// originOf normalises an origin.
func originOf(text string) (string, bool) {
	u, err := url.Parse(strings.ToLower(text))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Path != "" && u.Path != "/" ||
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#") || len(text) > 256 || !goodPort(u.Port()) {
		return "", false
	}
	host := u.Hostname()
	if plain := strings.TrimPrefix(host, "*."); plain == "" || strings.HasPrefix(plain, ".") || strings.HasSuffix(plain, ".") ||
		strings.ContainsFunc(plain, func(c rune) bool {
			return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c == ':')
		}) {
		return "", false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && !(u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443") {
		host += ":" + port
	}
	return u.Scheme + "://" + host, true
}
