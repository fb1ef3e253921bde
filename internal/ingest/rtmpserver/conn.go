package rtmpserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"tally/internal/ingest"
	"tally/internal/livestream"
	"tally/internal/rtmp"
	"tally/internal/rtmp/chunk"
	"tally/internal/secret"
)

// A conn is one connection. One goroutine owns all of it.
type conn struct {
	s        *Server
	ctx      context.Context // the server's
	nc       net.Conn
	rc       *rtmp.Conn
	log      *slog.Logger
	accepted time.Time
	secure   bool
	waiting  bool // counted in Server.waiting

	connected bool   // connect was accepted
	appKey    string // stream key that came with the app, "" if none
	encoder   string
	streams   uint32 // message streams handed out
	// canReconnect: the encoder said that it understands a request to reconnect.
	canReconnect bool

	pub     Publication // nil: not publishing
	pubID   uint32      // its message stream
	pubName string      // its stream name, trimmed; never logged
	in      *intake
	told    told
	unwatch func() bool // stops watching pub's context
}

// run does the handshake and then message after message.
func (c *conn) run() {
	c.nc.SetDeadline(c.accepted.Add(handshakeTimeout))
	rc, err := rtmp.Accept(c.nc)
	if err != nil {
		c.log.Debug("rtmp: handshake", "err", err)
		return
	}
	c.rc = rc
	defer func() { c.s.stats.BytesReceived.Add(int64(rc.Received())) }()
	c.nc.SetReadDeadline(c.accepted.Add(publishTimeout))
	for err == nil {
		var m chunk.Message
		if m, err = rc.Next(); err == nil {
			err = c.handle(m)
		}
	}
	c.end(err)
}

// end settles the publication and says goodbye where there is someone to hear.
func (c *conn) end(err error) {
	if c.pub != nil {
		err = c.endPublication(err)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		c.log.Debug("rtmp: no publish in time")
	} else if err != io.EOF {
		c.log.Debug("rtmp: connection ends", "err", err)
	}
	h, ok := errors.AsType[*hangup](err)
	if !ok {
		return
	}
	switch h.status.Code {
	case "":
	case rtmp.ReconnectRequest:
		c.rc.SendStatus(0, h.status) // of the connection, not of the stream
	default:
		c.rc.SendStatus(c.pubID, h.status)
	}
	c.rc.Finish(lingerTime)
}

// endPublication reports why the media stops, and returns err or the hangup
// that tells the encoder.
func (c *conn) endPublication(err error) error {
	c.stopWatching()
	pub := c.pub
	c.pub = nil
	bad, isBad := errors.AsType[*badMedia](err)
	switch {
	case isBad:
		pub.Fail(bad.reason)
		err = failed(bad.reason.String(), err)
	case errors.Is(err, chunk.ErrProtocol):
		reason := livestream.Unparsable(err.Error())
		pub.Fail(reason)
		err = failed(reason.String(), err)
	case pub.Context().Err() != nil: // the server's doing
		cause := context.Cause(pub.Context())
		pub.Lose(cause)
		if err = failed(sentence(cause), cause); c.canReconnect && errors.Is(cause, livestream.ErrStopping) {
			err = reconnect(sentence(cause), cause)
		}
	default:
		pub.Lose(err)
		if _, ok := errors.AsType[*outputError](err); ok {
			err = failed(sentence(err), err)
		}
	}
	c.log.Debug("publish ends", "cause", err, "received", c.rc.Received(), "frames", c.in.frames, "dropped", c.in.dropped)
	return err
}

// sentence is what the person at the encoder may read of a cause.
func sentence(cause error) string {
	if cut, ok := errors.AsType[*ingest.CutError](cause); ok {
		return cut.Sentence
	}
	if r, ok := errors.AsType[interface {
		error
		Reason() livestream.Reason
	}](cause); ok {
		return r.Reason().String()
	}
	return "the server ended the publish; start the encoder again"
}

// watch ends the wait for the next message when the publication's context ends.
func (c *conn) watch() {
	c.stopWaiting()
	c.s.stats.Publishing.Add(1)
	c.nc.SetReadDeadline(time.Time{}) // from here on the media idle clock counts
	// Writes too: a peer that reads nothing must not hold up its own end.
	c.unwatch = context.AfterFunc(c.pub.Context(), func() { c.nc.SetDeadline(time.Unix(1, 0)) })
}

func (c *conn) stopWatching() {
	if c.unwatch != nil {
		c.unwatch()
		c.unwatch = nil
		c.s.stats.Publishing.Add(-1)
	}
}

// stopWaiting gives the connection's place among those that have not published
// to another.
func (c *conn) stopWaiting() {
	if c.waiting {
		c.waiting = false
		c.s.waiting.Add(-1)
	}
}

// handle deals with one message. An error ends the connection.
func (c *conn) handle(m chunk.Message) error {
	switch m.Type {
	case chunk.TypeAudio, chunk.TypeVideo:
		if c.pub == nil {
			return nil // before Publish.Start, or after the end: nobody's
		}
		c.pub.Arrived(len(m.Body))
		if m.Type == chunk.TypeVideo {
			return c.in.video(m.Time, m.Body)
		}
		return c.in.audio(m.Time, m.Body)
	case chunk.TypeDataAMF0, chunk.TypeDataAMF3:
		if c.pub != nil {
			c.data(m)
			c.cue(m)
		}
	case chunk.TypeCommandAMF0, chunk.TypeCommandAMF3:
		cmd, err := rtmp.ParseCommand(m)
		if err != nil {
			c.log.Debug("rtmp: command ignored", "err", err)
			return nil
		}
		return c.command(m.StreamID, cmd)
	}
	return nil // aggregates, shared objects and what the future brings
}

// publish asks whether the stream may come, and says so.
func (c *conn) publish(streamID uint32, name string) error {
	if c.pub != nil {
		status, _ := refusal(errPublishing)
		return c.rc.SendStatus(streamID, status) // the one that runs goes on
	}
	key := streamKey(name, c.appKey)
	c.pubID = streamID
	pub, err := c.ask(key)
	if err != nil {
		status, known := refusal(err)
		c.s.stats.Refused.Add(1)
		if !known {
			c.log.Error("rtmp: publish cannot be accepted", "err", err)
		}
		return &hangup{status, err}
	}
	c.pub, c.pubName = pub, key
	c.in, c.told = newIntake(pub, &c.s.stats), told{}
	c.rc.SetLimits(chunk.WhilePublishing)
	c.watch()
	c.log.Debug("publish begins", "encoder", c.encoder)
	if err := c.rc.StreamBegin(streamID); err != nil {
		return err
	}
	return c.rc.SendStatus(streamID, rtmp.Status{Level: rtmp.LevelStatus, Code: rtmp.PublishStart, Description: "publishing"})
}

// ask puts the question, within what is left of the time to publish.
func (c *conn) ask(key string) (Publication, error) {
	switch {
	case key == "":
		return nil, errNoKey
	case len(key) > maxKey:
		return nil, errLongKey
	}
	proto := "rtmp"
	if c.secure {
		proto = "rtmps"
	}
	ctx, cancel := context.WithTimeout(c.ctx, publishTimeout)
	defer cancel()
	return c.s.cfg.Publish(ctx, ingest.Request{
		Key: secret.New(key), Remote: c.nc.RemoteAddr().String(), Encoder: c.encoder, Proto: proto,
	})
}

// unpublish ends the publication cleanly. The connection stays for a while, so
// that the encoder may close it or publish again.
func (c *conn) unpublish() error {
	id := c.pubID
	c.stopWatching()
	c.pub.Unpublish()
	c.log.Debug("publish ends", "cause", "unpublished", "received", c.rc.Received(), "frames", c.in.frames, "dropped", c.in.dropped)
	c.pub, c.pubID = nil, 0
	c.rc.SetLimits(chunk.BeforePublish)
	c.nc.SetReadDeadline(time.Now().Add(publishTimeout))
	return c.rc.SendStatus(id, rtmp.Status{Level: rtmp.LevelStatus, Code: rtmp.UnpublishSuccess, Description: "the stream has ended"})
}
