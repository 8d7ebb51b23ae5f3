package main

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// A test that fails once and never again when it is alone is most often one that
// a busy machine disturbs. It is not hidden: it is told of with all that it said,
// and named in the last lines as unsteady. But one such test in thousands does
// not hold up a change that has nothing to do with it.

const (
	// againRuns is how often in a row a failed test has to pass, alone.
	againRuns = 3
	// unsteadyMax is how many tests of a run may be unsteady: more are a pattern.
	unsteadyMax = 2
)

// final is where one failure decides, since what is looked for there is rare: a
// promise about data that is broken once is broken.
var final = regexp.MustCompile(`/tests/(sim|crash|model|history)$`)

// fatal is what no test says that merely came too late.
var fatal = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE|.*\[build failed\])`)

// suspects are the tests that may be tried again, without their subtests; none
// if what failed is not for another try.
func suspects(failed []key, output map[string]string, packages []string) []key {
	var out []key
	for _, k := range failed {
		top, _, _ := strings.Cut(k.test, "/")
		if k = (key{k.pkg, top}); !slices.Contains(out, k) {
			out = append(out, k)
		}
		if final.MatchString(k.pkg) || fatal.MatchString(output[k.pkg]) {
			return nil
		}
	}
	for _, pkg := range packages {
		if !slices.ContainsFunc(out, func(k key) bool { return k.pkg == pkg }) {
			return nil // it failed, and none of its tests did
		}
	}
	if len(out) > unsteadyMax {
		return nil
	}
	return out
}

// passes runs a test alone, as often as it has to pass.
func passes(k key, out io.Writer) bool {
	command := exec.Command("go", "test", fmt.Sprintf("-count=%d", againRuns), "-failfast", "-timeout=10m", "-run", "^"+k.test+"$", k.pkg)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	if err := command.Run(); err != nil {
		fmt.Fprintf(out, "failed again: %s %s\n%s", short(k.pkg), k.test, said.Bytes())
		return false
	}
	return true
}
