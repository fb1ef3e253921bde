package publisher

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/chunk"
	"tally/internal/rtmp/flv"
)

// A taken is what a server got over one connection.
type taken struct {
	app, key   string
	reconnects bool // the client said that it can
	media      []chunk.Message
	clean      bool // it ended with deleteStream
}

// most is how many messages a server takes before something happens.
const most = 60

// A step is what a server does when it has most messages of one connection.
type step func(c *rtmp.Conn)

// ask asks the publisher to go where tcURL says.
func ask(tcURL string) step {
	return func(c *rtmp.Conn) {
		status := rtmp.Status{Level: rtmp.LevelStatus, Code: rtmp.ReconnectRequest, Description: "moving"}.Object()
		if tcURL != "" {
			status = append(status, amf0.Property{Name: "tcUrl", Value: tcURL})
		}
		c.SendCommand(0, "onStatus", 0, nil, status)
	}
}

// restless is a server that takes as many publishers as there are steps, one after
// another.
func restless(t *testing.T, steps ...step) (addr string, got chan taken) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got = make(chan taken, len(steps))
	over := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-over })
	go func() {
		defer close(over)
		for _, do := range steps {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			got <- take(nc, do)
		}
	}()
	return ln.Addr().String(), got
}

func take(nc net.Conn, do step) (got taken) {
	defer nc.Close()
	c, err := rtmp.Accept(nc)
	if err != nil {
		return got
	}
	c.SetLimits(chunk.WhilePublishing)
	for {
		m, err := c.Next()
		if err != nil {
			return got
		}
		if m.Type != chunk.TypeCommandAMF0 {
			if got.media = append(got.media, m); len(got.media) == most {
				do(c)
			}
			continue
		}
		switch cmd, _ := rtmp.ParseCommand(m); cmd.Name {
		case "connect":
			got.app = amf0.Text(cmd.Object, "app")
			got.reconnects = amf0.Lookup(cmd.Object, "capsEx") == 1.0
			c.SendCommand(0, "_result", cmd.Transaction, amf0.Object{}, rtmp.Status{Code: rtmp.ConnectSuccess}.Object())
		case "createStream":
			c.SendCommand(0, "_result", cmd.Transaction, nil, 1.0)
		case "publish":
			got.key, _ = cmd.Arg(0).(string)
			c.SendStatus(1, rtmp.Status{Level: rtmp.LevelStatus, Code: rtmp.PublishStart})
		case "deleteStream":
			got.clean = true
		}
	}
}

// TestReconnectRequest: asked to reconnect, the publisher leaves without a clean
// end, comes back where it is told to with the same key, begins with metadata and
// configurations, and goes on with a keyframe and with times that go on.
func TestReconnectRequest(t *testing.T) {
	for name, c := range map[string]struct{ tcURL, app string }{
		"another server and app":        {"rtmp://SECOND/elsewhere/deep", "elsewhere/deep"},
		"another server, the short way": {"//SECOND/live", "live"},
		"where it was":                  {"", "live"},
		"another app of the server":     {"/other", "other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			last := func(*rtmp.Conn) { stop() }
			steps := []step{ask(c.tcURL), last} // of a server that is there for both
			var two chan taken
			if strings.Contains(c.tcURL, "SECOND") {
				var second string
				second, two = restless(t, last)
				steps = []step{ask(strings.ReplaceAll(c.tcURL, "SECOND", second))}
			}
			first, one := restless(t, steps...)
			if two == nil {
				two = one
			}
			var asked []string
			err := Run(ctx, Options{URL: "rtmp://" + first + "/live/KEY", Source: FromClip(clip(t), true), Speed: 4, Reconnect: 30 * time.Second,
				OnReconnect: func(why error) { asked = append(asked, why.Error()) }})
			if err != nil || !slices.Equal(asked, []string{rtmp.ReconnectRequest + ": moving"}) {
				t.Fatalf("%v, asked %q", err, asked)
			}
			a, b := <-one, <-two
			if a.clean || !a.reconnects || !b.clean || !b.reconnects || b.app != c.app || b.key != "KEY" || len(b.media) < most {
				t.Errorf("first %v %v, then %q %q %v %v with %d messages", a.clean, a.reconnects, b.app, b.key, b.clean, b.reconnects, len(b.media))
			}
			opens(t, b.media, a.media[most-1].Time)
		})
	}
}

// opens checks that messages are a stream's begin, later than since.
func opens(t *testing.T, ms []chunk.Message, since uint32) {
	t.Helper()
	headers := map[uint8]bool{}
	for i, m := range ms {
		tag := flv.Tag{Type: m.Type, Body: m.Body}
		switch {
		case m.Time < since:
			t.Errorf("message %d is of %d ms, before there were %d", i, m.Time, since)
		case i == 0 && m.Type != flv.TypeScript:
			t.Errorf("it begins with type %d", m.Type)
		case flv.IsFrame(tag):
			if !isKey(tag) || !headers[flv.TypeVideo] || !headers[flv.TypeAudio] {
				t.Errorf("the first frame: key %v, behind configurations %v", isKey(tag), headers)
			}
			return
		}
		headers[m.Type] = true
	}
	t.Error("no frame")
}

// TestReconnectsNowhere: without leave to reconnect a request is the end; so is an
// address that is none, and a server that does not come back.
func TestReconnectsNowhere(t *testing.T) {
	for name, c := range map[string]struct {
		tcURL  string
		within time.Duration
		want   string
	}{
		"not asked for": {"", 0, "moving"},
		"no address":    {"http://127.0.0.1/live", time.Minute, "asks to reconnect to an address"},
		"nobody there":  {"rtmp://127.0.0.1:1/live", time.Millisecond, "publish to 127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, one := restless(t, ask(c.tcURL))
			err := Run(t.Context(), Options{URL: "rtmp://" + first + "/live/KEY", Source: FromClip(clip(t), true), Reconnect: c.within, Speed: 20})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "KEY") {
				t.Errorf("ends with %v", err)
			}
			if got := <-one; got.reconnects != (c.within > 0) {
				t.Errorf("said that it reconnects: %v", got.reconnects)
			}
		})
	}
}
