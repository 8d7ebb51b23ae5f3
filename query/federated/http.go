package federated

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// Capability is what can be asked of a topic.
type Capability struct {
	Topic  string `json:"topic"`
	Text   bool   `json:"text_search"`
	Vector bool   `json:"vector_search"`
	SQL    bool   `json:"sql_query"`
	Fetch  bool   `json:"fetch"`
}

// Options are what a Surface works with. All but Near are required.
type Options struct {
	Backends
	// Capabilities lists all topics.
	Capabilities func() []Capability
	// Principal tells who asks.
	Principal func(*gin.Context) string
	// Near has a request about a topic answered by the node that has it at hand; false:
	// it is to be answered here. Nil: there is no other node. It may change the request's
	// context.
	Near func(c *gin.Context, topic string, body []byte) (answered bool)
	// Body reads a request's body whole, as far as it is not too large.
	Body func(*gin.Context) ([]byte, error)
	// Translate tells what an error means.
	Translate func(ctx context.Context, err error) *envelope.Failure
	// Fail answers an error.
	Fail func(*gin.Context, error)
}

// Surface answers the requests.
type Surface struct {
	o        Options
	searcher *Searcher
}

// New returns a surface, whose Routes are to be called.
func New(o Options) *Surface { return &Surface{o: o, searcher: &Searcher{Backends: o.Backends}} }

// Routes adds the surface's routes.
func (s *Surface) Routes(r *gin.Engine) {
	r.POST("/_query", s.query)
	r.GET("/_query/capabilities", func(c *gin.Context) { s.send(c, s.o.Capabilities()) })
	r.GET("/_query/profiles", func(c *gin.Context) { s.send(c, profiles) })
}

func (s *Surface) send(c *gin.Context, body any) {
	if err := semantic.Answer(c, body); err != nil {
		s.o.Fail(c, err)
	}
}

// result is a record of an answer.
type result struct {
	Topic     string             `json:"topic"`
	Partition int32              `json:"partition"`
	Offset    int64              `json:"offset"`
	Score     float64            `json:"final_score"`
	Features  map[string]float64 `json:"features"`
	Preview   string             `json:"text_preview,omitempty"`
}

// group is what one backend found.
type group struct {
	Backend Mode    `json:"backend"`
	Topic   string  `json:"topic"`
	Results []found `json:"results"`
}

type found struct {
	Topic     string          `json:"topic"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	Score     *float64        `json:"score,omitempty"`
	Timestamp *int64          `json:"timestamp,omitempty"`
	Preview   string          `json:"text_preview,omitempty"`
	Row       json.RawMessage `json:"row,omitempty"`
}

type backendStats struct {
	Backend    Mode               `json:"backend"`
	Topic      string             `json:"topic"`
	Candidates int                `json:"candidates"`
	Latency    float64            `json:"latency_ms"`
	TimedOut   bool               `json:"timed_out"`
	Coverage   *snapshot.Coverage `json:"coverage,omitempty"`
}

// query answers POST /_query.
func (s *Surface) query(c *gin.Context) {
	began := time.Now()
	text, err := s.o.Body(c)
	var asked body
	var r Request
	if err == nil {
		err = envelope.Decode(text, &asked)
	}
	if err == nil {
		r, err = asked.request()
	}
	var a *Answer
	if err == nil {
		if s.o.Near != nil && s.o.Near(c, r.Sources[0].Topic, text) {
			return
		}
		r.Principal = s.o.Principal(c)
		a, err = s.searcher.Search(c.Request.Context(), r)
	}
	if err != nil {
		s.o.Fail(c, s.named(c, err))
		return
	}
	s.send(c, answerOf(a, r, time.Since(began)))
}

// named says in a failure which backend it is of.
func (s *Surface) named(c *gin.Context, err error) error {
	var of *BackendError
	if !errors.As(err, &of) {
		return err
	}
	f := *s.o.Translate(c.Request.Context(), of.Err)
	f.Message = (&BackendError{of.Mode, of.Topic, &f}).Error()
	f.Details = maps.Clone(f.Details)
	f.Details["backend"], f.Details["topic"] = of.Mode, of.Topic
	return &f
}

func answerOf(a *Answer, r Request, took time.Duration) gin.H {
	results := make([]result, len(a.Results))
	for i, one := range a.Results {
		results[i] = result{one.Topic, one.Partition, one.Offset, one.Score, one.Features, one.Preview}
	}
	backends, groups := make([]backendStats, len(a.Backends)), make([]group, len(a.Backends))
	for i, b := range a.Backends {
		backends[i] = backendStats{b.Mode, b.Topic, b.Candidates, milliseconds(b.Took), b.TimedOut, b.Coverage}
		groups[i] = group{b.Mode, b.Topic, make([]found, len(b.Found))}
		for j, f := range b.Found {
			one := found{Topic: f.Topic, Partition: f.Partition, Offset: f.Offset, Score: f.Score, Preview: f.Preview, Row: f.Row}
			if f.Timestamp != 0 {
				one.Timestamp = &f.Timestamp
			}
			groups[i].Results[j] = one
		}
	}
	answer := gin.H{
		"query_id": ulid.Make().String(), "results": results,
		"stats": gin.H{"candidates": a.Candidates, "ranked": a.Ranked, "latency_ms": milliseconds(took), "backends": backends},
	}
	if r.Grouped {
		answer["grouped_results"] = groups
	}
	if len(a.Warnings) > 0 {
		answer["warnings"] = a.Warnings
	}
	return answer
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
