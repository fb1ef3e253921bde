package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"tally/internal/api"
	"tally/internal/cli"
	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/playback"
)

// serverFlags are what a server can be told. Each is a flag, an environment
// variable and a key of the configuration file; the flag goes before the
// variable, the variable before the file.
type serverFlags struct {
	Config  string `env:"TALLY_CONFIG" placeholder:"FILE" help:"YAML file with these flags as keys, without the dashes."`
	DataDir string `env:"TALLY_DATA_DIR" default:"./tally-data" placeholder:"DIR" help:"Where the database and the first credentials are kept (${default})."`

	HTTPAddr  string `name:"http-addr" env:"TALLY_HTTP_ADDR" default:":8080" placeholder:"ADDR" help:"API, playback and pages (${default}; :0 takes a free port)."`
	HTTPSAddr string `name:"https-addr" env:"TALLY_HTTPS_ADDR" placeholder:"ADDR" help:"The same over TLS, with HTTP/2 (off without --tls-cert, then :8443; off: none)."`
	RTMPAddr  string `name:"rtmp-addr" env:"TALLY_RTMP_ADDR" default:":1935" placeholder:"ADDR" help:"Encoders (${default})."`
	RTMPSAddr string `name:"rtmps-addr" env:"TALLY_RTMPS_ADDR" placeholder:"ADDR" help:"Encoders over TLS (off without --tls-cert, then :1936; off: none)."`
	AdminAddr string `env:"TALLY_ADMIN_ADDR" default:"127.0.0.1:9180" placeholder:"ADDR" help:"Metrics and profiles (${default}; empty: off)."`

	PublicURL string `name:"public-url" env:"TALLY_PUBLIC_URL" placeholder:"URL" help:"What playback_url begins with (unset: scheme and host of the API request)."`
	IngestURL string `name:"ingest-url" env:"TALLY_INGEST_URL" placeholder:"URL" help:"What ingest_server is (unset: the API's host and the RTMP port)."`

	Delivery     playback.Mode `env:"TALLY_DELIVERY" default:"auto" placeholder:"HOW" help:"How media reach viewers: direct (each is counted by the media it fetches), shared (caches in front serve the media) or auto (shared for what comes through a cache, and with --media-base-url) (${default})."`
	MediaBaseURL string        `name:"media-base-url" env:"TALLY_MEDIA_BASE_URL" placeholder:"URL" help:"Where a cache serves this server's /hls/ to viewers: media URLs begin with it (unset: this server, relative)."`

	TrustedProxies []string `env:"TALLY_TRUSTED_PROXIES" placeholder:"CIDR" help:"Addresses of proxies whose X-Forwarded headers are believed."`

	PartTarget time.Duration `env:"TALLY_PART_TARGET" default:"335ms" placeholder:"TIME" help:"How long a part of low-latency HLS is at most, 200ms to 1s: latency is about four of them; holds for broadcasts that begin from then on (${default})."`

	MaxViewers int  `env:"TALLY_MAX_VIEWERS" placeholder:"N" help:"Most viewers at once: newcomers are answered 503, whoever is in goes on (unset: any number)."`
	MaxEgress  rate `env:"TALLY_MAX_EGRESS" placeholder:"RATE" help:"The same for what goes out to viewers, such as 900Mbit or 2.5Gbit a second (unset: any rate)."`

	APIRateLimit        int           `name:"api-rate-limit" env:"TALLY_API_RATE_LIMIT" default:"3500" placeholder:"N" help:"API requests of one token in 5 minutes (${default}; 0: any number)."`
	APIAddressRateLimit int           `name:"api-address-rate-limit" env:"TALLY_API_ADDRESS_RATE_LIMIT" default:"3500" placeholder:"N" help:"API requests from one client address in 5 minutes, IPv6 by /64 (${default}; 0: any number)."`
	AccessLog           api.AccessLog `env:"TALLY_ACCESS_LOG" default:"changes" placeholder:"WHICH" help:"API requests in the log: all, changes (whatever is no GET, and every answer from 400 on) or off (${default})."`

	WebhookAllow []string `env:"TALLY_WEBHOOK_ALLOW" placeholder:"CIDR" help:"Addresses that webhooks may have although they are not public, such as 10.0.0.0/8."`
	JWKSAllow    []string `name:"jwks-allow" env:"TALLY_JWKS_ALLOW" placeholder:"CIDR" help:"Addresses from which keys of playback tokens may be fetched although they are not public, also by plain http."`

	KeepViewers  days `env:"TALLY_KEEP_VIEWERS" default:"30" placeholder:"DAYS" help:"How long it is kept who watched, a row per viewer, as audits add them up (${default} days; 0: no row is written)."`
	KeepTimeline days `env:"TALLY_KEEP_TIMELINE" default:"90" placeholder:"DAYS" help:"How long it is kept what happened to sessions, and when media came (${default} days)."`
	KeepWindows  days `env:"TALLY_KEEP_WINDOWS" default:"7" placeholder:"DAYS" help:"How long it is kept what was counted each half second (${default} days); seconds and their sums stay."`

	KeepRecordings days `env:"TALLY_KEEP_RECORDINGS" placeholder:"DAYS" help:"How long the recordings of livestreams with keep are kept (unset or 0: until they are deleted)."`

	TLSCert string `name:"tls-cert" env:"TALLY_TLS_CERT" placeholder:"FILE" help:"PEM certificate chain for HTTPS and RTMPS; a new file is taken over while the server runs."`
	TLSKey  string `name:"tls-key" env:"TALLY_TLS_KEY" placeholder:"FILE" help:"Its PEM private key."`

	AccountID string `env:"TALLY_ACCOUNT_ID" placeholder:"ID" help:"Account id made at the first start (random if unset)."`
	AppID     string `env:"TALLY_APP_ID" placeholder:"ID" help:"App id made at the first start (random if unset)."`
	APIToken  string `name:"api-token" env:"TALLY_API_TOKEN" placeholder:"TOKEN" help:"API token made at the first start (random if unset)."`

	anyPort bool // take a free port where the wished one is taken
}

// presetForm is the form of preset ids and tokens.
var presetForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// check returns a usage error for a flag that cannot be meant, and fills in
// what follows from other flags.
func (f *serverFlags) check() error {
	presets := []struct{ name, value string }{
		{"--account-id", f.AccountID}, {"--app-id", f.AppID}, {"--api-token", f.APIToken},
	}
	for _, p := range presets {
		if p.value != "" && !presetForm.MatchString(p.value) {
			return cli.Usagef("%s must be 1 to 64 of the characters A-Z a-z 0-9 _ -", p.name)
		}
	}
	if f.AppID == "apps" {
		return cli.Usagef("--app-id must not be apps: that is where the API lists the apps")
	}
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return cli.Usagef("--tls-cert and --tls-key go together: give both")
	}
	for _, a := range []struct {
		name, usual string
		value       *string
	}{{"--https-addr", ":8443", &f.HTTPSAddr}, {"--rtmps-addr", ":1936", &f.RTMPSAddr}} {
		switch {
		case *a.value == "off":
			*a.value = ""
		case *a.value != "" && f.TLSCert == "":
			return cli.Usagef("%s needs a certificate: give --tls-cert and --tls-key", a.name)
		case *a.value == "" && f.TLSCert != "":
			*a.value = a.usual
		}
	}
	if f.PartTarget != 0 && (f.PartTarget < hls.MinPartTarget || f.PartTarget > hls.MaxPartTarget) {
		return cli.Usagef("--part-target must be %v to %v, such as 335ms", hls.MinPartTarget, hls.MaxPartTarget)
	}
	if f.MaxViewers < 0 {
		return cli.Usagef("--max-viewers must be 1 or more; leave it out for any number")
	}
	if f.APIRateLimit < 0 || f.APIAddressRateLimit < 0 {
		return cli.Usagef("--api-rate-limit and --api-address-rate-limit must be 0 or more requests in 5 minutes")
	}
	switch f.AccessLog {
	case "", api.LogAll, api.LogChanges, api.LogOff:
	default:
		return cli.Usagef("--access-log %q must be all, changes or off", f.AccessLog)
	}
	addrs := []struct{ name, value string }{
		{"--http-addr", f.HTTPAddr}, {"--rtmp-addr", f.RTMPAddr},
		{"--https-addr", f.HTTPSAddr}, {"--rtmps-addr", f.RTMPSAddr}, {"--admin-addr", f.AdminAddr},
	}
	for i, a := range addrs {
		if optional := i >= 2; optional && a.value == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return cli.Usagef("%s %q must be HOST:PORT, for example 127.0.0.1:8080 or :8080", a.name, a.value)
		}
	}
	if err := checkURL("--public-url", f.PublicURL, "http", "https"); err != nil {
		return err
	}
	if err := checkURL("--ingest-url", f.IngestURL, "rtmp", "rtmps"); err != nil {
		return err
	}
	if err := f.checkDelivery(); err != nil {
		return err
	}
	if f.KeepTimeline.none() || f.KeepWindows.none() {
		return cli.Usagef("--keep-timeline and --keep-windows must be 1 day or more; --keep-viewers alone may be 0")
	}
	if _, err := f.webhookAllow(); err != nil {
		return err
	}
	if _, err := f.jwksAllow(); err != nil {
		return err
	}
	_, err := f.proxies()
	return err
}

// checkDelivery checks how media are to reach viewers. A base URL means that
// they are shared, unless a flag says otherwise, which cannot be meant.
func (f *serverFlags) checkDelivery() error {
	switch f.Delivery {
	case "", playback.Auto, playback.Direct, playback.Shared:
	default:
		return cli.Usagef("--delivery %q must be auto, direct or shared", f.Delivery)
	}
	if f.MediaBaseURL == "" {
		return nil
	}
	if err := checkURL("--media-base-url", f.MediaBaseURL, "https", "http"); err != nil {
		return err
	}
	if !plainHost.MatchString(f.mediaOrigin()) { // net/url lets more pass than playlists and policies can hold
		return cli.Usagef("--media-base-url %q must have a host such as cdn.example.com", f.MediaBaseURL)
	}
	if f.Delivery == playback.Direct {
		return cli.Usagef("--media-base-url is for --delivery shared or auto: leave one of the two out")
	}
	return nil
}

// delivery is how media reach viewers.
func (f *serverFlags) delivery() playback.Mode {
	if f.MediaBaseURL != "" {
		return playback.Shared
	}
	return f.Delivery
}

var plainHost = regexp.MustCompile(`^https?://[A-Za-z0-9.\-_:\[\]]+$`)

// mediaOrigin is the origin of --media-base-url, "" without one, once it was
// checked.
func (f *serverFlags) mediaOrigin() string {
	u, err := url.Parse(f.MediaBaseURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// mediaBase is --media-base-url as it stands in playlists, without a slash at
// its end, once it was checked.
func (f *serverFlags) mediaBase() string {
	u, err := url.Parse(f.MediaBaseURL)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.String(), "/") // with its path escaped
}

// checkURL accepts "" and absolute URLs of one of the schemes, without query and
// fragment: paths are put behind them.
func checkURL(flag, value string, schemes ...string) error {
	if value == "" {
		return nil
	}
	if strings.ContainsAny(value, "?#") {
		return cli.Usagef("%s %q must end before the ? or #", flag, value)
	}
	u, err := url.Parse(value)
	if err == nil && u.Host != "" && u.User == nil && portFits(u.Port()) {
		for _, s := range schemes {
			if u.Scheme == s {
				return nil
			}
		}
	}
	return cli.Usagef("%s %q must be an address such as %s://live.example.com", flag, value, schemes[0])
}

// portFits reports whether a URL's port, if it has one, can be one.
func portFits(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil
}

// proxies parses --trusted-proxies: addresses or CIDR prefixes.
func (f *serverFlags) proxies() ([]netip.Prefix, error) {
	return prefixes("--trusted-proxies", f.TrustedProxies)
}

// webhookAllow parses --webhook-allow in the same way.
func (f *serverFlags) webhookAllow() ([]netip.Prefix, error) {
	return prefixes("--webhook-allow", f.WebhookAllow)
}

// jwksAllow parses --jwks-allow in the same way.
func (f *serverFlags) jwksAllow() ([]netip.Prefix, error) {
	return prefixes("--jwks-allow", f.JWKSAllow)
}

// days is a flag's number of days. Its zero value was not given.
type days struct {
	n     int
	given bool
}

// mostDays is how long rows may be kept: 100 years.
const mostDays = 36_500

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *days) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 || n > mostDays {
		return fmt.Errorf("%q must be a whole number of days, 0 to %d", text, mostDays)
	}
	*d = days{n, true}
	return nil
}

func (d days) none() bool { return d.given && d.n == 0 }

// or is the time meant, or without where none was given.
func (d days) or(without time.Duration) time.Duration {
	if !d.given {
		return without
	}
	return time.Duration(d.n) * 24 * time.Hour
}

// A rate is a number of bits per second; 0: none was given.
type rate int64

var (
	rateForm  = regexp.MustCompile(`^([0-9]{1,12}(?:\.[0-9]{1,6})?)(|k|M|G)bit(?:/s|ps)?$`)
	rateUnits = map[string]float64{"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *rate) UnmarshalText(text []byte) error {
	m := rateForm.FindSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q must be a rate such as 900Mbit, 2.5Gbit or 500kbit", text)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	n *= rateUnits[string(m[2])]
	if err != nil || n < 1 || n > 1e15 {
		return fmt.Errorf("%q must be between 1bit and 1000000Gbit", text)
	}
	*r = rate(n)
	return nil
}

// retention is how long rows are kept.
func (f *serverFlags) retention() livestream.Retention {
	keep := livestream.DefaultRetention
	return livestream.Retention{
		Viewings: f.KeepViewers.or(keep.Viewings),
		Timeline: f.KeepTimeline.or(keep.Timeline),
		Windows:  f.KeepWindows.or(keep.Windows),
	}
}

func prefixes(flag string, texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range texts {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			addr, addrErr := netip.ParseAddr(s)
			if addrErr != nil {
				return nil, cli.Usagef("%s %q must be an address or a range such as 10.0.0.0/8", flag, s)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// localBase is the http address of addr for a program on this machine.
func localBase(addr net.Addr) string { return "http://" + localHostPort(addr) }

// localHostPort is addr as a program on this machine dials it: an address that
// means every interface becomes 127.0.0.1.
func localHostPort(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	if tcp.IP == nil || tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return tcp.String()
}
