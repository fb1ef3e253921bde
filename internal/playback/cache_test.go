package playback_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/playback"
)

// A network joins HTTP servers and clients by name, in virtual time.
type network struct {
	mu        sync.Mutex
	listeners map[string]*pipes
	servers   []*http.Server
	clients   []*http.Transport
}

// serve gives a handler a name.
func (n *network) serve(name string, h http.Handler) {
	ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*pipes{}
	}
	n.listeners[name] = ln
	n.servers = append(n.servers, srv)
	go srv.Serve(ln)
}

// client returns what makes requests, as a machine of its own.
func (n *network) client() *http.Client {
	t := &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(addr)
			n.mu.Lock()
			ln := n.listeners[host]
			n.mu.Unlock()
			return ln.dial(ctx)
		},
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients = append(n.clients, t)
	return &http.Client{Transport: t}
}

func (n *network) close() {
	for _, t := range n.clients {
		t.CloseIdleConnections()
	}
	for _, s := range n.servers {
		s.Close()
	}
	synctest.Wait()
}

// pipes is a listener without sockets.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A cache is a reverse proxy as a CDN runs it: it keeps what may be kept (RFC
// 9111), asks once for what several want at the same time, and says that it is
// there.
type cache struct {
	name, upstream string
	client         *http.Client

	mu   sync.Mutex
	kept map[string]*answer // or under way, by URL
}

// An answer is complete once done is closed.
type answer struct {
	done   chan struct{}
	shared bool // may be given to others
	status int
	header http.Header
	body   []byte
}

func newCache(n *network, name, upstream string) *cache {
	c := &cache{name: name, upstream: upstream, client: n.client(), kept: map[string]*answer{}}
	n.serve(name, c)
	return c
}

func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := c.answer(r)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

func (c *cache) answer(r *http.Request) (*answer, error) {
	key := r.URL.RequestURI()
	if r.Method != http.MethodGet {
		return c.ask(r.Context(), r)
	}
	c.mu.Lock()
	a := c.kept[key]
	first := a == nil
	if first {
		a = &answer{done: make(chan struct{})}
		c.kept[key] = a
	}
	c.mu.Unlock()
	if !first {
		<-a.done
		if a.shared {
			return a, nil
		}
		return c.ask(r.Context(), r)
	}
	// Whoever asked first may leave: what others wait for is asked all the same.
	got, err := c.ask(context.WithoutCancel(r.Context()), r)
	if err == nil {
		a.status, a.header, a.body, a.shared = got.status, got.header, got.body, mayKeep(got)
	}
	if !a.shared {
		c.mu.Lock()
		delete(c.kept, key)
		c.mu.Unlock()
	}
	close(a.done)
	return a, err
}

// mayKeep: what is said to be public and fresh, and varies by nothing.
func mayKeep(a *answer) bool {
	cc := a.header.Get("Cache-Control")
	for _, no := range []string{"private", "no-store", "no-cache"} {
		if strings.Contains(cc, no) {
			return false
		}
	}
	return a.status == http.StatusOK && strings.Contains(cc, "max-age=") && a.header.Get("Vary") == ""
}

func (c *cache) ask(ctx context.Context, r *http.Request) (*answer, error) {
	q, err := http.NewRequestWithContext(ctx, r.Method, "http://"+c.upstream+r.URL.RequestURI(), r.Body)
	if err != nil {
		return nil, err
	}
	q.Header = r.Header.Clone()
	q.Header.Add("Via", "1.1 "+c.name)
	resp, err := c.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{status: resp.StatusCode, header: resp.Header, body: body}, err
}

// An access log counts requests by path.
type accessLog struct {
	next http.Handler
	mu   sync.Mutex
	seen map[string]int
}

func (l *accessLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.seen[r.Method+" "+r.URL.Path]++
	l.mu.Unlock()
	l.next.ServeHTTP(w, r)
}

// A player is scripted: it joins, reads playlists, and takes the media they
// name, each once.
type player struct {
	client *http.Client
	host   string
	list   string // URL of its media playlist
	low    bool   // takes parts, with blocking reload; else segments, each second
	took   func(url string)

	playlists   int
	first, last time.Time // answers to its playlists
	media       map[string][]byte
}

func (p *player) get(url string) ([]byte, error) {
	r, err := p.client.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != 200 {
		err = fmt.Errorf("%s is answered %d: %s", url, r.StatusCode, b)
	}
	return b, err
}

// play reads that many playlists.
func (p *player) play(playlists int) error {
	top := "http://" + p.host + index
	b, err := p.get(top)
	if err != nil {
		return err
	}
	names := named(string(b))
	p.list = top[:strings.LastIndexByte(top, '/')+1] + names[len(names)-1]
	p.media = map[string][]byte{}
	query := ""
	for range playlists {
		b, err := p.get(p.list + query)
		if err != nil {
			return err
		}
		if p.last = time.Now(); p.playlists == 0 {
			p.first = p.last
		}
		p.playlists++
		if err := p.take(string(b)); err != nil {
			return err
		}
		if !p.low {
			time.Sleep(time.Second)
			continue
		}
		if query, err = after(string(b)); err != nil {
			return err
		}
	}
	return nil
}

// after is the reload that waits for the part behind a playlist's last.
func after(text string) (string, error) {
	_, open, _ := strings.Cut(text, "#EXT-X-MEDIA-SEQUENCE:")
	var msn int64
	if _, err := fmt.Sscan(open, &msn); err != nil {
		return "", err
	}
	msn += int64(strings.Count(text, "#EXTINF:"))
	tail := text[max(0, strings.LastIndex(text, "#EXTINF:")):]
	return fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, strings.Count(tail, "#EXT-X-PART:")), nil
}

// take fetches what a playlist names and was not taken: parts and the hinted
// one, or segments; and the initialization section.
func (p *player) take(text string) error {
	for _, uri := range named(text) {
		if segment := strings.Contains(uri, "seg-"); segment == p.low && !strings.Contains(uri, "init-") {
			continue
		}
		url, err := resolve(p.list, uri)
		if err != nil || p.media[url] != nil {
			continue
		}
		if p.media[url], err = p.get(url); err != nil {
			return err
		}
		if p.took != nil {
			p.took(url)
		}
	}
	return nil
}

func resolve(base, uri string) (string, error) {
	r, err := http.NewRequest("GET", base, nil)
	if err != nil {
		return "", err
	}
	u, err := r.URL.Parse(uri)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

func TestAudienceBehindACache(t *testing.T) {
	for _, c := range []struct {
		name    string
		tiers   []string // from the viewers on
		viewers int
	}{
		{"an edge", []string{"edge"}, 50},
		{"an edge and a shield", []string{"edge", "shield"}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) { behindACache(t, w, c.tiers, c.viewers) }, options{delivery: playback.Auto})
		})
	}
}

// behindACache lets low-latency players and a fifth of others watch through
// caches, and one without: the server is asked once for each file and for each playlist,
// and counts all of them.
func behindACache(t *testing.T, w *world, tiers []string, viewers int) {
	n := &network{}
	defer n.close()
	log := &accessLog{next: w.handler, seen: map[string]int{}}
	n.serve("origin", log)
	for i, name := range tiers {
		newCache(n, name, append(tiers, "origin")[i+1])
	}
	w.air(3 * time.Second)

	var players []*player
	var done sync.WaitGroup
	watch := func(p *player, playlists int) {
		p.client = n.client()
		done.Go(func() {
			if err := p.play(playlists); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
	for i := range viewers {
		p := &player{host: tiers[0], low: i%5 != 0}
		players = append(players, p)
		watch(p, map[bool]int{true: 15, false: 5}[p.low])
	}
	var given time.Duration
	direct := &player{host: "origin", low: true, took: func(url string) { given += w.duration(url) }}
	watch(direct, 15)
	w.feed(6 * time.Second)
	now, peak := w.counter.Viewers(session)
	done.Wait()

	wantOnce(t, log, players)
	var present time.Duration
	for _, p := range players {
		present += p.last.Sub(p.first)
	}
	media, playlists, beacons := w.seconds()
	if !near(playlists, present) || !near(media, given) || beacons != 0 || given < 4*time.Second {
		t.Errorf("counted %v by playlists, %v by media, %v by beacons; want %v of %d viewers, %v of the one", playlists, media, beacons, present, viewers, given)
	}
	if now != viewers+1 || peak != viewers+1 {
		t.Errorf("%d viewers, peak %d", now, peak)
	}
}

// wantOnce checks what came to the server.
func wantOnce(t *testing.T, log *accessLog, players []*player) {
	t.Helper()
	files := map[string][]byte{}
	for _, p := range players {
		if len(p.media) < 8 {
			t.Errorf("a player took %d files in %d playlists", len(p.media), p.playlists)
		}
		list := strings.TrimPrefix(p.list, "http://"+p.host)
		if got := log.seen["GET "+list]; got != p.playlists {
			t.Errorf("%d of a viewer's %d requests for its playlist came to the server", got, p.playlists)
		}
		for url, b := range p.media {
			path := strings.TrimPrefix(url, "http://"+p.host)
			if files[path] == nil {
				files[path] = b
			}
			if !bytes.Equal(files[path], b) {
				t.Errorf("%s differs from player to player", path)
			}
		}
	}
	if len(files) < 30 {
		t.Errorf("only %d files were taken", len(files))
	}
	for path := range files {
		if path != below(path) {
			t.Errorf("%s names a viewer", path)
		}
		if got := log.seen["GET "+path]; got != 1 {
			t.Errorf("%s was asked for %d times", path, got)
		}
	}
	if got := log.seen["GET "+index]; got != len(players)+1 {
		t.Errorf("the multivariant playlist was asked for %d times", got)
	}
}

// duration is the media time of the part that a URL names; 0 of anything else.
func (w *world) duration(url string) time.Duration {
	var epoch, n int64
	if _, err := fmt.Sscanf(url[strings.LastIndexByte(url, '/')+1:], "part-%d-%d.m4s", &epoch, &n); err != nil {
		return 0
	}
	return w.registry.Stream(id).Window().Current().Part(epoch, n).Duration
}
