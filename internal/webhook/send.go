package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// Bounds of what is read of an answer.
const (
	answerKept = 512      // bytes, for the log of deliveries
	answerRead = 64 << 10 // bytes, so that the connection can be used again
)

// send makes one try. asked is what a Retry-After asks for, 0 when there is none.
func (e *Engine) send(ctx context.Context, w livestream.Webhook, id string, body []byte, mask secret.String) (a livestream.Attempt, asked time.Duration) {
	a.At = time.Now().UTC().Truncate(time.Millisecond)
	begun := time.Now()
	resp, err := e.post(ctx, w, id, body)
	if err == nil {
		a.Status = resp.StatusCode
		if a.Status == http.StatusSwitchingProtocols {
			// Its body is the bare connection, which heeds no deadline.
			a.Error = "a receiver must answer with 2xx, not change the protocol"
		} else {
			a.Answer = readAnswer(resp.Body, mask)
		}
		resp.Body.Close()
		asked = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	} else {
		a.Error = reason(err)
	}
	a.Took = time.Since(begun)
	return a, asked
}

func (e *Engine) post(ctx context.Context, w livestream.Webhook, id string, body []byte) (*http.Response, error) {
	key, err := e.signingKey(ctx)
	if err != nil {
		return nil, err
	}
	sig, err := signature(key, body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Tally-Webhook/1")
	r.Header.Set("rtk-signature", sig)
	r.Header.Set("rtk-uuid", id)
	r.Header.Set("rtk-webhook-id", w.ID)
	r.Header.Set("tally-signature", stampedSignature(w.Secret, time.Now(), body))
	return e.client.Do(r)
}

// readAnswer returns the first bytes of an answer, without what the log must not
// hold: a receiver may send back what it was sent.
func readAnswer(r io.Reader, mask secret.String) string {
	first, err := io.ReadAll(io.LimitReader(r, 4*answerKept))
	if err == nil {
		_, _ = io.CopyN(io.Discard, r, answerRead) // what is not read costs the connection, no more
	}
	s := string(first)
	if !mask.IsZero() {
		s = strings.ReplaceAll(s, mask.Reveal(), "********")
	}
	if len(first) == 4*answerKept {
		s = withoutStart(s, mask.Reveal())
	}
	if len(s) > answerKept {
		s = withoutStart(s[:answerKept], mask.Reveal())
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
}

// withoutStart removes the first part of key from the end of s, where s was cut.
// Three characters of it tell nothing, and may be there by chance.
func withoutStart(s, key string) string {
	for n := min(len(key), len(s)); n > 3; n-- {
		if strings.HasSuffix(s, key[:n]) {
			return s[:len(s)-n]
		}
	}
	return s
}

// reason says why there was no answer, without the URL: it may hold a secret of
// the receiver's.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return "no answer in time: a try has " + tryTimeout.String() + ", half of it to connect"
		}
		err = u.Err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) { // without the address of the server that was asked
		return "look-up of " + strings.ToValidUTF8(dns.Name[:min(len(dns.Name), answerKept/2)], "") + ": " + dns.Err
	}
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), answerKept)], "")
}

// retryAfter reads the header: seconds or a date (RFC 9110 section 10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
		return time.Duration(min(max(n, 0), int(giveUpAfter/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), giveUpAfter)
	}
	return 0
}

// Try sends w a sample at once and returns what the receiver said. Nothing of it
// is kept, but once the receiver takes it, what waits for another try is sent at
// once. The error is the server's own: the receiver's is in the attempt.
func (e *Engine) Try(ctx context.Context, w livestream.Webhook) (livestream.Attempt, error) {
	select {
	case e.tests <- struct{}{}:
		defer func() { <-e.tests }()
	case <-ctx.Done():
		return livestream.Attempt{}, context.Cause(ctx)
	}
	if _, err := e.signingKey(ctx); err != nil {
		return livestream.Attempt{}, err
	}
	sample := EventOf(livestream.Notice{
		Scope: w.Scope, Event: livestream.StatusUpdate, At: time.Now(), Status: livestream.StatusLive, ManualIngest: true,
		LivestreamID: "00000000-0000-4000-8000-000000000000", SessionID: "00000000-0000-4000-8000-000000000001",
		PlaybackID: "sample", StreamKey: secret.New("sample"), StreamSeq: 1,
	}, e.publicOf(w), e.ingestOf(w))
	sample.Test = true
	a, _ := e.send(ctx, w, livestream.NewUUID(), encode(sample), secret.String{})
	if a.Status >= 200 && a.Status < 300 {
		e.works(w.ID)
	}
	return a, context.Cause(ctx)
}
