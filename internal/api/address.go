package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// client is the address that a request comes from: the peer's, or, when that is
// a trusted proxy, what it says. X-Forwarded-For is read from the right, past
// trusted proxies, because each appends the address it saw and whatever stands
// left of the first foreign one is that one's word. Anything that is no address
// makes it the peer's again. The zero Addr: the peer has none (a Unix socket).
func (s *server) client(r *http.Request) netip.Addr {
	peer := addressOf(r.RemoteAddr)
	if len(s.TrustedProxies) == 0 || !s.trusts(peer) {
		return peer
	}
	client := peer
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var one string
			one, rest, more = cutLast(rest)
			if client = addressOf(one); !client.IsValid() {
				return peer
			}
			if !s.trusts(client) {
				return client
			}
		}
	}
	return client
}

// cutLast returns the last item of a comma-separated list, what stands before
// it, and whether anything does.
func cutLast(list string) (item, rest string, more bool) {
	i := strings.LastIndexByte(list, ',')
	return strings.TrimSpace(list[i+1:]), list[:max(i, 0)], i >= 0
}

// addressOf reads an address, which may have a port behind it and, when it is
// IPv6, brackets around it. What is none is the zero Addr. Zones are dropped.
func addressOf(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func (c *Config) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
