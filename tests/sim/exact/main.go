// Command exact writes what makes a Go toolchain build tests whose bubbles of
// testing/synctest run the same way each time: a few changes of the runtime, as an
// overlay of its sources. Nothing of the toolchain itself is changed.
//
//	go run ./tests/sim/exact -o bin/_exact
//	go test -tags exact -overlay bin/_exact/overlay.json ./tests/sim
//
// The underscore keeps the folder's files out of ./...
//
// While a test says so, in a bubble: what the runtime leaves to chance (which ready
// channel a select takes, math/rand, which of two timers is first) comes out of one
// seeded generator, and all loops over maps begin where the seed says; a goroutine
// runs until it waits, however long that takes, also in C; mutexes look at the
// bubble's clock. Everywhere, contexts end their children in the order in which they
// were made, and the hashes of maps are the same in each process.
//
// What is left are loops over large maps whose keys are pointers: their order is
// that of addresses, which are the same only where all that came before was.
//
// The first build compiles everything anew, some minutes; after that, Go's cache
// has it. When a new version of Go has other words where something is changed, this
// says which, and its test fails.
package main

import (
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// change is a place in the sources of Go that has to be there once, and what is
// put there.
type change struct {
	file     string
	old, new string
}

var changes = []change{
	// math/rand.
	{"runtime/rand.go", `func rand() uint64 {
`, `func rand() uint64 {
	if exactNow() {
		return exactDraw()
	}
`},
	// The seeds of maps, and where a loop over one begins. They are no draws, since how
	// many maps are made differs with what is in a pool, or what is logged.
	{"runtime/rand.go", `func maps_rand() uint64 {
	return rand()
`, `func maps_rand() uint64 {
	if !exactNow() {
		return 1
	}
	return exact.maps
`},
	{"runtime/alg.go", `		hashkey[i] = uintptr(bootstrapRand())
`, `		hashkey[i] = uintptr(exactKey(i))
`},
	{"runtime/alg.go", `		key[i] = bootstrapRand()
`, `		key[i] = exactKey(i)
`},
	{"runtime/select.go", `		j := cheaprandn(uint32(norder + 1))
`, `		j := exactBelow(uint32(norder + 1))
`},
	{"runtime/time.go", `			t.rand = cheaprand()
`, `			t.rand = exactBelow(1<<32 - 1)
`},
	// A mutex is handed over in another way when somebody has waited for long.
	{"runtime/sema.go", `func internal_sync_nanotime() int64 {
`, `func internal_sync_nanotime() int64 {
	if exactNow() {
		return getg().bubble.now
	}
`},
	// Nobody's turn ends by the clock of the machine, also not of who is in C or in
	// the kernel, unless it takes so long that something must hang.
	{"runtime/proc.go", `		} else if pd.schedwhen+forcePreemptNS <= now {
`, `		} else if pd.schedwhen+exactSlice() <= now {
`},
	{"runtime/proc.go", `		// Drop allpLock so we can take sched.lock.
		unlock(&allpLock)

		// Need to decrement`, `		if exact.on {
			if !sysretake {
				continue
			}
			exact.disturbed++
		}
		// Drop allpLock so we can take sched.lock.
		unlock(&allpLock)

		// Need to decrement`},
	// Goroutines outside of the bubble count here.
	{"runtime/proc.go", `	if pp.schedtick%61 == 0 && !sched.runq.empty() {
`, `	if pp.schedtick%61 == 0 && !exact.on && !sched.runq.empty() {
`},
	// A map of pointers is in the order of their addresses.
	{"context/context.go", `	children map[canceler]struct{} //`, `	children map[canceler]uint64 //`},
	{"context/context.go", `				p.children = make(map[canceler]struct{})
`, `				p.children = make(map[canceler]uint64)
`},
	{"context/context.go", `			p.children[child] = struct{}{}
`, `			p.children[child] = exactNumber()
`},
	{"context/context.go", `	for child := range c.children {
`, `	for _, child := range exactOrder(c.children) {
`},
}

//go:embed runtime.go.txt
var addedToRuntime string

//go:embed context.go.txt
var addedToContext string

// sources are the files of Go that differ, by their path below its src.
func sources(goroot string) (map[string]string, error) {
	files := map[string]string{"runtime/exact.go": addedToRuntime, "context/exact.go": addedToContext}
	for _, c := range changes {
		if _, begun := files[c.file]; !begun {
			text, err := os.ReadFile(filepath.Join(goroot, "src", c.file))
			if err != nil {
				return nil, err
			}
			files[c.file] = string(text)
		}
		if n := strings.Count(files[c.file], c.old); n != 1 {
			return nil, fmt.Errorf("%s of the Go in %s has this %d times and not once, so the changes have to be looked at again:\n%s", c.file, goroot, n, c.old)
		}
		files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
	}
	return files, nil
}

// write puts the files and overlay.json into a folder.
func write(goroot, folder string) error {
	files, err := sources(goroot)
	if err != nil {
		return err
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	replace := map[string]string{}
	for name, text := range files {
		path := filepath.Join(folder, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		replace[filepath.Join(goroot, "src", name)] = path
	}
	overlay, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o644)
}

// root is where the Go is that builds this module.
func root() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func main() {
	folder := flag.String("o", "bin/_exact", "the folder to write to")
	flag.Parse()
	goroot, err := root()
	if err == nil {
		err = write(goroot, *folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "exact:", err)
		os.Exit(1)
	}
}
