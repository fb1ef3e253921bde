package playback

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/playtoken"
	"tally/internal/viewer"
)

// An access is who may watch a playback id: its livestream's policy and allowed
// origins, and what was revoked. It is immutable; a change replaces it. So a
// request is admitted by reading it and nothing else: no lock, no look-up, no
// allocation (docs/private-playback.md).
type access struct {
	scope        livestream.Scope
	livestreamID string
	playbackID   string
	signed       bool
	origins      []string // of pages, as input.Origins spells them; empty: any
	// Revocations in force: who was let in, or whose token was issued, up to then
	// is let in no more. By the hash of a viewer's name; by that of a token, for
	// good, which every viewer id holds that was minted for it.
	all    time.Time // zero: nobody
	names  map[uint64]time.Time
	tokens map[uint32]bool
	newest time.Time // of all and names

	// ctx ends when this access is replaced, with errChanged as its cause, and when
	// the server stops.
	ctx     context.Context
	replace context.CancelCauseFunc
}

// open reports whether every request is admitted.
func (a *access) open() bool { return !a.signed && len(a.origins) == 0 }

// An admission says why a request may be answered. The zero admission is of one
// that nothing was asked of.
type admission struct {
	access *access
	stream *hls.Stream // the run that the path names, where it is in memory: found once
	// The viewer id of a private livestream, once it was verified; else the one in
	// the path has yet to be.
	verified bool
	id       viewer.ID
	grant    viewer.Grant // zero without a private livestream
	fresh    bool         // grant is a token's: no viewer id holds it yet
}

// private reports whether the answer is for this viewer alone.
func (a admission) private() bool { return a.access != nil && a.access.signed }

// What is refused of private livestreams. The text is what the person reads who
// opened the link, or the one who embeds it.
var (
	errNoToken     = errors.New("this livestream is private: open it with ?token=TOKEN, which you get from whoever runs it")
	errNoGrant     = errors.New("this livestream is private: begin at its index.m3u8?token=TOKEN")
	errTwoTokens   = errors.New("the token is there twice: give one")
	errGrantEnded  = errors.New("the time for which your token let you watch is over: ask for a new one")
	errRevoked     = errors.New("your access to this livestream was taken back: ask whoever runs it")
	errSharedMedia = errors.New("this livestream is private: its media have no address that viewers share, begin at its index.m3u8?token=TOKEN")
	errOrigin      = errors.New("this livestream may not be played on this site: whoever runs it can add the site's origin to allowed_origins")

	// errChanged ends waits when it changed who may watch: whoever waited is asked
	// again for a token or a viewer id.
	errChanged = errors.New("it has changed who may watch")
)

// refusals are the errors that are a 403, with a word by which a page tells them
// apart.
var refusals = []struct {
	err  error
	word string
}{
	{errNoToken, "token_required"},
	{errNoGrant, "token_required"},
	{errSharedMedia, "token_required"},
	{errTwoTokens, "token_invalid"},
	{errGrantEnded, "expired"},
	{errRevoked, "revoked"},
	{errOrigin, "origin"},
	{playtoken.ErrExpired, "expired"},
	{playtoken.ErrNotYet, "not_yet"},
	{playtoken.ErrMalformed, "token_invalid"},
	{playtoken.ErrClaims, "token_invalid"},
	{playtoken.ErrKey, "token_invalid"},
	{playtoken.ErrSignature, "token_invalid"},
	{playtoken.ErrLifetime, "token_invalid"},
	{playtoken.ErrSubject, "token_invalid"},
	{playtoken.ErrAudience, "token_invalid"},
}

// refusalWord is the word of a 403; "" for other errors.
func refusalWord(err error) string {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return ""
}

// admitted answers a request that may be answered. Where a wait within ended
// because it changed who may watch, the request is looked at anew.
func (h *Handler) admitted(w http.ResponseWriter, r *http.Request, p *path) error {
	if st := h.registry.Run(p.playbackID, p.run); st != nil { // nearly all there are
		if acc := accessOn(st); acc != nil && acc.open() {
			p.access, p.stream = acc, st
			if err := h.serve(w, r, p); !errors.Is(err, errChanged) {
				return err
			}
		}
	}
	for {
		a, err := h.admission(r, p)
		h.allowOrigin(w, r, a.access)
		if err != nil {
			return err
		}
		if a.private() { // before what the handlers say, which leave it for media
			w.Header()["Cache-Control"] = privateImmutable
		}
		p.admission = a
		if err = h.serve(w, r, p); !errors.Is(err, errChanged) {
			return err
		}
	}
}

// admission decides whether a request may be answered. It reads no clock and
// verifies nothing where everything is public.
func (h *Handler) admission(r *http.Request, p *path) (admission, error) {
	acc, err := h.accessOf(r.Context(), p)
	if err != nil {
		return admission{}, inPlace(err, p)
	}
	a := admission{access: acc}
	if acc == nil || acc.open() {
		return a, nil
	}
	if len(acc.origins) > 0 && !h.fromAllowed(r, acc) {
		return a, errOrigin
	}
	switch {
	case !acc.signed:
		return a, nil
	case p.viewer != "":
		err = a.byViewer(h.signer, p.viewer, errNoGrant)
		return a, err
	case p.run != "":
		return a, errSharedMedia
	}
	err = h.byQuery(r, &a)
	return a, err
}

// of returns the run that the path names, or nil when it is not in memory.
func (p *path) of(r *hls.Registry) *hls.Stream {
	if p.stream != nil {
		return p.stream
	}
	return r.Run(p.playbackID, p.run)
}

// inPlace is an error of accessOf as the file's handler would have it.
func inPlace(err error, p *path) error {
	if errors.Is(err, errUnknown) && (p.file == filePart || p.file == fileSegment || p.file == fileInit) {
		return errNotListed
	}
	return err
}

// accessOf returns who may watch what the path names; nil for a beacon of what
// is unknown, which counts nothing. A run in memory has it at hand.
func (h *Handler) accessOf(ctx context.Context, p *path) (*access, error) {
	var st *hls.Stream
	if p.run != "" {
		st = h.registry.Run(p.playbackID, p.run)
	} else {
		st = h.registry.Stream(p.playbackID)
	}
	if st != nil {
		if acc := accessOn(st); acc != nil {
			return acc, nil
		}
	}
	acc, err := h.accesses.of(ctx, p.playbackID)
	if errors.Is(err, livestream.ErrNotFound) {
		if err = errUnknown; p.file == fileBeacon {
			err = nil
		}
	}
	return acc, err
}

// byViewer admits whoever has a viewer id with a grant. none is the error for an
// id that has none.
func (a *admission) byViewer(signer *viewer.Signer, text string, none error) error {
	id, grant, ok := signer.VerifyGrant(a.access.playbackID, text)
	if !ok {
		return none
	}
	if err := a.access.admits(id, grant); err != nil {
		return err
	}
	a.verified, a.id, a.grant = true, id, grant
	return nil
}

// admits compares a verified id with the clock and with what was revoked.
func (acc *access) admits(id viewer.ID, g viewer.Grant) error {
	switch issued := id.IssuedAt(); {
	case acc.tokens[g.Token], revokedBy(acc.all, issued), g.Name != 0 && revokedBy(acc.names[g.Name], issued):
		return errRevoked
	case time.Now().Unix() >= int64(g.Until):
		return errGrantEnded
	}
	return nil
}

// revokedBy reports whether what was issued in that second is revoked.
func revokedBy(revoked, issued time.Time) bool {
	return !revoked.IsZero() && issued.Unix() <= revoked.Unix()
}

// byQuery admits whoever brings a token, or a viewer id that was minted for one.
func (h *Handler) byQuery(r *http.Request, a *admission) error {
	text, token, twice := accessQuery(r.URL.RawQuery)
	byViewer := errNoToken
	if text != "" {
		byViewer = a.byViewer(h.signer, text, errNoToken)
	}
	switch {
	case twice:
		return errTwoTokens
	case token == "":
		return byViewer
	}
	grant, err := h.byToken(r.Context(), a.access, token)
	switch {
	case err != nil && byViewer == nil:
		return nil // the token has expired, say, and it goes on for who is in
	case err != nil:
		return err
	case byViewer == nil && grant.Until <= a.grant.Until:
		return nil
	}
	a.verified, a.id, a.grant, a.fresh = false, viewer.ID{}, grant, true
	return nil
}

// byToken checks a token and what was revoked, and returns what it grants.
func (h *Handler) byToken(ctx context.Context, acc *access, token string) (viewer.Grant, error) {
	if h.tokens == nil {
		return viewer.Grant{}, playtoken.ErrKey
	}
	c, err := h.tokens.Verify(ctx, acc.scope, token, time.Now())
	if err != nil {
		return viewer.Grant{}, err
	}
	if err := c.For(acc.livestreamID, acc.playbackID); err != nil {
		return viewer.Grant{}, err
	}
	signed := token[:strings.LastIndexByte(token, '.')] // there is one: it was verified
	g := viewer.Grant{Until: uint32(c.Until.Unix()), Token: h.signer.TokenHash(acc.playbackID, []byte(signed))}
	if c.Viewer != "" {
		g.Name = h.signer.NameHash(acc.playbackID, c.Viewer)
	}
	before := func(revoked time.Time) bool { return !revoked.IsZero() && !c.IssuedAt.After(revoked) }
	if acc.tokens[g.Token] || before(acc.all) || g.Name != 0 && before(acc.names[g.Name]) {
		return viewer.Grant{}, errRevoked
	}
	return g, nil
}

// accessQuery reads viewer and token of a query; twice: there are two tokens.
func accessQuery(rawQuery string) (id, token string, twice bool) {
	for rest := rawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		switch name, value, _ := strings.Cut(pair, "="); name {
		case "viewer":
			id = value
		case "token":
			token, twice = value, twice || token != ""
		}
	}
	return id, token, twice
}

// appendGranted appends a new viewer id for a token. It is of a later second than
// what was revoked, or it would be taken for one of before.
func (h *Handler) appendGranted(dst []byte, a admission, promised bool) []byte {
	issued := time.Now()
	if !a.access.newest.IsZero() {
		issued = later(issued, a.access.newest.Add(time.Second))
	}
	return h.signer.AppendMintGranted(dst, a.access.playbackID, promised, issued, a.grant)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// held returns a context for a wait of the request: it ends with the request,
// with expired after d, with errStopping when the server stops, with errChanged
// when it changes who may watch, and with errGrantEnded when this viewer's time is
// over. See [Handler.hold], for media.
func (h *Handler) held(r *http.Request, p *path, d time.Duration, expired error) (context.Context, func()) {
	changed := h.drain
	if p.access != nil {
		changed = p.access.ctx
	}
	if p.grant.Until != 0 {
		if left := time.Until(time.Unix(int64(p.grant.Until), 0)); left < d {
			d, expired = left, errGrantEnded
		}
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), d, expired)
	ctx, cancelCause := context.WithCancelCause(ctx)
	stop := context.AfterFunc(changed, func() { cancelCause(context.Cause(changed)) })
	return ctx, func() {
		stop()
		cancelCause(nil)
		cancel()
	}
}
