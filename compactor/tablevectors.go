package compactor

import (
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/objstore"
)

// A columnar file has the vectors of its records when it is made of records that have
// all been embedded as the topic asks for. It does not wait for them: one that is made
// before has no such column, queries find the vectors in the shards meanwhile, and the
// merge that takes the file in fills it.

// tableVectors are the vectors of a span, by rising offset.
type tableVectors struct {
	settings string // what made them
	offsets  []int64
	values   []float32
}

// of returns the vector of a record, nil if it has none.
func (v *tableVectors) of(dimensions int) func(offset int64) ([]float32, error) {
	return func(offset int64) ([]float32, error) {
		i := sort.Search(len(v.offsets), func(i int) bool { return v.offsets[i] >= offset })
		if i == len(v.offsets) || v.offsets[i] != offset {
			return nil, nil
		}
		return v.values[i*dimensions:][:dimensions], nil
	}
}

// current are the shards of a section with the vectors that the topic asks for.
func (s snapshot) current(section *manifest.Section) (files []manifest.File) {
	if !s.indexed() {
		return nil
	}
	wanted := s.wanted()
	settings, same := "", false // of the last one: neighbours have the same
	for _, f := range section.Vector {
		if f.Settings != settings {
			made, err := vectorindex.ParseSettings(f.Settings)
			settings, same = f.Settings, err == nil && made.SameVectors(wanted)
		}
		if same && !s.reported(f) {
			files = append(files, f)
		}
	}
	return files
}

// covering are those of some shards that have the vectors of a span; false if some of
// its records, from start on, are in none: not looked at yet, or by another model.
func covering(shards []manifest.File, sp span, start int64) (files []manifest.File, ok bool) {
	at := max(sp.first, start)
	for _, f := range shards {
		if f.Next <= at || f.First >= sp.next {
			continue
		}
		if f.First > at {
			return nil, false
		}
		at = f.Next
		if f.Records > 0 {
			files = append(files, f)
		}
	}
	return files, at >= sp.next
}

// vectorBytes is at most what the vectors of some shards take that lie in a span.
func vectorBytes(files []manifest.File, sp span, dimensions int) (bytes int64) {
	for _, f := range files {
		bytes += min(f.Records, min(f.Next, sp.next)-max(f.First, sp.first)) * int64(4*dimensions)
	}
	return bytes
}

// tableVectors reads the vectors of a span; nil when there are none for a table to
// have: not all yet, or more than fit a file. What of a shard is damaged is reported,
// and the table is made without.
func (p *pass) tableVectors(ctx context.Context, sp span) (*tableVectors, error) {
	dimensions := p.snap.wanted().Dimensions
	files, ok := covering(p.snap.current(&p.section), sp, p.section.LogStart)
	if !ok || len(files) == 0 || dimensions == 0 || vectorBytes(files, sp, dimensions) > p.policy.FileBytesMax {
		return nil, nil
	}
	wanted := p.snap.wanted().Embedded()
	v := &tableVectors{settings: wanted.String()}
	for _, f := range files {
		err := p.shardVectors(ctx, f, sp, v)
		switch {
		case errors.Is(err, format.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound):
			return nil, p.suspectShard(ctx, f, err)
		case err != nil:
			return nil, err
		}
	}
	if len(v.offsets) == 0 {
		return nil, nil
	}
	v.sort(dimensions)
	return v, nil
}

// shardVectors adds the vectors that a shard has in a span.
func (p *pass) shardVectors(ctx context.Context, f manifest.File, sp span, v *tableVectors) error {
	shard, err := vectorindex.Open(ctx, &shardBlob{Compactor: p.Compactor, file: f}, f.Footer)
	if err != nil {
		return format.In(f.Object, err)
	}
	within := vectorindex.Filter{First: max(f.First, sp.first), Next: min(f.Next, sp.next)}
	return format.In(f.Object, shard.Vectors(ctx, within, func(offset int64, vector []float32) error {
		v.offsets, v.values = append(v.offsets, offset), append(v.values, vector...)
		return nil
	}))
}

// sort brings what was read shard by shard into the order of offsets.
func (v *tableVectors) sort(dimensions int) {
	order := make([]int, len(v.offsets))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(v.offsets[a] - v.offsets[b]) })
	offsets, values := make([]int64, 0, len(v.offsets)), make([]float32, 0, len(v.values))
	for _, i := range order {
		offsets, values = append(offsets, v.offsets[i]), append(values, v.values[i*dimensions:][:dimensions]...)
	}
	v.offsets, v.values = offsets, values
}

// suspectShard reports a shard that could not be read, if it is damaged: vectors are
// made again, and the table does not wait for them.
func (p *pass) suspectShard(ctx context.Context, f manifest.File, failed error) error {
	damage, err := p.inspect(ctx, f)
	if err != nil {
		return err
	}
	if damage == nil {
		p.log.Warn("a shard could not be read and is as it was written: a columnar file is made without vectors", "partition", partitionOf(p.snap), "object", f.Object, "err", failed)
		return nil
	}
	return p.store.ReportDamage(ctx, f.Object, damage.Error())
}

// shardBlob is a shard in the bucket, of which some ranges are read at once.
type shardBlob struct {
	*Compactor
	file manifest.File
}

// Size implements vectorindex.Blob.
func (b *shardBlob) Size() int64 { return b.file.Size }

// Read implements vectorindex.Blob.
func (b *shardBlob) Read(ctx context.Context, offset, length int64) ([]byte, error) {
	data, err := b.source.get(ctx, b.file.Object, offset, length)
	b.metrics.read(len(data))
	return data, err
}

// withVectors are columnar files, with the sizes that they will have in a merge that
// fills in their vectors.
func (s snapshot) withVectors(files []manifest.File) []manifest.File {
	dimensions := s.wanted().Dimensions
	if !s.indexed() || dimensions == 0 {
		return files
	}
	current := s.current(&s.section)
	files = slices.Clone(files)
	for i := range files {
		f := &files[i]
		if slices.ContainsFunc(f.Columns, func(c manifest.Column) bool { return c.Name == columnar.EmbeddingColumn }) {
			continue
		}
		sp := span{f.First, f.Next}
		if shards, ok := covering(current, sp, s.section.LogStart); ok {
			f.Size += min(vectorBytes(shards, sp, dimensions), f.Records*int64(4*dimensions))
		}
	}
	return files
}

// asListed are files as the manifest has them.
func asListed(files, listed []manifest.File) []manifest.File {
	for i, f := range files {
		files[i] = listed[slices.IndexFunc(listed, func(l manifest.File) bool { return l.Object == f.Object })]
	}
	return files
}
