package webhook

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/netguard"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// LIVE when playable and not before, OFFLINE when closed, whatever closes it.
func TestStatusIsTold(t *testing.T) {
	r := newReceiver()
	w := newWorld(t, "", local())
	w.start()
	h := w.hook(served(t, r))
	l := w.livestream()
	w.advance(l, livestream.Publish)
	if calls := r.all(); len(calls) != 0 {
		t.Fatalf("told before it could be played: %v", r.words())
	}
	rec := w.advance(l, livestream.Playable)
	w.advance(l, livestream.Unpublish)
	w.onAir(l)
	w.advance(l, livestream.Disable)
	w.advance(l, livestream.Enable)
	w.advance(l, livestream.Publish)
	w.advance(l, livestream.Lose) // before it was playable
	calls := r.wait(t, 5)
	equalWords(t, "statuses", r.words(), "LIVE", "OFFLINE", "LIVE", "OFFLINE", "OFFLINE")
	for i, c := range calls {
		if c.StreamID != l.ID || c.StreamSeq != int64(i+1) || c.Seq != int64(i+1) || !c.ManualIngest ||
			c.Header.Get("rtk-webhook-id") != h.ID || c.Header.Get("Content-Type") != "application/json" {
			t.Errorf("call %d: %+v, %v", i, c.Event, c.Header)
		}
		if told := c.ErrMessage != nil; told != (i == 4) {
			t.Errorf("call %d: errMessage %v", i, c.ErrMessage)
		}
	}
	if calls[0].SessionID != rec.Session.ID || calls[0].Header.Get("rtk-uuid") == calls[1].Header.Get("rtk-uuid") {
		t.Errorf("session %s of %s; uuids %s and %s", calls[0].SessionID, rec.Session.ID,
			calls[0].Header.Get("rtk-uuid"), calls[1].Header.Get("rtk-uuid"))
	}
	for _, d := range w.settled(h) {
		if d.State != livestream.DeliveryDone || d.Attempts != 1 || d.Last.Status != 200 || !strings.HasPrefix(d.Last.Answer, "thank you for {") {
			t.Errorf("delivery %+v", d)
		}
		if strings.Contains(d.Last.Answer, l.StreamKey.Reveal()) {
			t.Error("the log holds the stream key that the receiver sent back")
		}
	}
}

// A reconnect, a takeover and a restart of the server say nothing by
// statusUpdate; who asks for healthUpdate hears of them.
func TestReconnectIsSilentUnlessAskedFor(t *testing.T) {
	status, health, both := newReceiver(), newReceiver(), newReceiver()
	w := newWorld(t, "", local())
	w.start()
	w.hook(served(t, status))
	w.hook(served(t, health), livestream.HealthUpdate)
	w.hook(served(t, both), livestream.StatusUpdate, livestream.HealthUpdate)
	l := w.livestream()
	w.onAir(l)
	w.advance(l, livestream.Lose)
	w.advance(l, livestream.Publish)
	w.advance(l, livestream.Publish) // taken over: nothing was lost
	w.advance(l, livestream.Boot)
	w.advance(l, livestream.Boot)
	w.advance(l, livestream.Publish)
	w.advance(l, livestream.Unpublish)
	calls := both.wait(t, 6)
	equalWords(t, "both", both.words(), "LIVE", "reconnecting", "ok", "reconnecting", "ok", "OFFLINE")
	health.wait(t, 4)
	equalWords(t, "health", health.words(), "reconnecting", "ok", "reconnecting", "ok")
	status.wait(t, 2)
	equalWords(t, "status", status.words(), "LIVE", "OFFLINE")
	for i, c := range calls[1:5] {
		if c.Status != livestream.StatusLive || c.Event.Event != livestream.HealthUpdate || c.StreamSeq != int64(i+1) || c.Seq != int64(i+2) {
			t.Errorf("health %+v", c.Event)
		}
		if word(c.Event) == "reconnecting" && (c.ErrMessage == nil || !strings.HasPrefix(*c.ErrMessage, "RECONNECTING: ")) {
			t.Errorf("errMessage %v", c.ErrMessage)
		}
	}
}

// The published key verifies rtk-signature over the bytes as they came; the
// webhook's own secret verifies tally-signature.
func TestSignatures(t *testing.T) {
	r := newReceiver()
	w := newWorld(t, "", local())
	w.start()
	h := w.hook(served(t, r))
	w.onAir(w.livestream())
	c := r.wait(t, 1)[0]
	text, err := w.e.PublicKey(t.Context())
	must(t, err)
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
		t.Fatalf("key is %q", text)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	must(t, err)
	if bits := key.(*rsa.PublicKey).N.BitLen(); bits != 2048 {
		t.Errorf("key has %d bits", bits)
	}
	sig, err := base64.StdEncoding.DecodeString(c.Header.Get("rtk-signature"))
	must(t, err)
	sum := sha256.Sum256(c.Raw)
	must(t, rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, sum[:], sig))

	must(t, verifyStamped(c.Header.Get("tally-signature"), h.Secret.Reveal(), c.Raw, time.Now()))
	if verifyStamped(c.Header.Get("tally-signature"), h.Secret.Reveal(), append(c.Raw, ' '), time.Now()) == nil ||
		verifyStamped(c.Header.Get("tally-signature"), "another", c.Raw, time.Now()) == nil ||
		verifyStamped(c.Header.Get("tally-signature"), h.Secret.Reveal(), c.Raw, time.Now().Add(time.Hour)) == nil {
		t.Error("tally-signature verifies another body, secret or time")
	}

	// The key stays over a restart.
	w.close()
	w.open()
	w.start()
	again, err := w.e.PublicKey(t.Context())
	must(t, err)
	if again != text {
		t.Error("the key changed with a restart")
	}
}

// The bodies of an independent livestream and of a meeting's, as golden files.
func TestBodies(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	n := livestream.Notice{
		Scope: here, Seq: 12, StreamSeq: 3, Event: livestream.StatusUpdate, At: at,
		LivestreamID: "11111111-1111-4111-8111-111111111111", SessionID: "22222222-2222-4222-8222-222222222222",
		Status: livestream.StatusLive, ManualIngest: true, PlaybackID: "PlaybackPlaybackPlay",
		StreamKey: livestream.Livestream{}.StreamKey,
	}
	meeting, health := n, n
	meeting.Status, meeting.ErrMessage = livestream.StatusOffline, "NO_ENCODER: <nobody> came & \"sent\""
	meeting.Meeting = &livestream.NoticeMeeting{ID: "33333333-3333-4333-8333-333333333333", Title: "Wéekly", HasTitle: true, CreatedAt: at, AppName: "My app"}
	health.Event, health.Health = livestream.HealthUpdate, livestream.HealthOK
	for name, n := range map[string]livestream.Notice{"live": n, "offline of a meeting": meeting, "health": health} {
		got := string(encode(EventOf(n, "https://live.example.org", "rtmp://live.example.org/live/"))) + "\n"
		file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".golden")
		if *update {
			must(t, os.MkdirAll("testdata", 0o755))
			must(t, os.WriteFile(file, []byte(got), 0o644))
		}
		want, err := os.ReadFile(file)
		must(t, err)
		if got != string(want) {
			t.Errorf("%s is\n%s want\n%s", name, got, want)
		}
	}
}

// A meeting's stream names its meeting; where the configuration says no address,
// the one kept with the webhook is told.
func TestMeetingAndAddresses(t *testing.T) {
	r := newReceiver()
	w := newWorld(t, "", local())
	w.cfg.PublicURL, w.cfg.IngestURL = "", ""
	w.start()
	w.hook(served(t, r))
	m := livestream.Meeting{Scope: here, ID: livestream.NewUUID(), Title: "Weekly", HasTitle: true, Active: true, CreatedAt: time.Now(), UpdatedAt: time.Now()}
	must(t, w.store.CreateMeeting(t.Context(), m))
	l := livestream.Livestream{Scope: here, ID: livestream.NewUUID(), MeetingID: m.ID, StreamKey: livestream.NewStreamKey(),
		PlaybackID: "p", CreatedAt: time.Now(), UpdatedAt: time.Now(), Settings: livestream.DefaultSettings}
	must(t, w.store.CreateLivestream(t.Context(), l))
	w.advance(l, livestream.Start)
	w.onAir(l)
	c := r.wait(t, 1)[0]
	if c.Meeting == nil || c.Meeting.ID != m.ID || *c.Meeting.Title != "Weekly" || c.Meeting.Status != "LIVE" ||
		c.Meeting.OrganizedBy != (Organizer{"app", "My app"}) {
		t.Errorf("meeting %+v", c.Meeting)
	}
	if c.PlaybackURL != "http://kept.example/hls/p/index.m3u8" || c.IngestServer != "rtmp://kept.example/live/" ||
		c.StreamKey != l.StreamKey.Reveal() {
		t.Errorf("addresses %+v", c.Event)
	}
}

// What a redirect points to is never asked, and the event counts as refused.
func TestRedirectIsNotFollowed(t *testing.T) {
	r := newReceiver()
	var elsewhere bool
	mux := http.NewServeMux()
	mux.Handle("/hook", r)
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere = true })
	r.answer = func(int, call) (int, http.Header, error) {
		return http.StatusPermanentRedirect, http.Header{"Location": {"/elsewhere"}}, nil
	}
	w := newWorld(t, "", local())
	w.start()
	h := w.hook(served(t, mux))
	w.onAir(w.livestream())
	d := w.settled(h)[0]
	if d.State != livestream.DeliveryFailed || d.Last.Status != http.StatusPermanentRedirect || elsewhere {
		t.Errorf("delivery %+v, followed %v", d, elsewhere)
	}
}

// A name may be public when the webhook is made and private when it is called:
// the address decides, and the log says what to change.
func TestPrivateAddressIsRefused(t *testing.T) {
	r := newReceiver()
	w := newWorld(t, "", netguard.Guard{Flag: "--webhook-allow"}.Transport())
	url := served(t, r)
	h := w.hook(strings.Replace(url, "127.0.0.1", "localhost", 1))
	var logged strings.Builder
	w.cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
	w.start()
	w.onAir(w.livestream())
	var d livestream.Delivery
	for d.Attempts == 0 {
		d = w.deliveries(h)[0]
	}
	if d.State != livestream.DeliveryReady || d.Last.Status != 0 || !strings.Contains(d.Last.Error, "start the server with --webhook-allow ") {
		t.Errorf("delivery %+v", d)
	}
	if len(r.all()) != 0 {
		t.Error("the receiver was called")
	}
	w.stop()
	if strings.Contains(logged.String()+d.Last.Error, "secret=") {
		t.Error("the log holds the URL")
	}
}

// What is asked for shows at once, whatever else goes on, and nothing is kept.
func TestTry(t *testing.T) {
	r := newReceiver()
	r.answer = func(int, call) (int, http.Header, error) { return http.StatusTeapot, nil, nil }
	w := newWorld(t, "", local())
	w.start()
	h := w.hook(served(t, r))
	a, err := w.e.Try(t.Context(), h)
	must(t, err)
	if a.Status != http.StatusTeapot || !strings.HasPrefix(a.Answer, "thank you for ") || a.Error != "" {
		t.Errorf("attempt %+v", a)
	}
	c := r.all()[0]
	if !c.Test || c.Event.Event != livestream.StatusUpdate || c.Header.Get("rtk-signature") == "" {
		t.Errorf("sample %+v", c.Event)
	}
	if n := len(w.deliveries(h)); n != 0 {
		t.Errorf("%d deliveries", n)
	}
	h.URL = "http://127.0.0.1:1/"
	a, err = w.e.Try(t.Context(), h)
	must(t, err)
	if a.Status != 0 || !strings.Contains(a.Error, "refused") {
		t.Errorf("attempt at a closed port: %+v", a)
	}
}

// A receiver that switches protocols and then says nothing holds nothing up.
func TestSwitchedProtocols(t *testing.T) {
	w := newWorld(t, "", local())
	w.start()
	over := make(chan struct{})
	h := w.hook(served(t, http.HandlerFunc(func(rw http.ResponseWriter, rq *http.Request) {
		_, _ = io.Copy(io.Discard, rq.Body)
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n")
		select { // until we hang up; not for ever, or the server could not be closed
		case <-over:
		case <-time.After(30 * time.Second):
			t.Error("the connection is held")
		}
	})))
	a, err := w.e.Try(t.Context(), h)
	close(over)
	must(t, err)
	if a.Status != http.StatusSwitchingProtocols || a.Error == "" || a.Answer != "" {
		t.Errorf("attempt %+v", a)
	}
}

func TestReasonOfALookup(t *testing.T) {
	err := &url.Error{Op: "Post", URL: "http://hooks.example/", Err: &net.OpError{Op: "dial", Net: "tcp",
		Err: &net.DNSError{Err: "no such host", Name: "hooks.example", Server: "10.1.2.3:53", IsNotFound: true}}}
	if got := reason(err); got != "look-up of hooks.example: no such host" {
		t.Errorf("%q", got)
	}
}

// A receiver that never ends its answer holds nothing up and fills nothing.
func TestEndlessAnswer(t *testing.T) {
	var w *world
	srv := http.HandlerFunc(func(rw http.ResponseWriter, rq *http.Request) {
		_, _ = io.Copy(io.Discard, rq.Body)
		rw.WriteHeader(http.StatusOK)
		for rq.Context().Err() == nil {
			if _, err := rw.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	w = newWorld(t, "", local())
	w.start()
	h := w.hook(served(t, srv))
	w.onAir(w.livestream())
	if d := w.settled(h)[0]; d.State != livestream.DeliveryDone || len(d.Last.Answer) > answerKept {
		t.Errorf("delivery %s, %d bytes of answer", d.State, len(d.Last.Answer))
	}
}

func TestReadAnswer(t *testing.T) {
	l := livestream.Livestream{StreamKey: livestream.NewStreamKey()}
	key := l.StreamKey.Reveal()
	for name, c := range map[string]struct{ in, want string }{
		"short":           {"ok", "ok"},
		"key":             {"x" + key + "y", "x********y"},
		"key at the cut":  {strings.Repeat("-", answerKept-20) + key + "more", strings.Repeat("-", answerKept-20) + "********more"},
		"cut key":         {strings.Repeat(key, 64)[:4*answerKept-1] + "more", strings.Repeat("*", answerKept-8)},
		"control":         {"a\x00\x1b[1mb\n", "a[1mb\n"},
		"no UTF-8":        {"a\xffb", "ab"},
		"ends like a key": {"thanks " + key[:2], "thanks " + key[:2]},
	} {
		got := readAnswer(strings.NewReader(c.in), l.StreamKey)
		if strings.Contains(got, key[:8]) || name != "cut key" && got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-1": 0, "x": 0, "99999999999999999999": 0, "1000000000": giveUpAfter,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:00 GMT": 0, "Fri, 02 Jan 2099 03:05:05 GMT": giveUpAfter,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

var stampForm = regexp.MustCompile(`^t=([0-9]+),v1=([0-9a-f]{64})$`)

// verifyStamped is what a receiver does with tally-signature.
func verifyStamped(header, key string, body []byte, now time.Time) error {
	m := stampForm.FindStringSubmatch(header)
	if m == nil {
		return fmt.Errorf("header is %q", header)
	}
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%s.%s", m[1], body)
	if hex.EncodeToString(mac.Sum(nil)) != m[2] {
		return errors.New("another secret or body")
	}
	if t, err := strconv.ParseInt(m[1], 10, 64); err != nil || now.Sub(time.Unix(t, 0)).Abs() > 5*time.Minute {
		return errors.New("of another time")
	}
	return nil
}
