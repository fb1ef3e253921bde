package main

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// plainOnPublic says why tokens and stream keys would travel in the clear over
// the internet: plain HTTP under a public name or on a public address. It is ""
// where that is not so, as far as the flags can tell: a server that speaks TLS
// too, and was not told its URL, may be reached either way.
func plainOnPublic(publicURL string, listening net.Addr, tls bool) string {
	if u, err := url.Parse(publicURL); err == nil && u.Scheme == "http" && publicHost(u.Hostname()) {
		return "--public-url is plain http: give --tls-cert and --tls-key, or put TLS in front (a reverse proxy, with --trusted-proxies), and use https"
	}
	if tcp, ok := listening.(*net.TCPAddr); ok && publicURL == "" && !tls && publicAddr(tcp.AddrPort().Addr()) {
		return "plain http on a public address: give --tls-cert and --tls-key, or put TLS in front (a reverse proxy, with --trusted-proxies), and set --public-url"
	}
	return ""
}

// mixedContent says why browsers would show nothing: pages over TLS may not load
// media without. "" where that is not so.
func mixedContent(publicURL, mediaBaseURL string) string {
	if strings.HasPrefix(publicURL, "https:") && strings.HasPrefix(mediaBaseURL, "http:") {
		return "--media-base-url is plain http and --public-url is https: browsers refuse to mix them, use https in both"
	}
	return ""
}

// publicHost reports whether others than this network's are meant by host.
func publicHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return publicAddr(addr)
	}
	for _, local := range []string{".local", ".lan", ".home.arpa", ".internal", ".localhost", ".test"} {
		if strings.HasSuffix(host, local) {
			return false
		}
	}
	return strings.Contains(host, ".")
}

func publicAddr(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsGlobalUnicast() && !addr.IsPrivate()
}
