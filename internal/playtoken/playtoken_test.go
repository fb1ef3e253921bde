package playtoken_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/playtoken"
	"tally/internal/secret"
)

var (
	now   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	shown = secret.New("tally_pk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH")

	rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token signs any header and claims, as a signer does that knows nothing of us.
func token(header, claims string, sign func(signed string) []byte) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	return signed + "." + b64(sign(signed))
}

func hs(key string) func(string) []byte {
	return func(signed string) []byte {
		m := hmac.New(sha256.New, []byte(key))
		m.Write([]byte(signed))
		return m.Sum(nil)
	}
}

func rs(k *rsa.PrivateKey) func(string) []byte {
	return func(signed string) []byte {
		sum := sha256.Sum256([]byte(signed))
		sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func unsigned(string) []byte { return nil }

func publicPEM(k *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func jwkOf(kid string, k *rsa.PublicKey) string {
	return fmt.Sprintf(`{"kty":"RSA","kid":%q,"use":"sig","alg":"RS256","n":%q,"e":%q}`, kid, b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes()))
}

func verify(text string, keys ...playtoken.Key) (playtoken.Claims, error) {
	t, err := playtoken.Parse(text)
	if err != nil {
		return playtoken.Claims{}, err
	}
	return t.Verify(keys, "app", now)
}

func claims(members string) string {
	return fmt.Sprintf(`{"sub":"live","iat":%d,"exp":%d%s}`, now.Unix()-10, now.Unix()+600, members)
}

const (
	headHS = `{"alg":"HS256","typ":"JWT","kid":"k"}`
	headRS = `{"alg":"RS256","kid":"r"}`
)

// keys are an app's: a secret named k, and a public key named r.
func keys(t *testing.T) []playtoken.Key {
	t.Helper()
	public, err := playtoken.Public("r", publicPEM(&rsaKey().PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return append(public, playtoken.Secret("k", shown))
}

func TestGoodTokens(t *testing.T) {
	all := keys(t)
	for _, c := range []struct{ name, text, viewer string }{
		{"HS256", token(headHS, claims(""), hs(shown.Reveal())), ""},
		{"HS256 without kid", token(`{"alg":"HS256"}`, claims(""), hs(shown.Reveal())), ""},
		{"RS256", token(headRS, claims(""), rs(rsaKey())), ""},
		{"RS256 without kid", token(`{"alg":"RS256","typ":"jwt"}`, claims(""), rs(rsaKey())), ""},
		{"a name", token(headHS, claims(`,"viewer":"Ålice"`), hs(shown.Reveal())), "Ålice"},
		{"aud", token(headHS, claims(`,"aud":"tally"`), hs(shown.Reveal())), ""},
		{"aud in a list", token(headHS, claims(`,"aud":["x","app"]`), hs(shown.Reveal())), ""},
		{"other claims", token(headHS, claims(`,"nbf":1.5,"iss":"x","jti":"y","admin":true`), hs(shown.Reveal())), ""},
		{"nbf within the leeway", token(headHS, claims(fmt.Sprintf(`,"nbf":%d`, now.Unix()+9)), hs(shown.Reveal())), ""},
	} {
		got, err := verify(c.text, all...)
		if err != nil || got.Viewer != c.viewer || got.For("live", "") != nil || got.For("", "live") != nil ||
			!got.Expires.Equal(now.Add(10*time.Minute)) || !got.Until.Equal(got.Expires) || !got.IssuedAt.Equal(now.Add(-10*time.Second)) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// TestAttacks: every one is refused, and no refusal holds a part of the token.
func TestAttacks(t *testing.T) {
	good := token(headHS, claims(""), hs(shown.Reveal()))
	parts := strings.Split(good, ".")
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki := publicPEM(&rsaKey().PublicKey)
	block, _ := pem.Decode([]byte(spki))
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	signed := func(members string) string { return token(headHS, members, hs(shown.Reveal())) }
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", playtoken.ErrMalformed},
		{"two parts", parts[0] + "." + parts[1], playtoken.ErrMalformed},
		{"four parts", good + ".", playtoken.ErrMalformed},
		{"padding", good + "=", playtoken.ErrMalformed},
		{"a line break", parts[0] + "." + parts[1] + ".\n" + parts[2], playtoken.ErrMalformed},
		{"bits behind the last one", parts[0] + "." + parts[1] + "." + parts[2][:42] + string(parts[2][42]+1), playtoken.ErrMalformed},
		{"100 KB", strings.Repeat("A", 100<<10), playtoken.ErrMalformed},
		{"4097 bytes", signed(claims(`,"x":"` + strings.Repeat("x", 3000) + `"`)), playtoken.ErrMalformed},
		{"alg none", token(`{"alg":"none"}`, claims(""), unsigned), playtoken.ErrMalformed},
		{"alg None", token(`{"alg":"None","kid":"k"}`, claims(""), unsigned), playtoken.ErrMalformed},
		{"no alg", token(`{"kid":"k"}`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"alg in another case", token(`{"alg":"hs256","kid":"k"}`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"HS512", token(`{"alg":"HS512","kid":"k"}`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"crit", token(`{"alg":"HS256","kid":"k","crit":["b64"],"b64":false}`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"typ of something else", token(`{"alg":"HS256","typ":"at+jwt"}`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"header is null", token(`null`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"header of two objects", token(`{"alg":"HS256"}{"alg":"HS256"}`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"HS256 under the name of the public key", token(`{"alg":"HS256","kid":"r"}`, claims(""), hs(spki)), playtoken.ErrKey},
		{"HS256 with the public key's PEM", token(`{"alg":"HS256"}`, claims(""), hs(spki)), playtoken.ErrSignature},
		{"HS256 with the public key's DER", token(`{"alg":"HS256"}`, claims(""), hs(string(block.Bytes))), playtoken.ErrSignature},
		{"RS256 under the name of the secret", token(`{"alg":"RS256","kid":"k"}`, claims(""), rs(rsaKey())), playtoken.ErrKey},
		{"a key of its own in the header", token(`{"alg":"RS256","jwk":`+jwkOf("r", &other.PublicKey)+`,"kid":"r"}`, claims(""), rs(other)), playtoken.ErrSignature},
		{"a key of its own elsewhere", token(`{"alg":"RS256","jku":"https://evil.example/jwks.json","kid":"r"}`, claims(""), rs(other)), playtoken.ErrSignature},
		{"an unknown kid", token(`{"alg":"HS256","kid":"../../k"}`, claims(""), hs(shown.Reveal())), playtoken.ErrKey},
		{"an empty secret", token(headHS, claims(""), hs("")), playtoken.ErrSignature},
		{"another's secret", token(headHS, claims(""), hs("tally_pk_other")), playtoken.ErrSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", playtoken.ErrSignature},
		{"half a signature", parts[0] + "." + parts[1] + "." + parts[2][:20], playtoken.ErrSignature},
		{"other claims under the signature", parts[0] + "." + b64([]byte(claims(`,"viewer":"root"`))) + "." + parts[2], playtoken.ErrSignature},
		{"no exp", signed(`{"sub":"live"}`), playtoken.ErrClaims},
		{"exp is a text", signed(`{"sub":"live","exp":"9999999999"}`), playtoken.ErrClaims},
		{"exp is no time", signed(`{"sub":"live","exp":1e300}`), playtoken.ErrClaims},
		{"exp below zero", signed(`{"sub":"live","exp":-1}`), playtoken.ErrClaims},
		{"no sub", signed(fmt.Sprintf(`{"exp":%d}`, at(time.Hour))), playtoken.ErrClaims},
		{"sub is a list", signed(fmt.Sprintf(`{"sub":["live"],"exp":%d}`, at(time.Hour))), playtoken.ErrClaims},
		{"claims are a list", signed(`[]`), playtoken.ErrClaims},
		{"no UTF-8", signed("{\"sub\":\"\xff\",\"exp\":1}"), playtoken.ErrClaims},
		{"a long name", signed(claims(`,"viewer":"` + strings.Repeat("a", 129) + `"`)), playtoken.ErrClaims},
		{"expired", signed(fmt.Sprintf(`{"sub":"live","exp":%d}`, at(0))), playtoken.ErrExpired},
		{"expired long ago", signed(`{"sub":"live","exp":1}`), playtoken.ErrExpired},
		{"not yet", signed(claims(fmt.Sprintf(`,"nbf":%d`, at(11*time.Second)))), playtoken.ErrNotYet},
		{"issued in the future", signed(fmt.Sprintf(`{"sub":"live","iat":%d,"exp":%d}`, at(time.Minute), at(time.Hour))), playtoken.ErrNotYet},
		{"for too long", signed(fmt.Sprintf(`{"sub":"live","exp":%d}`, at(8*24*time.Hour))), playtoken.ErrLifetime},
		{"issued long ago, for too long", signed(fmt.Sprintf(`{"sub":"live","iat":%d,"exp":%d}`, at(-7*24*time.Hour), at(time.Minute))), playtoken.ErrLifetime},
		{"plays for too long", signed(claims(fmt.Sprintf(`,"play_until":%d`, at(8*24*time.Hour)))), playtoken.ErrLifetime},
		{"for somebody else", signed(claims(`,"aud":"https://example.org"`)), playtoken.ErrAudience},
		{"exp in another spelling", signed(fmt.Sprintf(`{"sub":"live","exp":1,"EXP":%d}`, at(time.Hour))), playtoken.ErrExpired},
		{"sub in another spelling", signed(fmt.Sprintf(`{"Sub":"live","exp":%d}`, at(time.Hour))), playtoken.ErrClaims},
		{"alg's name in another spelling", token(`{"Alg":"HS256","kid":"k"}`, claims(""), hs(shown.Reveal())), playtoken.ErrMalformed},
		{"aud of another app", signed(claims(`,"aud":["other"]`)), playtoken.ErrAudience},
		{"aud is a number", signed(claims(`,"aud":1`)), playtoken.ErrClaims},
	} {
		_, err := verify(c.text, keys(t)...)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
			continue
		}
		for _, part := range strings.FieldsFunc(c.text, func(r rune) bool { return r == '.' }) {
			if len(part) > 4 && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error holds a part of the token: %v", c.name, err)
			}
		}
	}
	got, err := verify(good, keys(t)...)
	if err != nil || !errors.Is(got.For("other", "another"), playtoken.ErrSubject) {
		t.Errorf("for another livestream: %v", err)
	}
}

// TestBitFlips: in no byte of a token a bit can be turned.
func TestBitFlips(t *testing.T) {
	all := keys(t)
	for _, good := range []string{token(headHS, claims(""), hs(shown.Reveal())), token(headRS, claims(""), rs(rsaKey()))} {
		for i := range good {
			b := []byte(good)
			b[i] ^= 1 << (i % 8)
			if _, err := verify(string(b), all...); err == nil {
				t.Errorf("byte %d bit %d: still good", i, i%8)
			}
		}
	}
}

func TestSignedTokensAreGood(t *testing.T) {
	g := playtoken.Grant{Subject: "live", Viewer: `a"b`, IssuedAt: now.Add(-1234 * time.Millisecond), Expires: now.Add(time.Minute), PlayUntil: now.Add(time.Hour)}
	text := playtoken.Sign(playtoken.Secret("k", shown), g)
	if fmt.Sprint(text) != "REDACTED" {
		t.Error("a token shows itself")
	}
	c, err := verify(text.Reveal(), keys(t)...)
	if err != nil || c.Viewer != g.Viewer || !c.IssuedAt.Equal(g.IssuedAt) || !c.Expires.Equal(g.Expires) || !c.Until.Equal(g.PlayUntil) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := verify(token(headHS, `{"sub":"live","exp":`+fmt.Sprint(now.Unix()+60)+`}`, hs(shown.Reveal())), keys(t)...); err != nil ||
		!c.IssuedAt.Equal(now.Add(time.Minute-playtoken.MaxLifetime)) {
		t.Errorf("without iat: %+v, %v", c, err)
	}
}

func TestPublicKeys(t *testing.T) {
	k := rsaKey()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	one := jwkOf("a", &k.PublicKey)
	even := strings.Replace(one, `"e":"AQAB"`, `"e":"AQAA"`, 1)
	for _, c := range []struct {
		name, text string
		kids       string // of what it is read as; "" : refused
	}{
		{"PEM", publicPEM(&k.PublicKey), "mine"},
		{"PKCS 1", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&k.PublicKey)})), "mine"},
		{"JWK", one, "a"},
		{"JWKS", ` {"keys":[` + one + `,` + jwkOf("b", &k.PublicKey) + "]}\n", "a b"},
		{"JWKS with what is not for us", `{"keys":[{"kty":"EC","crv":"P-256"},{"kty":"RSA","use":"enc","n":"AA","e":"AQAB"},` + jwkOf("weak", &small.PublicKey) + `,` + one + `]}`, "a"},
		{"JWKS without keys", `{"keys":[]}`, ""},
		{"JWKS with a secret", `{"keys":[` + one + `,{"kty":"oct","k":"AAAA"}]}`, ""},
		{"private JWK", strings.Replace(one, `"kty"`, `"d":"AA","kty"`, 1), ""},
		{"private PEM", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})), ""},
		{"two PEM blocks", publicPEM(&k.PublicKey) + publicPEM(&k.PublicKey), ""},
		{"weak", publicPEM(&small.PublicKey), ""},
		{"weak JWK", jwkOf("a", &small.PublicKey), ""},
		{"even exponent", even, ""},
		{"ES256", `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, ""},
		{"JWK for another algorithm", strings.Replace(one, "RS256", "PS256", 1), ""},
		{"nothing", "", ""},
		{"text", "hello", ""},
		{"64 KB and more", "{" + strings.Repeat(" ", playtoken.MaxKeyText) + "}", ""},
	} {
		got, err := playtoken.Public("mine", c.text)
		var kids []string
		for _, k := range got {
			kids = append(kids, k.KID)
		}
		if (err != nil) != (c.kids == "") || err == nil && strings.Join(kids, " ") != c.kids || err != nil && !errors.Is(err, playtoken.ErrPublic) {
			t.Errorf("%s: %v, %v", c.name, kids, err)
		}
	}
}

// FuzzVerify: whatever comes, it does not panic, and nothing is good that the
// keys did not sign.
func FuzzVerify(f *testing.F) {
	good := token(headHS, claims(""), hs(shown.Reveal()))
	f.Add(good)
	f.Add(token(`{"alg":"none"}`, claims(""), unsigned))
	f.Add(token(headRS, claims(`,"aud":["app"]`), unsigned))
	f.Add("..")
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := verify(text, playtoken.Secret("k", shown)); err == nil && text != good {
			t.Errorf("good: %+v", c)
		}
	})
}

// FuzzClaims: whatever is signed is read or refused.
func FuzzClaims(f *testing.F) {
	f.Add(claims(""))
	f.Add(claims(`,"aud":[],"play_until":0.5,"viewer":null,"nbf":1e9`))
	f.Add(`{"exp":1e400}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := verify(token(headHS, text, hs(shown.Reveal())), playtoken.Secret("k", shown))
		if err == nil && (!json.Valid([]byte(text)) || !c.Expires.After(now) || c.Until.Sub(c.IssuedAt) > playtoken.MaxLifetime || c.Until.Before(c.Expires)) {
			t.Errorf("%+v", c)
		}
	})
}

// FuzzPublic: no document of keys panics or gives a key that is weak.
func FuzzPublic(f *testing.F) {
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Add("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
	f.Add(jwkOf("a", &rsaKey().PublicKey))
	f.Fuzz(func(t *testing.T, text string) {
		if keys, err := playtoken.Public("", text); err == nil && len(keys) == 0 {
			t.Error("neither keys nor an error")
		}
	})
}
