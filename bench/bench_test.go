package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/hls/playlist"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

func TestPercentile(t *testing.T) {
	ten := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct {
		name   string
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{"nothing", nil, 50, 0},
		{"one", ten[:1], 99, 1},
		{"half of ten", ten, 50, 5},
		{"99th of ten is the last", ten, 99, 10},
		{"the least", ten, 0, 1},
		{"the last", ten, 100, 10},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median of three: %v", got)
	}
	if got := median([]float64{9, 1, 5, 6}); got != 5.5 {
		t.Errorf("median of four: %v", got)
	}
}

func TestParseStat(t *testing.T) {
	// A command's name may hold anything, also what looks like the end of it.
	line := "4242 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 700 30 0 0 20 0 1 0 100 1000 10 18446744073709551615\n"
	got, err := parseStat(line)
	if err != nil || got != 7300*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 x 30"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseRollup(t *testing.T) {
	text := "5583a0000000-7ffd00000000 ---p 00000000 00:00 0    [rollup]\n" +
		"Rss:               16384 kB\nPss:                9000 kB\nPrivate_Dirty:      4096 kB\nAnonymous:          2048 kB\n"
	rss, heap, err := parseRollup(text)
	if err != nil || rss != 16<<20 || heap != 2<<20 {
		t.Errorf("rss %d, heap %d, %v", rss, heap, err)
	}
	if _, _, err := parseRollup("nothing here\n"); err == nil {
		t.Error("no error without Rss")
	}
}

func TestOwnUsage(t *testing.T) {
	u, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.rss <= 0 || u.heap <= 0 || u.heap > u.rss {
		t.Errorf("%+v", u)
	}
}

// seconds are moments of the ledger tests.
func second(n int) time.Time { return time.Unix(int64(n), 0) }

func TestJudge(t *testing.T) {
	l := newPartLedger()
	for i := range 6 {
		first := uint64(10 * i)
		l.put(fmt.Sprint("p", i), partTruth{sent: second(i), frames: []uint64{first, first + 1, first + 2, first + 3, first + 4,
			first + 5, first + 6, first + 7, first + 8, first + 9}, bytes: 100})
	}
	got := func(i int) arrival {
		return arrival{name: fmt.Sprint("p", i), at: second(i).Add(20 * time.Millisecond), bytes: 100, media: time.Second / 3}
	}
	short := got(2)
	short.bytes = 99
	for _, c := range []struct {
		name string
		log  []arrival
		want verdict
	}{
		{"all", []arrival{got(0), got(1), got(2)}, verdict{parts: 2}}, // p0 is older than the warm-up
		{"one missing", []arrival{got(1), got(3)}, verdict{parts: 2, lost: 10}},
		{"one twice", []arrival{got(1), got(2), got(2), got(3)}, verdict{parts: 4, repeated: 10}},
		{"out of order", []arrival{got(1), got(3), got(2)}, verdict{parts: 3, lost: 10, repeated: 10}},
		{"cut short", []arrival{got(1), short}, verdict{parts: 2, wrong: 1}},
		{"never seen by the scout", []arrival{got(1), {name: "p9"}}, verdict{parts: 1, unknown: 1}},
	} {
		var v verdict
		v.judge(c.log, l, second(1))
		for range c.want.parts {
			c.want.latencies = append(c.want.latencies, 20*time.Millisecond)
		}
		if diff := cmp.Diff(c.want, v, cmp.AllowUnexported(verdict{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if d := distinct([]arrival{got(1), got(2), got(2)}); d != 2*(time.Second/3) {
		t.Errorf("distinct media: %v", d)
	}
}

func TestBeyondRounding(t *testing.T) {
	for _, c := range []struct{ shown, truth, want float64 }{{10, 9.6, 0}, {10, 10.5, 0}, {10, 11, 0.5}, {12, 10, 1.5}} {
		if got := beyondRounding(c.shown, c.truth); got != c.want {
			t.Errorf("%v for %v: %v, want %v", c.shown, c.truth, got, c.want)
		}
	}
}

func TestStepHas(t *testing.T) {
	s := step{NextMSN: 7, NextParts: 2} // segment 6 is whole, two parts of 7 are listed
	for _, c := range []struct {
		msn  int64
		part int
		want bool
	}{{6, -1, true}, {6, 9, true}, {7, 0, true}, {7, 1, true}, {7, 2, false}, {7, -1, false}, {8, 0, false}, {-1, -1, true}} {
		if got := s.has(c.msn, c.part); got != c.want {
			t.Errorf("msn %d part %d: %v", c.msn, c.part, got)
		}
	}
}

// testRecording lists one segment before its first step, then a part at a time.
func testRecording(t *testing.T) *recording {
	m := &playlist.Media{
		TargetDuration: 2, PartTarget: time.Second / 2, PartHoldBack: 3 * time.Second / 2, HoldBack: 6 * time.Second,
		CanBlockReload: true,
		Segments:       []playlist.Segment{{URI: "seg-1-0.m4s", Duration: time.Second, Map: "init-1-0.mp4"}, {Map: "init-1-0.mp4"}},
	}
	rec := &recording{Multivariant: []byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nrun/viewer/index.m3u8\n"),
		Before: map[string][]byte{"init-1-0.mp4": []byte("init"), "seg-1-0.m4s": []byte("segment")}}
	for i := range 2 {
		name := fmt.Sprintf("part-1-%d.m4s", i)
		open := &m.Segments[1]
		open.Parts = append(open.Parts, playlist.Part{URI: name, Duration: time.Second / 2})
		m.PreloadHint = fmt.Sprintf("part-1-%d.m4s", i+1)
		text := m.AppendText(nil)
		parsed, err := playlist.ParseMedia(string(text))
		if err != nil {
			t.Fatal(err)
		}
		s := step{Media: map[string][]byte{name: []byte(name)}}
		for f := range s.Playlist {
			s.Playlist[f] = fmt.Appendf(nil, "%sform %d", text, f)
		}
		s.position(parsed)
		rec.Steps = append(rec.Steps, s)
	}
	return rec
}

// tcpPair returns the two ends of a connection.
func tcpPair(t *testing.T) (client, server net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestListed(t *testing.T) {
	m, err := playlist.ParseMedia("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-VERSION:9\n#EXT-X-PART-INF:PART-TARGET=1\n" +
		"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3\n#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-MAP:URI=\"init-1-0.mp4\"\n" +
		"#EXTINF:2,\nseg-1-4.m4s\n#EXT-X-PART:DURATION=1,URI=\"part-1-9.m4s\"\n")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	listed(m, func(name string) { seen[name] = true })
	want := map[string]bool{"init-1-0.mp4": true, "seg-1-4.m4s": true, "part-1-9.m4s": true}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

// TestBareHolds plays a recording on the bare server: reloads and hinted parts
// are held until their step, and all four forms are told apart.
func TestBareHolds(t *testing.T) {
	b := &bare{}
	b.state.Store(&bareState{next: make(chan struct{})})
	srv := httptest.NewServer(b.routes())
	defer srv.Close()
	client, server := tcpPair(t)
	go b.obey(server)
	feed := newFeeder(client)
	rec := testRecording(t)
	if err := feed.do(command{Load: rec}); err != nil {
		t.Fatal(err)
	}
	c := newConn(strings.TrimPrefix(srv.URL, "http://"))
	defer c.close()
	ask := func(path, header string) answer {
		t.Helper()
		a, err := c.get(path, header)
		if err != nil {
			t.Fatal(path, err)
		}
		return a
	}
	if err := c.send("/hls/x/index.m3u8", ""); err != nil { // held: nothing is listed yet
		t.Fatal(err)
	}
	if err := feed.step(0); err != nil {
		t.Fatal(err)
	}
	a, err := c.receive()
	if err != nil || !bytes.Equal(a.body, rec.Multivariant) {
		t.Fatalf("multivariant: %q, %v", a.body, err)
	}
	if a := ask("/hls/x/run/viewer/seg-1-0.m4s", ""); a.status != 200 || string(a.body) != "segment" {
		t.Errorf("segment: %d %q", a.status, a.body)
	}
	if a := ask("/hls/x/run/viewer/part-9-9.m4s", ""); a.status != 404 {
		t.Errorf("neither listed nor hinted: %d", a.status)
	}
	for _, held := range []struct{ path, want string }{
		{"/hls/x/run/viewer/part-1-1.m4s", "part-1-1.m4s"},
		{"/hls/x/run/viewer/index.m3u8?_HLS_msn=1&_HLS_part=1&_HLS_skip=YES", "form 1"},
	} {
		if err := feed.do(command{Load: rec}); err != nil {
			t.Fatal(err)
		}
		if err := feed.step(0); err != nil {
			t.Fatal(err)
		}
		ask("/hls/x/index.m3u8", "") // waits for the step
		if err := c.send(held.path, ""); err != nil {
			t.Fatal(err)
		}
		if err := feed.step(1); err != nil {
			t.Fatal(err)
		}
		if a, err := c.receive(); err != nil || !strings.HasSuffix(string(a.body), held.want) {
			t.Errorf("%s: %q, %v", held.path, a.body, err)
		}
	}
	if a := ask("/hls/x/run/viewer/index.m3u8", "Accept-Encoding: gzip\r\n"); !a.gzip || !strings.HasSuffix(string(a.body), "form 2") {
		t.Errorf("gzip form: %v %q", a.gzip, a.body)
	}
}

func TestConnReadsBothLengths(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			for i := range 3 {
				fmt.Fprintf(w, "piece %d ", i)
				w.(http.Flusher).Flush()
			}
		case "/close":
			w.Header().Set("Connection", "close")
			io.WriteString(w, "last")
		default:
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "length")
		}
	}))
	defer srv.Close()
	c := newConn(strings.TrimPrefix(srv.URL, "http://"))
	defer c.close()
	for range 2 { // the connection is used again, or dialled anew
		for _, want := range []struct {
			path, body string
			status     int
		}{{"/chunked", "piece 0 piece 1 piece 2 ", 200}, {"/length", "length", 418}, {"/close", "last", 200}} {
			a, err := c.get(want.path, "")
			if err != nil || a.status != want.status || string(a.body) != want.body {
				t.Errorf("%s: %d %q %v", want.path, a.status, a.body, err)
			}
		}
	}
}

// oneTag yields tags without end.
type oneTag struct{ tags []flv.Tag }

func (o *oneTag) Next() (flv.Tag, error) {
	if len(o.tags) == 0 {
		return flv.Tag{}, io.EOF
	}
	t := o.tags[0]
	o.tags = o.tags[1:]
	return t, nil
}

func TestMeterCountsMediaOnly(t *testing.T) {
	audio := flv.AppendAudio(nil, flv.Coded, []byte{1, 2, 3})
	m := &meter{Source: &oneTag{[]flv.Tag{
		{Type: flv.TypeScript}, {Type: flv.TypeAudio, Body: audio}, {Type: flv.TypeScript}, {Type: flv.TypeAudio, Body: audio},
	}}}
	for range 2 {
		m.Next()
	}
	if !m.first.IsZero() {
		t.Error("counted before the first media tag was sent")
	}
	m.Next()
	first := m.last
	if m.first.IsZero() || m.seconds() != 0 {
		t.Errorf("after one media tag: first %v, %v s", m.first, m.seconds())
	}
	m.Next()
	if m.last != first {
		t.Error("metadata moved the end")
	}
	m.Next()
	if !m.last.After(first) || m.seconds() <= 0 {
		t.Errorf("after two media tags: %v s", m.seconds())
	}
	if want := int64(2 * len(audio)); m.bytes() != want {
		t.Errorf("%d bytes of media, want %d", m.bytes(), want)
	}
}

// TestClipLoopsWithoutSeam: a hole where the clip starts over would leave parts
// short that no encoder leaves, and show as latency of the server.
func TestClipLoopsWithoutSeam(t *testing.T) {
	path, err := makeClip(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{clip: path}
	clip, err := b.loadClip()
	if err != nil {
		t.Fatal(err)
	}
	source := publisher.FromClip(clip, true)
	last := map[uint8]int64{}
	spacings := map[uint8]map[int64]int{flv.TypeVideo: {}, flv.TypeAudio: {}}
	for range 3 * len(clip.Tags) {
		tag, err := source.Next()
		if err != nil {
			t.Fatal(err)
		}
		if tag.Type == flv.TypeScript || flv.IsSequenceHeader(tag) {
			continue
		}
		if before, ok := last[tag.Type]; ok {
			spacings[tag.Type][tag.Time-before]++
		}
		last[tag.Type] = tag.Time
	}
	for kind, allowed := range map[uint8][]int64{flv.TypeVideo: {33, 34}, flv.TypeAudio: {21, 22}} {
		for spacing, n := range spacings[kind] {
			if !slices.Contains(allowed, spacing) {
				t.Errorf("type %d: %d frames are %d ms apart, want one of %v", kind, n, spacing, allowed)
			}
		}
	}
}

func TestNumberReadsBothTypes(t *testing.T) {
	for in, want := range map[string]number{`"12"`: 12, `12.5`: 12.5, `null`: 0} {
		var n number
		if err := n.UnmarshalJSON([]byte(in)); err != nil || n != want {
			t.Errorf("%s: %v, %v", in, n, err)
		}
	}
}

func TestUncounted(t *testing.T) {
	for in, want := range map[string]string{"/hls/p/r/xyz": "/hls/p/r/xyA", "/hls/p/r/xyA": "/hls/p/r/xyB"} {
		if got := uncounted(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestFigure(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 3: "3", 0.01234: "0.0123", 1.2345: "1.23", 12.345: "12.3", 1234.5: "1234"} {
		if got := figure(in); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	r := &report{progress: io.Discard}
	r.add(row{Scenario: "a", What: "latency", Unit: "ms", Ours: 3, Bare: 2}.ratioMost(1.5))
	r.add(row{Scenario: "a", What: "rate", Unit: "1/s", Ours: 3, Bare: 10}.ratioLeast(0.6))
	var out bytes.Buffer
	if err := r.table(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"latency", "1.50", "<= 1.50x bare", "met", "0.30", "MISSED"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
