package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"tally/internal/api/input"
	"tally/internal/auth"
	"tally/internal/livestream"
)

// A creation is what one route creates, and how the object of that id is
// answered as if it were new. again returns livestream.ErrNotFound when the
// object is gone; then the request is done as if it were the first.
type creation struct {
	what  livestream.Creates
	again func(s *server, w http.ResponseWriter, rq *request, id string) error
}

// creations are the POST routes whose retries create nothing twice, by path.
// Whoever adds one lets the store note what was created in the transaction that
// creates it, with livestream.CreationOf; the handler does nothing for it.
var creations = map[string]creation{
	appPath + "/livestreams":                       {livestream.CreatesLivestream, createdLivestreamAgain},
	appPath + "/meetings":                          {livestream.CreatesMeeting, createdMeetingAgain},
	appPath + "/meetings/{meeting_id}/livestreams": {livestream.CreatesSession, startedAgain},
	appPath + "/webhooks":                          {livestream.CreatesWebhook, createdWebhookAgain},
	playbackKeysPath:                               {livestream.CreatesPlaybackKey, createdPlaybackKeyAgain},
	kitPath + "/apps":                              {livestream.CreatesApp, createdAppAgain},
}

// do runs the handler of rt. A request that creates is known by what it asks
// for: when its client lost the answer and asks again, with the header that the
// official clients send then, it is answered with what the first one created,
// and waits for that while it is still under way.
//
// A retry of what this server refused was not done: it creates.
func (s *server) do(w http.ResponseWriter, rq *request, rt route) error {
	c, ok := creations[rt.path]
	if !ok || rt.method != http.MethodPost {
		return rt.handle(s, w, rq)
	}
	request, ok := identify(w, rq.Request)
	if !ok {
		return rt.handle(s, w, rq) // which finds out what is wrong with the body
	}
	before, leave := s.under.enter(request)
	defer leave()
	first := rq.Request
	retry, made := retryCount(first), new(atomic.Bool)
	rq.Request = first.WithContext(livestream.WithCreation(first.Context(),
		livestream.Creation{What: c.what, Request: request, Retry: int(retry), At: s.Now(), Made: made}))
	if s.original(request, retry) {
		err := rt.handle(s, w, rq)
		if err != nil && isRefused(err) && !made.Load() {
			s.refusedToken.add(request, retry, s.Now())
		}
		return err
	}
	if err := wait(first.Context(), before); err != nil {
		return err
	}
	again := func() error {
		id, err := s.Store.Created(first.Context(), request, int(retry), s.Now().Add(-livestream.RetryWindow))
		if err != nil {
			return err
		}
		return c.again(s, w, rq, id)
	}
	if err := again(); !errors.Is(err, livestream.ErrNotFound) {
		return err
	}
	err := rt.handle(s, w, rq)
	if err == nil {
		return nil
	}
	// Refused, perhaps because the first one was done only now: a command to a
	// livestream is done also when its client has gone.
	if again() == nil {
		return nil
	}
	return err
}

// retryCount is how often the client says that it asked before; 0 when it says
// nothing, or nothing that is a number.
func retryCount(r *http.Request) uint64 {
	n, _ := strconv.ParseUint(r.Header.Get("X-Stainless-Retry-Count"), 10, 31)
	return n
}

// identify is the SHA-256 of who asks for what. It reads the body and leaves it
// to be read again. False: it could not be read, or is too large; then reading
// it again fails in the same way.
func identify(w http.ResponseWriter, r *http.Request) (id [sha256.Size]byte, ok bool) {
	body, err := input.ReadAll(w, r)
	if err != nil {
		r.Body = io.NopCloser(failing{err})
		return id, false
	}
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	// By the token's text, which is known even when nobody looked it up.
	token := auth.HashToken(auth.Bearer(r.Header.Get("Authorization")))
	h := sha256.New()
	for _, part := range [][]byte{token[:], []byte(r.Method), []byte(r.URL.EscapedPath()), body} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil)), true
}

// failing is a body that could not be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// underWay knows the creations that are being done. It holds one entry for each
// request, so what bounds requests bounds it.
type underWay struct {
	mu   sync.Mutex
	ends map[[sha256.Size]byte][]chan struct{} // of equal requests, in the order they came
}

// enter returns what ends with each equal request that came before and is not
// done yet. leave says that this one is.
func (u *underWay) enter(request [sha256.Size]byte) (before []chan struct{}, leave func()) {
	end := make(chan struct{})
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ends == nil {
		u.ends = map[[sha256.Size]byte][]chan struct{}{}
	}
	before = u.ends[request]
	u.ends[request] = append(before[:len(before):len(before)], end)
	return before, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		close(end)
		var left []chan struct{} // a new one: others hold the old one
		for _, c := range u.ends[request] {
			if c != end {
				left = append(left, c)
			}
		}
		if len(left) == 0 {
			delete(u.ends, request)
			return
		}
		u.ends[request] = left
	}
}

// wait returns when all have ended, or with ctx's error.
func wait(ctx context.Context, ends []chan struct{}) error {
	for _, end := range ends {
		select {
		case <-end:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
