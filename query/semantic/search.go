package semantic

import (
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/answer"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/vector"
)

// result is a record of an answer.
type result struct {
	Topic     string        `json:"topic"`
	Partition int32         `json:"partition"`
	Offset    int64         `json:"offset"`
	Timestamp int64         `json:"timestamp"`
	Score     float32       `json:"score"`
	Distance  float32       `json:"distance"`
	Preview   string        `json:"text_preview"`
	Key       *answer.Bytes `json:"key,omitempty"`
	Value     *answer.Bytes `json:"value,omitempty"`
	Embedding []float32     `json:"embedding,omitempty"`
}

// results is the body of an answer.
type results struct {
	Results       []result                     `json:"results"`
	Count         int                          `json:"count"`
	Total         int                          `json:"total_results"`
	TotalVectors  int64                        `json:"total_vectors"`
	EmbedTime     float64                      `json:"query_embedding_time_ms"`
	SearchTime    float64                      `json:"search_time_ms"`
	ExecutionTime float64                      `json:"execution_time_ms"`
	Recall        *float64                     `json:"recall,omitempty"`
	Coverage      map[string]snapshot.Coverage `json:"coverage"`
	Warnings      []string                     `json:"warnings,omitempty"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// search finds the records that are nearest to a text.
func (s *Surface) search(c *gin.Context) (any, error) {
	var body struct {
		Query string `json:"query"`
		common
	}
	return s.nearest(c, &body, &body.common, func(r *vector.Request) (err error) {
		r.Text, err = words("query", body.Query)
		return err
	})
}

// searchByVector finds the records that are nearest to a vector.
func (s *Surface) searchByVector(c *gin.Context) (any, error) {
	var body struct {
		Vector List[float32] `json:"vector"`
		common
	}
	return s.nearest(c, &body, &body.common, func(r *vector.Request) error {
		if len(body.Vector) == 0 {
			return envelope.Invalid("vector is required: an array of as many numbers as the topic's vectors have")
		}
		r.Vector = body.Vector
		return nil
	})
}

// nearest reads a body and searches for what complete takes of it.
func (s *Surface) nearest(c *gin.Context, body any, common *common, complete func(*vector.Request) error) (any, error) {
	began := time.Now()
	if err := s.read(c, body); err != nil {
		return nil, err
	}
	r, err := common.request(c.Param("topic"), s.o.Timeout)
	if err == nil {
		err = complete(&r)
	}
	if err != nil {
		return nil, err
	}
	found, err := s.o.Vectors.Search(c.Request.Context(), r)
	if err != nil {
		return nil, timedOut(err, r.Timeout)
	}
	out := results{
		Results: make([]result, len(found.Hits)), Count: len(found.Hits), Total: len(found.Hits), TotalVectors: found.TotalVectors,
		EmbedTime: milliseconds(found.EmbedTime), SearchTime: milliseconds(found.SearchTime),
		Coverage: map[string]snapshot.Coverage{r.Topic: found.Coverage}, Warnings: found.Warnings,
	}
	if found.Recall > 0 {
		out.Recall = &found.Recall
	}
	for i, h := range found.Hits {
		out.Results[i] = shown(h, r)
	}
	out.ExecutionTime = milliseconds(time.Since(began))
	return out, nil
}

// read reads the body of a search, unless that is answered elsewhere.
func (s *Surface) read(c *gin.Context, into any) error {
	text, err := s.o.Body(c)
	if err != nil {
		return err
	}
	if err := envelope.Decode(text, into); err != nil {
		return err
	}
	return s.near(c, text)
}

// shown is a hit as the answer to a request has it.
func shown(h vector.Hit, r vector.Request) result {
	out := result{
		Topic: h.Topic, Partition: h.Partition, Offset: h.Offset, Timestamp: h.Timestamp,
		Score: h.Score, Distance: h.Distance, Preview: h.Preview, Embedding: h.Embedding,
	}
	if r.Values {
		out.Key, out.Value = (*answer.Bytes)(&h.Key), (*answer.Bytes)(&h.Value)
	}
	return out
}
