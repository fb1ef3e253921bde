package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// selfSigned makes a certificate for 127.0.0.1 that signs itself, and its key.
func selfSigned(serial int64, until time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: until.Add(-365 * 24 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true,
	}
	if cert, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private); err != nil {
		return nil, nil, err
	}
	if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), nil
}

// A text is written and read by several goroutines.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(b)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// TestCertificateIsReplaced: new files are taken over; those that cannot be used
// change nothing, and are complained about once.
func TestCertificateIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log text
		c := &certificate{
			certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem"),
			log: slog.New(slog.NewTextHandler(&log, nil)),
		}
		lasts := 60 * 24 * time.Hour
		write := func(serial int64, cert, key bool) {
			t.Helper()
			certPEM, keyPEM, err := selfSigned(serial, time.Now().Add(lasts))
			fatal(t, err)
			for name, text := range map[string][]byte{c.certFile: certPEM, c.keyFile: keyPEM} {
				if name == c.certFile && !cert || name == c.keyFile && !key {
					continue
				}
				fatal(t, os.WriteFile(name+".new", text, 0o600))
				fatal(t, os.Rename(name+".new", name))
			}
		}
		serial := func() int64 {
			got, err := c.get(nil)
			fatal(t, err)
			return got.Leaf.SerialNumber.Int64()
		}
		if err := c.load(); err == nil || !strings.HasPrefix(err.Error(), "--tls-cert and --tls-key: ") {
			t.Errorf("without files: %v", err)
		}
		write(1, true, true)
		fatal(t, c.load())
		go c.watch(t.Context())
		expect := func(what string, want int64, complaints int) {
			t.Helper()
			time.Sleep(3 * recheck)
			synctest.Wait()
			if got := serial(); got != want {
				t.Errorf("%s: certificate %d, want %d", what, got, want)
			}
			if got := strings.Count(log.String(), "cannot be used"); got != complaints || c.refused.Load() != int64(complaints) {
				t.Errorf("%s: %d complaints, counted %d, want %d\n%s", what, got, c.refused.Load(), complaints, log.String())
			}
		}
		expect("nothing changed", 1, 0)
		write(2, true, true)
		expect("both replaced", 2, 0)
		write(3, true, false)
		expect("the certificate alone", 2, 1)
		expect("still so", 2, 1)
		fatal(t, os.WriteFile(c.keyFile, []byte("no key"), 0o600))
		expect("no key at all", 2, 2)
		fatal(t, os.Remove(c.keyFile))
		expect("no file", 2, 3)
		write(4, true, true)
		expect("both replaced again", 4, 3)
		if strings.Contains(log.String(), "ends soon") {
			t.Errorf("60 days before its end: %s", log.String())
		}
		lasts = expiresSoon + time.Hour
		write(5, true, true)
		time.Sleep(50 * time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "ends soon"); n != 3 {
			t.Errorf("%d complaints in the 49 hours that it ends soon, want one a day", n)
		}
	})
}
