package query

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/peers"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/relation"
	"github.com/chronik-stream/chronik/query/resultcache"
)

// statement is one query as a client asked it, whatever the protocol.
type statement struct {
	SQL        string
	Parameters []any // as engine.Query has them
	Limit      int64 // most rows of the answer, or unlimited
	Freshness  freshness
	Principal  string // who asks; empty: nobody in particular
	Place      peers.Place
}

// unlimited is the Limit of an answer that may have any number of rows.
const unlimited = -1

// rowsMax are the rows that the gate lets through: one more than is answered
// tells that there are more.
func (s statement) rowsMax() int64 {
	if s.Limit == unlimited {
		return -1
	}
	return s.Limit + 1
}

// cursor is the answer of a statement as it comes. It holds the files and the
// rows of the tail that it reads, and a place among the running queries, until
// it is closed. One goroutine reads it.
type cursor struct {
	rows   resultcache.Rows
	cached bool              // the rows are those of another time, or of another one's run
	first  arrow.RecordBatch // read ahead; nil when it is out
	end    error             // that came instead of a first batch
	bounds []*bound
	node   *Node
	failed error // what Next answered instead of rows
	leave  func(failed error)
}

// open runs a statement up to its first rows: gate, snapshot, engine. What can
// be mended by trying again, such as a damaged local copy of a file, is mended
// here, before anybody has seen a row.
func (n *Node) open(ctx context.Context, s statement) (c *cursor, err error) {
	if n.engine == nil {
		return nil, engine.ErrDisabled
	}
	plan, err := n.plan(ctx, s.SQL, s.rowsMax())
	if err != nil {
		return nil, err
	}
	if err := n.elsewhere(plan, s.Place); err != nil {
		return nil, err
	}
	if err := n.evaluate(ctx, plan, s.Parameters); err != nil {
		return nil, err
	}
	known, err := n.arrive(ctx, plan.Tables, s.Freshness)
	if err != nil {
		return nil, err
	}
	if err := n.admit(ctx, s.Place); err != nil {
		return nil, err
	}
	defer func() { // also after a panic
		if c == nil {
			n.leave(err)
		} else {
			c.leave = n.leave
		}
	}()
	for attempt := 1; ; attempt++ {
		c, err = n.attempt(ctx, plan, s, known)
		if !errors.Is(err, engine.ErrFile) || attempt > 1 || ctx.Err() != nil {
			return c, err
		}
		// The damage may be in the local copy alone: attempt has dropped it. Or
		// the engine wants what was left out of that.
		plan.Widen()
		known = nil
	}
}

// attempt binds the plan's topics, starts it and reads its first batch.
func (n *Node) attempt(ctx context.Context, plan *gate.Plan, s statement, known map[string]*presence) (*cursor, error) {
	bounds, byTopic, err := n.bindAll(ctx, plan.Tables, s.Freshness, known, false)
	c := &cursor{node: n, bounds: bounds}
	if err != nil {
		c.Close()
		return nil, err
	}
	q := engineQuery(plan, byTopic)
	q.Parameters, q.RowsMax = s.Parameters, s.Limit
	if s.Limit == unlimited {
		q.RowsMax = math.MaxInt64
	}
	if c.rows, c.cached, err = n.rows(ctx, question(plan, s, q, byTopic), q); err != nil {
		return nil, errors.Join(n.nameObjects(err, bounds), c.Close())
	}
	c.first, err = c.rows.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(n.nameObjects(err, bounds), c.Close())
	}
	c.end = err
	return c, nil
}

// Schema describes the batches.
func (c *cursor) Schema() *arrow.Schema { return c.rows.Schema() }

// Next returns the next rows, at least one, or io.EOF behind the last. The
// caller releases the batch.
func (c *cursor) Next() (arrow.RecordBatch, error) {
	if first := c.first; first != nil {
		c.first = nil
		return first, nil
	}
	if c.end != nil {
		return nil, c.end
	}
	batch, err := c.rows.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.node.nameObjects(err, c.bounds)
		c.failed = err
	}
	return batch, err
}

// Truncated reports, behind the last row, whether the limit cut others off.
func (c *cursor) Truncated() bool { return c.rows.Truncated() }

// Coverage says, by topic, what the answer is computed over.
func (c *cursor) Coverage() map[string]topicCoverage {
	coverage := map[string]topicCoverage{}
	for _, b := range c.bounds {
		coverage[b.topic.Name] = b.coverage
	}
	return coverage
}

// Stats says what the answer took.
func (c *cursor) Stats() stats {
	var s stats
	for _, b := range c.bounds {
		s.add(b.stats)
	}
	if c.cached {
		s.RowsScanned, s.CachedResults = 0, 1
	}
	return s
}

// admit waits for a place among the running queries. What another node handed on
// does not wait for long: that node can answer it as well.
func (n *Node) admit(ctx context.Context, at peers.Place) error {
	if at == peers.HandedOn {
		ctx = places.Hurried(ctx, handedOnWait)
	}
	return n.places.Take(ctx)
}

// leave gives the place to the next one, once the query that ended with err has
// really ended.
func (n *Node) leave(err error) {
	var unfinished *engine.Unfinished
	if !errors.As(err, &unfinished) {
		n.places.Leave()
		return
	}
	go func() {
		<-unfinished.Ended
		n.places.Leave()
	}()
}

// Close stops the query and releases what it holds. It may be called again.
// Coverage and Stats still answer.
func (c *cursor) Close() error {
	if c.first != nil {
		c.first.Release()
		c.first = nil
	}
	var err error
	if c.rows != nil {
		err = c.rows.Close()
	}
	for _, b := range c.bounds {
		b.Release()
	}
	if c.leave != nil {
		c.leave(errors.Join(c.failed, err))
		c.leave = nil
	}
	return err
}

// evaluate gives the tables' needs the values that they compare with. Where the
// engine cannot evaluate them they stay unknown, and nothing is pruned by them:
// the query itself will say what is wrong.
func (n *Node) evaluate(ctx context.Context, plan *gate.Plan, parameters []any) error {
	var row []prune.Value
	if plan.Constants.SQL != "" {
		var err error
		if row, err = n.engine.Evaluate(ctx, plan.Constants.SQL); err != nil {
			row = nil
		}
	}
	values := plan.Constants.Values(row, parameters)
	for i := range plan.Tables {
		plan.Tables[i].Need.Values = values
	}
	return ctx.Err()
}

// engineQuery is what the engine is to run.
func engineQuery(plan *gate.Plan, byTopic map[string]*bound) engine.Query {
	q := engine.Query{SQL: plan.SQL}
	for _, t := range plan.Tables {
		b := byTopic[t.Topic]
		files := b.files(t.Kind)
		var vectors *relation.Vectors
		if t.Need.Vectors && b.vectors != nil {
			vectors = b.vectors
			for _, f := range vectors.Files {
				q.Files = append(q.Files, f.Path)
			}
		}
		q.Views = append(q.Views, engine.View{Name: t.View, SQL: relation.Select(b.columns, files, vectors)})
		for _, f := range files {
			q.Files = append(append(q.Files, f.Path), f.Masks...)
		}
	}
	return q
}

// bindAll binds each topic of the plan once, with the parts that its tables are
// of, so that they are one snapshot: no record is in t_cold and in t_hot.
func (n *Node) bindAll(ctx context.Context, tables []gate.Table, want freshness, known map[string]*presence, planOnly bool) (bounds []*bound, byTopic map[string]*bound, err error) {
	byTopic = map[string]*bound{}
	for _, t := range tables {
		if byTopic[t.Topic] != nil {
			continue
		}
		parts := parts{planOnly: planOnly}
		for _, other := range tables {
			if other.Topic == t.Topic {
				parts.add(other.Kind, other.Need)
			}
		}
		b, err := n.bind(ctx, t.Topic, parts, want, known[t.Topic])
		if err != nil {
			return bounds, nil, err
		}
		byTopic[t.Topic] = b
		bounds = append(bounds, b)
	}
	return bounds, byTopic, nil
}

// nameObjects puts the names of objects in the place of local paths in an error
// of the engine, and drops the local copies of files that it could not read.
func (n *Node) nameObjects(err error, bounds []*bound) error {
	message := err.Error()
	for _, b := range bounds {
		for path, object := range b.objects {
			if !strings.Contains(message, path) {
				continue
			}
			message = strings.ReplaceAll(message, path, object)
			if errors.Is(err, engine.ErrFile) {
				n.cache.Forget(object, vectorsForm)
				n.metrics.addDamaged()
				n.config.Log.Error("a Parquet file cannot be read", "topic", b.topic.Name, "object", object, "err", err)
			}
		}
	}
	return &renamed{message, err}
}

// renamed is an error with another text.
type renamed struct {
	message string
	error
}

func (r *renamed) Error() string { return r.message }
func (r *renamed) Unwrap() error { return r.error }

// names are those of all topics, as queries may use them.
func (n *Node) names() *gate.Names {
	return gate.NewNames(n.topicNames()).WithVectors(func(topic string) bool {
		t, ok := n.config.Catalog.Topic(topic)
		return ok && n.embeds(t)
	})
}

func (n *Node) topicNames() []string {
	topics := n.config.Catalog.Topics()
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	return names
}
