//go:build race

package playback_test

// Under the race detector sync.Pool drops items at random, so allocations are not counted.
const raceEnabled = true
