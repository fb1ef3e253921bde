package main

import "testing"

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 400}, {1 << 20, 400}, {8 << 20, 115}, {80 << 20, 25}, {1400 << 20, 16}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d MB alive: %d %%, want %d %%", c.live>>20, got, c.want)
		}
	}
}
