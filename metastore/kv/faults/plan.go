package faults

import "github.com/chronik-stream/chronik/internal/faultplan"

// Op is a method of kv.Store.
type Op = faultplan.Op

// The operations, and Any for all of them.
const (
	Any          = faultplan.Any
	Get       Op = "get"
	Range     Op = "range"
	Txn       Op = "txn"
	Watch     Op = "watch" // each value that a watch sends
	Grant     Op = "grant"
	KeepAlive Op = "keepalive"
	Revoke    Op = "revoke"
)

// Effect is what goes wrong.
type Effect = faultplan.Effect

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

// Rule is a rule of a Plan. It strikes only calls that name a key with its Name
// in it.
type Rule = faultplan.Rule

// Plan is a list of rules; the first that strikes a call decides it, but a Delay
// lets those after it strike as well.
//
// Its text has one rule per line or between semicolons:
//
//	seed 7; txn /commits/ fail-after p=0.05; txn * late=20ms every=10; watch * cut nth=3
type Plan = faultplan.Plan

// ParsePlan reads a plan's text.
func ParsePlan(text string) (Plan, error) {
	return faultplan.Language{
		Ops:    []Op{Get, Range, Txn, Watch, Grant, KeepAlive, Revoke},
		Plain:  []Effect{FailBefore, FailAfter, Lose, Cut},
		Timed:  []Effect{Delay, Late},
		Naming: "KEY",
	}.Parse(text)
}
