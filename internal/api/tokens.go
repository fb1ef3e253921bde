package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"tally/internal/api/input"
	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/secret"
)

// Tokens are of an account, not of an app, and are ours: upstream's are made
// elsewhere.
const tokensPath = "/accounts/{account_id}/tally/tokens"

const maxTokenApps = 100

// tokenObject is a token as it is known: its text is in createdToken alone.
type tokenObject struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Scopes     []string `json:"scopes"`
	AppIDs     []string `json:"app_ids"` // empty: every app of the account
	CreatedAt  stamp    `json:"created_at"`
	ExpiresAt  stamp    `json:"expires_at"`
	RevokedAt  stamp    `json:"revoked_at"`
	LastUsedAt stamp    `json:"last_used_at"`
}

type createdToken struct {
	tokenObject
	Token string `json:"token"`
}

func tokenOf(k livestream.Token) tokenObject {
	return tokenObject{
		ID: k.ID, Name: k.Name, Scopes: append([]string{}, k.Scopes...), AppIDs: append([]string{}, k.AppIDs...),
		CreatedAt: stamp(k.CreatedAt), ExpiresAt: stamp(k.ExpiresAt), RevokedAt: stamp(k.RevokedAt),
		LastUsedAt: stamp(k.LastUsedAt),
	}
}

// createToken makes a token. Its text is in this answer and nowhere else.
func createToken(s *server, w http.ResponseWriter, rq *request) error {
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	k, err := s.newToken(rq, body)
	if err != nil {
		return err
	}
	var text secret.String
	text, k.Hash = auth.NewToken()
	if err := s.Store.CreateToken(rq.Context(), k); err != nil {
		return err
	}
	return s.reply(w, http.StatusCreated, createdToken{tokenOf(k), text.Reveal()}, nil)
}

// newToken reads what a token is to be.
func (s *server) newToken(rq *request, body input.Object) (livestream.Token, error) {
	now := s.Now()
	k := livestream.Token{ID: livestream.NewUUID(), AccountID: rq.AccountID, CreatedAt: now}
	name, ok := body.Text("name")
	if k.Name = name; name == "" && (ok || body.Raw("name") == nil) {
		body.Fault("name", "is needed: say who has the token, for what")
	}
	k.Scopes, ok = body.Texts("scopes", len(auth.Groups()))
	if len(k.Scopes) == 0 && (ok || body.Raw("scopes") == nil) {
		body.Fault("scopes", "is needed: one or more of %s", groups())
	}
	if slices.ContainsFunc(k.Scopes, func(g string) bool { return !slices.Contains(auth.Groups(), g) }) {
		body.Fault("scopes", "may hold only %s", groups())
	}
	k.AppIDs, ok = body.Texts("app_ids", maxTokenApps)
	if ok && len(k.AppIDs) == 0 {
		body.Fault("app_ids", "must name an app; leave it out for every app of the account")
	}
	for _, id := range k.AppIDs {
		_, err := s.Store.App(rq.Context(), livestream.Scope{AccountID: rq.AccountID, AppID: id})
		if errors.Is(err, livestream.ErrNotFound) {
			body.Fault("app_ids", "names the app %q, which does not exist", input.Clip(id))
		} else if err != nil {
			return k, err
		}
	}
	k.ExpiresAt, ok = body.Time("expires_at")
	if ok && !k.ExpiresAt.After(now) {
		body.Fault("expires_at", "must be in the future")
	}
	return k, body.Err()
}

// groups are the scopes for a sentence.
func groups() string { return `"` + strings.Join(auth.Groups(), `", "`) + `"` }

// listTokens lists the account's tokens, newest first, also those that are no
// longer in force.
func listTokens(s *server, w http.ResponseWriter, rq *request) error {
	q := input.ParseQuery(rq.URL.RawQuery)
	page := q.Page()
	if err := q.Err(); err != nil {
		return err
	}
	all, total, err := s.Store.Tokens(rq.Context(), rq.AccountID, page)
	if err != nil {
		return err
	}
	items := make([]tokenObject, len(all))
	for i, k := range all {
		items[i] = tokenOf(k)
	}
	p := pagingOf(page, len(all), total)
	return s.reply(w, http.StatusOK, items, &p)
}

func getToken(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("token_id")
	k, err := s.Store.Token(rq.Context(), rq.AccountID, id)
	if err != nil {
		return orMissing(err, "token", id)
	}
	return s.reply(w, http.StatusOK, tokenOf(k), nil)
}

// revokeToken ends a token, also the one that asks. It stays in the list; one
// that was revoked before stays as it is.
func revokeToken(s *server, w http.ResponseWriter, rq *request) error {
	id := rq.PathValue("token_id")
	k, err := s.Store.RevokeToken(rq.Context(), rq.AccountID, id, auth.RealtimeAdmin, s.Now())
	if err != nil {
		return orMissing(err, "token", id)
	}
	s.Auth.Forget(k.Hash)
	return s.reply(w, http.StatusOK, tokenOf(k), nil)
}
