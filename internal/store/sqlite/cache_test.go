package sqlite

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestCacheRefusesWhatAWriteMadeOld(t *testing.T) {
	const key = "k"
	for _, c := range []struct {
		name  string
		write func(c *cache[string, int], put func())
		kept  bool
	}{
		{"no write", func(_ *cache[string, int], put func()) { put() }, true},
		{"read before, kept during the commit", func(c *cache[string, int], put func()) {
			c.suspend([]string{key})
			put()
			c.resume([]string{key})
		}, false},
		{"read before, kept after the commit", func(c *cache[string, int], put func()) {
			c.suspend([]string{key})
			c.resume([]string{key})
			put()
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newCache[string, int](100)
			_, generation := x.get(key)
			c.write(x, func() { x.put(key, 1, generation) })
			if v, _ := x.get(key); (v != nil) != c.kept {
				t.Errorf("kept is %v, want %v", v != nil, c.kept)
			}
		})
	}
	t.Run("read during the commit, kept after", func(t *testing.T) {
		x := newCache[string, int](100)
		x.suspend([]string{key})
		_, generation := x.get(key)
		x.resume([]string{key})
		x.put(key, 1, generation)
		if v, _ := x.get(key); v != nil {
			t.Error("kept, though it may be from before the commit")
		}
	})
	t.Run("two commits, one still under way", func(t *testing.T) {
		x := newCache[string, int](100)
		x.suspend([]string{key, key})
		x.resume([]string{key})
		_, generation := x.get(key)
		x.put(key, 1, generation)
		if v, _ := x.get(key); v != nil {
			t.Error("kept while a commit was under way")
		}
	})
}

func TestCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	const size = 160 // ten in each shard
	c := newCache[int, int](size)
	_, generation := c.get(-1)
	c.put(-1, -1, generation)
	for i := range 100 * size {
		_, generation := c.get(i)
		c.put(i, i, generation)
		c.get(-1)
		if i%3 == 0 { // places that were dropped are used again
			c.suspend([]int{i})
			c.resume([]int{i})
		}
	}
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		n += len(s.entries)
		if len(s.ring) > size/shards || len(s.ring) != len(s.entries)+len(s.free) {
			t.Errorf("shard %d: %d places, %d entries, %d free", i, len(s.ring), len(s.entries), len(s.free))
		}
	}
	if n > size || n < size/2 {
		t.Errorf("%d entries, want at most %d", n, size)
	}
	if v, _ := c.get(-1); v == nil {
		t.Error("the entry that was read all the time is gone")
	}
	c.close()
	_, generation = c.get(-1)
	c.put(-1, 1, generation)
	if v, _ := c.get(-1); v != nil {
		t.Error("a closed cache keeps things")
	}
}

// TestCacheUnderRaces has writers raise a number and readers cache it: no
// reader may see it fall.
func TestCacheUnderRaces(t *testing.T) {
	const key = 7
	c := newCache[int, int64](16)
	var stored atomic.Int64
	var readers, writers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			last := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, generation := c.get(key)
				if v == nil {
					x := stored.Load()
					c.put(key, x, generation)
					v = &x
				}
				if *v < last {
					t.Errorf("read %d after %d", *v, last)
					return
				}
				last = *v
			}
		})
	}
	for range 2 {
		writers.Go(func() {
			for range 20_000 {
				c.suspend([]int{key})
				mine := stored.Add(1)
				c.resume([]int{key})
				if v, _ := c.get(key); v != nil && *v < mine {
					t.Errorf("cached %d after %d was written", *v, mine)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}
