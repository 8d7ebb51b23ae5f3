package query

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/relation"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// A table's column of vectors is in some of its files: a compactor fills it when it
// makes a file whose records all have been embedded. What others lack, and the tail,
// is looked up in the topic's shards, of which the vectors are kept as local files
// that the engine joins.

// withoutVectors are records of a partition whose vectors are not in their file.
type withoutVectors struct {
	partition   int32
	first, next int64
}

// embeds reports whether the records of a topic have vectors.
func (n *Node) embeds(t *metastore.Topic) bool {
	return topicconfig.Resolve(t.Config, n.config.TopicDefaults).Vector.Enabled
}

// vectorsOf is what made the vectors that a topic's table shows: those that it asks
// for now, and no others; nil when it asks for none. The dimensions may be known only
// once there are some.
func (n *Node) vectorsOf(t *metastore.Topic, states []partitionState) *vectorindex.Settings {
	c := topicconfig.Resolve(t.Config, n.config.TopicDefaults).Vector
	if !c.Enabled {
		return nil
	}
	wanted := vectorindex.TopicSettings(c, 0)
	for _, s := range states {
		for _, f := range slices.Backward(s.Section.Vector) {
			if made, err := vectorindex.ParseSettings(f.Settings); err == nil && wanted.Dimensions == 0 && made.SameVectors(wanted) {
				wanted.Dimensions = made.Dimensions
			}
		}
	}
	return &wanted
}

// columnOfVectors is the table's column of vectors without what is in it; nil when
// there is none.
func (n *Node) columnOfVectors(t *metastore.Topic, states []partitionState) *relation.Vectors {
	wanted := n.vectorsOf(t, states)
	if wanted == nil {
		return nil
	}
	return &relation.Vectors{Dimensions: wanted.Dimensions}
}

// hasVectors reports whether a columnar file has a column of vectors.
func hasVectors(f manifest.File) bool {
	return slices.ContainsFunc(f.Columns, func(c manifest.Column) bool { return c.Name == columnar.EmbeddingColumn })
}

// showsVectors reports whether the vectors of a file, columnar or a shard, are those
// that a table shows.
func showsVectors(f manifest.File, wanted vectorindex.Settings) bool {
	made, err := vectorindex.ParseSettings(f.Settings)
	return err == nil && made.SameVectors(wanted)
}

// bindVectors makes the vectors local of the records that are read and do not have
// them in their file.
func (n *Node) bindVectors(ctx context.Context, b *bound, states []partitionState, want parts, wanted vectorindex.Settings) error {
	table := prune.NewTable(b.topic.Name, b.columns)
	need := table.Sound(want.rows)
	// A shard has none of the JSON columns, which says nothing about its records.
	table = prune.NewTable(b.topic.Name, nil)
	var sources []source
	for _, s := range states {
		for _, f := range s.Section.Vector {
			if f.Next <= s.Start || f.Records == 0 || !showsVectors(f, wanted) {
				continue
			}
			b.stats.FilesTotal++
			facts := table.File(f, nil, s.Index, s.Start, math.MaxInt64)
			lacks := func(w withoutVectors) bool { return w.partition == s.Index && w.first < f.Next && w.next > f.First }
			switch {
			case !prune.May(need.Where, need.Values, facts):
				b.prune(f.Object, prune.Why(need.Where, need.Values, facts))
			case !slices.ContainsFunc(b.without, lacks):
				b.prune(f.Object, "the rows that are read have their vectors in their own files, or none")
			default:
				src := newVectors(f)
				src.index, src.rows, src.bytes = s.Index, f.Records, f.Size
				sources = append(sources, src)
			}
		}
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range sources {
		src := &sources[i]
		if want.planOnly && src.file.Size > n.config.wholeBytes && !n.cache.Here(src.object) {
			continue
		}
		if start := startOf(states, src.index); src.file.Size > n.config.wholeBytes && !n.cache.Here(src.object) {
			if offsets, few := src.wanted(table, need, b, start); few {
				src.rows = int64(offsets.GetCardinality())
				src.bytes = src.file.Size / (src.file.Next - src.file.First) * src.rows
				group.Go(func() (err error) {
					src.path, src.done, err = n.someVectors(inner, src, offsets)
					return err
				})
				continue
			}
		}
		group.Go(func() error { return n.fetchVectors(inner, src) })
	}
	err := group.Wait()
	for _, src := range sources {
		b.read = append(b.read, readFile{src.file.Object, b.topic.Name, src.file.Size, src.bytes, src.rows, nil})
		if src.local != nil {
			src.path, src.done = src.local.Path, src.local.Release
		}
		if src.path == "" {
			continue
		}
		b.stats.BytesRead += src.bytes
		b.stats.RowsScanned += src.rows
		b.release = append(b.release, src.done)
		b.objects[src.path] = src.file.Object
		b.vectors.Files = append(b.vectors.Files, relation.VectorFile{Path: src.path, Partition: src.index, First: src.file.First, Next: src.file.Next})
	}
	return err
}

// startOf is where a partition begins.
func startOf(states []partitionState, index int32) int64 {
	for _, s := range states {
		if s.Index == index {
			return s.Start
		}
	}
	return 0
}

// fetchVectors makes the vectors of a shard local, trying once more where bytes were
// damaged on the way.
func (n *Node) fetchVectors(ctx context.Context, src *source) (err error) {
	src.local, err = n.cache.Acquire(ctx, src.object)
	if errors.Is(err, format.ErrCorrupt) {
		src.local, err = n.cache.Acquire(ctx, src.object)
	}
	return snapshot.OfFile(src.file.Object, err)
}

// vectorsForm is the form of a shard in which the engine reads it.
const vectorsForm = "vectors"

func newVectors(f manifest.File) source {
	return source{file: f, object: filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC, Form: vectorsForm, Convert: convertShard}}
}

// convertShard writes the vectors of a shard as Parquet, by offset.
func convertShard(ctx context.Context, in *os.File, out io.Writer) (err error) {
	mapping, err := disk.Map(in.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mapping.Close()) }()
	shard, err := vectorindex.Open(ctx, vectorindex.Bytes(mapping.Bytes()), 0)
	if err != nil {
		return err
	}
	return columnar.WriteVectors(ctx, out, shard.Info().Dimensions, func(take func(int64, []float32) error) error {
		return shard.VectorsInOrder(ctx, vectorindex.Filter{}, take)
	})
}
