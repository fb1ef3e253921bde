package netguard

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every range from its first to its last address, and its neighbours that are public.
func TestRanges(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, last   string
		before, after string // public neighbours; "" where there is none
		kind          string
		unlessAllowed string
	}{
		{"unspecified v4", "0.0.0.0", "0.255.255.255", "", "1.0.0.0", "unspecified", "0.0.0.0/8"},
		{"private 10", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0", "private", "10.0.0.0/8"},
		{"CGNAT", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0", "NAT", "100.64.0.0/10"},
		{"loopback v4", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0", "this machine", "127.0.0.0/8"},
		{"link-local v4", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0", "link-local", "169.254.0.0/16"},
		{"private 172", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0", "private", "172.16.0.0/12"},
		{"protocol assignments", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0", "assignments", "192.0.0.0/24"},
		{"documentation 1", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0", "documentation", "192.0.2.0/24"},
		{"6to4 relays", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0", "6to4", "192.88.99.0/24"},
		{"private 192", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0", "private", "192.168.0.0/16"},
		{"benchmarks", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0", "benchmarks", "198.18.0.0/15"},
		{"documentation 2", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0", "documentation", "198.51.100.0/24"},
		{"documentation 3", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0", "documentation", "203.0.113.0/24"},
		{"multicast v4", "224.0.0.0", "239.255.255.255", "223.255.255.255", "", "multicast", "224.0.0.0/4"},
		{"reserved and broadcast", "240.0.0.0", "255.255.255.255", "", "", "reserved", "240.0.0.0/4"},
		{"unspecified v6", "::", "::", "", "", "unspecified", "::/128"},
		{"loopback v6", "::1", "::1", "", "", "this machine", "::1/128"},
		{"IPv4-compatible", "::2", "::ffff:ffff", "", "::1:0:0", "IPv4 inside", "::/96"},
		{"IPv4-mapped", "::ffff:0.0.0.0", "::ffff:255.255.255.255", "::fffe:ffff:ffff", "::1:0:0:0", "IPv4 inside", "::ffff:0:0/96"},
		{"IPv4-mapped public address", "::ffff:8.8.8.8", "::ffff:8.8.8.8", "", "", "IPv4 inside", "8.8.8.8/32"},
		{"IPv4-mapped private address", "::ffff:10.1.2.3", "::ffff:10.1.2.3", "", "", "IPv4 inside", "10.0.0.0/8"},
		{"IPv4-translated", "::ffff:0:0:0", "::ffff:0:ffff:ffff", "", "", "IPv4 inside", "::ffff:0:0:0/96"},
		{"NAT64", "64:ff9b::", "64:ff9b::ffff:ffff", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::1:0:0", "NAT64", "64:ff9b::/96"},
		{"local NAT64", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:2::", "NAT64", "64:ff9b:1::/48"},
		{"discard", "100::", "100::ffff:ffff:ffff:ffff", "", "100:0:0:1::", "discarded", "100::/64"},
		{"Teredo", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff::", "", "Teredo", "2001::/32"},
		{"protocol assignments v6", "2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "", "2001:200::", "assignments", "2001::/23"},
		{"documentation v6", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::", "2001:db9::", "documentation", "2001:db8::/32"},
		{"6to4", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff::", "2003::", "6to4", "2002::/16"},
		{"newer documentation v6", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff::", "3fff:1000::", "documentation", "3fff::/20"},
		{"segment routing", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5eff::", "5f01::", "segment", "5f00::/16"},
		{"ULA", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff:ffff::", "fe00::", "ULA", "fc00::/7"},
		{"link-local v6", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f:ffff::", "", "link-local", "fe80::/10"},
		{"link-local v6 with a zone", "fe80::1%eth0", "fe80::1%eth0", "", "", "link-local", "fe80::/10"},
		{"site-local", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "", "site-local", "fec0::/10"},
		{"multicast v6", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "", "multicast", "ff00::/8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range []string{c.first, c.last} {
				a := netip.MustParseAddr(s)
				err := Guard{Flag: "--some-flag"}.Check(a)
				var r *RefusedError
				if !errors.As(err, &r) || !strings.Contains(err.Error(), c.kind) || !strings.Contains(err.Error(), "--some-flag") {
					t.Errorf("%s: %v, want a refusal as %s that names the flag", s, err, c.kind)
				}
				g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix(c.unlessAllowed)}}
				if err := g.Check(a); err != nil {
					t.Errorf("%s with %s allowed: %v", s, c.unlessAllowed, err)
				}
				if err := (Guard{}).control("tcp6", netip.AddrPortFrom(a, 443).String(), nil); err == nil {
					t.Errorf("%s passes the dialer's hook", s)
				}
			}
			for _, s := range []string{c.before, c.after} {
				if s == "" {
					continue
				}
				if err := (Guard{}).Check(netip.MustParseAddr(s)); err != nil {
					t.Errorf("neighbour %s: %v", s, err)
				}
			}
		})
	}
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::1"} {
		if err := (Guard{}).Check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("public %s: %v", s, err)
		}
	}
}

// What an error proposes is what makes the call possible.
func TestErrorSaysWhatToAllow(t *testing.T) {
	g := Guard{Flag: "--webhook-allow"}
	for addr, want := range map[string]string{"10.0.0.5": "--webhook-allow 10.0.0.5/32", "fd00::5": "--webhook-allow fd00::5/128",
		"::ffff:10.0.0.5": "--webhook-allow 10.0.0.5/32", "fe80::1%eth0": "--webhook-allow fe80::1/128"} {
		err := g.Check(netip.MustParseAddr(addr))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want ... %s", addr, err, want)
			continue
		}
		allow := netip.MustParsePrefix(err.Error()[strings.LastIndexByte(err.Error(), ' ')+1:])
		if err := (Guard{Allow: []netip.Prefix{allow}}).Check(netip.MustParseAddr(addr)); err != nil {
			t.Errorf("%s with %s allowed: %v", addr, allow, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	loopback6 := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("::1/128")}}
	for _, c := range []struct {
		url string
		g   Guard
		ok  bool
	}{
		{"https://example.com/hook", Guard{}, true},
		{"https://1.1.1.1/hook", Guard{}, true},
		{"http://127.0.0.1:8080/", Guard{}, false},
		{"http://[::1]/", Guard{}, false},
		{"http://[::1]/", loopback6, true},
		{"http://[::ffff:8.8.8.8]/", Guard{}, false},
		{"http://169.254.169.254/latest/meta-data/", Guard{}, false},
		{"http://LOCALHOST:80/", Guard{}, false},
		{"http://a.localhost./", Guard{}, false},
		{"http://localhost/", loopback6, true},
		{"http://localhost.example.com/", Guard{}, true},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.g.CheckURL(u); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.url, err, c.ok)
		}
	}
}

// call makes one request by name or address through a guard.
func call(g Guard, url string) (*http.Response, error) {
	tr := g.Transport()
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := Client(tr, 5*time.Second).Do(r)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp, err
}

// The hook sees what a name resolves to, and nothing is sent to it.
func TestPrivateAddressIsNotDialled(t *testing.T) {
	reached := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		_, err := call(Guard{Flag: "--webhook-allow"}, "http://"+host+":"+port)
		var r *RefusedError
		if !errors.As(err, &r) || reached {
			t.Errorf("%s: %v, reached %v, want a refusal", host, err, reached)
		}
	}
	if _, err := call(Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, srv.URL); err != nil || !reached {
		t.Errorf("allowed: %v, reached %v", err, reached)
	}
}

func TestRedirectIsTheAnswer(t *testing.T) {
	followed := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			followed = true
			return
		}
		http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	resp, err := call(Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, srv.URL)
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect || followed {
		t.Errorf("%v, %v, followed %v; want the 307 itself", resp, err, followed)
	}
}

// A proxy of the environment would dial past the hook.
func TestNoProxyOfTheEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	if (Guard{}).Transport().Proxy != nil {
		t.Error("the transport has a proxy")
	}
}
