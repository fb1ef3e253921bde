package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

const (
	// recheck is how often the files of a certificate are looked at.
	recheck = 10 * time.Second

	// expiresSoon is how long before its end a certificate is complained about,
	// once a day: ACME clients renew 30 days before.
	expiresSoon = 14 * 24 * time.Hour
)

// A certificate is a pair of PEM files that may be replaced while the server
// runs, as ACME clients do. get may be called concurrently with watch.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	current atomic.Pointer[tls.Certificate] // the last that could be read
	loads   atomic.Int64                    // times that files were taken over
	refused atomic.Int64                    // times that changed files could not be

	// What follows belongs to load, then to watch.
	taken  files // that current was read from
	failed files // the newest that could not be read; complained about when told
	told   bool
	warned time.Time // of an end that is near
}

// files is what a pair of files looked like at one moment.
type files struct{ cert, key os.FileInfo }

func (c *certificate) look() (f files, err error) {
	if f.cert, err = os.Stat(c.certFile); err == nil {
		f.key, err = os.Stat(c.keyFile)
	}
	return f, err
}

// same reports whether two looks saw the same files, neither written to nor
// replaced.
func (f files) same(g files) bool { return same(f.cert, g.cert) && same(f.key, g.key) }

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// load reads the files for the first time. Its error says which flags to change.
func (c *certificate) load() error {
	f, err := c.look()
	if err == nil {
		err = c.read(f)
	}
	if err != nil {
		return fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	return nil
}

func (c *certificate) read(f files) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	c.taken, c.failed, c.told = f, files{}, false
	c.loads.Add(1)
	return nil
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// expires is when the certificate ends.
func (c *certificate) expires() time.Time {
	if leaf := c.current.Load().Leaf; leaf != nil {
		return leaf.NotAfter
	}
	return time.Time{}
}

// watch takes changed files over until ctx ends.
func (c *certificate) watch(ctx context.Context) {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		c.check(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// check looks at the files once. Files that changed and cannot be used leave the
// certificate as it is. That is complained about when it is still so at the
// next look: whoever replaces them writes one after the other.
func (c *certificate) check(now time.Time) {
	f, err := c.look()
	if err == nil && f.same(c.taken) {
		c.soon(now)
		return
	}
	if err == nil {
		if err = c.read(f); err == nil {
			c.log.Info("took over the new certificate", "file", c.certFile, "expires", c.expires())
			c.warned = time.Time{}
			c.soon(now)
			return
		}
	}
	switch {
	case !f.same(c.failed):
		c.failed, c.told = f, false
	case !c.told:
		c.told = true
		c.refused.Add(1)
		c.log.Error("--tls-cert and --tls-key have changed and cannot be used: going on with the certificate of before",
			"err", err, "expires", c.expires())
	}
}

// soon complains of an end that is near, once a day.
func (c *certificate) soon(now time.Time) {
	left := c.expires().Sub(now)
	if left > expiresSoon || now.Sub(c.warned) < 24*time.Hour {
		return
	}
	c.warned = now
	c.log.Warn("the certificate ends soon: renew it, the new files are taken over without a restart",
		"file", c.certFile, "expires", c.expires())
}
