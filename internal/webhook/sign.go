package webhook

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"time"

	"tally/internal/livestream"
	"tally/internal/secret"
)

const (
	keyName = "webhook key" // in the store
	keyBits = 2048          // as upstream's public key has
)

// NewSecret returns the secret of a new webhook: 190 random bits behind a prefix
// by which secret scanners can find it.
func NewSecret() secret.String { return secret.New("whsec_" + livestream.RandomText(32)) }

// PublicKey returns the key by which a receiver verifies rtk-signature, as PEM
// (SubjectPublicKeyInfo, RFC 5280). It is made at the first start and stays.
func (e *Engine) PublicKey(ctx context.Context) (string, error) {
	key, err := e.signingKey(ctx)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// signingKey reads the key, and makes it when there is none. Who comes while it
// is made waits.
func (e *Engine) signingKey(ctx context.Context) (*rsa.PrivateKey, error) {
	e.keyMu.Lock()
	defer e.keyMu.Unlock()
	if e.key != nil {
		return e.key, nil
	}
	der, err := e.Store.Keep(ctx, keyName, func() ([]byte, error) {
		key, err := rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(key)
	})
	if err != nil {
		return nil, fmt.Errorf("read webhook key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("webhook key in the store is damaged: restore a backup") // err could quote it
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("webhook key in the store is no RSA key: restore a backup")
	}
	e.key = key
	return key, nil
}

// signature is rtk-signature: RSA-SHA256, PKCS #1 v1.5, over the body's bytes, in
// base64 (contract 5.6).
func signature(key *rsa.PrivateKey, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(sig), nil
}

// stampedSignature is our own tally-signature: t=UNIX,v1=HEX, where HEX is the
// HMAC-SHA256 of "UNIX.body" under the webhook's secret. The time is that of the
// try, so a receiver can refuse what somebody recorded and sends again later.
func stampedSignature(key secret.String, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
