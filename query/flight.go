package query

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/version"
	"github.com/chronik-stream/chronik/query/auth"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/flight"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/peers"
	"github.com/chronik-stream/chronik/query/relation"
	"github.com/chronik-stream/chronik/query/tail"
)

// Flight returns the node's Arrow Flight SQL service, to be registered with a
// gRPC server. It must not be called after Close.
func (n *Node) Flight() arrowflight.FlightServer {
	return flight.New(flight.Options{
		Backend: flightBackend{n}, Auth: n.config.Auth, Version: version.String(), Log: n.config.Log, Timeout: n.config.Timeout, Peers: n.peers,
		Observe: func(method, code string, took time.Duration) { n.metrics.called("flight."+method, code, took) },
	})
}

// flightBackend is the node as package flight asks it.
type flightBackend struct{ node *Node }

// statementOf checks what a client chose, and bounds it.
func (b flightBackend) statementOf(ctx context.Context, s flight.Statement) (statement, time.Duration, error) {
	within := s.Timeout
	if deadline, ok := ctx.Deadline(); ok && within <= 0 {
		within = min(time.Until(deadline), timeoutMax) // the call's own
	}
	if within <= 0 {
		within = b.node.config.Timeout
	}
	seconds := within.Seconds()
	// The same checks as over HTTP; an answer has no limit of rows.
	request := sqlRequest{Query: s.SQL, Freshness: freshness(s.Freshness), Timeout: &seconds}
	_, within, err := request.check(b.node.config.Timeout)
	if err != nil {
		return statement{}, 0, err
	}
	return statement{SQL: s.SQL, Parameters: engineParameters(s.Parameters), Limit: unlimited, Freshness: request.Freshness, Principal: s.Principal.Name, Place: s.Place}, within, nil
}

// engineParameters are the values as the engine has them.
func engineParameters(values []any) []any {
	out := make([]any, len(values))
	for i, v := range values {
		if d, ok := v.(flight.Decimal); ok {
			v = engine.Decimal{Unscaled: d.Unscaled, Precision: uint8(d.Precision), Scale: uint8(d.Scale)}
		}
		out[i] = v
	}
	return out
}

// Query implements flight.Backend.
func (b flightBackend) Query(ctx context.Context, s flight.Statement) (flight.Cursor, error) {
	if s.Nearest != nil {
		return b.nearest(ctx, s)
	}
	asked, within, err := b.statementOf(ctx, s)
	if err != nil {
		return nil, err
	}
	out := &flightCursor{within: within}
	ctx, out.cancel = context.WithTimeout(ctx, within)
	if out.cursor, err = b.node.open(ctx, asked); err != nil {
		out.cancel()
		return nil, flightError(err, within)
	}
	if out.schema, err = withCoverage(out.cursor.Schema(), out.cursor.Coverage()); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// flightError is an error as package flight expects it.
func flightError(err error, within time.Duration) error {
	var elsewhere *peers.Elsewhere
	if errors.As(err, &elsewhere) {
		return elsewhere
	}
	return timeoutNamed(err, within)
}

// flightCursor is a cursor with a timeout, whose errors are answers.
type flightCursor struct {
	*cursor
	schema *arrow.Schema
	within time.Duration
	cancel context.CancelFunc
}

func (c *flightCursor) Schema() *arrow.Schema { return c.schema }

func (c *flightCursor) Next() (arrow.RecordBatch, error) {
	batch, err := c.cursor.Next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, timeoutNamed(err, c.within)
	}
	c.node.metrics.addRows(int(batch.NumRows()))
	return batch, nil
}

func (c *flightCursor) Close() error {
	defer c.cancel()
	return c.cursor.Close()
}

// Describe implements flight.Backend: the query is planned over its tables
// without their rows.
func (b flightBackend) Describe(ctx context.Context, s flight.Statement) (*flight.Description, error) {
	if s.Nearest != nil {
		return b.describeNearest(s)
	}
	asked, within, err := b.statementOf(ctx, s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	d, err := b.node.describeQuery(ctx, asked)
	if err != nil {
		return nil, flightError(err, within)
	}
	return &flight.Description{Schema: d.Schema, Parameters: d.Parameters}, nil
}

func (n *Node) describeQuery(ctx context.Context, s statement) (d *engine.Description, err error) {
	if n.engine == nil {
		return nil, engine.ErrDisabled
	}
	plan, err := n.plan(ctx, s.SQL, 0)
	if err != nil {
		return nil, err
	}
	if err := n.elsewhere(plan, s.Place); err != nil {
		return nil, err
	}
	q := engine.Query{SQL: plan.SQL, Parameters: s.Parameters}
	for _, t := range plan.Tables {
		// Rows that are in no file yet may bring columns; files need not be here
		// to be known.
		bound, err := n.bind(ctx, t.Topic, parts{hot: t.Kind != gate.Cold}, s.Freshness, nil)
		if err != nil {
			return nil, err
		}
		bound.Release()
		if !t.Need.Vectors {
			bound.vectors = nil
		}
		q.Views = append(q.Views, engine.View{Name: t.View, SQL: relation.Select(bound.columns, nil, bound.vectors)})
	}
	if err := n.admit(ctx, s.Place); err != nil {
		return nil, err
	}
	defer func() { n.leave(err) }() // also after a panic
	return n.engine.Describe(ctx, q)
}

// Limits on listing tables with their columns: so many are looked at at once, and
// beyond so many no tail is read.
const (
	listedAtOnce = 8
	listedTails  = 64
)

// Tables implements flight.Backend.
func (b flightBackend) Tables(ctx context.Context, _ auth.Principal, match func(string) bool, schemas bool) ([]flight.Table, error) {
	names := b.node.names()
	var topics []string
	var out []flight.Table
	for _, t := range b.node.config.Catalog.Topics() {
		name := tableName(names, t.Name)
		if match(name) && topicconfig.Resolve(t.Config, b.node.config.TopicDefaults).Columnar.Enabled {
			topics, out = append(topics, t.Name), append(out, flight.Table{Name: name})
		}
	}
	if !schemas {
		return out, nil
	}
	kind := gate.Latest
	if len(out) > listedTails {
		kind = gate.Cold
	}
	var mu sync.Mutex
	gone := map[string]bool{}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(listedAtOnce)
	for i, topic := range topics {
		group.Go(func() error {
			schema, err := b.node.listedSchema(inner, topic, kind)
			if err != nil {
				if _, there := b.node.config.Catalog.Topic(topic); !there {
					mu.Lock()
					defer mu.Unlock()
					gone[out[i].Name] = true
					return nil
				}
				return failureOf(err)
			}
			out[i].Schema = schema
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	there := out[:0]
	for _, t := range out {
		if !gone[t.Name] {
			there = append(there, t)
		}
	}
	return there, nil
}

// listedSchema is a table's columns as listings have them, which are answered where
// they are asked: no one node has all topics at hand. They are those of its files,
// from metadata alone. A tail has a say as well where it is read anyway, or where
// there is no file yet: tools list all tables, and look at few.
func (n *Node) listedSchema(ctx context.Context, topic string, kind gate.Kind) (*arrow.Schema, error) {
	t, settings, err := n.table(topic)
	if err != nil {
		return nil, err
	}
	states, err := n.states(ctx, t, nil)
	files := described(states)
	if err == nil && len(files) > 0 && (kind == gate.Cold || !slices.Contains(n.tails.Active(), tail.Key{ID: t.ID})) {
		fixed, err := fixedColumns(settings.JSONSchema)
		if err != nil {
			return nil, err
		}
		return tableSchema(relation.Columns(append(files, relation.File{Columns: fixed})), n.columnOfVectors(t, states)), nil
	}
	bound, err := n.describe(ctx, topic, kind) // which bears with manifests that move
	if err != nil {
		return nil, err
	}
	defer bound.Release()
	return tableSchema(bound.columns, bound.vectors), nil
}

// tableSchema is a table's columns in Arrow's terms.
func tableSchema(columns []columnar.Column, vectors *relation.Vectors) *arrow.Schema {
	var fields []arrow.Field
	for _, d := range relation.Describe(columns, vectors) {
		fields = append(fields, arrow.Field{Name: d.Name, Type: d.Type, Nullable: d.Nullable})
	}
	return arrow.NewSchema(fields, nil)
}
