package rtmpserver

import (
	"errors"

	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
)

// maxStreams is how many message streams a connection gets. Encoders use one.
const maxStreams = 16

// command routes one command. What is not known is answered with _error if an
// answer is expected; nothing but a refusal ends the connection.
func (c *conn) command(streamID uint32, cmd rtmp.Command) error {
	if cmd.Name == "connect" {
		return c.connect(cmd)
	}
	if !c.connected {
		return c.callFailed(cmd, "connect comes first")
	}
	switch cmd.Name {
	case "createStream":
		if c.streams == maxStreams {
			return c.callFailed(cmd, "too many streams on this connection")
		}
		c.streams++
		return c.result(cmd, nil, float64(c.streams))
	case "publish":
		if stop, ok := cmd.Arg(0).(bool); ok && !stop && c.pub != nil {
			return c.unpublish() // publish(false) ends a stream (ActionScript reference, NetStream.publish)
		}
		return c.publish(streamID, cmd.TextArg(0))
	case "releaseStream", "FCPublish", "_checkbw":
		// What they are for elsewhere, publish does here. Encoders go on
		// without waiting for an answer, but some log its absence.
		return c.result(cmd, nil)
	case "getStreamLength":
		return c.result(cmd, nil, 0.0)
	case "FCUnpublish":
		if c.pub != nil && c.ownName(cmd.TextArg(0)) {
			return errors.Join(c.unpublish(), c.result(cmd, nil))
		}
		return c.result(cmd, nil)
	case "deleteStream":
		if id, ok := cmd.Arg(0).(float64); c.pub != nil && (!ok || id == float64(c.pubID)) {
			return c.unpublish()
		}
		return nil // no answer is defined (section 7.2.2.3)
	case "closeStream":
		if c.pub != nil && streamID == c.pubID {
			return c.unpublish()
		}
		return nil
	case "play", "play2":
		c.s.stats.Refused.Add(1)
		return c.rc.SendStatus(streamID, rtmp.Status{Level: rtmp.LevelError, Code: rtmp.PlayFailed,
			Description: "this server does not play over RTMP; open the livestream's playback URL"})
	case "_result", "_error", "onStatus", "onBWDone":
		return nil // answers, to nothing we asked
	}
	return c.callFailed(cmd, "the server does not know this command")
}

// connect accepts the one app there is (section 7.2.1.1).
func (c *conn) connect(cmd rtmp.Command) error {
	if c.connected {
		return c.callFailed(cmd, "already connected")
	}
	key, ok := splitApp(amf0.Text(cmd.Object, "app"), amf0.Text(cmd.Object, "tcUrl"))
	if !ok {
		c.s.stats.Refused.Add(1)
		status := rtmp.Status{Level: rtmp.LevelError, Code: rtmp.ConnectRejected,
			Description: "the application is " + App + "; set the encoder's server to rtmp://HOST/" + App + " and put the key into its own field"}
		if err := c.rc.SendCommand(0, "_error", cmd.Transaction, nil, status.Object()); err != nil {
			return err
		}
		return &hangup{cause: errors.New("connect to another app")}
	}
	c.connected, c.appKey = true, key
	c.encoder = plain(amf0.Text(cmd.Object, "flashVer"))
	if err := c.rc.Announce(); err != nil {
		return err
	}
	// Encoders look at these two properties to tell the server's age; the
	// values are those that most servers send.
	properties := amf0.Object{{Name: "fmsVer", Value: "FMS/3,0,1,123"}, {Name: "capabilities", Value: 31.0}}
	// objectEncoding 0: AMF0, also for those who asked for AMF3.
	more := amf0.Object{{Name: "objectEncoding", Value: 0.0}}
	c.canReconnect = reconnects(cmd.Object)
	if enhanced(cmd.Object) {
		// "Some properties within an Object as one of the parameters": the
		// specification does not say which object, so both have them.
		properties, more = append(properties, capabilities()...), append(more, capabilities()...)
	}
	status := rtmp.Status{Level: rtmp.LevelStatus, Code: rtmp.ConnectSuccess, Description: "connected"}
	return c.result(cmd, properties, status.Object(more...))
}

func (c *conn) result(cmd rtmp.Command, object any, args ...any) error {
	if cmd.Transaction == 0 {
		return nil
	}
	return c.rc.SendCommand(0, "_result", cmd.Transaction, object, args...)
}

func (c *conn) callFailed(cmd rtmp.Command, why string) error {
	if cmd.Transaction == 0 {
		return nil
	}
	return c.rc.SendCommand(0, "_error", cmd.Transaction, nil,
		rtmp.Status{Level: rtmp.LevelError, Code: rtmp.CallFailed, Description: why}.Object())
}

// ownName reports whether FCUnpublish means the stream we publish. There is
// one per connection; a name is only compared where there is one.
func (c *conn) ownName(name string) bool {
	name = streamKey(name, c.appKey)
	return name == "" || name == c.pubName
}
