package api

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// limitWindow is the time in which a limit's number of requests may come.
const limitWindow = 5 * time.Minute

// maxBuckets bounds a limiter at about 10 MB.
const maxBuckets = 65536

// errLimited is a 429. A limited wraps it.
var errLimited = errors.New("too many requests")

// limited says how long a client has to wait.
type limited struct{ wait time.Duration }

func (e limited) Error() string { return errLimited.Error() }
func (e limited) Unwrap() error { return errLimited }

// seconds is the wait in whole seconds, as Retry-After has it: at least 1.
func (e limited) seconds() string {
	return strconv.FormatInt(int64((max(e.wait, 1)+time.Second-1)/time.Second), 10)
}

// A limiter has one token bucket for each key: it holds as many requests as the
// limit says and fills evenly within limitWindow. What is refused takes nothing
// out, so a client that goes on asking is let through at the limit's rate. A
// bucket is one number, when it will be full again; what is full need not be
// kept. A nil limiter lets everything through. Safe for concurrent use.
//
// It holds at most maxBuckets. When there are more, of eight picked at random
// those that are full are forgotten, or else the fullest: who is near the limit
// stays known, however many new ones come.
type limiter[K comparable] struct {
	every time.Duration // a request's share of limitWindow
	begin time.Time     // of the buckets' clock, which is monotonic
	seed  maphash.Seed
	parts [16]struct {
		mu      sync.RWMutex
		buckets map[K]*atomic.Int64 // ns after begin: when it will be full again
		_       [32]byte            // a cache line for each lock
	}
}

// newLimiter allows n requests in limitWindow; nil when n is 0 or less.
func newLimiter[K comparable](n int) *limiter[K] {
	if n <= 0 {
		return nil
	}
	return &limiter[K]{every: limitWindow / time.Duration(n), begin: time.Now(), seed: maphash.MakeSeed()}
}

// take takes one request out of key's bucket, or returns limited.
func (l *limiter[K]) take(key K) error {
	if l == nil {
		return nil
	}
	now := time.Since(l.begin)
	for b := l.bucket(key, now); ; {
		before := b.Load()
		full := max(time.Duration(before), now) + l.every
		if wait := full - now - limitWindow; wait > 0 {
			return limited{wait}
		}
		if b.CompareAndSwap(before, int64(full)) {
			return nil
		}
	}
}

func (l *limiter[K]) bucket(key K, now time.Duration) *atomic.Int64 {
	p := &l.parts[maphash.Comparable(l.seed, key)%uint64(len(l.parts))]
	p.mu.RLock()
	b := p.buckets[key]
	p.mu.RUnlock()
	if b != nil {
		return b
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.buckets[key]; b != nil {
		return b
	}
	if p.buckets == nil {
		p.buckets = map[K]*atomic.Int64{}
	}
	if len(p.buckets) >= maxBuckets/len(l.parts) {
		makeRoom(p.buckets, now)
	}
	b = new(atomic.Int64)
	p.buckets[key] = b
	return b
}

// makeRoom forgets at least one of the buckets.
func makeRoom[K comparable](buckets map[K]*atomic.Int64, now time.Duration) {
	var fullest K
	var soonest int64
	looked, dropped := 0, false
	for key, b := range buckets { // begins anywhere
		at := b.Load()
		if at <= int64(now) {
			delete(buckets, key)
			dropped = true
		} else if looked == 0 || at < soonest {
			fullest, soonest = key, at
		}
		if looked++; looked == 8 {
			break
		}
	}
	if !dropped {
		delete(buckets, fullest)
	}
}

// perSubscriber is the address by which requests are counted: an IPv6 network of
// 64 bits is one subscriber's.
func perSubscriber(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
