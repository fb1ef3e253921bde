// Package netguard makes outgoing HTTP calls to addresses that a user of the API
// chose, without letting that user reach what is not public: this machine, the
// network it stands in, or a cloud's metadata service.
//
// What counts is the address that is about to be dialled, after the name was
// resolved: [Guard] looks at it in the dialer's control hook, so a name that
// resolves differently the second time gains nothing. Redirects are not
// followed, and no proxy of the environment is used, because either would dial
// for us where the hook does not see it.
package netguard

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A Guard says which addresses may be called. The zero Guard allows what is
// public. It must not be changed once it is in use.
type Guard struct {
	// Allow lists what may be called although it is not public.
	Allow []netip.Prefix
	// Flag is the name of the setting that fills Allow, for errors: "--allow".
	Flag string
}

// A RefusedError says which address may not be called, and what to change.
type RefusedError struct {
	Addr netip.Addr
	What string // what kind of address it is
	Flag string
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("address %s is %s, which is not called", e.Addr, e.What)
	if e.Flag != "" {
		a := e.Addr.Unmap().WithZone("")
		text += fmt.Sprintf("; if it is meant, start the server with %s %s", e.Flag, netip.PrefixFrom(a, a.BitLen()))
	}
	return text
}

// refused lists what is not public, by the IANA special-purpose registries
// (RFC 6890), multicast, and what carries an IPv4 address inside an IPv6 one:
// that reaches, by a gateway, whatever the inner address names.
var refused = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified (RFC 1122)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "of a carrier's NAT (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "this machine (RFC 1122)"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "for protocol assignments (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation (RFC 5737)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast (RFC 5771)"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"}, // with the broadcast address

	{netip.MustParsePrefix("::/128"), "unspecified (RFC 4291)"},
	{netip.MustParsePrefix("::1/128"), "this machine (RFC 4291)"},
	{netip.MustParsePrefix("::/96"), "IPv4 inside IPv6 (RFC 4291, IPv4-compatible)"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4 inside IPv6 (RFC 4291, IPv4-mapped)"},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4 inside IPv6 (RFC 7915, IPv4-translated)"},
	{netip.MustParsePrefix("64:ff9b::/96"), "IPv4 inside IPv6 (RFC 6052, NAT64)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "IPv4 inside IPv6 (RFC 8215, NAT64)"},
	{netip.MustParsePrefix("100::/64"), "discarded (RFC 6666)"},
	{netip.MustParsePrefix("2001::/23"), "for protocol assignments (RFC 2928, with Teredo)"},
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation (RFC 3849)"},
	{netip.MustParsePrefix("2002::/16"), "IPv4 inside IPv6 (RFC 3056, 6to4)"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation (RFC 9637)"},
	{netip.MustParsePrefix("5f00::/16"), "for segment routing (RFC 9602)"},
	{netip.MustParsePrefix("fc00::/7"), "private (RFC 4193, ULA)"},
	{netip.MustParsePrefix("fe80::/10"), "link-local (RFC 4291)"},
	{netip.MustParsePrefix("fec0::/10"), "site-local (RFC 3879)"},
	{netip.MustParsePrefix("ff00::/8"), "multicast (RFC 4291)"},
}

// Check returns a [*RefusedError] for an address that may not be called.
func (g Guard) Check(a netip.Addr) error {
	plain := a.WithZone("") // a prefix contains no zoned address
	for _, r := range refused {
		if !r.prefix.Contains(plain) || g.allows(plain) {
			continue
		}
		return &RefusedError{a, r.what, g.Flag}
	}
	return nil
}

// allows takes an IPv4 address that is mapped into IPv6 for what it is.
func (g Guard) allows(a netip.Addr) bool {
	return slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) || p.Contains(a.Unmap()) })
}

// CheckURL returns an error for a URL that names an address which may not be
// called, so that whoever sets it learns so at once. It resolves nothing: what a
// name stands for is looked at when it is called.
func (g Guard) CheckURL(u *url.URL) error {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 section 6.3
		err := g.Check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if err != nil && g.Check(netip.IPv6Loopback()) == nil {
			return nil
		}
		return err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return g.Check(a)
	}
	return nil
}

// control is the dialer's hook: address is what the socket will connect to.
func (g Guard) control(network, address string, _ syscall.RawConn) error {
	switch network {
	case "tcp4", "tcp6":
	default:
		return fmt.Errorf("network %s is not called", network)
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %s is not called: %w", address, err)
	}
	return g.Check(a.Addr())
}

// Limits of one call, besides the caller's own deadline.
const (
	dialTimeout    = 5 * time.Second // name and connection
	tlsTimeout     = 5 * time.Second
	idleTimeout    = 30 * time.Second
	maxIdle        = 128      // connections kept for another call
	maxHeaderBytes = 16 << 10 // of an answer
)

// Transport returns a transport whose every connection is guarded. It uses no
// proxy. The caller closes its idle connections.
func (g Guard) Transport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: idleTimeout, Control: g.control}
	return &http.Transport{
		Proxy:                  nil, // not that of the environment: it would dial for us
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    tlsTimeout,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // a small answer cannot grow
		ForceAttemptHTTP2:      true,
	}
}

// Client returns a client over t that follows no redirect: the answer that
// redirects is the answer. timeout bounds a whole call, reading the answer
// included.
func Client(t http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport:     t,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
