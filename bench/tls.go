package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A seal is a certificate that both servers have and players trust. The methods
// of a nil one say that there is none.
type seal struct {
	cert, key string // files
	trust     *tls.Config
}

// flags are those of tally serve.
func (s *seal) flags() []string {
	if s == nil {
		return nil
	}
	return []string{"--tls-cert", s.cert, "--tls-key", s.key, "--https-addr", "127.0.0.1:0", "--rtmps-addr", "off"}
}

// files are the bare server's arguments.
func (s *seal) files() []string {
	if s == nil {
		return nil
	}
	return []string{s.cert, s.key}
}

// client is what players trust.
func (s *seal) client() *tls.Config {
	if s == nil {
		return nil
	}
	return s.trust
}

// newSeal makes a certificate for 127.0.0.1 that signs itself.
func newSeal(dir string) (*seal, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	s := &seal{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), trust: &tls.Config{RootCAs: x509.NewCertPool()}}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	s.trust.RootCAs.AppendCertsFromPEM(chain)
	if err := os.WriteFile(s.cert, chain, 0o600); err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// overTLS measures both servers with each size of audience over TLS and HTTP/2:
// each player has a connection of its own.
func (b *bench) overTLS(ctx context.Context) error {
	s, err := newSeal(b.dir)
	if err != nil {
		return err
	}
	for _, n := range b.Players {
		if err := b.audience(ctx, n, s); err != nil {
			return fmt.Errorf("%d players: %w", n, err)
		}
	}
	return nil
}
