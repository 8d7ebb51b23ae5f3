package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/relation"
)

// sqlRequest is the body of POST /_sql.
type sqlRequest struct {
	Query     string    `json:"query"`
	Limit     *int64    `json:"limit"`
	Timeout   *float64  `json:"timeout_secs"`
	Freshness freshness `json:"freshness"`

	// Of the contract, and refused by name until they are built.
	Parameters   json.RawMessage `json:"parameters"`
	RowFormat    json.RawMessage `json:"row_format"`
	BinaryFormat json.RawMessage `json:"binary_format"`
}

// streamed are the formats that come later.
var streamed = []string{"application/vnd.apache.arrow.stream", "application/x-ndjson", "text/csv"}

// check fills in defaults.
func (r *sqlRequest) check(timeout time.Duration) (limit int64, within time.Duration, err error) {
	for _, field := range []struct {
		name string
		set  bool
	}{{"parameters", r.Parameters != nil}, {"row_format", r.RowFormat != nil}, {"binary_format", r.BinaryFormat != nil}} {
		if field.set {
			return 0, 0, disabled(field.name + " is not available yet")
		}
	}
	limit, within = limitDefault, timeout
	if strings.TrimSpace(r.Query) == "" {
		return 0, 0, badRequest("query is required")
	}
	if r.Limit != nil {
		limit = *r.Limit
	}
	if limit < 0 || limit > limitMax {
		return 0, 0, badRequest(fmt.Sprintf("limit is %d, it must lie in 0..%d", limit, limitMax))
	}
	if r.Timeout != nil {
		if !(*r.Timeout > 0 && *r.Timeout <= timeoutMax.Seconds()) {
			return 0, 0, badRequest(fmt.Sprintf("timeout_secs is %g, it must be above 0 and at most %g", *r.Timeout, timeoutMax.Seconds()))
		}
		within = time.Duration(math.Ceil(*r.Timeout * float64(time.Second)))
	}
	switch r.Freshness {
	case "":
		r.Freshness = latest
	case latest, available, cold:
	default:
		return 0, 0, badRequest(fmt.Sprintf("freshness is %q, it must be latest, available or cold", r.Freshness))
	}
	return limit, within, nil
}

func (n *Node) postSQL(c *gin.Context) {
	began := time.Now()
	var request sqlRequest
	if err := readJSON(c, &request); err != nil {
		n.fail(c, err)
		return
	}
	limit, within, err := request.check(n.config.Timeout)
	if err != nil {
		n.fail(c, err)
		return
	}
	for _, format := range streamed {
		if strings.Contains(c.GetHeader("Accept"), format) {
			n.fail(c, disabled("answers as "+format+" are not available yet"))
			return
		}
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), within)
	defer cancel()
	answer, bounds, err := n.sql(ctx, request.Query, limit, request.Freshness)
	if err != nil {
		n.fail(c, timeoutNamed(err, within))
		return
	}
	n.metrics.addRows(len(answer.Rows))
	body, err := encodeAnswer(answer, bounds, time.Since(began))
	if err != nil {
		n.fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json; charset=utf-8", body)
}

// timeoutNamed says how long the request had.
func timeoutNamed(err error, within time.Duration) error {
	f := failureOf(err)
	if f.Code == "TIMEOUT" && len(f.Details) == 0 {
		f.Message = fmt.Sprintf("not done within %s", within)
	}
	return f
}

// sql runs one query: gate, snapshot, engine.
func (n *Node) sql(ctx context.Context, query string, limit int64, want freshness) (*engine.Answer, []*bound, error) {
	if n.engine == nil {
		return nil, nil, engine.ErrDisabled
	}
	plan, err := gate.Check(ctx, n.engine, gate.NewNames(n.topicNames()), query, limit+1)
	if err != nil {
		return nil, nil, err
	}
	if err := n.evaluate(ctx, plan, nil); err != nil {
		return nil, nil, err
	}
	if err := n.running.Acquire(ctx, 1); err != nil {
		return nil, nil, unavailable("the node is busy with other queries")
	}
	defer n.running.Release(1)

	for attempt := 1; ; attempt++ {
		answer, bounds, err := n.attempt(ctx, plan, limit, want)
		if !errors.Is(err, engine.ErrFile) || attempt > 1 || ctx.Err() != nil {
			return answer, bounds, err
		}
		// The damage may be in the local copy alone: attempt has dropped it. Or
		// the engine wants what was left out of that.
		plan.Widen()
	}
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

// attempt binds the plan's topics and runs it. The bounds it returns are
// released; they serve the answer's coverage.
func (n *Node) attempt(ctx context.Context, plan *gate.Plan, limit int64, want freshness) (*engine.Answer, []*bound, error) {
	bounds, byTopic, err := n.bindAll(ctx, plan.Tables, want, false)
	defer func() {
		for _, b := range bounds {
			b.Release()
		}
	}()
	if err != nil {
		return nil, nil, err
	}
	q := engineQuery(plan, byTopic)
	q.RowsMax = limit
	answer, err := n.engine.Run(ctx, q)
	if err != nil {
		return nil, nil, n.nameObjects(err, bounds)
	}
	return answer, bounds, nil
}

// engineQuery is what the engine is to run.
func engineQuery(plan *gate.Plan, byTopic map[string]*bound) engine.Query {
	q := engine.Query{SQL: plan.SQL}
	for _, t := range plan.Tables {
		b := byTopic[t.Topic]
		files := b.files(t.Kind)
		q.Views = append(q.Views, engine.View{Name: t.View, SQL: relation.Select(b.columns, files)})
		for _, f := range files {
			q.Files = append(append(q.Files, f.Path), f.Masks...)
		}
	}
	return q
}

// bindAll binds each topic of the plan once, with the parts that its tables are
// of, so that they are one snapshot: no record is in t_cold and in t_hot.
func (n *Node) bindAll(ctx context.Context, tables []gate.Table, want freshness, planOnly bool) (bounds []*bound, byTopic map[string]*bound, err error) {
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
		b, err := n.bind(ctx, t.Topic, parts, want)
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
				n.cache.Forget(object)
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

func (n *Node) topicNames() []string {
	topics := n.config.Catalog.Topics()
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	return names
}

// encodeAnswer writes the body of a 200. Rows are objects with their fields in
// the order of the columns.
func encodeAnswer(a *engine.Answer, bounds []*bound, took time.Duration) ([]byte, error) {
	coverage := map[string]topicCoverage{}
	var s stats
	for _, b := range bounds {
		coverage[b.topic.Name] = b.coverage
		s.add(b.stats)
	}
	names := columnNames(a.Columns)
	types := make([]string, len(a.Columns))
	for i, c := range a.Columns {
		types[i] = c.Type.Arrow()
	}
	e := &encoder{}
	e.field(`{"columns":`, names)
	e.field(`,"column_types":`, types)
	e.rows(names, a.Rows)
	e.field(`,"row_count":`, len(a.Rows))
	e.field(`,"execution_time_ms":`, float64(took.Microseconds())/1000)
	e.field(`,"truncated":`, a.Truncated)
	e.field(`,"coverage":`, coverage)
	e.field(`,"stats":`, s)
	e.buffer.WriteByte('}')
	return e.buffer.Bytes(), e.err
}

// columnNames makes the names of an answer's columns distinct, so that no value
// of a row hides another: a, a, b → a, a_1, b.
func columnNames(columns []engine.Column) []string {
	names := make([]string, len(columns))
	used := map[string]bool{}
	for _, c := range columns {
		used[c.Name] = true
	}
	given := map[string]bool{}
	for i, c := range columns {
		name := c.Name
		for n := 1; given[name]; n++ {
			if next := fmt.Sprintf("%s_%d", c.Name, n); !used[next] {
				name = next
				used[next] = true
			}
		}
		given[name] = true
		names[i] = name
	}
	return names
}

// encoder writes JSON and keeps the first error.
type encoder struct {
	buffer bytes.Buffer
	err    error
}

func (e *encoder) field(name string, value any) {
	e.buffer.WriteString(name)
	e.value(value)
}

func (e *encoder) value(v any) {
	if e.err != nil {
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		e.err = fmt.Errorf("write the answer: %w", err)
		return
	}
	e.buffer.Write(text)
}

func (e *encoder) rows(names []string, rows [][]any) {
	keys := make([]string, len(names))
	for i, name := range names {
		text, err := json.Marshal(name)
		if err != nil {
			e.err = fmt.Errorf("write the answer: %w", err)
			return
		}
		keys[i] = string(text) + ":"
	}
	e.buffer.WriteString(`,"rows":[`)
	for r, row := range rows {
		if r > 0 {
			e.buffer.WriteByte(',')
		}
		e.buffer.WriteByte('{')
		for i, v := range row {
			if i > 0 {
				e.buffer.WriteByte(',')
			}
			e.buffer.WriteString(keys[i])
			e.value(v)
		}
		e.buffer.WriteByte('}')
	}
	e.buffer.WriteByte(']')
}
