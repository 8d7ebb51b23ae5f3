package query

import (
	"context"
	"errors"
	"time"

	"github.com/chronik-stream/chronik/query/gate"
)

// catchUpWait bounds how long a question about a topic that is not known waits for
// news of it.
const catchUpWait = time.Second

// plan checks a statement.
func (n *Node) plan(ctx context.Context, sql string, rowsMax int64) (*gate.Plan, error) {
	plan, err := gate.Check(ctx, n.engine, n.names(), sql, rowsMax)
	if errors.Is(err, gate.ErrUnknownTable) && n.catchUp(ctx) {
		return gate.Check(ctx, n.engine, n.names(), sql, rowsMax)
	}
	return plan, err
}

// catchUp waits until the catalog has all that is in the metadata store: what is
// not known may have come just now, by another node, which may have handed on what
// is asked. False: it does not.
func (n *Node) catchUp(ctx context.Context) bool {
	if n.config.CatchUp == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	return n.config.CatchUp(ctx) == nil
}
