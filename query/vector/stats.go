package vector

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/shardcache"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// shardsAtOnce is how many shards are looked at at once to describe them.
const shardsAtOnce = 16

// Stats describes the vectors of a topic. Errors are those of Search.
func (s *Searcher) Stats(ctx context.Context, name string) (*Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	r := &Request{Topic: name}
	var stats *Stats
	err := s.config.Sources.Bind(ctx, name, func(int) error {
		p, err := s.present(ctx, r)
		var dropped *NotEnabledError
		if errors.As(err, &dropped) && dropped.Dropped {
			t, _ := s.config.Sources.Catalog.Topic(name)
			if t == nil {
				return &UnknownTopicError{name}
			}
			stats = describe(t, s.settings(t))
			return nil
		}
		if err != nil {
			return err
		}
		stats, err = s.stats(ctx, p)
		return err
	})
	return stats, err
}

// describe is what the settings of a topic say.
func describe(t *metastore.Topic, c topicconfig.Vector) *Stats {
	return &Stats{
		Topic: t.Name, Dimensions: c.Dimensions, IndexType: c.IndexType, Metric: c.Metric, Provider: c.Provider, Model: c.Model,
		Quantization: c.Quantization, Backend: c.Backend, RecallTarget: vectorindex.DefaultRecall,
	}
}

// stats describes the topic as it is now.
func (s *Searcher) stats(ctx context.Context, known *snapshot.Presence) (*Stats, error) {
	t := known.Topic
	config := s.settings(t)
	partitions, err := s.config.Sources.Partitions(ctx, t, snapshot.Vector, known.Logs.Starts)
	if err != nil {
		return nil, err
	}
	stats := describe(t, config)
	stats.LagRecords = snapshot.Cover(partitions, nil, known.Logs.Ends, true).LagRecords
	stats.Partitions = make([]PartitionStats, len(partitions))
	var mu sync.Mutex
	var recall, weight float64
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(shardsAtOnce)
	parsed := &asked{settings: map[string]vectorindex.Settings{}}
	for i, p := range partitions {
		stats.Partitions[i] = PartitionStats{Partition: p.Index, LastOffset: p.Mark - 1}
		for sh, err := range s.shards(parsed, &p) {
			if err != nil {
				return nil, errors.Join(err, group.Wait())
			}
			group.Go(func() error {
				count, err := s.count(inner, &sh)
				if err != nil {
					return err
				}
				promised, measured, err := s.promised(inner, &sh, config)
				mu.Lock()
				defer mu.Unlock()
				stats.Partitions[i].add(count)
				stats.Bytes += sh.file.Size
				if !embedder.ModelOf(config).Matches(modelOf(sh.settings)) {
					stats.OtherModels += count
				} else if stats.Dimensions == 0 {
					stats.Dimensions = sh.settings.Dimensions
				}
				recall, weight = recall+promised*float64(count), weight+float64(count)
				if measured {
					stats.RecallRecords += count
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, p := range stats.Partitions {
		stats.Vectors += p.Vectors
		stats.Shards += p.Shards
	}
	if weight > 0 {
		stats.RecallAt10 = recall / weight
	}
	return stats, nil
}

func (p *PartitionStats) add(vectors int64) {
	p.Vectors += vectors
	p.Shards++
}

// promised is the recall of a search for ten of a shard, and whether it was
// measured.
func (s *Searcher) promised(ctx context.Context, sh *shard, c topicconfig.Vector) (recall float64, measured bool, err error) {
	err = s.within(ctx, sh, func(opened *shardcache.Shard) error {
		_, recall = opened.Expect(10, 0, c.EFSearch, 0)
		measured = opened.Info().Calibration.Queries > 0
		return nil
	})
	return recall, measured, err
}

// Topics lists the topics that have vectors, or will have, by name. It takes what
// manifests say, and asks nobody. Of a shard that is damaged it counts what it had.
func (s *Searcher) Topics(ctx context.Context) ([]TopicVectors, error) {
	var topics []*metastore.Topic
	s.config.Sources.Catalog.View(func(v *metastore.View) {
		for _, t := range v.Topics() {
			if s.settings(t).Enabled && !v.VectorIndex(t.ID).Dropped {
				topics = append(topics, t)
			}
		}
	})
	slices.SortFunc(topics, func(x, y *metastore.Topic) int { return strings.Compare(x.Name, y.Name) })
	all := make([]TopicVectors, len(topics))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(shardsAtOnce)
	for i, t := range topics {
		group.Go(func() error {
			c := s.settings(t)
			all[i] = TopicVectors{Name: t.Name, Dimensions: c.Dimensions, Provider: c.Provider, Model: c.Model}
			counted := func(count func(context.Context, *shard) (int64, error)) error {
				return s.config.Sources.Bind(inner, t.Name, func(int) error { return s.countTopic(inner, t, count, &all[i]) })
			}
			err := counted(s.count)
			if damaged := (*DamagedError)(nil); errors.As(err, &damaged) { // and reported by now
				return counted(listed)
			}
			return err
		})
	}
	return all, group.Wait()
}

// listed is about how many vectors of a shard count, as the manifest says.
func listed(_ context.Context, sh *shard) (int64, error) {
	return min(sh.file.Records-sh.file.Masked, sh.next-sh.first), nil
}

// countTopic counts the vectors of a topic.
func (s *Searcher) countTopic(ctx context.Context, t *metastore.Topic, count func(context.Context, *shard) (int64, error), into *TopicVectors) error {
	partitions, err := s.config.Sources.Partitions(ctx, t, snapshot.Vector, nil)
	if err != nil {
		return err
	}
	into.Vectors = 0
	parsed := &asked{settings: map[string]vectorindex.Settings{}}
	for _, p := range partitions {
		for sh, err := range s.shards(parsed, &p) {
			if err != nil {
				return err
			}
			n, err := count(ctx, &sh)
			if err != nil {
				return err
			}
			into.Vectors += n
			if into.Dimensions == 0 {
				into.Dimensions = sh.settings.Dimensions
			}
		}
	}
	return nil
}
