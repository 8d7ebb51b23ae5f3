package vectorindex

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
)

// document is a record of the log. Several may share a row.
type document struct {
	offset    int64
	timestamp int64
	row       uint32
}

// vectors are stored vectors by row.
type vectors interface {
	// vector returns the bytes of a row's vector; they are good until the next call
	// by the same goroutine.
	vector(row uint32) ([]byte, error)
}

// memory is stored vectors one after another.
type memory struct {
	data  []byte
	bytes int
}

func (m *memory) vector(row uint32) ([]byte, error) {
	return m.data[int(row)*m.bytes:][:m.bytes], nil
}

// shard is a shard while it is built: what is written, and what it is searched by.
type shard struct {
	options   Options
	kind      Kind // that it has come to
	space     *space
	stored    stored
	table     []byte // records in the order of lists
	rows      int
	lists     []list
	middles   centroids // none of a flat shard
	documents []document
	copies    map[uint32][]document // further documents of rows that have several
	vectors   vectors
	graph     *graph
	walks     *walks

	calibration Calibration
}

// list is a run of rows, and what of it is known without looking.
type list struct {
	first, next uint32 // rows
	documents   int64
	bounds      bounds
}

// bounds are those of documents, both ends included.
type bounds struct {
	offsetMin, offsetMax       int64
	timestampMin, timestampMax int64
}

func noBounds() bounds {
	return bounds{math.MaxInt64, math.MinInt64, math.MaxInt64, math.MinInt64}
}

func (b *bounds) add(offset, timestamp int64) {
	b.offsetMin, b.offsetMax = min(b.offsetMin, offset), max(b.offsetMax, offset)
	b.timestampMin, b.timestampMax = min(b.timestampMin, timestamp), max(b.timestampMax, timestamp)
}

// input is what a shard is made of: rows in any order, their documents in that of
// offsets, records without bias and codes of bits already made.
type input struct {
	options   Options
	mean      []float32
	table     []byte // records of codes of bytes, by input row
	rows      int
	documents []document // their rows are input rows
	vectors   vectors    // by input row
	middles   *centroids // nil: found
}

// build makes a shard, all but its bytes. It may take minutes, and ends soon after
// its context does.
func build(ctx context.Context, in *input) (*shard, error) {
	o := in.options
	bytesSpace := newSpace(o.Metric, false, in.mean)
	s := &shard{options: o, kind: o.Kind, space: bytesSpace, stored: stored{o.Encoding, o.Dimensions}, rows: in.rows, documents: in.documents}
	if in.rows <= o.FlatMax {
		s.kind = Flat
	}
	random := rand.New(rand.NewPCG(o.Seed, uint64(in.rows)))
	lists := s.divide(ctx, in, bytesSpace, random)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	order := s.place(in, lists)
	table, err := s.records(in, order)
	if err != nil {
		return nil, err
	}
	s.table = table
	s.vectors = &reordered{in.vectors, order}
	s.documentRows(in, order)
	return s, s.finish(ctx, random)
}

// divide makes lists of input rows.
func (s *shard) divide(ctx context.Context, in *input, of *space, random *rand.Rand) [][]uint32 {
	all := make([]uint32, in.rows)
	for i := range all {
		all[i] = uint32(i)
	}
	if s.kind == Flat {
		return halves(all, flatListRows)
	}
	c := &clusterer{ctx: ctx, space: of, table: in.table, target: s.options.ListRows, workers: s.options.Workers, random: random}
	var lists [][]uint32
	if in.middles == nil {
		lists = c.cluster(all)
	} else {
		lists = c.settle(all, in.middles)
	}
	s.middles = *c.middles(lists)
	return lists
}

// flatListRows are those of a list of a flat shard: what bounds say something of.
const flatListRows = 4096

// place puts the rows of each list into the order of their first documents, and
// returns which input row each row is.
func (s *shard) place(in *input, lists [][]uint32) []uint32 {
	order := make([]uint32, 0, in.rows)
	offset := func(row uint32) int64 {
		return int64(binary.LittleEndian.Uint64(in.table[int(row)*s.recordBytes()+atOffset:]))
	}
	for _, rows := range lists {
		slices.SortFunc(rows, func(a, b uint32) int { return cmp.Compare(offset(a), offset(b)) })
		first := uint32(len(order))
		order = append(order, rows...)
		s.lists = append(s.lists, list{first: first, next: uint32(len(order)), bounds: noBounds()})
	}
	return order
}

// recordBytes is the stride of records of codes of bytes.
func (s *shard) recordBytes() int { return recordBytes(s.options.Dimensions, false) }

// records puts records in order, and makes codes of bits of those of bytes. The
// input's table is no more.
func (s *shard) records(in *input, order []uint32) ([]byte, error) {
	from := s.recordBytes()
	old := in.table
	in.table = nil
	if s.options.Encoding != Binary {
		reorder(old, from, order)
		return old, nil
	}
	s.space = newSpace(s.options.Metric, true, in.mean)
	to := s.space.stride
	table := make([]byte, len(order)*to)
	v, scratch := make([]float32, s.options.Dimensions), make([]float32, s.options.Dimensions)
	for row, was := range order {
		record := table[row*to:][:to]
		copy(record[:atCode], old[int(was)*from:])
		stored, err := in.vectors.vector(was)
		if err != nil {
			return nil, err
		}
		s.stored.decode(v, stored)
		s.space.encode(record, v, scratch)
	}
	return table, nil
}

// reorder puts records where order, in which each is once, says that they come
// from: in place, cycle by cycle.
func reorder(table []byte, stride int, order []uint32) {
	at := func(row uint32) []byte { return table[int(row)*stride:][:stride] }
	done, first := make([]bool, len(order)), make([]byte, stride)
	for start := range order {
		if done[start] {
			continue
		}
		row := uint32(start)
		copy(first, at(row))
		for done[row] = true; order[row] != uint32(start); done[row] = true {
			copy(at(row), at(order[row]))
			row = order[row]
		}
		copy(at(row), first)
	}
}

// documentRows turns the input rows of documents into rows, and collects what is
// known of lists and copies.
func (s *shard) documentRows(in *input, order []uint32) {
	now := make([]uint32, len(order))
	for row, was := range order {
		now[was] = uint32(row)
	}
	listOf := make([]uint32, len(order))
	for i, l := range s.lists {
		for row := l.first; row < l.next; row++ {
			listOf[row] = uint32(i)
		}
	}
	s.copies = make(map[uint32][]document)
	seen := make([]bool, len(order))
	for i := range s.documents {
		d := &s.documents[i]
		d.row = now[d.row]
		l := &s.lists[listOf[d.row]]
		l.documents++
		l.bounds.add(d.offset, d.timestamp)
		if seen[d.row] {
			s.copies[d.row] = append(s.copies[d.row], *d)
		}
		seen[d.row] = true
	}
	for row, more := range s.copies {
		binary.LittleEndian.PutUint32(s.table[int(row)*s.space.stride+atCopies:], uint32(len(more)))
	}
}

// finish builds the graph, if there is to be one, and calibrates.
func (s *shard) finish(ctx context.Context, random *rand.Rand) error {
	held := s.hold(random)
	if s.kind != HNSW {
		return s.calibrate(ctx, held)
	}
	o := s.options
	b := newGraphBuilder(s.space, s.table, s.rows, o.M, o.EfConstruction, o.Workers, random)
	s.graph, s.walks = b.graph, b.walks
	// The last to come are asked for their neighbours while they are not there.
	slices.SortStableFunc(b.order, func(a, c uint32) int { return cmp.Compare(held.rank(a), held.rank(c)) })
	if err := b.insert(ctx, 0, s.rows-len(held.rows)); err != nil {
		return err
	}
	if err := s.calibrate(ctx, held); err != nil {
		return err
	}
	return b.insert(ctx, s.rows-len(held.rows), s.rows)
}

// reordered are vectors in another order.
type reordered struct {
	vectors
	order []uint32
}

func (r *reordered) vector(row uint32) ([]byte, error) { return r.vectors.vector(r.order[row]) }
