package cli

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// carried are the members of a meeting that create takes.
var carried = []string{
	"title", "record_on_start", "live_stream_on_start", "persist_chat", "summarize_on_end", "transcribe_on_end",
	"session_keep_alive_time_in_secs", "recording_config", "ai_config",
}

// meeting makes sure that a meeting of the source is here, under its id, and
// says what became of it. The error is for what ends the whole import.
func (m *mover) meeting(ctx context.Context, id string) (*importedMeeting, error) {
	if known := m.meetings[id]; known != nil {
		return known, nil
	}
	at := &importedMeeting{ID: id}
	m.meetings[id] = at
	m.account.Meetings = append(m.account.Meetings, at)
	var own Meeting
	_, err := m.here.do(ctx, http.MethodGet, meetingPath(id, ""), nil, &own)
	if err == nil {
		at.State, at.Title = stateSkipped, own.Title
		return at, nil
	}
	if !notFound(err) {
		return at, err
	}
	there := map[string]any{}
	if _, err := m.from.do(ctx, http.MethodGet, meetingPath(id, ""), nil, &there); err != nil {
		if !notFound(err) {
			return at, atSource(err)
		}
		at.Note = "the source does not know it any more; it is made without a title"
	}
	at.Title, _ = there["title"].(string)
	at.inactive = there["status"] == "INACTIVE"
	if m.dry {
		at.State = statePlanned
		return at, nil
	}
	return at, m.createMeeting(ctx, at, there)
}

// createMeeting creates a meeting with what the source says of it. Upstream
// never shows the secrets of a recording's storage, so its configuration may
// not be whole: where it is refused, the meeting is made without it.
func (m *mover) createMeeting(ctx context.Context, at *importedMeeting, there map[string]any) error {
	body := map[string]any{"tally": map[string]any{"id": at.ID}}
	for _, name := range carried {
		if v, ok := there[name]; ok && v != nil {
			body[name] = v
		}
	}
	for {
		_, err := m.here.do(ctx, http.MethodPost, "meetings", body, nil)
		if err == nil {
			at.State = stateCreated
			if recording, _ := body["recording_config"].(map[string]any); recording["storage_config"] != nil {
				at.note("its recording storage came without its secrets, which no answer shows: set them again")
			}
			return nil
		}
		name := refusedMember(err)
		if _, sent := body[name]; !sent || name == "tally" {
			at.State, at.Note = stateFailed, oneLine(err)
			return fatal(err)
		}
		delete(body, name)
		at.note("without " + name + ", which this server refuses")
	}
}

// note adds to what is to be known of a meeting.
func (at *importedMeeting) note(text string) {
	at.Note = strings.TrimPrefix(at.Note+"; "+text, "; ")
}

// refusedMember is the member of the body that a 400 names; "" for none.
func refusedMember(err error) string {
	var status *StatusError
	if !errors.As(err, &status) || status.Status != http.StatusBadRequest {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(status.Pointer, "/"), "/")
	return name
}

// deactivate closes the meetings that are closed there, once they have their
// livestreams.
func (m *mover) deactivate(ctx context.Context) error {
	for _, at := range m.account.Meetings {
		if !at.inactive || at.State != stateCreated {
			continue
		}
		if _, err := m.here.do(ctx, http.MethodPatch, meetingPath(at.ID, ""), map[string]any{"status": "INACTIVE"}, nil); err != nil {
			at.note("INACTIVE there, and still ACTIVE here")
			return err
		}
	}
	return nil
}
