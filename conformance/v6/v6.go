// Code generated from ../v7/v7.go by go generate there. DO NOT EDIT.

// Package v6 drives cloudflare-go v6.
package v6

import (
	"context"
	"errors"

	"github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/option"

	"tally/conformance"
)

// New returns the client.
func New() conformance.Client {
	return conformance.NewGo(conformance.GoSDK{Name: "go v6", Dial: dial, Refused: refused})
}

// dial makes the official client; the base URL, the token and, unless the
// retries are what is tested, their number are all that is set.
func dial(t conformance.Target, query map[string]string) (any, func(context.Context, string, string, any, any) error) {
	var opts []option.RequestOption
	if t.Base != "" {
		opts = append(opts, option.WithBaseURL(t.Base), option.WithAPIToken(t.Token))
	}
	if !t.Retries {
		opts = append(opts, option.WithMaxRetries(0))
	}
	for name, value := range query {
		opts = append(opts, option.WithQuery(name, value))
	}
	c := cloudflare.NewClient(opts...)
	return c.RealtimeKit, func(ctx context.Context, method, path string, body, answer any) error {
		return c.Execute(ctx, method, path, body, answer)
	}
}

func refused(err error) *conformance.Refusal {
	var e *cloudflare.Error
	if !errors.As(err, &e) {
		return nil
	}
	r := &conformance.Refusal{Class: "Error", Status: e.StatusCode}
	if len(e.Errors) > 0 {
		r.Code, r.Message, r.Pointer = e.Errors[0].Code, e.Errors[0].Message, e.Errors[0].Source.Pointer
	}
	return r
}
