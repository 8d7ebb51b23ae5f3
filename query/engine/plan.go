package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Explained is how the engine means to run a query, and, when it was run, how
// that went.
type Explained struct {
	Logical, Physical *Operator
	Analyzed          *Operator // nil when the query was not run
}

// Operator is a step of a plan, over the rows of its children.
type Operator struct {
	Name      string
	Details   []string // "Filters: amount>5"
	Estimated int64    // rows; −1: not known
	Ran       bool
	Rows      int64   // when it ran
	Seconds   float64 // when it ran, without its children
	Children  []*Operator
}

// EstimatedRows is the engine's guess at the rows of the answer: that of the
// topmost operator that has one.
func (o *Operator) EstimatedRows() int64 {
	for at := o; at != nil; at = at.Children[0] {
		if at.Estimated >= 0 {
			return at.Estimated
		}
		if len(at.Children) != 1 {
			break
		}
	}
	return -1
}

// String writes the plan as text, the topmost operator first, children indented.
func (o *Operator) String() string {
	var b strings.Builder
	o.write(&b, "")
	return b.String()
}

func (o *Operator) write(b *strings.Builder, indent string) {
	b.WriteString(indent + o.Name)
	switch {
	case o.Ran:
		fmt.Fprintf(b, " (%d rows, %.4f s)", o.Rows, o.Seconds)
	case o.Estimated >= 0:
		fmt.Fprintf(b, " (~%d rows)", o.Estimated)
	}
	if len(o.Details) > 0 {
		b.WriteString(" " + strings.Join(o.Details, "; "))
	}
	b.WriteByte('\n')
	for _, c := range o.Children {
		c.write(b, indent+"  ")
	}
}

// operatorJSON is an operator in both of DuckDB's forms.
type operatorJSON struct {
	Name         string         `json:"name"`
	OperatorName string         `json:"operator_name"`
	Rows         int64          `json:"operator_cardinality"`
	Seconds      float64        `json:"operator_timing"`
	Info         map[string]any `json:"extra_info"`
	Children     []operatorJSON `json:"children"`
}

const estimatedCardinality = "Estimated Cardinality"

// parsePlan reads what EXPLAIN (FORMAT JSON) answers, or with ANALYZE.
func parsePlan(text string) (*Operator, error) {
	var root operatorJSON
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		var roots []operatorJSON
		if err := json.Unmarshal([]byte(text), &roots); err != nil || len(roots) != 1 {
			return nil, fmt.Errorf("read a plan of %d roots: %w", len(roots), err)
		}
		return roots[0].operator(false), nil
	}
	if err := json.Unmarshal([]byte(text), &root); err != nil {
		return nil, fmt.Errorf("read a plan: %w", err)
	}
	// Above the query's own operators are the session and EXPLAIN ANALYZE.
	at := &root
	for at.OperatorName == "" || at.OperatorName == "EXPLAIN_ANALYZE" {
		if len(at.Children) != 1 {
			break
		}
		at = &at.Children[0]
	}
	return at.operator(true), nil
}

func (j *operatorJSON) operator(ran bool) *Operator {
	o := &Operator{Name: j.Name + j.OperatorName, Estimated: -1, Ran: ran, Rows: j.Rows, Seconds: j.Seconds}
	for _, key := range slices.Sorted(maps.Keys(j.Info)) {
		value := detail(j.Info[key])
		switch {
		case key == estimatedCardinality:
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				o.Estimated = n
			}
		case key == "Filename(s)" || key == "Function" || value == "":
			// Local copies of files mean nothing to who asks.
		default:
			o.Details = append(o.Details, key+": "+value)
		}
	}
	for i := range j.Children {
		o.Children = append(o.Children, j.Children[i].operator(ran))
	}
	return o
}

func detail(v any) string {
	switch v := v.(type) {
	case string:
		return strings.Join(strings.Fields(v), " ")
	case []any:
		var parts []string
		for _, p := range v {
			parts = append(parts, detail(p))
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v)
}
