package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/cli"
	"tally/internal/rtmp/publisher"
)

// A house is a whole server in this process, with a certificate and one livestream
// on air.
type house struct {
	*server
	t      *testing.T
	client *http.Client // trusts the certificate
	api    string       // path of the app's routes
}

func openHouse(t *testing.T, change func(*serverFlags)) *house {
	t.Helper()
	dir := t.TempDir()
	f := &serverFlags{
		DataDir: filepath.Join(dir, "data"), HTTPAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0", RTMPAddr: "127.0.0.1:0", RTMPSAddr: "127.0.0.1:0",
		TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"),
		AccountID: "account", AppID: "app", APIToken: "token-of-a-server-in-a-test",
	}
	if change != nil {
		change(f)
	}
	certPEM, keyPEM, err := selfSigned(1, time.Now().Add(30*24*time.Hour))
	fatal(t, err)
	fatal(t, os.WriteFile(f.TLSCert, certPEM, 0o600))
	fatal(t, os.WriteFile(f.TLSKey, keyPEM, 0o600))
	ctx, stop := context.WithCancel(context.Background())
	s, err := newServer(ctx, f, io.Discard, slog.New(slog.DiscardHandler))
	fatal(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(certPEM)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true, DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		fatal(t, <-ended)
	})
	return &house{s, t, &http.Client{Transport: transport}, "/client/v4/accounts/account/realtime/kit/app"}
}

// ask sends a request, with the token where it is the API's.
func (h *house) ask(method, url string, headers ...string) (*http.Response, string) {
	h.t.Helper()
	var in io.Reader
	if method == "POST" {
		in = strings.NewReader(`{"name":"one"}`)
	}
	req, err := http.NewRequest(method, url, in)
	fatal(h.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if strings.Contains(url, "/client/") {
		req.Header.Set("Authorization", "Bearer "+h.flags.APIToken)
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := h.client.Do(req)
	fatal(h.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fatal(h.t, err)
	return resp, string(body)
}

func (h *house) plainURL() string  { return "http://" + h.ports.http.Addr().String() }
func (h *house) secureURL() string { return "https://" + h.ports.https.Addr().String() }

// create makes a livestream through one of the listeners.
func (h *house) create(base string) (l cli.Livestream) {
	h.t.Helper()
	resp, body := h.ask("POST", base+h.api+"/livestreams")
	var answer struct{ Data *cli.Livestream }
	answer.Data = &l
	if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 201 {
		h.t.Fatalf("create: %d %s: %v", resp.StatusCode, body, err)
	}
	return l
}

// air publishes to l until the test ends, and returns a media playlist's URL.
func (h *house) air(l cli.Livestream) (list string) {
	h.t.Helper()
	clip, err := cli.BuiltInClip()
	fatal(h.t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- publisher.Run(ctx, publisher.Options{URL: fmt.Sprintf("rtmp://%s/live/%s", h.ports.rtmp.Addr(), l.StreamKey), Source: publisher.FromClip(clip, true), Speed: 1})
	}()
	h.t.Cleanup(func() { stop(); <-ended })
	fatal(h.t, until(func() error {
		resp, body := h.ask("GET", l.PlaybackURL)
		if resp.StatusCode != 200 {
			return fmt.Errorf("not playable: %d %s", resp.StatusCode, body)
		}
		for line := range strings.Lines(body) {
			if !strings.HasPrefix(line, "#") {
				list = strings.TrimSuffix(l.PlaybackURL, "index.m3u8") + strings.TrimSpace(line)
			}
		}
		return nil
	}))
	return list
}

// TestBothListeners: whoever asks over TLS is told of https and rtmps, whoever asks
// without is told of http and rtmp; TLS speaks HTTP/2; only the API over TLS, at
// the port that browsers take, asks for TLS for ever.
func TestBothListeners(t *testing.T) {
	h := openHouse(t, nil)
	for base, want := range map[string][2]string{
		h.plainURL():  {"http://", fmt.Sprintf("rtmp://127.0.0.1:%d/live/", port(h.ports.rtmp))},
		h.secureURL(): {"https://", fmt.Sprintf("rtmps://127.0.0.1:%d/live/", port(h.ports.rtmps))},
	} {
		l := h.create(base)
		if !strings.HasPrefix(l.PlaybackURL, base+"/hls/") || l.IngestServer != want[1] {
			t.Errorf("through %s: %s and %s", base, l.PlaybackURL, l.IngestServer)
		}
		resp, _ := h.ask("GET", base+"/healthz")
		if (resp.ProtoMajor == 2) != (base == h.secureURL()) || resp.StatusCode != 200 {
			t.Errorf("%s: %s over %s", base, resp.Status, resp.Proto)
		}
	}
	for host, want := range map[string]string{"127.0.0.1": "max-age=31536000", "live.example.com:443": "max-age=31536000", "live.example.com:8443": ""} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "https://"+host+h.api+"/livestreams", nil)
		h.handler.ServeHTTP(rec, r)
		if got := rec.Header().Get("Strict-Transport-Security"); got != want {
			t.Errorf("%s: Strict-Transport-Security %q, want %q", host, got, want)
		}
	}
	resp, _ := h.ask("GET", h.plainURL()+h.api+"/livestreams")
	if got := resp.Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("without TLS: Strict-Transport-Security %q", got)
	}
	rec := httptest.NewRecorder()
	h.metrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{"tally_tls_handshakes_total 1\n", "tally_tls_http2_total 1\n", "tally_https_connections 1\n", "tally_tls_failed_total 0\n", "tally_tls_certificate_loads_total 1\n", "tally_tls_certificate_expires_seconds 1"} {
		if !strings.Contains(rec.Body.String(), line) {
			t.Errorf("no %q in the metrics", line)
		}
	}
}

// TestHeadIsGet: HEAD has the headers of GET, and everything says how long it is.
func TestHeadIsGet(t *testing.T) {
	h := openHouse(t, nil)
	l := h.create(h.plainURL())
	list := h.air(l)
	_, text := h.ask("GET", list)
	dir := strings.TrimSuffix(list, "index.m3u8")
	var media []string
	for line := range strings.Lines(text) {
		if uri, ok := strings.CutPrefix(line, `#EXT-X-MAP:URI="`); ok {
			media = append(media, dir+uri[:strings.IndexByte(uri, '"')])
		} else if !strings.HasPrefix(line, "#") {
			media = append(media, dir+strings.TrimSpace(line))
		}
	}
	if len(media) < 2 {
		t.Fatalf("the playlist lists %q", media)
	}
	paths := []string{"/", "/healthz", "/readyz", "/docs", "/watch/" + path(l.PlaybackURL), "/nothing", "/hls/nothing", "/hls/nothing/index.m3u8",
		h.api + "/livestreams", h.api + "/livestreams/nothing", h.api + "/livestreams/" + l.ID, "/.well-known/webhooks.json", "/hls/" + path(l.PlaybackURL) + "/state"}
	for _, m := range append(media, l.PlaybackURL) {
		paths = append(paths, strings.TrimPrefix(m, h.plainURL()))
	}
	_, page := h.ask("GET", h.plainURL()+"/watch/"+path(l.PlaybackURL))
	for _, part := range strings.Split(page, `"`) {
		if strings.HasPrefix(part, "/assets/") || strings.HasPrefix(part, "/static/") {
			paths = append(paths, part)
		}
	}
	for _, base := range []string{h.plainURL(), h.secureURL()} {
		for _, p := range paths {
			got, body := h.ask("GET", base+p)
			head, none := h.ask("HEAD", base+p)
			if got.StatusCode != head.StatusCode || none != "" {
				t.Errorf("%s%s: GET %d, HEAD %d with %d bytes", base, p, got.StatusCode, head.StatusCode, len(none))
			}
			if got.ContentLength != int64(len(body)) || head.ContentLength != got.ContentLength && !strings.HasSuffix(p, "/state") {
				t.Errorf("%s%s: %d bytes, Content-Length of GET %d and of HEAD %d", base, p, len(body), got.ContentLength, head.ContentLength)
			}
			for _, header := range []http.Header{got.Header, head.Header} { // what differs from request to request
				for _, name := range []string{"Date", "Content-Length", "X-Request-Id", "Cf-Ray", "Ratelimit", "Ratelimit-Policy"} {
					header.Del(name)
				}
			}
			if !maps.EqualFunc(got.Header, head.Header, slices.Equal) {
				t.Errorf("%s%s: GET %v\nHEAD %v", base, p, got.Header, head.Header)
			}
		}
	}
}

// path is the playback id in a playback URL.
func path(playbackURL string) string { return strings.Split(playbackURL, "/")[4] }

// TestHandshakes: TLS 1.2 and 1.3 with either protocol, sessions are resumed, and
// what fails is counted.
func TestHandshakes(t *testing.T) {
	h := openHouse(t, nil)
	shake := func(min, max uint16, cache tls.ClientSessionCache, protocols ...string) (state tls.ConnectionState, err error) {
		c := h.client.Transport.(*http.Transport).TLSClientConfig.Clone()
		c.MinVersion, c.MaxVersion, c.ClientSessionCache, c.NextProtos = min, max, cache, protocols
		conn, err := tls.Dial("tcp", h.ports.https.Addr().String(), c)
		if err != nil {
			return state, err
		}
		defer conn.Close()
		if len(protocols) == 0 { // a ticket comes with the first answer
			fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			_, err = io.Copy(io.Discard, conn)
		}
		return conn.ConnectionState(), err
	}
	if _, err := shake(tls.VersionTLS10, tls.VersionTLS11, nil); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, protocols := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}} {
			if state, err := shake(version, version, nil, protocols...); err != nil || state.NegotiatedProtocol != protocols[0] {
				t.Errorf("version %x: %x %q %v", version, state.Version, state.NegotiatedProtocol, err)
			}
		}
		cache := tls.NewLRUClientSessionCache(1)
		for resumed := range 2 {
			if state, err := shake(version, version, cache); err != nil || state.DidResume != (resumed == 1) {
				t.Errorf("version %x, connection %d: resumed %v, %v", version, resumed+1, state.DidResume, err)
			}
		}
	}
	st := &h.secure
	fatal(t, until(func() error {
		if st.handshakes.Load() != 8 || st.resumed.Load() != 2 || st.spokeH2.Load() != 2 || st.failed.Load() != 1 || st.accepted.Load() != 9 || st.open.Load() != 0 {
			return fmt.Errorf("counted %d handshakes, %d resumed, %d HTTP/2, %d failed, %d connections, %d open", st.handshakes.Load(), st.resumed.Load(),
				st.spokeH2.Load(), st.failed.Load(), st.accepted.Load(), st.open.Load())
		}
		return nil
	}))
}
