// Package semantic is the HTTP surface of search by meaning: /_vector, where
// records are found by the vectors of their texts, alone or together with their
// words.
//
// It knows paths, the members of requests and the shapes of answers. What searches,
// and what rebuilds and drops indexes, is handed in.
//
// A member of a request either has its effect or is refused by name.
package semantic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/vector"
)

// Vectors search by meaning: *vector.Searcher.
type Vectors interface {
	hybrid.Vectors
	// Stats and Topics tell what vectors there are.
	Stats(ctx context.Context, topic string) (*vector.Stats, error)
	Topics(ctx context.Context) ([]vector.TopicVectors, error)
}

// Indexes are what administrators do to a topic's vectors. Both return when it is
// decided, not when it is done.
type Indexes interface {
	// RebuildVectors has all records embedded anew, of some partitions, or of all if
	// there are none.
	RebuildVectors(ctx context.Context, topic string, partitions []int32) error
	// DropVectors has all vectors removed.
	DropVectors(ctx context.Context, topic string) error
}

// Options are what a Surface works with. All but Near are required.
type Options struct {
	Vectors Vectors
	Text    hybrid.Text
	Indexes Indexes
	// Principal tells who asks.
	Principal func(*gin.Context) string
	// Administrator returns an error unless who asks may rebuild and drop indexes.
	Administrator func(*gin.Context) error
	// Near has a request about a topic answered by the node that has it at hand; false:
	// it is to be answered here. Nil: there is no other node. It may change the request's
	// context.
	Near func(c *gin.Context, topic string, body []byte) (answered bool)
	// Body reads a request's body whole, as far as it is not too large.
	Body func(*gin.Context) ([]byte, error)
	// Fail answers an error.
	Fail func(*gin.Context, error)
	// Timeout is of a request that names none.
	Timeout time.Duration
}

// Surface answers the requests.
type Surface struct {
	o      Options
	hybrid *hybrid.Searcher

	hybrids, partial atomic.Int64
}

// Counts are what was done so far.
type Counts struct {
	Hybrid  int64 // searches by words and meaning
	Partial int64 // of these, answered though a side failed
}

// New returns a surface, whose Routes are to be called.
func New(o Options) *Surface {
	return &Surface{o: o, hybrid: &hybrid.Searcher{Text: o.Text, Vectors: o.Vectors}}
}

// Counts returns what was done so far.
func (s *Surface) Counts() Counts {
	return Counts{s.hybrids.Load(), s.partial.Load()}
}

// Routes adds the surface's routes.
func (s *Surface) Routes(r *gin.Engine) {
	r.POST("/_vector/:topic/search", s.handle(s.search))
	r.POST("/_vector/:topic/search_by_vector", s.handle(s.searchByVector))
	r.POST("/_vector/:topic/hybrid", s.handle(s.searchBoth))
	r.GET("/_vector/:topic/stats", s.handle(s.stats))
	r.GET("/_vector/topics", s.handle(s.topics))
	r.POST("/_vector/:topic/backfill", s.handle(s.backfill))
	r.DELETE("/_vector/:topic/index", s.handle(s.drop))
}

// errAnswered: another node has answered.
var errAnswered = errors.New("another node has answered")

// near returns errAnswered when another node has the request's topic at hand, and has
// answered.
func (s *Surface) near(c *gin.Context, body []byte) error {
	if s.o.Near != nil && s.o.Near(c, c.Param("topic"), body) {
		return errAnswered
	}
	return nil
}

// handle makes a gin handler of what returns the body of a 200.
func (s *Surface) handle(h func(*gin.Context) (any, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		body, err := h(c)
		if err == nil {
			err = Answer(c, body)
		}
		if err != nil && !errors.Is(err, errAnswered) {
			s.o.Fail(c, err)
		}
	}
}

// Answer sends the body of a 200.
func Answer(c *gin.Context, body any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // it is no page
	if err := encoder.Encode(body); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	c.Header("Content-Type", "application/json; charset=utf-8")
	c.Header("Content-Length", strconv.Itoa(text.Len()))
	c.Status(http.StatusOK)
	_, _ = c.Writer.Write(text.Bytes()) // who does not take it has hung up
	return nil
}

// timedOut says how long the request had, where that was not enough.
func timedOut(err error, within time.Duration) error {
	var lagging *vector.LaggingError
	var provider *vector.ProviderError
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &lagging) || errors.As(err, &provider) {
		return err
	}
	return fmt.Errorf("not done within %s: %w", within, context.DeadlineExceeded)
}
