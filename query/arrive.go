package query

import (
	"context"
	"errors"

	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/tail"
)

// arrive waits until the tails of a plan's topics have what the latest is to
// cover. A query does so before it takes a place among those that run: while one
// topic's tail is behind, queries of others run. It returns what it learned of
// each topic, for bind; nothing of one that changes meanwhile.
func (n *Node) arrive(ctx context.Context, tables []gate.Table, want freshness) (map[string]*presence, error) {
	known := map[string]*presence{}
	if want != latest {
		return known, nil
	}
	came, err := n.places.Come(ctx)
	if err != nil {
		return nil, err
	}
	defer came()
	for _, t := range tables {
		if t.Kind == gate.Cold || known[t.Topic] != nil {
			continue
		}
		p, err := n.present(ctx, t.Topic, want)
		if err == nil {
			err = n.awaitTail(ctx, p)
		}
		var lagging *tail.LaggingError
		switch {
		case err == nil:
			known[t.Topic] = p
		case errors.As(err, &lagging) || ctx.Err() != nil:
			return nil, err
		}
		// Anything else bind will meet again, or it has passed.
	}
	return known, nil
}

// awaitTail returns when the tail of the topic has all that was in its logs.
func (n *Node) awaitTail(ctx context.Context, p *presence) error {
	states, err := n.states(ctx, p.Topic, p.Logs.Starts)
	if err != nil {
		return err
	}
	request, behind, err := tailRequest(p.Topic, n.settings(p.Topic), states, latest, p.Logs.Ends)
	if err != nil || !behind {
		return err
	}
	return n.tails.Await(ctx, request)
}
