package rtmpserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/media"
	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/chunk"
	"tally/internal/rtmp/flv"
)

// A raw client says what a test wants, in the order it wants.
type raw struct {
	t  testing.TB
	nc net.Conn
	w  *chunk.Writer
	r  *chunk.Reader
}

// dialRaw connects and does the handshake.
func dialRaw(t testing.TB, h *harness) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := &raw{t: t, nc: nc, w: chunk.NewWriter(nc), r: chunk.NewReader(nc)}
	c.handshake()
	return c
}

func (c *raw) handshake() {
	c.t.Helper()
	hello := make([]byte, 1537)
	hello[0] = 3
	copy(hello[5:], []byte{128, 0, 7, 2}) // a digest client's version; the digest itself is not looked at
	c.write(hello)
	answer := make([]byte, 1+2*1536)
	if _, err := io.ReadFull(c.nc, answer); err != nil {
		c.t.Fatal(err)
	}
	if answer[0] != 3 || !bytes.Equal(answer[5:9], make([]byte, 4)) || !bytes.Equal(answer[1537:], hello[1:]) {
		c.t.Error("S0, S1 or S2 is not plain")
	}
	c.write(answer[1:1537])
}

func (c *raw) write(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) send(m chunk.Message) {
	c.t.Helper()
	if err := c.w.Write(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) command(streamID uint32, values ...any) {
	c.t.Helper()
	c.send(chunk.Message{ChunkStream: 3, Type: chunk.TypeCommandAMF0, StreamID: streamID, Body: amf0.Append(nil, values...)})
}

// answer returns the next command from the server.
func (c *raw) answer() rtmp.Command {
	c.t.Helper()
	for {
		m, err := c.r.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Type != chunk.TypeCommandAMF0 {
			continue
		}
		cmd, err := rtmp.ParseCommand(m)
		if err != nil {
			c.t.Fatal(err)
		}
		return cmd
	}
}

// expect reads one command and checks name, transaction and status code.
func (c *raw) expect(name string, transaction float64, code string) rtmp.Command {
	c.t.Helper()
	cmd := c.answer()
	if cmd.Name != name || cmd.Transaction != transaction || amf0.Text(cmd.Arg(0), "code") != code {
		c.t.Errorf("got %+v, want %s %v %s", cmd, name, transaction, code)
	}
	return cmd
}

// closed waits for the server to close.
func (c *raw) closed() {
	c.t.Helper()
	for {
		if _, err := c.r.Next(); err != nil {
			if !isClosed(err) {
				c.t.Errorf("connection ended with %v", err)
			}
			return
		}
	}
}

// connect and publish as most encoders do.
func (c *raw) connect() {
	c.t.Helper()
	c.command(0, "connect", 1.0, amf0.Object{{Name: "app", Value: "live"}, {Name: "flashVer", Value: "test"}})
	c.expect("_result", 1, rtmp.ConnectSuccess)
}

func (c *raw) publish() {
	c.t.Helper()
	c.connect()
	c.command(0, "createStream", 2.0, nil)
	if cmd := c.answer(); cmd.Name != "_result" || cmd.Arg(0) != 1.0 {
		c.t.Errorf("createStream: %+v", cmd)
	}
	c.command(1, "publish", 3.0, nil, testKey, "live")
	c.expect("onStatus", 0, rtmp.PublishStart)
}

// tags sends clip tags from the given message stream.
func (c *raw) tags(ts []flv.Tag) {
	c.t.Helper()
	for _, t := range ts {
		c.send(chunk.Message{ChunkStream: 4, Type: t.Type, StreamID: 1, Time: uint32(t.Time), Body: t.Body})
	}
}

// TestOBS replays what OBS Studio 30 sends. Order, chunk streams and header
// types are those of its plugins/obs-outputs/librtmp/rtmp.c (SendConnectPacket,
// SendReleaseStream, SendFCPublish, SendPublish, RTMP_Close) and rtmp-stream.c
// (chunk size, flashVer, metadata), read on GitHub; it is no network capture.
func TestOBS(t *testing.T) {
	h := start(t, nil)
	c := dialRaw(t, h)
	url := "rtmp://" + h.addr + "/live"
	o := &obs{raw: c, sizes: 128}
	// The chunk size comes before connect, on chunk stream 2.
	o.packet(0, 2, chunk.TypeSetChunkSize, 0, binary.BigEndian.AppendUint32(nil, 4096))
	o.sizes = 4096
	o.invoke(0, 3, 0, "connect", 1.0, amf0.Object{{Name: "app", Value: "live"}, {Name: "type", Value: "nonprivate"},
		{Name: "flashVer", Value: "FMLE/3.0 (compatible; FMSc/1.0)"}, {Name: "swfUrl", Value: url}, {Name: "tcUrl", Value: url}})
	c.expect("_result", 1, rtmp.ConnectSuccess)
	o.invoke(1, 3, 0, "releaseStream", 2.0, nil, testKey)
	o.invoke(1, 3, 0, "FCPublish", 3.0, nil, testKey)
	o.invoke(1, 3, 0, "createStream", 4.0, nil)
	c.expect("_result", 2, "")
	c.expect("_result", 3, "")
	if cmd := c.expect("_result", 4, ""); cmd.Arg(0) != 1.0 {
		t.Fatalf("createStream: %+v", cmd)
	}
	o.invoke(0, 4, 1, "publish", 5.0, nil, testKey, "live")
	c.expect("onStatus", 0, rtmp.PublishStart)
	for _, tag := range loadClip(t).Tags {
		body, format := tag.Body, uint8(1)
		if tag.Type == flv.TypeScript { // RTMP_Write puts @setDataFrame before metadata
			body = append(amf0.Append(nil, "@setDataFrame"), tag.Body...)
		}
		if tag.Type == flv.TypeScript || tag.Time == 0 {
			format = 0
		}
		o.media(format, tag.Type, uint32(tag.Time), body)
	}
	o.invoke(1, 3, 0, "FCUnpublish", 6.0, nil, testKey)
	o.invoke(1, 3, 0, "deleteStream", 7.0, nil, 1.0)
	c.nc.Close()
	p := h.pub(t, 0)
	p.wait(t, "unpublish")
	if n := len(p.track(media.VideoTrack)); n != 50 {
		t.Errorf("%d video frames, want 50", n)
	}
	checkAudio(t, p.track(media.AudioTrack))
	if !slices.Equal(p.expect, []media.TrackID{media.VideoTrack, media.AudioTrack}) {
		t.Errorf("expected tracks: %v", p.expect)
	}
	if h.requests[0].Encoder != "FMLE/3.0 (compatible; FMSc/1.0)" {
		t.Errorf("encoder %q", h.requests[0].Encoder)
	}
}

// obs writes chunks as librtmp's RTMP_SendPacket does.
type obs struct {
	*raw
	sizes int
	last  uint32 // time on chunk stream 4
}

func (o *obs) invoke(format uint8, cs uint8, streamID uint32, values ...any) {
	o.t.Helper()
	o.packet(format, cs, chunk.TypeCommandAMF0, streamID, amf0.Append(nil, values...))
}

func (o *obs) media(format uint8, kind uint8, ms uint32, body []byte) {
	o.t.Helper()
	t := ms
	if format == 1 {
		t = ms - o.last
	}
	o.last = ms
	o.chunks(format, 4, kind, 1, t, body)
}

func (o *obs) packet(format, cs, kind uint8, streamID uint32, body []byte) {
	o.t.Helper()
	o.chunks(format, cs, kind, streamID, 0, body)
}

func (o *obs) chunks(format, cs, kind uint8, streamID, ms uint32, body []byte) {
	o.t.Helper()
	n := len(body)
	b := []byte{format<<6 | cs, byte(ms >> 16), byte(ms >> 8), byte(ms), byte(n >> 16), byte(n >> 8), byte(n), kind}
	if format == 0 {
		b = binary.LittleEndian.AppendUint32(b, streamID)
	}
	for i, piece := range slices.Collect(slices.Chunk(body, o.sizes)) {
		if i > 0 {
			b = append(b, 3<<6|cs)
		}
		b = append(b, piece...)
	}
	o.write(b)
}

func TestCommands(t *testing.T) {
	h := start(t, nil)
	c := dialRaw(t, h)
	c.command(0, "createStream", 1.0, nil)
	c.expect("_error", 1, rtmp.CallFailed) // before connect
	c.connect()
	c.command(0, "connect", 2.0, amf0.Object{{Name: "app", Value: "live"}})
	c.expect("_error", 2, rtmp.CallFailed)
	for i, name := range []string{"releaseStream", "FCPublish", "_checkbw", "FCUnpublish"} {
		c.command(0, name, 10+float64(i), nil, testKey)
		c.expect("_result", 10+float64(i), "")
	}
	c.command(0, "getStreamLength", 20.0, nil, testKey)
	if cmd := c.expect("_result", 20, ""); cmd.Arg(0) != 0.0 {
		t.Errorf("length %v", cmd.Arg(0))
	}
	c.command(0, "doSomethingNew", 21.0, nil, "argument", amf0.Object{})
	c.expect("_error", 21, rtmp.CallFailed)
	c.command(0, "noAnswerWanted", 0.0, nil)
	c.command(1, "play", 22.0, nil, testKey)
	c.expect("onStatus", 0, rtmp.PlayFailed)
	// AMF3 command messages carry AMF0 behind a zero byte.
	c.send(chunk.Message{ChunkStream: 3, Type: chunk.TypeCommandAMF3, Body: append([]byte{0}, amf0.Append(nil, "createStream", 23.0, nil)...)})
	if cmd := c.expect("_result", 23, ""); cmd.Arg(0) != 1.0 {
		t.Errorf("stream %v", cmd.Arg(0))
	}
	// What cannot be read is passed over.
	c.send(chunk.Message{ChunkStream: 3, Type: chunk.TypeCommandAMF0, Body: []byte{0xFF, 1, 2}})
	c.send(chunk.Message{ChunkStream: 3, Type: chunk.TypeCommandAMF3, Body: []byte{1}})
	c.send(chunk.Message{ChunkStream: 4, Type: chunk.TypeVideo, Body: []byte{0x17, 1, 0, 0, 0, 1}}) // before publish
	c.send(chunk.Message{ChunkStream: 4, Type: chunk.TypeAggregate, Body: []byte{1}})
	for i := range maxStreams {
		c.command(0, "createStream", 24.0, nil)
		if i < maxStreams-1 {
			c.expect("_result", 24, "")
		} else {
			c.expect("_error", 24, rtmp.CallFailed)
		}
	}
}

func TestPing(t *testing.T) {
	h := start(t, nil)
	c := dialRaw(t, h)
	c.send(chunk.Message{ChunkStream: 2, Type: chunk.TypeUserControl, Body: []byte{0, 6, 1, 2, 3, 4}})
	m, err := c.r.Next()
	if err != nil || m.Type != chunk.TypeUserControl || !bytes.Equal(m.Body, []byte{0, 7, 1, 2, 3, 4}) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAcknowledges(t *testing.T) {
	h := start(t, nil)
	c := dialRaw(t, h)
	c.send(chunk.Message{ChunkStream: 2, Type: chunk.TypeWindowAckSize, Body: []byte{0, 0, 0x80, 0}})
	c.publish()
	c.send(chunk.Message{ChunkStream: 4, Type: chunk.TypeVideo, StreamID: 1, Body: make([]byte, 40_000)})
	for {
		m, err := c.r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == chunk.TypeAck {
			if n := binary.BigEndian.Uint32(m.Body); n < 40_000 || n > 42_000 {
				t.Errorf("%d bytes acknowledged", n)
			}
			return
		}
	}
}

// TestCleanEnds: each way to end a stream, and publishing again on the same
// connection.
func TestCleanEnds(t *testing.T) {
	ends := map[string]func(c *raw){
		"FCUnpublish":            func(c *raw) { c.command(0, "FCUnpublish", 9.0, nil, testKey) },
		"FCUnpublish with query": func(c *raw) { c.command(0, "FCUnpublish", 9.0, nil, "/"+testKey+"?a=b") },
		"deleteStream":           func(c *raw) { c.command(0, "deleteStream", 9.0, nil, 1.0) },
		"closeStream":            func(c *raw) { c.command(1, "closeStream", 0.0, nil) },
		"publish(false)":         func(c *raw) { c.command(1, "publish", 0.0, nil, false) },
		"other streams come first": func(c *raw) {
			c.command(0, "FCUnpublish", 0.0, nil, "someoneelse")
			c.command(0, "deleteStream", 0.0, nil, 7.0)
			c.command(5, "closeStream", 0.0, nil)
			c.command(1, "closeStream", 0.0, nil)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := start(t, nil)
			c := dialRaw(t, h)
			c.publish()
			c.tags(loadClip(t).Tags)
			end(c)
			c.expect("onStatus", 0, rtmp.UnpublishSuccess)
			p := h.pub(t, 0)
			p.wait(t, "unpublish")
			if n := len(p.track(media.VideoTrack)); n != 50 {
				t.Errorf("%d frames", n)
			}
			if name == "FCUnpublish" || name == "FCUnpublish with query" {
				c.expect("_result", 9, "")
			}
			c.command(1, "publish", 10.0, nil, testKey, "live")
			c.expect("onStatus", 0, rtmp.PublishStart)
			c.nc.Close()
			h.pub(t, 1).wait(t, "lose")
		})
	}
}

func TestSecondPublishOnTheConnection(t *testing.T) {
	h := start(t, nil)
	c := dialRaw(t, h)
	c.publish()
	c.command(2, "publish", 4.0, nil, testKey, "live")
	c.expect("onStatus", 0, rtmp.PublishBadName)
	c.tags(loadClip(t).Tags)
	c.command(1, "closeStream", 0.0, nil)
	c.expect("onStatus", 0, rtmp.UnpublishSuccess)
	if n := len(h.pub(t, 0).track(media.VideoTrack)); n != 50 || len(h.pubs) != 1 {
		t.Errorf("%d frames, %d publications", n, len(h.pubs))
	}
}

func TestGarbage(t *testing.T) {
	h := start(t, nil)
	live := dialRaw(t, h)
	live.publish()
	clip := loadClip(t)
	live.tags(clip.Tags[:20])
	tests := map[string][]byte{
		"HTTP":             []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS on this port": {0x16, 3, 1, 2, 0},
		"RTMPE":            {6},
		"zeros":            make([]byte, 5000),
		"noise":            bytes.Repeat([]byte{0xA7, 3, 0x55, 0xFF}, 2000),
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(10 * time.Second))
			nc.Write(in)
			if _, err := io.Copy(io.Discard, nc); err != nil && !isClosed(err) {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
	t.Run("noise after the handshake", func(t *testing.T) {
		c := dialRaw(t, h)
		c.nc.Write(bytes.Repeat([]byte{0xA7, 3, 0x55, 0xFF}, 2000))
		c.closed()
	})
	t.Run("message of 1 MB before publish", func(t *testing.T) {
		c := dialRaw(t, h)
		c.w.SetChunkSize(1 << 20)
		c.nc.Write([]byte{4, 0, 0, 0, 0x10, 0, 0, chunk.TypeVideo, 0, 0, 0, 0, 1, 2, 3})
		c.closed()
	})
	live.tags(clip.Tags[20:])
	live.command(1, "closeStream", 0.0, nil)
	live.expect("onStatus", 0, rtmp.UnpublishSuccess)
	if n := len(h.pub(t, 0).track(media.VideoTrack)); n != 50 {
		t.Errorf("the publisher next door delivered %d frames, want 50", n)
	}
}

// pipes is a listener whose connections live in memory, so that deadlines run
// in virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestDeadlines: a peer that dribbles is ended on time, not kept by each byte.
func TestDeadlines(t *testing.T) {
	tests := []struct {
		name  string
		peer  func(t *testing.T, nc net.Conn) // until the connection is closed
		after time.Duration
	}{
		{"says nothing", func(t *testing.T, nc net.Conn) { io.Copy(io.Discard, nc) }, handshakeTimeout},
		{"a byte of the handshake per second", func(t *testing.T, nc net.Conn) {
			for {
				if _, err := nc.Write([]byte{3}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, handshakeTimeout},
		{"never publishes", func(t *testing.T, nc net.Conn) {
			c := &raw{t: t, nc: nc, w: chunk.NewWriter(nc), r: chunk.NewReader(nc)}
			c.handshake()
			for {
				body := amf0.Append(nil, "_checkbw", 0.0, nil)
				if c.w.Write(chunk.Message{ChunkStream: 3, Type: chunk.TypeCommandAMF0, Body: body}) != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, publishTimeout},
		{"reads no answer", func(t *testing.T, nc net.Conn) {
			c := &raw{t: t, nc: nc, w: chunk.NewWriter(nc), r: chunk.NewReader(nc)}
			c.handshake()
			c.command(0, "connect", 1.0, amf0.Object{{Name: "app", Value: "live"}})
			for {
				if c.w.Write(chunk.Message{ChunkStream: 3, Type: chunk.TypeCommandAMF0, Body: []byte{5}}) != nil {
					return
				}
			}
		}, rtmp.WriteTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := &pipes{make(chan net.Conn), make(chan struct{})}
				srv := New(Config{Publish: (&recorder{}).Publish})
				ctx, stop := context.WithCancel(context.Background())
				served := make(chan error)
				go func() { served <- srv.Serve(ctx, ln) }()
				mine, theirs := net.Pipe()
				began := time.Now()
				ln.conns <- theirs
				tt.peer(t, mine)
				if took := time.Since(began); took < tt.after || took > tt.after+time.Second {
					t.Errorf("ended after %s, want %s", took, tt.after)
				}
				mine.Close()
				stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		app, tcURL, name string
		key              string
		ok               bool
	}{
		{"live", "rtmp://h/live", "KEY", "KEY", true},
		{"live/", "rtmp://h/live/", "/KEY/", "KEY", true},
		{"/live", "", "KEY?token=x", "KEY", true},
		{"live?x=y", "", "KEY", "KEY", true},
		{"live/KEY", "rtmp://h/live/KEY", "", "KEY", true},
		{"live", "rtmp://h/live/KEY?a=b", "", "KEY", true},
		{"", "rtmp://h:1935/live", "KEY", "KEY", true},
		{"", "rtmp://h:1935/live/KEY/", "?", "KEY", true},
		{"live/instance", "", "KEY", "KEY", true},
		{"live", "::not a url::", "KEY", "KEY", true},
		{"live", "", "", "", true},
		{"vod", "rtmp://h/vod", "KEY", "", false},
		{"", "", "KEY", "", false},
		{"lives", "", "KEY", "", false},
		{"../live", "", "KEY", "", false},
	}
	for _, tt := range tests {
		fromApp, ok := splitApp(tt.app, tt.tcURL)
		if ok != tt.ok {
			t.Errorf("app %q, tcUrl %q: accepted %v", tt.app, tt.tcURL, ok)
		}
		if key := streamKey(tt.name, fromApp); ok && key != tt.key {
			t.Errorf("app %q, tcUrl %q, name %q: key %q, want %q", tt.app, tt.tcURL, tt.name, key, tt.key)
		}
	}
	if got := plain("OBS\x00\n \xff" + strings.Repeat("é", 200)); len(got) > maxEncoder || strings.ContainsAny(got, "\x00\n") || !strings.HasPrefix(got, "OBS é") {
		t.Errorf("encoder %q", got)
	}
}

// FuzzConnection sends any bytes after the handshake, and any bytes at all:
// Serve must survive, close, and count nothing as a panic.
func FuzzConnection(f *testing.F) {
	var b bytes.Buffer
	w := chunk.NewWriter(&b)
	send := func(kind uint8, stream uint32, body []byte) {
		w.Write(chunk.Message{ChunkStream: 3, Type: kind, StreamID: stream, Body: body})
	}
	command := func(stream uint32, vs ...any) { send(chunk.TypeCommandAMF0, stream, amf0.Append(nil, vs...)) }
	command(0, "connect", 1.0, amf0.Object{{Name: "app", Value: "live"}})
	connected := bytes.Clone(b.Bytes())
	command(0, "createStream", 2.0, nil)
	command(1, "publish", 3.0, nil, testKey, "live")
	published := bytes.Clone(b.Bytes())
	for _, t := range loadClip(f).Tags[:12] {
		send(t.Type, 1, t.Body)
	}
	send(chunk.TypeVideo, 1, []byte{0x17, 1, 0, 0, 0, 0, 0, 0, 9, 0x65})
	command(0, "FCUnpublish", 4.0, nil, testKey)
	command(0, "deleteStream", 5.0, nil, 1.0)
	f.Add(true, connected)
	f.Add(true, published)
	f.Add(true, b.Bytes())
	f.Add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, shake bool, in []byte) {
		r := &recorder{}
		srv := New(Config{Publish: r.Publish})
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		served := make(chan error)
		go func() { served <- srv.Serve(ctx, ln) }()
		mine, theirs := net.Pipe()
		ln.conns <- theirs
		go func() {
			if shake {
				hello := make([]byte, 1537)
				hello[0] = 3
				mine.Write(hello)
				mine.Write(make([]byte, 1536))
			}
			mine.Write(in)
			mine.Close()
		}()
		if _, err := io.Copy(io.Discard, mine); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if srv.Stats().Panics.Load() != 0 {
			t.Error("panicked")
		}
		for _, p := range r.pubs {
			p.mustHaveEnded(t)
		}
	})
}

// mustHaveEnded checks that the publication has ended, however.
func (p *recording) mustHaveEnded(t *testing.T) {
	select {
	case <-p.ended:
	default:
		t.Error("a publication is still open after Serve")
	}
}
