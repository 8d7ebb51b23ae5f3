package query

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/resultcache"
)

// question is what the answer of a plan is computed from; nil when it is not
// settled by that. A table's definition has the names of its files, which never
// change their content, with the rows that are left out, and the offsets that it
// covers.
func question(plan *gate.Plan, s statement, q engine.Query, byTopic map[string]*bound) *resultcache.Question {
	if plan.Volatile {
		return nil
	}
	out := &resultcache.Question{SQL: q.SQL, Parameters: q.Parameters, Principal: s.Principal, RowsMax: q.RowsMax}
	for i, view := range q.Views {
		b := byTopic[plan.Tables[i].Topic]
		var definition strings.Builder
		definition.WriteString(view.SQL)
		for _, index := range slices.Sorted(maps.Keys(b.coverage.Partitions)) {
			c := b.coverage.Partitions[index]
			fmt.Fprintf(&definition, "\n%d: %d to %d", index, c.From, c.To)
		}
		out.Tables = append(out.Tables, resultcache.Table{Name: view.Name, Definition: definition.String()})
	}
	return out
}

// rows are those that are kept as the question's answer, those of a run that
// somebody else began, or the engine's, which are kept if they are few.
func (n *Node) rows(ctx context.Context, asked *resultcache.Question, q engine.Query) (rows resultcache.Rows, shared bool, err error) {
	begin := func(ctx context.Context) (resultcache.Rows, error) {
		rows, err := n.engine.Stream(ctx, q)
		if err != nil {
			return nil, err // not rows: a nil *engine.Rows in an interface is not nil
		}
		return rows, nil
	}
	if asked != nil {
		if key, ok := asked.Key(); ok {
			return n.results.Ask(ctx, key, begin)
		}
	}
	rows, err = begin(ctx)
	return rows, false, err
}
