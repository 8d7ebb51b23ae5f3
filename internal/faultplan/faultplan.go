// Package faultplan is the language in which faults are planned: what goes
// wrong, where and when. Each seam that injects faults brings its own words
// (Language); plans of all of them print, parse and replay alike.
//
// A plan's text has one rule per line or between semicolons:
//
//	seed 7; put segments/ fail-after p=0.05; get * delay=20ms every=10; open * cut nth=3
//
// It is pure: chance is not drawn but computed from the seed and the call, so a
// plan strikes the same calls whenever they come in the same order at their site.
package faultplan

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Op is an operation of a seam.
type Op string

// Any stands for all operations.
const Any Op = "*"

// Effect is what goes wrong.
type Effect string

// Rule says what goes wrong, where and when. Exactly one of Probability, Nth
// and Every is set.
type Rule struct {
	Op     Op
	Name   string // which objects or keys, as the seam has it; empty is all
	Effect Effect
	Wait   time.Duration // of an effect that takes one

	Probability float64 // of each matching call
	Nth         int64   // only the nth matching call, from 1
	Every       int64   // each nth matching call
}

// Plan is a list of rules, and the seed of their chance.
type Plan struct {
	Seed  uint64
	Rules []Rule
}

// Language are the words that a seam knows.
type Language struct {
	Ops    []Op     // beside Any
	Plain  []Effect // effects without a value
	Timed  []Effect // effects with a duration: effect=20ms
	Naming string   // what a name is, for errors: PREFIX, KEY
}

// String prints the plan as Parse reads it.
func (p Plan) String() string {
	lines := []string{fmt.Sprintf("seed %d", p.Seed)}
	for _, r := range p.Rules {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "; ")
}

// String prints the rule as Parse reads it.
func (r Rule) String() string {
	name, effect, when := r.Name, string(r.Effect), ""
	if name == "" {
		name = "*"
	}
	if r.Wait > 0 {
		effect += "=" + r.Wait.String()
	}
	switch {
	case r.Nth > 0:
		when = fmt.Sprintf("nth=%d", r.Nth)
	case r.Every > 0:
		when = fmt.Sprintf("every=%d", r.Every)
	default:
		when = "p=" + strconv.FormatFloat(r.Probability, 'g', -1, 64)
	}
	return fmt.Sprintf("%s %s %s %s", r.Op, name, effect, when)
}

// Parse reads a plan's text. Empty rules and lines that begin with # are skipped.
func (l Language) Parse(text string) (Plan, error) {
	var p Plan
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for rule := range strings.SplitSeq(line, ";") {
			if err := l.parse(&p, strings.Fields(rule)); err != nil {
				return Plan{}, fmt.Errorf("fault %q: %w", strings.TrimSpace(rule), err)
			}
		}
	}
	return p, nil
}

func (l Language) parse(p *Plan, words []string) (err error) {
	switch {
	case len(words) == 0:
		return nil
	case words[0] == "seed" && len(words) == 2:
		p.Seed, err = strconv.ParseUint(words[1], 10, 64)
		return err
	case len(words) != 4:
		return fmt.Errorf("want: OP %s|* EFFECT p=|nth=|every=", l.Naming)
	}
	r := Rule{Op: Op(words[0]), Name: words[1]}
	if r.Name == "*" {
		r.Name = ""
	}
	if r.Op != Any && !slices.Contains(l.Ops, r.Op) {
		return fmt.Errorf("unknown operation %q", words[0])
	}
	if err := l.parseEffect(&r, words[2]); err != nil {
		return err
	}
	if err := r.parseWhen(words[3]); err != nil {
		return err
	}
	p.Rules = append(p.Rules, r)
	return nil
}

func (l Language) parseEffect(r *Rule, word string) (err error) {
	effect, wait, valued := strings.Cut(word, "=")
	r.Effect = Effect(effect)
	switch {
	case slices.Contains(l.Plain, r.Effect):
		if valued {
			return fmt.Errorf("%s takes no value", effect)
		}
		return nil
	case slices.Contains(l.Timed, r.Effect):
		if r.Wait, err = time.ParseDuration(wait); err == nil && r.Wait <= 0 {
			err = fmt.Errorf("%s of %v is not above zero", effect, r.Wait)
		}
		return err
	default:
		return fmt.Errorf("unknown effect %q", effect)
	}
}

func (r *Rule) parseWhen(word string) (err error) {
	kind, value, _ := strings.Cut(word, "=")
	switch kind {
	case "p":
		r.Probability, err = strconv.ParseFloat(value, 64)
		// Written so that NaN is refused too.
		if err == nil && !(r.Probability > 0 && r.Probability <= 1) {
			err = fmt.Errorf("probability %v is not in (0, 1]", r.Probability)
		}
	case "nth":
		r.Nth, err = parseCount(value)
	case "every":
		r.Every, err = parseCount(value)
	default:
		err = fmt.Errorf("unknown condition %q", word)
	}
	return err
}

func parseCount(value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err == nil && n < 1 {
		err = fmt.Errorf("%d is not a count", n)
	}
	return n, err
}

// Strikes tells whether the rule strikes its match-th matching call, whose
// chance is that of Hash.
func (r Rule) Strikes(match int64, chance uint64) bool {
	switch {
	case r.Nth > 0:
		return match == r.Nth
	case r.Every > 0:
		return match%r.Every == 0
	default:
		return float64(chance>>11)/(1<<53) < r.Probability
	}
}

// Hash is the chance of a call: of the seed, the rule's index, the site, and how
// many calls that site has seen. It mixes well enough in all its bits, which
// plain FNV does not.
func Hash(seed, rule uint64, site string, call uint64) uint64 {
	h := fnv.New64a()
	var n [24]byte
	binary.LittleEndian.PutUint64(n[0:], seed)
	binary.LittleEndian.PutUint64(n[8:], rule)
	binary.LittleEndian.PutUint64(n[16:], call)
	_, _ = h.Write(n[:])           // a hash never fails
	_, _ = io.WriteString(h, site) // as above
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
