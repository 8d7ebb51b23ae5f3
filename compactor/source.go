package compactor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/objstore"
)

const (
	footersMax = 512
	chunkBytes = 8 << 20 // of one read
)

// source reads whole spans of partitions out of segments and log files. Every
// block is checked before it is handed on: what is damaged is never rewritten
// under a new checksum. Unlike the brokers' reader it goes through offsets once
// and in order, so it caches nothing but footers.
type source struct {
	bucket objstore.Bucket

	mu      sync.Mutex
	footers map[string]*segment.Footer
}

func newSource(bucket objstore.Bucket) *source {
	return &source{bucket: bucket, footers: make(map[string]*segment.Footer)}
}

// footer returns the footer of a segment or log file.
func (s *source) footer(ctx context.Context, object string, size int64) (*segment.Footer, error) {
	s.mu.Lock()
	known := s.footers[object]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	fresh, err := segment.FetchFooter(size, func(n int64) ([]byte, error) {
		return s.get(ctx, object, size-n, n)
	})
	if err != nil {
		return nil, fmt.Errorf("read the footer of %s: %w", object, format.In(object, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.footers {
		if len(s.footers) < footersMax {
			break
		}
		delete(s.footers, name) // any one: a segment's partitions come one after the other
	}
	s.footers[object] = fresh
	return fresh, nil
}

// get reads a part of an object. One that ends before it is cut off: damaged.
func (s *source) get(ctx context.Context, object string, position, length int64) ([]byte, error) {
	data, err := s.bucket.Get(ctx, object, position, length)
	if errors.Is(err, objstore.ErrRange) || err == nil && int64(len(data)) != length {
		return nil, format.In(object, format.Corrupt(position, "cut off: there are no %d bytes", length))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	return data, nil
}

// extent is a range of one partition in one object. Its First may lie within the
// range, and even within a block: a range of a merged segment may be cut by the
// mark, and what is below that counts no more.
type extent struct {
	object string
	segment.Range
}

// extents finds what holds a span of a partition, in order of offset.
func (s *source) extents(ctx context.Context, snap snapshot, sp span) ([]extent, error) {
	p := snap.view.Partition
	var out []extent
	add := func(object string, size int64, want span) error {
		footer, err := s.footer(ctx, object, size)
		if err != nil {
			return err
		}
		found := false
		for i := range footer.Ranges {
			if r := &footer.Ranges[i]; r.Partition == p && r.First < want.next && r.Next > want.first {
				e := extent{object, *r}
				e.First = max(e.First, want.first)
				out = append(out, e)
				found = true
			}
		}
		if !found {
			return format.In(object, format.Corrupt(0, "it has nothing of %v in [%d,%d), but the metadata says so", p, want.first, want.next))
		}
		return nil
	}
	for _, f := range snap.section.Log {
		if f.First >= sp.next || f.Next <= sp.first {
			continue
		}
		if err := add(f.Object, f.Size, span{f.First, f.Next}); err != nil {
			return nil, err
		}
	}
	mark := snap.view.Manifest.Marks.Log
	for _, r := range snap.view.Ranges {
		if r.Next <= mark || r.First >= sp.next || r.Next <= sp.first {
			continue
		}
		err := add(r.Segment.Object, r.Segment.Size, span{max(r.First, mark), r.Next})
		if err != nil && !unreadableBelowStart(snap, r.Next, err) {
			return nil, err
		}
	}
	return out, nil
}

// unreadableBelowStart reports that a range cannot be read, now or ever, and need
// not be: its records were deleted. What it knew of producers is lost.
func unreadableBelowStart(snap snapshot, next int64, err error) bool {
	return next <= snap.view.Manifest.LogStart && (errors.Is(err, objstore.ErrNotFound) || errors.Is(err, format.ErrCorrupt))
}

// gaps are the spans that no extent covers: offsets that were never committed,
// or that were compacted away.
func gaps(extents []extent, sp span) []span {
	var out []span
	at := sp.first
	for _, e := range extents {
		if e.First > at {
			out = append(out, span{at, e.First})
		}
		at = max(at, e.Next)
	}
	if at < sp.next {
		out = append(out, span{at, sp.next})
	}
	return out
}

// chunks yields the whole blocks of an extent that hold offsets of a span, some
// at a time, each checked.
func (s *source) chunks(ctx context.Context, e extent, sp span) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		blocks := e.Blocks
		for len(blocks) > 0 {
			if next := blockNext(e, blocks); next <= max(sp.first, e.First) {
				blocks = blocks[1:]
				continue
			}
			if blocks[0].First >= sp.next {
				return
			}
			n, length := 0, int64(0)
			for n < len(blocks) && blocks[n].First < sp.next && (n == 0 || length+blocks[n].Length <= chunkBytes) {
				length += blocks[n].Length
				n++
			}
			data, err := s.blocks(ctx, e.object, blocks[:n], length)
			if !yield(data, err) || err != nil {
				return
			}
			blocks = blocks[n:]
		}
	}
}

// blockNext is where the first of the remaining blocks of an extent ends.
func blockNext(e extent, blocks []segment.Block) int64 {
	if len(blocks) > 1 {
		return blocks[1].First
	}
	return e.Next
}

func (s *source) blocks(ctx context.Context, object string, blocks []segment.Block, length int64) ([]byte, error) {
	data, err := s.get(ctx, object, blocks[0].Position, length)
	if err != nil {
		return nil, err
	}
	rest := data
	for _, b := range blocks {
		if err := b.Verify(rest[:b.Length]); err != nil {
			return nil, format.In(object, err)
		}
		rest = rest[b.Length:]
	}
	return data, nil
}

// reading is a span that is being read, perhaps more than once. It keeps what it
// has read as long as that is no more than keepMax bytes.
type reading struct {
	source  *source
	extents []extent
	span    span
	kept    map[int][][]byte // chunks of the extents, by index
	keepMax int64
	metrics *metrics
}

func (s *source) reading(extents []extent, sp span, keepMax int64, m *metrics) *reading {
	return &reading{source: s, extents: extents, span: sp, kept: make(map[int][][]byte), keepMax: keepMax, metrics: m}
}

// chunks yields the checked chunks of extent i.
func (r *reading) chunks(ctx context.Context, i int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if kept, ok := r.kept[i]; ok {
			for _, chunk := range kept {
				if !yield(chunk, nil) {
					return
				}
			}
			return
		}
		var all [][]byte
		var size int64
		for chunk, err := range r.source.chunks(ctx, r.extents[i], r.span) {
			if err == nil {
				r.metrics.read(len(chunk))
				size += int64(len(chunk))
				if size <= r.keepMax {
					all = append(all, chunk)
				}
			}
			if !yield(chunk, err) || err != nil {
				return
			}
		}
		if size <= r.keepMax {
			r.kept[i], r.keepMax = all, r.keepMax-size
		}
	}
}

// batches are all batches that are read, in order; some at the edges may lie
// outside the span.
func (r *reading) batches(ctx context.Context) columnar.Batches {
	return func(yield func(columnar.Batch, error) bool) {
		for i := range r.extents {
			for chunk, err := range r.chunks(ctx, i) {
				if err != nil {
					yield(columnar.Batch{}, err)
					return
				}
				for b, err := range columnar.Of(chunk) {
					if err == nil && b.Header.Next() <= r.extents[i].First {
						continue
					}
					if !yield(b, err) || err != nil {
						return
					}
				}
			}
		}
	}
}

// each calls f for every batch of extent i.
func (r *reading) each(ctx context.Context, i int, f func(h batch.Header, raw []byte) error) error {
	for chunk, err := range r.chunks(ctx, i) {
		if err != nil {
			return err
		}
		err := batch.Each(chunk, func(h batch.Header, raw []byte) error {
			if h.Next() <= r.extents[i].First {
				return nil
			}
			return f(h, raw)
		})
		if err != nil {
			return format.In(r.extents[i].object, err)
		}
	}
	return nil
}

// partitionOf names a partition for people.
func partitionOf(snap snapshot) string {
	return partitionName(snap.view.Topic.Name, snap.view.Partition)
}

func partitionName(name string, p topic.Partition) string { return fmt.Sprintf("%s-%d", name, p.Index) }
