package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/api"
	"tally/internal/auth"
)

func TestLimitIsABucketThatFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := api.NewBucketed(100) // one each 3 s
		took := func(n int) (ok int) {
			for range n {
				if l.Take("a") == 0 {
					ok++
				}
			}
			return ok
		}
		time.Sleep(time.Hour) // it does not overflow
		if n := took(500); n != 100 {
			t.Errorf("%d of 500 at once are let through, want 100", n)
		}
		if wait := l.Take("a"); wait != 3 {
			t.Errorf("wait is %d s, want 3", wait)
		}
		if l.Take("b") != 0 {
			t.Error("another's bucket is empty")
		}
		time.Sleep(2500 * time.Millisecond)
		if wait := l.Take("a"); wait != 1 {
			t.Errorf("wait is %d s, want a whole second for half of one", wait)
		}
		time.Sleep(500 * time.Millisecond)
		if n := took(10); n != 1 {
			t.Errorf("%d let through after 3 s, want 1: what is refused takes nothing out", n)
		}
		ok := 0
		for range 3000 { // ten times the limit's rate for 15 minutes
			time.Sleep(300 * time.Millisecond)
			ok += took(1)
		}
		if ok != 300 {
			t.Errorf("%d let through in 15 minutes, want 300", ok)
		}
		time.Sleep(5 * time.Minute)
		if n := took(500); n != 100 {
			t.Errorf("%d let through after 5 minutes, want 100", n)
		}
	})
}

func TestNoLimit(t *testing.T) {
	l := api.NewBucketed(0)
	for range 10_000 {
		if l.Take("a") != 0 {
			t.Fatal("refused")
		}
	}
}

func TestLimitCountsExactlyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := api.NewBucketed(1000)
		var ok atomic.Int64
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for range 100 {
					if l.Take("a") == 0 {
						ok.Add(1)
					}
				}
			})
		}
		if all.Wait(); ok.Load() != 1000 {
			t.Errorf("%d let through, want 1000", ok.Load())
		}
	})
}

// TestLimitsMemory: however many come, so many buckets are kept, and among them
// that of the one who is at the limit.
func TestLimitsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := api.NewBucketed(100)
		for range 100 {
			l.Take("busy")
		}
		for i := range 300_000 {
			l.Take(strconv.Itoa(i))
		}
		if n := l.Len(); n > 65536 || n < 60000 {
			t.Errorf("%d buckets, want at most 65536", n)
		}
		if l.Take("busy") == 0 {
			t.Error("the one at the limit was forgotten")
		}
		time.Sleep(5 * time.Minute) // all are full again: any may go
		for i := range 70_000 {
			l.Take(fmt.Sprint("late ", i))
		}
		if n := l.Len(); n > 65536 {
			t.Errorf("%d buckets, want at most 65536", n)
		}
	})
}

func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("192.0.2.1/32")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		client     string
		counted    string // "": as client
	}{
		{"no proxy", "198.51.100.7:1234", nil, "198.51.100.7", ""},
		{"who is no proxy says nothing", "198.51.100.7:1234", []string{"203.0.113.9"}, "198.51.100.7", ""},
		{"proxy", "10.1.2.3:1234", []string{"203.0.113.9"}, "203.0.113.9", ""},
		{"proxy that says nothing", "10.1.2.3:1234", nil, "10.1.2.3", ""},
		{"client that says something itself", "10.1.2.3:1234", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9", ""},
		{"two proxies", "10.1.2.3:1234", []string{"1.1.1.1,203.0.113.9 , 10.9.9.9"}, "203.0.113.9", ""},
		{"two lines", "10.1.2.3:1234", []string{"203.0.113.9", "10.9.9.9, 192.0.2.1"}, "203.0.113.9", ""},
		{"proxies alone", "10.1.2.3:1234", []string{"10.7.7.7, 10.8.8.8"}, "10.7.7.7", ""},
		{"with a port", "10.1.2.3:1234", []string{"203.0.113.9:5555"}, "203.0.113.9", ""},
		{"no address", "10.1.2.3:1234", []string{"unknown"}, "10.1.2.3", ""},
		{"no address behind a proxy", "10.1.2.3:1234", []string{"203.0.113.9, _hidden, 10.9.9.9"}, "10.1.2.3", ""},
		{"no address that nobody reads", "10.1.2.3:1234", []string{"nonsense, 203.0.113.9"}, "203.0.113.9", ""},
		{"empty", "10.1.2.3:1234", []string{""}, "10.1.2.3", ""},
		{"a comma too many", "10.1.2.3:1234", []string{"203.0.113.9,"}, "10.1.2.3", ""},
		{"IPv6", "[2001:db8:2:3:4:5:6:7]:1234", nil, "2001:db8:2:3:4:5:6:7", "2001:db8:2:3::"},
		{"IPv6 behind IPv6", "[2001:db8:1::1]:1234", []string{"2001:db8:2:3:4:5:6:7"}, "2001:db8:2:3:4:5:6:7", "2001:db8:2:3::"},
		{"IPv6 in brackets", "10.1.2.3:1234", []string{"[2001:db8:2:3::9]:4711, [2001:db8:1::2]"}, "2001:db8:2:3::9", "2001:db8:2:3::"},
		{"IPv4 in IPv6", "[::ffff:10.1.2.3]:1234", []string{"::ffff:203.0.113.9"}, "203.0.113.9", ""},
		{"zone", "[fe80::1%eth0]:1234", nil, "fe80::1", "fe80::"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			client, counted := api.ClientOf(r, proxies...)
			if c.counted == "" {
				c.counted = c.client
			}
			if client.String() != c.client || counted.String() != c.counted {
				t.Errorf("client %v, counted as %v; want %s and %s", client, counted, c.client, c.counted)
			}
		})
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "@"
	if client, _ := api.ClientOf(r, proxies...); client.IsValid() {
		t.Errorf("a Unix socket has the address %v", client)
	}
}

// limited makes the world's API anew with these limits.
func (w *world) limit(token, address int) {
	w.cfg.RateLimit, w.cfg.AddressRateLimit = token, address
	w.cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's peer
	w.h = api.New(w.cfg)
}

func TestTooManyRequestsOfAToken(t *testing.T) {
	w := newWorld(t)
	w.limit(3, 0)
	other := w.newToken(auth.Realtime)
	for i := range 5 {
		rec := w.call("GET", base+"/livestreams", "")
		want := http.StatusOK
		if i >= 3 {
			want = http.StatusTooManyRequests
		}
		if rec.Code != want {
			t.Errorf("request %d: %d, want %d", i, rec.Code, want)
		}
		if n, err := strconv.Atoi(rec.Header().Get("Retry-After")); i >= 3 && (err != nil || n < 99 || n > 100) {
			t.Errorf("Retry-After is %q, want 100 s: one request each", rec.Header().Get("Retry-After"))
		}
	}
	said := regexp.MustCompile(`"errors":\[\{"code":429,"message":"TOO_MANY_REQUESTS: try again in (100|99) s"\}\].*"error":\{"code":429,`)
	if rec := w.call("GET", base+"/livestreams", ""); !said.MatchString(rec.Body.String()) {
		t.Errorf("the answer is %s", rec.Body)
	}
	if rec := w.call("GET", base+"/livestreams", "", "Authorization", "Bearer "+other); rec.Code != http.StatusOK {
		t.Errorf("another token: %d", rec.Code)
	}
	if rec := w.call("GET", base+"/livestreams", "", "Authorization", "Bearer wrong"); rec.Code != http.StatusUnauthorized {
		t.Errorf("no token: %d", rec.Code)
	}
}

// TestTooManyRequestsFromAnAddress: wrong tokens and paths count too, so nobody
// tries tokens faster than the limit.
func TestTooManyRequestsFromAnAddress(t *testing.T) {
	w := newWorld(t)
	w.limit(0, 4)
	from := func(client, token, path string) int {
		return w.call("GET", path, "", "X-Forwarded-For", client, "Authorization", "Bearer "+token).Code
	}
	for _, c := range []struct {
		client, token, path string
		want                int
	}{
		{"2001:db8::1", "wrong", base + "/livestreams", 401},
		{"2001:db8::2", "", base + "/livestreams", 401},
		{"2001:db8::3", w.token, "/client/v4/nothing", 404},
		{"2001:db8::4", w.token, base + "/livestreams", 200},
		{"2001:db8::5", w.token, base + "/livestreams", 429},
		{"2001:db8::6", "wrong", base + "/livestreams", 429},
		{"2001:db8:0:1::1", w.token, base + "/livestreams", 200},
		{"203.0.113.1", w.token, base + "/livestreams", 200},
	} {
		if got := from(c.client, c.token, c.path); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.client, c.path, got, c.want)
		}
	}
}

func BenchmarkLimit(b *testing.B) {
	l := api.NewBucketed(1 << 30)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Take("0b0f8f6e-0000-4000-8000-000000000000")
		}
	})
}
