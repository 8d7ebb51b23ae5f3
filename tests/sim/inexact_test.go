//go:build !exact

package sim

import (
	"fmt"
	"testing"
)

// chances: Go has its own, each time.
func chances(yield func(uint64) bool) {
	for yield(0) {
	}
}

func apart(*testing.T, uint64, uint64) bool { return false }

func again(seed, _ uint64) string {
	return fmt.Sprintf("make sim SEED=%d (and SIM=10m for what Go decides by chance in a hundred ways)", seed)
}
