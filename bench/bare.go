package main

import (
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// The bare server is the yardstick: net/http and its mux, the prepared bytes of
// a recording, blocking reload, and nothing else: no ingest, no tokens, no
// accounting, no state per viewer. It runs in a process of its own.

// A command is one message of the generator to the bare server.
type command struct {
	Load *recording // replaces what was loaded; nothing is listed until the first step
	Step int        // with Load nil and JSON nil: list this step
	JSON []byte     // the body of GET /json
}

// A bareState is what the bare server may show at one moment. It is immutable.
type bareState struct {
	step  *step
	media map[string][]byte // grows only by whole-map replacement
	multi []byte
	hint  string        // the next part's name, held when asked for
	next  chan struct{} // closed when the state was replaced
}

type bare struct {
	state atomic.Pointer[bareState]
	json  atomic.Pointer[[]byte]
	rec   *recording // owned by the goroutine that reads commands
}

// runBare is the bare process: it prints its addresses, serves until its standard
// input closes, and ends. files are a certificate and its key, for TLS beside.
func runBare(files []string) error {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	feed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b := &bare{}
	b.state.Store(&bareState{next: make(chan struct{})})
	go func() {
		for {
			c, err := feed.Accept()
			if err != nil {
				return
			}
			b.obey(c)
			c.Close()
		}
	}()
	go (&http.Server{Handler: b.routes()}).Serve(web)
	addrs := map[string]string{"http": web.Addr().String(), "feed": feed.Addr().String()}
	if len(files) == 2 {
		secure, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		addrs["https"] = secure.Addr().String()
		go (&http.Server{Handler: b.routes()}).ServeTLS(secure, files[0], files[1])
	}
	json.NewEncoder(os.Stdout).Encode(addrs)
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// obey applies commands until the connection ends. Loading and setting the
// JSON body are acknowledged by one byte; a step is not, for its clock runs.
func (b *bare) obey(c net.Conn) {
	dec := gob.NewDecoder(c)
	for {
		var m command
		if dec.Decode(&m) != nil {
			return
		}
		switch {
		case m.Load != nil:
			b.rec = m.Load
			b.show(&bareState{media: m.Load.Before})
			c.Write([]byte{1})
		case m.JSON != nil:
			b.json.Store(&m.JSON)
			c.Write([]byte{1})
		case b.rec != nil && m.Step < len(b.rec.Steps):
			s := &b.rec.Steps[m.Step]
			media := maps.Clone(b.state.Load().media)
			maps.Copy(media, s.Media)
			b.show(&bareState{step: s, media: media, multi: b.rec.Multivariant, hint: hintOf(s)})
		}
	}
}

func (b *bare) show(s *bareState) {
	s.next = make(chan struct{})
	close(b.state.Swap(s).next)
}

// hintOf returns the name that the step's playlist hints at.
func hintOf(s *step) string {
	text := string(s.Playlist[0])
	_, rest, ok := strings.Cut(text, `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="`)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

func (b *bare) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hls/{playback}/index.m3u8", b.multivariant)
	mux.HandleFunc("GET /hls/{playback}/{run}/{viewer}/index.m3u8", b.playlist)
	mux.HandleFunc("GET /hls/{playback}/{run}/{viewer}/{name}", b.media)
	mux.HandleFunc("GET /json", func(w http.ResponseWriter, r *http.Request) {
		write(w, "application/json", "no-store", *b.json.Load())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		write(w, "text/plain", "no-store", []byte("ok\n"))
	})
	return mux
}

// await returns the first state that accept takes, or nil when the client left.
func (b *bare) await(r *http.Request, accept func(*bareState) bool) *bareState {
	for {
		s := b.state.Load()
		if accept(s) {
			return s
		}
		select {
		case <-s.next:
		case <-r.Context().Done():
			return nil
		}
	}
}

func (b *bare) multivariant(w http.ResponseWriter, r *http.Request) {
	s := b.await(r, func(s *bareState) bool { return s.step != nil })
	if s != nil {
		write(w, "application/vnd.apple.mpegurl", "private, no-store", s.multi)
	}
}

func (b *bare) playlist(w http.ResponseWriter, r *http.Request) {
	msn, part, form := int64(-1), -1, 0
	if r.URL.RawQuery != "" {
		q := r.URL.Query()
		var err error
		if v := q.Get("_HLS_msn"); v != "" {
			if msn, err = strconv.ParseInt(v, 10, 64); err != nil {
				http.Error(w, "msn", http.StatusBadRequest)
				return
			}
		}
		if v := q.Get("_HLS_part"); v != "" {
			if part, err = strconv.Atoi(v); err != nil {
				http.Error(w, "part", http.StatusBadRequest)
				return
			}
		}
		if q.Get("_HLS_skip") != "" {
			form |= formDelta
		}
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		form |= formGzip
	}
	s := b.await(r, func(s *bareState) bool { return s.step != nil && s.step.has(msn, part) })
	if s == nil {
		return
	}
	if form&formGzip != 0 {
		w.Header().Set("Content-Encoding", "gzip")
	}
	write(w, "application/vnd.apple.mpegurl", "no-cache", s.step.Playlist[form])
}

func (b *bare) media(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	s := b.await(r, func(s *bareState) bool { return s.media[name] != nil || s.hint != name })
	if s == nil {
		return
	}
	body := s.media[name]
	if body == nil {
		http.NotFound(w, r)
		return
	}
	write(w, "video/mp4", "public, max-age=31536000, immutable", body)
}

func write(w http.ResponseWriter, kind, cache string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", cache)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// A feeder is the generator's end of the bare server's command connection.
type feeder struct {
	c   net.Conn
	enc *gob.Encoder
}

func dialFeed(addr string) (*feeder, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return newFeeder(c), nil
}

func newFeeder(c net.Conn) *feeder { return &feeder{c: c, enc: gob.NewEncoder(c)} }

// do sends a command that is acknowledged, and waits for that.
func (f *feeder) do(m command) error {
	if err := f.enc.Encode(m); err != nil {
		return err
	}
	var ack [1]byte
	if _, err := io.ReadFull(f.c, ack[:]); err != nil {
		return fmt.Errorf("bare server: %w", err)
	}
	return nil
}

// step lists step i now.
func (f *feeder) step(i int) error { return f.enc.Encode(command{Step: i}) }
