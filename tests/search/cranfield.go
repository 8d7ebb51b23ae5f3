package main

import (
	"context"
	"encoding/json"
	"fmt"

	collection "github.com/chronik-stream/chronik/tests/cranfield"
)

// ndcgLeast is what stemming has to reach at least.
const ndcgLeast = 0.38

// cranfield has 1,400 abstracts ranked for 225 questions that people have judged,
// with words as they are and with English stemming.
func cranfield(ctx context.Context, o options, s *server) error {
	if o.data == "" {
		fmt.Println("SKIPPED cranfield: CHRONIK_TESTDATA does not name the folder that has it")
		return nil
	}
	c, err := collection.Read(o.data)
	if err != nil {
		return err
	}
	documents := make([][]byte, len(c.Documents))
	for i, d := range c.Documents {
		if documents[i], err = json.Marshal(d); err != nil {
			return err
		}
	}
	scores := map[string]float64{}
	for _, analyzer := range []string{"standard", "english"} {
		index := "cranfield-" + analyzer
		mapping := fmt.Sprintf(`{"settings":{"number_of_shards":2},"mappings":{"properties":{"title":{"type":"text","analyzer":%q},"text":{"type":"text","analyzer":%q},"number":{"type":"long"}}}}`, analyzer, analyzer)
		if err := s.Into(ctx, nil, "PUT", "/"+index, mapping); err != nil {
			return err
		}
		if err := s.bulk(ctx, index, documents); err != nil {
			return err
		}
		sum := 0.0
		for i, q := range c.Questions {
			question, err := json.Marshal(q)
			if err != nil {
				return err
			}
			var f found
			body := fmt.Sprintf(`{"size":10,"query":{"multi_match":{"query":%s,"type":"most_fields","fields":["title","text"]}}}`, question)
			if err := s.Into(ctx, &f, "POST", "/"+index+"/_search", body); err != nil {
				return err
			}
			var ranked []int
			for _, h := range f.Hits.Hits {
				var d struct{ Number int }
				if err := json.Unmarshal(h.Source, &d); err != nil {
					return err
				}
				ranked = append(ranked, d.Number)
			}
			sum += collection.NDCG(ranked, c.Relevant[i+1])
		}
		scores[analyzer] = sum / float64(len(c.Questions))
		fmt.Printf("ok    cranfield: nDCG@10 with analyzer %s: %.4f\n", analyzer, scores[analyzer])
	}
	if scores["english"] < ndcgLeast {
		return fmt.Errorf("nDCG@10 with stemming is %.4f, want %.2f at least", scores["english"], ndcgLeast)
	}
	return nil
}
