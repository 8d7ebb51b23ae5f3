package textsearch

import (
	"context"
	"math"
)

// buckets gathers buckets by key within the buckets around.
type buckets struct {
	numbers map[numberKey]int
	texts   map[textKey]int
	dense   denseIndex
	last    numberKey // neighbours are mostly in one bucket
	lastAt  int
	owned   [][]int // buckets, by the bucket around
	keys    []bucketKey
	counts  []int64
	subs    []aggregator
	budget  *budget
}

type numberKey struct {
	owner int
	kind  valueKind
	bits  uint64
}

type textKey struct {
	owner int
	text  string
}

func newBuckets(s *shard, subs []aggregator) buckets {
	return buckets{budget: s.plan.budget, numbers: map[numberKey]int{}, texts: map[textKey]int{}, last: numberKey{owner: -1}, subs: subs}
}

// put counts a document in a bucket.
func (b *buckets) put(doc uint32, owner int, key bucketKey, score cursor) error {
	n, err := b.find(owner, key)
	if err != nil {
		return err
	}
	return b.count(doc, n, score)
}

// find returns the number of a bucket, which may be new.
func (b *buckets) find(owner int, key bucketKey) (n int, err error) {
	var known bool
	switch key.kind {
	case textValue:
		k := textKey{owner, key.text}
		if n, known = b.texts[k]; !known {
			n, err = b.add(owner, key)
			b.texts[k] = n
		}
		return n, err
	case ordinalValue:
		if at := b.dense.at(owner, key.whole); at != nil {
			if *at == 0 {
				n, err = b.add(owner, key)
				*at = int32(n) + 1
			}
			return int(*at) - 1, err
		}
	}
	k := numberKey{owner, key.kind, uint64(key.whole)}
	if key.kind == doubleValue && key.number != 0 { // both zeros are one
		k.bits = math.Float64bits(key.number)
	}
	if k == b.last {
		return b.lastAt, nil
	}
	if n, known = b.numbers[k]; !known {
		n, err = b.add(owner, key)
		b.numbers[k] = n
	}
	b.last, b.lastAt = k, n
	return n, err
}

func (b *buckets) add(owner int, key bucketKey) (int, error) {
	n := len(b.keys)
	if n >= keysMax {
		return 0, errTooManyKeys
	}
	if err := b.budget.gather(bucketBytes + int64(len(key.text))); err != nil {
		return 0, err
	}
	b.keys, b.counts = append(b.keys, key), append(b.counts, 0)
	for owner >= len(b.owned) {
		b.owned = append(b.owned, nil)
	}
	b.owned[owner] = append(b.owned[owner], n)
	return n, nil
}

func (b *buckets) count(doc uint32, n int, score cursor) error {
	b.counts[n]++
	for _, sub := range b.subs {
		if err := sub.collect(doc, n, score); err != nil {
			return err
		}
	}
	return nil
}

// denseIndex finds buckets of ordinals by place, as long as there are few.
type denseIndex struct {
	distinct int64   // ordinals; 0: there are none, or too many
	numbers  []int32 // of buckets, plus 1, by bucket around and ordinal; 0: none
}

// denseMax bounds a denseIndex.
const denseMax = 1 << 20

// at is where the number of a bucket is, or nil when that is to be kept elsewhere.
func (d *denseIndex) at(owner int, ordinal int64) *int32 {
	if d.distinct == 0 || int64(owner) >= denseMax/d.distinct {
		return nil
	}
	place := int64(owner)*d.distinct + ordinal
	if place >= int64(len(d.numbers)) {
		d.numbers = append(d.numbers, make([]int32, (int64(owner)+1)*d.distinct-int64(len(d.numbers)))...)
	}
	return &d.numbers[place]
}

func (b *buckets) of(owner int) aggPartial {
	if owner >= len(b.owned) {
		return &bucketsPartial{buckets: map[bucketKey]*bucketPartial{}}
	}
	owned := b.owned[owner]
	out := &bucketsPartial{buckets: make(map[bucketKey]*bucketPartial, len(owned))}
	all := make([]bucketPartial, len(owned))
	for i, n := range owned {
		p := &all[i]
		p.count = b.counts[n]
		for _, sub := range b.subs {
			p.subs = append(p.subs, sub.of(n))
		}
		out.buckets[b.keys[n]] = p
	}
	return out
}

func (b *buckets) close(ctx context.Context) error {
	for _, sub := range b.subs {
		if err := sub.close(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *buckets) finish(ctx context.Context) (aggPartial, error) {
	if err := b.close(ctx); err != nil {
		return nil, err
	}
	return b.of(0), nil
}
