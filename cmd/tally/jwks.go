package main

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
)

var errPlainJWKS = errors.New("must begin with https: whoever can change what plain http brings could sign tokens")

// checkJWKS fetches the keys of playback tokens from an address that a user of
// the API chose, so that a mistake in it shows at once. It has to be https, but
// for an address that --jwks-allow names.
func (s *server) checkJWKS(ctx context.Context, u *url.URL) error {
	if err := s.jwks.CheckURL(u); err != nil {
		return err
	}
	a, err := netip.ParseAddr(u.Hostname())
	allowed := err == nil && slices.ContainsFunc(s.jwks.Allow, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	if u.Scheme != "https" && !allowed {
		return errPlainJWKS
	}
	_, err = s.tokens.Fetch(ctx, u.String())
	return err
}
