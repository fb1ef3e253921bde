//go:generate sh -c "sed -e 's,cloudflare-go/v7,cloudflare-go/v6,; s,cloudflare-go v7,cloudflare-go v6,; s/ackage v7/ackage v6/; s,^//go:generate.*,// Code generated from ../v7/read.go by go generate there. DO NOT EDIT.,' read.go >../v6/read.go"

// Package v7 reads Tally with cloudflare-go v7.
package v7

import (
	"context"
	"errors"

	"github.com/cloudflare/cloudflare-go/v7"
	"github.com/cloudflare/cloudflare-go/v7/option"
	kit "github.com/cloudflare/cloudflare-go/v7/realtime_kit"

	"tally/conformance"
)

// client is the official client; the base URL, the token and, so that a failing
// test fails fast, the retries are all that is set.
func client(t conformance.Target) *cloudflare.Client {
	return cloudflare.NewClient(option.WithBaseURL(t.Base), option.WithAPIToken(t.Token), option.WithMaxRetries(0))
}

// Do runs the client in one mode.
func Do(ctx context.Context, mode conformance.Mode, t conformance.Target) (conformance.Reading, error) {
	switch mode {
	case conformance.Read:
		return ReadAll(ctx, t)
	case conformance.Write:
		return WriteAll(ctx, t)
	case conformance.Wrong:
		return Refused(ctx, t), nil
	case conformance.Create:
		r := reader{Reading: conformance.Reading{}}
		create(ctx, client(t), t, &r)
		return r.Reading, r.err
	}
	return nil, errors.New("no such mode: " + string(mode))
}

// reader collects what calls answered, up to the first field that is missing.
type reader struct {
	conformance.Reading
	err error
}

// add reads an answer's data, or the error that came instead.
func (r *reader) add(name string, data any, err error) {
	var refused *cloudflare.Error
	switch {
	case errors.As(err, &refused):
		r.Reading[name+".error.status"] = int64(refused.StatusCode)
		if len(refused.Errors) > 0 {
			r.Reading[name+".error.code"] = refused.Errors[0].Code
			r.Reading[name+".error.message"] = refused.Errors[0].Message
			r.Reading[name+".error.pointer"] = refused.Errors[0].Source.Pointer
		}
	case err != nil:
		r.err = errors.Join(r.err, err)
	default:
		fields, err := conformance.Decoded(data)
		r.Add(name, fields)
		if err != nil {
			r.err = errors.Join(r.err, errors.New(name+"."+err.Error()))
		}
	}
}

// ReadAll reads what the target names, by every read the client has.
func ReadAll(ctx context.Context, t conformance.Target) (conformance.Reading, error) {
	c, r := client(t), reader{Reading: conformance.Reading{}}
	account := cloudflare.F(t.Account)
	live := c.RealtimeKit.Livestreams
	if t.Livestream != "" {
		list, err := live.GetAllLivestreams(ctx, t.App, kit.LivestreamGetAllLivestreamsParams{AccountID: account})
		r.add("list", data(list, func() any { return list.Data }), err)
		byID, err := live.GetLivestreamSessionForLivestreamID(ctx, t.App, t.Livestream,
			kit.LivestreamGetLivestreamSessionForLivestreamIDParams{AccountID: account})
		r.add("by_id", data(byID, func() any { return byID.Data }), err)
		active, err := live.GetActiveLivestreamsForLivestreamID(ctx, t.App, t.Livestream,
			kit.LivestreamGetActiveLivestreamsForLivestreamIDParams{AccountID: account})
		r.add("active", data(active, func() any { return active.Data }), err)
	}
	if t.Session != "" {
		session, err := live.GetLivestreamSessionDetailsForSessionID(ctx, t.App, t.Session,
			kit.LivestreamGetLivestreamSessionDetailsForSessionIDParams{AccountID: account})
		r.add("session", data(session, func() any { return session.Data }), err)
	}
	if t.Meeting != "" {
		active, err := live.GetMeetingActiveLivestreams(ctx, t.App, t.Meeting,
			kit.LivestreamGetMeetingActiveLivestreamsParams{AccountID: account})
		r.add("meeting_active", data(active, func() any { return active.Data }), err)
		meeting, err := c.RealtimeKit.Meetings.GetMeetingByID(ctx, t.App, t.Meeting,
			kit.MeetingGetMeetingByIDParams{AccountID: account})
		r.add("meeting", data(meeting, func() any { return meeting.Data }), err)
	}
	return r.Reading, r.err
}

// data is an answer's data, or nil when there was no answer.
func data[T any](answer *T, of func() any) any {
	if answer == nil {
		return nil
	}
	return of()
}

// WriteAll creates a livestream and a meeting, and starts and stops the
// meeting's livestream: its readings are what was answered.
func WriteAll(ctx context.Context, t conformance.Target) (conformance.Reading, error) {
	c, r := client(t), reader{Reading: conformance.Reading{}}
	account := cloudflare.F(t.Account)
	live := c.RealtimeKit.Livestreams
	create(ctx, c, t, &r)
	meeting, err := c.RealtimeKit.Meetings.New(ctx, t.App, kit.MeetingNewParams{
		AccountID: account, Title: cloudflare.F("made by a client"), PersistChat: cloudflare.F(true),
		SessionKeepAliveTimeInSecs: cloudflare.F(90.0),
	})
	r.add("new_meeting", data(meeting, func() any { return meeting.Data }), err)
	if err != nil {
		return r.Reading, errors.Join(r.err, err)
	}
	id := meeting.Data.ID
	start, err := live.StartLivestreamingAMeeting(ctx, t.App, id, kit.LivestreamStartLivestreamingAMeetingParams{
		AccountID: account, Name: cloudflare.F("from a meeting"),
		VideoConfig: cloudflare.F(kit.LivestreamStartLivestreamingAMeetingParamsVideoConfig{
			Width: cloudflare.F(int64(1280)), Height: cloudflare.F(int64(720)),
		}),
	})
	r.add("start", data(start, func() any { return start.Data }), err)
	again, err := live.StartLivestreamingAMeeting(ctx, t.App, id, kit.LivestreamStartLivestreamingAMeetingParams{AccountID: account})
	r.add("start_again", data(again, func() any { return again.Data }), err)
	for _, name := range []string{"stop", "stop_again"} {
		stop, err := live.StopLivestreamingAMeeting(ctx, t.App, id, kit.LivestreamStopLivestreamingAMeetingParams{AccountID: account})
		r.add(name, data(stop, func() any { return stop.Data }), err)
	}
	return r.Reading, r.err
}

func create(ctx context.Context, c *cloudflare.Client, t conformance.Target, r *reader) {
	created, err := c.RealtimeKit.Livestreams.NewIndependentLivestream(ctx, t.App,
		kit.LivestreamNewIndependentLivestreamParams{AccountID: cloudflare.F(t.Account), Name: cloudflare.F("made by a client")})
	r.add("create", data(created, func() any { return created.Data }), err)
	unnamed, err := c.RealtimeKit.Livestreams.NewIndependentLivestream(ctx, t.App,
		kit.LivestreamNewIndependentLivestreamParams{AccountID: cloudflare.F(t.Account)})
	r.add("create_unnamed", data(unnamed, func() any { return unnamed.Data }), err)
}

// Refused makes one call for each way of being refused: wrong token, other
// account, unknown app, unknown livestream, bad body.
func Refused(ctx context.Context, t conformance.Target) conformance.Reading {
	r := reader{Reading: conformance.Reading{}}
	active := func(name string, t conformance.Target) {
		answer, err := client(t).RealtimeKit.Livestreams.GetActiveLivestreamsForLivestreamID(ctx, t.App, t.Livestream,
			kit.LivestreamGetActiveLivestreamsForLivestreamIDParams{AccountID: cloudflare.F(t.Account)})
		r.add(name, data(answer, func() any { return answer.Data }), err)
	}
	wrong := t
	wrong.Token = "wrong"
	active("token", wrong)
	wrong = t
	wrong.Account = "0123456789abcdef0123456789abcdef"
	active("account", wrong)
	wrong = t
	wrong.App = "0123456789abcdef0123456789abcdef"
	active("app", wrong)
	wrong = t
	wrong.Livestream = "00000000-0000-4000-8000-000000000000"
	active("livestream", wrong)
	answer, err := client(t).RealtimeKit.Livestreams.NewIndependentLivestream(ctx, t.App,
		kit.LivestreamNewIndependentLivestreamParams{AccountID: cloudflare.F(t.Account), Name: cloudflare.F("two\nlines")})
	r.add("body", data(answer, func() any { return answer.Data }), err)
	return r.Reading
}
