// Command report reads the output of `go test -json` and writes what a person
// wants of it: a line for each package, everything that a failed test said, and
// at the end every skipped test with its reason. -v adds a line for each test.
// It fails when a test did; with -again not for one or two that then pass alone,
// three times in a row, which it names as unsteady.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	verbose := flag.Bool("v", false, "a line for each test")
	again := flag.Bool("again", false, "try one or two tests that failed again, alone")
	flag.Parse()
	try := func(key, io.Writer) bool { return false }
	if *again {
		try = passes
	}
	failed, err := report(os.Stdin, os.Stdout, *verbose, try)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	if failed {
		os.Exit(1)
	}
}

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64
}

type key struct{ pkg, test string }

// report copies in to out as described above, and tries again what failed. Lines
// that are no events are passed on: they are what the go command itself has to say.
func report(in io.Reader, out io.Writer, verbose bool, again func(key, io.Writer) bool) (failed bool, err error) {
	said := make(map[key]*strings.Builder)
	var skipped, broken, unsteady []string
	var failures []key                // tests
	var packages []string             // that failed
	output := make(map[string]string) // of packages that failed, with that of their failed tests
	passed := 0
	running := make(map[string]bool) // packages
	begun := false
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line == "" && err == io.EOF {
			break
		}
		if err != nil && err != io.EOF {
			return true, err
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
			fmt.Fprint(out, line)
			continue
		}
		k := key{e.Package, e.Test}
		switch e.Action {
		case "start":
			running[e.Package], begun = true, true
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			if said[k] == nil {
				said[k] = new(strings.Builder)
			}
			said[k].WriteString(e.Output)
		case "fail":
			failed = true
			output[e.Package] += told(said[k])
			if e.Test == "" {
				packages = append(packages, e.Package)
			} else {
				failures = append(failures, k)
				broken = append(broken, fmt.Sprintf("%s %s: %s", short(e.Package), e.Test, complaints(told(said[k]))))
			}
			fmt.Fprintf(out, "FAIL  %s %s (%s)\n%s", short(e.Package), e.Test, seconds(e.Elapsed), told(said[k]))
		case "skip":
			if e.Test != "" {
				skipped = append(skipped, fmt.Sprintf("%s %s: %s", short(e.Package), e.Test, reason(told(said[k]))))
			}
		case "pass":
			if e.Test == "" {
				fmt.Fprintf(out, "ok    %s (%s)\n", short(e.Package), seconds(e.Elapsed))
				break
			}
			passed++
			if verbose && !strings.Contains(e.Test, "/") {
				fmt.Fprintf(out, "ok    %s (%s)\n", e.Test, seconds(e.Elapsed))
			}
		}
		if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
			delete(said, k)
			if e.Test == "" {
				delete(running, e.Package)
				begun = true
			}
		}
	}
	if !begun || len(running) > 0 {
		return true, fmt.Errorf("the tests did not come to an end: %d packages were running", len(running))
	}
	for _, s := range skipped {
		fmt.Fprintln(out, "skipped:", s)
	}
	if tried := suspects(failures, output, packages); len(tried) > 0 && !slices.ContainsFunc(tried, func(k key) bool { return !again(k, out) }) {
		failed, broken, unsteady = false, nil, broken
	}
	for _, s := range unsteady {
		fmt.Fprintf(out, "UNSTEADY, it failed once and then passed %d times alone: %s\n", againRuns, s)
	}
	for _, s := range broken {
		fmt.Fprintln(out, "failed:", s)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d unsteady, %d skipped\n", passed, len(broken), len(unsteady), len(skipped))
	return failed, nil
}

func told(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}

// reason is the last line that a skipped test said for itself.
func reason(said string) string {
	last := "no reason given"
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			last = line
		}
	}
	return last
}

// complaintsMax bounds, in bytes, what is said once more of one failed test.
const complaintsMax = 400

var complaint = regexp.MustCompile(`^\s*\w+_test\.go:\d+: `)

// complaints are the lines that a test logged in its own file, the last ones if
// there are many: a test complains at its end, after what it logged on its way.
func complaints(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		if complaint.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	text := strings.Join(lines, "; ")
	if over := len(text) - complaintsMax; over > 0 {
		text = "…" + strings.ToValidUTF8(text[over:], "")
	}
	return text
}

func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/chronik-stream/chronik/")
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}
