package webhook

import (
	"bytes"
	"encoding/json"

	"tally/internal/livestream"
)

// An Event is a notice as the wire has it (contract 5.6, in camelCase unlike the
// REST answers): what is sent to webhooks, and an entry of the feed. The fields
// from SessionID on are ours.
type Event struct {
	Event        string            `json:"event"`
	StreamID     string            `json:"streamId"`
	Status       livestream.Status `json:"status"`
	ManualIngest bool              `json:"manualIngest"`
	PlaybackURL  string            `json:"playbackUrl"`
	IngestServer string            `json:"ingestServer"`
	StreamKey    string            `json:"streamKey"`
	Meeting      *Meeting          `json:"meeting,omitempty"`

	SessionID  string  `json:"sessionId"`
	Health     string  `json:"health,omitempty"`
	ErrMessage *string `json:"errMessage"`
	At         string  `json:"at"`
	Seq        int64   `json:"seq"`
	StreamSeq  int64   `json:"streamSeq"`
	Test       bool    `json:"test,omitempty"` // nothing happened: somebody asked for a sample
}

// A Meeting is what an event says of a meeting. A meeting is LIVE while its
// livestream's session is open, and ENDED then: it has no sessions of its own.
type Meeting struct {
	ID          string    `json:"id"`
	Title       *string   `json:"title"`
	CreatedAt   string    `json:"createdAt"`
	Status      string    `json:"status"`
	OrganizedBy Organizer `json:"organizedBy"`
}

// An Organizer is the app that a meeting belongs to.
type Organizer struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// stampLayout needs a time in UTC.
const stampLayout = "2006-01-02T15:04:05.000Z"

// EventOf puts a notice into words for who reaches the server at public (without
// a slash at the end) and publishes to ingest (with one).
func EventOf(n livestream.Notice, public, ingest string) Event {
	e := Event{
		Event: n.Event, StreamID: n.LivestreamID, Status: n.Status, ManualIngest: n.ManualIngest,
		PlaybackURL: public + "/hls/" + n.PlaybackID + "/index.m3u8", IngestServer: ingest, StreamKey: n.StreamKey.Reveal(),
		SessionID: n.SessionID, Health: n.Health, At: n.At.UTC().Format(stampLayout), Seq: n.Seq, StreamSeq: n.StreamSeq,
	}
	if n.ErrMessage != "" {
		e.ErrMessage = &n.ErrMessage
	}
	if m := n.Meeting; m != nil {
		e.Meeting = &Meeting{
			ID: m.ID, CreatedAt: m.CreatedAt.UTC().Format(stampLayout), Status: "LIVE",
			OrganizedBy: Organizer{ID: n.AppID, Name: m.AppName},
		}
		if m.HasTitle {
			e.Meeting.Title = &m.Title
		}
		if n.Status == livestream.StatusOffline {
			e.Meeting.Status = "ENDED"
		}
	}
	return e
}

// body is what w is sent of n.
func (e *Engine) body(w livestream.Webhook, n livestream.Notice) []byte {
	return encode(EventOf(n, e.publicOf(w), e.ingestOf(w)))
}

func (e *Engine) publicOf(w livestream.Webhook) string {
	if e.PublicURL != "" {
		return e.PublicURL
	}
	return w.Public
}

func (e *Engine) ingestOf(w livestream.Webhook) string {
	if e.IngestURL != "" {
		return e.IngestURL
	}
	return w.Ingest
}

func encode(v Event) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // texts, numbers and booleans always marshal
	}
	return bytes.TrimSpace(b.Bytes())
}
