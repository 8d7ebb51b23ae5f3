//go:build exact

// The runtime of an exact build has functions of ours, which //go:linkname names; it
// takes the import of unsafe, of which nothing is used.

package sim

import (
	"runtime"
	"runtime/debug"
	_ "unsafe" // for go:linkname
)

// exactBegin makes the runtime draw what it leaves to chance, from a seed; see
// tests/sim/exact. Without the overlay this does not link.
//
//go:linkname exactBegin
func exactBegin(seed uint64)

//go:linkname exactEnd
func exactEnd() (disturbed int)

//go:linkname exactDraws
func exactDraws() uint64

// exactly begins an exact run. Memory is collected only when collect says so.
func exactly(seed, chance uint64) (end func() (disturbed int)) {
	percent := debug.SetGCPercent(-1)
	exactBegin(seed<<32 + chance)
	return func() int {
		defer debug.SetGCPercent(percent)
		return exactEnd()
	}
}

// restsPerCollection is how often everything comes to rest between two collections
// of garbage, which take about a tenth of the time then.
const restsPerCollection = 2000

// collect collects garbage now and then, while nothing runs.
func collect(rests int) {
	if rests%restsPerCollection == 0 {
		runtime.GC()
	}
}

// drawn is what the runtime has drawn so far. It differs soon where two runs do, and
// before any call of a seam.
func drawn() uint64 { return exactDraws() }
