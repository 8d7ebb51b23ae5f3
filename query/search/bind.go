package search

import (
	"context"
	"fmt"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/splitcache"
	"github.com/chronik-stream/chronik/query/tail"
)

// scope is what of a topic is to be bound: everything, or the split of one record.
type scope struct {
	one       bool
	partition int32
	offset    int64
}

// has reports whether a range of a partition matters.
func (s scope) has(partition int32, first, next int64) bool {
	return !s.one || partition == s.partition && first <= s.offset && s.offset < next
}

// bound is some topics as a search sees them: each record once.
type bound struct {
	parts    []part
	coverage map[string]Coverage
	shards   Shards
	bytes    map[string]int64 // of splits in the bucket, by topic
	held     []func()
}

// part is a split, and where it comes from.
type part struct {
	textsearch.Part
	object string // in the bucket; empty: it is of a tail
	file   manifest.File
	hide   func(context.Context, *splitcache.Split) (*roaring.Bitmap, error)
}

// searched are the parts for a search.
func (b *bound) searched() []textsearch.Part {
	all := make([]textsearch.Part, len(b.parts))
	for i, p := range b.parts {
		all[i] = p.Part
	}
	return all
}

func (b *bound) release() {
	for _, release := range b.held {
		release()
	}
}

func names(topics []string) string { return strings.Join(topics, ", ") }

// topic finds the topic of that name.
func (s *Searcher) topic(name string) (*metastore.Topic, error) {
	t, ok := s.config.Sources.Catalog.Topic(name)
	if !ok {
		return nil, &UnknownTopicError{name}
	}
	if !s.settings(t).Enabled {
		return nil, &NotSearchableError{name}
	}
	return t, nil
}

func (s *Searcher) settings(t *metastore.Topic) topicconfig.Search {
	return topicconfig.Resolve(t.Config, s.config.TopicDefaults).Search
}

func (s *Searcher) present(ctx context.Context, name string, want snapshot.Freshness) (*snapshot.Presence, error) {
	return s.config.Sources.Present(ctx, func() (*metastore.Topic, error) { return s.topic(name) }, want)
}

// bind takes a snapshot of topics. The caller releases what it returns.
func (s *Searcher) bind(ctx context.Context, topics []string, want snapshot.Freshness, known []*snapshot.Presence, sc scope, restart bool) (*bound, error) {
	bounds := make([]*bound, len(topics))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(topicsMax)
	for i, name := range topics {
		group.Go(func() (err error) {
			t, err := s.topic(name)
			var p *snapshot.Presence
			if len(known) > 0 && err == nil && known[i].Of(t) {
				p = known[i]
			} else if p, err = s.present(inner, name, want); err != nil {
				return err
			}
			bounds[i], err = s.bindTopic(inner, p, want, sc, restart)
			return err
		})
	}
	err := group.Wait()
	all := &bound{coverage: map[string]Coverage{}, bytes: map[string]int64{}}
	for _, b := range bounds {
		if b != nil {
			all.add(b)
		}
	}
	if err != nil {
		all.release()
		return nil, err
	}
	return all, nil
}

func (b *bound) add(other *bound) {
	b.parts = append(b.parts, other.parts...)
	b.held = append(b.held, other.held...)
	b.shards.Total += other.shards.Total
	b.shards.Successful += other.shards.Successful
	b.shards.Skipped += other.shards.Skipped
	for t, c := range other.coverage {
		b.coverage[t], b.bytes[t] = c, other.bytes[t]
	}
}

// bindTopic binds to one revision of the catalog.
func (s *Searcher) bindTopic(ctx context.Context, p *snapshot.Presence, want snapshot.Freshness, sc scope, restart bool) (*bound, error) {
	partitions, err := s.config.Sources.Partitions(ctx, p.Topic, snapshot.Text, p.Logs.Starts)
	if err != nil {
		return nil, err
	}
	if want == snapshot.Latest && !snapshot.SameEpochs(partitions, p.Logs.Ends) {
		return nil, snapshot.ErrStale
	}
	b := &bound{coverage: map[string]Coverage{}, bytes: map[string]int64{}, shards: Shards{Total: len(partitions), Successful: len(partitions)}}
	next, err := s.bindTail(ctx, b, p, partitions, want, sc, restart)
	if err == nil {
		err = s.bindSplits(ctx, b, p.Topic.Name, partitions, sc)
	}
	if err != nil {
		b.release()
		return nil, err
	}
	b.coverage[p.Topic.Name] = snapshot.Cover(partitions, next, p.Logs.Ends, true)
	return b, nil
}

// request asks for the records from the marks on. They are none unless behind:
// some records are in no split.
func (s *Searcher) request(t *metastore.Topic, partitions []snapshot.Partition, want snapshot.Freshness, ends map[int32]tail.End) (request tail.Request, behind bool, err error) {
	settings := s.settings(t)
	options, err := textindex.TopicOptions(settings.Analyzer, settings.Fields, settings.Mapping)
	if err != nil {
		return request, false, fmt.Errorf("index topic %s: %w", t.Name, err)
	}
	request = tail.Request{Topic: t.Name, ID: t.ID, Index: &options}
	request.Wants, behind = snapshot.Wants(partitions, want, ends)
	return request, behind, nil
}

// awaitTail returns when the tail of the topic has all that was in its logs.
func (s *Searcher) awaitTail(ctx context.Context, p *snapshot.Presence) error {
	partitions, err := s.config.Sources.Partitions(ctx, p.Topic, snapshot.Text, p.Logs.Starts)
	if err != nil {
		return err
	}
	request, behind, err := s.request(p.Topic, partitions, snapshot.Latest, p.Logs.Ends)
	if err != nil || !behind {
		return err
	}
	return s.config.Sources.Tails.Await(ctx, request)
}

// bindTail adds the splits of the records from the marks on, and says up to where they
// are all. Where records were deleted since, the partitions begin behind them.
func (s *Searcher) bindTail(ctx context.Context, b *bound, p *snapshot.Presence, partitions []snapshot.Partition, want snapshot.Freshness, sc scope, restart bool) (next map[int32]int64, err error) {
	request, behind, err := s.request(p.Topic, partitions, want, p.Logs.Ends)
	if err != nil || want == snapshot.Cold || !behind {
		return nil, err
	}
	request.Restart = restart
	held, err := s.config.Sources.Tails.Read(ctx, request)
	if err != nil {
		return nil, err
	}
	b.held = append(b.held, held.Release)
	snapshot.Advance(partitions, held.Starts)
	for _, split := range held.Splits {
		if sc.has(split.Partition, split.First, split.Next) {
			b.parts = append(b.parts, part{Part: textsearch.Part{
				Topic: p.Topic.Name, Partition: split.Partition, Split: split.Split, Analyzer: split.Analyzer,
			}})
		}
	}
	return held.Next, nil
}
