package main

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"

	"tally/internal/netguard"
	"tally/internal/playtoken"
)

// playbackKeys is what the API asks of the keys of playback tokens.
type playbackKeys struct {
	*playtoken.Keyring
	guard netguard.Guard
}

// newPlaybackKeys fetches keys through the guard alone.
func (s *server) newPlaybackKeys() (playbackKeys, error) {
	allow, err := s.flags.jwksAllow()
	guard := netguard.Guard{Allow: allow, Flag: "--jwks-allow"}
	return playbackKeys{&playtoken.Keyring{
		Store: s.store, Client: netguard.Client(guard.Transport(), playtoken.FetchTimeout), Log: s.log,
	}, guard}, err
}

var errPlainJWKS = errors.New("must begin with https: whoever can change what plain http brings could sign tokens")

// CheckJWKS implements api.PlaybackKeys: it fetches the keys once, so that a
// mistake shows at once. The address has to be https, but for one that
// --jwks-allow names.
func (k playbackKeys) CheckJWKS(ctx context.Context, u *url.URL) error {
	if err := k.guard.CheckURL(u); err != nil {
		return err
	}
	a, err := netip.ParseAddr(u.Hostname())
	allowed := err == nil && slices.ContainsFunc(k.guard.Allow, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	if u.Scheme != "https" && !allowed {
		return errPlainJWKS
	}
	_, err = k.Fetch(ctx, u.String())
	return err
}
