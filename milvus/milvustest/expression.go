package milvustest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// predicate says whether a row passes an expression.
type predicate func(key string, r row) bool

// compile reads the part of Milvus' expressions that Chronik writes: comparisons
// of numbers, "in" of numbers and keys, "and", "or" and parentheses.
func compile(text string) (predicate, error) {
	if text == "" {
		return func(string, row) bool { return true }, nil
	}
	p := &parser{tokens: tokens.FindAllString(text, -1)}
	pass, err := p.either()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%q is left over", p.tokens)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot parse expression: %s: %w", text, err)
	}
	return pass, nil
}

var tokens = regexp.MustCompile(`"[^"]*"|[a-z]+|-?[0-9]+|[<>=]=|\S`)

type parser struct{ tokens []string }

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

func (p *parser) eat(token string) bool {
	if len(p.tokens) > 0 && p.tokens[0] == token {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *parser) either() (predicate, error) {
	left, err := p.both()
	for err == nil && p.eat("or") {
		var right predicate
		if right, err = p.both(); err == nil {
			a := left
			left = func(key string, r row) bool { return a(key, r) || right(key, r) }
		}
	}
	return left, err
}

func (p *parser) both() (predicate, error) {
	left, err := p.term()
	for err == nil && p.eat("and") {
		var right predicate
		if right, err = p.term(); err == nil {
			a := left
			left = func(key string, r row) bool { return a(key, r) && right(key, r) }
		}
	}
	return left, err
}

func (p *parser) term() (predicate, error) {
	if p.eat("(") {
		inner, err := p.either()
		if err == nil && !p.eat(")") {
			err = fmt.Errorf("%q where ) is missing", p.next())
		}
		return inner, err
	}
	field, operator := p.next(), p.next()
	if operator == "in" {
		return p.list(field)
	}
	bound, err := strconv.ParseInt(p.next(), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("comparing %s: %w", field, err)
	}
	compare, ok := comparisons[operator]
	if !ok {
		return nil, fmt.Errorf("operator %q", operator)
	}
	return func(_ string, r row) bool {
		v, has := r.numbers[field]
		return has && compare(v, bound)
	}, nil
}

var comparisons = map[string]func(a, b int64) bool{
	"==": func(a, b int64) bool { return a == b },
	"<":  func(a, b int64) bool { return a < b },
	"<=": func(a, b int64) bool { return a <= b },
	">=": func(a, b int64) bool { return a >= b },
}

func (p *parser) list(field string) (predicate, error) {
	if !p.eat("[") {
		return nil, fmt.Errorf("no list after in")
	}
	var values []string
	for !p.eat("]") {
		if len(p.tokens) == 0 {
			return nil, fmt.Errorf("a list without an end")
		}
		values = append(values, p.next())
		p.eat(",")
	}
	return func(key string, r row) bool {
		if strings.HasPrefix(values[0], `"`) {
			return slices.Contains(values, strconv.Quote(key))
		}
		return slices.Contains(values, strconv.FormatInt(r.numbers[field], 10))
	}, nil
}
