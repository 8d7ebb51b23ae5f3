package query

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/answer"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/peers"
)

// explainRequest is the body of POST /_sql/explain.
type explainRequest struct {
	Query      string            `json:"query"`
	Parameters []json.RawMessage `json:"parameters"`
	Analyze    bool              `json:"analyze"`
	Timeout    *float64          `json:"timeout_secs"`
	Freshness  freshness         `json:"freshness"`
}

// explanation is the answer to it.
type explanation struct {
	Plan          string                   `json:"plan"` // how it ran, or how it would
	Logical       string                   `json:"logical_plan"`
	Physical      string                   `json:"physical_plan"`
	EstimatedRows *int64                   `json:"estimated_rows"` // null: the engine has no idea
	Files         explainedFiles           `json:"files"`
	Took          float64                  `json:"execution_time_ms"`
	Coverage      map[string]topicCoverage `json:"coverage"`
	Stats         stats                    `json:"stats"`
}

// explainedFiles are the bucket's files of the topics that the query names.
type explainedFiles struct {
	Considered int          `json:"considered"`
	Read       []readFile   `json:"read"`
	Pruned     []prunedFile `json:"pruned"`
	Omitted    int          `json:"omitted"` // from these two lists
}

// explainedMax bounds each of the lists of files.
const explainedMax = 1000

func (n *Node) postExplain(c *gin.Context) {
	began := time.Now()
	var request explainRequest
	body, err := readBody(c)
	if err == nil {
		err = envelope.Decode(body, &request)
	}
	if err != nil {
		n.fail(c, err)
		return
	}
	// What is asked for here is checked as the query itself would be.
	query := sqlRequest{Query: request.Query, Parameters: request.Parameters, Timeout: request.Timeout, Freshness: request.Freshness}
	a, err := query.asked(answer.FormatJSON, n.config.Timeout)
	if err != nil {
		n.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), a.within)
	defer cancel()
	explained, answered, err := handOn(n, c, body, func(at peers.Place) (*explanation, error) {
		s := a.statement
		s.Place, s.Principal = at, principalOf(c)
		return n.explain(ctx, s, request.Analyze)
	})
	if answered {
		return
	}
	if err != nil {
		f := failureOf(timeoutNamed(err, a.within))
		if f.Code == "INVALID_QUERY" {
			f.Type = "ExplainError"
		}
		n.fail(c, f)
		return
	}
	explained.Took = float64(time.Since(began).Microseconds()) / 1000
	c.JSON(http.StatusOK, explained)
}

// explain binds a query as if it were to be run, and asks the engine for its
// plan. Unless it is run, no values are fetched of large files.
func (n *Node) explain(ctx context.Context, s statement, analyze bool) (*explanation, error) {
	if n.engine == nil {
		return nil, engine.ErrDisabled
	}
	plan, err := n.plan(ctx, s.SQL, limitMax)
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
	var failed error
	defer func() { n.leave(failed) }()

	for attempt := 1; ; attempt++ {
		explained, err := n.explainOnce(ctx, plan, s, known, analyze)
		if !errors.Is(err, engine.ErrFile) || attempt > 1 || ctx.Err() != nil {
			failed = err
			return explained, err
		}
		known = nil
	}
}

func (n *Node) explainOnce(ctx context.Context, plan *gate.Plan, s statement, known map[string]*presence, analyze bool) (*explanation, error) {
	bounds, byTopic, err := n.bindAll(ctx, plan.Tables, s.Freshness, known, !analyze)
	defer func() {
		for _, b := range bounds {
			b.Release()
		}
	}()
	if err != nil {
		return nil, err
	}
	q := engineQuery(plan, byTopic)
	q.Parameters = s.Parameters
	explained, err := n.engine.Explain(ctx, q, analyze)
	if err != nil {
		return nil, n.nameObjects(err, bounds)
	}
	out := &explanation{
		Logical: explained.Logical.String(), Physical: explained.Physical.String(),
		Coverage: map[string]topicCoverage{}, Files: explainedFiles{Read: []readFile{}, Pruned: []prunedFile{}},
	}
	out.Plan = out.Physical
	if explained.Analyzed != nil {
		out.Plan = explained.Analyzed.String()
	}
	if rows := explained.Physical.EstimatedRows(); rows >= 0 {
		out.EstimatedRows = &rows
	}
	for _, b := range bounds {
		out.Coverage[b.topic.Name] = b.coverage
		out.Stats.add(b.stats)
		out.Files.Considered += len(b.read) + len(b.pruned)
		out.Files.Read = append(out.Files.Read, b.read...)
		out.Files.Pruned = append(out.Files.Pruned, b.pruned...)
	}
	out.Files.Omitted = max(0, len(out.Files.Read)-explainedMax) + max(0, len(out.Files.Pruned)-explainedMax)
	out.Files.Read = out.Files.Read[:min(len(out.Files.Read), explainedMax)]
	out.Files.Pruned = out.Files.Pruned[:min(len(out.Files.Pruned), explainedMax)]
	return out, nil
}
