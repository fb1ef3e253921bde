package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// checkPort listens and lets go again.
func checkPort(ctx context.Context, p Port) Finding {
	check := "port " + p.Addr
	ln, err := net.Listen("tcp", p.Addr)
	if err == nil {
		ln.Close()
		return found(check, OK, "free (%s)", p.Flag)
	}
	host, _, _ := net.SplitHostPort(p.Addr)
	another := fmt.Sprintf("%s %s:PORT", p.Flag, host)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		if isTally(ctx, p.Addr) {
			return found(check, Note, "taken by a running Tally").fix("nothing to do; for a second one choose another port with %s", another)
		}
		return found(check, Fail, "taken by another program").fix("stop that program, or choose another port with %s", another)
	case errors.Is(err, os.ErrPermission):
		return found(check, Fail, "not allowed for this user").fix("choose a port above 1023 with %s", another)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return found(check, Fail, "this machine has no address %s", host).fix("leave the host out: %s :PORT", p.Flag)
	}
	return found(check, Fail, "%v", err).fix("choose another address with %s", p.Flag)
}

// isTally asks whoever answers on addr whether it is this program.
func isTally(ctx context.Context, addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64))
	return strings.HasPrefix(string(text), "ok tally")
}

const publicCheck = "public address"

// checkPublicURL judges the form of --public-url and whether its name leads to
// this machine. Nobody outside is asked.
func checkPublicURL(ctx context.Context, publicURL string) []Finding {
	if publicURL == "" {
		return []Finding{found(publicCheck, Note, "not set; playback addresses use the host that the API was asked at%s", localHint()).
			fix("for viewers elsewhere set --public-url, for example https://live.example.com")}
	}
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return []Finding{found(publicCheck, Fail, "%q is no address", publicURL).fix("set --public-url to something like https://live.example.com")}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return []Finding{found(publicCheck, Fail, "the name %s does not resolve", u.Hostname()).
			fix("create a DNS record for it, or correct --public-url")}
	}
	return []Finding{judgeAddress(u, addrs[0].Unmap())}
}

// checkMediaBase looks at where viewers are sent for media, if they are.
func checkMediaBase(ctx context.Context, publicURL, base string) []Finding {
	if base == "" {
		return nil
	}
	const check = "media base URL"
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return []Finding{found(check, Fail, "%q is no address", base).fix("set --media-base-url to something like https://cdn.example.com")}
	}
	if u.Scheme == "http" && strings.HasPrefix(publicURL, "https:") {
		return []Finding{found(check, Warn, "%s is plain http, and --public-url is https: browsers refuse to mix them", u.Host).
			fix("use https:// in --media-base-url")}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname()); err != nil {
		return []Finding{found(check, Fail, "the name %s does not resolve: nobody can watch", u.Hostname()).
			fix("create a DNS record for it, or correct --media-base-url")}
	}
	return []Finding{found(check, Note, "viewers fetch media below %s/hls/", strings.TrimRight(base, "/")).
		fix("what answers there must fetch them from /hls/ on this server, and may keep them")}
}

func judgeAddress(u *url.URL, addr netip.Addr) Finding {
	switch {
	case addr.IsLoopback():
		return found(publicCheck, Warn, "%s is this machine only", u.Host).fix("nobody else can watch there; set --public-url to a name that others can reach")
	case addr.IsPrivate() || addr.IsLinkLocalUnicast():
		return found(publicCheck, Note, "%s is %s, reachable in this network only", u.Hostname(), addr)
	case u.Scheme == "http":
		return found(publicCheck, Warn, "plain http on the public address %s", addr).
			fix("put TLS in front (a reverse proxy with --trusted-proxies) and use https:// in --public-url: tokens travel in the clear")
	case !ownAddress(addr):
		return found(publicCheck, Note, "%s is %s, no address of this machine: a proxy or NAT must pass it on", u.Hostname(), addr)
	}
	return found(publicCheck, OK, "%s is %s, this machine", u.Hostname(), addr)
}

// ownAddress reports whether one of this machine's interfaces has addr.
func ownAddress(addr netip.Addr) bool {
	for _, a := range interfaceAddrs() {
		if a == addr {
			return true
		}
	}
	return false
}

func interfaceAddrs() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}

// localHint names an address by which others in the network reach this machine.
func localHint() string {
	for _, a := range interfaceAddrs() {
		if a.Is4() && !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			return fmt.Sprintf("; others in this network reach it at %s", a)
		}
	}
	return ""
}
