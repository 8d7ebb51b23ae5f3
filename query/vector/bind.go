package vector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/query/shardcache"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// bound is a topic as one search sees it: each vector once.
type bound struct {
	*asked
	partitions []snapshot.Partition
	shards     []shard // of the partitions that are asked for
	total      int64   // vectors of all partitions
	coverage   Coverage
	warnings   []string
}

// shard is one that a manifest lists, and what of it counts.
type shard struct {
	partition   int32
	file        manifest.File
	masks       []manifest.File
	first, next int64 // what the manifest says it covers, behind the log's start
	settings    vectorindex.Settings
	vector      []float32 // what is asked for, of its model; nil: it is not searched
}

// bind takes a snapshot of the topic.
func (s *Searcher) bind(ctx context.Context, a *asked, r *Request, known *snapshot.Presence) (*bound, error) {
	t, err := s.topic(r.Topic)
	if err != nil {
		return nil, err
	}
	if known == nil || !known.Of(t) {
		if known, err = s.present(ctx, r); err != nil {
			return nil, err
		}
	}
	want := r.freshness()
	a.is(known.Topic, s.settings(known.Topic))
	b := &bound{asked: a}
	if b.partitions, err = s.config.Sources.Partitions(ctx, known.Topic, snapshot.Vector, known.Logs.Starts); err != nil {
		return nil, err
	}
	if want == snapshot.Latest && (!snapshot.SameEpochs(b.partitions, known.Logs.Ends) || behind(b.partitions, known.Logs.Ends)) {
		return nil, snapshot.ErrStale
	}
	b.coverage = snapshot.Cover(b.partitions, nil, known.Logs.Ends, true)
	return b, s.bindShards(ctx, b, r)
}

// bindShards lists the shards that count, each with the question of its model.
// Those whose model does not answer are left out of the search and of what it
// covers, if they are of a former model.
func (s *Searcher) bindShards(ctx context.Context, b *bound, r *Request) error {
	var former, unanswered int64 // vectors of former models
	var why error
	found := false // a shard that can be searched
	for _, p := range b.partitions {
		for one, err := range s.shards(b.asked, &p) {
			if err != nil {
				return err
			}
			count, err := s.count(ctx, &one)
			if err != nil {
				return err
			}
			b.total += count
			model := modelOf(one.settings)
			one.vector, err = b.questions.get(model)
			var unasked *unaskedError
			var wrong *RequestError
			switch {
			case errors.As(err, &unasked) || errors.As(err, &wrong):
				return err
			case err != nil && b.questions.current(model) && b.questions.failure() != nil:
				return b.questions.failed(ctx, err)
			case err != nil:
				unanswered, why = unanswered+count, err
				b.uncover(p.Index, one.first)
				continue
			}
			found = true
			if !b.questions.current(model) {
				former += count
			}
			if r.Filter.has(&one) {
				b.shards = append(b.shards, one)
			}
		}
	}
	if err := b.questions.failure(); err != nil && !found {
		return b.questions.failed(ctx, err)
	}
	current := embedder.ModelOf(b.vector)
	if former > 0 {
		b.warn("two models are served: %d of %d vectors are not yet made by %s, and are compared with what their own model makes of the text", former, b.total, current)
	}
	if unanswered > 0 {
		b.warn("%d of %d vectors are not yet made by %s, and are not searched: %v", unanswered, b.total, current, why)
	}
	return nil
}

// shards are those of a partition that count. An entry without records stands for
// a span where nothing has a vector.
func (s *Searcher) shards(a *asked, p *snapshot.Partition) iter.Seq2[shard, error] {
	return func(yield func(shard, error) bool) {
		for _, f := range p.Section.Vector {
			if f.Records == 0 || f.Next <= p.Start || f.First >= p.Mark {
				continue
			}
			settings, err := a.parse(f)
			one := shard{partition: p.Index, file: f, masks: p.Section.Masks, first: max(f.First, p.Start), next: min(f.Next, p.Mark), settings: settings}
			if !yield(one, err) || err != nil {
				return
			}
		}
	}
}

func (b *bound) warn(text string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(text, args...))
}

// uncover says that a partition is not searched from an offset on.
func (b *bound) uncover(partition int32, from int64) {
	c := b.coverage.Partitions[partition]
	if to := max(from, c.From); to < c.To {
		b.coverage.LagRecords += c.To - to
		c.To = to
		b.coverage.Partitions[partition] = c
	}
}

// has reports whether records of a shard can pass.
func (f *Filter) has(s *shard) bool {
	first, next := f.offsets(s)
	return (f.Partitions == nil || slices.Contains(f.Partitions, s.partition)) && first < next &&
		(f.MinTimestamp == nil || s.file.MaxTimestamp >= *f.MinTimestamp) && (f.MaxTimestamp == nil || s.file.MinTimestamp <= *f.MaxTimestamp)
}

// offsets are what of a shard can pass.
func (f *Filter) offsets(s *shard) (first, next int64) {
	first, next = s.first, s.next
	if f.MinOffset != nil {
		first = max(first, *f.MinOffset)
	}
	if f.MaxOffset != nil && *f.MaxOffset < next {
		next = *f.MaxOffset + 1
	}
	return first, next
}

// count is how many vectors of a shard count. Most are told by the manifest; one
// that the log's start cuts, or that was masked, has to be looked at.
func (s *Searcher) count(ctx context.Context, sh *shard) (count int64, err error) {
	if sh.first == sh.file.First && sh.next == sh.file.Next && sh.file.Masked == 0 {
		return sh.file.Records, nil
	}
	err = s.within(ctx, sh, func(opened *shardcache.Shard) error {
		names, offsets, err := s.config.Masks.Over(ctx, sh.file, sh.masks)
		if err == nil {
			count, err = opened.Count(ctx, sh.first, sh.next, names, offsets)
		}
		return err
	})
	return count, err
}

// within opens a shard for some work: both once more where it is damaged, which may
// have happened on the way, or here.
func (s *Searcher) within(ctx context.Context, sh *shard, work func(*shardcache.Shard) error) error {
	once := func() error {
		opened, err := s.config.Shards.Open(ctx, sh.file)
		if err != nil {
			return err
		}
		defer opened.Release()
		return work(opened)
	}
	err := once()
	if errors.Is(err, format.ErrCorrupt) {
		s.config.Shards.Forget(sh.file.Object)
		err = once()
	}
	return snapshot.OfFile(sh.file.Object, err)
}
