package archive

import "sync"

// Recordings that were asked for of late stay in memory: one of 12 h takes some
// 5 MB with its playlist.
const cached = 16

// A cache is guarded by Library.mu.
type cache struct {
	all map[string]*cacheEntry
	use int64
}

type cacheEntry struct {
	once sync.Once
	rec  *Recording
	err  error
	used int64
}

func newCache() cache { return cache{all: map[string]*cacheEntry{}} }

// get returns a session's recording, loaded once for all who ask meanwhile. An
// error is not kept.
func (c *cache) get(l *Library, id string, load func() (*Recording, error)) (*Recording, error) {
	l.mu.Lock()
	e := c.all[id]
	if e == nil {
		e = &cacheEntry{}
		c.all[id] = e
		c.trim()
	}
	c.use++
	e.used = c.use
	l.mu.Unlock()
	e.once.Do(func() { e.rec, e.err = load() })
	if e.err != nil {
		l.mu.Lock()
		if c.all[id] == e {
			delete(c.all, id)
		}
		l.mu.Unlock()
	}
	return e.rec, e.err
}

// trim lets go of what was used longest ago.
func (c *cache) trim() {
	for len(c.all) > cached {
		oldest := ""
		for id, e := range c.all {
			if oldest == "" || e.used < c.all[oldest].used {
				oldest = id
			}
		}
		delete(c.all, oldest)
	}
}

func (c *cache) drop(id string) { delete(c.all, id) }
