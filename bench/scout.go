package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"tally/internal/hls/player"
	"tally/internal/hls/playlist"
	"tally/internal/rtmp/publisher"
)

// A scout is a player that keeps bodies: it tells the ledger when the last
// frame of each part was sent, by the stamps that it finds in it.
type scout struct {
	ledger *partLedger
	log    []arrival // owned by the player's goroutine until stop
	player *player.Player
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid after ended
}

func startScout(ctx context.Context, url string, ledger *partLedger) *scout {
	ctx, cancel := context.WithCancel(ctx)
	s := &scout{ledger: ledger, cancel: cancel, ended: make(chan struct{})}
	s.player = player.New(player.Options{URL: url, LowLatency: true, NoHint: true, OnPart: s.part})
	go func() {
		defer close(s.ended)
		_, s.err = s.player.Run(ctx)
	}()
	return s
}

func (s *scout) part(p player.PartInfo) {
	t := partTruth{bytes: p.Size}
	for stamp := range publisher.Stamps(p.Body) {
		t.frames = append(t.frames, stamp.Frame)
		if stamp.Sent.After(t.sent) {
			t.sent = stamp.Sent
		}
	}
	name := path.Base(p.URI)
	s.ledger.put(name, t)
	s.log = append(s.log, arrival{name, p.Arrived, p.Size, p.Duration})
}

// playing waits until the scout has media to show.
func (s *scout) playing(ctx context.Context) error {
	for s.player.Stats().Parts == 0 {
		select {
		case <-s.ended:
			return fmt.Errorf("first player: %w", s.err)
		default:
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the scout and waits for it.
func (s *scout) stop() error {
	s.cancel()
	<-s.ended
	return s.err
}

// A recorder asks one server for everything that players will ask for.
type recorder struct {
	host, dir string // the media playlist's directory
	conns     [variants]*conn
	fetch     *conn
	known     map[string]bool
}

// record follows the run at a multivariant playlist for at least d, and keeps
// each of its playlists, in all four forms, and all media.
func record(ctx context.Context, host, multivariant string, d time.Duration) (*recording, error) {
	r := &recorder{host: host, fetch: newConn(host), known: map[string]bool{}}
	defer r.fetch.close()
	a, err := r.fetch.get(multivariant, "")
	if err != nil {
		return nil, err
	}
	if a.status != 200 {
		return nil, fmt.Errorf("%s: %d", multivariant, a.status)
	}
	rec := &recording{Multivariant: bytes.Clone(a.body), Before: map[string][]byte{}}
	uri, err := mediaURI(string(a.body))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(uri, "/") {
		uri = path.Dir(multivariant) + "/" + uri
	}
	r.dir = uncounted(path.Dir(uri))
	for i := range r.conns {
		r.conns[i] = newConn(host)
		defer r.conns[i].close()
	}
	return rec, r.run(ctx, rec, d)
}

// uncounted spoils the viewer id at the end of a media playlist's directory: the
// recorder is no viewer, and what it fetches is not to be counted.
func uncounted(dir string) string {
	last := dir[len(dir)-1]
	if last == 'A' {
		return dir[:len(dir)-1] + "B"
	}
	return dir[:len(dir)-1] + "A"
}

func (r *recorder) run(ctx context.Context, rec *recording, d time.Duration) error {
	m, err := r.playlist(r.fetch, "", "")
	if err != nil {
		return err
	}
	if err := r.media(m, rec.Before); err != nil {
		return err
	}
	var began time.Time
	for ctx.Err() == nil {
		s, next, err := r.step(m)
		if err != nil {
			return err
		}
		if began.IsZero() {
			began = time.Now()
		}
		s.At = int64(time.Since(began))
		if err := r.media(next, s.Media); err != nil {
			return err
		}
		s.position(next)
		rec.Steps = append(rec.Steps, *s)
		if time.Since(began) > d {
			return nil
		}
		m = next
	}
	return context.Cause(ctx)
}

// step waits for the part after what m lists, and asks for all four forms of
// the playlist that lists it first.
func (r *recorder) step(m *playlist.Media) (*step, *playlist.Media, error) {
	s := &step{Media: map[string][]byte{}}
	s.position(m)
	query := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", s.NextMSN, s.NextParts)
	for form, c := range r.conns {
		q, header := query, ""
		if form&formDelta != 0 {
			q += "&_HLS_skip=YES"
		}
		if form&formGzip != 0 {
			header = "Accept-Encoding: gzip\r\n"
		}
		if err := c.send(r.dir+"/index.m3u8"+q, header); err != nil {
			return nil, nil, err
		}
	}
	for form, c := range r.conns {
		a, err := c.receive()
		if err != nil {
			return nil, nil, err
		}
		if a.status != 200 || a.gzip != (form&formGzip != 0) {
			return nil, nil, fmt.Errorf("playlist %s form %d: status %d, gzip %v", query, form, a.status, a.gzip)
		}
		s.Playlist[form] = bytes.Clone(a.body)
	}
	next, err := playlist.ParseMedia(string(s.Playlist[0]))
	if err == nil && next.EndList {
		err = errors.New("the stream ended while it was recorded")
	}
	return s, next, err
}

func (r *recorder) playlist(c *conn, query, header string) (*playlist.Media, error) {
	a, err := c.get(r.dir+"/index.m3u8"+query, header)
	if err != nil {
		return nil, err
	}
	if a.status != 200 {
		return nil, fmt.Errorf("media playlist: %d", a.status)
	}
	return playlist.ParseMedia(string(a.body))
}

// media fetches what m lists and is not known yet.
func (r *recorder) media(m *playlist.Media, into map[string][]byte) (err error) {
	listed(m, func(name string) {
		if err != nil || r.known[name] {
			return
		}
		var a answer
		if a, err = r.fetch.get(r.dir+"/"+name, ""); err == nil && a.status != 200 {
			err = fmt.Errorf("%s: %d", name, a.status)
		}
		if err == nil {
			r.known[name] = true
			into[name] = bytes.Clone(a.body)
		}
	})
	return err
}
