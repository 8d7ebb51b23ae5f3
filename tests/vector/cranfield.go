package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
	collection "github.com/chronik-stream/chronik/tests/cranfield"
)

const (
	// hybridLeast is what part of the better side's ranking the hybrid one has to
	// reach, where both are good for something.
	hybridLeast  = 0.98
	goodForWords = 0.30
)

func texts(c *collection.Collection) []string {
	out := make([]string, len(c.Documents))
	for i, d := range c.Documents {
		out[i] = d.Title + " " + d.Text
	}
	return out
}

// cranfield ranks 1,400 abstracts for 225 questions: by words, by meaning (latent
// semantic analysis), and by both.
func cranfield(ctx context.Context, s *suite) error {
	if s.data == "" {
		fmt.Println("SKIPPED cranfield: CHRONIK_TESTDATA does not name the folder that has it")
		return nil
	}
	c, err := collection.Read(s.data)
	if err != nil {
		return err
	}
	const topic = "cranfield"
	learned := vectortest.Learn(texts(c), 100)
	if err := s.topic(ctx, topic, 100, learned.Vector, map[string]string{"searchable": "true", "search.analyzer": "en", "vector.field": "$.text"}); err != nil {
		return err
	}
	client, err := s.client(topic)
	if err != nil {
		return err
	}
	defer client.Close()
	err = produce(ctx, client, 0, len(c.Documents), func(i int) []byte {
		text, _ := json.Marshal(c.Documents[i]) // of strings and a number: it cannot fail
		return text
	})
	if err != nil {
		return err
	}
	if err := s.settled(ctx, topic, learned.Vector(c.Questions[0])); err != nil {
		return err
	}
	by := func(how string, more map[string]any) (float64, error) {
		sum := 0.0
		for i, q := range c.Questions {
			request := map[string]any{"query": q, "k": 10, "freshness": "latest"}
			for name, value := range more {
				request[name] = value
			}
			a, err := s.vector(ctx, topic, how, request)
			if err != nil {
				return 0, err
			}
			ranked := make([]int, len(a.Results))
			for n := range a.Results {
				ranked[n] = c.Documents[a.number(n)].Number
			}
			sum += collection.NDCG(ranked, c.Relevant[i+1])
		}
		return sum / float64(len(c.Questions)), nil
	}
	// Both sides alone: the other one's weight is 0.
	words, err := by("hybrid", map[string]any{"fusion": "weighted", "text_weight": 1, "vector_weight": 0})
	if err != nil {
		return err
	}
	meaning, err := by("search", nil)
	if err != nil {
		return err
	}
	fmt.Printf("ok    cranfield: nDCG@10 by words %.4f, by meaning %.4f\n", words, meaning)
	if words < goodForWords || meaning < goodForWords {
		return fmt.Errorf("nDCG@10 is %.4f by words and %.4f by meaning, want %.2f of both", words, meaning, goodForWords)
	}
	for _, fusion := range []string{"rrf", "weighted"} {
		both, err := by("hybrid", map[string]any{"fusion": fusion})
		if err != nil {
			return err
		}
		fmt.Printf("ok    cranfield: nDCG@10 by both (%s) %.4f, %.3f of the better side\n", fusion, both, both/max(words, meaning))
		if both < hybridLeast*max(words, meaning) {
			return fmt.Errorf("nDCG@10 by both (%s) is %.4f, want %.2f of %.4f", fusion, both, hybridLeast, max(words, meaning))
		}
	}
	return nil
}
