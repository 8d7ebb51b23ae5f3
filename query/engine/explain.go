//go:build !nosql

package engine

import (
	"context"
	"fmt"
)

// Explain says how a query is run; with analyze it is run, and its rows thrown
// away.
func (e *Engine) Explain(ctx context.Context, q Query, analyze bool) (*Explained, error) {
	plans, err := e.plans(ctx, q, "EXPLAIN (FORMAT JSON) ")
	if err != nil {
		return nil, err
	}
	out := &Explained{}
	if out.Logical, err = parsePlan(plans["logical_opt"]); err != nil {
		return nil, err
	}
	if out.Physical, err = parsePlan(plans["physical_plan"]); err != nil || !analyze {
		return out, err
	}
	if plans, err = e.plans(ctx, q, "EXPLAIN (ANALYZE, FORMAT JSON) "); err != nil {
		return nil, err
	}
	out.Analyzed, err = parsePlan(plans["analyzed_plan"])
	return out, err
}

// plans are the plans that an EXPLAIN of the query answers, by their kinds.
func (e *Engine) plans(ctx context.Context, q Query, prefix string) (map[string]string, error) {
	const plansMax = 10
	q.SQL, q.RowsMax = prefix+q.SQL, plansMax
	answer, err := e.Run(ctx, q)
	if err != nil {
		return nil, err
	}
	plans := map[string]string{}
	for _, row := range answer.Rows {
		if len(row) != 2 {
			return nil, fmt.Errorf("explain: a row of %d columns", len(row))
		}
		plans[fmt.Sprint(row[0])] = fmt.Sprint(row[1])
	}
	return plans, nil
}
