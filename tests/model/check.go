package model

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
)

// System is a nondeterministic system: where it may start, what may happen
// next in each state, and what must never be. Its states are values, small and
// free of pointers: two that are equal have the same future.
type System[S comparable] struct {
	Starts []S
	// Steps tells every state that may follow s, each with the step that leads
	// to it.
	Steps func(s S, follows func(S, Step))
	// Broken says what is wrong in s; "" if nothing is.
	Broken func(s S) string
	// Show draws a state for a human.
	Show func(s S) string
}

// Step names what happened, and to which broker, message or object; -1 to none.
type Step struct {
	Name string
	Of   int
}

func (s Step) String() string {
	if s.Of < 0 {
		return s.Name
	}
	return fmt.Sprintf("%s %d", s.Name, s.Of)
}

// Result is what Explore found.
type Result struct {
	States int
	Depth  int // steps of the longest shortest way to a state
	Broken string
	Trace  string // the shortest way to the flaw, a step a line
}

// ErrTooMany means: the system has more states than Explore was allowed to see,
// and nothing is shown.
var ErrTooMany = errors.New("the model has more states than allowed")

// Explore visits every reachable state, breadth first, until one is broken, so
// the trace of a flaw is as short as any. It keeps 128 bits of hash a state and
// not the states: that two of them meet is less likely than a broken machine.
func Explore[S comparable](sys System[S], statesMax int) (Result, error) {
	e := explorer[S]{sys: sys, seen: map[print128]struct{}{}, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	var frontier []S
	var ids []uint32
	for i, s := range sys.Starts {
		if e.visit(s) {
			e.from = append(e.from, origin{parent: noParent, ordinal: uint16(i)})
			frontier, ids = append(frontier, s), append(ids, uint32(len(e.from)-1))
		}
	}
	for depth := 0; len(frontier) > 0; depth++ {
		var next []S
		var nextIDs []uint32
		for i, s := range frontier {
			if why := sys.Broken(s); why != "" {
				return Result{States: len(e.from), Depth: depth, Broken: why, Trace: e.trace(ids[i])}, nil
			}
			ordinal := uint16(0)
			sys.Steps(s, func(t S, _ Step) {
				if e.visit(t) {
					e.from = append(e.from, origin{parent: ids[i], ordinal: ordinal})
					next, nextIDs = append(next, t), append(nextIDs, uint32(len(e.from)-1))
				}
				ordinal++
			})
			if len(e.from) > statesMax {
				return Result{States: len(e.from), Depth: depth}, ErrTooMany
			}
		}
		if len(next) == 0 {
			return Result{States: len(e.from), Depth: depth}, nil
		}
		frontier, ids = next, nextIDs
	}
	return Result{}, nil
}

type print128 [2]uint64

const noParent = ^uint32(0)

// origin is how a state was reached first: by which of its parent's steps.
type origin struct {
	parent  uint32
	ordinal uint16
}

type explorer[S comparable] struct {
	sys   System[S]
	seeds [2]maphash.Seed
	seen  map[print128]struct{}
	from  []origin
}

func (e *explorer[S]) visit(s S) bool {
	p := print128{maphash.Comparable(e.seeds[0], s), maphash.Comparable(e.seeds[1], s)}
	if _, ok := e.seen[p]; ok {
		return false
	}
	e.seen[p] = struct{}{}
	return true
}

// trace walks from the start to a state again and tells the way.
func (e *explorer[S]) trace(id uint32) string {
	var way []uint16
	for ; e.from[id].parent != noParent; id = e.from[id].parent {
		way = append(way, e.from[id].ordinal)
	}
	s := e.sys.Starts[e.from[id].ordinal]
	var text strings.Builder
	fmt.Fprintf(&text, "%-28s %s\n", "start", e.sys.Show(s))
	for i := len(way) - 1; i >= 0; i-- {
		n := uint16(0)
		from := s
		e.sys.Steps(from, func(t S, step Step) {
			if n == way[i] {
				s = t
				fmt.Fprintf(&text, "%-28s %s\n", step, e.sys.Show(t))
			}
			n++
		})
	}
	return text.String()
}
