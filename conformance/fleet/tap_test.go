package fleet

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"strings"
	"sync"
	"time"

	"tally/internal/hls/playlist"
)

// A tap stands between a program that plays and the server, and keeps the book
// for it. It is no cache, and says nothing of itself.
type tap struct {
	v      *viewer // whose station it is
	client http.Client

	mu    sync.Mutex
	books map[string]*book // by viewer id
	media map[string]piece // by name, as playlists list it
	err   error
}

// A piece is where media belongs.
type piece struct {
	msn      int64
	date     time.Time
	from, to time.Duration
}

// ServeHTTP implements http.Handler.
func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+p.v.st.via+r.URL.RequestURI(), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	up.Header = r.Header.Clone()
	up.Header.Set("Accept-Encoding", "identity")
	resp, err := p.client.Do(up)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return // the program has left: so has the tap, before it had all of it
	}
	p.took(r, resp, body)
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	w.Write(body)
}

// took notes what a complete answer means.
func (p *tap) took(r *http.Request, resp *http.Response, body []byte) {
	at := strings.Split(r.URL.Path, "/") // "", hls, playback id, run, viewer, name
	if len(at) != 6 || r.Method != http.MethodGet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.books[at[4]]
	if b == nil {
		b = newBook(at[4])
		b.presence = p.v.st.presence()
		p.books[at[4]] = b
		p.v.st.keep(b)
	}
	name := at[5]
	if name == "index.m3u8" {
		p.lists(body)
		return
	}
	whole := resp.StatusCode == http.StatusOK ||
		resp.Header.Get("Content-Range") == fmt.Sprintf("bytes 0-%d/%d", len(body)-1, len(body))
	if m, ok := p.media[name]; ok && whole {
		b.fetched(m.msn, m.date, m.from, m.to)
		b.bytes += int64(len(body))
		b.seen(p.v.st.of(m.date), time.Now())
	}
}

// lists learns what names mean.
func (p *tap) lists(body []byte) {
	var m playlist.Media
	if err := m.Parse(string(bytes.Clone(body))); err != nil {
		p.err = err
		return
	}
	for i := range m.Segments {
		s, msn := &m.Segments[i], m.FirstMSN()+int64(i)
		var from time.Duration
		for _, part := range s.Parts {
			p.media[path.Base(part.URI)] = piece{msn, s.ProgramDateTime, from, from + part.Duration}
			from += part.Duration
		}
		if s.URI != "" {
			p.media[path.Base(s.URI)] = piece{msn, s.ProgramDateTime, 0, s.Duration}
		}
	}
}

// ffprobes has ffprobe look at one second.
func ffprobes(v *viewer) error {
	p := &tap{v: v, books: map[string]*book{}, media: map[string]piece{}}
	front := httptest.NewServer(p)
	defer front.Close()
	defer p.client.CloseIdleConnections()
	probe := exec.CommandContext(v.ctx, "ffprobe", "-v", "error", "-read_intervals", "%+1", "-show_entries", "packet=pts_time", "-of", "csv",
		front.URL+v.st.multivariant())
	out, err := probe.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ffprobe (make deps installs it): %w\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("packet,")) {
		return fmt.Errorf("ffprobe saw nothing:\n%s", out)
	}
	front.Close() // waits until what is under way is noted
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
