//go:build !nosql

package engine

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

const (
	// memoryEvery is the time between two looks at a query's memory. What is
	// allocated in large pieces needs none: it is refused.
	memoryEvery = 10 * time.Millisecond
	// interruptEvery is the time between two interrupts of a query that is to end:
	// one that comes before DuckDB began is forgotten.
	interruptEvery = 5 * time.Millisecond
	// stopWithin is how long who asked waits for a query that was interrupted. Most
	// end within milliseconds; but DuckDB looks for interrupts between steps, and a
	// single step can compare two very long texts.
	stopWithin = 500 * time.Millisecond
)

// watch ends a query whose context has ended, or which needs too much memory.
type watch struct {
	stop       chan struct{} // ends the watcher
	halted     chan struct{} // closed when the query is to end
	overMemory atomic.Bool
	watcher    sync.WaitGroup
	unfinished *Unfinished // set when a call was left behind
}

func (r *Rows) begin() {
	r.stop, r.halted = make(chan struct{}), make(chan struct{})
	r.watcher.Go(r.watching)
}

// end stops watching.
func (r *Rows) end() {
	close(r.stop)
	r.watcher.Wait()
}

func (r *Rows) watching() {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-r.stop:
			return
		case <-r.ctx.Done():
			over = true
		case <-tick.C:
			if r.instance.account.bytes() > r.engine.options.MemoryBytesMax {
				r.overMemory.Store(true)
				over = true
			}
		}
	}
	close(r.halted)
	tick.Reset(interruptEvery)
	for {
		bindings.Interrupt(r.instance.conn)
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
	}
}

// do calls DuckDB, on the query's account. It returns soon after the query was
// told to end, also when DuckDB does not: then nothing of r but its unfinished
// may be used any more.
func (r *Rows) do(call func() error) error {
	done := make(chan error, 1)
	go func() {
		defer r.instance.account.enter()()
		done <- r.engine.guard(call)
	}()
	select {
	case err := <-done:
		return r.classify(err)
	case <-r.halted:
	}
	grace := time.NewTimer(stopWithin)
	defer grace.Stop()
	select {
	case err := <-done:
		return r.classify(err)
	case <-grace.C:
	}
	ended := make(chan struct{})
	go func() {
		<-done
		close(ended)
	}()
	reason := r.ctx.Err()
	if reason == nil {
		reason = r.tooLarge()
	}
	r.unfinished = &Unfinished{Ended: ended, reason: reason}
	return r.unfinished
}

// guard makes an error of a panic, which on a goroutine of ours would end the
// process, and with it every other query.
func (e *Engine) guard(call func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the query panicked: %v", cause)
			if e.options.Log != nil {
				e.options.Log.Error("a query panicked", "panic", cause, "stack", string(debug.Stack()))
			}
		}
	}()
	return call()
}

// classify says whose fault an error is.
func (r *Rows) classify(err error) error {
	if err != nil && err != io.EOF && r.ctx.Err() == nil && (r.overMemory.Load() || r.instance.account.refused()) {
		return r.tooLarge()
	}
	var duck *duckError
	if !errors.As(err, &duck) || duck.kind != "Out of Memory" || r.ctx.Err() != nil {
		return classify(r.ctx, err)
	}
	// DuckDB's own text has advice that nobody can follow who may not set anything.
	if strings.Contains(duck.message, "max_temp_directory_size") {
		return fmt.Errorf("%w: what does not fit into the memory of the query needs more than the %d MiB of disk that one query may have",
			ErrTooLarge, r.engine.options.SpillBytesMax>>20)
	}
	return r.tooLarge()
}

func (r *Rows) tooLarge() error {
	return fmt.Errorf("%w: the query needs more than the %d MiB of memory that one query may have", ErrTooLarge, r.engine.options.MemoryBytesMax>>20)
}
