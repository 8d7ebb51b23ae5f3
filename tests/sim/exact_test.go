//go:build exact

package sim

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

var (
	chanceFlag = flag.Uint64("sim.chance", 0, "with -sim.seed: what Go decides by chance, from 1; 0: one after the other")
	hereFlag   = flag.Bool("sim.here", false, "with -sim.seed and -sim.chance: play in this process; else each play has its own")
)

// chances are those to be played.
func chances(yield func(uint64) bool) {
	if *chanceFlag != 0 {
		yield(*chanceFlag)
		return
	}
	for chance := uint64(1); yield(chance); chance++ {
	}
}

// apart plays in a process of its own, so that nothing was before: what a process
// has in its caches and pools changes what is drawn. It reports whether that was to
// be done.
func apart(t *testing.T, seed, chance uint64) bool {
	if *hereFlag {
		return false
	}
	if err := alone(t, os.Stdout, seed, chance, *traceFlag); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	return true
}

// alone plays in a new process, whose heap is the same each time.
func alone(t *testing.T, out io.Writer, seed, chance uint64, traced bool) error {
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheClusterKeepsItsPromises$", "-test.v", "-test.timeout=0",
		fmt.Sprintf("-sim.seed=%d", seed), fmt.Sprintf("-sim.chance=%d", chance), "-sim.here", fmt.Sprintf("-sim.trace=%t", traced))
	command.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off")
	command.Stdout, command.Stderr = out, out
	return command.Run()
}

// again is how to play the same once more.
func again(seed, chance uint64) string {
	return fmt.Sprintf("make sim SEED=%d CHANCE=%d TRACE=1", seed, chance)
}

var fingerprinted = regexp.MustCompile(`\d+ events, [0-9a-f]{16}`)

func TestASeedReplays(t *testing.T) {
	play := func(chance uint64, traced bool) string {
		var out bytes.Buffer
		if err := alone(t, &out, 1, chance, traced); err != nil {
			t.Fatalf("%v\n%s", err, out.Bytes())
		}
		return fingerprinted.FindString(out.String())
	}
	first := play(1, false)
	if first == "" {
		t.Fatal("no fingerprint is told")
	}
	for _, traced := range []bool{false, true} {
		if again := play(1, traced); again != first {
			t.Errorf("first %s, then (traced: %t) %s", first, traced, again)
		}
	}
	if other := play(2, false); other == first {
		t.Errorf("with two chances %s", first)
	}
}
