package vector

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/query/shardcache"
)

// nearest searches the shards, several at once, and keeps the nearest of all.
func (s *Searcher) nearest(ctx context.Context, b *bound, r *Request) (*Answer, error) {
	best := &best{most: r.K, recall: 1}
	metric := metricOf(b.vector.Metric)
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(s.config.Parallel)
	search := func(p part) error {
		found, recall, err := s.searchShard(inner, b, &p.shard, r, metric)
		best.add(found, p.at, recall)
		return err
	}
	outside, inside := s.split(b)
	for _, g := range outside {
		group.Go(func() error { return s.searchOutside(inner, b, g, r, best, search) })
	}
	for _, p := range inside {
		group.Go(func() error { return search(p) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s.searched.Add(int64(len(inside)))
	if len(outside) > 0 && r.Recall > 0 {
		b.warn("the recall of a Milvus is not known, and is not aimed at: ef_search and nprobe are what changes it")
	}
	answer := &Answer{TotalVectors: b.total, Coverage: b.coverage, Warnings: append(b.otherMetrics(), best.warnings...), Recall: best.recall}
	found := best.sorted()
	answer.Hits = make([]Hit, len(found))
	for i, f := range found {
		answer.Hits[i] = Hit{
			Topic: b.topic.Name, Partition: b.shards[f.shard].partition, Offset: f.Offset, Timestamp: f.Timestamp,
			Distance: f.Distance, Score: f.score,
		}
	}
	if r.Embeddings {
		return answer, s.embeddings(ctx, b, found, answer.Hits)
	}
	return answer, nil
}

// metricOf is the metric of a topic's settings.
func metricOf(name string) vectorindex.Metric {
	for m := vectorindex.Cosine; m < vectorindex.Dot; m++ {
		if m.String() == name {
			return m
		}
	}
	return vectorindex.Dot
}

// otherMetrics are the warnings, with one if some shards have another metric than
// the topic.
func (b *bound) otherMetrics() []string {
	for _, sh := range b.shards {
		if sh.settings.Metric != b.vector.Metric {
			b.warn("some vectors are still indexed by %s: of those that are near by it the nearest by %s are given", sh.settings.Metric, b.vector.Metric)
			break
		}
	}
	return b.warnings
}

// searchShard searches one shard, and says what recall is promised.
func (s *Searcher) searchShard(ctx context.Context, b *bound, sh *shard, r *Request, metric vectorindex.Metric) (found []found, recall float64, err error) {
	query := vectorindex.Query{Vector: sh.vector, K: r.K, Recall: r.Recall, Ef: max(r.Ef, b.vector.EFSearch), Probes: r.Probes}
	err = s.within(ctx, sh, func(opened *shardcache.Shard) error {
		names, offsets, err := s.config.Masks.Over(ctx, sh.file, sh.masks)
		if err != nil {
			return err
		}
		query.Filter = r.Filter.of(sh)
		query.Filter.Hidden = opened.Hidden(names, offsets)
		answer, err := opened.Search(ctx, query)
		if err != nil {
			return err
		}
		if opened.Info().Metric != metric {
			if err := rejudge(ctx, opened, answer.Hits, sh.vector, metric); err != nil {
				return err
			}
		}
		recall, found = answer.Recall, nil
		for _, h := range answer.Hits {
			found = append(found, nearHit(h, metric))
		}
		return nil
	})
	return found, recall, err
}

// of is the filter over one shard.
func (f *Filter) of(sh *shard) (of vectorindex.Filter) {
	of.First, of.Next = f.offsets(sh)
	if f.MinTimestamp == nil && f.MaxTimestamp == nil {
		return of
	}
	of.Times = &vectorindex.Times{Least: math.MinInt64, Greatest: math.MaxInt64}
	if f.MinTimestamp != nil {
		of.Times.Least = *f.MinTimestamp
	}
	if f.MaxTimestamp != nil {
		of.Times.Greatest = *f.MaxTimestamp
	}
	return of
}

// rejudge gives hits the distances of another metric than their shard's.
func rejudge(ctx context.Context, opened *shardcache.Shard, hits []vectorindex.Hit, q []float32, metric vectorindex.Metric) error {
	at := make(map[int64]int, len(hits))
	only := roaring64.New()
	for i, h := range hits {
		at[h.Offset] = i
		only.Add(uint64(h.Offset))
	}
	return opened.Vectors(ctx, vectorindex.Filter{Only: only}, func(offset int64, v []float32) error {
		hits[at[offset]].Distance = float32(metric.Distance(q, v))
		return nil
	})
}

// found is a hit, and the shard that has it.
type found struct {
	vectorindex.Hit
	score float32
	shard int
}

func nearHit(h vectorindex.Hit, m vectorindex.Metric) found {
	return found{Hit: h, score: m.Score(h.Distance)}
}

// best keeps the nearest of several shards.
type best struct {
	most int

	mu       sync.Mutex
	all      []found
	recall   float64
	warnings []string
}

// add adds what a shard found.
func (b *best) add(found []found, shard int, recall float64) {
	for i := range found {
		found[i].shard = shard
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recall = min(b.recall, recall)
	b.all = append(b.all, found...)
	if len(b.all) > 4*b.most {
		b.cut()
	}
}

// cut keeps the nearest. Scores of two models are compared, distances but where
// those are alike.
func (b *best) cut() {
	slices.SortFunc(b.all, func(x, y found) int {
		return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.Distance, y.Distance), cmp.Compare(x.shard, y.shard), cmp.Compare(x.Offset, y.Offset))
	})
	b.all = b.all[:min(b.most, len(b.all))]
}

// sorted are the nearest, by partition and offset where they are equally near:
// that is how shards are listed.
func (b *best) sorted() []found {
	b.cut()
	return b.all
}

// embeddings gives hits their vectors.
func (s *Searcher) embeddings(ctx context.Context, b *bound, found []found, hits []Hit) error {
	of := map[int][]int{} // hits, by shard
	for i, f := range found {
		of[f.shard] = append(of[f.shard], i)
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(s.config.Parallel)
	for n, places := range of {
		group.Go(func() error {
			return s.within(inner, &b.shards[n], func(opened *shardcache.Shard) error {
				at := make(map[int64]int, len(places))
				only := roaring64.New()
				for _, i := range places {
					at[hits[i].Offset] = i
					only.Add(uint64(hits[i].Offset))
				}
				return opened.Vectors(inner, vectorindex.Filter{Only: only}, func(offset int64, v []float32) error {
					hits[at[offset]].Embedding = slices.Clone(v)
					return nil
				})
			})
		})
	}
	return group.Wait()
}
