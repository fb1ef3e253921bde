package api

import (
	"errors"
	"net/http"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// appObject is an app (contract 7.11).
type appObject struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt stamp     `json:"created_at"`
	Tally     *appTally `json:"tally,omitempty"` // our own
}

// appTally is what an app may be set to.
type appTally struct {
	Wire string `json:"wire"` // declared or upstream
}

// Names of the wire dialects.
const (
	wireDeclared = "declared"
	wireUpstream = "upstream"
)

func appOf(a livestream.App, tally bool) appObject {
	o := appObject{ID: a.ID, Name: a.Name, CreatedAt: stamp(a.CreatedAt)}
	if tally {
		o.Tally = &appTally{wireDeclared}
		if a.Wire == livestream.WireUpstream {
			o.Tally.Wire = wireUpstream
		}
	}
	return o
}

// listApps lists the account's apps, newest first: those that the token reaches.
func listApps(s *server, w http.ResponseWriter, rq *request) error {
	p := input.ParseQuery(rq.URL.RawQuery)
	q := livestream.AppQuery{
		Page: p.Page(), Search: p.Search("search"), OldestFirst: p.OldestFirst(), IDs: rq.who.Apps(),
	}
	tally := p.Includes("tally")
	if err := p.Err(); err != nil {
		return err
	}
	apps, total, err := s.Store.Apps(rq.Context(), rq.AccountID, q)
	if err != nil {
		return err
	}
	items := make([]appObject, len(apps))
	for i, a := range apps {
		items[i] = appOf(a, tally)
	}
	page := pagingOf(q.Page, len(items), total)
	return s.reply(w, http.StatusOK, items, &page)
}

// createdApp is the data of a create: upstream nests it.
type createdApp struct {
	App appObject `json:"app"`
}

// createApp makes an app. Two of one name are refused, which upstream answers
// with 409 (contract 0.2, no. 8).
func createApp(s *server, w http.ResponseWriter, rq *request) error {
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	if body.Raw("name") == nil {
		body.Fault("name", "is required")
	}
	change := appChange(body)
	if err := body.Err(); err != nil {
		return err
	}
	a := change(livestream.App{AccountID: rq.AccountID, ID: livestream.NewHex32(), CreatedAt: s.Now()})
	if err := s.Store.CreateApp(rq.Context(), a); err != nil {
		return orTaken(err, body)
	}
	return s.reply(w, http.StatusOK, createdApp{appOf(a, v.tally)}, nil)
}

// createdAppAgain answers a retried create.
func createdAppAgain(s *server, w http.ResponseWriter, rq *request, id string) error {
	v, err := s.viewOnly(rq)
	if err != nil {
		return err
	}
	a, err := s.Store.App(rq.Context(), livestream.Scope{AccountID: rq.AccountID, AppID: id})
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, createdApp{appOf(a, v.tally)}, nil)
}

// getApp is ours: the app itself.
func getApp(s *server, w http.ResponseWriter, rq *request) error {
	return s.reply(w, http.StatusOK, appOf(rq.app, true), nil)
}

// changeApp is ours: a new name, another wire dialect.
func changeApp(s *server, w http.ResponseWriter, rq *request) error {
	body, err := input.ReadBody(w, rq.Request)
	if err != nil {
		return err
	}
	change := appChange(body)
	if err := body.Err(); err != nil {
		return err
	}
	a, err := s.Store.UpdateApp(rq.Context(), rq.Scope, change)
	if err != nil {
		return orTaken(orMissing(err, "app", rq.AppID), body)
	}
	return s.reply(w, http.StatusOK, appOf(a, true), nil)
}

// appChange reads what a body sets of an app.
func appChange(body input.Object) func(livestream.App) livestream.App {
	name, hasName := body.Text("name")
	if body.Has("name") && body.Raw("name") == nil || hasName && name == "" {
		body.Fault("name", "must have at least 1 character")
	}
	ours, _ := body.Object("tally")
	wire, hasWire := ours.Choice("wire", wireDeclared, wireUpstream)
	for _, other := range ours.Names() {
		if other != "wire" {
			ours.Fault(other, "is no setting of an app")
		}
	}
	return func(a livestream.App) livestream.App {
		if hasName {
			a.Name = name
		}
		switch {
		case hasWire && wire == wireUpstream:
			a.Wire = livestream.WireUpstream
		case hasWire:
			a.Wire = livestream.WireDeclared
		}
		return a
	}
}

// orTaken is err, or what a name says that another app has.
func orTaken(err error, body input.Object) error {
	if !errors.Is(err, livestream.ErrExists) {
		return err
	}
	body.Fault("name", "is the name of another app of the account")
	return body.Err()
}
