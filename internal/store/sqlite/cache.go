package sqlite

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const shards = 16

// A cache keeps what was read, at most size entries, and never what a write has
// made old. The order that makes this so: a writer suspends the keys it changed
// before it commits, and resumes them after. While a key's shard is suspended
// nothing is put there, and a value that was read before the suspension or
// during it is refused by its generation; so nobody sees an old value after
// somebody saw the new one.
//
// When full, an entry that was not read since the hand last passed it makes
// room (clock). Safe for concurrent use.
type cache[K comparable, V any] struct {
	seed   maphash.Seed
	shards [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu         sync.RWMutex
	entries    map[K]*entry[K, V]
	ring       []*entry[K, V] // all entries; nil where one was dropped
	free       []int          // places in ring that are nil
	hand       int
	size       int    // at most so many entries; 0 once closed
	generation uint64 // changes with every suspension and resumption
	suspended  int    // commits under way that change a key of this shard
}

type entry[K comparable, V any] struct {
	key   K
	value V // never changed
	place int
	used  atomic.Bool
}

func newCache[K comparable, V any](size int) *cache[K, V] {
	c := &cache[K, V]{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].size = max(1, size/shards)
		c.shards[i].entries = map[K]*entry[K, V]{}
	}
	return c
}

func (c *cache[K, V]) shard(key K) *shard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, key)%shards]
}

// get returns the value, or nil and the generation to hand to put with what was
// read after this call. The value is shared: do not change it.
func (c *cache[K, V]) get(key K) (*V, uint64) {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[key]
	if e == nil {
		return nil, s.generation
	}
	if !e.used.Load() { // do not write to a shared line without need
		e.used.Store(true)
	}
	return &e.value, s.generation
}

// put keeps a value that was read after get returned generation, unless
// something was written since.
func (c *cache[K, V]) put(key K, value V, generation uint64) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspended > 0 || s.generation != generation || s.size == 0 || s.entries[key] != nil {
		return
	}
	if len(s.entries) >= s.size {
		s.evict()
	}
	e := &entry[K, V]{key: key, value: value}
	if n := len(s.free); n > 0 {
		e.place, s.free = s.free[n-1], s.free[:n-1]
		s.ring[e.place] = e
	} else {
		e.place = len(s.ring)
		s.ring = append(s.ring, e)
	}
	s.entries[key] = e
}

// evict drops one entry that was not used lately. The ring is full when called.
func (s *shard[K, V]) evict() {
	for {
		e := s.ring[s.hand]
		s.hand = (s.hand + 1) % len(s.ring)
		if e != nil && !e.used.Swap(false) {
			s.drop(e)
			return
		}
	}
}

func (s *shard[K, V]) drop(e *entry[K, V]) {
	delete(s.entries, e.key)
	s.ring[e.place] = nil
	s.free = append(s.free, e.place)
}

// suspend drops the keys and lets none be put until resume is called with the
// same keys.
func (c *cache[K, V]) suspend(keys []K) {
	for _, key := range keys {
		s := c.shard(key)
		s.mu.Lock()
		s.generation++
		s.suspended++
		if e := s.entries[key]; e != nil {
			s.drop(e)
		}
		s.mu.Unlock()
	}
}

// resume ends a suspension.
func (c *cache[K, V]) resume(keys []K) {
	for _, key := range keys {
		s := c.shard(key)
		s.mu.Lock()
		s.generation++
		s.suspended--
		s.mu.Unlock()
	}
}

// close drops everything; from now on get finds nothing.
func (c *cache[K, V]) close() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.size = 0
		s.generation++
		s.entries, s.ring, s.free = nil, nil, nil
		s.mu.Unlock()
	}
}
