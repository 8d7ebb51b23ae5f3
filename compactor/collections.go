package compactor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/milvus"
	"github.com/chronik-stream/chronik/objstore"
)

// Topics with vector.index.backend=milvus have shards as others do, and what these
// have is put into a collection of a Milvus by a job of its own. The manifest says
// what the collection has by now. So a Milvus that is slow or away delays itself
// and nothing else, one that is empty is filled without a provider, and what is
// put into it twice, by two compactors or after a crash, is there once.
//
// A collection belongs to a topic id, the model and the index. When one of these
// is another, a second collection is filled, and the first one is searched for
// what the second does not have yet.

// collectLane is the lane, and collectionName the kind in metrics.
const (
	collectLane    lane   = "collection"
	collectionName string = "collection"
)

const (
	collectFor  = 20 * time.Second // after which a job says what it has done
	collectRows = 4096             // that are put into a collection at once, at most
	collectSize = 8 << 20          // bytes of their vectors, at most
)

// collecting is the job.
type collecting struct {
	*Compactor
	snap snapshot
	plan collectionPlan

	collection milvus.Collection
	now        manifest.Collection // what it has by now
	offsets    []int64             // whose vectors were put into it
	hidden     *roaring64.Bitmap   // offsets that they name
}

// work does the job.
func (j *collecting) work(ctx context.Context, _ bool) (made product, retryAfter time.Duration, err error) {
	if err = j.open(ctx); err == nil {
		err = j.purge(ctx)
	}
	if err == nil {
		err = j.fill(ctx)
	}
	if err != nil {
		j.metrics.failures.WithLabelValues(collectionName).Inc()
		err = fmt.Errorf("the collection of %s in Milvus: %w", partitionOf(j.snap), err)
	}
	if j.now.Name == "" || reflect.DeepEqual(j.now, j.plan.has) {
		return nil, 0, err
	}
	slices.Sort(j.offsets)
	return &collected{snap: j.snap, had: j.plan.has, has: j.now, offsets: j.offsets}, 0, err
}

// open finds the collection, or makes it.
func (j *collecting) open(ctx context.Context) error {
	cluster, err := j.store.BucketID(ctx)
	if err != nil {
		return err
	}
	name := milvus.Name(cluster, j.snap.view.Partition.Topic, j.plan.settings)
	has := j.plan.has
	if j.plan.lost {
		is, err := j.milvus.Incarnation(ctx, name)
		if err != nil && !errors.Is(err, milvus.ErrMissing) {
			return err
		}
		if err != nil || is != has.Incarnation {
			has = manifest.Collection{}
		}
	}
	if j.collection, _, err = milvus.Of(name, j.newID().String(), j.plan.settings.String()); err != nil {
		return err
	}
	incarnation, err := j.milvus.Ensure(ctx, j.collection)
	if err != nil {
		return err
	}
	if has.Incarnation != incarnation {
		if has.Name != "" {
			j.log.Warn("a collection in Milvus is not the one that was filled, and is filled anew", "partition", partitionOf(j.snap), "collection", name)
		}
		has = manifest.Collection{}
	}
	j.watched.saw(name, incarnation)
	j.now = has
	j.now.Name, j.now.Settings, j.now.Incarnation = name, j.plan.settings.String(), incarnation
	j.now.Ranges, j.now.Masks = slices.Clone(has.Ranges), slices.Clone(has.Masks)
	return nil
}

// purge takes out what is below the log start, what masks name, and all that a
// mask may name which cannot be read.
func (j *collecting) purge(ctx context.Context) error {
	index := j.snap.view.Partition.Index
	if j.plan.below > 0 && len(j.now.Ranges) > 0 {
		if err := j.milvus.DeleteRange(ctx, j.now.Name, milvus.Range{Partition: index, Next: j.plan.below}); err != nil {
			return err
		}
		j.now.Ranges = manifest.Cut(j.now.Ranges, manifest.Range{Next: j.plan.below})
	}
	j.now.Start = max(j.now.Start, j.snap.logStart())
	for _, m := range j.plan.damaged {
		if err := j.milvus.DeleteRange(ctx, j.now.Name, milvus.Range{Partition: index, First: m.First, Next: m.Next}); err != nil {
			return err
		}
		j.now.Ranges = manifest.Cut(j.now.Ranges, manifest.Range{First: m.First, Next: m.Next})
	}
	j.hidden = roaring64.New()
	for _, m := range j.snap.section.Masks {
		if !j.concerns(m) {
			continue
		}
		offsets, err := j.readMask(ctx, m)
		if err != nil {
			return err
		}
		for _, offset := range offsets {
			j.hidden.Add(uint64(offset))
		}
		if j.now.Needs(m) {
			if err := j.milvus.Delete(ctx, j.now.Name, index, offsets); err != nil {
				return err
			}
		}
		if !slices.Contains(j.now.Masks, m.Object) {
			j.now.Masks = append(j.now.Masks, m.Object)
		}
	}
	return nil
}

// concerns tells whether a mask names records that the collection has or is given.
func (j *collecting) concerns(m manifest.File) bool {
	return j.now.Needs(m) || slices.ContainsFunc(j.plan.fill, func(f manifest.File) bool { return masks(m, f) })
}

// fill puts the vectors of shards into the collection, as far as the time goes.
func (j *collecting) fill(ctx context.Context) error {
	begun := j.Compactor.now()
	for _, f := range j.plan.fill {
		step := j.config.stepOf(f)
		for _, gap := range j.snap.offsetsFrom(f).Without(j.now.Ranges) {
			for gap.First < gap.Next {
				if j.Compactor.now().Sub(begun) >= collectFor {
					return nil
				}
				some := manifest.Range{First: gap.First, Next: min(gap.Next, gap.First+step)}
				if err := j.put(ctx, f, some); err != nil {
					return j.suspect(ctx, f, err)
				}
				j.now.Ranges = manifest.Add(j.now.Ranges, some)
				gap.First = some.Next
			}
		}
	}
	return nil
}

// stepOf is how many offsets of a shard are put into a collection at once: as many as
// have about collectVectors vectors. Most records of a topic may have none.
func (c Config) stepOf(f manifest.File) int64 {
	return c.collectVectors * max(1, (f.Next-f.First)/max(1, f.Records))
}

// put puts the vectors that a shard has of some offsets into the collection.
func (j *collecting) put(ctx context.Context, f manifest.File, gap manifest.Range) error {
	if f.Records == 0 {
		return nil
	}
	shard, err := vectorindex.Open(ctx, &blob{Compactor: j.Compactor, file: f}, f.Footer)
	if err != nil {
		return format.In(f.Object, err)
	}
	filter := vectorindex.Filter{First: gap.First, Next: gap.Next, Hidden: j.hidden}
	times := make(map[int64]int64)
	err = shard.Documents(ctx, filter, func(offset, timestamp int64) error {
		times[offset] = timestamp
		return nil
	})
	if err != nil {
		return format.In(f.Object, err)
	}
	// An attempt before this one may have left records there that are gone by now.
	if err := j.milvus.DeleteRange(ctx, j.now.Name, milvus.Range{Partition: j.snap.view.Partition.Index, First: gap.First, Next: gap.Next}); err != nil {
		return err
	}
	rows := milvus.Rows{Partition: j.snap.view.Partition.Index}
	most := min(collectRows, max(1, collectSize/(4*j.collection.Dimensions)))
	flush := func() error {
		if err := j.milvus.Upsert(ctx, j.collection, rows); err != nil {
			return err
		}
		j.metrics.records.WithLabelValues(collectionName).Add(float64(len(rows.Offsets)))
		j.offsets = append(j.offsets, rows.Offsets...)
		rows.Offsets, rows.Timestamps, rows.Vectors = rows.Offsets[:0], rows.Timestamps[:0], rows.Vectors[:0]
		return nil
	}
	err = shard.Vectors(ctx, filter, func(offset int64, vector []float32) error {
		rows.Offsets, rows.Timestamps, rows.Vectors = append(rows.Offsets, offset), append(rows.Timestamps, times[offset]), append(rows.Vectors, vector...)
		if len(rows.Offsets) < most {
			return nil
		}
		return flush()
	})
	if err != nil {
		return format.In(f.Object, err)
	}
	return flush()
}

// suspect reports a shard that is damaged or missing, so that it is made again.
func (j *collecting) suspect(ctx context.Context, f manifest.File, failed error) error {
	if !errors.Is(failed, format.ErrCorrupt) && !errors.Is(failed, objstore.ErrNotFound) {
		return failed
	}
	return (&merging{Compactor: j.Compactor, snap: j.snap, run: []manifest.File{f}}).suspect(ctx, failed)
}

// collected is what a job has done.
type collected struct {
	snap     snapshot // what the job saw
	had, has manifest.Collection
	offsets  []int64 // whose vectors it has put into the collection, rising
}

// adopt notes what the collection has now. Older ones go once it has all that they
// have.
func (c *collected) adopt(ctx context.Context, p *pass) (fits bool, err error) {
	all, fits, err := c.listed(p)
	if err != nil || !fits {
		return false, err
	}
	p.section.Collections = all
	if c.snap.section.Clean == p.section.Clean || len(c.offsets) == 0 {
		return true, nil
	}
	// The log has been cleaned since: what went may be in the collection, and the
	// masks that named it may be gone. Derived files have counted it already.
	removed, err := p.cleanedSince(ctx, c.offsets, span{c.offsets[0], c.offsets[len(c.offsets)-1] + 1})
	if err != nil {
		return true, err
	}
	offsets := make([]int64, len(removed))
	for i, r := range removed {
		offsets[i] = r.offset
	}
	return true, p.maskUnnamed(ctx, slices.Compact(offsets))
}

// listed are the section's collections with the one that the job was about.
func (c *collected) listed(p *pass) (all []manifest.Collection, fits bool, err error) {
	settings, err := vectorindex.ParseSettings(c.has.Settings)
	if err != nil || !p.snap.collected() {
		return nil, false, err
	}
	had, has := p.pruned(c.had), p.pruned(c.has)
	all = slices.Clone(p.section.Collections)
	switch at := collectionOf(all, settings); {
	case at < 0 && c.had.Name == "":
		all = slices.Insert(all, 0, has)
	case at < 0 || !reflect.DeepEqual(p.pruned(all[at]), had):
		return nil, false, nil
	default:
		all = slices.Insert(slices.Delete(all, at, at+1), 0, has)
	}
	return slices.DeleteFunc(all, func(o manifest.Collection) bool {
		return o.Name != c.has.Name && !slices.ContainsFunc(o.Ranges, func(r manifest.Range) bool {
			r.First = max(r.First, p.section.LogStart)
			return len(r.Without(c.has.Ranges)) > 0
		})
	}), true, nil
}

// pruned is a collection that names only masks that there are.
func (p *pass) pruned(c manifest.Collection) manifest.Collection {
	var left []string
	for _, name := range c.Masks {
		if slices.ContainsFunc(p.section.Masks, func(m manifest.File) bool { return m.Object == name }) {
			left = append(left, name)
		}
	}
	c.Masks = left
	return c
}
