package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

// combinations produces to topics that are searchable or not, tables or not, with
// vectors or not, and asks each in every way: what it is answers, what it is not
// refuses.
func combinations(ctx context.Context, s *suite) error {
	texts := []string{
		"the pump in hall three leaks oil", "a motor overheats under load", "the belt of the conveyor is torn", "invoice seven is overdue",
		"the customer asks for a refund", "pump pressure is low", "the motor of pump two was replaced", "an invoice was paid twice",
	}
	learned := vectortest.Learn(append(texts, texts...), 8)
	const records = 40
	for n := range 8 {
		searchable, columnar, vectors := n&1 != 0, n&2 != 0, n&4 != 0
		topic := fmt.Sprintf("combination-%d", n)
		config := map[string]string{"searchable": strconv.FormatBool(searchable), "columnar.enabled": strconv.FormatBool(columnar)}
		if vectors {
			config["vector.enabled"], config["vector.field"] = "true", "$.text"
			config["vector.embedding.provider"], config["vector.embedding.model"], config["vector.embedding.dimensions"] = "external", "combinations", "8"
			config["vector.embedding.endpoint"] = s.embeddings.serve(topic, learned.Vector)
		}
		if err := s.create(ctx, topic, config); err != nil {
			return err
		}
		c, err := s.client(topic)
		if err != nil {
			return err
		}
		err = produce(ctx, c, 0, records, func(i int) []byte { return fmt.Appendf(nil, `{"text":%q,"n":%d}`, texts[i%len(texts)], i) })
		c.Close()
		if err != nil {
			return err
		}
		if err := s.combination(ctx, topic, searchable, columnar, vectors, records); err != nil {
			return fmt.Errorf("searchable %t, columnar %t, vectors %t: %w", searchable, columnar, vectors, err)
		}
		fmt.Printf("ok    searchable %-5t  columnar %-5t  vectors %-5t\n", searchable, columnar, vectors)
	}
	return nil
}

func (s *suite) combination(ctx context.Context, topic string, searchable, columnar, vectors bool, records int) error {
	sql := fmt.Sprintf(`{"query":"SELECT count(*) AS n, sum(n) AS s FROM \"%s\""}`, topic)
	if columnar {
		var out struct{ Rows []map[string]float64 }
		if err := s.Into(ctx, &out, "POST", "/_sql", sql); err != nil {
			return err
		}
		if len(out.Rows) != 1 || out.Rows[0]["n"] != float64(records) || out.Rows[0]["s"] != float64(records*(records-1)/2) {
			return fmt.Errorf("SQL counts %v", out.Rows)
		}
	} else if err := s.refused(ctx, http.StatusBadRequest, "POST", "/_sql", sql); err != nil {
		return err
	}
	search := `{"size":3,"query":{"match":{"text":"leaks"}}}`
	if searchable {
		var out struct {
			Hits struct{ Total struct{ Value int } }
		}
		if err := s.Into(ctx, &out, "POST", "/"+topic+"/_search", search); err != nil {
			return err
		}
		if out.Hits.Total.Value != records/8 {
			return fmt.Errorf("%d are found by words, want %d", out.Hits.Total.Value, records/8)
		}
	} else if err := s.refused(ctx, http.StatusBadRequest, "POST", "/"+topic+"/_search", search); err != nil {
		return err
	}
	for _, how := range []struct {
		name string
		can  bool
	}{{"search", vectors}, {"hybrid", vectors && searchable}} {
		if !how.can {
			if err := s.refused(ctx, http.StatusBadRequest, "POST", "/_vector/"+topic+"/"+how.name, `{"query":"the pump in hall three leaks oil"}`); err != nil {
				return err
			}
			continue
		}
		a, err := s.vector(ctx, topic, how.name, map[string]any{"query": "the pump in hall three leaks oil", "k": records / 8, "freshness": "latest", "timeout_secs": 60})
		if err != nil {
			return err
		}
		for i := range a.Results {
			if a.number(i)%8 != 0 {
				return fmt.Errorf("%s: record %d is among the first", how.name, a.number(i))
			}
		}
		if len(a.Results) != records/8 {
			return fmt.Errorf("%s: %d records came, want %d", how.name, len(a.Results), records/8)
		}
	}
	if columnar && vectors {
		var out struct{ Rows []map[string]float64 }
		distance := fmt.Sprintf(`{"query":"SELECT count(*) AS n FROM \"%[1]s\" WHERE vector_distance(_embedding, (SELECT _embedding FROM \"%[1]s\" WHERE n = 0), 'cosine') < 0.00001"}`, topic)
		if err := s.Into(ctx, &out, "POST", "/_sql", distance); err != nil {
			return err
		}
		if len(out.Rows) != 1 || out.Rows[0]["n"] != float64(records/8) {
			return fmt.Errorf("SQL finds %v at distance 0, want %d", out.Rows, records/8)
		}
	}
	return nil
}
