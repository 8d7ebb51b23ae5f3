package faults

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Op is a method of kv.Store.
type Op string

// The operations, and Any for all of them.
const (
	Any       Op = "*"
	Get       Op = "get"
	Range     Op = "range"
	Txn       Op = "txn"
	Watch     Op = "watch" // each value that a watch sends
	Grant     Op = "grant"
	KeepAlive Op = "keepalive"
	Revoke    Op = "revoke"
)

var operations = []Op{Any, Get, Range, Txn, Watch, Grant, KeepAlive, Revoke}

// Effect is what goes wrong.
type Effect string

const (
	// FailBefore answers kv.ErrUnavailable and does nothing.
	FailBefore Effect = "fail-before"
	// FailAfter does it and answers kv.ErrUnknownOutcome: a lost answer.
	FailAfter Effect = "fail-after"
	// Lose does nothing and answers kv.ErrUnknownOutcome: a lost request.
	Lose Effect = "lose"
	// Late answers kv.ErrUnknownOutcome at once and does a transaction after
	// Wait: a request that got stuck. For a lease it is Lose.
	Late Effect = "late"
	// Delay waits, and then does it.
	Delay Effect = "delay"
	// Cut ends a watch with an error. Other operations are left alone; every
	// other effect but Delay cuts a watch too, and fails a read.
	Cut Effect = "cut"
)

// Rule says what goes wrong, where and when. Exactly one of Probability, Nth
// and Every is set.
type Rule struct {
	Op     Op
	Key    string // only calls that name a key with this in it; empty is all
	Effect Effect
	Wait   time.Duration // of Delay and Late

	Probability float64 // of each matching call
	Nth         int64   // only the nth matching call, from 1
	Every       int64   // each nth matching call
}

// Plan is a list of rules; the first that strikes a call decides it, but a Delay
// lets those after it strike as well.
//
// Its text has one rule per line or between semicolons:
//
//	seed 7; txn /commits/ fail-after p=0.05; txn * late=20ms every=10; watch * cut nth=3
type Plan struct {
	Seed  uint64
	Rules []Rule
}

// String prints the plan as ParsePlan reads it.
func (p Plan) String() string {
	lines := []string{fmt.Sprintf("seed %d", p.Seed)}
	for _, r := range p.Rules {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "; ")
}

// String prints the rule as ParsePlan reads it.
func (r Rule) String() string {
	key, effect, when := r.Key, string(r.Effect), ""
	if key == "" {
		key = "*"
	}
	if r.Effect.timed() {
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
	return fmt.Sprintf("%s %s %s %s", r.Op, key, effect, when)
}

func (e Effect) timed() bool { return e == Delay || e == Late }

// ParsePlan reads a plan's text. Empty rules and lines that begin with # are
// skipped.
func ParsePlan(text string) (Plan, error) {
	var p Plan
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for rule := range strings.SplitSeq(line, ";") {
			if err := p.parse(strings.Fields(rule)); err != nil {
				return Plan{}, fmt.Errorf("fault %q: %w", strings.TrimSpace(rule), err)
			}
		}
	}
	return p, nil
}

func (p *Plan) parse(words []string) (err error) {
	switch {
	case len(words) == 0:
		return nil
	case words[0] == "seed" && len(words) == 2:
		p.Seed, err = strconv.ParseUint(words[1], 10, 64)
		return err
	case len(words) != 4:
		return errors.New("want: OP KEY|* EFFECT p=|nth=|every=")
	}
	r := Rule{Op: Op(words[0]), Key: words[1]}
	if r.Key == "*" {
		r.Key = ""
	}
	if !slices.Contains(operations, r.Op) {
		return fmt.Errorf("unknown operation %q", words[0])
	}
	if err := r.parseEffect(words[2]); err != nil {
		return err
	}
	if err := r.parseWhen(words[3]); err != nil {
		return err
	}
	p.Rules = append(p.Rules, r)
	return nil
}

func (r *Rule) parseEffect(word string) (err error) {
	effect, wait, valued := strings.Cut(word, "=")
	r.Effect = Effect(effect)
	switch r.Effect {
	case FailBefore, FailAfter, Lose, Cut:
		if valued {
			return fmt.Errorf("%s takes no value", effect)
		}
		return nil
	case Delay, Late:
		if r.Wait, err = time.ParseDuration(wait); err == nil && r.Wait <= 0 {
			err = fmt.Errorf("%v is not above zero", r.Wait)
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
