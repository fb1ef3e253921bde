//go:build race

package viewer_test

// Under the race detector sync.Pool drops items at random, so allocations are not counted.
const raceEnabled = true
