package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// A certificate is a pair of PEM files that may be replaced while the server
// runs, as ACME clients do. It may be used concurrently.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	loaded  *tls.Certificate // last that could be read
	changed time.Time        // modification time of certFile at that moment
	checked time.Time
}

// recheck is how often the file is looked at, at most.
const recheck = 10 * time.Second

// get returns the certificate as it is on disk, or the last good one while the
// files are being replaced. It is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded != nil && time.Since(c.checked) < recheck {
		return c.loaded, nil
	}
	c.checked = time.Now()
	info, err := os.Stat(c.certFile)
	if err == nil && (c.loaded == nil || !info.ModTime().Equal(c.changed)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile); err == nil {
			c.loaded, c.changed = &pair, info.ModTime()
		}
	}
	if c.loaded == nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	return c.loaded, nil
}
