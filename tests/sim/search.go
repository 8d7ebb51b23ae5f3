package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/tests/history"
)

// byWords searches for the records of a writer, whose name is a word of their
// values, or for all that have a value.
func (w *World) byWords(topic, writer string) way {
	words := map[string]any{"match_all": map[string]any{}}
	if writer != "" {
		words = map[string]any{"match": map[string]any{"_value": writer}}
	}
	return func(ctx context.Context, name string, s *server, freshness string) error {
		question := w.history.Query(name, topic, freshness == "latest").Only(func(r history.Record) bool {
			return !r.Tombstone && (writer == "" || r.ID.Writer == writer)
		})
		var got struct {
			TimedOut bool `json:"timed_out"`
			Hits     struct {
				Total struct {
					Value int `json:"value"`
				} `json:"total"`
				Hits []struct {
					Source struct {
						Partition int32   `json:"_partition"`
						Offset    int64   `json:"_offset"`
						Value     *string `json:"_value"`
					} `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
			Coverage coverage `json:"coverage"`
		}
		if err := w.post(ctx, name, s, "/"+topic+"/_search", map[string]any{"query": words, "size": 10_000, "freshness": freshness}, &got); err != nil {
			return err
		}
		if n := len(got.Hits.Hits); got.TimedOut || got.Hits.Total.Value != n {
			w.history.Report(history.Uncovered, "%s finds %d in %s and gives %d, timed out: %v", s.name, got.Hits.Total.Value, topic, n, got.TimedOut)
		}
		rows := map[int32][]history.Item{}
		for _, hit := range got.Hits.Hits {
			if h := hit.Source; h.Value != nil { // else it is a tombstone
				rows[h.Partition] = append(rows[h.Partition], history.Item{Offset: h.Offset, Value: []byte(*h.Value)})
			}
		}
		question.Answered(got.Coverage.of(w, s, topic), rows)
		return nil
	}
}

// byMeaning searches a partition for as many records as can be asked for, which is
// all of them: whatever is asked, all have to be found, each with its own vector.
func (w *World) byMeaning(p history.Partition) way {
	const most = 1000
	return func(ctx context.Context, name string, s *server, freshness string) error {
		question := w.history.Query(name, p.Topic, freshness == "latest").Of(p.Index).Only(func(r history.Record) bool { return !r.Tombstone })
		var got struct {
			Results []struct {
				Partition int32     `json:"partition"`
				Offset    int64     `json:"offset"`
				Value     string    `json:"value"`
				Embedding []float32 `json:"embedding"`
			} `json:"results"`
			Coverage coverage `json:"coverage"`
			Warnings []string `json:"warnings"`
		}
		if err := w.post(ctx, name, s, "/_vector/"+p.Topic+"/search", map[string]any{
			"query": "p1", "k": most, "filters": map[string]any{"partitions": []int32{p.Index}}, "freshness": freshness,
			"include_value": true, "include_embedding": true, "timeout_secs": 20,
		}, &got); err != nil {
			return err
		}
		if len(got.Results) == most {
			return nil // and maybe there are others
		}
		covered := got.Coverage.of(w, s, p.Topic)[p.Index]
		rows := map[int32][]history.Item{}
		for _, r := range got.Results {
			if own := embeddertest.Vector(r.Value, len(r.Embedding)); vectorindex.Cosine.Distance(own, r.Embedding) > 0.01 {
				w.history.Report(history.Garbled, "%s gives offset %d of %s a vector that is not of its value %.40q", s.name, r.Offset, p, r.Value)
			}
			// Behind what it covers an answer may have some, too.
			if r.Offset < covered.To {
				rows[r.Partition] = append(rows[r.Partition], history.Item{Offset: r.Offset, Value: []byte(r.Value)})
			}
		}
		if len(got.Warnings) > 0 && freshness == "latest" && covered.To < covered.End {
			return errors.New(fmt.Sprint(got.Warnings)) // a former model does not answer
		}
		question.Answered(map[int32]history.Covered{p.Index: covered}, rows)
		return nil
	}
}
