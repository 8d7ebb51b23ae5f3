package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/chronik-stream/chronik/tests/dev"
)

// server is the `chronik dev` that is asked.
type server struct{ *dev.Server }

// found is what is looked at of a search's answer.
type found struct {
	Hits struct {
		Total struct {
			Value    int64
			Relation string
		}
		Hits []struct {
			ID     string          `json:"_id"`
			Score  *float64        `json:"_score"`
			Source json.RawMessage `json:"_source"`
			Fields map[string][]any
			Sort   []any
		}
	}
	Aggregations map[string]json.RawMessage
	Coverage     map[string]struct {
		Lag int64 `json:"lag_records"`
	}
}

// bulk writes documents to an index.
func (s *server) bulk(ctx context.Context, index string, documents [][]byte) error {
	for len(documents) > 0 {
		n := min(500, len(documents))
		var body bytes.Buffer
		for _, d := range documents[:n] {
			body.WriteString("{\"index\":{}}\n")
			body.Write(d)
			body.WriteByte('\n')
		}
		documents = documents[n:]
		var out struct{ Errors bool }
		if err := s.Into(ctx, &out, "POST", "/"+index+"/_bulk", body.String()); err != nil {
			return err
		}
		if out.Errors {
			return fmt.Errorf("writing to %s: some documents were refused", index)
		}
	}
	return nil
}
