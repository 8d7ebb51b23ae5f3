package vector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/milvus"
)

// Topics with vector.index.backend=milvus are searched in a Milvus, as far as
// manifests say that their vectors are in a collection there, and in their shards
// for the rest: what has come in the last seconds, or a collection that is being
// filled. So an answer covers what it would cover without a Milvus.

// Collections are those of a Milvus: a milvus.Client.
type Collections interface {
	Search(ctx context.Context, in milvus.Collection, q milvus.Query) ([]milvus.Hit, error)
}

// part is what of a shard is searched by itself.
type part struct {
	at    int // of the shard, in those that are bound
	shard shard
}

// gathered is a collection, and what is searched there and not in shards.
type gathered struct {
	collection milvus.Collection
	vector     []float32
	parts      []part
	masks      map[int32][]manifest.File // by partition: those whose records may still be in it
}

// split says what is searched in collections, and what in shards.
func (s *Searcher) split(b *bound) (outside []*gathered, inside []part) {
	held := map[int32][]manifest.Collection{}
	if b.vector.Backend == "milvus" && s.config.Milvus != nil {
		for _, p := range b.partitions {
			held[p.Index] = p.Section.Collections
		}
	}
	known := map[string]*gathered{}
	for i, sh := range b.shards {
		left := []manifest.Range{{First: sh.first, Next: sh.next}}
		for _, c := range held[sh.partition] {
			g := gather(known, c, &sh, b.vector.Metric)
			if g == nil {
				continue
			}
			var still []manifest.Range
			for _, r := range left {
				rest := r.Without(c.Ranges)
				still = append(still, rest...)
				for _, in := range r.Without(rest) {
					g.parts = append(g.parts, part{i, sh.within(in)})
					g.hide(sh.partition, &c, sh.masks)
				}
			}
			left = still
		}
		for _, r := range left {
			inside = append(inside, part{i, sh.within(r)})
		}
	}
	for _, g := range known {
		if len(g.parts) > 0 {
			outside = append(outside, g)
		}
	}
	return outside, inside
}

// gather is the collection, if it has vectors such as the shard's, indexed by that
// metric; else nil. What cannot be read is not searched: the shards have it.
func gather(known map[string]*gathered, c manifest.Collection, sh *shard, metric string) *gathered {
	collection, settings, err := milvus.Of(c.Name, c.Incarnation, c.Settings)
	if err != nil || settings.Embedded() != sh.settings.Embedded() || settings.Metric != metric {
		return nil
	}
	g := known[c.Name]
	if g == nil {
		g = &gathered{collection: collection, vector: sh.vector, masks: map[int32][]manifest.File{}}
		known[c.Name] = g
	}
	return g
}

// hide takes note of the masks that the collection was not told of.
func (g *gathered) hide(partition int32, c *manifest.Collection, masks []manifest.File) {
	if _, done := g.masks[partition]; done {
		return
	}
	g.masks[partition] = slices.DeleteFunc(slices.Clone(masks), func(m manifest.File) bool { return !c.Needs(m) })
}

// within is what of a shard lies in a range.
func (sh shard) within(r manifest.Range) shard {
	sh.first, sh.next = r.First, r.Next
	return sh
}

// searchCollection searches a collection. If it is not there any more, or another
// one in its place, what it had is searched in shards.
func (s *Searcher) searchCollection(ctx context.Context, b *bound, g *gathered, r *Request) (hits []found, missing bool, err error) {
	q := milvus.Query{Vector: g.vector, Ef: max(r.Ef, b.vector.EFSearch), Probes: r.Probes, Ranges: g.ranges(&r.Filter)}
	for i := range g.parts {
		q.Times = r.Filter.of(&g.parts[i].shard).Times
	}
	hidden, most, err := s.hidden(ctx, g)
	if err != nil {
		return nil, false, err
	}
	for q.K = min(r.K+min(most, r.K), milvus.KMax); ; q.K = min(4*q.K, milvus.KMax) {
		all, err := s.config.Milvus.Search(ctx, g.collection, q)
		if err != nil {
			awaitEnd(ctx)
		}
		switch {
		case errors.Is(err, milvus.ErrMissing):
			return nil, true, nil
		case ctx.Err() != nil:
			return nil, false, ctx.Err()
		case err != nil:
			return nil, false, &UnavailableError{Topic: b.topic.Name, Err: err}
		}
		hits = g.found(all, hidden, metricOf(b.vector.Metric))
		if len(hits) >= r.K || len(all) < q.K || q.K == milvus.KMax {
			return hits[:min(len(hits), r.K)], false, nil
		}
	}
}

// ranges are the offsets that are asked for.
func (g *gathered) ranges(f *Filter) (ranges []milvus.Range) {
	of := map[int32][]manifest.Range{}
	var partitions []int32
	for i := range g.parts {
		sh := &g.parts[i].shard
		if of[sh.partition] == nil {
			partitions = append(partitions, sh.partition)
		}
		first, next := f.offsets(sh)
		of[sh.partition] = manifest.Add(of[sh.partition], manifest.Range{First: first, Next: next})
	}
	for _, p := range partitions {
		for _, r := range of[p] {
			ranges = append(ranges, milvus.Range{Partition: p, First: r.First, Next: r.Next})
		}
	}
	return ranges
}

// spot is a record of a collection.
type spot struct {
	partition int32
	offset    int64
}

// hidden are records that the collection may still have and that do not count.
func (s *Searcher) hidden(ctx context.Context, g *gathered) (hidden map[spot]bool, n int, err error) {
	hidden = map[spot]bool{}
	for partition, masks := range g.masks {
		all := manifest.File{Next: math.MaxInt64, Masked: 1}
		_, offsets, err := s.config.Masks.Over(ctx, all, masks)
		if err != nil {
			return nil, 0, err
		}
		for _, of := range offsets {
			for _, offset := range of {
				hidden[spot{partition, offset}] = true
			}
		}
	}
	return hidden, len(hidden), nil
}

// found are the hits that count, each with the shard that has it too.
func (g *gathered) found(hits []milvus.Hit, hidden map[spot]bool, metric vectorindex.Metric) (out []found) {
	for _, h := range hits {
		if hidden[spot{h.Partition, h.Offset}] {
			continue
		}
		for i := range g.parts {
			sh := &g.parts[i].shard
			if sh.partition != h.Partition || h.Offset < sh.first || h.Offset >= sh.next {
				continue
			}
			one := nearHit(h.Hit, metric)
			one.shard = g.parts[i].at
			out = append(out, one)
			break
		}
	}
	return out
}

// searchOutside searches the collections, and what of them is missing in shards.
func (s *Searcher) searchOutside(ctx context.Context, b *bound, g *gathered, r *Request, best *best, inside func(part) error) error {
	hits, missing, err := s.searchCollection(ctx, b, g, r)
	if err != nil {
		return err
	}
	if !missing {
		best.outside(hits, g.collection.Kind)
		return nil
	}
	best.warn(fmt.Sprintf("the collection %s is not in Milvus any more and is being filled anew; its vectors were compared one by one", g.collection.Name))
	for _, p := range g.parts {
		if err := inside(p); err != nil {
			return err
		}
	}
	return nil
}

// outside adds what a collection found. Nothing is known of its recall, unless it
// compares all.
func (b *best) outside(hits []found, kind vectorindex.Kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if kind != vectorindex.Flat {
		b.recall = 0
	}
	b.all = append(b.all, hits...)
	if len(b.all) > 4*b.most {
		b.cut()
	}
}

func (b *best) warn(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warnings = append(b.warnings, text)
}

// endMargin is by how much Milvus may be early to give up, at the deadline that it
// was told.
const endMargin = 50 * time.Millisecond

// awaitEnd returns when a context has ended that is about to: then it is the
// request's time that is over, whoever noticed it first.
func awaitEnd(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < endMargin {
		<-ctx.Done()
	}
}
