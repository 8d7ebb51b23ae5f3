package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
	collection "github.com/chronik-stream/chronik/tests/cranfield"
)

// recallLeast is the part of the ten nearest that has to come back.
const recallLeast = 0.95

// set is data to measure with.
type set struct {
	name             string
	records, queries [][]float32
	settings         map[string]string
	truths           map[string][]float64 // see nearest
	merges           bool                 // there are so many that a merge makes a graph
}

// held takes the last n vectors for queries.
func held(name string, all [][]float32, n int, settings map[string]string) set {
	return set{name: name, records: all[:len(all)-n], queries: all[len(all)-n:], settings: settings, truths: map[string][]float64{}}
}

func sets(o options) ([]set, error) {
	const queries = 60
	all := []set{
		held("clustered", vectortest.Clustered(1, 120_000+queries, 32, 200), queries, map[string]string{"vector.index.type": "hnsw"}),
		held("words", vectortest.Words(2, 20_000+queries, 128), queries, map[string]string{"vector.index.type": "ivf", "vector.quantization": "f16"}),
	}
	all[0].merges = true // more in each partition than a flat shard takes
	if o.data == "" {
		fmt.Println("SKIPPED recall on Cranfield: CHRONIK_TESTDATA does not name the folder that has it")
		return all, nil
	}
	c, err := collection.Read(o.data)
	if err != nil {
		return nil, err
	}
	texts := texts(c)
	s := set{name: "semantics", settings: map[string]string{"vector.quantization": "int8"}, truths: map[string][]float64{}}
	learned := vectortest.Learn(texts, 100)
	for _, text := range texts {
		s.records = append(s.records, learned.Vector(text))
	}
	for _, q := range c.Questions {
		s.queries = append(s.queries, learned.Vector(q))
	}
	return append(all, s), nil
}

// recall measures what part of the true ten nearest comes back at the calibrated
// effort: while records arrive and shards are made and merged, of all records, under
// filters, and with caches that are empty.
func recall(ctx context.Context, s *suite) error {
	all, err := sets(s.options)
	if err != nil {
		return err
	}
	for i := range all {
		if err := all[i].growing(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", all[i].name, err)
		}
		if err := all[i].filtered(ctx, s, "warm"); err != nil {
			return fmt.Errorf("%s: %w", all[i].name, err)
		}
	}
	if err := s.emptied(ctx); err != nil {
		return err
	}
	for i := range all {
		if err := all[i].filtered(ctx, s, "cold"); err != nil {
			return fmt.Errorf("%s: %w", all[i].name, err)
		}
	}
	return nil
}

// emptied starts the server again, without what its query node had kept.
func (s *suite) emptied(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.Dir(), "query")); err != nil {
		return err
	}
	return s.Start(ctx)
}

// growing produces the records, and searches meanwhile.
func (d *set) growing(ctx context.Context, s *suite) error {
	err := s.topic(ctx, d.name, len(d.queries[0]), func(text string) []float32 {
		i, err := strconv.Atoi(strings.TrimPrefix(text, d.name+" "))
		if err != nil {
			return nil
		}
		return d.records[i]
	}, d.settings)
	if err != nil {
		return err
	}
	c, err := s.client(d.name)
	if err != nil {
		return err
	}
	defer c.Close()
	const steps = 10
	began := time.Now()
	m := measure{set: d, when: "while it grows"}
	for n := range steps {
		first, next := len(d.records)*n/steps, len(d.records)*(n+1)/steps
		if err := produce(ctx, c, first, next, func(i int) []byte { return fmt.Appendf(nil, "%s %d", d.name, i) }); err != nil {
			return err
		}
		if n == 0 { // there has to be something to find
			if err := s.settled(ctx, d.name, d.queries[0]); err != nil {
				return err
			}
		}
		for i := n * 5; i < n*5+5; i++ {
			if err := m.ask(ctx, s, i, filter{}); err != nil {
				return err
			}
		}
	}
	if err := m.judge(); err != nil {
		return err
	}
	produced := time.Since(began)
	if err := s.settled(ctx, d.name, d.queries[0]); err != nil {
		return err
	}
	fmt.Printf("ok    %s: produced in %s, all found after %s\n", d.name, produced.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	return d.described(ctx, s)
}

// stats are what the server says of the vectors.
type stats struct {
	Vectors int      `json:"total_vectors"`
	Index   string   `json:"index_type"`
	Shards  int      `json:"shards"`
	Recall  *float64 `json:"recall_at_10"`
}

// mergedWithin is how long making graphs may take.
const mergedWithin = 3 * time.Minute

// described shows what the server says of the vectors; of those that are merged
// when each partition has one shard, and searches until then.
func (d *set) described(ctx context.Context, s *suite) error {
	m := measure{set: d, when: "while shards are merged"}
	var of stats
	for began := time.Now(); ; {
		if err := s.Into(ctx, &of, "GET", "/_vector/"+d.name+"/stats", ""); err != nil {
			return err
		}
		if of.Vectors != len(d.records) {
			return fmt.Errorf("%d vectors of %d records", of.Vectors, len(d.records))
		}
		if !d.merges || of.Shards == partitions {
			break
		}
		if time.Since(began) > mergedWithin {
			return fmt.Errorf("there are %d shards after %s, want one in each partition", of.Shards, mergedWithin)
		}
		if err := m.ask(ctx, s, len(m.took)%len(d.queries), everything); err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond): // merging gives way to searching
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if d.merges {
		if err := m.judge(); err != nil {
			return err
		}
	}
	measured := "none yet"
	if of.Recall != nil {
		measured = fmt.Sprintf("%.4f", *of.Recall)
	}
	fmt.Printf("ok    %s: %d vectors in %d shards, %s; recall@10 that was measured when they were built: %s\n", d.name, of.Vectors, of.Shards, of.Index, measured)
	return nil
}

// filtered searches all, and what filters leave.
func (d *set) filtered(ctx context.Context, s *suite, when string) error {
	n := len(d.records)
	for _, f := range []filter{
		everything,
		{"of 50 %", map[string]any{"partitions": []int{1}}, func(i int) bool { return i%partitions == 1 }},
		{"of 1 %", map[string]any{"min_timestamp": stamp(n / 3).UTC().Format(time.RFC3339), "max_timestamp": stamp(n/3 + n/100 - 1).UnixMilli()},
			func(i int) bool { return i >= n/3 && i < n/3+n/100 }},
		{"of 0.01 %", map[string]any{"max_offset": max(n/10_000/partitions, 1) - 1}, func(i int) bool { return i/partitions < max(n/10_000/partitions, 1) }},
	} {
		m := measure{set: d, when: when + ", " + f.what}
		for i := range min(len(d.queries), 60) {
			if err := m.ask(ctx, s, i, f); err != nil {
				return err
			}
		}
		if err := m.judge(); err != nil {
			return err
		}
	}
	return nil
}

// measure is what came back of what is nearest.
type measure struct {
	*set
	when         string
	found, there int
	took         []time.Duration
}

// filter is one of a search, and which records pass it. That of no name is none.
type filter struct {
	what    string
	filters map[string]any
	pass    func(i int) bool
}

var everything = filter{"of all", nil, func(int) bool { return true }}

// nearest are the distances of the ten records nearest to a query that pass.
func (d *set) nearest(query int, pass func(i int) bool) []float64 {
	var distances []float64
	for i, v := range d.records {
		if pass(i) {
			distances = append(distances, vectorindex.Cosine.Distance(d.queries[query], v))
		}
	}
	slices.Sort(distances)
	return distances[:min(10, len(distances))]
}

// ask searches for the ten nearest, and holds against the answer those of the
// records that it says it covers.
func (m *measure) ask(ctx context.Context, s *suite, query int, f filter) error {
	q := m.queries[query]
	request := map[string]any{"vector": q, "k": 10}
	if f.filters != nil {
		request["filters"] = f.filters
	}
	began := time.Now()
	a, err := s.vector(ctx, m.name, "search_by_vector", request)
	if err != nil {
		return err
	}
	m.took = append(m.took, time.Since(began))
	covered := make([]int64, partitions)
	for p, c := range a.Coverage[m.name].Partitions {
		n, err := strconv.Atoi(p)
		if err != nil || n >= partitions {
			return fmt.Errorf("the coverage has partition %q", p)
		}
		covered[n] = c.To
	}
	pass := f.pass
	var want []float64
	if pass == nil { // it grows: the truth is another one each time
		pass = func(i int) bool { return int64(i/partitions) < covered[i%partitions] }
		want = m.nearest(query, pass)
	} else {
		if covered[0]+covered[1] != int64(len(m.records)) {
			return fmt.Errorf("%s: %v is covered of %d records", m.when, covered, len(m.records))
		}
		key := fmt.Sprint(f.what, query)
		if want = m.truths[key]; want == nil {
			want = m.nearest(query, pass)
			m.truths[key] = want
		}
	}
	if len(a.Results) != len(want) {
		return fmt.Errorf("%s: %d records came, there are %d", m.when, len(a.Results), len(want))
	}
	m.there += len(want)
	for i := range a.Results {
		n := a.number(i)
		if n >= len(m.records) || !pass(n) {
			return fmt.Errorf("%s: record %d does not pass the filter", m.when, n)
		}
		// What is as near as the last of them is as good.
		if vectorindex.Cosine.Distance(q, m.records[n]) <= want[len(want)-1]+1e-9 {
			m.found++
		}
	}
	return nil
}

func (m *measure) judge() error {
	got := float64(m.found) / float64(max(m.there, 1))
	fmt.Printf("ok    %s, %s: recall@10 %.4f of %d neighbours, p50 %s, p99 %s\n", m.name, m.when, got, m.there, quantile(m.took, 50), quantile(m.took, 99))
	if m.there == 0 || got < recallLeast {
		return fmt.Errorf("%s: recall@10 is %.4f, want %.2f at least", m.when, got, recallLeast)
	}
	return nil
}

func quantile(all []time.Duration, percent int) time.Duration {
	slices.Sort(all)
	return all[min(len(all)-1, len(all)*percent/100)].Round(100 * time.Microsecond)
}
