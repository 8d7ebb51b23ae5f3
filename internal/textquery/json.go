package textquery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/chronik-stream/chronik/internal/suggest"
)

// Limits of a request's JSON.
const (
	depthMax = 100
	nodesMax = 200_000 // a terms query may have 65,536 values
)

// node is a JSON value with its place. Objects keep their members' order.
type node struct {
	kind    nodeKind
	name    string // of the member whose value it is; empty: it is none's
	text    string // of strings, numbers, booleans
	members []member
	items   []*node
	at      int64 // byte behind the value's first token
	src     *source
}

type member struct {
	name  string
	value *node
}

type nodeKind uint8

const (
	nullNode nodeKind = iota
	stringNode
	numberNode
	boolNode
	objectNode
	arrayNode
)

func (k nodeKind) String() string {
	return [...]string{"null", "a string", "a number", "a boolean", "an object", "an array"}[k]
}

// source is the text that nodes came from.
type source struct {
	body  []byte
	nodes int
}

func parseJSON(body []byte) (*node, error) {
	src := &source{body: body}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	root, err := src.value(dec, 0)
	if err != nil {
		var ours *Error
		if errors.As(err, &ours) {
			return nil, err
		}
		return nil, src.errorAt(dec.InputOffset(), typeContent, "not JSON: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, src.errorAt(dec.InputOffset(), typeContent, "something follows the request's JSON object")
	}
	return root, nil
}

func (s *source) value(dec *json.Decoder, depth int) (*node, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	return s.build(dec, token, depth)
}

func (s *source) build(dec *json.Decoder, token json.Token, depth int) (*node, error) {
	n := &node{at: dec.InputOffset(), src: s}
	if depth > depthMax {
		return nil, n.fail("nested deeper than %d", depthMax)
	}
	if s.nodes++; s.nodes > nodesMax {
		return nil, n.fail("more than %d values", nodesMax)
	}
	switch t := token.(type) {
	case string:
		n.kind, n.text = stringNode, t
	case json.Number:
		n.kind, n.text = numberNode, t.String()
	case bool:
		n.kind, n.text = boolNode, strconv.FormatBool(t)
	case nil:
		n.kind = nullNode
	case json.Delim:
		if t == '[' {
			return n, s.array(dec, n, depth)
		}
		return n, s.object(dec, n, depth)
	}
	return n, nil
}

func (s *source) array(dec *json.Decoder, n *node, depth int) error {
	n.kind = arrayNode
	for dec.More() {
		item, err := s.value(dec, depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := dec.Token()
	return err
}

func (s *source) object(dec *json.Decoder, n *node, depth int) error {
	n.kind = objectNode
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder lets nothing else stand here
		value, err := s.value(dec, depth+1)
		if err != nil {
			return err
		}
		if seen[name] {
			return value.fail("duplicate field [%s]", name)
		}
		seen[name], value.name = true, name
		n.members = append(n.members, member{name, value})
	}
	_, err := dec.Token()
	return err
}

func (s *source) errorAt(at int64, kind, format string, args ...any) *Error {
	before := s.body[:min(int(at), len(s.body))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return &Error{Type: kind, Reason: fmt.Sprintf(format, args...), Line: line, Column: max(1, column)}
}

func (n *node) fail(format string, args ...any) *Error {
	return n.src.errorAt(n.at, typeParsing, format, args...)
}

// failValue refuses the value of a member, by the member's name.
func (n *node) failValue(format string, args ...any) *Error {
	e := n.fail(format, args...)
	if n.name != "" {
		e.Reason = "[" + n.name + "] " + e.Reason
	}
	return e
}

// place gives an error of a value its place.
func (n *node) place(err error) error {
	var ours *Error
	if errors.As(err, &ours) && ours.Line == 0 {
		return n.src.errorAt(n.at, ours.Type, "%s", ours.Reason)
	}
	return err
}

// one is the only member of an object.
func (n *node) one(what string) (member, error) {
	if n.kind != objectNode {
		return member{}, n.fail("%s: expected an object, found %s", what, n.kind)
	}
	if len(n.members) != 1 {
		return member{}, n.fail("%s: expected exactly one field, found %d", what, len(n.members))
	}
	return n.members[0], nil
}

// setters say what to do with each member that an object may have.
type setters map[string]func(*node) error

// params hands each member of an object to its setter. A member without one is
// refused by name.
func (n *node) params(what string, set setters) error {
	if n.kind != objectNode {
		return n.fail("%s: expected an object, found %s", what, n.kind)
	}
	for _, m := range n.members {
		f, known := set[m.name]
		if !known {
			return m.value.fail("[%s] does not support [%s]%s", what, m.name, suggest.Hint(m.name, names(set)))
		}
		if err := f(m.value); err != nil {
			return m.value.place(err)
		}
	}
	return nil
}

func names(set setters) []string {
	list := make([]string, 0, len(set))
	for name := range set {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// The setters of simple values.

func text(to *string) func(*node) error {
	return func(n *node) error {
		v, err := n.scalar()
		*to = v.Text
		return err
	}
}

func literal(to *Value) func(*node) error {
	return func(n *node) (err error) {
		*to, err = n.scalar()
		return err
	}
}

func (n *node) scalar() (Value, error) {
	switch n.kind {
	case stringNode:
		return Value{StringValue, n.text}, nil
	case numberNode:
		return Value{NumberValue, n.text}, nil
	case boolNode:
		return Value{BoolValue, n.text}, nil
	default:
		return Value{}, n.failValue("expected a value, found %s", n.kind)
	}
}

func boolean(to *bool) func(*node) error {
	return func(n *node) error {
		if n.kind != boolNode && n.kind != stringNode || n.text != "true" && n.text != "false" {
			return n.failValue("expected true or false, found %s", n.show())
		}
		*to = n.text == "true"
		return nil
	}
}

func number(to *float64) func(*node) error {
	return func(n *node) error {
		f, err := strconv.ParseFloat(n.text, 64)
		if err != nil || (n.kind != numberNode && n.kind != stringNode) || f != f || f-f != 0 {
			return n.failValue("expected a number, found %s", n.show())
		}
		*to = f
		return nil
	}
}

func integer(to *int, low, high int) func(*node) error {
	return func(n *node) error {
		i, err := strconv.Atoi(n.text)
		if err != nil || (n.kind != numberNode && n.kind != stringNode) || i < low || i > high {
			return n.failValue("expected a whole number from %d to %d, found %s", low, high, n.show())
		}
		*to = i
		return nil
	}
}

func boost(to *Boost) func(*node) error {
	return func(n *node) error {
		var f float64
		if err := number(&f)(n); err != nil {
			return err
		}
		if f < 0 {
			return n.fail("[boost] cannot be negative, found %s", n.text)
		}
		*to = Boost(f)
		return nil
	}
}

// list reads an array of values, or a value alone as an array of one.
func list(to *[]string) func(*node) error {
	return func(n *node) error {
		items := n.items
		if n.kind != arrayNode {
			items = []*node{n}
		}
		out := make([]string, 0, len(items))
		for _, item := range items {
			v, err := item.scalar()
			if err != nil {
				return err
			}
			out = append(out, v.Text)
		}
		*to = out
		return nil
	}
}

// oneOf reads a word and looks up what it means.
func oneOf[T any](to *T, words map[string]T) func(*node) error {
	return func(n *node) error {
		v, known := words[lower(n.text)]
		if n.kind != stringNode && n.kind != boolNode || !known {
			known := make([]string, 0, len(words))
			for word := range words {
				known = append(known, word)
			}
			slices.Sort(known)
			return n.failValue("%s is none of %v", n.show(), known)
		}
		*to = v
		return nil
	}
}

// show is a value for an error message.
func (n *node) show() string {
	switch n.kind {
	case stringNode:
		return strconv.Quote(cut(n.text))
	case numberNode, boolNode:
		return cut(n.text)
	default:
		return n.kind.String()
	}
}

func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
