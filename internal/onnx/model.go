package onnx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrUnsupported is returned for a model that needs what is not here.
var ErrUnsupported = errors.New("not supported by the ONNX interpreter")

// Model is a graph that is ready to run. Any number of runs may be under way.
type Model struct {
	inputs  []Value
	outputs []Value
	slots   map[string]int // where values lie in a run's frame
	frame   []*Tensor      // a new frame: what is known before a run
	steps   []step
}

// step is a node with its operands looked up.
type step struct {
	*node
	run     operator
	in, out []int // slots; -1: not given
	last    []int // slots that nobody reads afterwards
}

// operator computes a node's outputs. An operand that is not given is nil.
type operator func(n *node, in []*Tensor) ([]*Tensor, error)

// Parse reads a model, and computes what does not depend on its inputs.
func Parse(data []byte) (*Model, error) {
	g, err := parseModel(data)
	if err != nil {
		return nil, fmt.Errorf("parsing the model: %w", err)
	}
	if err := g.supported(); err != nil {
		return nil, err
	}
	m := &Model{outputs: g.outputs, slots: make(map[string]int)}
	for name, t := range g.initializers {
		m.frame[m.slot(name)] = t
	}
	for _, v := range g.inputs {
		if g.initializers[v.Name] == nil { // old files list the weights, too
			m.inputs = append(m.inputs, v)
			m.slot(v.Name)
		}
	}
	for _, n := range g.nodes {
		if err := m.add(n); err != nil {
			return nil, err
		}
	}
	for _, v := range m.outputs {
		if _, ok := m.slots[v.Name]; !ok {
			return nil, fmt.Errorf("%w: nothing makes its output %q", ErrCorrupt, v.Name)
		}
	}
	m.packWeights()
	m.releaseEarly()
	return m, nil
}

// supported names the operators that are not known.
func (g *graph) supported() error {
	missing := make(map[string]bool)
	for _, n := range g.nodes {
		name := n.op
		if n.domain != "" && n.domain != "ai.onnx" {
			name = n.domain + "." + n.op
		}
		if operators[name] == nil {
			missing[name] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("operators %s: %w", strings.Join(slices.Sorted(maps.Keys(missing)), ", "), ErrUnsupported)
}

// slot gives a value's place in the frame.
func (m *Model) slot(name string) int {
	at, ok := m.slots[name]
	if !ok {
		at = len(m.frame)
		m.slots[name] = at
		m.frame = append(m.frame, nil)
	}
	return at
}

// add takes a node. One whose operands are known is computed now.
func (m *Model) add(n *node) error {
	s := step{node: n, run: operators[n.op]}
	known := true
	for _, name := range n.inputs {
		if name == "" {
			s.in = append(s.in, -1)
			continue
		}
		at, ok := m.slots[name]
		if !ok {
			return fmt.Errorf("%w: nothing makes %q before node %q needs it", ErrCorrupt, name, n.name)
		}
		known = known && m.frame[at] != nil
		s.in = append(s.in, at)
	}
	for _, name := range n.outputs {
		if name == "" {
			s.out = append(s.out, -1)
			continue
		}
		s.out = append(s.out, m.slot(name))
	}
	if known {
		return s.into(m.frame)
	}
	m.steps = append(m.steps, s)
	return nil
}

// into computes a step in a frame.
func (s *step) into(frame []*Tensor) (err error) {
	defer func() { // a file can claim any shape for anything; that must not end the process
		if mistake := recover(); mistake != nil {
			err = fmt.Errorf("%w: node %q (%s): %v", ErrCorrupt, s.name, s.op, mistake)
		}
	}()
	operands := make([]*Tensor, max(len(s.in), operandsMin))
	for i, at := range s.in {
		if at < 0 {
			continue
		}
		if operands[i] = frame[at]; operands[i] == nil {
			return fmt.Errorf("%w: node %q (%s) has no operand %d", ErrCorrupt, s.name, s.op, i)
		}
	}
	results, err := s.run(s.node, operands)
	if err != nil {
		return fmt.Errorf("running node %q (%s): %w", s.name, s.op, err)
	}
	for i, at := range s.out {
		if at < 0 {
			continue
		}
		if i >= len(results) {
			return fmt.Errorf("node %q (%s) with %d outputs: %w", s.name, s.op, len(s.out), ErrUnsupported)
		}
		frame[at] = results[i]
	}
	return nil
}

// operandsMin is how many operands an operator may look at without asking how
// many there are.
const operandsMin = 5

// packWeights lays the matrices that are always the right-hand side of a product
// out for it, and lets go of them as they were.
func (m *Model) packWeights() {
	readers := make(map[int]int)
	for _, s := range m.steps {
		for _, at := range s.in {
			readers[at]++
		}
	}
	for _, v := range m.outputs {
		readers[m.slots[v.Name]]++
	}
	packs := make(map[int]*packed)
	for i := range m.steps {
		s := &m.steps[i]
		if s.op != "MatMul" || len(s.in) != 2 || s.in[1] < 0 {
			continue
		}
		at := s.in[1]
		weights := m.frame[at]
		if weights == nil || weights.Kind != Float || len(weights.Shape) != 2 {
			continue
		}
		if packs[at] == nil {
			packs[at] = packColumns(weights.Floats, weights.Shape[0], weights.Shape[1])
		}
		p := packs[at]
		s.run = func(n *node, in []*Tensor) ([]*Tensor, error) { return one(multiplyPacked(in[0], p)) }
		s.in = s.in[:1]
		if readers[at]--; readers[at] == 0 {
			m.frame[at] = nil
		}
	}
}

// releaseEarly finds out which values are needed for the last time where.
func (m *Model) releaseEarly() {
	needed := make(map[int]bool)
	for _, v := range m.outputs {
		needed[m.slots[v.Name]] = true
	}
	for i := len(m.steps) - 1; i >= 0; i-- {
		s := &m.steps[i]
		for _, at := range append(slices.Clone(s.in), s.out...) {
			if at >= 0 && !needed[at] && m.frame[at] == nil {
				needed[at] = true
				s.last = append(s.last, at)
			}
		}
	}
}

// Inputs are what a run has to be given.
func (m *Model) Inputs() []Value { return m.inputs }

// Outputs are what a run gives.
func (m *Model) Outputs() []Value { return m.outputs }

// Run computes one output.
func (m *Model) Run(ctx context.Context, inputs map[string]*Tensor, output string) (*Tensor, error) {
	frame := slices.Clone(m.frame)
	for _, v := range m.inputs {
		t := inputs[v.Name]
		if t == nil {
			return nil, fmt.Errorf("the model's input %q is not given", v.Name)
		}
		frame[m.slots[v.Name]] = t
	}
	at, ok := m.slots[output]
	if !ok {
		return nil, fmt.Errorf("the model has no output %q", output)
	}
	for i := range m.steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := &m.steps[i]
		if err := s.into(frame); err != nil {
			return nil, err
		}
		for _, done := range s.last {
			frame[done] = nil
		}
	}
	return frame[at], nil
}

// one is the answer of an operator with a single output.
func one(t *Tensor, err error) ([]*Tensor, error) {
	if err != nil {
		return nil, err
	}
	return []*Tensor{t}, nil
}
