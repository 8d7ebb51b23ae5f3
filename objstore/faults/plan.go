package faults

import "github.com/chronik-stream/chronik/internal/faultplan"

// Op is a method of objstore.Bucket.
type Op = faultplan.Op

// The operations, and Any for all of them.
const (
	Any       = faultplan.Any
	Put    Op = "put"
	Get    Op = "get"
	Open   Op = "open"
	Head   Op = "head"
	Delete Op = "delete"
	List   Op = "list"
)

// Effect is what goes wrong.
type Effect = faultplan.Effect

const (
	// FailBefore answers ErrUnavailable and does nothing.
	FailBefore Effect = "fail-before"
	// FailAfter does it, and then answers ErrUnavailable: a lost answer.
	FailAfter Effect = "fail-after"
	// Delay waits, and then does it.
	Delay Effect = "delay"
	// Cut breaks the connection in the middle: a Put's body ends early and
	// nothing is stored; an Open's reader and a List fail with ErrUnavailable
	// at some point; the other operations fail like FailBefore.
	Cut Effect = "cut"
	// Flip turns one bit over: of what Get and Open return, or of what Put
	// stores. Operations and objects without bytes are left alone.
	Flip Effect = "flip"
)

// Rule is a rule of a Plan. Its Name is a prefix of the object's name, or of
// List's prefix.
type Rule = faultplan.Rule

// Plan is a list of rules; the first that strikes a call decides it, but a Delay
// lets those after it strike as well. Its text:
//
//	seed 7; put segments/ fail-after p=0.05; get * delay=20ms every=10; open * cut nth=3
type Plan = faultplan.Plan

// ParsePlan reads a plan's text.
func ParsePlan(text string) (Plan, error) {
	return faultplan.Language{
		Ops:    []Op{Put, Get, Open, Head, Delete, List},
		Plain:  []Effect{FailBefore, FailAfter, Cut, Flip},
		Timed:  []Effect{Delay},
		Naming: "PREFIX",
	}.Parse(text)
}
