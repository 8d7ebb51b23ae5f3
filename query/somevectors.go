package query

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// Of a large shard that is not at hand, a query that wants vectors of few offsets
// reads these by ranges.
const (
	someOffsets = 1024 // are looked at together
	someMost    = 8 * someOffsets
	someShare   = 8 // of a shard's offsets: one of so many at most
)

// vectorsDir is where files of single queries are.
func vectorsDir(dataDir string) string { return filepath.Join(dataDir, "vectors") }

// clearVectors makes the folder, and empties it of what a former life left there.
func clearVectors(dataDir string) error {
	dir := vectorsDir(dataDir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o700)
}

// wanted are the offsets of a shard, in runs of someOffsets, of which rows may matter;
// ok: they are few.
func (src *source) wanted(table prune.Table, need prune.Need, b *bound, start int64) (offsets *roaring64.Bitmap, ok bool) {
	offsets = roaring64.New()
	most := min(someMost, (src.file.Next-src.file.First)/someShare)
	for first := max(src.file.First, start); first < src.file.Next; first += someOffsets {
		run := src.file
		run.First, run.Next = first, min(first+someOffsets, src.file.Next)
		lacks := func(w withoutVectors) bool {
			return w.partition == src.index && w.first < run.Next && w.next > run.First
		}
		if !slices.ContainsFunc(b.without, lacks) || !prune.May(need.Where, need.Values, table.File(run, nil, src.index, start, run.Next)) {
			continue
		}
		offsets.AddRange(uint64(run.First), uint64(run.Next))
		if int64(offsets.GetCardinality()) > most {
			return nil, false
		}
	}
	return offsets, true
}

// someVectors writes the vectors of some offsets of a shard to a file of the query's
// own, and says what to call when it is done.
func (n *Node) someVectors(ctx context.Context, src *source, offsets *roaring64.Bitmap) (path string, release func(), err error) {
	path, err = n.writeSome(ctx, src, offsets)
	if errors.Is(err, format.ErrCorrupt) { // maybe on the way
		n.shards.Forget(src.file.Object)
		path, err = n.writeSome(ctx, src, offsets)
	}
	if err != nil {
		return "", nil, snapshot.OfFile(src.file.Object, err)
	}
	return path, func() { _ = os.Remove(path) }, nil // what stays goes when the node is opened
}

func (n *Node) writeSome(ctx context.Context, src *source, offsets *roaring64.Bitmap) (path string, err error) {
	shard, err := n.shards.Open(ctx, src.file)
	if err != nil {
		return "", err
	}
	defer shard.Release()
	out, err := os.CreateTemp(vectorsDir(n.config.DataDir), "*.parquet")
	if err != nil {
		return "", err
	}
	err = columnar.WriteVectors(ctx, out, shard.Info().Dimensions, func(take func(int64, []float32) error) error {
		return shard.Vectors(ctx, vectorindex.Filter{Only: offsets}, take)
	})
	if err = errors.Join(err, out.Close()); err != nil {
		return "", errors.Join(err, os.Remove(out.Name()))
	}
	return out.Name(), nil
}
