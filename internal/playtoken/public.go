package playtoken

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

const (
	// MaxKeyText is the longest text of public keys that is read, in bytes.
	MaxKeyText = 64 << 10
	// maxSetKeys is how many keys of a JWKS are used.
	maxSetKeys = 32

	minRSABits = 2048 // RFC 7518 section 3.3
	maxRSABits = 8192 // checking one signature with more costs milliseconds
)

// ErrPublic is what [Public] returns, with the reason before it.
var ErrPublic = errors.New("give an RSA public key of 2048 to 8192 bits as PEM, a JWK, or a JWKS")

// Public reads RS256 keys: PEM (PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE), a JWK
// or a JWKS (RFC 7517). Of a set it takes what is an RSA key for signatures by
// RS256 and leaves out the rest; there must be one. A private key is refused:
// it should not be here. kid names a key that does not name itself.
func Public(kid, text string) ([]Key, error) {
	if len(text) > MaxKeyText {
		return nil, fmt.Errorf("more than %d bytes: %w", MaxKeyText, ErrPublic)
	}
	if text = strings.TrimSpace(text); strings.HasPrefix(text, "{") {
		return fromJSON(kid, []byte(text))
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, fmt.Errorf("it is neither PEM nor JSON: %w", ErrPublic)
	case len(strings.TrimSpace(string(rest))) > 0:
		return nil, fmt.Errorf("it holds more than one PEM block: %w", ErrPublic)
	}
	key, err := fromPEM(block)
	if err != nil {
		return nil, err
	}
	return []Key{{KID: kid, Algorithm: RS256, public: key}}, nil
}

func fromPEM(block *pem.Block) (*rsa.PublicKey, error) {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, fmt.Errorf("it is a private key, which belongs to the signer alone: %w", ErrPublic)
	default:
		return nil, fmt.Errorf("a PEM block of another type than PUBLIC KEY: %w", ErrPublic)
	}
	public, ok := key.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("the PEM block holds no RSA public key: %w", ErrPublic)
	}
	return public, checkRSA(public)
}

func checkRSA(k *rsa.PublicKey) error {
	if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
		return fmt.Errorf("the key has %d bits: %w", n, ErrPublic)
	}
	if k.E < 3 || k.E%2 == 0 || k.E > 1<<31-1 || k.N.Bit(0) == 0 {
		return fmt.Errorf("modulus and exponent are no RSA key's: %w", ErrPublic)
	}
	return nil
}

// jwk is a JSON Web Key (RFC 7517 section 4, RFC 7518 section 6.3).
type jwk struct {
	Type      string   `json:"kty"`
	Use       string   `json:"use"`
	Ops       []string `json:"key_ops"`
	Algorithm string   `json:"alg"`
	KID       string   `json:"kid"`
	N         string   `json:"n"`
	E         string   `json:"e"`

	D json.RawMessage `json:"d"` // private
	K json.RawMessage `json:"k"` // symmetric
}

// verifies reports whether the key is meant for signatures by RS256.
func (j jwk) verifies() bool {
	ops := j.Ops == nil
	for _, op := range j.Ops {
		ops = ops || op == "verify"
	}
	return j.Type == "RSA" && (j.Use == "" || j.Use == "sig") && (j.Algorithm == "" || j.Algorithm == RS256) && ops
}

func (j jwk) key(kid string) (Key, error) {
	n, err1 := encoding.DecodeString(strings.TrimRight(j.N, "="))
	e, err2 := encoding.DecodeString(strings.TrimRight(j.E, "="))
	if err1 != nil || err2 != nil || len(n) > maxRSABits/8+1 || len(e) == 0 || len(e) > 4 {
		return Key{}, fmt.Errorf("n and e of a JWK must be base64url numbers: %w", ErrPublic)
	}
	exponent := 0
	for _, b := range e {
		exponent = exponent<<8 | int(b)
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exponent}
	if j.KID != "" {
		kid = j.KID
	}
	return Key{KID: kid, Algorithm: RS256, public: public}, checkRSA(public)
}

func fromJSON(kid string, data []byte) ([]Key, error) {
	var doc struct {
		jwk
		Keys []jwk `json:"keys"`
	}
	if unmarshal(data, &doc) != nil {
		return nil, fmt.Errorf("the JSON is no JWK and no JWKS: %w", ErrPublic)
	}
	if doc.Keys == nil {
		switch {
		case doc.D != nil || doc.K != nil:
			return nil, fmt.Errorf("it is a private or secret key, which belongs to the signer alone: %w", ErrPublic)
		case !doc.verifies():
			return nil, fmt.Errorf("the JWK is no RSA key for signatures by RS256: %w", ErrPublic)
		}
		k, err := doc.key(kid)
		return []Key{k}, err
	}
	var keys []Key
	for _, j := range doc.Keys {
		if j.D != nil || j.K != nil {
			return nil, fmt.Errorf("the JWKS holds a private or secret key, which belongs to the signer alone: %w", ErrPublic)
		}
		if !j.verifies() || len(keys) == maxSetKeys {
			continue
		}
		if k, err := j.key(""); err == nil { // one that is too short, say, is no reason to do without the others
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the JWKS holds no RSA key for signatures by RS256: %w", ErrPublic)
	}
	return keys, nil
}
