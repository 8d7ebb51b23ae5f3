//go:build !nosql

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
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
	rows, err := e.Stream(ctx, q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	plans := map[string]string{}
	for {
		batch, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return plans, nil
		}
		if err != nil {
			return nil, err
		}
		if batch.NumCols() != 2 {
			return nil, fmt.Errorf("explain: a row of %d columns", batch.NumCols())
		}
		for row := range int(batch.NumRows()) {
			// The batch's texts go with it.
			plans[strings.Clone(batch.Column(0).ValueStr(row))] = strings.Clone(batch.Column(1).ValueStr(row))
		}
		batch.Release()
	}
}
