package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// ImportCmd is `tally import`.
type ImportCmd struct {
	APIFlags
	FromFlags
	DryRun bool `help:"Read both sides, say what would be done, and change nothing."`
	JSON   bool `name:"json" help:"Print what was done as JSON."`
}

// Help implements kong.HelpProvider.
func (ImportCmd) Help() string {
	return `Reads every livestream of an account through the calls of the official clients, and the
meetings they belong to, and creates them here: names and meeting ids stay, keys and addresses
are new. What is here already is skipped, so it can be run again.

Example:

  tally import --from-base https://api.cloudflare.com/client/v4 --from-token TOKEN \
    --from-account ACCOUNT --from-app APP --dry-run`
}

// States of what is imported.
const (
	stateCreated = "created"
	stateSkipped = "skipped"
	stateFailed  = "failed"
	statePlanned = "would create" // --dry-run
	stateNotDone = "not done"     // the import ended before
)

// An imported is one livestream of the source and what became of it.
type imported struct {
	From  importedFrom `json:"from"`
	To    *importedTo  `json:"to"` // nil: nothing here
	State string       `json:"state"`
	Note  string       `json:"note,omitempty"` // why, or what is different here

	disabled bool
}

type importedFrom struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	MeetingID string `json:"meeting_id"`
}

type importedTo struct {
	ID           string `json:"id"`
	IngestServer string `json:"ingest_server"`
	StreamKey    string `json:"stream_key"`
	PlaybackURL  string `json:"playback_url"`
}

func toHere(l Livestream) *importedTo {
	return &importedTo{l.ID, l.IngestServer, l.StreamKey, l.PlaybackURL}
}

// An importedMeeting is one that a livestream belongs to, and what became of it.
type importedMeeting struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	State string `json:"state"`
	Note  string `json:"note,omitempty"`

	inactive bool
}

// An importAccount tells what an import did, whether it came to its end or not.
type importAccount struct {
	Livestreams []*imported        `json:"livestreams"`
	Meetings    []*importedMeeting `json:"meetings"`
	Error       string             `json:"error,omitempty"` // why it ended early
}

// Run implements the command.
func (c *ImportCmd) Run(ctx context.Context, s *Streams) error {
	line := NewLiveLine(&Streams{Out: s.Err})
	from, err := c.source(line.Print)
	if err != nil {
		return err
	}
	here, err := c.client()
	if err != nil {
		return err
	}
	if here.url("") == from.url("") {
		return Usagef("--from-base, --from-account and --from-app name the app that livestreams would be created in")
	}
	here.bePatient("this server", line.Print)
	m := &mover{from: from, here: here, dry: c.DryRun, line: line, meetings: map[string]*importedMeeting{}}
	err = m.run(ctx)
	line.End()
	return c.tell(s, m.account, err)
}

// tell prints the account. An import that ended early, or in which something
// failed, is a failure.
func (c *ImportCmd) tell(s *Streams, a importAccount, err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("stopped")
	}
	if err != nil {
		a.Error = oneLine(err)
	}
	if c.JSON {
		if a.Livestreams == nil {
			a.Livestreams = []*imported{}
		}
		if a.Meetings == nil {
			a.Meetings = []*importedMeeting{}
		}
		if err := s.JSON(a); err != nil {
			return err
		}
	} else if err := a.print(s); err != nil {
		return err
	}
	failed := a.count(stateFailed)
	switch {
	case err != nil && len(a.Livestreams) > 0:
		return fmt.Errorf("ended early, with %d of %d livestreams not done: %w; run it again to go on", a.count(stateNotDone), len(a.Livestreams), err)
	case err != nil:
		return err
	case failed > 0:
		return fmt.Errorf("%d of %d livestreams could not be created; the table says why", failed, len(a.Livestreams))
	}
	return nil
}

func (a importAccount) count(state string) int {
	n := 0
	for _, i := range a.Livestreams {
		if i.State == state {
			n++
		}
	}
	return n
}

// print is the account for people: a table of livestreams, old to new, and what
// is to be known of meetings.
func (a importAccount) print(s *Streams) error {
	if len(a.Livestreams) == 0 {
		if a.Error == "" {
			s.Printf("the source has no livestreams\n")
		}
		return nil
	}
	var rows [][]string
	loopback := false
	for _, i := range a.Livestreams {
		to := importedTo{}
		if i.To != nil {
			to = *i.To
			loopback = loopback || onlyHere(to.PlaybackURL)
		}
		rows = append(rows, []string{i.From.ID, to.ID, i.From.Name, i.State, to.IngestServer, to.StreamKey, to.PlaybackURL, i.Note})
	}
	if err := s.table("OLD ID|NEW ID|NAME|STATE|SERVER|STREAM KEY|PLAYBACK URL|NOTE", rows); err != nil {
		return err
	}
	for _, m := range a.Meetings {
		if m.Note != "" || m.State != stateSkipped {
			s.Printf("meeting %s  %s: %s%s\n", m.ID, cmp.Or(printable(m.Title), "(no title)"), m.State, note(m.Note))
		}
	}
	for _, state := range []string{stateCreated, statePlanned, stateSkipped, stateFailed, stateNotDone} {
		if n := a.count(state); n > 0 {
			s.Printf("%d %s\n", n, state)
		}
	}
	if loopback {
		fmt.Fprintln(s.Err, "the addresses are as this command reached the server; give --api-base with its public name to see those that others use")
	}
	return nil
}

func note(text string) string {
	if text == "" {
		return ""
	}
	return ", " + printable(text)
}

// onlyHere reports whether an address works on this machine alone.
func onlyHere(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// A mover carries livestreams from one side to the other, one at a time: what
// it did is always known.
type mover struct {
	from, here *Client
	dry        bool
	line       *LiveLine
	account    importAccount
	meetings   map[string]*importedMeeting // by id; nil: could not be made
}

// run does it all. On error account tells how far it came.
func (m *mover) run(ctx context.Context) error {
	there, err := m.from.allLivestreams(ctx, func(n, total int) {
		m.line.Update("read", fmt.Sprintf("reading the source: %d of %d", n, max(n, total)))
	})
	if err != nil {
		return atSource(err)
	}
	known, err := m.here.allLivestreams(ctx, func(int, int) {})
	if err != nil {
		return err
	}
	m.account.Livestreams = plan(there, known)
	done := 0
	for _, i := range m.account.Livestreams {
		if i.State != stateNotDone {
			continue
		}
		if !m.dry {
			m.line.Update("create", fmt.Sprintf("creating %d of %d", done+1, done+m.account.count(stateNotDone)))
		}
		if err := m.move(ctx, i); err != nil {
			return err
		}
		done++
	}
	return m.deactivate(ctx)
}

// plan says of each livestream of the source whether it is here. An independent
// one is known by its name: of three with one name there and two here, one is
// missing. A meeting has one livestream here, so of several there the newest
// counts.
func plan(there, here []Livestream) []*imported {
	type key struct{ name, meeting string }
	known := map[key][]Livestream{}
	for _, l := range here {
		k := key{l.Name, ""}
		if l.MeetingID != "" {
			k = key{"", l.MeetingID}
		}
		known[k] = append(known[k], l)
	}
	newest := map[string]string{}
	for _, l := range there {
		newest[l.MeetingID] = l.ID
	}
	var items []*imported
	for _, l := range there {
		i := &imported{From: importedFrom{l.ID, l.Name, l.MeetingID}, State: stateNotDone, disabled: bool(l.Disabled)}
		items = append(items, i)
		k := key{l.Name, ""}
		if l.MeetingID != "" {
			k = key{"", l.MeetingID}
		}
		same := known[k]
		switch {
		case l.MeetingID != "" && newest[l.MeetingID] != l.ID:
			i.State, i.Note = stateSkipped, "a newer livestream of the same meeting stands for it: "+newest[l.MeetingID]
		case len(same) > 0 && l.MeetingID != "":
			i.State, i.To, i.Note = stateSkipped, toHere(same[0]), "this meeting has its livestream here already"
		case len(same) > 0:
			i.State, i.To, i.Note = stateSkipped, toHere(same[0]), "a livestream of this name is here already"
			known[k] = same[1:]
		}
	}
	return items
}

// move creates one livestream. What is wrong with this one alone becomes its
// note; the error is for what ends the whole import.
func (m *mover) move(ctx context.Context, i *imported) error {
	if i.From.MeetingID != "" {
		meeting, err := m.meeting(ctx, i.From.MeetingID)
		if err != nil {
			return err
		}
		if meeting.State == stateFailed {
			i.State, i.Note = stateFailed, "its meeting could not be created: "+meeting.Note
			return nil
		}
	}
	if m.dry {
		i.State = statePlanned
		return nil
	}
	body := map[string]any{}
	if i.From.Name != "" {
		body["name"] = i.From.Name
	}
	if i.From.MeetingID != "" {
		tallyOf(body)["meeting_id"] = i.From.MeetingID
	}
	var l Livestream
	if _, err := m.here.do(ctx, http.MethodPost, "livestreams", body, &l); err != nil {
		if err := fatal(err); err != nil {
			i.Note = "asked for, and no answer came; the next run sees whether it is here"
			return err
		}
		i.State, i.Note = stateFailed, oneLine(err)
		return nil
	}
	i.State, i.To = stateCreated, toHere(l)
	if !i.disabled {
		return nil
	}
	i.Note = "disabled, as there"
	if _, err := m.here.do(ctx, http.MethodPut, livestreamPath(l.ID, "disable"), nil, nil); err != nil {
		i.Note = "disabled there, and could not be disabled here: do it with `tally livestream disable`"
		return fatal(err)
	}
	return nil
}

// fatal returns err unless it is the refusal of one object, which says nothing
// of the next.
func fatal(err error) error {
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusBadRequest || status.Status == http.StatusNotFound) {
		return nil
	}
	return err
}
