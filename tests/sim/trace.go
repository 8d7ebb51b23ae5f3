package sim

import (
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"strings"
	"sync"
	"time"
)

// traceTail is how many lines are kept to be printed with a failure.
const traceTail = 400

// trace is the list of what happened at the seams, in order.
type trace struct {
	mu    sync.Mutex
	out   io.Writer // nil: only the tail is kept
	lines []string  // ring
	count int
	sum   hash.Hash64
}

func newTrace(out io.Writer) *trace {
	return &trace{out: out, lines: make([]string, traceTail), sum: fnv.New64a()}
}

// add records what a seed decides: the same seed gives the same lines.
func (t *trace) add(at time.Duration, format string, args ...any) {
	line := fmt.Sprintf("%13.6fs ", at.Seconds()) + fmt.Sprintf(format, args...) + "\n"
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = io.WriteString(t.sum, line) // a hash never fails
	t.lines[t.count%traceTail] = line
	t.count++
	t.print(line)
}

// note records what may differ between two runs of a seed: a node's log.
func (t *trace) note(at time.Duration, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out != nil {
		t.print(fmt.Sprintf("%13.6fs   ", at.Seconds()) + fmt.Sprintf(format, args...) + "\n")
	}
}

func (t *trace) print(line string) {
	if t.out != nil {
		_, _ = io.WriteString(t.out, line) // for whoever looks on
	}
}

// fingerprint tells two traces apart, and also two runs that have the same one and
// are not the same.
func (t *trace) fingerprint() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d events, %016x", t.count, t.sum.Sum64()+drawn())
}

// tail is the last that happened.
func (t *trace) tail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for i := max(0, t.count-traceTail); i < t.count; i++ {
		b.WriteString(t.lines[i%traceTail])
	}
	return b.String()
}
