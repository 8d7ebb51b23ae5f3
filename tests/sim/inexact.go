//go:build !exact

package sim

// What an exact build does, and this one leaves to Go.

func exactly(seed, chance uint64) (end func() (disturbed int)) { return func() int { return 0 } }

func collect(rests int) {}

func drawn() uint64 { return 0 }
