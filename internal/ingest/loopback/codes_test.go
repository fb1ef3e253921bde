package loopback

import (
	"context"
	"encoding/binary"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/rtmp"
	"tally/internal/rtmp/flv"
)

// A provocation brings about one code of err_message over RTMP, as an encoder
// or a server in trouble would.
type provocation struct {
	code   livestream.Code
	says   string     // in the sentence
	own    bool       // the server is not to be shared
	config hls.Config // of it
	set    func(*livestream.Livestream)
	// do may return another world, in which the code is to be seen.
	do func(w *world, l livestream.Livestream) *world
	on string // status; "": ERRORED
}

var errDisk = errors.New("disk full")

// provocations has every code of internal/livestream/reason.go.
var provocations = []provocation{
	{code: livestream.NoMedia, says: "within 10 s of the publish",
		do: func(w *world, l livestream.Livestream) *world { w.leave(w.mustDial(l)); return w }},
	{code: livestream.NoKeyframe, says: "Keyframe Interval to 2 s",
		do: func(w *world, l livestream.Livestream) *world {
			c := w.mustDial(l)
			header(c)
			go send(c, "1", 1, 29, 500*time.Millisecond) // number 0 would be a keyframe
			return w
		}},
	{code: livestream.UnsupportedCodec, says: "set the encoder's video codec to H.264",
		do: func(w *world, l livestream.Livestream) *world {
			c := w.mustDial(l)
			c.WriteTag(flv.Tag{Type: flv.TypeVideo, Body: []byte("\x90vp08\x08")}) // VP8, which no player of HLS takes
			return w
		}},
	{code: livestream.BadMedia, says: "sequence header cannot be parsed",
		do: func(w *world, l livestream.Livestream) *world {
			c := w.mustDial(l)
			c.WriteTag(flv.Tag{Type: flv.TypeVideo, Body: []byte{0x17, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}})
			return w
		}},
	{code: livestream.Disconnected, says: "before anything was playable",
		do: func(w *world, l livestream.Livestream) *world {
			c := w.mustDial(l)
			header(c)
			c.Close()
			return w
		}},
	{code: livestream.NoEncoder, says: "no encoder published within 1 s of the start",
		set: func(l *livestream.Livestream) {
			l.MeetingID, l.Settings.AwaitEncoder = livestream.NewUUID(), time.Second
		},
		do: func(w *world, l livestream.Livestream) *world {
			if _, err := w.manager.Start(context.Background(), l.ID); err != nil {
				w.Error(err)
			}
			return w
		}},
	{code: livestream.ServerRestart, says: "the server restarted", own: true,
		set: func(l *livestream.Livestream) { l.Settings.ReconnectWindow = 0 },
		do: func(w *world, l livestream.Livestream) *world {
			c := w.air(l)
			next := worldAt(w.TB, hls.Config{}, w.copyStore()) // what a killed process leaves
			c.Close()
			return next
		}},
	{code: livestream.ServerStopped, says: "the server was stopped", own: true, on: "IDLE",
		set: func(l *livestream.Livestream) { l.Settings.ReconnectWindow = 0 },
		do: func(w *world, l livestream.Livestream) *world {
			c := w.air(l)
			w.stop()
			c.Close()
			return worldAt(w.TB, hls.Config{}, w.path)
		}},
	{code: livestream.EncoderLost, says: "the reconnect window of 1 s passed", on: "IDLE",
		set: func(l *livestream.Livestream) { l.Settings.ReconnectWindow = time.Second },
		do:  func(w *world, l livestream.Livestream) *world { w.air(l).Reset(); return w }},
	{code: livestream.Reconnects, says: "the session ends at", on: "LIVE",
		do: func(w *world, l livestream.Livestream) *world { w.air(l).Close(); return w }},
	{code: livestream.BitrateTooHigh, says: "lower the encoder's bitrate", own: true, config: hls.Config{RingBytes: 1 << 20},
		do: func(w *world, l livestream.Livestream) *world { go w.flood(w.air(l), 20_000); return w }},
	{code: livestream.ServerFault, says: "could not store", own: true, config: hls.Config{RingBytes: 1 << 20},
		do: func(w *world, l livestream.Livestream) *world {
			c := w.air(l)
			w.store.fail(errDisk) // no number is durable any more, so none may be listed
			go w.flood(c, 1500)
			return w
		}},
}

// TestEveryErrMessage provokes each code through real parts, all at once.
func TestEveryErrMessage(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	shared := newWorld(t, hls.Config{})
	for _, p := range provocations {
		w := shared
		if p.own {
			w = newWorld(t, p.config)
		}
		wg.Go(func() { p.provoke(w) })
	}
	wg.Wait()
	file, err := parser.ParseFile(token.NewFileSet(), "../../livestream/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || v.Type == nil {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
			code, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if !slices.ContainsFunc(provocations, func(p provocation) bool { return string(p.code) == code }) {
				t.Errorf("nothing here provokes %s", code)
			}
		}
		return true
	})
}

func (p provocation) provoke(w *world) {
	l := w.livestream(p.set)
	w = p.do(w, l)
	if p.on == "" {
		p.on = "ERRORED"
	}
	w.until(l, p.on+" "+string(p.code), 40*time.Second)
	if text := w.session(l).ErrMessage(); !strings.Contains(text, p.says) {
		w.Errorf("%q does not say %q", text, p.says)
	}
}

// air puts the livestream on air.
func (w *world) air(l livestream.Livestream) *rtmp.Client {
	c := w.mustDial(l)
	w.leave(c)
	header(c)
	if err := send(c, "1", 0, 30, 5*time.Millisecond); err != nil {
		w.Error(err)
	}
	w.until(l, "LIVE", 5*time.Second)
	return c
}

// leave breaks the connection off when the test ends.
func (w *world) leave(c *rtmp.Client) { w.Cleanup(c.Close) }

// flood sends pictures of that many bytes, faster than they play.
func (w *world) flood(c *rtmp.Client, sizeBytes int) {
	for n := 30; n < 4000; n++ {
		tag := picture("1", n)
		tag.Body = append(tag.Body, make([]byte, sizeBytes)...)
		binary.BigEndian.PutUint32(tag.Body[5:], uint32(len(tag.Body)-9))
		if c.WriteTag(tag) != nil {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}
