// Package automaton makes automata over the bytes of terms: regular expressions
// as Lucene writes them, wildcards, prefixes and ranges.
//
// An automaton's states are expressions: what is still to come. From one state
// to the next it goes by the derivative, so that complement and intersection
// cost no more than the rest, and only states that some term reaches are ever
// made. How many there may be is bounded; whoever walks an automaton asks Err
// afterwards. An automaton is for one goroutine.
package automaton

import (
	"encoding/binary"
	"errors"
	"slices"
)

// ErrTooComplex says that a pattern needs more states than allowed.
var ErrTooComplex = errors.New("the pattern needs too many states")

// Automaton accepts terms byte by byte. States are numbers; 0 accepts nothing.
type Automaton struct {
	nodes  []node
	ids    map[string]int // of nodes, by what they are
	next   map[int][]int  // of states that were left: where each byte leads, -1 not yet known
	start  int
	states int // that there may be
	err    error
}

// node is an expression. Equal ones are the same, and so have one number.
type node struct {
	op       op
	low, hi  byte  // of byteRange
	parts    []int // of cat (two), alt, and; one of star, not
	nullable bool  // it matches the empty text
}

type op byte

const (
	nothing op = iota
	empty
	byteRange
	cat
	alt
	and
	star
	not
)

// The nodes that every automaton has.
const (
	none = 0 // matches nothing
	eps  = 1 // matches the empty text
	all  = 2 // matches everything
)

func newAutomaton(states int) *Automaton {
	a := &Automaton{ids: map[string]int{}, next: map[int][]int{}, states: states}
	a.intern(node{op: nothing})
	a.intern(node{op: empty, nullable: true})
	a.intern(node{op: not, parts: []int{none}, nullable: true})
	return a
}

// nodesPerState is how many expressions there may be for each state: those that
// a state is made of count too.
const nodesPerState = 20

func (a *Automaton) intern(n node) int {
	key := make([]byte, 3, 3+4*len(n.parts))
	key[0], key[1], key[2] = byte(n.op), n.low, n.hi
	for _, p := range n.parts {
		key = binary.LittleEndian.AppendUint32(key, uint32(p))
	}
	if id, ok := a.ids[string(key)]; ok {
		return id
	}
	if len(a.nodes) >= a.states*nodesPerState {
		a.err = ErrTooComplex
		return none
	}
	a.nodes = append(a.nodes, n)
	a.ids[string(key)] = len(a.nodes) - 1
	return len(a.nodes) - 1
}

func (a *Automaton) nullable(id int) bool { return a.nodes[id].nullable }

func (a *Automaton) bytes(low, high byte) int {
	return a.intern(node{op: byteRange, low: low, hi: high})
}

func (a *Automaton) cat(x, y int) int {
	switch {
	case x == none || y == none:
		return none
	case x == eps:
		return y
	case y == eps:
		return x
	}
	if n := a.nodes[x]; n.op == cat { // to the right, so that equal ones look the same
		return a.cat(n.parts[0], a.cat(n.parts[1], y))
	}
	return a.intern(node{op: cat, parts: []int{x, y}, nullable: a.nullable(x) && a.nullable(y)})
}

// set is the members of an alternative or an intersection, flat, each once.
func (a *Automaton) set(kind op, members []int) []int {
	var flat []int
	for _, m := range members {
		if n := a.nodes[m]; n.op == kind {
			flat = append(flat, n.parts...)
		} else {
			flat = append(flat, m)
		}
	}
	slices.Sort(flat)
	return slices.Compact(flat)
}

func (a *Automaton) alt(members ...int) int {
	flat := slices.DeleteFunc(a.set(alt, members), func(m int) bool { return m == none })
	switch {
	case len(flat) == 0:
		return none
	case slices.Contains(flat, all):
		return all
	case len(flat) == 1:
		return flat[0]
	}
	return a.intern(node{op: alt, parts: flat, nullable: slices.ContainsFunc(flat, a.nullable)})
}

func (a *Automaton) and(members ...int) int {
	flat := slices.DeleteFunc(a.set(and, members), func(m int) bool { return m == all })
	switch {
	case slices.Contains(flat, none):
		return none
	case len(flat) == 0:
		return all
	case len(flat) == 1:
		return flat[0]
	}
	nullable := !slices.ContainsFunc(flat, func(m int) bool { return !a.nullable(m) })
	return a.intern(node{op: and, parts: flat, nullable: nullable})
}

func (a *Automaton) star(x int) int {
	if x == none || x == eps {
		return eps
	}
	if x == all || a.nodes[x].op == star {
		return x
	}
	return a.intern(node{op: star, parts: []int{x}, nullable: true})
}

func (a *Automaton) not(x int) int {
	if n := a.nodes[x]; n.op == not {
		return n.parts[0]
	}
	return a.intern(node{op: not, parts: []int{x}, nullable: !a.nullable(x)})
}

// derive is what is still to come of x after a byte.
func (a *Automaton) derive(x int, b byte) int {
	n := a.nodes[x]
	switch n.op {
	case byteRange:
		if b >= n.low && b <= n.hi {
			return eps
		}
	case cat:
		first := a.cat(a.derive(n.parts[0], b), n.parts[1])
		if !a.nullable(n.parts[0]) {
			return first
		}
		return a.alt(first, a.derive(n.parts[1], b))
	case alt, and:
		parts := make([]int, len(n.parts))
		for i, p := range n.parts {
			parts[i] = a.derive(p, b)
		}
		if n.op == alt {
			return a.alt(parts...)
		}
		return a.and(parts...)
	case star:
		return a.cat(a.derive(n.parts[0], b), x)
	case not:
		return a.not(a.derive(n.parts[0], b))
	}
	return none
}

// Start is the state before the first byte.
func (a *Automaton) Start() int { return a.start }

// IsMatch reports whether a term that ends here is accepted.
func (a *Automaton) IsMatch(state int) bool { return a.nodes[state].nullable }

// CanMatch reports false where no longer term is accepted. It may report true
// where that is so too.
func (a *Automaton) CanMatch(state int) bool { return state != none }

// WillAlwaysMatch reports true where every longer term is accepted.
func (a *Automaton) WillAlwaysMatch(state int) bool { return state == all }

// Accept is the state after a byte.
func (a *Automaton) Accept(state int, b byte) int {
	row, known := a.next[state]
	if !known {
		if len(a.next) >= a.states {
			a.err = ErrTooComplex
			return none
		}
		row = make([]int, 256)
		for i := range row {
			row[i] = -1
		}
		a.next[state] = row
	}
	if row[b] < 0 {
		row[b] = a.derive(state, b)
	}
	return row[b]
}

// Match reports whether a term is accepted.
func (a *Automaton) Match(term []byte) bool {
	state := a.start
	for _, b := range term {
		if state = a.Accept(state, b); state == none {
			return false
		}
	}
	return a.IsMatch(state)
}

// Err is not nil when the automaton needed more states than allowed; what it
// accepted then means nothing.
func (a *Automaton) Err() error { return a.err }
