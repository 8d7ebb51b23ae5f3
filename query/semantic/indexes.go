package semantic

import (
	"bytes"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/envelope"
)

type partitionStats struct {
	Partition  int32 `json:"partition"`
	Vectors    int64 `json:"vector_count"`
	LastOffset int64 `json:"last_offset"`
	Shards     int   `json:"shards"`
}

// stats describes a topic's vectors.
func (s *Surface) stats(c *gin.Context) (any, error) {
	if err := s.near(c, nil); err != nil {
		return nil, err
	}
	of, err := s.o.Vectors.Stats(c.Request.Context(), c.Param("topic"))
	if err != nil {
		return nil, err
	}
	partitions := make([]partitionStats, len(of.Partitions))
	for i, p := range of.Partitions {
		partitions[i] = partitionStats(p)
	}
	body := gin.H{
		"topic": of.Topic, "total_vectors": of.Vectors, "dimensions": of.Dimensions, "index_type": of.IndexType, "distance_metric": of.Metric,
		"embedding_provider": of.Provider, "embedding_model": of.Model, "quantization": of.Quantization, "index_backend": of.Backend,
		"partition_count": len(of.Partitions), "shards": of.Shards, "bytes": of.Bytes, "partitions": partitions,
		"lag_records": of.LagRecords, "vectors_of_other_models": of.OtherModels,
		"recall_target": of.RecallTarget, "recall_at_10": nil, "recall_measured_on": of.RecallRecords,
	}
	if of.RecallRecords > 0 {
		body["recall_at_10"] = of.RecallAt10
	}
	return body, nil
}

// topics lists those that have vectors.
func (s *Surface) topics(c *gin.Context) (any, error) {
	all, err := s.o.Vectors.Topics(c.Request.Context())
	if err != nil {
		return nil, err
	}
	type entry struct {
		Name       string `json:"name"`
		Vectors    int64  `json:"vectors"`
		Dimensions int    `json:"dimensions"`
		Provider   string `json:"provider"`
		Model      string `json:"model"`
	}
	list := make([]entry, len(all))
	for i, t := range all {
		list[i] = entry(t)
	}
	return gin.H{"topics": list, "count": len(list)}, nil
}

// backfill has a topic's records embedded anew.
func (s *Surface) backfill(c *gin.Context) (any, error) {
	if err := s.o.Administrator(c); err != nil {
		return nil, err
	}
	var body struct {
		Partition *int32 `json:"partition"`
	}
	text, err := s.o.Body(c)
	if err == nil && len(bytes.TrimSpace(text)) > 0 {
		err = envelope.Decode(text, &body)
	}
	if err != nil {
		return nil, err
	}
	topic := c.Param("topic")
	answer := gin.H{"success": true, "topic": topic, "message": "the vectors of topic " + topic + " are made anew; those that there are serve meanwhile"}
	var partitions []int32
	if body.Partition != nil {
		partitions, answer["partition"] = []int32{*body.Partition}, *body.Partition
	}
	return answer, s.o.Indexes.RebuildVectors(c.Request.Context(), topic, partitions)
}

// drop removes a topic's vectors.
func (s *Surface) drop(c *gin.Context) (any, error) {
	if err := s.o.Administrator(c); err != nil {
		return nil, err
	}
	topic := c.Param("topic")
	return gin.H{"success": true, "topic": topic, "message": "the vectors of topic " + topic + " are removed; a backfill makes new ones"},
		s.o.Indexes.DropVectors(c.Request.Context(), topic)
}
