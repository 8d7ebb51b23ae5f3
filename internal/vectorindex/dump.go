package vectorindex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// Dump prints what a shard is, by its footer. With verify it reads everything:
// every record, vector, neighbour and document, against its CRC and what others
// say of it. It is for people; damage of all kinds is in the error.
func Dump(ctx context.Context, out io.Writer, name string, b Blob, verify bool) error {
	f, err := Open(ctx, b, 0)
	if err != nil {
		return format.In(name, err)
	}
	i, t := f.Info(), f.footer
	fmt.Fprintf(out, "%s: shard version %d, %s, %d documents in [%d,%d) with %d vectors, %s to %s, %d bytes\n", name, version, i.Kind, i.Documents, i.First, i.Next, i.Rows,
		format.Time(i.TimestampMin), format.Time(i.TimestampMax), i.Size)
	fmt.Fprintf(out, "model %q, %d dimensions, %s, vectors as %s\n", i.Model, i.Dimensions, i.Metric, i.Encoding)
	records, copies, documents := int64(0), int64(0), int64(0)
	least, most := int64(math.MaxInt64), int64(0)
	for _, l := range t.lists {
		records, copies = records+l.rows.length, copies+l.copies.length
		least, most = min(least, int64(l.next-l.first)), max(most, int64(l.next-l.first))
	}
	for _, k := range t.blocks {
		documents += k.length
	}
	fmt.Fprintf(out, "footer %d bytes, records %d in %d lists of %d to %d rows, copies %d, vectors %d, documents %d in %d blocks\n", t.length(f.size), records, i.Lists, least, most, copies, t.vectors.length, documents, len(t.blocks))
	if t.graph != nil {
		fmt.Fprintf(out, "graph %d bytes, m %d, entry %d, %d levels, %d rows above the ground\n", t.ground.length+t.upper.length, t.graph.m, t.graph.entry, t.graph.levels, t.graph.nodes)
	}
	queries := i.Calibration.Queries
	for _, c := range i.Calibration.Curves {
		fmt.Fprintf(out, "recall of %d nearest by %d queries, %d candidates judged after lists\n", c.K, queries, c.Rerank)
		queries = (queries + 1) / 2
		for _, p := range c.Graph {
			fmt.Fprintf(out, "  ef %d: %.4f\n", p.Effort, float64(p.Recall)/RecallOne)
		}
		for _, p := range c.Lists {
			fmt.Fprintf(out, "  lists %d: %.4f\n", p.Effort, float64(p.Recall)/RecallOne)
		}
	}
	if !verify {
		return nil
	}
	if damage := f.Verify(ctx); len(damage) > 0 {
		for _, err := range damage {
			fmt.Fprintf(out, "damage: %v\n", format.In(name, err))
		}
		return errors.Join(damage...)
	}
	fmt.Fprintln(out, "verified: everything read")
	return nil
}

// length of the footer, trailer included.
func (f *footer) length(size int64) int64 {
	last := f.blocks[len(f.blocks)-1]
	return size - last.at - last.length
}

// Verify reads everything and returns the damage, of each kind of section the first.
func (f *File) Verify(ctx context.Context) []error {
	var damage []error
	note := func(err error) {
		if err != nil {
			damage = append(damage, err)
		}
	}
	note(f.verifyHeader(ctx))
	rows, err := f.verifyRecords(ctx)
	note(err)
	if f.footer.graph != nil {
		_, err := f.openGraph(ctx)
		note(err)
	}
	if err == nil {
		note(f.verifyDocuments(ctx, rows))
	}
	return damage
}

func (f *File) verifyHeader(ctx context.Context) error {
	head, err := f.bytes(ctx, section{0, headerBytes})
	if err != nil {
		return err
	}
	if string(head[:len(magic)]) != magic || head[8] != version || !headerSound(head) {
		return format.Corrupt(0, "no header of a shard")
	}
	return nil
}

// verifyRecords reads lists and vectors, and returns how many documents each row
// has.
func (f *File) verifyRecords(ctx context.Context) ([]uint32, error) {
	documents := make([]uint32, f.footer.rows)
	again := make([]byte, f.space.stride)
	v, scratch := make([]float32, f.stored.dimensions), make([]float32, f.stored.dimensions)
	for n, l := range f.footer.lists {
		tables, err := f.tables(ctx, []uint32{uint32(n)})
		if err != nil {
			return nil, err
		}
		t := tables[0]
		rows := make([]uint32, 0, l.next-l.first)
		for row := l.first; row < l.next; row++ {
			rows = append(rows, row)
			documents[row] = 1 + uint32(len(t.copies[row]))
			for _, d := range append(t.copies[row], documentOf(t.record(f.space, row), row)) {
				if b := l.bounds; d.offset < b.offsetMin || d.offset > b.offsetMax || d.timestamp < b.timestampMin || d.timestamp > b.timestampMax {
					return nil, format.Corrupt(l.rows.at, "document %d of row %d is not within %+v", d.offset, row, b)
				}
			}
		}
		vectors, err := f.exact(ctx, rows)
		if err != nil {
			return nil, err
		}
		for i, stored := range vectors {
			// Whoever wrote the record computed it from the vector, in a fixed order.
			f.stored.decode(v, stored)
			f.space.encode(again, v, scratch)
			if record := t.record(f.space, rows[i]); string(record[:atCopies]) != string(again[:atCopies]) || string(record[atCode:]) != string(again[atCode:]) {
				return nil, format.Corrupt(l.rows.at, "the record of row %d is not that of its vector", rows[i])
			}
		}
	}
	return documents, nil
}

// verifyDocuments looks whether the documents in order are those of the records.
func (f *File) verifyDocuments(ctx context.Context, rows []uint32) error {
	last := int64(-1)
	for i := range f.footer.blocks {
		k := &f.footer.blocks[i]
		data, err := f.read(ctx, k.part)
		if err != nil {
			return err
		}
		var wrong error
		n := int64(0)
		err = f.documents(k, data, func(d document) {
			b := k.bounds
			if d.offset <= last || d.offset < b.offsetMin || d.offset > b.offsetMax || d.timestamp < b.timestampMin || d.timestamp > b.timestampMax || rows[d.row] == 0 {
				wrong = format.Corrupt(k.at, "document %d, row %d, after %d", d.offset, d.row, last)
				return
			}
			rows[d.row]--
			last = d.offset
			n++
		})
		if err == nil {
			err = wrong
		}
		if err == nil && n != k.documents {
			err = format.Corrupt(k.at, "%d documents instead of %d", n, k.documents)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
